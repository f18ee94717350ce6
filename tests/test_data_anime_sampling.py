import numpy as np
import pytest

from data import anime_sampling, pose_vector

INDEX = pose_vector.POSE_INDEX


def test_there_are_23_target_morphs_for_17_numbers():
  morphs = {
    part: anime_sampling.target_morphs(part) for part in anime_sampling.PARTS
  }
  assert {part: len(m) for part, m in morphs.items()} == {
    'eye': 9,
    'eyebrow': 9,
    'mouth': 5,
  }
  assert morphs['eye'][:3] == (
    (INDEX['eye_wink_left'],),
    (INDEX['eye_wink_right'],),
    (INDEX['eye_wink_left'], INDEX['eye_wink_right']),
  )
  assert morphs['mouth'][-1] == (INDEX['mouth_u'],)
  driven = {i for m in morphs.values() for indices in m for i in indices}
  assert driven == set(range(17))
  with pytest.raises(ValueError, match='eye, eyebrow, mouth'):
    anime_sampling.target_morphs('nose')


def test_every_frame_has_one_morph_a_part():
  poses = anime_sampling.sample_poses(np.random.default_rng(0), 4000, True)
  assert poses.dtype == np.float32
  for part in anime_sampling.PARTS:
    morphs = anime_sampling.target_morphs(part)
    counts = dict.fromkeys(morphs, 0)
    for pose in poses[:, pose_vector.group_indices(part)]:
      active = np.flatnonzero(pose)
      assert len(set(pose[active].tolist())) == 1
      first = pose_vector.group_indices(part)[0]
      counts[tuple((active + first).tolist())] += 1
    # Morphs are equally likely; 5 standard deviations of a binomial.
    share = 1 / len(morphs)
    slack = 5 * np.sqrt(share * (1 - share) * len(poses))
    assert len(counts) == len(morphs)
    for count in counts.values():
      assert abs(count - share * len(poses)) < slack


def test_strengths_and_angles_are_uniform():
  poses = anime_sampling.sample_poses(np.random.default_rng(1), 20000, True)
  strengths = poses[:, pose_vector.group_indices('mouth')].max(1)
  quantiles = np.linspace(0.1, 0.9, 9)
  np.testing.assert_allclose(
    np.quantile(strengths, quantiles), quantiles, atol=0.02
  )
  for angle in pose_vector.ANGLE_NAMES:
    np.testing.assert_allclose(
      np.quantile(poses[:, INDEX[angle]], quantiles),
      40 * quantiles - 20,
      atol=0.8,
    )
  assert np.abs(poses[:, 17:]).max() <= 20
  assert np.abs(np.corrcoef(poses[:, 17:].T) - np.eye(3)).max() < 0.05


def test_frontal_frames_have_the_same_expressions_without_angles():
  rotated = anime_sampling.identity_poses(3, 7, 6, True)
  frontal = anime_sampling.identity_poses(3, 7, 6, False)
  np.testing.assert_array_equal(frontal[:, :17], rotated[:, :17])
  np.testing.assert_array_equal(frontal[:, 17:], 0)
  assert np.all(rotated[:, 17:] != 0)


def test_poses_depend_on_seed_and_identity_and_grow_at_the_end():
  poses = anime_sampling.identity_poses(3, 7, 6, True)
  longer = anime_sampling.identity_poses(3, 7, 9, True)
  np.testing.assert_array_equal(longer[:6], poses)
  for seed, identity in ((3, 8), (4, 7), (7, 3)):
    other = anime_sampling.identity_poses(seed, identity, 6, True)
    assert not np.array_equal(other, poses)
  assert anime_sampling.identity_poses(0, 0, 0, True).shape == (0, 20)
