import concurrent.futures
import pickle

import grain
import numpy as np
import pytest

from data import anime_tree, character_frames, pose_vector
from data.character_frames import CharacterFrames
from data.characters.character import Character
from data.characters.style import STYLES, style_of


def same(left, right):
  assert left.keys() == right.keys()
  for key in left:
    np.testing.assert_array_equal(left[key], right[key])


def test_a_pair_shows_its_poses():
  source = CharacterFrames([4, 9], 32, 3, pairs_per_identity=2)
  assert len(source) == 4
  for index, seed in enumerate((4, 9, 4, 9)):
    pair = source[index]
    assert pair['identity'] == seed
    assert pair['identity'].dtype == np.int64
    style = style_of(3, seed)
    assert source.style_of(seed) == style
    character = Character.from_seed(seed, 32, style)
    for role in ('source', 'driving'):
      pose = pair[f'{role}_pose']
      assert pose.dtype == np.float32
      assert pair[f'{role}_image'].shape == (32, 32, 3)
      np.testing.assert_array_equal(
        pair[f'{role}_image'], anime_tree.on_white(character.render(pose))
      )
    assert not np.array_equal(pair['source_pose'], pair['driving_pose'])
  assert not np.array_equal(source[0]['source_pose'], source[2]['source_pose'])
  for index in (4, -1):
    with pytest.raises(IndexError, match='of 4'):
      source[index]


def test_a_pair_depends_on_seed_and_index_alone(monkeypatch):
  monkeypatch.setattr(character_frames, '_CACHED_CHARACTERS', 2)
  source = CharacterFrames(range(5), 16, 3)
  expected = [source[i] for i in range(20)]
  with concurrent.futures.ThreadPoolExecutor(4) as pool:
    found = list(pool.map(source.__getitem__, reversed(range(20))))
  for left, right in zip(expected, reversed(found), strict=True):
    same(left, right)
  same(pickle.loads(pickle.dumps(source))[7], expected[7])
  other = CharacterFrames(range(5), 16, 4)[7]
  assert not np.array_equal(other['source_pose'], expected[7]['source_pose'])


@pytest.mark.parametrize('fraction', [0, 0.5, 1])
def test_a_share_of_frames_is_rotated(fraction):
  source = CharacterFrames(
    [0], 16, pairs_per_identity=40, rotated_fraction=fraction
  )
  head = pose_vector.group_indices('head')
  rotated = [
    pair[f'{role}_pose'][head].any()
    for pair in map(source.__getitem__, range(40))
    for role in ('source', 'driving')
  ]
  # 5 standard deviations of a binomial.
  slack = 5 * np.sqrt(fraction * (1 - fraction) / 80)
  assert abs(np.mean(rotated) - fraction) <= slack


def test_sources_may_be_rotated_less_often():
  head = pose_vector.group_indices('head')
  source = CharacterFrames(
    [0], 16, rotated_fraction=1, source_rotated_fraction=0
  )
  for index in range(5):
    _, poses = source.poses(index)
    assert not poses['source'][head].any()
    assert poses['driving'][head].any()


def test_grain_reads_it():
  source = CharacterFrames([1, 2, 3], 16, pairs_per_identity=2)
  dataset = grain.MapDataset.source(source).batch(3)
  batches = list(dataset.to_iter_dataset())
  assert [b['identity'].tolist() for b in batches] == [[1, 2, 3]] * 2
  assert batches[0]['source_image'].shape == (3, 16, 16, 3)
  np.testing.assert_array_equal(
    batches[1]['driving_pose'][2], source[5]['driving_pose']
  )


def test_wrong_options_are_named_all_at_once():
  with pytest.raises(ValueError) as caught:
    CharacterFrames(
      [],
      8,
      -1,
      pairs_per_identity=0,
      rotated_fraction=2,
      source_rotated_fraction=-1,
      styles=(),
    )
  for text in (
    'seeds are wanted',
    'size is 8',
    'seed is -1',
    'pairs_per_identity is 0',
    'rotated_fraction is 2',
    'source_rotated_fraction is -1',
    'styles are empty',
  ):
    assert text in str(caught.value)


def test_every_identity_has_one_style_of_those_wanted():
  source = CharacterFrames(range(40), 16)
  assert {source.style_of(identity) for identity in range(40)} == set(STYLES)
  source = CharacterFrames(range(40), 16, styles=['soft', 'flat'])
  chosen = {source.style_of(identity) for identity in range(40)}
  assert chosen == {'flat', 'soft'}
