"""Head rotations as axis-angle vectors: relative rotation, mean rotation.

Unit quaternions (w, x, y, z) do the arithmetic: unlike the logarithm of a
rotation matrix they stay accurate both near no turn and near a half turn.
"""

from __future__ import annotations

import numpy as np


def quaternion_from_axis_angle(rotation: np.ndarray) -> np.ndarray:
  """Unit quaternions of axis-angle vectors.

  Args:
    rotation: [..., 3] float, axis-angle, radians.

  Returns:
    [..., 4] float64, (w, x, y, z).
  """
  rotation = np.asarray(rotation, np.float64)
  angle = np.linalg.norm(rotation, axis=-1, keepdims=True)
  # sin(angle / 2) / angle without a division by zero: np.sinc(x) is
  # sin(pi x) / (pi x).
  scale = 0.5 * np.sinc(angle / (2.0 * np.pi))
  return np.concatenate([np.cos(angle / 2.0), scale * rotation], axis=-1)


def axis_angle_from_quaternion(quaternion: np.ndarray) -> np.ndarray:
  """Axis-angle vectors of unit quaternions, by the shorter way round.

  Args:
    quaternion: [..., 4] float, (w, x, y, z), unit length.

  Returns:
    [..., 3] float64, radians, length at most pi.
  """
  quaternion = np.asarray(quaternion, np.float64)
  # q and -q are the same rotation; w >= 0 is the one of at most half a turn.
  quaternion = np.where(quaternion[..., :1] < 0, -quaternion, quaternion)
  vector = quaternion[..., 1:]
  sine = np.linalg.norm(vector, axis=-1, keepdims=True)
  angle = 2.0 * np.arctan2(sine, quaternion[..., :1])
  safe = np.where(sine > 0, sine, 1.0)
  return np.where(sine > 0, angle / safe, 2.0) * vector


def multiply(first: np.ndarray, second: np.ndarray) -> np.ndarray:
  """Hamilton product: the rotation `second`, then the rotation `first`.

  Args:
    first: [..., 4] float, (w, x, y, z).
    second: [..., 4] float; broadcasts against `first`.

  Returns:
    [..., 4] float.
  """
  w1, v1 = first[..., :1], first[..., 1:]
  w2, v2 = second[..., :1], second[..., 1:]
  w = w1 * w2 - np.sum(v1 * v2, axis=-1, keepdims=True)
  vector = w1 * v2 + w2 * v1 + np.cross(v1, v2)
  return np.concatenate([w, vector], axis=-1)


def relative_rotation(
  reference: np.ndarray, rotation: np.ndarray
) -> np.ndarray:
  """What a head does, seen from its own reference position.

  Computes `R_ref^T R`: someone who sits turned away from the camera and nods
  gives a pure nod, which a difference of axis-angle vectors does not.

  Args:
    reference: [..., 3] float, axis-angle, radians.
    rotation: [..., 3] float, axis-angle, radians.

  Returns:
    [..., 3] float64, axis-angle, radians; zero where both are equal.
  """
  conjugate = quaternion_from_axis_angle(-np.asarray(reference))
  turned = multiply(conjugate, quaternion_from_axis_angle(rotation))
  return axis_angle_from_quaternion(turned)


def mean_rotation(rotations: np.ndarray) -> np.ndarray:
  """The rotation closest to all given ones.

  Args:
    rotations: [N, 3] float, axis-angle, radians, N >= 1.

  Returns:
    [3] float64, axis-angle, radians.

  Raises:
    ValueError: if there is no rotation.

  Source: Markley et al., "Averaging quaternions" (2007): the largest
  eigenvector of the summed outer products.
  """
  rotations = np.asarray(rotations)
  if rotations.ndim != 2 or rotations.shape[1] != 3 or not len(rotations):
    raise ValueError(f'rotations are {rotations.shape}, wanted [N >= 1, 3]')
  quaternions = quaternion_from_axis_angle(rotations)
  _, vectors = np.linalg.eigh(quaternions.T @ quaternions)
  return axis_angle_from_quaternion(vectors[:, -1])
