"""The square of a picture that DECA's encoder looks at."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from edtn_jax.encoders.deca.network import SIZE

# DECA's public preparation: the square is this much larger than the face, a
# face being a detector's box, or the box of 68 landmarks made a tenth larger.
# A detector's box ends above the chin, so its square is lowered.
_MARGIN = 1.25
_LANDMARK_MARGIN = 1.1
_LOWERED = 0.12

NUM_LANDMARKS = 68
NUM_MESH_POINTS = 468
# Points of the face mesh that bound the 68 landmarks: jaw from ear to ear, and
# the upper edge of both brows.
_MESH_OUTLINE = (
  *(127, 234, 93, 132, 58, 172, 136, 150, 149, 176, 148, 152),
  *(377, 400, 378, 379, 365, 397, 288, 361, 323, 454, 356),
  *(70, 63, 105, 66, 107, 336, 296, 334, 293, 300),
)


class FaceCrop(NamedTuple):
  """A face as the encoder sees it.

  Attributes:
    image: [224, 224, 3] float32, RGB in [0, 1]; black beyond the picture.
    matrix: [2, 3] float64: pixels (x, y, 1) of the picture -> pixels of the
      crop, centres of pixels being whole numbers in both. A scale and a shift.
  """

  image: np.ndarray
  matrix: np.ndarray


def face_crop(
  image: np.ndarray,
  *,
  box: np.ndarray | None = None,
  points: np.ndarray | None = None,
) -> FaceCrop:
  """Cuts a face out as DECA's encoder was trained to see it.

  Args:
    image: [H, W, 3] uint8 RGB.
    box: [4] float, a detector's left, top, right, bottom in pixels; or
    points: [68, 2] landmarks or [468, 2 or 3] points of the face mesh, pixels,
      x right and y down.

  Returns:
    The crop.

  Raises:
    ValueError: if the image, the box or the points are not what they must be,
      or not exactly one of the two is given.

  Example:
    >>> crop = face_crop(frame, points=landmarks)
    >>> codes = encoder.encode(crop.image[None])
  """
  if image.ndim != 3 or image.shape[2] != 3 or image.dtype != np.uint8:
    raise ValueError(
      f'image is {image.dtype} {list(image.shape)}, wanted uint8 [H, W, 3]'
    )
  if (box is None) == (points is None):
    raise ValueError('give either box or points')
  if points is None:
    center, side = _square_of_box(np.asarray(box, np.float64))
  else:
    center, side = _square_of_points(np.asarray(points, np.float64))
  # The square's edges are the centres of the outermost pixels.
  step = side / (SIZE - 1)
  begin = center - side / 2
  matrix = np.array([[1, 0, -begin[0]], [0, 1, -begin[1]]]) / step
  positions = begin + step * np.arange(SIZE)[:, None]
  rows, columns = positions[:, 1], positions[:, 0]
  return FaceCrop(_sample(image, rows, columns), matrix)


def camera_in_picture(
  camera: np.ndarray, matrix: np.ndarray, size: tuple[int, int]
) -> np.ndarray:
  """A crop's camera as that of the whole picture.

  Args:
    camera: [..., 3] float, (scale, tx, ty) over the square crop, as the
      encoder gives it.
    matrix: [..., 2, 3], of the crop.
    size: width and height of the picture, pixels.

  Returns:
    [..., 3] float32: the same camera over the picture, as the landmark fit
    gives it: picture coordinates span [-1, 1] along the longer side, 0 being
    the middle.
  """
  camera = np.asarray(camera, np.float64)
  matrix = np.asarray(matrix, np.float64)
  half = max(size) / 2
  # Crop coordinates c in [-1, 1] lie at pixel (c + 1) * (SIZE - 1) / 2.
  unit = (SIZE - 1) / 2
  scale = camera[..., 0] * unit / (matrix[..., 0, 0] * half)
  middle = unit - matrix[..., 2]
  # Where the crop's middle lies, from the middle of the picture.
  x, y = np.moveaxis(middle / matrix[..., 0, :1], -1, 0)
  x = (x + 0.5 - size[0] / 2) / half
  y = (y + 0.5 - size[1] / 2) / half
  shifted = [scale, camera[..., 1] + x / scale, camera[..., 2] - y / scale]
  return np.stack(shifted, -1).astype(np.float32)


def _square_of_box(box: np.ndarray) -> tuple[np.ndarray, float]:
  """Centre (x, y) and side of the square around a detector's box."""
  if box.shape != (4,) or not np.isfinite(box).all():
    raise ValueError(f'box is {box}, wanted left, top, right, bottom')
  extent = box[2:] - box[:2]
  if not (extent > 0).all():
    raise ValueError(f'box {box} is empty; wanted left, top, right, bottom')
  face = extent.mean()
  center = (box[:2] + box[2:]) / 2 + [0, _LOWERED * face]
  return center, _MARGIN * face


def _square_of_points(points: np.ndarray) -> tuple[np.ndarray, float]:
  """Centre (x, y) and side of the square around landmarks."""
  if points.ndim != 2 or points.shape[1] not in (2, 3):
    raise ValueError(f'points are {points.shape}, wanted [68 or 468, 2 or 3]')
  points = points[:, :2]
  if len(points) == NUM_MESH_POINTS:
    points = points[list(_MESH_OUTLINE)]
  elif len(points) != NUM_LANDMARKS:
    raise ValueError(
      f'{len(points)} points; wanted {NUM_LANDMARKS} landmarks or the '
      f'{NUM_MESH_POINTS} of the face mesh'
    )
  if not np.isfinite(points).all():
    raise ValueError('points hold numbers that are not finite')
  low, high = points.min(0), points.max(0)
  face = _LANDMARK_MARGIN * (high - low).mean()
  if face <= 0:
    raise ValueError('all points lie in one place')
  return (low + high) / 2, _MARGIN * face


def _sample(
  image: np.ndarray, rows: np.ndarray, columns: np.ndarray
) -> np.ndarray:
  """Bilinear values at the crossings of lines, black outside.

  Without a filter for shrinking: the encoder was trained on crops made so.

  Args:
    image: [H, W, 3] uint8.
    rows: [h] float, y of every line.
    columns: [w] float, x of every line.

  Returns:
    [h, w, 3] float32 in [0, 1].
  """
  y, y_weights = _neighbours(rows, image.shape[0])
  x, x_weights = _neighbours(columns, image.shape[1])
  lines = sum(
    image[y[:, i]].astype(np.float32) * y_weights[:, i, None, None]
    for i in (0, 1)
  )
  return sum(
    lines[:, x[:, i]] * (x_weights[:, i, None] / np.float32(255))
    for i in (0, 1)
  )


def _neighbours(
  positions: np.ndarray, size: int
) -> tuple[np.ndarray, np.ndarray]:
  """[n, 2] indices of the pixels around, and their float32 weights."""
  below = np.floor(positions).astype(np.int64)
  indices = np.stack([below, below + 1], 1)
  above = (positions - below).astype(np.float32)
  weights = np.stack([1 - above, above], 1)
  weights[(indices < 0) | (indices >= size)] = 0
  return np.clip(indices, 0, size - 1), weights
