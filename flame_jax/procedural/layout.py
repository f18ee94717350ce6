"""Where the vertices of the skin lie in net coordinates.

The skin is a grid of 36 x 55 cells over the left half of the head: columns
from the midline of the face to the midline of the back, rows from the end of
the neck to the cap. Blocks of cells are left out for the eye, the mouth and
the ear; their rims are moved to the contours of those features and the rest
of the grid follows by the smoothest displacement (a discrete Laplace
equation), which turns rows and columns into loops around the features.
"""

from __future__ import annotations

import dataclasses

import numpy as np

from flame_jax.procedural import surface

COLUMNS, ROWS = 36, 55


@dataclasses.dataclass(frozen=True)
class Block:
  """A rectangle of grid cells that is left out: first and last line."""

  left: int
  right: int
  bottom: int
  top: int

  def contains(self, i: np.ndarray, j: np.ndarray) -> np.ndarray:
    """True for grid points strictly inside (they do not exist)."""
    return (
      (i > self.left) & (i < self.right) & (j > self.bottom) & (j < self.top)
    )

  def contains_cell(self, i: np.ndarray, j: np.ndarray) -> np.ndarray:
    """True for the cells, named by their lower corner, that are left out."""
    return (
      (i >= self.left) & (i < self.right) & (j >= self.bottom) & (j < self.top)
    )

  def ring(self, margin: int = 0) -> np.ndarray:
    """[N, 2] grid points around the block, from its upper right, clockwise.

    Clockwise in (i, j) with j upwards; `margin` widens the rectangle.
    """
    left, right = self.left - margin, self.right + margin
    bottom, top = self.bottom - margin, self.top + margin
    points = [(right, j) for j in range(top, bottom, -1)]
    points += [(i, bottom) for i in range(right, left, -1)]
    points += [(left, j) for j in range(bottom, top)]
    points += [(i, top) for i in range(left, right)]
    return np.array(points)


# The mouth's block crosses the midline; its left half starts before column 0.
EYE = Block(5, 15, 36, 40)
MOUTH = Block(-7, 7, 19, 21)
EAR = Block(20, 25, 32, 42)
BLOCKS = (EYE, MOUTH, EAR)
LIP_RINGS = 3

# Grid row or column -> net row or column, before the blocks are fitted.
_ROW_KNOTS = (0, 4, 8, 16, 20, 24, 27, 31, 36, 40, 44, 47, 53, 55)
_ROW_NET = (
  0, 2.5, 4.7, 7.05, 7.58, 8.03, 8.72, 9.42, 10.73, 11.27, 11.75, 12.13, 13.85,
  14.35,
)  # fmt: skip
_COLUMN_KNOTS = (0, 5, 15, 20, 25, 36)
_COLUMN_NET = (0, 1.12, 2.8, 4.35, 5.5, 9)

EYE_CENTER_XY = np.array([0.0310, 0.0325])
_EYE_HALF_WIDTH = 0.0130
_EYE_UPPER, _EYE_LOWER = 0.0057, 0.0047
# The outer corner lies higher than the inner one by twice this.
_EYE_TILT = 0.0007
# How far the loops around the eye lie from its rim; the last is the crease.
_EYE_RING_GROWTH = (0.0, 0.0021, 0.0044)
MOUTH_CORNER = np.array([0.0245, -0.0341])
_RING_GROWTH = 0.0022
_UPPER_LIP, _LOWER_LIP = 0.0085, 0.0100
_SLIT = 0.00012
BROW_ROWS = (44, 47)
BROW_COLUMNS = (3, 16)
# The edge of the hair: a row of the forehead and a column of the temple in
# front, a column behind the ear and a row of the nape.
HAIR_ROW, HAIR_COLUMN = 53, 19
SIDEBURN_ROW = 35
NAPE_ROW, NAPE_COLUMN = 9, 27
BROW_INNER_X, BROW_OUTER_X = 0.011, 0.053


