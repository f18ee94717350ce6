import pickle

import numpy as np
import pytest

from data import anime_tree, streams
from data.character_pairs import CharacterPairs, quarter_flow
from data.characters.character import Character
from data.characters.style import style_of
from data.pairs import PairOptions

SIZE = 32


@pytest.fixture(scope='module')
def source():
  return CharacterPairs(
    [4, 9, 11], PairOptions(size=SIZE, seed=3), with_flow=True
  )


def test_a_pair_shows_its_character(source):
  identities = []
  for position in range(6):
    pair = source[position]
    seed = int(pair['identity'])
    identities.append(seed)
    character = Character.from_seed(seed, SIZE, style_of(3, seed))
    for role in ('source', 'driving'):
      np.testing.assert_array_equal(
        pair[f'{role}_image'],
        anime_tree.on_white(character.render(pair[f'{role}_pose'])),
      )
    boxes = character.part_boxes(pair['driving_pose'])
    np.testing.assert_allclose(
      pair['part_boxes'], [boxes['eyes'], boxes['mouth']], rtol=1e-6
    )
    flow, visible = character.flow(pair['source_pose'], pair['driving_pose'])
    expected, mask = quarter_flow(flow, visible)
    np.testing.assert_array_equal(pair['flow'], expected)
    np.testing.assert_array_equal(pair['flow_mask'], mask)
  assert sorted(identities[:3]) == sorted(identities[3:]) == [4, 9, 11]
  assert source.pairs_per_epoch == 225


def test_both_kinds_of_frames_occur(source):
  turned = {
    tuple(bool(pose[17:].any()) for pose in source._frames.poses(i)[1].values())
    for i in range(60)
  }
  assert turned == {(a, b) for a in (False, True) for b in (False, True)}


def test_batches_have_one_form(source):
  options = streams.StreamOptions(2, num_threads=0)
  with streams.open_stream(source, options) as stream:
    first = [next(stream) for _ in range(2)]
  assert {k: (v.shape, v.dtype.name) for k, v in first[0].items()} == {
    'source_image': ((2, SIZE, SIZE, 3), 'uint8'),
    'driving_image': ((2, SIZE, SIZE, 3), 'uint8'),
    'source_pose': ((2, 20), 'float32'),
    'driving_pose': ((2, 20), 'float32'),
    'identity': ((2,), 'int64'),
    'part_boxes': ((2, 2, 4), 'float32'),
    '_mask': ((2,), 'float32'),
    'flow': ((2, SIZE // 4, SIZE // 4, 2), 'float32'),
    'flow_mask': ((2, SIZE // 4, SIZE // 4), 'float32'),
  }
  options = streams.StreamOptions(
    2, num_threads=0, start_state={streams.STATE_KEY: 2}
  )
  copy = pickle.loads(pickle.dumps(source))
  with streams.open_stream(copy, options) as stream:
    again = next(stream)
  for name, value in first[1].items():
    np.testing.assert_array_equal(again[name], value)


def test_random_backgrounds_are_shared():
  options = PairOptions(size=SIZE, background='random')
  pair = CharacterPairs([4], options)[0]
  corners = {tuple(pair[f'{r}_image'][0, 0]) for r in ('source', 'driving')}
  assert len(corners) == 1
  assert corners != {(255, 255, 255)}
  assert 'flow' not in pair


def test_quarter_flow_by_hand():
  flow = np.zeros((4, 8, 2), np.float32)
  flow[:, :4] = [8, -4]
  flow[0, 0] = [1000, 1000]  # Hidden, so it does not count.
  flow[:2, 4:] = [4, 4]
  flow[2:, 4:] = [12, 0]
  visible = np.ones((4, 8), np.float32)
  visible[0, 0] = 0
  small, mask = quarter_flow(flow, visible)
  np.testing.assert_allclose(small, [[[2, -1], [2, 0.5]]])
  np.testing.assert_allclose(mask, [[15 / 16, 1]])
  small, mask = quarter_flow(flow, np.zeros((4, 8), np.float32))
  np.testing.assert_array_equal(small, np.zeros((1, 2, 2)))
  np.testing.assert_array_equal(mask, [[0, 0]])


def test_wrong_options_are_named_all_at_once():
  with pytest.raises(ValueError) as caught:
    CharacterPairs(
      [], PairOptions(size=18, seed=-1), rotated_fraction=3, with_flow=True
    )
  for text in (
    'seed is -1',
    'multiple of 4',
    'seeds are wanted',
    'rotated_fraction is 3',
  ):
    assert text in str(caught.value)
