"""Hair in front of the face: cap, fringes, side locks and ahoge."""

from __future__ import annotations

import numpy as np

from data.characters import geometry
from data.characters.geometry import Op, Patch, make_patch
from data.characters.hair import Lock, group_ops, hanging, make_lock
from data.characters.identity import Dice, Identity
from data.characters.palette import Palette
from data.characters.turn import hair_depth

# Highlights of a fringe lock; see `Lock.shine`.
_SHINE = {
  'band': ((0.40, 0.52, 0.46, 0.86),),
  'zigzag': ((0.30, 0.56, 0.30, 0.20), (0.36, 0.52, 0.56, 0.16)),
  'soft': ((0.34, 0.55, 0.36, 0.26),),
  'none': (),
}


def dome(volume: float, count: int = 25) -> np.ndarray:
  """Outline of the hair over the skull, left temple to right temple."""
  half, top = 48.5 + 0.7 * volume, 64.5 + volume
  angle = np.linspace(-0.56, 0.56, count) * np.pi
  x = half * np.sign(angle) * np.abs(np.sin(angle)) ** 0.92
  y = -4 - (top - 4) * np.cos(angle)
  return np.stack([x, y], axis=1)


def _hairline(identity: Identity) -> np.ndarray:
  """Lower edge of the cap, left temple to right temple, [25, 2]."""
  hair = identity.hair
  half = dome(hair.volume)[-1, 0]
  part = 0.6 * hair.part
  # Low enough that no sliver of skin shows where locks begin to part.
  middle = [(-0.45 * half, -30), (0.0, -31), (0.45 * half, -30)]
  if hair.fringe == 'parted':
    middle = [(-0.45 * half, -37), (part, -42), (0.45 * half, -37)]
  if hair.fringe == 'back':
    middle = [(-0.5 * half, -33), (0, -27.5), (0.5 * half, -33)]
  return geometry.smooth_curve(
    [
      (-half + 0.5, 2),
      (-0.86 * half, -20),
      *middle,
      (0.86 * half, -20),
      (half - 0.5, 2),
    ],
    25,
  )


def cap_patch(identity: Identity, palette: Palette) -> Patch:
  """The hair on the skull above the forehead."""
  arc = dome(identity.hair.volume)
  grid = geometry.between(arc, _hairline(identity), 5)
  return make_patch(grid, palette.hair.base, hair_depth)


def cap_outline(identity: Identity, palette: Palette) -> Patch:
  """Outline of the cap; painted behind the head, or it would cross it."""
  arc = dome(identity.hair.volume)
  away = arc - (0.0, -20.0)
  away = away / np.hypot(away[:, 0], away[:, 1])[:, None]
  rim = geometry.between(arc + 1.7 * palette.look.pen * away, arc - 2 * away)
  return make_patch(rim, palette.hair.line, hair_depth)


def fringe_locks(identity: Identity) -> list[Lock]:
  """Locks of the fringe, back to front."""
  dice = Dice(identity.seed, 'fringe')
  build = {
    'jagged': _jagged,
    'blunt': _blunt,
    'swept': _swept,
    'parted': _parted,
    'center': _center,
    'spiky': _spiky,
    'back': _swept_back,
  }[identity.hair.fringe]
  return build(identity, dice)


def _front_lock(
  identity: Identity,
  root: tuple[float, float],
  tip: tuple[float, float],
  width: float,
  bend: float = 0.0,
  slant: float = 0.0,
  **options,
) -> Lock:
  """A fringe lock over the dome.

  `bend` moves its middle sideways, `slant` is how far its tip points sideways.
  """
  (rx, ry), (tx, ty) = root, tip
  middle = (0.25 * rx + 0.78 * tx + bend - slant, 0.42 * ry + 0.5 * ty - 6)
  lower = (
    0.04 * rx + 0.97 * tx + 0.6 * bend - 0.55 * slant,
    0.14 * ry + 0.86 * ty,
  )
  options.setdefault('peak', 0.48)
  options.setdefault('root', 0.35)
  return make_lock(
    [root, middle, lower, tip],
    width,
    lambda p: hair_depth(p) + 1.5,
    shine=_SHINE[identity.hair.shine],
    **options,
  )


def _crown(identity: Identity, x: float) -> tuple[float, float]:
  part = identity.hair.part
  return (0.25 * part + 0.30 * x, -61.0 - identity.hair.volume + 0.06 * abs(x))