def eye_contour(s: np.ndarray, upper: bool, grow: float = 0.0) -> np.ndarray:
  """The rim of a lid of the left eye, seen from the front.

  Args:
    s: [...] position from the inner corner (-1) to the outer one (1).
    upper: which lid.
    grow: metres by which the contour is widened, for loops around the eye.

  Returns:
    [..., 2] x and y in metres.
  """
  x = EYE_CENTER_XY[0] + (_EYE_HALF_WIDTH + grow) * s
  # The upper lid peaks towards the nose, the lower one away from it.
  lean = -0.12 if upper else 0.16
  bent = s + lean * (1 - s**2)
  arch = (1 - np.abs(bent) ** 2.2) ** (0.80 if upper else 0.9)
  height = _EYE_UPPER + grow if upper else -_EYE_LOWER - grow
  y = EYE_CENTER_XY[1] + _EYE_TILT * s + height * arch
  return np.stack([x, y], axis=-1)


def lip_contour(ring: float, t: np.ndarray, upper: bool) -> np.ndarray:
  """Loop `ring` around the mouth: 0 is the slit, 3 the border of the lips.

  Args:
    ring: 0..3, fractional allowed.
    t: [...] from the midline (0) to the corner (1).
    upper: which lip.

  Returns:
    [..., 2] x and y in metres.
  """
  half = MOUTH_CORNER[0] + _RING_GROWTH * ring
  x = half * (0.45 * t + 0.55 * np.sin(np.pi / 2 * t))
  part = np.clip(x / half, 0, 1)
  share = ring / LIP_RINGS
  # The slit dips in the middle of each half and rises to the tubercle.
  slit = (
    MOUTH_CORNER[1]
    - 0.0010 * np.exp(-((x / 0.020) ** 2))
    - (0.0009 * np.exp(-((x / 0.0055) ** 2)))
  )
  slit = slit + (MOUTH_CORNER[1] - slit) * part**4
  closing = np.sqrt(np.clip(1 - part**3, 0, 1))
  if upper:
    bow = 0.0010 * np.exp(-(((x - 0.0058) / 0.0042) ** 2)) - (
      0.0006 * np.exp(-((x / 0.003) ** 2))
    )
    height = (_UPPER_LIP * (1 - 0.25 * part) + bow) * share + _SLIT
  else:
    height = -(_LOWER_LIP * (1 - 0.12 * part**2)) * share - _SLIT
  return np.stack([x, slit + height * closing], axis=-1)


def brow_height(x: np.ndarray) -> np.ndarray:
  """Height in metres of the middle of the brow at x metres."""
  s = (x - BROW_INNER_X) / (BROW_OUTER_X - BROW_INNER_X)
  return 0.0517 + 0.0068 * s * (1.45 - s) - 0.009 * np.clip(s - 0.8, 0, 1)


def brow_half_width(x: np.ndarray) -> np.ndarray:
  """Half the brow's width in metres at x metres."""
  s = np.clip((x - BROW_INNER_X) / (BROW_OUTER_X - BROW_INNER_X), 0, 1)
  return 0.0046 - 0.0023 * s**1.3


def ear_contour(angle: np.ndarray) -> np.ndarray:
  """Net coordinates of the ear's root; angle 0 is back, counter-clockwise."""
  return np.stack(
    [5.0 + 0.44 * np.cos(angle), 10.5 + 1.35 * np.sin(angle)], axis=-1
  )


def grid_coordinates() -> tuple[np.ndarray, np.ndarray]:
  """Net coordinates of the grid and which of its points exist.

  Returns:
    ([37, 55, 2] (u, v), [37, 55] bool).
  """
  i, j = np.meshgrid(np.arange(COLUMNS + 1), np.arange(ROWS + 1), indexing='ij')
  start = np.stack(
    [
      _smooth_interp(i, _COLUMN_KNOTS, _COLUMN_NET),
      _smooth_interp(j, _ROW_KNOTS, _ROW_NET),
    ],
    axis=-1,
  )
  exists = np.ones(i.shape, bool)
  for block in BLOCKS:
    exists &= ~block.contains(i, j)
  target = start.copy()
  pinned = np.zeros(start.shape, bool)
  for points, coordinates in _contour_pins():
    target[points[:, 0], points[:, 1]] = coordinates
    pinned[points[:, 0], points[:, 1]] = True
  _pin_edges(start, target, pinned)
  _pin_brow(start, target, pinned)
  moved = [
    harmonic((target - start)[:, :, k], pinned[:, :, k], exists)
    for k in range(2)
  ]
  return start + np.stack(moved, axis=-1), exists


