"""Random pose vectors as AnimeCeleb samples them.

Every frame gets one target morph for the eyes, one for the brows and one for
the mouth, each with its own strength, and, if it is a rotated frame, three
head angles (Kim et al., AnimeCeleb, ECCV 2022, section 3). A target morph of
the eyes or brows moves the left side, the right side or both alike: 9 + 9 + 5
target morphs fill the 17 coefficients.
"""

from __future__ import annotations

import numpy as np

from data import pose_vector

# In the order in which random numbers are used up.
PARTS = ('eye', 'eyebrow', 'mouth')

_ANGLES = pose_vector.group_indices('head')
_ANGLE_LOW = np.array([pose_vector.POSE_NUMBERS[i].low for i in _ANGLES])
_ANGLE_HIGH = np.array([pose_vector.POSE_NUMBERS[i].high for i in _ANGLES])
# Two numbers a part (which morph, how strong) and one an angle.
_NUMBERS_A_FRAME = 2 * len(PARTS) + len(_ANGLES)


def target_morphs(part: str) -> tuple[tuple[int, ...], ...]:
  """The target morphs of a part.

  Args:
    part: `eye`, `eyebrow` or `mouth`.

  Returns:
    For each morph the pose-vector indices that it drives with one strength:
    (left,), (right,) and (left, right) of each kind, or the single index of a
    morph without sides.

  Raises:
    ValueError: if there is no such part.
  """
  if part not in PARTS:
    raise ValueError(f'part is {part!r}, wanted one of {", ".join(PARTS)}')
  sides = {
    side: [
      i
      for i, number in enumerate(pose_vector.POSE_NUMBERS)
      if (number.group, number.side) == (part, side)
    ]
    for side in ('left', 'right', 'both')
  }
  morphs: list[tuple[int, ...]] = []
  for left, right in zip(sides['left'], sides['right'], strict=True):
    morphs += [(left,), (right,), (left, right)]
  return (*morphs, *((index,) for index in sides['both']))


def _morph_masks(part: str) -> np.ndarray:
  """[morphs, 20] float64, 1 where a morph drives a number."""
  morphs = target_morphs(part)
  masks = np.zeros((len(morphs), pose_vector.NUM_POSE))
  for mask, indices in zip(masks, morphs, strict=True):
    mask[list(indices)] = 1
  return masks


_MASKS = tuple(_morph_masks(part) for part in PARTS)


def sample_poses(
  rng: np.random.Generator, count: int, rotate: bool
) -> np.ndarray:
  """Draws pose vectors.

  The same generator state gives the same expressions whether they are
  rotated or not, and the first n of them whatever `count` is.

  Args:
    rng: source of randomness; moves on by 9 numbers a frame.
    count: number of frames, 0 or more.
    rotate: whether head angles are U(-20, 20) degrees, otherwise 0.

  Returns:
    [count, 20] float32 pose vectors; strengths are U(0, 1).
  """
  numbers = rng.random((count, _NUMBERS_A_FRAME))
  poses = np.zeros((count, pose_vector.NUM_POSE))
  for part, masks in enumerate(_MASKS):
    morph = (numbers[:, 2 * part] * len(masks)).astype(np.int64)
    poses += masks[morph] * numbers[:, 2 * part + 1, None]
  if rotate:
    fractions = numbers[:, 2 * len(PARTS) :]
    poses[:, _ANGLES] = _ANGLE_LOW + fractions * (_ANGLE_HIGH - _ANGLE_LOW)
  return poses.astype(np.float32)


def identity_poses(
  seed: int, identity: int, count: int, rotate: bool
) -> np.ndarray:
  """The poses of one identity, the same on every machine.

  Args:
    seed: of the whole data set, 0 or more.
    identity: seed of the character, 0 or more.
    count: number of frames.
    rotate: see `sample_poses`; both kinds show the same expressions.

  Returns:
    [count, 20] float32 pose vectors.
  """
  bits = np.random.Philox(np.random.SeedSequence([seed, identity]))
  return sample_poses(np.random.Generator(bits), count, rotate)