def _jagged(identity: Identity, dice: Dice) -> list[Lock]:
  count = identity.hair.locks
  spots = np.linspace(-36, 36, count)
  lean = 5.0 * dice.pick((-1, 0, 1))
  locks = []
  for k, x in enumerate(spots):
    drop = (6.0 if k % 2 else -2.0) + dice.uniform(-2.5, 3.0)
    slant = lean or (0.13 * x + dice.uniform(-2, 2))
    tip = (1.05 * x + 0.5 * slant, 1.5 + drop + 0.14 * abs(x))
    width = 112 / count * dice.uniform(0.95, 1.2)
    locks.append(
      _front_lock(
        identity,
        _crown(identity, x),
        tip,
        width,
        0.06 * x,
        slant,
        shade=1 if slant > 0 else -1,
      )
    )
  order = sorted(range(count), key=lambda k: -abs(spots[k]) - 3 * (k % 2))
  return [locks[k] for k in order]


def _blunt(identity: Identity, dice: Dice) -> list[Lock]:
  count = identity.hair.locks + 1
  level = dice.uniform(-1.0, 4.0)
  locks = []
  for k, x in enumerate(np.linspace(-37, 37, count)):
    tip = (x, level + 0.004 * x * x + dice.uniform(-0.8, 0.8))
    locks.append(
      _front_lock(
        identity,
        _crown(identity, x),
        tip,
        96 / count * 1.22,
        0.1 * x,
        tip_share=0.74,
        peak=0.8,
        shade=1 if k % 2 else -1,
      )
    )
  return sorted(locks, key=lambda lock: -abs(lock.center[-1, 0]))


def _swept(identity: Identity, dice: Dice) -> list[Lock]:
  part = identity.hair.part
  way = -np.sign(part)
  root_y = -60.0 - identity.hair.volume
  locks = []
  # The short side, beyond the part, then the long side from the temple in.
  for share in (1.0, 0.4):
    x = part - way * (8 + share * (33 - abs(part)))
    tip = (x, 3 + 7 * share + dice.uniform(-3, 3))
    root = (part - way * 3 * share, root_y + 2)
    locks.append(
      _front_lock(identity, root, tip, 19, -way * 5, -way * 6, shade=-way)
    )
  count = identity.hair.locks - 1
  for k in reversed(range(count)):
    share = k / (count - 1)
    x = part + way * (1 + share * (abs(part) + 38))
    y = -3.0 + 12.0 * share + (4.5 if k % 2 else -2) + dice.uniform(-2, 2)
    root = (part + way * 8 * share, root_y + 3 * (1 - share))
    locks.append(
      _front_lock(
        identity,
        root,
        (x, y),
        25 - 6 * share,
        -way * 3 * (1 - share),
        way * (13 - 7 * share),
        shade=way,
        peak=0.4,
      )
    )
  return locks


def _parted(identity: Identity, dice: Dice) -> list[Lock]:
  part = 0.35 * identity.hair.part
  root_y = -59.0 - identity.hair.volume
  locks = []
  for side in (-1, 1):
    for share, width in ((1.0, 24), (0.62, 22), (0.25, 18)):
      x = part + side * (10 + 30 * share)
      drop = 12 * share - 9 + dice.uniform(-2, 4)
      tip = (x + side * 3, drop + 4)
      root = (part + side * (1 + 5 * share), root_y + 1.5)
      locks.append(
        _front_lock(
          identity, root, tip, width, side * 6 * share, side * 4, shade=side
        )
      )
  return locks


def _center(identity: Identity, dice: Dice) -> list[Lock]:
  locks = []
  for side in (-1, 1):
    for x, y, width in ((39, 16, 20), (29, 7, 22), (17, -1, 19)):
      x, y = x + dice.uniform(-2, 2), y + dice.uniform(-3, 3)
      locks.append(
        _front_lock(
          identity,
          _crown(identity, side * x),
          (side * (x + 2), y),
          width,
          side * 3,
          side * 4,
          shade=side,
        )
      )
  lean = dice.uniform(-5, 5)
  long = dice.uniform(14, 24)
  locks.append(
    _front_lock(identity, _crown(identity, 2), (lean, long), 21, -0.5 * lean)
  )
  return locks


def _spiky(identity: Identity, dice: Dice) -> list[Lock]:
  lean = 6.0 * np.sign(identity.hair.part)
  count = identity.hair.locks
  locks = []
  for x in np.linspace(-38, 38, count):
    tip = (
      x + lean + dice.uniform(-6, 6),
      dice.uniform(-8, 8) + 0.10 * abs(x),
    )
    locks.append(
      _front_lock(
        identity,
        _crown(identity, x),
        tip,
        132 / count,
        0.1 * x,
        lean + 0.1 * x,
        peak=0.35,
      )
    )
  return sorted(locks, key=lambda lock: lock.center[-1, 1])


