"""The picture that viewers see: characters, the driver in a corner."""

from __future__ import annotations

import io
from collections.abc import Iterable, Mapping

import numpy as np
from PIL import Image

from edtn_jax.pictures import style
from edtn_jax.pictures.puppet import Puppet

# Of the picture's height.
_CORNER = 0.25
_MARGIN = 0.02
_JPEG_QUALITY = 85


class LivePicture:
  """Draws characters in one pose, side by side."""

  def __init__(self, puppets: Mapping[str, Puppet]):
    """Draws once, so that everything is compiled.

    Args:
      puppets: draw the characters; at least one.
    """
    self._puppets = tuple(puppets.values())
    self._pose: np.ndarray | None = None
    self._ground: Image.Image | None = None
    self.draw(np.zeros(20, np.float32), np.zeros((1, 1, 3), np.uint8))

  def draw(self, pose: np.ndarray, frame: np.ndarray) -> bytes:
    """Draws the characters and the frame that drives them.

    Args:
      pose: [20] float, pose vector.
      frame: [H, W, 3] uint8 RGB.

    Returns:
      A JPEG file.
    """
    if self._pose is None or not np.array_equal(pose, self._pose):
      pictures = [next(iter(draw(pose[None]))) for draw in self._puppets]
      self._ground, self._pose = _side_by_side(pictures), pose.copy()
    canvas = self._ground.copy()
    corner = _thumbnail(frame, round(_CORNER * canvas.height))
    margin = round(_MARGIN * canvas.height)
    canvas.paste(corner, (margin, canvas.height - margin - corner.height))
    file = io.BytesIO()
    canvas.save(file, 'JPEG', quality=_JPEG_QUALITY)
    return file.getvalue()


def _side_by_side(pictures: Iterable[np.ndarray]) -> Image.Image:
  """Square RGB or RGBA pictures in a row, all as high as the highest."""
  images = [Image.fromarray(np.asarray(picture)) for picture in pictures]
  size = max(image.height for image in images)
  canvas = Image.new('RGB', (size * len(images), size), style.MESH_BACKGROUND)
  for i, image in enumerate(images):
    if image.height != size:
      image = image.resize((size, size), Image.Resampling.BICUBIC)
    mask = image if image.mode == 'RGBA' else None
    canvas.paste(image, (i * size, 0), mask)
  return canvas


def _thumbnail(frame: np.ndarray, height: int) -> Image.Image:
  image = Image.fromarray(frame)
  width = max(1, round(height * image.width / image.height))
  # Whole steps first: a small picture of a large frame is wanted every time.
  return image.resize(
    (width, height), Image.Resampling.BILINEAR, reducing_gap=1.5
  )
