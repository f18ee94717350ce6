"""From a seed to the traits of a character.

Every topic draws from its own stream, so that a new trait in one topic leaves
the others as they were. Only `random.Random.random` is used: Python promises
its sequence for a seed, on every machine and version.
"""

from __future__ import annotations

import dataclasses
import random
from collections.abc import Sequence
from typing import TypeVar

T = TypeVar('T')


class Dice:
  """A reproducible stream of choices for one topic of one identity."""

  def __init__(self, seed: int, topic: str):
    self._random = random.Random(f'{int(seed)}/{topic}').random

  def uniform(self, low: float, high: float) -> float:
    """A float in [low, high)."""
    return low + (high - low) * self._random()

  def chance(self, probability: float) -> bool:
    """True with the given probability."""
    return self._random() < probability

  def pick(
    self, choices: Sequence[T], weights: Sequence[float] | None = None
  ) -> T:
    """One of the choices, by weight where weights are given."""
    weights = weights or [1.0] * len(choices)
    mark = self._random() * sum(weights)
    for choice, weight in zip(choices, weights, strict=True):
      mark -= weight
      if mark < 0:
        return choice
    return choices[-1]


@dataclasses.dataclass(frozen=True)
class FaceTraits:
  """Face, chin, ears, nose, mouth and marks; lengths in pixels."""

  half_width: float
  jaw: float
  chin_y: float
  chin_half: float
  ear: str
  nose: str
  blush: float
  mark: str
  mouth_y: float
  mouth_half: float
  mouth_style: str
  mouth_smile: float


@dataclasses.dataclass(frozen=True)
class EyeTraits:
  """Eyes and brows; lengths in pixels, offsets from the eye's centre."""

  center_x: float
  center_y: float
  half_width: float
  up: float
  low: float
  tilt: float
  peak: float
  lash: float
  wing: float
  spikes: int
  lower_lash: float
  crease: bool
  iris_x: float
  iris_y: float
  pupil: str
  highlight: str
  brow_y: float
  brow_thick: float
  brow_arch: float
  brow_tilt: float
  brow_short: float


@dataclasses.dataclass(frozen=True)
class HairTraits:
  """Hair style names and their numbers."""

  fringe: str
  side: str
  back: str
  tail: str
  part: float
  volume: float
  wave: float
  locks: int
  ahoge: str
  shine: str
  length: float


@dataclasses.dataclass(frozen=True)
class Identity:
  """All traits of a character but its colours."""

  seed: int
  boyish: bool
  face: FaceTraits
  eyes: EyeTraits
  hair: HairTraits
  clothes: str
  accessories: tuple[str, ...]
  accessory_side: int


def make_identity(seed: int) -> Identity:
  """The traits of an identity; deterministic in `seed`."""
  dice = Dice(seed, 'build')
  boyish = dice.chance(0.3)
  hair = _hair(Dice(seed, 'hair'), boyish)
  dice_clothes = Dice(seed, 'clothes')
  if boyish:
    clothes = dice_clothes.pick(
      ('blazer', 'hoodie', 'turtleneck', 'tshirt', 'kimono', 'uniform')
    )
  else:
    clothes = dice_clothes.pick(
      (
        'sailor',
        'blazer',
        'hoodie',
        'turtleneck',
        'tshirt',
        'camisole',
        'kimono',
        'dress',
        'uniform',
      )
    )
  dice_accessories = Dice(seed, 'accessories')
  return Identity(
    seed=seed,
    boyish=boyish,
    face=_face(Dice(seed, 'face'), boyish),
    eyes=_eyes(Dice(seed, 'eyes'), boyish),
    hair=hair,
    clothes=clothes,
    accessories=_accessories(dice_accessories, boyish, hair),
    accessory_side=dice_accessories.pick((-1, 1)),
  )


def _face(dice: Dice, boyish: bool) -> FaceTraits:
  return FaceTraits(
    half_width=dice.uniform(42.5, 46.5) - (1.0 if boyish else 0.0),
    jaw=dice.uniform(0.0, 1.0) * (1.0 if boyish else 0.7),
    chin_y=dice.uniform(55.5, 60.0) + (2.5 if boyish else 0.0),
    chin_half=dice.uniform(4.0, 7.0) + (1.5 if boyish else 0.0),
    ear=dice.pick(('round', 'elf'), (9, 1)),
    nose=dice.pick(('dot', 'line', 'shadow')),
    blush=0.0 if boyish else dice.pick((0.0, 0.35, 0.6), (1, 2, 2)),
    mark=dice.pick(
      ('none', 'mole', 'freckles', 'lines', 'plaster'), (12, 1.6, 1, 2, 0.7)
    ),
    mouth_y=dice.uniform(43.0, 45.5),
    mouth_half=dice.uniform(5.5, 9.0),
    mouth_style=dice.pick(
      ('smile', 'flat', 'cat', 'small', 'fang'), (5, 2, 1, 2, 0.8)
    ),
    mouth_smile=dice.uniform(0.8, 2.4),
  )


