"""The features of the face: relief on the base surface, and the inner parts.

Relief is a function of the point's place seen from the front (x, y of the
base surface) and moves points mostly along z. Lengths are metres.
"""

from __future__ import annotations

import numpy as np

from flame_jax.procedural import layout, surface

EYEBALL_RADIUS = 0.0135
EYE_CENTER = np.array([*layout.EYE_CENTER_XY, 0.0576])
# Lids are skin at this distance from the centre of the eye.
LID_RADIUS = 0.0152
MARGIN_RADIUS = 0.0145

_MM = 1e-3


def soft_max(a: np.ndarray, b: np.ndarray, blend: float) -> np.ndarray:
  """The greater of two heights, rounded where they differ by < `blend`."""
  gap = np.clip(blend - np.abs(a - b), 0, None) / blend
  return np.maximum(a, b) + 0.25 * blend * gap**2


def bump(x, y, cx, cy, sx, sy, turn_deg=0.0):
  """A Gaussian hill at (cx, cy) mm with spreads sx, sy mm, turned; peak 1."""
  turn = np.deg2rad(turn_deg)
  dx, dy = x - cx * _MM, y - cy * _MM
  along = np.cos(turn) * dx + np.sin(turn) * dy
  across = -np.sin(turn) * dx + np.cos(turn) * dy
  return np.exp(-0.5 * ((along / (sx * _MM)) ** 2 + (across / (sy * _MM)) ** 2))


def dome(x, y, center_mm, radii_mm):
  """Height of an ellipsoid over (x, y), falling steeply outside of it."""
  (cx, cy, cz), (rx, ry, rz) = center_mm, radii_mm
  square = ((x / _MM - cx) / rx) ** 2 + ((y / _MM - cy) / ry) ** 2
  inside = np.sqrt(np.clip(1 - square, 0.04, None))
  return _MM * (cz + rz * (inside - 2.5 * np.clip(square - 0.96, 0, None)))


def shape_skin(base: np.ndarray) -> np.ndarray:
  """Adds the features of the face to points of the base surface.

  Args:
    base: [..., 3] points of `surface.base_surface`, x >= 0.

  Returns:
    [..., 3] points of the skin.
  """
  x, y, z = base[..., 0], base[..., 1], base[..., 2]
  front = smooth_step((z - 0.010) / 0.025)
  height = z + _soft_relief(x, y)
  height = _with_nose(x, y, height)
  height = height + _lip_relief(x, y)
  height = _with_lids(x, y, height)
  points = base.copy()
  points[..., 2] = z + front * (height - z)
  return points


def _soft_relief(x, y):
  """Brow ridge, cheeks, chin and folds, in metres along z."""
  hills = (
    # amplitude mm, centre x y mm, spread x y mm, turn degrees
    (1.2, 17, 50.5, 11, 5, 8),  # brow ridge
    (1.2, 36, 52.5, 11, 5, -4),
    (-1.2, 0, 62, 9, 8, 0),  # between the brow ridges
    (1.5, 24, 80, 14, 12, 0),  # frontal eminence
    (-4.6, 31, 34, 13, 8.5, 0),  # eye socket
    (-3.0, 18, 36, 5.5, 7, 0),
    (2.4, 40, 6, 13, 11, -20),  # cheek
    (1.8, 56, 16, 10, 7, 0),  # cheek bone
    (-1.8, 46, -24, 10, 14, 20),  # hollow of the cheek
    (-1.2, 25, 15, 9, 5, -25),  # tear trough
    (-1.0, 25, -16, 3.5, 15, 28),  # nasolabial fold
    (2.2, 0, -67, 10, 7, 0),  # chin
    (-2.4, 0, -53.5, 13, 3.6, 0),  # mentolabial fold
    (-0.9, 0, -19, 2.4, 6, 0),  # philtrum
    (0.6, 5.2, -19, 2.0, 6, 8),
    (-1.2, 28.5, -36, 3.5, 3.5, 0),  # corners of the mouth
  )
  return _MM * sum(
    amplitude * bump(x, y, cx, cy, sx, sy, turn)
    for amplitude, cx, cy, sx, sy, turn in hills
  )


def _with_nose(x, y, height):
  """Joins bridge, tip, wings and nostrils to the face."""
  line_y = np.array([-14, -9, -5, 0, 4, 10, 18, 26, 34, 42, 50]) * _MM
  line_z = np.array(
    [86, 93, 101.5, 104.5, 104, 100.5, 95.5, 90.5, 86, 84.5, 85]
  )
  half_width = np.array([6, 6, 6.6, 7.4, 7.4, 6.6, 6.0, 5.6, 6.0, 8, 11])
  ridge = np.interp(y, line_y, line_z * _MM)
  width = np.interp(y, line_y, half_width * _MM)
  ridge = ridge - 0.0052 * (x / width) ** 2
  ridge = ridge - 0.6 * np.clip(y - 0.044, 0, None)
  ridge = np.where(y < line_y[0], height - 0.01, ridge)
  height = soft_max(height, ridge, 0.006)
  tip = dome(x, y, (0, 1.0, 95.5), (9.8, 9.5, 10.8))
  height = soft_max(height, tip, 0.004)
  wing = dome(x, y, (12.0, -2.0, 85.0), (6.6, 8.0, 10.0))
  height = soft_max(height, wing, 0.0022)
  nostril = bump(x, y, 6.4, -8.6, 2.6, 1.9, 20)
  crease = bump(x, y, 19.0, -3.5, 1.2, 5, 12)
  return height - _MM * (3.6 * nostril + 0.8 * crease)


