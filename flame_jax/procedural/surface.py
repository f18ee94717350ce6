"""The smooth head without features: a spline through a net of points.

The net is 10 columns of 18 rows over the left half of the head (x >= 0, the
character's left). Columns run from the midline of the face (0) past the ear
(5) to the midline of the back (9); rows run from the end of the neck (0) to
the crown (17). All lengths are metres; proportions follow common adult
anthropometry (face height 0.12, head breadth 0.15, head length 0.19).
"""

from __future__ import annotations

import functools

import numpy as np

LAST_COLUMN = 9
LAST_ROW = 17
# Rows that the topology refers to.
ROW_JAW, ROW_BROW = 5, 12

# Skull: an ellipsoid, also used for the crown above the grid.
SKULL_CENTER = np.array([0.0, 0.058, -0.0095])
SKULL_RADII = np.array([0.0760, 0.086, 0.0930])
_AZIMUTH_DEG = (0, 11.5, 24, 38.5, 56, 79, 106, 131, 156, 180)
_SKULL_POLAR_DEG = {13: 79.0, 14: 64.0, 15: 48.0, 16: 31.0, 17: 14.0}

# Rows 0..12: x, y and z of the ten columns, in millimetres.
_ROWS_MM = (
  (  # 0: end of the neck
    (0, 14, 27, 38.5, 47, 51.5, 51.5, 43, 24, 0),
    (-152,) * 10,
    (19, 17, 11.5, 2, -10, -22.5, -39, -59, -72, -76),
  ),
  (  # 1
    (0, 13.5, 26, 37, 45, 48.5, 48.5, 41, 23.5, 0),
    (-128,) * 10,
    (20.5, 18.5, 13, 3.5, -8.5, -20.5, -36.5, -57, -70, -74),
  ),
  (  # 2
    (0, 13.5, 25.5, 36, 43.5, 47, 47.5, 41, 23.5, 0),
    (-104, -104, -103, -101, -98, -95, -93, -92, -92, -92),
    (23, 21, 15.5, 5.5, -7, -19, -35, -56.5, -70, -74),
  ),
  (  # 3: throat
    (0, 13.5, 25.5, 36, 44, 48.5, 50, 43, 24, 0),
    (-87, -86.5, -84, -80, -75, -71, -68, -67, -67, -67),
    (31, 30, 24, 12.5, -2, -15, -34, -57.5, -71, -74.5),
  ),
  (  # 4: below the jaw
    (0, 13.5, 27, 39.5, 48, 53, 55, 46, 25, 0),
    (-83, -82, -78, -70, -61, -54, -50, -49, -49, -49),
    (54, 53, 46, 31, 13, -5, -32, -60, -75, -78.5),
  ),
  (  # 5: edge of the jaw
    (0, 13.5, 27.5, 40.5, 49.5, 55, 58, 47.5, 25.5, 0),
    (-78.5, -77.5, -72, -62, -50, -40, -36, -36, -36, -36),
    (76.5, 74, 62, 43, 21, 0, -31, -62, -77, -81.5),
  ),
  (  # 6: chin
    (0, 14.5, 29.5, 43, 52.5, 58, 60, 49, 26.5, 0),
    (-64, -63, -58, -49, -37.5, -28, -24, -24, -24, -24),
    (84, 80, 67.5, 47, 23.5, 0, -31.5, -64, -80, -84.5),
  ),
  (  # 7: lower lip
    (0, 15.5, 31.2, 45.5, 55.5, 61, 62.5, 51, 27.5, 0),
    (-46, -45.5, -42, -34.5, -24.5, -16, -12, -12, -12, -12),
    (85.5, 82, 70.5, 51, 26, 0.5, -32.5, -66, -83, -87.5),
  ),
  (  # 8: upper lip
    (0, 16, 33, 48, 58.5, 63.5, 64.5, 53, 29, 0),
    (-27, -26.5, -24, -18.5, -11, -4, 0, 0, 0, 0),
    (87, 83.5, 73, 54, 28.5, 1, -33.5, -68.5, -86.5, -91),
  ),
  (  # 9: base of the nose
    (0, 16.5, 34, 50, 61.5, 66.5, 67.5, 55.5, 30, 0),
    (-8, -8, -7, -3.5, 2, 8, 12, 12, 12, 12),
    (84.5, 82, 74.5, 58, 32, 2, -34.5, -71.5, -90, -94.5),
  ),
  (  # 10: middle of the nose
    (0, 16.5, 33.5, 50, 63, 69, 70.5, 58, 31.5, 0),
    (12, 12, 12, 13, 16.5, 21, 24, 24, 24, 24),
    (80, 77.5, 72, 59.5, 35.5, 3.5, -35, -73.5, -93, -98),
  ),
  (  # 11: eyes
    (0, 16, 32, 47.5, 61, 69.5, 73, 60, 32.5, 0),
    (32, 32, 32, 32, 33.5, 35.5, 37, 37, 37, 37),
    (77, 74.5, 69.5, 58.5, 37, 5, -35, -75, -95, -100),
  ),
  (  # 12: brows
    (0, 16, 32, 47.5, 60.5, 70, 74, 61.5, 34, 0),
    (53, 53, 53, 52, 52, 52, 52, 52, 52, 52),
    (85.5, 83, 76, 63, 40, 6.5, -35, -76, -97, -102.5),
  ),
)


def skull_point(azimuth: np.ndarray, polar: np.ndarray) -> np.ndarray:
  """A point of the cranium.

  Args:
    azimuth: [...] radians, 0 to the front, positive to the left.
    polar: [...] radians from the crown.

  Returns:
    [..., 3] metres.
  """
  azimuth, polar = np.broadcast_arrays(azimuth, polar)
  sine = np.sin(polar)
  # The forehead is narrower than the parietal bones behind it.
  narrow = 1 - 0.10 * sine * np.clip(np.cos(azimuth), 0, None) ** 1.5
  direction = np.stack(
    [sine * np.sin(azimuth) * narrow, np.cos(polar), sine * np.cos(azimuth)],
    axis=-1,
  )
  return SKULL_CENTER + SKULL_RADII * direction


