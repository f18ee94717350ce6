"""Reads a folder of numbered pictures as a moving picture."""

from __future__ import annotations

import fractions
import json
import os
import pathlib
from collections.abc import Iterator

import numpy as np
from PIL import Image, ImageOps

from data import files, picture_codec
from data.layout import MANIFEST_NAME
from data.video.base import VideoError, exact_fps
from data.video.frames import (
  DEFAULT_FPS,
  VideoFrame,
  VideoReader,
  nothing_decoded,
)

SUFFIXES = ('.png', '.jpg', '.jpeg', '.webp', '.bmp')


class PictureFolderReader(VideoReader):
  """Pictures of a folder in counting order of their names.

  All must have the size of the first that can be read; others are skipped.
  Transparent ones are laid on white.
  """

  def __init__(
    self,
    path: str | os.PathLike,
    fps: float | fractions.Fraction | None = None,
  ):
    """Looks through the folder up to its first good picture.

    Args:
      path: the folder; pictures are `SUFFIXES`, hidden files do not count.
      fps: pictures a second; None takes the rate in the manifest that
        `open_video_writer` leaves, else 25.

    Raises:
      VideoError: if there is no picture, none can be read, or the rate is
        wrong.
    """
    folder = pathlib.Path(path)
    self._paths = sorted(
      (
        entry
        for entry in folder.iterdir()
        if entry.suffix.lower() in SUFFIXES and not entry.name.startswith('.')
      ),
      key=lambda entry: files.natural_key(entry.name),
    )
    if not self._paths:
      raise VideoError(
        f'{folder}: holds no pictures; a folder that drives needs files named '
        f'*{", *".join(SUFFIXES)} directly in it'
      )
    super().__init__(
      str(folder),
      fps=exact_fps(fps) if fps is not None else _manifest_fps(folder),
      size=_first_size(folder, self._paths),
      num_frames=len(self._paths),
    )

  def _frames(self) -> Iterator[VideoFrame]:
    index = 0
    for position, path in enumerate(self._paths):
      try:
        image = _read(path)
      except OSError as error:
        self._skip(f'{path.name}: {error}')
        continue
      size = image.shape[1], image.shape[0]
      if size != self.size:
        self._skip(
          f'{path.name}: is {size[0]} x {size[1]} pixels, the first is '
          f'{self.size[0]} x {self.size[1]}; make them one size'
        )
        continue
      yield VideoFrame(index, float(position / self.fps), image)
      index += 1


def _read(path: pathlib.Path) -> np.ndarray:
  """[H, W, 3] uint8.

  Raises:
    OSError: whatever stands in the way.
  """
  try:
    with Image.open(path) as picture:
      upright = ImageOps.exif_transpose(picture)
      return np.asarray(picture_codec.put_on(upright))
  # Pillow's decoders stumble over damaged bytes in many ways.
  except Exception as error:
    raise OSError(f'cannot be decoded ({error})') from error


def _first_size(
  folder: pathlib.Path, paths: list[pathlib.Path]
) -> tuple[int, int]:
  faults = []
  for path in paths:
    try:
      image = _read(path)
    except OSError as error:
      faults.append(f'{path.name}: {error}')
      continue
    return image.shape[1], image.shape[0]
  raise nothing_decoded(str(folder), faults)


def _manifest_fps(folder: pathlib.Path) -> fractions.Fraction:
  try:
    manifest = json.loads((folder / MANIFEST_NAME).read_bytes())
    return exact_fps(fractions.Fraction(manifest['fps']))
  except FileNotFoundError:
    return DEFAULT_FPS
  except (OSError, ValueError, TypeError, KeyError, ZeroDivisionError) as error:
    raise VideoError(
      f'{folder / MANIFEST_NAME}: names no frame rate ({error!r}); give the '
      'rate, or remove this file if it is of something else'
    ) from error
