"""Parts that the grid does not reach: crown, sockets, mouth, ears, eyes."""

from __future__ import annotations

import dataclasses

import numpy as np

from flame_jax.procedural import features, layout, surface, topology


@dataclasses.dataclass(frozen=True)
class HalfHead:
  """The left half of the head at rest.

  Attributes:
    points: [H, 3] metres.
    base: [H, 3] the points before features were added (only for the skin).
    hair: [H] 1 inside the hair, 0 outside.
  """

  points: np.ndarray
  base: np.ndarray
  hair: np.ndarray


def half_head() -> HalfHead:
  """Builds the left half of the head at rest."""
  half = topology.half_topology()
  coordinates, exists = layout.grid_coordinates()
  points = np.zeros((half.count, 3))
  base = surface.base_surface(coordinates[..., 0], coordinates[..., 1])
  base = _smooth_back(base, exists)
  skin = _smooth_skin(features.shape_skin(base), exists)
  points[half.grid[exists]] = skin[exists]
  _place_cap(points, half, coordinates)
  plain = points.copy()
  plain[half.grid[exists]] = base[exists]
  hair = np.zeros(half.count)
  hair[half.grid[exists]] = features.hair_mask()[exists]
  hair[half.cap[:-1, 1:-1]] = 1
  _place_eye(points, half)
  _place_mouth(points, half)
  _place_teeth(points, half)
  _place_ear(points, half)
  points = features.lift_hair(points, hair)
  points[half.midline, 0] = 0
  return HalfHead(points, plain, hair)


def _smooth_back(base, exists):
  """Irons the back of the head, where the net is coarse."""
  column = np.arange(base.shape[0])[:, None]
  row = np.arange(base.shape[1])[None, :]
  amount = 0.5 * np.clip((column - 27) / 4, 0, 1) * np.clip(row / 10, 0, 1)
  amount = amount * np.clip((layout.ROWS - row) / 6, 0, 1)
  return features.relax(base, exists, amount, rounds=6)


def _smooth_skin(skin, exists):
  """Rounds off the relief where it is steeper than the grid resolves."""
  amount = np.full(exists.shape, 0.25)
  # The wings of the nose are steepest, most of all at their lower edge.
  amount[:9, 25:36] = 0.4
  amount[:8, 25:30] = 0.75
  for block, margin in ((layout.EYE, 0), (layout.MOUTH, 1), (layout.EAR, 0)):
    for ring in range(margin + 1):
      i, j = block.ring(ring)[block.ring(ring)[:, 0] >= 0].T
      amount[i, j] = 0
  amount[[0, -1]] = 0
  amount[:, [0, -1]] = 0
  return features.relax(skin, exists, amount, rounds=2)


def _place_cap(points, half, coordinates):
  """Spreads the cap over the skull by Tutte's embedding of its square."""
  azimuth = surface.azimuth_of_column(coordinates[:, -1, 0])
  rim = half.grid[:, -1]
  start = points[rim]
  polar = np.arccos(
    (start[:, 1] - surface.SKULL_CENTER[1]) / surface.SKULL_RADII[1]
  )
  flat = np.zeros((half.count, 2))
  flat[rim] = polar[:, None] * np.stack(
    [np.sin(azimuth), np.cos(azimuth)], axis=1
  )
  inside = half.cap[:-1, 1:-1]
  plane = flat[half.cap]
  # Across the midline the square continues as its own mirror image.
  for _ in range(400):
    left = np.concatenate(
      [plane[1:2] * np.array([-1.0, 1.0]), plane[:-1]], axis=0
    )
    average = (
      left[:-1, 1:-1] + plane[1:, 1:-1] + plane[:-1, :-2] + plane[:-1, 2:]
    ) / 4
    plane[:-1, 1:-1] = average
  polar = np.linalg.norm(plane, axis=-1)
  azimuth = np.arctan2(plane[..., 0], plane[..., 1])
  skull = surface.skull_point(azimuth, polar)
  points[inside] = skull[:-1, 1:-1]


def _place_eye(points, half):
  center, loops = features.EYE_CENTER, half.loops
  rim = loops['eye_rim']
  offset = points[rim, :2] - center[:2]
  depth = _ball_depth(offset, features.LID_RADIUS)
  points[rim, 2] = np.maximum(points[rim, 2], center[2] + depth)
  # Corners of the lids lie in front of the ball rather than on it.
  forward = np.maximum(points[rim, 2] - center[2] - depth, 0)
  margin = offset * 0.96
  points[loops['eye_margin'], :2] = center[:2] + margin
  points[loops['eye_margin'], 2] = (
    center[2] + _ball_depth(margin, features.MARGIN_RADIUS) + 0.6 * forward
  )
  around = np.arctan2(offset[:, 1], offset[:, 0])
  radius = features.EYEBALL_RADIUS + 0.0006
  for name, polar_deg in (('under', 72.0), ('behind', 125.0)):
    points[loops[f'eye_{name}']] = _on_ball(around, polar_deg, radius)
  points[loops['eye_pole']] = center - np.array([0, 0, radius])
  ball = loops['eyeball']
  angle = (
    -2
    * np.pi
    * np.arange(topology.EYEBALL_SEGMENTS)
    / (topology.EYEBALL_SEGMENTS)
  )
  rings = [
    _on_ball(angle, polar, features.EYEBALL_RADIUS)
    for polar in topology.EYEBALL_POLAR_DEG
  ]
  tip = np.array([0, 0, features.EYEBALL_RADIUS])
  points[ball] = np.concatenate(
    [[center + tip], *rings, [center - tip]], axis=0
  )