def azimuth_of_column(u: np.ndarray) -> np.ndarray:
  """Azimuth in radians of net column `u` (fractional) on the cranium."""
  columns = np.arange(LAST_COLUMN + 1)
  return np.deg2rad(np.interp(u, columns, _AZIMUTH_DEG))


def column_of_azimuth(azimuth: np.ndarray) -> np.ndarray:
  """The inverse of `azimuth_of_column`."""
  columns = np.arange(LAST_COLUMN + 1)
  return np.interp(np.rad2deg(azimuth), _AZIMUTH_DEG, columns)


def net_points() -> np.ndarray:
  """[18, 10, 3] points that the surface passes through, metres."""
  table = 1e-3 * np.array(_ROWS_MM).transpose(0, 2, 1)
  azimuth = np.deg2rad(np.array(_AZIMUTH_DEG, np.float64))
  # Behind the ears the section of the head is a half ellipse.
  rows, back = slice(ROW_JAW + 1, ROW_BROW + 1), slice(6, 9)
  half_width = table[rows, 6, :1] / np.sin(azimuth[6])
  depth = table[rows, 9, 2:] - SKULL_CENTER[2]
  table[rows, back, 0] = half_width * np.sin(azimuth[back])
  table[rows, back, 2] = SKULL_CENTER[2] - depth * np.cos(azimuth[back])
  skull = [
    skull_point(azimuth, np.deg2rad(polar))
    for polar in _SKULL_POLAR_DEG.values()
  ]
  return np.concatenate([table, np.stack(skull)])


def base_surface(u: np.ndarray, v: np.ndarray) -> np.ndarray:
  """The featureless head at net coordinates.

  Args:
    u: [...] column in [0, 9].
    v: [...] row in [0, 17].

  Returns:
    [..., 3] metres.
  """
  weights_u, index_u = _cubic_weights(u, LAST_COLUMN)
  weights_v, index_v = _cubic_weights(v, LAST_ROW)
  net = _spline_coefficients()
  patch = net[index_v[..., :, None], index_u[..., None, :]]
  return np.einsum('...i,...j,...ijk->...k', weights_v, weights_u, patch)


def invert_base(x: np.ndarray, y: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
  """Net coordinates of the point of the face seen at (x, y) from the front.

  Args:
    x: [N] metres, in [0, 0.055].
    y: [N] metres, between chin and forehead.

  Returns:
    (u, v), each [N].
  """
  target = np.stack([x, y], axis=-1)
  position = np.stack([x / 0.016, np.interp(y, *_front_rows())], axis=-1)
  step = 1e-4
  for _ in range(12):
    u, v = position[:, 0], position[:, 1]
    here = base_surface(u, v)[:, :2]
    along_u = (base_surface(u + step, v)[:, :2] - here) / step
    along_v = (base_surface(u, v + step)[:, :2] - here) / step
    jacobian = np.stack([along_u, along_v], axis=-1)
    move = np.linalg.solve(jacobian, (target - here)[:, :, None])[:, :, 0]
    position = position + np.clip(move, -0.5, 0.5)
  return position[:, 0], position[:, 1]


def _front_rows():
  front = net_points()[:, 0, 1]
  rows = np.arange(4, LAST_ROW + 1)
  return front[4:], rows


@functools.lru_cache(maxsize=1)
def _spline_coefficients():
  """[18 + 2, 10 + 2, 3] cubic B-spline net that interpolates net_points."""
  points = net_points()
  # Across both midlines the head is its own mirror image.
  columns = _interpolation_matrix(LAST_COLUMN + 1, mirror=True)
  odd_columns = _interpolation_matrix(LAST_COLUMN + 1, mirror=False)
  rows = _interpolation_matrix(LAST_ROW + 1, mirror=None)
  across = [
    np.einsum(
      'ij,rj->ri', odd_columns if axis == 0 else columns, points[:, :, axis]
    )
    for axis in range(3)
  ]
  return np.einsum('ij,jck->ick', rows, np.stack(across, axis=-1))


def _interpolation_matrix(count, mirror):
  """[count + 2, count] map from values at knots to B-spline coefficients.

  Args:
    count: number of knots.
    mirror: True for values that are even about both ends, False for odd
      ones, None for a free end (zero second derivative).
  """
  system = np.zeros((count + 2, count + 2))
  for k in range(count):
    system[k + 1, k : k + 3] = (1 / 6, 4 / 6, 1 / 6)
  if mirror is None:
    system[0, :3] = (1, -2, 1)
    system[-1, -3:] = (1, -2, 1)
  elif mirror:
    system[0, [0, 2]] = (1, -1)
    system[-1, [-3, -1]] = (1, -1)
  else:
    system[0, :3] = (1, -2, 1)
    system[-1, -3:] = (1, -2, 1)
  return np.linalg.inv(system)[:, 1:-1]


def _cubic_weights(position, last):
  """[..., 4] weights and [..., 4] indices into the padded coefficients."""
  position = np.asarray(position, np.float64)
  cell = np.clip(np.floor(position), 0, last - 1).astype(int)
  t = position - cell
  weights = (
    np.stack(
      [
        (1 - t) ** 3,
        3 * t**3 - 6 * t**2 + 4,
        -3 * t**3 + 3 * t**2 + 3 * t + 1,
        t**3,
      ],
      axis=-1,
    )
    / 6
  )
  return weights, cell[..., None] + np.arange(4)