def _smooth_interp(index, knots, values):
  """Piecewise linear interpolation with its corners rounded off."""
  line = np.arange(knots[-1] + 1)
  dense = np.interp(line, knots, values)
  for _ in range(3):
    dense[1:-1] = 0.25 * dense[:-2] + 0.5 * dense[1:-1] + 0.25 * dense[2:]
  return dense[index]


def _contour_pins():
  """(grid points, net coordinates) of the loops that are fixed."""
  yield from _eye_pins()
  yield from _lip_pins()
  yield from _nose_pins()
  yield from _hair_pins()
  ring = EAR.ring()
  # The ring starts at the upper right and runs clockwise; place its points
  # by their direction from the block's centre, so that no angle is skewed.
  center = np.array([(EAR.left + EAR.right) / 2, (EAR.bottom + EAR.top) / 2])
  half = np.array([EAR.right - EAR.left, EAR.top - EAR.bottom]) / 2
  offset = (ring - center) / half
  yield ring, ear_contour(np.arctan2(offset[:, 1], offset[:, 0]))


def _eye_pins():
  middle = (EYE.bottom + EYE.top) // 2
  for ring, grow in enumerate(_EYE_RING_GROWTH):
    left, right = EYE.left - ring, EYE.right + ring
    for upper in (True, False):
      row = EYE.top + ring if upper else EYE.bottom - ring
      step = 1 if upper else -1
      sides = list(range(middle, row, step))
      path = [(left, j) for j in sides]
      path += [(i, row) for i in range(left, right + 1)]
      path += [(right, j) for j in reversed(sides)]
      t = np.linspace(-1, 1, len(path))
      xy = eye_contour(0.55 * t + 0.45 * np.sin(np.pi / 2 * t), upper, grow)
      yield np.array(path), np.stack(surface.invert_base(*xy.T), axis=-1)


def _lip_pins():
  middle = (MOUTH.bottom + MOUTH.top) // 2
  for ring in range(LIP_RINGS + 1):
    for upper in (True, False):
      row = MOUTH.top + ring if upper else MOUTH.bottom - ring
      side = MOUTH.right + ring
      path = [(i, row) for i in range(side + 1)]
      step = -1 if upper else 1
      path += [(side, j) for j in range(row + step, middle + step, step)]
      t = np.linspace(0, 1, len(path))
      xy = lip_contour(ring, t, upper)
      yield np.array(path), np.stack(surface.invert_base(*xy.T), axis=-1)


# Where grid columns 1..6 and rows 27..33 run around the wing of the nose, mm.
_NOSE_COLUMNS_MM = (3.4, 7.2, 11.2, 15.2, 18.6, 22.0)
_NOSE_ROWS = np.arange(27, 34)
_NOSE_ROWS_MM = (-13.6, -10.4, -7.4, -4.0, -0.4, 3.4, 7.6)


def _nose_pins():
  """Packs rows under the tip and a column into the crease of the wing."""
  for j, row_mm in zip(_NOSE_ROWS, _NOSE_ROWS_MM, strict=True):
    i = np.arange(1, 7)
    x = np.array(_NOSE_COLUMNS_MM)
    # The base of the nose arches up towards the wings.
    share = np.clip((4.0 - row_mm) / 17.6, 0, 1)
    y = row_mm + share * 2.6 * np.clip(x / 17, 0, 1.2) ** 2
    if j > 31:
      x = x * (1 - 0.035 * (j - 31))
    net = surface.invert_base(x * 1e-3, y * 1e-3)
    yield np.stack([i, np.full_like(i, j)], axis=1), np.stack(net, axis=-1)


# The edge of the hair in net coordinates: from the midline of the forehead
# over the temple to the sideburn, and from behind the ear to the nape.
_HAIRLINE = (
  (0, 14.15), (1, 14.15), (2, 14.02), (2.7, 13.75), (3.2, 13.25),
  (3.5, 12.7), (3.75, 12.15), (3.98, 11.5), (4.1, 10.9), (4.15, 10.4),
)  # fmt: skip
_NAPE_LINE = (
  (5.75, 10.3), (5.85, 8.6), (6.2, 6.9), (6.9, 5.4), (7.8, 4.7), (9, 4.5),
)  # fmt: skip


