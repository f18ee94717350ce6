"""What happens to pose vectors between the network and the character.

Every step is called with the next [T, 20] chunk and keeps what it must
remember, so a chain of steps gives the same numbers chunk by chunk as at once.
"""

from __future__ import annotations

import collections.abc

import numpy as np
from absl import logging

from data import pose_vector
from edtn_jax.signal import rotation
from edtn_jax.signal.one_euro import OneEuroFilter

Step = collections.abc.Callable[[np.ndarray], np.ndarray]

# One-euro settings (min_cutoff Hz, beta, derivative_cutoff Hz) by group. At 25
# frames a second noise at rest falls fivefold, a blink of three frames keeps
# over 90 % of its depth, and motion comes at most two frames late, half a frame
# when it is large. Coefficients move by 1, angles by about 40 degrees, hence
# the smaller beta of the head.
SMOOTHING: dict[str, tuple[float, float, float]] = {
  'eye': (0.7, 5.0, 3.0),
  'eyebrow': (0.7, 3.0, 3.0),
  'mouth': (0.7, 5.0, 3.0),
  'head': (0.7, 0.12, 3.0),
}

# A standing offset near 1 would make the calibration divide by almost nothing.
_SMALLEST_HEADROOM = 0.1
# Channels that tell an expressive frame from a calm one: lids and mouth.
_CALM_NAMES = tuple(
  number.name
  for number in pose_vector.POSE_NUMBERS
  if number.group == 'mouth' or 'wink' in number.name
)
_CALM_INDICES = [pose_vector.POSE_INDEX[name] for name in _CALM_NAMES]
# A channel that moves less than this over a clip has less of a say.
_LEAST_RANGE = 0.2


def _check_pose(pose: np.ndarray) -> np.ndarray:
  pose = np.asarray(pose)
  if pose.ndim != 2 or pose.shape[1] != pose_vector.NUM_POSE:
    raise ValueError(
      f'pose vectors are {pose.shape}, wanted [T, {pose_vector.NUM_POSE}]'
    )
  return pose


def chain(*steps: Step) -> Step:
  """Applies steps one after the other.

  Args:
    *steps: callables, [T, 20] to [T, 20].

  Returns:
    One callable that does all of them in order.
  """

  def run(pose: np.ndarray) -> np.ndarray:
    for step in steps:
      pose = step(pose)
    return pose

  return run


def make_smoothing(
  frame_rate: float, groups: collections.abc.Container[str] = tuple(SMOOTHING)
) -> OneEuroFilter:
  """A one-euro filter with the settings of `SMOOTHING` for each pose number.

  Args:
    frame_rate: frames a second, > 0.
    groups: groups to smooth; the others pass unchanged.

  Returns:
    A streaming filter for [T, 20] pose vectors.
  """
  numbers = pose_vector.POSE_NUMBERS
  min_cutoff, beta, derivative_cutoff = np.array(
    [SMOOTHING[number.group] for number in numbers]
  ).T
  return OneEuroFilter(
    frame_rate,
    min_cutoff=min_cutoff,
    beta=beta,
    derivative_cutoff=derivative_cutoff,
    enabled=[number.group in groups for number in numbers],
  )


class Gain:
  """Multiplies the coefficients of a group and clips them to [0, 1].

  The public EDTN code means to raise the mouth by 1.5 but slices the batch
  axis, so that nothing happens; this one acts on columns.
  """

  def __init__(self, *, mouth: float = 1.0, eye: float = 1.0):
    """Makes the step.

    Args:
      mouth: factor of the 5 mouth coefficients, >= 0.
      eye: factor of the 6 eye coefficients, >= 0.
    """
    self._factors = np.ones(pose_vector.NUM_COEFFICIENTS, np.float32)
    self._factors[pose_vector.group_indices('mouth')] = mouth
    self._factors[pose_vector.group_indices('eye')] = eye

  def __call__(self, pose: np.ndarray) -> np.ndarray:
    """[T, 20] float32 in and out; the input is left alone."""
    pose = _check_pose(pose).copy()
    count = pose_vector.NUM_COEFFICIENTS
    pose[:, :count] = np.clip(pose[:, :count] * self._factors, 0.0, 1.0)
    return pose


