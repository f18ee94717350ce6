"""Angles and openings of faces whose truth is known."""

import numpy as np
import pytest

from data.facemesh import measures


def _rotation(vector):
  angle = np.linalg.norm(vector)
  x, y, z = np.asarray(vector) / angle
  cross = np.array([[0, -z, y], [z, 0, -x], [-y, x, 0]])
  return np.eye(3) + np.sin(angle) * cross + (1 - np.cos(angle)) * cross @ cross


def _frontal_face():
  """A symmetric face, x right, y up, z to the viewer; other points random."""
  rng = np.random.default_rng(0)
  points = rng.normal(size=(468, 3))
  mirrored = measures._MIRRORED
  points[mirrored[:, 0]] = points[mirrored[:, 1]] * np.array([-1, 1, 1])
  # The mean line must point to the face's left.
  points[mirrored[:, 1], 0] = np.abs(points[mirrored[:, 1], 0]) + 1
  points[mirrored[:, 0], 0] = -points[mirrored[:, 1], 0]
  points[measures._MIDLINE_TOP] = [0, 2, 0]
  points[measures._MIDLINE_BOTTOM] = [0, -1, 0]
  return points


def _to_picture(points, scale=40.0):
  return points * np.array([1, -1, -1]) * scale + np.array([300, 200, 7])


@pytest.mark.parametrize(
  'angles', [(0, 0, 25), (0, -30, 0), (15, 0, 0), (10, 20, -30), (-5, 60, 40)]
)
def test_known_rotation_is_recovered(angles):
  pitch, roll, yaw = np.deg2rad(angles)
  turned = _frontal_face() @ _rotation([pitch, yaw, roll]).T
  found = measures.head_angles(_to_picture(turned))
  np.testing.assert_allclose(found, angles, atol=1e-9)


def test_frontal_face_has_no_angles():
  found = measures.head_angles(_to_picture(_frontal_face()))
  np.testing.assert_allclose(found, [0, 0, 0], atol=1e-9)


def test_signs_are_those_of_the_pose_vector():
  # Yaw: the midline point nearest to the viewer goes to the picture's right.
  nose = np.array([0, 0, 1.0])
  assert (_rotation([0, np.deg2rad(20), 0]) @ nose)[0] > 0
  assert (_rotation([np.deg2rad(20), 0, 0]) @ nose)[1] < 0
  top = np.array([0, 1.0, 0])
  assert (_rotation([0, 0, np.deg2rad(20)]) @ top)[0] < 0


def test_rotation_vector_near_zero_and_near_half_a_turn():
  for vector in ([1e-14, 0, 0], [1e-6, -2e-6, 0], [0, 3.1, 0]):
    rotation = _rotation(vector)
    np.testing.assert_allclose(
      measures.rotation_vector(rotation), vector, atol=1e-9
    )


def test_lid_openings_by_hand_stay_when_the_head_turns():
  points = _frontal_face()
  for corners, upper, lower, opening in (
    ((263, 362), (387, 386, 385), (373, 374, 380), 0.3),
    ((33, 133), (160, 159, 158), (144, 145, 153), 0.1),
  ):
    middle = points[list(corners)].mean(axis=0)
    width = np.linalg.norm(points[corners[0]] - points[corners[1]])
    for index in range(3):
      half = np.array([0, opening * width / 2, 0])
      points[upper[index]] = middle + half
      points[lower[index]] = middle - half
  turned = points @ _rotation([0.1, 0.4, -0.3]).T
  for face in (points, turned):
    picture = _to_picture(face)
    assert measures.lid_opening(picture, 'left') == pytest.approx(0.3)
    assert measures.lid_opening(picture, 'right') == pytest.approx(0.1)


def test_mouth_opening_by_hand():
  points = _frontal_face()
  points[33], points[263] = [-2, 0, 0], [2, 0, 0]
  points[13], points[14] = [0, -1, 0], [0, -2, 0]
  found = measures.measure(_to_picture(points))
  assert found.mouth == pytest.approx(0.25)
  points[14] = points[13]
  assert measures.mouth_opening(_to_picture(points)) == 0


def test_bad_points_are_refused():
  with pytest.raises(ValueError, match=r'\[478, 3\], wanted \[468, 3\]'):
    measures.head_angles(np.zeros((478, 3)))
  with pytest.raises(ValueError, match='no axes'):
    measures.head_angles(np.zeros((468, 3)))
  with pytest.raises(ValueError, match='wanted left or right'):
    measures.lid_opening(np.zeros((468, 3)), 'both')