def _swept_back(identity: Identity, dice: Dice) -> list[Lock]:
  strand = 4 * np.sign(identity.hair.part)
  tip = (3.6 * strand, dice.uniform(-6, 8))
  return [_front_lock(identity, (0.5 * strand, -34), tip, 7, 1.5 * strand)]


def combed_ops(identity: Identity, palette: Palette) -> list[Op]:
  """Lines and shine of hair that is combed back from the forehead."""
  if identity.hair.fringe != 'back':
    return []
  arc, line = dome(identity.hair.volume), _hairline(identity)

  def painted(grid: np.ndarray, color) -> Patch:
    return make_patch(grid, color, hair_depth, surface=False)

  ops: list[Op] = []
  for k in range(5, 20, 2):
    end = arc[k] * (0.5, 0.94 if k % 4 == 1 else 0.86)
    middle = 0.5 * (line[k] + end) + line[k] * (0.13, 0.0) - (0, 2)
    curve = geometry.smooth_curve([line[k], middle, end], 9)
    thin = geometry.stroke(curve, 1.3, (0.8, 0.0))
    ops.append(painted(thin, palette.hair.line))
    if k in (7, 9, 15):
      beside = np.add(curve[2:7], (3.0, 0.0))
      shine = geometry.stroke(beside, 3.2, (0.0, 0.0))
      ops.append(painted(shine, palette.hair.light))
  edge = geometry.stroke(line[1:-1], 1.4, (0.6, 0.6))
  return [*ops, painted(edge, palette.hair.line)]


def side_locks(identity: Identity) -> list[Lock]:
  """Locks that hang beside the face, in front of the ears."""
  hair = identity.hair
  dice = Dice(identity.seed, 'side')
  lengths = {
    'none': -1.0,
    'short': 14.0,
    'cheek': 36.0,
    'chin': 58.0,
    'chest': 100.0,
    'drill': 84.0,
    'hime': 46.0,
  }
  length = lengths[hair.side]
  if length < 0:
    return []
  length += dice.uniform(-5, 7)
  edge = max(identity.face.half_width + 1.0, 44.5)
  locks = []
  for side in (-1, 1):
    locks += _side_group(identity, dice, side, edge, length)
  return locks


def _side_group(
  identity: Identity, dice: Dice, side: int, edge: float, length: float
) -> list[Lock]:
  hair = identity.hair
  end = 1.0 if length < 60 else 0.55

  def depth(points: np.ndarray) -> np.ndarray:
    return np.clip(hair_depth(points), 17, None)

  def one(x: float, width: float, stop: float, sway: float, **more) -> Lock:
    options = {'wave': hair.wave * (stop > 50), 'root': 0.3, 'peak': 0.5}
    options |= more
    return make_lock(
      [
        (side * 0.60 * x, -50 - 0.5 * hair.volume),
        (side * x * 1.02, -18),
        (side * (x + 1), 0.5 * (stop - 18)),
        (side * (x + sway), stop),
      ],
      width,
      depth,
      count=17,
      follow=hanging(17, 1.0, end),
      shade=side,
      **options,
    )

  if hair.side == 'hime':
    return [one(edge - 2.0, 17, length, -2, tip_share=0.85, peak=0.6)]
  if hair.side == 'drill':
    # The ringlet itself is in `hair_tied`.
    return [one(edge + 1.5, 13, 26, 1), one(edge - 4, 10, 34, -2)]
  locks = [one(edge + 1.0, 15, length, dice.uniform(-6, 1))]
  if length > 20:
    locks.append(
      one(edge - 5, 10, length * dice.uniform(0.45, 0.8), dice.uniform(-4, 0))
    )
  return locks


def ahoge_ops(identity: Identity, palette: Palette) -> list[Op]:
  """Single hairs that stand up from the crown."""
  hair = identity.hair
  way = np.sign(hair.part)
  x, top = 0.25 * hair.part, -62.0 - hair.volume
  curves = {
    'none': [],
    'curl': [
      [
        (x, top),
        (x + way * 3, top - 11),
        (x + way * 14, top - 14),
        (x + way * 21, top - 4),
      ]
    ],
    'double': [
      [(x, top), (x + 5, top - 11), (x + 14, top - 13)],
      [(x, top), (x - 3, top - 9), (x - 11, top - 12)],
    ],
    'leaf': [[(x, top), (x - way * 3, top - 9), (x + way * 3, top - 19)]],
  }[hair.ahoge]
  locks = [
    make_lock(c, 6.0, 4.0, count=11, root=0.6, peak=0.35) for c in curves
  ]
  return group_ops(locks, palette, 1.3) if locks else []