class CalibrateNeutral:
  """Removes a person's standing offset from the network's output.

  `b' = clip((b - b0) / (1 - b0), 0, 1)`: the neutral face gives 0, the full
  expression stays 1. What lies below neutral is lost, and movement above it is
  enlarged by `1 / (1 - b0)`, at most tenfold: for b0 > 0.9 the divisor
  stays 0.1 and the top value ends below 1.
  """

  def __init__(self, neutral_coeffs: np.ndarray):
    """Makes the step.

    Args:
      neutral_coeffs: [17] float in [0, 1], the output for the neutral face.

    Raises:
      ValueError: if the shape or the range is wrong.
    """
    neutral = np.asarray(neutral_coeffs, np.float32)
    count = pose_vector.NUM_COEFFICIENTS
    if neutral.shape != (count,):
      raise ValueError(f'neutral is {neutral.shape}, wanted [{count}]')
    if not ((neutral >= 0) & (neutral <= 1)).all():
      raise ValueError(f'neutral coefficients leave [0, 1]: {neutral}')
    self.neutral_coeffs = neutral
    self._headroom = np.maximum(1.0 - neutral, _SMALLEST_HEADROOM)

  def __call__(self, pose: np.ndarray) -> np.ndarray:
    """[T, 20] float32 in and out; head angles pass unchanged."""
    pose = _check_pose(pose).copy()
    count = len(self.neutral_coeffs)
    above = (pose[:, :count] - self.neutral_coeffs) / self._headroom
    pose[:, :count] = np.clip(above, 0.0, 1.0)
    return pose


def pick_neutral_frames(
  pose_coeffs: np.ndarray, fraction: float = 0.1
) -> np.ndarray:
  """Finds the calmest frames of a clip: eyes open, mouth closed.

  Lid and mouth coefficients are scaled by their own 5 % to 95 % range in the
  clip; the frames with the smallest mean square win. Brows do not vote: their
  resting value is what the calibration is meant to find. Whole frames are
  picked, not a quantile a channel, so that the result is one real expression.

  Args:
    pose_coeffs: [T, 17] float in [0, 1], network output, T >= 1.
    fraction: share of the frames to pick, in (0, 1]; at least one is picked.

  Returns:
    [N] int64 ascending frame indices.

  Raises:
    ValueError: if there is no frame or a shape is wrong.
  """
  pose_coeffs = np.asarray(pose_coeffs)
  count = pose_vector.NUM_COEFFICIENTS
  if pose_coeffs.ndim != 2 or pose_coeffs.shape[1] != count:
    raise ValueError(f'pose_coeffs is {pose_coeffs.shape}, wanted [T, {count}]')
  if not len(pose_coeffs):
    raise ValueError('cannot find a neutral frame: there are no frames')
  votes = pose_coeffs[:, _CALM_INDICES]
  low, high = np.quantile(votes, [0.05, 0.95], axis=0)
  scaled = (votes - low) / np.maximum(high - low, _LEAST_RANGE)
  activity = np.mean(np.maximum(scaled, 0.0) ** 2, axis=1)
  wanted = max(1, int(len(pose_coeffs) * fraction))
  return np.sort(np.argsort(activity, kind='stable')[:wanted])


class RelativeHeadPose:
  """Head rotations relative to a reference rotation.

  Acts on axis-angle vectors, before they become head angles.
  """

  def __init__(self, reference: np.ndarray | None = None):
    """Makes the step.

    Args:
      reference: [3] float, axis-angle, radians; None takes the first frame.
    """
    self.reference = None if reference is None else np.asarray(reference)

  def __call__(self, global_pose: np.ndarray) -> np.ndarray:
    """[T, 3] axis-angle radians in, [T, 3] float64 out."""
    if self.reference is None and len(global_pose):
      self.reference = np.asarray(global_pose[0])
    if self.reference is None:
      return np.asarray(global_pose, np.float64)
    return rotation.relative_rotation(self.reference, global_pose)


class ClampAngles:
  """Keeps head angles in a range and warns once.

  Attributes:
    clamped_frames: number of frames changed so far.
  """

  def __init__(self, limit_deg: float = 35.0):
    """Makes the step.

    Args:
      limit_deg: largest angle either way, degrees, > 0. AnimeCeleb's images
        cover +-20; generators hold up to about 35.
    """
    self.limit_deg = float(limit_deg)
    self.clamped_frames = 0

  def __call__(self, pose: np.ndarray) -> np.ndarray:
    """[T, 20] float32 in and out; coefficients pass unchanged."""
    pose = _check_pose(pose).copy()
    head = pose[:, pose_vector.NUM_COEFFICIENTS :]
    outside = (np.abs(head) > self.limit_deg).any(axis=1)
    if outside.any() and not self.clamped_frames:
      worst = head[outside][np.abs(head[outside]).max(axis=1).argmax()]
      logging.warning(
        'head angles (%s) = %s degrees leave +-%g and are clamped; further '
        'frames are clamped without a warning. A relative head pose or a '
        'higher angle limit may help.',
        ', '.join(pose_vector.ANGLE_NAMES),
        np.round(worst, 1).tolist(),
        self.limit_deg,
      )
    self.clamped_frames += int(outside.sum())
    pose[:, pose_vector.NUM_COEFFICIENTS :] = np.clip(
      head, -self.limit_deg, self.limit_deg
    )
    return pose
