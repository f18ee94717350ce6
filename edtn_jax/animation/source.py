"""Opens the picture that is animated and cuts the head out of it."""

from __future__ import annotations

import dataclasses
import hashlib
import io
import os
import pathlib
import warnings
from typing import Any

import numpy as np
from absl import logging
from PIL import Image, ImageOps, UnidentifiedImageError

from edtn_jax.config import ConfigError, Problem

# Pictures of more pixels are refused before they are decoded.
MAX_PIXELS = 64_000_000
# A square with a shorter side shows no face that could be moved.
MIN_SIDE = 32
# Everything that has 8 bits a channel.
_MODES = ('1', 'L', 'LA', 'La', 'P', 'PA', 'RGB', 'RGBA', 'RGBa', 'RGBX')
_OTHER_COLORS = ('CMYK', 'YCbCr', 'LAB', 'HSV')
# Alpha from which on a pixel belongs to the figure.
_OPAQUE = 128
# AnimeCeleb's frame, as shares of its side: the hair begins at 0.22 (drawn
# characters 0.13 to 0.27, a real AnimeCeleb picture 0.30), the figure ends
# with the frame, and a head with hair is 0.55 wide or more (0.53 to 0.75).
_TOP = 0.22
_WIDTH = 0.55


class SourceError(ValueError):
  """A picture that cannot be animated; names file, fault and remedy."""


@dataclasses.dataclass(frozen=True)
class SourcePicture:
  """A picture, ready for the generator.

  Attributes:
    image: [S, S, 3] uint8 RGB, transparency laid on white.
    path: file it was read from.
    crop: x, y and side of the square in pixels of the upright picture; it may
      stick out of a picture with transparency.
    picture_size: width and height of the upright picture.
    sha256: of the file.
  """

  image: np.ndarray
  path: str
  crop: tuple[int, int, int]
  picture_size: tuple[int, int]
  sha256: str

  @property
  def description(self) -> dict[str, Any]:
    """What a summary says of it, ready for JSON."""
    return {
      'source': self.path,
      'source_sha256': self.sha256,
      'picture_size': list(self.picture_size),
      'crop': list(self.crop),
    }


