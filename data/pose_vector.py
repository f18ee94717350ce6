"""The 20 numbers that pose an anime head, declared once.

Everything else (indices, column names, pictures, adapters) is derived from
`POSE_NUMBERS`. Order and ranges follow AnimeCeleb (Kim et al., ECCV 2022):
17 coefficients in [0, 1], then 3 head angles in degrees. No public file names
AnimeCeleb's 17 columns; the names below are inferred from the released pose
adapter and network on real frames (0-5 eyes, 6-11 brows, 12-16 mouth, each
left then right), so data read from AnimeCeleb is "column meanings inferred".

"Left" is the character's left, which is the picture's right.
"""

from __future__ import annotations

import dataclasses

import numpy as np


@dataclasses.dataclass(frozen=True)
class PoseNumber:
  """One entry of the pose vector.

  Attributes:
    name: column name, e.g. `eye_wink_left`.
    group: `eye`, `eyebrow`, `mouth` or `head`.
    side: `left`, `right` or `both`.
    low: smallest value of the working range.
    high: largest value of the working range.
    unit: empty for coefficients, `deg` for angles.
    meaning: what a viewer sees at `high`.
  """

  name: str
  group: str
  side: str
  low: float
  high: float
  unit: str
  meaning: str


def _pair(stem: str, group: str, meaning: str) -> list[PoseNumber]:
  return [
    PoseNumber(f'{stem}_{side}', group, side, 0.0, 1.0, '', meaning)
    for side in ('left', 'right')
  ]


def _single(name: str, group: str, meaning: str) -> PoseNumber:
  return PoseNumber(name, group, 'both', 0.0, 1.0, '', meaning)


def _angle(name: str, meaning: str) -> PoseNumber:
  # AnimeCeleb samples +-20 degrees.
  return PoseNumber(name, 'head', 'both', -20.0, 20.0, 'deg', meaning)


POSE_NUMBERS: tuple[PoseNumber, ...] = (
  *_pair('eye_wink', 'eye', 'upper lid comes down, the eye is a line'),
  *_pair('eye_surprised', 'eye', 'eye opens wide'),
  *_pair('eye_happy_wink', 'eye', 'lower lid rises, the eye is a happy arc'),
  *_pair('eyebrow_raised', 'eyebrow', 'whole brow up'),
  *_pair('eyebrow_lowered', 'eyebrow', 'brow down, inner end lowest (angry)'),
  *_pair('eyebrow_troubled', 'eyebrow', 'inner end of the brow up (worried)'),
  _single('mouth_a', 'mouth', 'wide open, as in "ah"'),
  _single('mouth_e', 'mouth', 'half open and wide, as in "eh"'),
  _single('mouth_i', 'mouth', 'teeth, corners pulled wide, as in "ee"'),
  _single('mouth_o', 'mouth', 'open and round, as in "oh"'),
  _single('mouth_u', 'mouth', 'small and pursed, as in "oo"'),
  _angle('pitch', 'nod: positive looks down (x of the head rotation)'),
  _angle('roll', 'tilt (z of the head rotation)'),
  _angle('yaw', 'turn (y of the head rotation)'),
)

POSE_NAMES: tuple[str, ...] = tuple(n.name for n in POSE_NUMBERS)
POSE_INDEX: dict[str, int] = {name: i for i, name in enumerate(POSE_NAMES)}
COEFFICIENT_NAMES: tuple[str, ...] = tuple(
  n.name for n in POSE_NUMBERS if n.group != 'head'
)
ANGLE_NAMES: tuple[str, ...] = tuple(
  n.name for n in POSE_NUMBERS if n.group == 'head'
)
NUM_COEFFICIENTS = len(COEFFICIENT_NAMES)
NUM_POSE = len(POSE_NUMBERS)

# Position, in an axis-angle head rotation (x, y, z), of each head angle.
_ANGLE_AXES = tuple({'pitch': 0, 'roll': 2, 'yaw': 1}[n] for n in ANGLE_NAMES)


def group_indices(group: str, side: str | None = None) -> np.ndarray:
  """Indices into the pose vector of one group, e.g. `('eye', 'left')`.

  Args:
    group: `eye`, `eyebrow`, `mouth` or `head`.
    side: `left`, `right`, `both`, or None for every side.

  Returns:
    [n] int64 indices in pose-vector order.

  Raises:
    ValueError: if no pose number matches.
  """
  found = [
    i
    for i, n in enumerate(POSE_NUMBERS)
    if n.group == group and side in (None, n.side)
  ]
  if not found:
    raise ValueError(f'no pose number with group={group!r}, side={side!r}')
  return np.array(found)


def head_angles_deg(global_pose: np.ndarray) -> np.ndarray:
  """Head angles (pitch, roll, yaw) of a FLAME/DECA head rotation.

  Args:
    global_pose: [..., 3] float, axis-angle radians (x, y, z).

  Returns:
    [..., 3] float, degrees, in pose-vector order: the x, z and y components
    (the convention of the EDTN reference: `g[0, 2, 1] * 180 / pi`).

  Raises:
    ValueError: if the last dimension is not 3.
  """
  global_pose = np.asarray(global_pose)
  if global_pose.shape[-1:] != (3,):
    raise ValueError(f'global_pose is {global_pose.shape}, wanted [..., 3]')
  return np.rad2deg(global_pose[..., list(_ANGLE_AXES)])


def make_pose_vector(
  pose_coeffs: np.ndarray, global_pose: np.ndarray
) -> np.ndarray:
  """Joins expression coefficients and a head rotation.

  Args:
    pose_coeffs: [..., 17] float in [0, 1].
    global_pose: [..., 3] float, axis-angle radians.

  Returns:
    [..., 20] float32 pose vector.

  Raises:
    ValueError: if a last dimension is wrong.
  """
  pose_coeffs = np.asarray(pose_coeffs)
  if pose_coeffs.shape[-1:] != (NUM_COEFFICIENTS,):
    raise ValueError(
      f'pose_coeffs is {pose_coeffs.shape}, wanted [..., {NUM_COEFFICIENTS}]'
    )
  angles = head_angles_deg(global_pose)
  return np.concatenate([pose_coeffs, angles], axis=-1).astype(np.float32)
