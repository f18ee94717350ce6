"""Gains, calibration, relative head pose and clamping, by value."""

import numpy as np
import pytest
from absl import logging

from data import pose_vector
from edtn_jax.signal import pose, rotation

MOUTH = pose_vector.group_indices('mouth')
EYE = pose_vector.group_indices('eye')
BROW = pose_vector.group_indices('eyebrow')
HEAD = pose_vector.group_indices('head')


def _poses(count=6, seed=0):
  return np.random.default_rng(seed).random((count, 20)).astype(np.float32)


def _matrix(axis_angle):
  """Rodrigues' formula, written out, as an independent check."""
  angle = np.linalg.norm(axis_angle)
  if angle == 0:
    return np.eye(3)
  x, y, z = np.asarray(axis_angle) / angle
  cross = np.array([[0, -z, y], [z, 0, -x], [-y, x, 0]])
  return np.eye(3) + np.sin(angle) * cross + (1 - np.cos(angle)) * cross @ cross


def test_mouth_gain_works_on_one_frame():
  # The public code writes `pose[12:17] *= 1.5` on a [1, 20] array, which
  # selects no row at all; this is the very shape on which it does nothing.
  frame = np.full((1, 20), 0.4, np.float32)
  untouched = frame.copy()
  untouched[12:17] *= 1.5
  np.testing.assert_array_equal(untouched, frame)
  got = pose.Gain(mouth=1.5)(frame)
  np.testing.assert_allclose(got[0, MOUTH], 0.6, rtol=1e-6)
  others = np.setdiff1d(np.arange(20), MOUTH)
  np.testing.assert_array_equal(got[0, others], frame[0, others])


def test_gains_clip_and_leave_their_input_alone():
  poses = _poses()
  before = poses.copy()
  got = pose.Gain(mouth=3.0, eye=0.5)(poses)
  np.testing.assert_array_equal(poses, before)
  np.testing.assert_allclose(
    got[:, MOUTH], np.minimum(poses[:, MOUTH] * 3, 1), rtol=1e-6
  )
  np.testing.assert_allclose(got[:, EYE], poses[:, EYE] / 2, rtol=1e-6)
  np.testing.assert_array_equal(got[:, BROW], poses[:, BROW])
  np.testing.assert_array_equal(got[:, HEAD], poses[:, HEAD])


def test_calibration_sends_neutral_to_zero_and_keeps_one():
  neutral = np.linspace(0, 0.9, 17).astype(np.float32)
  frames = np.zeros((4, 20), np.float32)
  frames[0, :17] = neutral
  frames[1, :17] = 1.0
  frames[2, :17] = (1 + neutral) / 2
  frames[:, 17:] = 12.5
  got = pose.CalibrateNeutral(neutral)(frames)
  np.testing.assert_allclose(got[0, :17], 0.0, atol=1e-7)
  np.testing.assert_allclose(got[1, :17], 1.0, rtol=1e-6)
  np.testing.assert_allclose(got[2, :17], 0.5, rtol=1e-6)
  np.testing.assert_array_equal(got[3, :17], 0.0)  # below neutral
  np.testing.assert_array_equal(got[:, 17:], 12.5)


def test_calibration_enlarges_at_most_tenfold():
  frames = np.full((1, 20), 1.0, np.float32)
  got = pose.CalibrateNeutral(np.full(17, 0.95))(frames)
  np.testing.assert_allclose(got[0, :17], 0.5, rtol=1e-5)


def test_calibration_refuses_wrong_neutrals():
  with pytest.raises(ValueError, match=r'wanted \[17\]'):
    pose.CalibrateNeutral(np.zeros(20))
  with pytest.raises(ValueError, match=r'leave \[0, 1\]'):
    pose.CalibrateNeutral(np.full(17, np.nan))


def test_neutral_frames_are_the_calm_ones():
  rng = np.random.default_rng(0)
  coeffs = np.zeros((100, 17), np.float32)
  coeffs[:, [0, 1, 12, 14]] = rng.uniform(0.3, 0.9, (100, 4))
  coeffs[:, 6:8] = 0.83  # a standing offset of the brows, as in real data
  calm = np.arange(40, 50)
  coeffs[calm, :2] = coeffs[calm, 12:] = 0.05
  np.testing.assert_array_equal(pose.pick_neutral_frames(coeffs, 0.1), calm)
  # At least one frame, however short the clip.
  few = np.zeros((3, 17))
  few[:, 0] = [0.6, 0.1, 0.9]
  np.testing.assert_array_equal(pose.pick_neutral_frames(few, 0.1), [1])


def test_neutral_frames_of_a_still_clip_are_defined():
  got = pose.pick_neutral_frames(np.full((20, 17), 0.5), 0.1)
  np.testing.assert_array_equal(got, [0, 1])
  with pytest.raises(ValueError, match='no frames'):
    pose.pick_neutral_frames(np.zeros((0, 17)))