def _eyes(dice: Dice, boyish: bool) -> EyeTraits:
  shape = dice.pick(('round', 'almond', 'droopy', 'sharp'), (4, 3, 2, 2))
  tilt = {'round': 0.0, 'almond': -1.5, 'droopy': 4.2, 'sharp': -4.6}[shape]
  up = {'round': 12.6, 'almond': 11.2, 'droopy': 11.6, 'sharp': 10.4}[shape]
  up += dice.uniform(-0.6, 1.2) - (2.0 if boyish else 0.0)
  low = dice.uniform(7.4, 9.2) - (1.2 if boyish else 0.0)
  size = dice.uniform(0.92, 1.04)
  iris_y = 0.5 * (up + low) * dice.uniform(0.99, 1.06)
  return EyeTraits(
    center_x=dice.uniform(20.5, 22.5),
    center_y=dice.uniform(16.0, 18.5),
    half_width=dice.uniform(12.6, 14.4) * size,
    up=up * size,
    low=low * size,
    tilt=tilt + dice.uniform(-0.8, 0.8),
    peak=dice.uniform(-0.2, 0.15),
    lash=dice.uniform(2.9, 4.0) - (0.6 if boyish else 0.0),
    wing=dice.uniform(1.0, 4.0) * (0.5 if boyish else 1.0),
    spikes=0 if boyish else dice.pick((0, 1, 2, 3)),
    lower_lash=dice.uniform(0.6, 1.2),
    crease=dice.chance(0.8),
    iris_x=iris_y * dice.uniform(0.86, 0.96),
    iris_y=iris_y,
    pupil=dice.pick(('round', 'slit', 'deep', 'ring'), (5, 0.7, 3, 1.2)),
    highlight=dice.pick(('oval', 'double', 'slanted', 'sparkle'), (4, 3, 2, 1)),
    brow_y=dice.uniform(-3.5, -0.5),
    brow_thick=dice.uniform(1.7, 2.8) + (1.2 if boyish else 0.0),
    brow_arch=dice.uniform(1.0, 3.2),
    brow_tilt=dice.uniform(-1.5, 1.5) - (1.0 if boyish else 0.0),
    brow_short=dice.pick((0.0, 0.45), (8, 1)),
  )


_FRINGES = (
  ('jagged', 4),
  ('blunt', 2.4),
  ('swept', 3),
  ('parted', 2),
  ('center', 2.4),
  ('spiky', 1.2),
  ('back', 0.7),
)


def _hair(dice: Dice, boyish: bool) -> HairTraits:
  weights = [w for _, w in _FRINGES]
  if boyish:
    weights = [3, 0.3, 3, 1.5, 2, 4, 1]
  fringe = dice.pick([name for name, _ in _FRINGES], weights)
  if boyish:
    back = dice.pick(('short', 'bob', 'nape', 'medium'), (5, 1, 3, 1))
    side = dice.pick(('none', 'short', 'cheek'), (2, 4, 1))
    tail = dice.pick(('none', 'ponytail'), (9, 1))
  else:
    tail = dice.pick(
      ('none', 'twin', 'low twin', 'ponytail', 'side', 'buns', 'braids'),
      (8, 2.4, 1.2, 1.6, 1.2, 1.5, 1.5),
    )
    loose = ('short', 'bob', 'medium', 'long', 'nape')
    if tail == 'none':
      back = dice.pick(loose, (1, 3, 3, 5, 0.7))
    elif tail == 'buns':
      back = dice.pick(loose, (2, 1, 1, 2, 1))
    else:
      back = dice.pick(('short', 'nape'))
    side = dice.pick(
      ('short', 'cheek', 'chin', 'chest', 'drill', 'hime'),
      (1, 3, 4, 3, 0.7, 1),
    )
  return HairTraits(
    fringe=fringe,
    side=side,
    back=back,
    tail=tail,
    part=dice.uniform(6, 17) * dice.pick((-1, 1)),
    volume=dice.uniform(0.0, 6.0),
    wave=dice.pick((0.0, dice.uniform(2.0, 4.5)), (2, 1)),
    locks=dice.pick((5, 6, 7, 8)),
    ahoge=dice.pick(('none', 'curl', 'double', 'leaf'), (6, 2, 1, 1)),
    shine=dice.pick(('band', 'zigzag', 'soft', 'none'), (4, 3, 3, 1)),
    length=dice.uniform(0.0, 1.0),
  )


def _accessories(dice: Dice, boyish: bool, hair: HairTraits) -> tuple[str, ...]:
  chosen = []
  if dice.chance(0.17):
    chosen.append(
      dice.pick(('round glasses', 'square glasses', 'half glasses'))
    )
  if boyish:
    heads = ('none', 'clips', 'headphones', 'horns', 'cat ears')
    weights = (14, 1.5, 1.5, 1, 0.7)
  else:
    heads = (
      'none',
      'ribbon',
      'flower',
      'headband',
      'clips',
      'star clip',
      'cat ears',
      'horns',
      'headphones',
      'bow band',
    )
    weights = (7, 2.5, 2.5, 1.8, 2, 1.2, 1.2, 0.7, 0.8, 1.2)
  head = dice.pick(heads, weights)
  if head != 'none' and not (hair.tail == 'buns' and head == 'cat ears'):
    chosen.append(head)
  if dice.chance(0.15):
    chosen.append('earrings')
  if dice.chance(0.14):
    chosen.append('choker')
  return tuple(chosen)