def open_source(
  path: str | os.PathLike, size: int, crop: str = '', largest: int = 0
) -> SourcePicture:
  """Opens any 8-bit picture of a character.

  The square that is cut out:

    with transparency     from the box of what is opaque: the hair begins at
                          0.22 of the side, the figure ends with the square or,
                          of a tall one (a whole body), is cut off where the
                          square is as wide as a head in AnimeCeleb's frame
    without               the largest in the middle
    with `crop`           the one named

  There is no face detector; a crop by hand is for everything else. A picture
  is turned upright as its EXIF data say; of an animated one the first frame is
  taken.

  Args:
    path: the picture: PNG, WebP, JPEG, GIF, ... with RGB, grey, palette or
      CMYK colours, with or without transparency.
    size: side S of the result, pixels; the square is scaled to it,
      antialiased.
    crop: `x,y,side` in pixels of the upright picture, or '' for the rule.
    largest: if above `size`, S is the square's own side where that lies
      between the two, and even.

  Returns:
    The picture.

  Raises:
    SourceError: if it is absent, no picture, damaged, of another mode, too
      large, too small or wholly transparent.
    ConfigError: if the crop is none, or lies outside the picture.

  Example:
    `open_source('girl.png', 256, '120,40,600').image`.
  """
  content = _read(path)
  picture = _decode(path, content)
  box = _parse_crop(crop, picture.size) if crop else _square(path, picture)
  x, y, side = box
  if side < MIN_SIDE:
    raise SourceError(
      f'{path}: the square to animate has {side} pixels a side, wanted at '
      f'least {MIN_SIDE}; give a larger picture'
    )
  if side < size:
    logging.warning(
      '%s: a square of %d pixels is enlarged to %d; the result will be blurred',
      path,
      side,
      size,
    )
  # H.264 wants even sides.
  size = max(size, min(side, largest) // 2 * 2)
  cut = _on_white(picture.crop((x, y, x + side, y + side)))
  scaled = cut.resize((size, size), Image.Resampling.LANCZOS)
  return SourcePicture(
    image=np.asarray(scaled),
    path=os.fspath(path),
    crop=box,
    picture_size=picture.size,
    sha256=hashlib.sha256(content).hexdigest(),
  )


def _read(path: str | os.PathLike) -> bytes:
  try:
    return pathlib.Path(path).read_bytes()
  except FileNotFoundError as error:
    raise SourceError(
      f'{path}: no such file; --source takes a picture of a character'
    ) from error
  except OSError as error:
    raise SourceError(
      f'{path}: cannot be read ({error.strerror}); --source takes one picture '
      'of a character'
    ) from error


def _decode(path: str | os.PathLike, content: bytes) -> Image.Image:
  """The upright first frame, as RGB or RGBA."""
  try:
    with warnings.catch_warnings():
      # Pillow only warns of pictures that we refuse below.
      warnings.simplefilter('ignore', Image.DecompressionBombWarning)
      image = Image.open(io.BytesIO(content))
    with image:
      _check_kind(path, image)
      frames = getattr(image, 'n_frames', 1)
      image.load()
      upright = ImageOps.exif_transpose(image)
      mode = 'RGBA' if upright.has_transparency_data else 'RGB'
      upright = upright.convert(mode)
  except UnidentifiedImageError as error:
    raise SourceError(
      f'{path}: is no picture that can be read; give a PNG, WebP or JPEG file'
    ) from error
  except Image.DecompressionBombError as error:
    raise SourceError(f'{path}: {_too_large()}') from error
  except SourceError:
    raise
  # Pillow's decoders raise whatever damaged bytes lead them to.
  except Exception as error:
    raise SourceError(
      f'{path}: the picture is damaged ({error}); save it anew'
    ) from error
  if frames > 1:
    logging.warning('%s: has %d frames; the first is animated', path, frames)
  return upright


def _check_kind(path: str | os.PathLike, image: Image.Image) -> None:
  if image.width * image.height > MAX_PIXELS:
    raise SourceError(f'{path}: {image.width}x{image.height}: {_too_large()}')
  if image.mode not in (*_MODES, *_OTHER_COLORS):
    raise SourceError(
      f'{path}: has the mode {image.mode!r}; wanted 8 bits a channel, such as '
      'RGB, RGBA or grey; save it as an 8-bit PNG'
    )


def _too_large() -> str:
  limit = MAX_PIXELS // 1_000_000
  return f'has more than {limit} million pixels; make it smaller first'


def _parse_crop(
  text: str, picture_size: tuple[int, int]
) -> tuple[int, int, int]:
  """Reads `x,y,side`."""
  width, height = picture_size
  rule = f'must be x,y,side: a square inside the picture of {width}x{height}'
  remedy = f'For example --crop=0,0,{min(picture_size)}.'
  try:
    x, y, side = (int(word) for word in text.split(','))
  except ValueError as error:
    raise ConfigError([Problem('crop', text, rule, remedy)]) from error
  inside = min(x, y) >= 0 and x + side <= width and y + side <= height
  if side < 1 or not inside:
    raise ConfigError([Problem('crop', text, rule, remedy)])
  return x, y, side


def _square(
  path: str | os.PathLike, picture: Image.Image
) -> tuple[int, int, int]:
  """The square that `open_source` describes."""
  width, height = picture.size
  if picture.mode == 'RGBA' and picture.getchannel('A').getextrema()[0] < 255:
    opaque = picture.getchannel('A').point(lambda a: 255 * (a >= _OPAQUE))
    box = opaque.getbbox()
    if box is None:
      raise SourceError(
        f'{path}: nothing in it is opaque; give a picture of a character'
      )
    left, top, right, bottom = box
    side = min((bottom - top) / (1 - _TOP), (right - left) / _WIDTH)
    corner = (left + right - side) / 2, top - _TOP * side
    return round(corner[0]), round(corner[1]), round(side)
  side = min(width, height)
  return (width - side) // 2, (height - side) // 2, side


def _on_white(picture: Image.Image) -> Image.Image:
  if picture.mode == 'RGB':
    return picture
  white = Image.new('RGBA', picture.size, (255, 255, 255, 255))
  return Image.alpha_composite(white, picture).convert('RGB')
