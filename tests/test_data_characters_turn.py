"""Head turn and the optical flow between poses."""

import numpy as np
import pytest

from data.characters import Character
from data.characters.turn import (
  HEAD_CENTER,
  PIVOT,
  face_depth,
  rotation_matrix,
  turn_points,
)
from tests.character_samples import look_up, pose_of


def _moved(point: tuple, **angles) -> np.ndarray:
  pitch, roll, yaw = (angles.get(n, 0.0) for n in ('pitch', 'roll', 'yaw'))
  turned = turn_points(
    np.array([point], float), np.ones(1), np.array([pitch, roll, yaw])
  )
  return turned[0] - np.array(HEAD_CENTER) - np.array(point[:2])


def test_quarter_turns_by_hand():
  # One unit in front of the pivot, then above it.
  front, above = PIVOT + np.eye(3)[2], PIVOT - np.eye(3)[1]
  np.testing.assert_allclose(_moved(tuple(front), yaw=90), [1, 0], atol=1e-9)
  np.testing.assert_allclose(_moved(tuple(front), pitch=90), [0, 1], atol=1e-9)
  np.testing.assert_allclose(_moved(tuple(above), roll=90), [-1, 1], atol=1e-9)
  assert np.abs(_moved(tuple(above), yaw=90)).max() < 1e-9


def test_rotation_agrees_with_the_axis_angle_of_the_pose_vector():
  matrix = rotation_matrix(np.array([10.0, -15.0, 20.0]))
  np.testing.assert_allclose(matrix @ matrix.T, np.eye(3), atol=1e-12)
  axis = np.array([10.0, 20.0, -15.0])  # x, y, z
  np.testing.assert_allclose(matrix @ axis, axis, atol=1e-9)
  degrees = np.rad2deg(np.arccos((np.trace(matrix) - 1) / 2))
  np.testing.assert_allclose(degrees, np.linalg.norm(axis))


def test_body_stays_and_near_things_move_more():
  still = turn_points(np.ones((1, 3)), np.zeros(1), np.array([20.0, 9, 20]))
  np.testing.assert_allclose(still[0], np.array(HEAD_CENTER) + 1)
  nose, ear = (0.0, 30.0, 45.0), (0.0, 30.0, -5.0)
  assert _moved(nose, yaw=20)[0] > _moved(ear, yaw=20)[0] + 10


def test_far_eye_is_foreshortened():
  corners = np.array([[-34.0, 17], [-9, 17], [9, 17], [34, 17]])
  points = np.concatenate([corners, face_depth(corners)[:, None]], axis=1)
  for yaw in (10.0, 20.0, 35.0):
    x = turn_points(points, np.ones(4), np.array([0, 0, yaw]))[:, 0]
    near, far = x[1] - x[0], x[3] - x[2]
    assert 0 < far < 0.92 * near


@pytest.mark.parametrize('angle', [-35.0, -20.0, 20.0, 35.0])
@pytest.mark.parametrize('name', ['pitch', 'roll', 'yaw'])
def test_turned_head_stays_in_the_picture(name, angle):
  alpha = Character.from_seed(3, 128).render(pose_of(**{name: angle}))[..., 3]
  assert not alpha[0].any()
  assert (alpha[60:80, 58:70] == 255).all()


def test_equal_poses_have_no_flow():
  pose = pose_of(yaw=12, mouth_a=0.4)
  flow, occlusion = Character.from_seed(6, 128).flow(pose, pose)
  assert flow.shape == (128, 128, 2)
  assert flow.dtype == occlusion.dtype == np.float32
  np.testing.assert_allclose(flow, 0, atol=1e-4)
  np.testing.assert_array_equal(occlusion, 1)


def test_flow_of_a_pure_roll_is_that_rotation():
  """On the face a roll is a rotation of the picture about the neck."""
  character = Character.from_seed(5)
  flow, occlusion = character.flow(pose_of(), pose_of(roll=10))
  x, y = 128, 178  # Cheek below the eyes, in the middle of the face.
  center = np.array(HEAD_CENTER) + PIVOT[:2]
  offset = np.array([x + 0.5, y + 0.5]) - center
  c, s = np.cos(np.deg2rad(10)), np.sin(np.deg2rad(10))
  # The roll is counter-clockwise as seen, and y points down.
  back = np.array([[c, -s], [s, c]]) @ offset
  np.testing.assert_allclose(flow[y, x], back - offset, atol=0.05)
  assert occlusion[y, x] == 1


@pytest.mark.parametrize('seed', [3, 6, 8])
@pytest.mark.parametrize(
  'numbers',
  [
    {'yaw': 20},
    {'yaw': -15, 'pitch': 12, 'roll': 8},
    {'pitch': -12, 'eye_surprised_left': 1, 'mouth_a': 0.6},
  ],
)
def test_warped_picture_is_the_other_pose(seed, numbers):
  character = Character.from_seed(seed)
  white = (255, 255, 255)
  first, second = (
    character.render(pose, background=white)[..., :3].astype(np.float32)
    for pose in (pose_of(), pose_of(**numbers))
  )
  flow, occlusion = character.flow(pose_of(), pose_of(**numbers))
  difference = np.abs(look_up(first, flow) - second).mean(axis=-1)
  still = np.abs(first - second).mean(axis=-1)
  drawn = (second.min(axis=-1) < 250) & (occlusion == 1)
  assert drawn.sum() > 12000
  # Shadows do not move with the surface they fall on, and lines are thin.
  assert np.median(difference[drawn]) < 1.5
  assert difference[drawn].mean() < 8
  assert difference[drawn].mean() < 0.3 * still[drawn].mean()
  assert 0.8 < occlusion.mean() < 1
  assert np.abs(flow).max() < 75


def test_occlusion_marks_what_was_hidden():
  character = Character.from_seed(5)
  opened = pose_of(mouth_a=1.0)
  _, visible = character.flow(pose_of(), opened)
  mouth = (slice(178, 186), slice(125, 131))
  assert visible[mouth].mean() < 0.2
  assert visible[160:168].mean() == 1
