"""Hair behind the head: loose hair, tails, buns and braids."""

from __future__ import annotations

import numpy as np

from data.characters import geometry
from data.characters.geometry import Op, make_patch
from data.characters.hair import Lock, group_ops, hanging, make_lock
from data.characters.hair_front import cap_outline, dome
from data.characters.identity import Dice, Identity
from data.characters.palette import Palette
from data.characters.turn import hair_depth

_GLEAM = ((0.20, 0.36, 0.40, 0.22), (0.24, 0.33, 0.60, 0.12))


def back_ops(identity: Identity, palette: Palette) -> list[Op]:
  """Everything behind head and body, back to front."""
  ops: list[Op] = []
  tails = _tails(identity)
  if tails:
    ops += group_ops(tails, palette)
  ops += _spikes(identity, palette)
  ops += group_ops(_loose(identity), palette)
  ops += _skull(identity, palette)
  return ops


def _skull(identity: Identity, palette: Palette) -> list[Op]:
  """Hair on the back of the head, seen when the head nods or tilts."""
  arc = dome(identity.hair.volume)[2:-2]
  nape = 36 - 30 * (arc[:, 0] / arc[-1, 0]) ** 2
  bottom = np.stack([0.88 * arc[:, 0], nape], axis=1)
  grid = geometry.between(arc * 0.985, bottom, 4)
  center = np.array([0.0, -15.0])

  def depth(points: np.ndarray) -> np.ndarray:
    return -0.45 * hair_depth(points)

  rim = center + (grid - center) * (1 + 0.035 * palette.look.pen)
  return [
    make_patch(rim, palette.hair.line, depth),
    cap_outline(identity, palette),
    make_patch(grid, palette.hair.base, depth),
  ]


def _beside(arc: np.ndarray, k: int, out: np.ndarray) -> np.ndarray:
  return arc[min(max(k, 0), len(arc) - 1)] - 6 * out


def _spikes(identity: Identity, palette: Palette) -> list[Op]:
  """Tufts that stand out of the outline of ruffled hair."""
  dice = Dice(identity.seed, 'spikes')
  if identity.hair.fringe != 'spiky' and not (
    identity.boyish and dice.chance(0.4)
  ):
    return []
  arc = dome(identity.hair.volume)
  pen = 1.6 * palette.look.pen
  outlines: list[Op] = []
  fills: list[Op] = []
  for k in (2, 22, 5, 19, 8, 16, 10, 13):
    out = arc[k] - (0.0, -12.0)
    out = out / np.hypot(out[0], out[1])
    # Tufts fall away from the crown.
    away = np.sign(arc[k, 0])
    tip = arc[k] + dice.uniform(6, 14) * (
      out + (0.8 * away * np.array([-out[1], out[0]]))
    )
    first, second = _beside(arc, k - 3, out), _beside(arc, k + 3, out)
    middle = 0.5 * (arc[k] + tip) - 2 * out
    rails = [
      geometry.smooth_curve(
        [base, 0.6 * base + 0.4 * middle + 2.5 * out, tip], 8
      )
      for base in (first, second)
    ]
    grid = geometry.between(*rails)
    wide = geometry.between(
      rails[0] + geometry.normals(rails[0]) * -pen,
      rails[1] + geometry.normals(rails[1]) * pen,
    )
    wide[-1] = tip + 2.4 * (tip - middle) / np.hypot(*(tip - middle))
    outlines.append(make_patch(wide, palette.hair.line, -8.0))
    fills.append(make_patch(grid, palette.hair.base, -8.0))
  return outlines + fills


def _loose(identity: Identity) -> list[Lock]:
  hair = identity.hair
  dice = Dice(identity.seed, 'back')
  build = {
    'short': _short,
    'nape': _nape,
    'bob': _bob,
    'medium': _flowing,
    'long': _flowing,
  }[hair.back]
  return build(identity, dice)


def _short(identity: Identity, dice: Dice) -> list[Lock]:
  half = 46.5 + 0.7 * identity.hair.volume
  locks = []
  for side in (-1, 1):
    for x, y in ((0.45, 50), (0.72, 44), (0.94, 34)):
      locks.append(
        make_lock(
          [
            (side * 0.8 * half, -24),
            (side * (x * half + 3), 8),
            (side * (x * half + dice.uniform(-2, 3)), y + dice.uniform(-4, 3)),
          ],
          24,
          -16.0,
          dark=x < 0.9,
          shade=side,
        )
      )
  return locks


def _nape(identity: Identity, dice: Dice) -> list[Lock]:
  half = 47.0 + 0.7 * identity.hair.volume
  locks = []
  for side in (-1, 1):
    for x, y, flick in (
      (0.5, 66, 3),
      (0.75, 60, 8),
      (1.0, 47, 10),
    ):
      locks.append(
        make_lock(
          [
            (side * 0.7 * half, -30),
            (side * (x * half + 2), 0.4 * y),
            (side * (x * half - 2), 0.78 * y),
            (side * (x * half + flick), y + dice.uniform(-3, 4)),
          ],
          22,
          -14.0,
          dark=x < 0.9,
          shade=side,
        )
      )
  return locks


