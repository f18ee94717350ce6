"""Measures of the encoder's check, by hand."""

import numpy as np
import pytest

from data.codes import CodeClip
from data.drivers import DriverError
from data.pose_vector import NUM_COEFFICIENTS, POSE_INDEX
from launch import check_clip


def clip(frames, pitch, jaw):
  count = len(frames)
  turns, jaws, camera = np.zeros((3, count, 3), np.float32)
  turns[:, 0] = np.radians(pitch)
  jaws[:, 0] = jaw
  return CodeClip(
    identity='somebody',
    name='clip',
    frames=frames,
    expression=np.zeros((count, 50)),
    jaw_pose=jaws,
    global_pose=turns,
    shape=np.zeros((count, 100)),
    camera=camera,
  )


def test_frames_match_by_their_numbers():
  one, other = check_clip.matching_frames(
    ['0000', '0001', '0002', '0010'], ['10', '1', '007', '0']
  )
  np.testing.assert_array_equal(one, [0, 1, 3])
  np.testing.assert_array_equal(other, [3, 1, 0])
  with pytest.raises(DriverError, match=r"2 frames .* such as 'a1'"):
    check_clip.matching_frames(['0', 'a1'], ['b'])


def test_movements_are_compared_where_both_have_a_frame():
  """DECA's second frame is missing, its third is of the wrong sign."""
  ours = clip(['0', '1', '2', '3'], [0, 90, 1, 2], [0.1, 9, 0.2, 0.3])
  parts = [clip(['000'], [5], [0.1]), clip(['003', '002'], [1, 3], [0.3, 0.2])]
  curves = {
    name: {'landmarks': v} for name, v in check_clip.movements([ours]).items()
  }
  result = check_clip.check_movements(ours, parts, curves)
  assert result['frames_with_deca'] == 3
  assert result['pitch_correlation_to_deca'] == -1
  assert result['jaw_correlation_to_deca'] == 1
  assert result['roll_correlation_to_deca'] is None
  np.testing.assert_allclose(
    curves['pitch']['DECA'], [5, np.nan, 3, 1], atol=1e-4
  )


def test_lids_are_compared_side_by_side():
  fitted = np.array([[1, 4], [2, 3], [3, 2], [4, 1.0]])
  mesh = np.array([[2, 2], [4, 4], [np.nan, np.nan], [8, 8]])
  curves = {}
  result = check_clip.check_lids(fitted, mesh, -mesh, curves)
  assert result == {
    'lid_left_correlation_to_mesh': 1,
    'lid_left_correlation_to_eye_finder': -1,
    'lid_right_correlation_to_mesh': -1,
    'lid_right_correlation_to_eye_finder': 1,
  }
  np.testing.assert_allclose(curves['lid left']['mesh'], [0.5, 1, np.nan, 2])


def coefficients():
  values = np.zeros((3, NUM_COEFFICIENTS))
  values[1, POSE_INDEX['eye_wink_left']] = 0.5
  values[1, POSE_INDEX['eye_happy_wink_left']] = 0.25
  values[2, POSE_INDEX['eye_wink_right']] = 0.75
  values[2, POSE_INDEX['eye_happy_wink_right']] = 0.75
  return values


def test_closure_adds_both_ways_of_closing_an_eye():
  left = check_clip.closure(coefficients(), 'left')
  right = check_clip.closure(coefficients(), 'right')
  np.testing.assert_allclose(left, [0, 0.75, 0])
  np.testing.assert_allclose(right, [0, 0, 1])


def test_closure_is_compared_with_closing_lids():
  eyes = np.array([[1, 1], [0.2, 1], [1, 0.1]])
  curves = {f'lid {side}': {} for side in ('left', 'right')}
  result = check_clip.check_closure(coefficients(), eyes, curves)
  assert result['closure_left_correlation_to_lids'] == 1
  assert result['closure_right_correlation_to_lids'] == 1
  assert result['closure_left_most'] == 0.75
  np.testing.assert_allclose(
    curves['lid right']['1 - closure of the pose vector'], [1, 1, 0]
  )


def test_curves_are_drawn():
  drawn = check_clip.draw_curves(
    {'pitch': {'a': np.arange(3.0), 'b': np.ones(2)}, 'jaw': {'a': np.ones(3)}}
  )
  assert [axes.get_ylabel() for axes in drawn.axes] == ['pitch', 'jaw']
  [one, other] = drawn.axes[0].lines
  np.testing.assert_array_equal(one.get_ydata(), [0, 1, 2])
  assert len(other.get_xdata()) == 2
