"""What happens to every frame between its codes and its pose vector."""

from __future__ import annotations

import collections.abc

import numpy as np

from data import pose_vector
from edtn_jax.reenact_options import ReenactOptions
from edtn_jax.signal import pose
from edtn_jax.signal.neutral import Neutral

Translate = collections.abc.Callable[[np.ndarray, np.ndarray], np.ndarray]


class ReenactError(ValueError):
  """A driver or a network that reenactment cannot work with."""


class PoseProcess:
  """Pose vectors of a stream of frames, with what must be remembered.

    head pose -> smooth -> calibrate -> gain -> clamp

  Attributes:
    code_offset: [50] float, what `run_translator` must take off expressions,
      or None.
    clamp: counts the frames whose head angles were clamped.
  """

  def __init__(
    self, options: ReenactOptions, neutral: Neutral | None, fps: float
  ):
    """Makes the steps.

    Args:
      options: which steps, and how.
      neutral: the person at rest; needed unless `options.neutral` is none.
      fps: frames a second.
    """
    self.code_offset = neutral.expression if options.neutral == 'code' else None
    self._head = None
    if options.head_pose == 'relative':
      reference = neutral.global_pose if neutral else None
      self._head = pose.RelativeHeadPose(reference)
    self._smooth = pose.make_smoothing(fps) if options.smoothing else None
    self.clamp = pose.ClampAngles(options.angle_limit_deg)
    steps = [
      pose.Gain(mouth=options.mouth_gain, eye=options.eye_gain),
      self.clamp,
    ]
    if options.neutral == 'output':
      # After the filter: the calibration enlarges what trembling is left.
      steps.insert(0, pose.CalibrateNeutral(neutral.pose_coeffs))
    self._finish = pose.chain(*steps)

  def __call__(
    self,
    pose_coeffs: np.ndarray,
    global_pose: np.ndarray,
    *,
    fps: float | None = None,
  ) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Takes the next frames.

    Args:
      pose_coeffs: [T, 17] float in [0, 1], network output.
      global_pose: [T, 3] float, axis-angle radians.
      fps: frames a second from here on, where the rate changes; None keeps it.

    Returns:
      Pose vectors [T, 20] before the filter, after it, and finished.
    """
    if self._head:
      global_pose = self._head(global_pose)
    before = pose_vector.make_pose_vector(pose_coeffs, global_pose)
    if self._smooth is None:
      return before, before, self._finish(before)
    if fps:
      self._smooth.frame_rate = fps
    smoothed = self._smooth(before)
    return before, smoothed, self._finish(smoothed)


def run_translator(
  translate: Translate,
  frames: collections.abc.Sequence[str],
  expression: np.ndarray,
  jaw_pose: np.ndarray,
  code_offset: np.ndarray | None = None,
) -> np.ndarray:
  """Calls the network and checks what it gives.

  Args:
    translate: the network.
    frames: T frame names, for messages.
    expression: [T, 50] float.
    jaw_pose: [T, 3] float, axis-angle radians.
    code_offset: [50] float, taken off the expressions before, or None.

  Returns:
    [T, 17] float32 in [0, 1].

  Raises:
    ReenactError: if the network's output is wrong.
  """
  if code_offset is not None:
    expression = expression - code_offset
  output = np.asarray(translate(expression, jaw_pose), np.float32)
  wanted = (len(frames), pose_vector.NUM_COEFFICIENTS)
  if output.shape != wanted:
    raise ReenactError(f'the network gave {output.shape}, wanted {wanted}')
  wrong = ~((output >= 0) & (output <= 1)).all(axis=1)
  if wrong.any():
    name = frames[int(wrong.argmax())]
    raise ReenactError(
      f'the network gave numbers outside [0, 1] or NaN in {wrong.sum()} of '
      f'{len(wrong)} frames, first in {name}'
    )
  return output