def _lip_relief(x, y):
  """Fullness of the lips and the line between them, metres along z."""
  half = layout.MOUTH_CORNER[0] / _MM
  across = np.clip(1 - (x / _MM / (half + 1.5)) ** 2, 0, None)
  slit = np.interp(x, *slit_line()) / _MM
  above = y / _MM - slit
  upper = 3.0 * np.exp(-0.5 * ((above - 3.6) / 2.5) ** 2) * across**0.8
  upper = upper + 0.5 * bump(x, y, 0, slit + 2.0, 3.0, 1.6)
  lower = 3.6 * np.exp(-0.5 * ((above + 4.2) / 3.0) ** 2) * across**0.8
  line = -1.9 * np.exp(-0.5 * (above / 1.3) ** 2) * across**0.3
  return _MM * (upper + lower + line)


def slit_line() -> tuple[np.ndarray, np.ndarray]:
  """Points along the closed mouth, from the midline: x and y in metres."""
  t = np.linspace(0, 1, 33)
  upper = layout.lip_contour(0, t, upper=True)
  lower = layout.lip_contour(0, t, upper=False)
  return upper[:, 0], (upper[:, 1] + lower[:, 1]) / 2


def _with_lids(x, y, height):
  """Drapes the skin over the eyeball."""
  dx, dy = x - EYE_CENTER[0], y - EYE_CENTER[1]
  square = (dx**2 + dy**2) / LID_RADIUS**2
  ball = np.sqrt(np.clip(1 - square, 0.02, None))
  ball = ball - 2.0 * np.clip(square - 0.98, 0, None)
  lid = EYE_CENTER[2] + LID_RADIUS * ball
  # The tear duct's corner of the lids lies forward of the ball.
  lid = lid + 0.0030 * np.exp(-(((dx + 0.0135) / 0.004) ** 2)) * np.exp(
    -((dy / 0.006) ** 2)
  )
  height = soft_max(height, lid, 0.0030)
  crease = np.exp(-0.5 * ((dy - _crease_height(dx)) / 0.0011) ** 2)
  crease = crease * np.exp(-((dx / 0.0135) ** 4))
  return height - 0.0016 * crease


def _crease_height(dx):
  return 0.0100 - 0.0022 * (dx / 0.0135) ** 2 + 0.0006 * dx / 0.0135


def hair_mask() -> np.ndarray:
  """How far each grid point belongs to the hair: [37, 56] in 0 to 1.

  The edge of the hair follows grid lines, so that it is drawn sharply: along
  a row of the forehead, down a column of the temple to the sideburn, over
  the ear and down to the nape.
  """
  i, j = np.meshgrid(
    np.arange(layout.COLUMNS + 1), np.arange(layout.ROWS + 1), indexing='ij'
  )
  ear = layout.EAR
  top = j >= layout.HAIR_ROW
  temple = (i >= layout.HAIR_COLUMN) & (j >= ear.top - 1)
  sideburn = (i >= layout.HAIR_COLUMN) & (i <= ear.left)
  sideburn &= (j > layout.SIDEBURN_ROW) & (j <= ear.top)
  nape = (i >= layout.NAPE_COLUMN) & (j >= layout.NAPE_ROW)
  nape |= (i > ear.right) & (j > ear.bottom + 2)
  mask = top | temple | sideburn | nape
  return np.where(mask, 1.0, 0.0)


def lift_hair(points: np.ndarray, hair: np.ndarray) -> np.ndarray:
  """Gives the hair its thickness, more on top than at the sides.

  Args:
    points: [..., 3] points of the skull, metres.
    hair: [...] 1 inside the hair.

  Returns:
    [..., 3]
  """
  away = points - surface.SKULL_CENTER
  away = away / np.linalg.norm(away, axis=-1, keepdims=True)
  top = np.clip((points[..., 1] - 0.075) / 0.06, 0, 1)
  low = smooth_step((points[..., 1] - 0.025) / 0.055)
  thickness = 0.0006 + 0.0024 * low + 0.0060 * top**1.5
  return points + (thickness * hair)[..., None] * away


def relax(
  field: np.ndarray, exists: np.ndarray, amount: np.ndarray, rounds: int
) -> np.ndarray:
  """Moves grid points towards the mean of their neighbours.

  Args:
    field: [I, J, C] values on the grid.
    exists: [I, J] bool, points that take part.
    amount: [I, J] share of the way in each round, 0 keeps a point.
    rounds: how often.

  Returns:
    [I, J, C]
  """
  there = exists[..., None].astype(np.float64)
  field = field * there
  count = _neighbour_sum(there)
  share = np.where(exists, amount, 0)[..., None]
  for _ in range(rounds):
    mean = _neighbour_sum(field) / np.maximum(count, 1)
    field = field + share * (mean - field)
  return field


def _neighbour_sum(field):
  total = np.zeros_like(field)
  total[1:] += field[:-1]
  total[:-1] += field[1:]
  total[:, 1:] += field[:, :-1]
  total[:, :-1] += field[:, 1:]
  return total


def smooth_step(t: np.ndarray) -> np.ndarray:
  """0 below 0, 1 above 1, level at both ends."""
  t = np.clip(t, 0, 1)
  return t * t * (3 - 2 * t)
