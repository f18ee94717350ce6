"""Which pixels triangles cover, in numpy.

All triangles are rasterised at once: first into rows, then the rows into
pixels. A pixel is covered if its centre is inside. Crossings of an edge are
computed from its lower end in every triangle that has the edge, so neighbours
meet without gap or overlap.
"""

from __future__ import annotations

import dataclasses

import numpy as np

_DEPTH_STEPS = float(2**31 - 1)
EMPTY = np.uint64(2**64 - 1)
_TRIANGLES = np.uint64(2**32 - 1)


@dataclasses.dataclass(frozen=True, eq=False)
class Fragments:
  """Pixels of triangles; those of one triangle follow one another.

  Attributes:
    triangle: [F] number of the triangle.
    x: [F] column.
    y: [F] row.
  """

  triangle: np.ndarray
  x: np.ndarray
  y: np.ndarray

  def pixel(self, side: int) -> np.ndarray:
    """[F] number of the pixel in a square picture."""
    return self.y * side + self.x

  def where(self, mask: np.ndarray) -> Fragments:
    """Only some of them."""
    return Fragments(self.triangle[mask], self.x[mask], self.y[mask])


def _repeated(counts: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
  """For [0..n) repeated `counts` times: whose copy it is, and which."""
  owner = np.repeat(np.arange(len(counts)), counts)
  start = np.cumsum(counts) - counts
  return owner, np.arange(len(owner)) - start[owner]


def _ordered(corners: np.ndarray) -> np.ndarray:
  """Corners of each triangle from the top down, ties from the left."""
  order = np.lexsort((corners[..., 0], corners[..., 1]), axis=-1)
  return np.take_along_axis(corners, order[..., None], axis=1)


def _slope(low: np.ndarray, high: np.ndarray) -> np.ndarray:
  rise = high[:, 1] - low[:, 1]
  run = high[:, 0] - low[:, 0]
  return np.divide(run, rise, out=np.zeros_like(run), where=rise > 0)


def rasterize(corners: np.ndarray, side: int) -> Fragments:
  """Finds the pixels of triangles.

  Args:
    corners: [T, 3, 2] float64 corners in pixels, pixel k covers k to k + 1.
    side: height and width of the picture.

  Returns:
    The fragments inside the picture, in the triangles' order.
  """
  a, b, c = np.moveaxis(_ordered(corners), 1, 0)
  first = np.ceil(np.clip(a[:, 1] - 0.5, 0, side)).astype(np.int64)
  last = np.ceil(np.clip(c[:, 1] - 0.5, 0, side)).astype(np.int64)
  owner, step = _repeated(np.maximum(last - first, 0))
  y = first[owner] + step
  middle = y + 0.5
  long_side = a[owner, 0] + (middle - a[owner, 1]) * _slope(a, c)[owner]
  upper = middle < b[owner, 1]
  start = np.where(upper[:, None], a[owner], b[owner])
  slope = np.where(upper, _slope(a, b)[owner], _slope(b, c)[owner])
  short_side = start[:, 0] + (middle - start[:, 1]) * slope
  left = np.minimum(long_side, short_side)
  right = np.maximum(long_side, short_side)
  left = np.ceil(np.clip(left - 0.5, 0, side)).astype(np.int64)
  right = np.ceil(np.clip(right - 0.5, 0, side)).astype(np.int64)
  row, step = _repeated(np.maximum(right - left, 0))
  return Fragments(owner[row], left[row] + step, y[row])


class Planes:
  """Values that change evenly over triangles.

  Attributes:
    gradient: [T, 2, k] change per pixel to the right and down.
    origin: [T, k] value at pixel 0, 0.
  """

  def __init__(self, corners: np.ndarray, values: np.ndarray):
    """Takes [T, 3, 2] corners in pixels and [T, 3, k] values there."""
    edge = corners[:, 1:] - corners[:, :1]
    area = edge[:, 0, 0] * edge[:, 1, 1] - edge[:, 0, 1] * edge[:, 1, 0]
    scale = np.divide(1.0, area, out=np.zeros_like(area), where=area != 0)
    one = values[:, 1] - values[:, 0]
    two = values[:, 2] - values[:, 0]
    x, y = edge[:, :, 0] * scale[:, None], edge[:, :, 1] * scale[:, None]
    self.gradient = np.stack(
      [
        one * y[:, 1:2] - two * y[:, 0:1],
        two * x[:, 0:1] - one * x[:, 1:2],
      ],
      axis=1,
    )
    # Value at the upper left of the picture.
    self.origin = values[:, 0] - np.einsum(
      'tdk,td->tk', self.gradient, corners[:, 0]
    )

  def at(
    self, triangle: np.ndarray, x: np.ndarray, y: np.ndarray, first=0, last=None
  ) -> np.ndarray:
    """Values `first` to `last` of [n] triangles at [n] positions, [n, k]."""
    gradient = self.gradient[:, :, first:last]
    result = gradient[triangle, 0]
    result *= x[:, None]
    result += gradient[triangle, 1] * y[:, None]
    result += self.origin[:, first:last][triangle]
    return result


def signed_area(corners: np.ndarray) -> np.ndarray:
  """[T] twice the area of [T, 3, 2] triangles; positive from the front."""
  edge = corners[:, 1:] - corners[:, :1]
  # Rows count downwards, which turns the sense of rotation around.
  return edge[:, 0, 1] * edge[:, 1, 0] - edge[:, 0, 0] * edge[:, 1, 1]


class DepthBuffer:
  """The nearest triangle of every pixel."""

  def __init__(self, side: int, near: float, far: float):
    """A buffer for depths between `far` and `near`; larger is nearer."""
    self._near = near
    self._scale = _DEPTH_STEPS / max(near - far, 1e-9)
    self.keys = np.full(side * side, EMPTY)

  def _key(self, depth: np.ndarray, triangle: np.ndarray) -> np.ndarray:
    step = np.clip((self._near - depth) * self._scale, 0, _DEPTH_STEPS)
    order = _TRIANGLES - triangle.astype(np.uint64)
    return (step.astype(np.uint64) << np.uint64(32)) | order

  def add(
    self, pixel: np.ndarray, depth: np.ndarray, triangle: np.ndarray
  ) -> None:
    """Draws fragments; of equally near ones the last triangle wins."""
    np.minimum.at(self.keys, pixel, self._key(depth, triangle))

  def passes(
    self, pixel: np.ndarray, depth: np.ndarray, triangle: np.ndarray
  ) -> np.ndarray:
    """[n] whether fragments are in front of what is there."""
    return self._key(depth, triangle) <= self.keys[pixel]

  def nearest(self) -> tuple[np.ndarray, np.ndarray]:
    """Pixels where something is, and the triangle there."""
    pixel = np.flatnonzero(self.keys != EMPTY)
    order = self.keys[pixel] & _TRIANGLES
    return pixel, (_TRIANGLES - order).astype(np.int64)

  def depth(self) -> np.ndarray:
    """[side * side] depth of what is nearest, -inf where nothing is."""
    step = (self.keys >> np.uint64(32)).astype(np.float64)
    depth = self._near - step / self._scale
    return np.where(self.keys == EMPTY, -np.inf, depth)