def _ball_depth(offset, radius):
  return np.sqrt(np.clip(radius**2 - (offset**2).sum(-1), 0, None))


def _on_ball(around, polar_deg, radius):
  polar = np.deg2rad(polar_deg)
  return features.EYE_CENTER + radius * np.stack(
    [
      np.sin(polar) * np.cos(around),
      np.sin(polar) * np.sin(around),
      np.full_like(around, np.cos(polar)),
    ],
    axis=-1,
  )


def _place_mouth(points, half):
  """Rolls the lips inwards and hollows the mouth behind them."""
  slit = points[half.loops['mouth_slit']]
  count = len(slit)
  upper = np.arange(count) < count // 2
  side = np.where(upper, 1.0, -1.0)
  side[count // 2] = 0
  # 1 on the midline, 0 in the corner.
  middle = np.abs(np.linspace(1, -1, count))
  opening = np.sqrt(1 - (1 - middle) ** 2)
  # name: metres back, up or down, and the width of the loop.
  steps = {
    'inner_lip': (0.0026, -0.0004, 0.985),
    'vestibule': (0.0042, 0.0060, 0.97),
    'pocket': (0.0055, 0.0125, 1.0),
    'palate': (0.0280, 0.0130, 0.95),
    'throat': (0.0480, 0.0070, 0.70),
  }
  for name, (back, rise, width) in steps.items():
    loop = slit.copy()
    loop[:, 0] *= width
    loop[:, 1] += rise * side * opening
    loop[:, 2] -= back * (0.65 + 0.35 * middle)
    points[half.loops[f'mouth_{name}']] = loop


def _place_teeth(points, half):
  """Two bars along the dental arch, behind the lips."""
  angle = np.linspace(0, 1.15, topology.TOOTH_STATIONS)
  arch_x, arch_z = 0.0215 * np.sin(angle), 0.0515 + 0.0270 * np.cos(angle)
  inner_x, inner_z = arch_x * 0.78, arch_z - 0.0045
  for name, edge, root in (
    ('upper_teeth', -0.0372, -0.0265),
    ('lower_teeth', -0.0380, -0.0470),
  ):
    # The upper row overlaps the lower one; both thin out to the sides.
    inset = 0.0 if name == 'upper_teeth' else 0.0030
    level = root + (edge - root) * (1 - 0.8 * (angle / angle[-1]) ** 6)
    rails = (
      (arch_x, root + 0 * level, arch_z),
      (arch_x, level, arch_z),
      (0.93 * arch_x, level, arch_z - 0.0018),
      (inner_x, root + 0 * level, inner_z),
    )
    for index, (x, y, z) in zip(half.loops[name], rails, strict=True):
      points[index] = np.stack([x, y, z - inset], axis=1)


# The outline of the ear seen from the side: (degrees from the back, counter-
# clockwise towards the top as seen from the left side mirrored; reach in mm).
_OUTLINE_DEG = (-180, -150, -120, -90, -60, -30, 0, 30, 60, 90, 120, 150, 180)
_OUTLINE_MM = (8.5, 11, 20, 27, 24, 21.5, 22.5, 27.5, 31.5, 30, 21, 11.5, 8.5)


def _place_ear(points, half):
  root = points[half.loops['ear_root']]
  middle = root.mean(0)
  outward = np.array([0.94, 0.04, 0.12])
  outward /= np.linalg.norm(outward)
  up = np.array([0.0, 0.985, -0.17])
  up -= outward * (up @ outward)
  up /= np.linalg.norm(up)
  backward = np.cross(outward, up)
  backward *= -np.sign(backward[2])
  offset = root - middle
  angle = np.arctan2(offset @ up, offset @ backward)
  reach = 0.94e-3 * np.interp(np.rad2deg(angle), _OUTLINE_DEG, _OUTLINE_MM)
  # Name: share of the outline's reach, metres above the plane of the ear.
  steps = {
    'back': (0.72, -0.0040),
    'edge': (0.98, -0.0016),
    'helix': (1.00, 0.0016),
    'helix_inner': (0.87, 0.0018),
    'scapha': (0.76, -0.0014),
    'antihelix': (0.58, 0.0006),
    'concha': (0.33, -0.0062),
  }
  behind = np.clip(np.cos(angle), 0, 1)
  for name, (share, above) in steps.items():
    along = share * reach
    place = np.outer(along * np.cos(angle), backward)
    place += np.outer(along * np.sin(angle), up)
    # The pinna stands off the head more the further back it reaches.
    lift = 0.0068 + 0.28 * np.clip(along * np.cos(angle), -0.006, None)
    lift = lift * (
      0.35 + 0.65 * features.smooth_step(behind * 2.5 + np.abs(np.sin(angle)))
    )
    points[half.loops[f'ear_{name}']] = (
      middle + place + np.outer(lift + above, outward)
    )
  points[half.loops['ear_pole']] = middle - 0.002 * outward