def _hair_pins():
  """Lays grid lines on the edge of the hair."""
  front = [(i, HAIR_ROW) for i in range(HAIR_COLUMN)]
  front += [(HAIR_COLUMN, j) for j in range(HAIR_ROW, SIDEBURN_ROW - 1, -1)]
  nape = [(NAPE_COLUMN, j) for j in range(EAR.bottom, NAPE_ROW, -1)]
  nape += [(i, NAPE_ROW) for i in range(NAPE_COLUMN, COLUMNS + 1)]
  for path, line in ((front, _HAIRLINE), (nape, _NAPE_LINE)):
    curve = np.array(line)
    length = np.append(0, np.hypot(*np.diff(curve, axis=0).T).cumsum())
    at = np.linspace(0, length[-1], len(path))
    where = [np.interp(at, length, curve[:, k]) for k in range(2)]
    yield np.array(path), np.stack(where, axis=-1)


def lip_share(x: np.ndarray, y: np.ndarray) -> np.ndarray:
  """Height over the slit as a share of the lip's: 0 slit, 1 border.

  Args:
    x: [N] metres from the midline.
    y: [N] metres.

  Returns:
    [N], large outside of the corners.
  """
  t = np.linspace(0, 1, 65)
  share = np.full(np.shape(x), np.inf)
  for upper in (True, False):
    slit = lip_contour(0, t, upper)
    border = lip_contour(LIP_RINGS, t, upper)
    border[:, 0] *= MOUTH_CORNER[0] / border[-1, 0]
    base = np.interp(x, slit[:, 0], slit[:, 1])
    height = np.interp(x, border[:, 0], border[:, 1]) - base
    inside = (x < MOUTH_CORNER[0]) & ((y - base) * height >= 0)
    ratio = np.abs(y - base) / np.maximum(np.abs(height), 1e-6)
    share = np.where(inside, np.minimum(share, ratio), share)
  return share


def _pin_edges(start, target, pinned):
  """Fixes the outer edges of the grid, which spread evenly around."""
  even = np.linspace(0, surface.LAST_COLUMN, COLUMNS + 1)
  target[:, 0, 0] = 0.5 * even + 0.5 * start[:, 0, 0]
  azimuth = surface.azimuth_of_column(start[:, -1, 0])
  azimuth = 0.4 * azimuth + 0.6 * np.linspace(0, np.pi, COLUMNS + 1)
  target[:, -1, 0] = surface.column_of_azimuth(azimuth)
  pinned[:, [0, -1]] = True
  pinned[[0, -1], :, 0] = True


def _pin_brow(start, target, pinned):
  """Lets the rows below and above follow the edges of the brow."""
  columns = np.arange(BROW_COLUMNS[0] - 1, BROW_COLUMNS[1] + 1)
  for row, side in ((BROW_ROWS[0], -1), (BROW_ROWS[1], 1)):
    x = surface.base_surface(start[columns, row, 0], start[columns, row, 1])
    x = x[:, 0]
    y = brow_height(x) + side * brow_half_width(x)
    target[columns, row, 1] = surface.invert_base(x, y)[1]
    pinned[columns, row, 1] = True


def harmonic(values, pinned, exists):
  """Fills a field that is known where `pinned` by solving Laplace.

  Args:
    values: [I, J] field, read where pinned.
    pinned: [I, J] bool.
    exists: [I, J] bool, grid points that take part.

  Returns:
    [I, J] field.
  """
  free = exists & ~pinned
  links_i = (exists[1:] & exists[:-1]).astype(np.float64)
  links_j = (exists[:, 1:] & exists[:, :-1]).astype(np.float64)

  def laplacian(field):
    result = np.zeros_like(field)
    flow = links_i * (field[1:] - field[:-1])
    result[1:] += flow
    result[:-1] -= flow
    flow = links_j * (field[:, 1:] - field[:, :-1])
    result[:, 1:] += flow
    result[:, :-1] -= flow
    return result

  fixed = np.where(pinned & exists, values, 0)
  residual = np.where(free, -laplacian(fixed), 0)
  solution, direction = np.zeros_like(fixed), residual.copy()
  energy = (residual**2).sum()
  # Conjugate gradients: the condition number of this grid needs about 150.
  for _ in range(300):
    if energy < 1e-16:
      break
    image = np.where(free, laplacian(direction), 0)
    step = energy / (direction * image).sum()
    solution += step * direction
    residual -= step * image
    previous, energy = energy, (residual**2).sum()
    direction = residual + energy / previous * direction
  return fixed + solution
