import numpy as np
import pytest

from data import deca, pose_vector


def test_seventeen_coefficients_then_three_angles():
  assert pose_vector.NUM_POSE == 20
  assert pose_vector.NUM_COEFFICIENTS == 17
  assert pose_vector.ANGLE_NAMES == ('pitch', 'roll', 'yaw')
  assert (
    *pose_vector.COEFFICIENT_NAMES,
    *pose_vector.ANGLE_NAMES,
  ) == pose_vector.POSE_NAMES
  assert len(set(pose_vector.POSE_NAMES)) == 20


def test_group_indices_are_derived_from_the_declaration():
  indices = pose_vector.group_indices
  np.testing.assert_array_equal(indices('eye'), [0, 1, 2, 3, 4, 5])
  np.testing.assert_array_equal(indices('eye', 'left'), [0, 2, 4])
  np.testing.assert_array_equal(indices('eyebrow', 'right'), [7, 9, 11])
  np.testing.assert_array_equal(indices('mouth'), [12, 13, 14, 15, 16])
  np.testing.assert_array_equal(indices('head'), [17, 18, 19])
  with pytest.raises(ValueError, match="group='nose'"):
    indices('nose')


def test_index_and_range_of_every_number():
  for i, number in enumerate(pose_vector.POSE_NUMBERS):
    assert pose_vector.POSE_INDEX[number.name] == i
    wanted = (-20, 20) if number.group == 'head' else (0, 1)
    assert (number.low, number.high) == wanted


def test_quarter_turns_land_in_their_columns():
  quarter = np.pi / 2
  nod, turn, tilt = np.eye(3) * quarter
  np.testing.assert_allclose(pose_vector.head_angles_deg(nod), [90, 0, 0])
  np.testing.assert_allclose(pose_vector.head_angles_deg(tilt), [0, 90, 0])
  np.testing.assert_allclose(pose_vector.head_angles_deg(turn), [0, 0, 90])


def test_make_pose_vector_keeps_leading_dimensions():
  coeffs = np.arange(2 * 3 * 17).reshape(2, 3, 17) / 102
  pose = np.deg2rad(np.arange(18).reshape(2, 3, 3))
  vector = pose_vector.make_pose_vector(coeffs, pose)
  assert vector.shape == (2, 3, 20)
  assert vector.dtype == np.float32
  np.testing.assert_allclose(vector[..., :17], coeffs, rtol=1e-6)
  np.testing.assert_allclose(vector[1, 2, 17:], [15, 17, 16], rtol=1e-6)


def test_wrong_widths_are_refused():
  with pytest.raises(ValueError, match=r'wanted \[..., 3\]'):
    pose_vector.head_angles_deg(np.zeros(4))
  with pytest.raises(ValueError, match=r'wanted \[..., 17\]'):
    pose_vector.make_pose_vector(np.zeros(16), np.zeros(3))


def test_golden_pose_vectors_of_real_codes(shared_dir):
  golden = np.load(shared_dir / 'golden' / 'edtn_outputs.npz')
  clip, skipped = deca.read_clip(shared_dir / 'real' / 'deca')
  assert not skipped
  vector = pose_vector.make_pose_vector(
    golden['pose_coefficients'], clip.global_pose
  )
  np.testing.assert_allclose(vector, golden['pose_vector'], atol=1e-5)
  assert [f'{name}.mat' for name in clip.frames] == golden['frames'].tolist()
