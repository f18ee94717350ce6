"""The mouth, redrawn for every expression."""

from __future__ import annotations

import numpy as np

from data.characters import geometry
from data.characters.geometry import Clip, Op, Patch, make_patch
from data.characters.identity import FaceTraits
from data.characters.palette import Palette
from data.characters.turn import face_depth

_SAMPLES = 17
# Half width, lift above and drop below the lip line, how far the corners
# rise, roundness (1 pointed, 2 ellipse, 3 box), upper and lower teeth, tongue.
_VOWELS = np.array(
  [
    (9.8, 3.0, 12.0, 0.6, 2.3, 2.2, 0.0, 5.4),  # a: tall, tongue below
    (11.6, 2.4, 6.4, 0.4, 2.2, 2.2, 0.0, 2.6),  # e: half open, wide
    (13.2, 2.2, 3.6, 1.8, 2.6, 2.6, 2.4, 0.0),  # i: wide, teeth meet
    (6.0, 4.6, 8.4, 0.0, 2.0, 0.0, 0.0, 4.4),  # o: round
    (3.9, 3.0, 4.2, 0.0, 2.0, 0.0, 0.0, 0.0),  # u: small and pursed
  ]
)


class Mouth:
  """One mouth: builds patches for the five vowel coefficients."""

  def __init__(self, face: FaceTraits, palette: Palette):
    self._face = face
    self._palette = palette
    half = {'small': 4.2, 'cat': 7.5}.get(face.mouth_style, face.mouth_half)
    smile = 0.2 if face.mouth_style == 'flat' else face.mouth_smile
    self._neutral = np.array([half, 0.0, 0.0, smile, 2.0, 0.0, 0.0, 0.0])

  def lips(self, vowels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Upper and lower lip edge.

    Args:
      vowels: [5] a, e, i, o, u in [0, 1].

    Returns:
      Two [17, 2] curves in head coordinates, picture left to right.
    """
    upper, lower, _ = self._shape(vowels)
    return upper, lower

  def _shape(
    self, vowels: np.ndarray
  ) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    share = vowels / max(1.0, float(vowels.sum()))
    numbers = self._neutral + share @ (_VOWELS - self._neutral)
    half, lift, drop, corner, power, *_ = numbers
    u = np.sin(np.linspace(-0.5, 0.5, _SAMPLES) * np.pi)
    bulge = (1 - np.abs(u) ** power) ** (1 / power)
    line = self._face.mouth_y - corner * u * u
    if self._face.mouth_style == 'cat':
      line = line + 1.7 * (1 - share.sum()) * (np.cos(2 * np.pi * u) - 1) * -0.5
    # The jaw takes a wide mouth a little down.
    line = line - 0.12 * drop
    upper = np.stack([half * u, line - lift * bulge], axis=1)
    lower = np.stack([half * u, line + drop * bulge], axis=1)
    return upper, lower, numbers

  def ops(self, vowels: np.ndarray) -> list[Op]:
    """Inside, teeth, tongue and lips, back to front."""
    upper, lower, numbers = self._shape(vowels)
    palette = self._palette
    opening = _patch(geometry.between(upper, lower), palette.mouth, True)
    content = (
      *self._tongue(lower, numbers),
      *self._teeth(upper, lower, numbers),
    )
    openness = min(1.0, (numbers[1] + numbers[2]) / 4.0)
    line = palette.skin.line
    low_lip = geometry.stroke(lower, 1.1, (0.5, 0.5))
    top_lip = geometry.stroke(upper, 1.75 - 0.2 * openness, (0.45, 0.45))
    below = lower[5:12] * (0.8, 1) + (0, 3.4)
    ops: list[Op] = [
      _patch(geometry.stroke(below, 1.0, (0.0, 0.0)), palette.skin.shade),
      opening,
    ]
    if content:
      ops.append(Clip(opening, content))
    ops += [_patch(low_lip, line, True), _patch(top_lip, line, True)]
    if self._face.mouth_style == 'fang':
      ops.append(self._fang(upper, openness))
    return ops

  def _tongue(self, lower: np.ndarray, numbers: np.ndarray) -> list[Patch]:
    half, height = numbers[0], numbers[7]
    bottom = lower[_SAMPLES // 2]
    center = (bottom[0], bottom[1] + 0.35 * height)
    grid = geometry.ellipse(center, (0.72 * half, 1.25 * height + 1e-3), 9)
    return [_patch(grid, self._palette.tongue)]

  def _teeth(
    self, upper: np.ndarray, lower: np.ndarray, numbers: np.ndarray
  ) -> list[Patch]:
    top, bottom = numbers[5], numbers[6]
    white = self._palette.white
    inset = slice(1, -1)
    rows = geometry.between(upper[inset] - (0, 1), upper[inset] + (0, top))
    low_rows = geometry.between(
      lower[inset] - (0, bottom), lower[inset] + (0, 1)
    )
    return [_patch(low_rows, white.shade), _patch(rows, white.base)]

  def _fang(self, upper: np.ndarray, openness: float) -> Patch:
    at = upper[11]
    length = 2.6 + 0.6 * openness
    corners = [[(-1.3, 0.2), (1.3, 0.0)], [(0.1, length), (0.1, length)]]
    grid = np.array(corners) + at
    return _patch(grid, self._palette.white.base)


def _patch(grid: np.ndarray, color: tuple, surface: bool = False) -> Patch:
  return make_patch(grid, color, face_depth(grid) + 0.8, surface=surface)
