"""Depth of the head and its rotation.

Axes of the rotation follow FLAME: +x is the character's left (the picture's
right), +y up, +z out of the face. So positive pitch looks down, positive yaw
turns the face towards the picture's right, and positive roll leans the top of
the head towards the picture's left (counter-clockwise as seen).
"""

from __future__ import annotations

import numpy as np

# Centre of the head in the 256 x 256 picture.
HEAD_CENTER = (128.0, 134.0)
# Where the neck turns: (x, y down, depth) in rest coordinates.
PIVOT = np.array([0.0, 60.0, -10.0])

_FACE_AXES = (51.0, 76.0, 45.0)
_HAIR_AXES = (62.0, 76.0, 54.0)


def face_depth(points: np.ndarray) -> np.ndarray:
  """Depth of the face's surface, [..., 2] rest points -> [...]."""
  return _ellipsoid(points, _FACE_AXES, 5.0, 0.12)


def hair_depth(points: np.ndarray) -> np.ndarray:
  """Depth of the hair over the face and skull, [..., 2] -> [...]."""
  return _ellipsoid(points, _HAIR_AXES, 0.0, 0.0)


def _ellipsoid(
  points: np.ndarray,
  axes: tuple[float, float, float],
  center_y: float,
  least: float,
) -> np.ndarray:
  x = points[..., 0] / axes[0]
  y = (points[..., 1] - center_y) / axes[1]
  return axes[2] * np.sqrt(np.maximum(1 - x * x - y * y, least))


def rotation_matrix(angles_deg: np.ndarray) -> np.ndarray:
  """Rotation of an axis-angle vector given as (pitch, roll, yaw).

  Args:
    angles_deg: [3] degrees, in pose-vector order: the x, z and y components.

  Returns:
    [3, 3] float64 for column vectors with x right, y up, z to the viewer.
  """
  pitch, roll, yaw = np.deg2rad(np.asarray(angles_deg, np.float64))
  vector = np.array([pitch, yaw, roll])
  angle = np.sqrt(vector @ vector)
  if angle < 1e-9:
    return np.eye(3)
  x, y, z = vector / angle
  cross = np.array([[0, -z, y], [z, 0, -x], [-y, x, 0]])
  return np.eye(3) + np.sin(angle) * cross + (1 - np.cos(angle)) * cross @ cross


def turn_points(
  points: np.ndarray, follow: np.ndarray, angles_deg: np.ndarray
) -> np.ndarray:
  """Turns rest points with the head and projects them to the picture.

  Args:
    points: [n, 3] rest points (x, y down, depth).
    follow: [n] in [0, 1], how far each point goes along.
    angles_deg: [3] pitch, roll, yaw in degrees.

  Returns:
    [n, 2] float64, pixels of the 256 x 256 picture.
  """
  flip = np.array([1.0, -1.0, 1.0])
  rotation = flip[:, None] * rotation_matrix(angles_deg) * flip
  turned = (points - PIVOT) @ rotation[:2].T + PIVOT[:2]
  rest = points[:, :2]
  return rest + follow[:, None] * (turned - rest) + np.array(HEAD_CENTER)
