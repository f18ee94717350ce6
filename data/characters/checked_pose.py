"""What a pose vector must be before a character is drawn in it."""

from __future__ import annotations

import numpy as np
from absl import logging

from data import pose_vector


def checked_pose(pose: np.ndarray) -> np.ndarray:
  """Returns a pose vector that can be drawn.

  Args:
    pose: [20] float; coefficients outside [0, 1] are clamped, with one warning.

  Returns:
    [20] float64, coefficients in [0, 1], angles in degrees as they are.

  Raises:
    ValueError: if it is not 20 finite numbers.
  """
  pose = np.asarray(pose, np.float64)
  if pose.shape != (pose_vector.NUM_POSE,):
    raise ValueError(
      f'pose vector is {pose.shape}, wanted ({pose_vector.NUM_POSE},)'
    )
  if not np.all(np.isfinite(pose)):
    raise ValueError('pose vector holds numbers that are not finite')
  count = pose_vector.NUM_COEFFICIENTS
  # Rounding may leave a coefficient a hair outside; that is nobody's mistake.
  if np.any((pose[:count] < -1e-3) | (pose[:count] > 1 + 1e-3)):
    logging.log_first_n(
      logging.WARNING,
      'Pose coefficients are clamped to [0, 1]; got %.3g to %.3g.',
      1,
      pose[:count].min(),
      pose[:count].max(),
    )
  return np.concatenate([np.clip(pose[:count], 0, 1), pose[count:]])
