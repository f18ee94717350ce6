"""Colours of the vertices: skin, lips, brows, hair, eyes and mouth."""

from __future__ import annotations

import numpy as np

from flame_jax.procedural import features, layout, topology

SKIN = np.array([0.90, 0.71, 0.60])
_BLUSH = np.array([0.88, 0.55, 0.47])
_LIP = np.array([0.80, 0.47, 0.44])
_LIP_LINE = np.array([0.50, 0.22, 0.22])
_HAIR = np.array([0.27, 0.17, 0.12])
_LASH = np.array([0.20, 0.13, 0.11])
_LID_EDGE = np.array([0.80, 0.56, 0.50])
_SCLERA = np.array([0.90, 0.89, 0.88])
_IRIS = np.array([0.30, 0.47, 0.55])
_IRIS_EDGE = np.array([0.13, 0.22, 0.28])
_PUPIL = np.array([0.03, 0.03, 0.04])
_MOUTH = np.array([0.52, 0.20, 0.20])
_THROAT = np.array([0.16, 0.04, 0.05])
_TOOTH = np.array([0.97, 0.95, 0.90])


def half_colors(
  points: np.ndarray, base: np.ndarray, hair: np.ndarray
) -> np.ndarray:
  """Colours of the half mesh.

  Args:
    points: [H, 3] the half head, metres.
    base: [H, 3] the same points before features were added.
    hair: [H] how far a vertex belongs to the hair, 0 to 1.

  Returns:
    [H, 3] in [0, 1].
  """
  half = topology.half_topology()
  colors = np.tile(SKIN, (half.count, 1))
  front = np.clip(points[:, 2] / 0.03, 0, 1)
  hill = features.bump
  mix = _mixer(colors)
  mix(_BLUSH, 0.55 * front * hill(base[:, 0], base[:, 1], 42, 4, 13, 11))
  mix(_BLUSH, 0.45 * front * hill(base[:, 0], base[:, 1], 0, 0, 12, 7))
  mix(_BLUSH, 0.25 * front * hill(base[:, 0], base[:, 1], 0, -67, 12, 9))
  mix(_BLUSH, 0.20 * front * hill(base[:, 0], base[:, 1], 30, 25, 14, 6))
  _paint_brows(mix, half)
  mix(_HAIR, hair)
  mix(
    np.array([0.25, 0.1, 0.08]),
    0.8 * front * hill(base[:, 0], base[:, 1], 7.2, -9.9, 2.0, 1.3, 15),
  )
  for loop in topology.EAR_LOOPS[4:]:
    mix(_BLUSH, 0.35, half.loops[f'ear_{loop}'])
  _paint_lips(mix, half, base)
  _paint_eyes(mix, half)
  mix(_TOOTH, 1.0, half.loops['upper_teeth'].ravel())
  mix(_TOOTH * 0.93, 1.0, half.loops['lower_teeth'].ravel())
  return np.clip(colors, 0, 1)


def _mixer(colors):
  """Blends a colour into all or some vertices, in place."""

  def mix(color, amount, index=slice(None)):
    amount = np.asarray(amount)
    amount = amount[..., None] if amount.ndim else amount
    colors[index] += amount * (color - colors[index])

  return mix


def _paint_brows(mix, half):
  """Two grid rows between the edges of the brow."""
  bottom, top = layout.BROW_ROWS
  first, last = layout.BROW_COLUMNS
  rows = half.grid[first : last + 1, bottom + 1 : top]
  amount = np.full(rows.shape, 0.86)
  amount[0] *= 0.7
  amount[-1] *= 0.6
  mix(_HAIR, amount, rows)


def _paint_lips(mix, half, base):
  rings = [layout.MOUTH.ring(k) for k in range(layout.LIP_RINGS + 1)]
  points = np.concatenate(rings)
  points = points[points[:, 0] >= 0]
  index = half.grid[points[:, 0], points[:, 1]]
  share = layout.lip_share(base[index, 0], base[index, 1])
  mix(_LIP, np.clip((1.25 - share) / 0.5, 0, 1), index)
  loops = half.loops
  slit = loops['mouth_slit']
  middle = np.abs(np.linspace(1, -1, len(slit)))
  mix(_LIP, 0.8, slit)
  mix(_LIP_LINE, 0.35 + 0.4 * np.sqrt(middle), slit)
  mix(_LIP_LINE, 1.0, loops['mouth_inner_lip'])
  mix(_MOUTH, 1.0, loops['mouth_vestibule'])
  for name, depth in (('pocket', 0.5), ('palate', 0.85), ('throat', 1.0)):
    mix(_MOUTH + depth * (_THROAT - _MOUTH), 1.0, loops[f'mouth_{name}'])


def _paint_eyes(mix, half):
  loops = half.loops
  rim = layout.EYE.ring()
  middle = (layout.EYE.bottom + layout.EYE.top) // 2
  upper = rim[:, 1] > middle
  mix(_LASH, 0.85, loops['eye_rim'][upper])
  mix(_LASH, 0.95, loops['eye_margin'][upper])
  mix(_LASH, 0.30, loops['eye_rim'][~upper])
  mix(_LID_EDGE, 1.0, loops['eye_margin'][~upper])
  mix(_LID_EDGE * 0.8, 1.0, loops['eye_under'])
  ball = loops['eyeball']
  mix(_SCLERA, 1.0, ball)
  segments = topology.EYEBALL_SEGMENTS
  # Loops of the eyeball from the pupil: two of the pupil, two of the iris.
  for first, last, color in (
    (2, 4, _IRIS),
    (4, 5, _IRIS_EDGE),
    (0, 2, _PUPIL),
  ):
    mix(color, 1.0, ball[1 + first * segments : 1 + last * segments])
  mix(_PUPIL, 1.0, ball[:1])
