"""What a face does, read from its 468 landmarks.

No reference face is needed: the head's axes are those of the face itself. Its
lateral axis is the mean of the lines between landmarks that mirror each other,
its vertical axis that of the face's midline, made square to it. The midline of
a face at rest leans by some degrees that differ from person to person and
style to style, so pitch has a standing offset: take it against a neutral
frame. Yaw and roll have none, as far as the face is symmetric.

Conventions are those of `data.pose_vector`: "left" is the character's, which
is the picture's right; positive pitch looks down, positive yaw turns towards
the picture's right, positive roll leans the top of the head towards the
picture's left.
"""

from __future__ import annotations

import dataclasses

import numpy as np

from data import pose_vector

# Landmarks that mirror each other, (picture's left, picture's right): eye
# corners, brows, and the outline beside the eyes. Lids and all below the eyes
# are left out: they move by themselves, and a drawn chin is not where the
# model looks for it.
_MIRRORED = np.array(
  [
    (33, 263),
    (133, 362),
    (70, 300),
    (105, 334),
    (107, 336),
    (54, 284),
    (21, 251),
    (162, 389),
    (127, 356),
    (234, 454),
  ]
)
# Midline: forehead (10, 151, 9) above, below the nose (2, 164) beneath. The
# chin is left out, because it moves when the mouth opens.
_MIDLINE_TOP = np.array([10, 151, 9])
_MIDLINE_BOTTOM = np.array([2, 164])


@dataclasses.dataclass(frozen=True)
class _EyePoints:
  corners: tuple[int, int]
  upper: tuple[int, int, int]
  lower: tuple[int, int, int]


_EYES = {
  'left': _EyePoints((362, 263), (387, 386, 385), (373, 374, 380)),
  'right': _EyePoints((33, 133), (160, 159, 158), (144, 145, 153)),
}
_INNER_LIPS = (13, 14)
_OUTER_EYE_CORNERS = (33, 263)


@dataclasses.dataclass(frozen=True)
class FaceMeasures:
  """All measures of one face.

  Attributes:
    pitch: degrees, against the midline, so with a standing offset.
    roll: degrees.
    yaw: degrees.
    lid_left: opening of the character's left eye, in eye widths.
    lid_right: opening of the character's right eye, in eye widths.
    mouth: distance of the lips, in distances of the outer eye corners.
  """

  pitch: float
  roll: float
  yaw: float
  lid_left: float
  lid_right: float
  mouth: float


def head_rotation(points: np.ndarray) -> np.ndarray:
  """Rotation of the head.

  Args:
    points: [468, 3] landmarks: x right, y down, z away from the viewer.

  Returns:
    [3, 3] float64 whose columns are the face's own x (to its left), y (up)
    and z (out of it), in axes x right, y up, z to the viewer.

  Raises:
    ValueError: if the points have another shape or lie on a line.
  """
  points = _check(points) * np.array([1.0, -1.0, -1.0])
  pairs = points[_MIRRORED]
  lateral = (pairs[:, 1] - pairs[:, 0]).mean(axis=0)
  upward = points[_MIDLINE_TOP].mean(axis=0) - points[_MIDLINE_BOTTOM].mean(
    axis=0
  )
  length = np.linalg.norm(lateral)
  if length > 0:
    lateral = lateral / length
    upward = upward - (upward @ lateral) * lateral
  height = np.linalg.norm(upward)
  if not (length > 0 and height > 0):
    raise ValueError('landmarks lie on a line, so the head has no axes')
  upward = upward / height
  return np.stack([lateral, upward, np.cross(lateral, upward)], axis=-1)


def rotation_vector(rotation: np.ndarray) -> np.ndarray:
  """Axis-angle vector [3], radians, of a rotation [3, 3] of less than 180°."""
  twice_sine = np.array(
    [
      rotation[2, 1] - rotation[1, 2],
      rotation[0, 2] - rotation[2, 0],
      rotation[1, 0] - rotation[0, 1],
    ]
  )
  length = np.linalg.norm(twice_sine)
  angle = np.arctan2(length, np.trace(rotation) - 1)
  return twice_sine * (angle / length if length > 1e-12 else 0.5)


def head_angles(points: np.ndarray) -> np.ndarray:
  """Head angles of a face.

  Args:
    points: [468, 3] landmarks.

  Returns:
    [3] float64 pitch, roll, yaw in degrees, in pose-vector order and sense.
    Pitch has a standing offset.
  """
  return pose_vector.head_angles_deg(rotation_vector(head_rotation(points)))


def lid_opening(points: np.ndarray, side: str) -> float:
  """How far an eye is open.

  Args:
    points: [468, 3] landmarks.
    side: `left` or `right`, the character's.

  Returns:
    Mean distance of three pairs of lid points over the distance of the eye's
    corners, both in space, so that a turned head changes it little.

  Raises:
    ValueError: if there is no such side.
  """
  points, eye = _check(points), _eye(side)
  lids = points[list(eye.upper)] - points[list(eye.lower)]
  return _ratio(np.linalg.norm(lids, axis=-1).mean(), points, eye.corners)


def eye_corners(points: np.ndarray, side: str) -> np.ndarray:
  """Corners of an eye, the one on the picture's left first.

  Args:
    points: [468, 3] landmarks.
    side: `left` or `right`, the character's.

  Returns:
    [2, 3] float64.

  Raises:
    ValueError: if there is no such side.
  """
  return _check(points)[list(_eye(side).corners)]


def mouth_opening(points: np.ndarray) -> float:
  """Distance of the inner lips over that of the outer eye corners.

  Args:
    points: [468, 3] landmarks.

  Returns:
    The ratio, 0 for closed lips. The mouth's own width, the usual unit,
    changes with every vowel.
  """
  upper, lower = _check(points)[list(_INNER_LIPS)]
  return _ratio(np.linalg.norm(upper - lower), points, _OUTER_EYE_CORNERS)


def measure(points: np.ndarray) -> FaceMeasures:
  """All measures of a face [468, 3]."""
  pitch, roll, yaw = head_angles(points)
  return FaceMeasures(
    pitch=float(pitch),
    roll=float(roll),
    yaw=float(yaw),
    lid_left=lid_opening(points, 'left'),
    lid_right=lid_opening(points, 'right'),
    mouth=mouth_opening(points),
  )


def _eye(side: str) -> _EyePoints:
  if side not in _EYES:
    raise ValueError(f'side is {side!r}, wanted left or right')
  return _EYES[side]


def _check(points: np.ndarray) -> np.ndarray:
  points = np.asarray(points, np.float64)
  if points.shape != (468, 3):
    raise ValueError(f'landmarks are {list(points.shape)}, wanted [468, 3]')
  return points


def _ratio(length: float, points: np.ndarray, unit: tuple[int, int]) -> float:
  start, end = np.asarray(points, np.float64)[list(unit)]
  return float(length / max(np.linalg.norm(end - start), 1e-12))