def _bob(identity: Identity, dice: Dice) -> list[Lock]:
  hair = identity.hair
  half = 51.0 + 0.9 * hair.volume
  bottom = 50 + 16 * hair.length
  locks = []
  for side in (-1, 1):
    for x, stop, width in (
      (0.25, 0.9, 30),
      (0.52, 0.97, 30),
      (0.8, 1.0, 28),
      (0.98, 0.98, 25),
    ):
      locks.append(
        make_lock(
          [
            (side * 0.6 * half, -44),
            (side * (0.2 + 0.8 * x) * half * 1.03, -4),
            (side * x * half * 1.05, 0.62 * bottom),
            (
              side * (x * half - 9 + dice.uniform(-2, 2)),
              bottom * stop + dice.uniform(-3, 3),
            ),
          ],
          width,
          -10.0,
          tip_share=0.16,
          peak=0.55,
          wave=0.6 * hair.wave,
          dark=x < 0.9,
          shade=side,
        )
      )
  return locks


def _flowing(identity: Identity, dice: Dice) -> list[Lock]:
  hair = identity.hair
  long = hair.back == 'long'
  bottom = (108 + 26 * hair.length) if long else (74 + 18 * hair.length)
  half = 49.0 + 0.8 * hair.volume
  spread = (1.22 + 0.2 * hair.length) if long else 1.14
  locks = []
  for side in (-1, 1):
    for x, width in ((0.2, 34), (0.46, 32), (0.7, 30), (0.92, 26), (1.05, 20)):
      stop = bottom * dice.uniform(0.93, 1.06) * (1.0 - 0.12 * (x > 1))
      locks.append(
        make_lock(
          [
            (side * 0.6 * half, -46),
            (side * (0.3 + 0.72 * x) * half * 1.02, 2),
            (side * x * half * (0.55 + 0.5 * spread), 0.55 * stop),
            (side * x * half * spread + dice.uniform(-4, 4), stop),
          ],
          width,
          -14.0,
          count=19,
          root=0.5,
          peak=0.5,
          tip_share=0.08,
          wave=hair.wave * 1.2,
          phase=2.0 * x + side,
          follow=hanging(19, 1.0, 0.35 if long else 0.6),
          dark=x < 0.65,
          shade=side,
          shine=_GLEAM if x > 0.8 and hair.shine != 'none' else (),
        )
      )
  return locks


def _tail(
  controls: list, width: float, identity: Identity, dice: Dice, end: float
) -> list[Lock]:
  """A bundle of three locks along one curve."""
  locks = []
  hair = identity.hair
  points = np.asarray(controls, float)
  for shift, share, scale in ((-0.34, 0.92, 0.8), (0.34, 0.96, 0.8), (0, 1, 1)):
    moved = points.copy()
    growth = np.linspace(0.15, 1.0, len(points))[:, None]
    moved[1:, 0] += shift * width * growth[1:, 0]
    moved[-1] = moved[-2] + share * (moved[-1] - moved[-2])
    locks.append(
      make_lock(
        list(moved),
        width * scale,
        -12.0,
        count=19,
        root=0.34,
        peak=0.4,
        wave=hair.wave,
        phase=dice.uniform(0, 6),
        follow=hanging(19, 1.0, end),
        shade=1 if shift >= 0 else -1,
        shine=_GLEAM if shift == 0 else (),
      )
    )
  return locks


def tail_roots(identity: Identity) -> list[tuple[float, float]]:
  """Where tails, buns and braids are tied, rest coordinates."""
  hair = identity.hair
  side = 1.0 if hair.part > 0 else -1.0
  return {
    'none': [],
    'twin': [(-47.0, -38.0), (47.0, -38.0)],
    'low twin': [(-45.0, 36.0), (45.0, 36.0)],
    'ponytail': [(13.0 * side, -66.0)],
    'side': [(46.0 * side, -30.0)],
    'buns': [(-33.0, -59.0), (33.0, -59.0)],
    'braids': [(-46.0, 45.0), (46.0, 45.0)],
  }[hair.tail]


def _tails(identity: Identity) -> list[Lock]:
  hair = identity.hair
  dice = Dice(identity.seed, 'tail')
  long = 60 + 60 * hair.length
  locks = []
  for x, y in tail_roots(identity):
    side = np.sign(x)
    if hair.tail in ('twin', 'side'):
      curve = [
        (x - 4 * side, y),
        (x + 20 * side, y + 6),
        (x + 29 * side, y + 0.5 * long + 14),
        (x + 21 * side, y + long + 30),
      ]
      locks += _tail(curve, 26, identity, dice, 0.55)
    elif hair.tail == 'low twin':
      curve = [
        (x - 5 * side, y - 6),
        (x + 9 * side, y + 10),
        (x + 16 * side, y + 40),
        (x + 12 * side, y + 50 + 0.4 * long),
      ]
      locks += _tail(curve, 22, identity, dice, 0.5)
    elif hair.tail == 'ponytail':
      curve = [
        (x, y + 4),
        (x + 22 * side, y - 12),
        (x + 50 * side, y + 18),
        (x + 52 * side, y + 62),
        (x + 44 * side, y + 70 + long),
      ]
      locks += _tail(curve, 30, identity, dice, 0.55)
  return locks
