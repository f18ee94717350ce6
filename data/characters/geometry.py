"""Curves, ribbons and patches that every part of a character is made of.

Rest coordinates are pixels of a 256 x 256 picture, measured from the centre of
the head: x to the picture's right (the character's left), y DOWN, and depth
out of the picture, towards the viewer.

A `Patch` is a grid of points [rows, columns]. Its boundary is the polygon that
is filled; its cells carry the optical flow, because the grid of one part has
the same rows and columns in every pose.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence

import numpy as np

Color = tuple[int, int, int]
Depth = float | np.ndarray | Callable[[np.ndarray], np.ndarray]


class Paint(tuple):
  """An RGB colour that knows what it is for.

  Attributes:
    role: `base`, `shade`, `light` or `line`.
    under: the base colour that it shades, lights or outlines.
  """

  role: str
  under: Color

  def __new__(cls, color: Color, role: str, under: Color) -> Paint:
    """Makes a colour that equals the plain one."""
    paint = super().__new__(cls, color)
    paint.role = role
    paint.under = tuple(under)
    return paint

  def __reduce__(self):
    """Pickles with role; a tuple alone would lose it."""
    return Paint, (tuple(self), self.role, self.under)


def role_of(color: Color) -> str:
  """Role of a `Paint`; empty for a plain colour."""
  return color.role if isinstance(color, Paint) else ''


@dataclasses.dataclass(frozen=True, eq=False)
class Patch:
  """One filled shape.

  Attributes:
    points: [rows, columns, 3] float64, rest position (x, y down, depth).
    follow: [rows, columns] float64 in [0, 1]: 1 turns with the head, 0 stays
      with the body.
    color: RGB of the fill.
    surface: whether the patch is a surface of its own for the optical flow;
      shade, highlights and lines move with what they are painted on.
  """

  points: np.ndarray
  follow: np.ndarray
  color: Color
  surface: bool = True


@dataclasses.dataclass(frozen=True, eq=False)
class Clip:
  """Shapes that are seen only inside another shape.

  Attributes:
    mask: the shape that is looked through.
    content: what is painted, back to front.
    opacity: 1 replaces, less blends with what is already there.
  """

  mask: Patch
  content: tuple[Patch, ...]
  opacity: float = 1.0


Op = Patch | Clip


def make_patch(
  grid: np.ndarray,
  color: Color,
  depth: Depth = 0.0,
  follow: float | np.ndarray = 1.0,
  surface: bool = True,
) -> Patch:
  """Puts depth and head-following on a grid of picture points.

  Args:
    grid: [rows, columns, 2] float, rest positions.
    color: RGB of the fill.
    depth: a number, [rows, columns] numbers, or a function of the grid.
    follow: a number or numbers that broadcast to [rows, columns].
    surface: see `Patch`.

  Returns:
    The patch.
  """
  grid = np.asarray(grid, np.float64)
  z = depth(grid) if callable(depth) else depth
  shape = grid.shape[:2]
  points = np.concatenate([grid, np.broadcast_to(z, shape)[..., None]], axis=-1)
  weights = np.broadcast_to(np.asarray(follow, np.float64), shape)
  return Patch(points, weights, color, surface)


def smooth_curve(controls: Sequence, count: int) -> np.ndarray:
  """Catmull-Rom curve through control points.

  Args:
    controls: [n, 2] points, n >= 2; the curve passes through every one.
    count: number of samples.

  Returns:
    [count, 2] float64.
  """
  points = np.asarray(controls, np.float64)
  padded = np.concatenate(
    [[2 * points[0] - points[1]], points, [2 * points[-1] - points[-2]]]
  )
  position = np.linspace(0, len(points) - 1, count)
  segment = np.minimum(position.astype(int), len(points) - 2)
  t = (position - segment)[:, None]
  a, b, c, d = (padded[segment + k] for k in range(4))
  return 0.5 * (
    2 * b
    + (c - a) * t
    + (2 * a - 5 * b + 4 * c - d) * t**2
    + (3 * b - a - 3 * c + d) * t**3
  )


def bezier(controls: Sequence, count: int) -> np.ndarray:
  """Cubic Bezier curve: [4, 2] control points -> [count, 2] float64."""
  a, b, c, d = np.asarray(controls, np.float64)
  t = np.linspace(0, 1, count)[:, None]
  s = 1 - t
  return s**3 * a + 3 * s**2 * t * b + 3 * s * t**2 * c + t**3 * d


def normals(curve: np.ndarray) -> np.ndarray:
  """Unit normals of an open curve, [n, 2] -> [n, 2]."""
  tangent = np.gradient(curve, axis=0)
  length = np.hypot(tangent[:, 0], tangent[:, 1])
  tangent = tangent / np.maximum(length, 1e-9)[:, None]
  return np.stack([-tangent[:, 1], tangent[:, 0]], axis=-1)


def ribbon(center: np.ndarray, half_width: float | np.ndarray) -> np.ndarray:
  """Widens a curve: [n, 2] and half widths -> [n, 2, 2] grid."""
  offset = normals(center) * np.broadcast_to(half_width, len(center))[:, None]
  return np.stack([center + offset, center - offset], axis=1)


def stroke(
  curve: np.ndarray, width: float, taper: tuple[float, float] = (0.1, 0.1)
) -> np.ndarray:
  """A pen line, full in the middle and thinner towards its ends.

  Args:
    curve: [n, 2] points.
    width: full width in pixels where the line is thickest.
    taper: part of the width that is left at the first and the last point.

  Returns:
    [n, 2, 2] grid.
  """
  t = np.linspace(0, 1, len(curve))
  ends = taper[0] + (taper[1] - taper[0]) * t
  profile = ends + (1 - ends) * np.sin(np.pi * t) ** 0.7
  return ribbon(curve, 0.5 * width * profile)


def ellipse(
  center: Sequence[float],
  radius: Sequence[float],
  count: int = 11,
  columns: int = 2,
) -> np.ndarray:
  """An ellipse as a grid from top to bottom, [count, columns, 2]."""
  angle = np.linspace(0, np.pi, count)[:, None]
  across = np.linspace(-1, 1, columns)[None, :]
  x = center[0] + radius[0] * np.sin(angle) * across
  y = center[1] - radius[1] * np.cos(angle) + 0 * across
  return np.stack([x, y], axis=-1)


def between(
  first: np.ndarray, second: np.ndarray, columns: int = 2
) -> np.ndarray:
  """A grid between two curves of equal length, [n, columns, 2]."""
  s = np.linspace(0, 1, columns)[None, :, None]
  return first[:, None] * (1 - s) + second[:, None] * s


def strip_part(
  grid: np.ndarray, low: np.ndarray, high: np.ndarray
) -> np.ndarray:
  """The part of a ribbon between two fractions of its width.

  Args:
    grid: [n, 2, ...] ribbon.
    low: [n] fraction across (0 first rail, 1 second rail).
    high: [n] fraction across.

  Returns:
    [n, 2, ...] grid.
  """
  share = np.stack([low, high], axis=1)
  share = share.reshape(share.shape + (1,) * (grid.ndim - 2))
  return grid[:, :1] * (1 - share) + grid[:, 1:] * share


def strip_range(
  grid: np.ndarray, start: float, stop: float, count: int
) -> np.ndarray:
  """Resamples a ribbon along its length from `start` to `stop` in [0, 1]."""
  position = np.linspace(start, stop, count) * (len(grid) - 1)
  index = np.clip(position.astype(int), 0, len(grid) - 2)
  share = (position - index).reshape((-1,) + (1,) * (grid.ndim - 1))
  return grid[index] * (1 - share) + grid[index + 1] * share


def smoothstep(t: np.ndarray | float) -> np.ndarray:
  """0 below 0, 1 above 1, smooth between."""
  t = np.clip(t, 0, 1)
  return t * t * (3 - 2 * t)