def test_released_network_on_real_frames_loses_its_standing_offset(shared_dir):
  coeffs = np.load(shared_dir / 'golden' / 'edtn_outputs.npz')[
    'pose_coefficients'
  ]
  chosen = pose.pick_neutral_frames(coeffs)
  frames = np.pad(coeffs, [(0, 0), (0, 3)])
  got = pose.CalibrateNeutral(coeffs[chosen].mean(0))(frames)
  assert coeffs[:, 6:8].mean() > 0.8
  assert got[:, 6:8].mean() < 0.25
  assert got[chosen, :17].mean() < 0.05
  # Blinks survive.
  assert got[:, 0].max() > 0.9 * coeffs[:, 0].max()


def test_rotations_match_matrices():
  rng = np.random.default_rng(1)
  for reference, turned in rng.uniform(-1.5, 1.5, (20, 2, 3)):
    got = rotation.relative_rotation(reference, turned)
    np.testing.assert_allclose(
      _matrix(got), _matrix(reference).T @ _matrix(turned), atol=1e-12
    )


def test_rotation_round_trip_from_zero_to_a_half_turn():
  axis = np.array([0.6, 0.0, 0.8])
  for angle in (0.0, 1e-12, 1e-4, 1.0, np.pi - 1e-9):
    quaternion = rotation.quaternion_from_axis_angle(angle * axis)
    got = rotation.axis_angle_from_quaternion(quaternion)
    np.testing.assert_allclose(got, angle * axis, atol=1e-12)
  # Beyond a half turn the shorter way round comes back.
  got = rotation.axis_angle_from_quaternion(
    rotation.quaternion_from_axis_angle(1.5 * np.pi * axis)
  )
  np.testing.assert_allclose(got, -0.5 * np.pi * axis, atol=1e-12)


def test_a_nod_of_a_turned_head_is_a_pure_nod():
  turned = np.array([0.0, 0.5, 0.0])
  nod = np.array([0.3, 0.0, 0.0])
  both = rotation.axis_angle_from_quaternion(
    rotation.multiply(
      rotation.quaternion_from_axis_angle(turned),
      rotation.quaternion_from_axis_angle(nod),
    )
  )
  step = pose.RelativeHeadPose()
  got = step(np.stack([turned, both]))
  np.testing.assert_allclose(got, [[0, 0, 0], nod], atol=1e-12)
  angles = pose_vector.head_angles_deg(got[1])
  np.testing.assert_allclose(angles, [np.rad2deg(0.3), 0, 0], atol=1e-10)
  # The reference is kept for the next chunk.
  np.testing.assert_allclose(step(both[None]), nod[None], atol=1e-12)


def test_mean_rotation():
  one = np.array([0.1, -0.4, 0.2])
  np.testing.assert_allclose(
    rotation.mean_rotation(np.stack([one, one])), one, atol=1e-12
  )
  pair = np.array([[0, 0.2, 0], [0, 0.4, 0]])
  np.testing.assert_allclose(
    rotation.mean_rotation(pair), [0, 0.3, 0], atol=1e-12
  )
  with pytest.raises(ValueError, match='wanted'):
    rotation.mean_rotation(np.zeros((0, 3)))


def test_clamp_counts_and_warns_once(monkeypatch):
  warnings = []
  monkeypatch.setattr(logging, 'warning', lambda *a: warnings.append(a))
  frames = np.zeros((3, 20), np.float32)
  frames[:, 17:] = [[34, -35, 35], [0, -60, 0], [36, 0, 80]]
  clamp = pose.ClampAngles(35.0)
  got = clamp(frames)
  np.testing.assert_array_equal(
    got[:, 17:], [[34, -35, 35], [0, -35, 0], [35, 0, 35]]
  )
  clamp(frames)
  assert clamp.clamped_frames == 4
  assert len(warnings) == 1
  assert warnings[0][2] == [36.0, 0.0, 80.0]


def test_smoothing_can_leave_groups_alone():
  frames = _poses(20)
  got = pose.make_smoothing(25.0, groups=('head',))(frames)
  assert got[:, :17].tobytes() == frames[:, :17].tobytes()
  assert np.abs(got[1:, 17:] - frames[1:, 17:]).max() > 0.1


def test_a_chain_gives_the_same_bits_in_chunks():
  frames = _poses(50)
  frames[:, 17:] *= 60

  def make():
    return pose.chain(
      pose.make_smoothing(25.0),
      pose.CalibrateNeutral(np.full(17, 0.2)),
      pose.Gain(mouth=1.5),
      pose.ClampAngles(30.0),
    )

  whole, step = make()(frames), make()
  pieces = np.concatenate([step(c) for c in np.split(frames, [1, 7, 30])])
  assert pieces.tobytes() == whole.tobytes()
  assert np.abs(whole[:, 17:]).max() <= 30


def test_wrong_shapes_are_refused():
  for step in (pose.Gain(), pose.ClampAngles()):
    with pytest.raises(ValueError, match=r'wanted \[T, 20\]'):
      step(np.zeros((3, 17), np.float32))
