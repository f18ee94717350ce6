import io
import json
import logging
import pickle

import numpy as np
import pytest
from PIL import Image

from data import (
  anime_records,
  anime_rows,
  files,
  pairs,
  prepare_anime_frames,
  prepared,
  streams,
)
from data.anime_pairs import AnimePairs
from data.pairs import PairOptions

SIZE = 16
FRAMES = (6, 2, 4, 1, 5)  # Of each identity; those of 6 are half rotated.
BATCH = 4


def make_tree(root):
  """Every picture's colour says which frame it is; half of it is empty."""
  rows, number = [], 0
  for identity, count in enumerate(FRAMES):
    for frame in range((count + 1) // 2):
      name = f'{identity}_{frame}.png'
      pose = (*[identity / 10] * 17, number, -number, number / 2)
      rows.append(anime_rows.PoseRow(f'id{identity}', '0', name, pose))
      for kind in anime_rows.KINDS[: 2 if 2 * frame + 1 < count else 1]:
        picture = np.zeros((SIZE, SIZE, 4), np.uint8)
        picture[SIZE // 2 :] = [10 * number, 100, 30 * identity, 255]
        number += 1
        path = root / anime_rows.picture_path(kind, '0', name)
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(picture).save(path)
  anime_rows.write_csv(root, rows)
  (root / 'test_list.txt').write_text('id4\n')
  (root / 'train_list.txt').write_text('id0\nid1\nid2\nid3\n')


@pytest.fixture(scope='module')
def tree(tmp_path_factory):
  root = tmp_path_factory.mktemp('tree')
  make_tree(root)
  return root


@pytest.fixture(scope='module')
def path(tree, tmp_path_factory):
  output = tmp_path_factory.mktemp('out')
  prepare_anime_frames.prepare_anime_frames(tree, output)
  return output


def open_pairs(path, split='train', *, skip_damaged=True, **options):
  options = {'size': SIZE, **options}
  return AnimePairs(
    path, split, PairOptions(**options), skip_damaged=skip_damaged
  )


def take(source, steps, **options):
  options = streams.StreamOptions(BATCH, **{'num_threads': 0, **options})
  with streams.open_stream(source, options) as stream:
    return [next(stream) for _ in range(steps)]


def assert_same(left, right):
  assert len(left) == len(right)
  for one, other in zip(left, right, strict=True):
    assert one.keys() == other.keys()
    for name in one:
      assert one[name].dtype == other[name].dtype
      np.testing.assert_array_equal(one[name], other[name])


def frame_number(image):
  """The frame that a picture is of, see `make_tree`."""
  return image[-1, 0, 0] / 10


def test_a_batch_is_what_the_task_reads(path):
  source = open_pairs(path)
  [batch] = take(source, 1)
  assert {name: (v.shape, v.dtype.name) for name, v in batch.items()} == {
    'source_image': ((BATCH, SIZE, SIZE, 3), 'uint8'),
    'driving_image': ((BATCH, SIZE, SIZE, 3), 'uint8'),
    'source_pose': ((BATCH, 20), 'float32'),
    'driving_pose': ((BATCH, 20), 'float32'),
    'identity': ((BATCH,), 'int64'),
    'part_boxes': ((BATCH, 2, 4), 'float32'),
    '_mask': ((BATCH,), 'float32'),
  }
  assert (batch['_mask'] == 1).all()
  assert source.pairs_per_epoch == 4 * 75
  for boxes in batch['part_boxes']:
    np.testing.assert_array_equal(boxes, pairs.PART_BOXES)


def test_pairs_are_frames_of_one_identity_with_their_poses(path):
  source = open_pairs(path, seed=5)
  kinds = set()
  seen = {}
  for position in range(1000):
    pair = source[position]
    identity = int(pair['identity'])
    numbers = []
    for role in ('source', 'driving'):
      image, pose = pair[f'{role}_image'], pair[f'{role}_pose']
      assert (image[: SIZE // 2] == 255).all()
      assert image[-1, 0, 2] == 30 * identity
      np.testing.assert_allclose(pose[:17], identity / 10)
      numbers.append(frame_number(image))
    # A frontal frame has the angles 0, a rotated one those of its row.
    turned = tuple(bool(pair[f'{r}_pose'][19]) for r in ('source', 'driving'))
    if identity:
      kinds.add(turned)
    seen.setdefault(identity, set()).add(tuple(numbers))
    assert (numbers[0] == numbers[1]) == (FRAMES[identity] == 1)
  assert kinds == {(a, b) for a in (False, True) for b in (False, True)}
  # Every ordered pair of different frames occurs: 6 * 5, 2 * 1, 4 * 3.
  assert {k: len(v) for k, v in seen.items()} == {0: 30, 1: 2, 2: 12, 3: 1}


def test_frames_are_drawn_uniformly(path):
  source = open_pairs(path, seed=1)
  draws = [source._order.draw(position) for position in range(4000)]
  chosen = np.array([draw.frames(4) for draw in draws])
  counts = np.histogram2d(*chosen.T, bins=4)[0]
  assert (np.diag(counts) == 0).all()
  off = counts[~np.eye(4, dtype=bool)]
  # 4000 / 12 each; 5 standard deviations.
  assert np.abs(off - 4000 / 12).max() < 5 * np.sqrt(4000 / 12)


def test_every_pass_visits_every_identity_once(path):
  source = open_pairs(path, seed=2)
  identities = np.array([source[i]['identity'] for i in range(40)])
  passes = identities.reshape(10, 4)
  np.testing.assert_array_equal(np.sort(passes), [[0, 1, 2, 3]] * 10)
  assert len({tuple(row) for row in passes.tolist()}) > 3


def test_resumed_streams_continue_as_uninterrupted_ones(path):
  source = open_pairs(path, background='random')
  whole = take(source, 6)
  assert_same(whole, take(source, 6, num_threads=2))
  for step in (1, 4):
    state = {streams.STATE_KEY: step * BATCH}
    state = json.loads(json.dumps(state))
    assert_same(
      take(
        open_pairs(path, background='random'),
        6 - step,
        start_state=state,
      ),
      whole[step:],
    )


def test_shards_divide_a_batch(path):
  source = open_pairs(path)
  whole = take(source, 3)
  parts = [take(source, 3, shard_index=i, shard_count=2) for i in range(2)]
  for step, batch in enumerate(whole):
    for name, value in batch.items():
      together = np.concatenate([part[step][name] for part in parts])
      np.testing.assert_array_equal(together, value)


def test_workers_change_nothing(path):
  source = open_pairs(path, background='random')
  state = {streams.STATE_KEY: 2 * BATCH}
  found = take(source, 3, num_workers=2, start_state=state)
  assert_same(found, take(source, 5)[2:])


def test_a_source_survives_pickling(path):
  source = open_pairs(path, seed=3)
  copy = pickle.loads(pickle.dumps(source))
  assert_same([source[11]], [copy[11]])
  other = open_pairs(path, seed=4)
  assert not all(
    np.array_equal(source[i]['source_image'], other[i]['source_image'])
    for i in range(4)
  )


def test_both_frames_have_one_background(path):
  source = open_pairs(path, background='random')
  colors = set()
  for position in range(20):
    pair = source[position]
    color = pair['source_image'][0, 0]
    for role in ('source', 'driving'):
      assert (pair[f'{role}_image'][: SIZE // 2] == color).all()
    colors.add(tuple(color.tolist()))
  assert len(colors) == 20


def test_smaller_pictures_are_means_of_areas():
  rng = np.random.default_rng(0)
  rgb = rng.integers(0, 256, (12, 12, 3), np.uint8)

  def finish(size):
    order = pairs.PairOrder(1, PairOptions(size=size))
    return pairs.finish_picture(Image.fromarray(rgb), order.draw(0))

  np.testing.assert_array_equal(finish(12), rgb)
  means = rgb.reshape(4, 3, 4, 3, 3).mean((1, 3))
  assert np.abs(finish(4) - means).max() < 0.6  # Pillow rounds 1/9
  # Nothing is skipped when the sizes do not divide.
  np.testing.assert_allclose(finish(5).mean((0, 1)), rgb.mean((0, 1)), atol=8)
  rgb[:] = [10, 20, 30]
  np.testing.assert_array_equal(finish(5), [[[10, 20, 30]] * 5] * 5)


def test_sizes_are_checked(path):
  with pytest.raises(ValueError, match=r'size is 32.*16x16.*allow_smaller'):
    open_pairs(path, size=32)
  source = AnimePairs(path, 'train', PairOptions(size=32), allow_smaller=True)
  assert source[0]['source_image'].shape == (32, 32, 3)
  assert open_pairs(path, size=8)[0]['source_image'].shape == (8, 8, 3)


@pytest.mark.parametrize('image_format', ['webp', 'jpeg'])
def test_other_formats_show_the_same(tree, path, tmp_path, image_format):
  prepare_anime_frames.prepare_anime_frames(
    tree, tmp_path, image_format=image_format
  )
  expected, found = open_pairs(path), open_pairs(tmp_path)
  for position in range(8):
    left, right = expected[position], found[position]
    np.testing.assert_array_equal(left['driving_pose'], right['driving_pose'])
    for role in ('source', 'driving'):
      difference = left[f'{role}_image'].astype(int) - right[f'{role}_image']
      limit = 0 if image_format == 'webp' else 4
      assert np.abs(difference).mean() <= limit
  if image_format == 'jpeg':
    assert open_pairs(tmp_path, size=8)[0]['source_image'].shape == (8, 8, 3)
    with pytest.raises(ValueError, match='JPEG has none'):
      open_pairs(tmp_path, background='random')


def damage_records(path, records):
  """Makes pictures of the training split undecodable."""
  source = open_pairs(path)
  read = source._images

  class Damaged:
    def __getitem__(self, record):
      image = read[record]['image']
      return {'image': image[:30] if record in records else image}

  source._images = Damaged()
  return source


def test_damaged_frames_are_replaced_counted_and_named(path, caplog):
  whole = open_pairs(path)
  offsets = whole.index.identity_offsets
  source = damage_records(path, {1, 5})
  with caplog.at_level(logging.WARNING, logger='absl'):
    found = [source[i] for i in range(60)]
  assert sorted(source.damaged) == [1, 5]
  messages = [r.getMessage() for r in caplog.records]
  assert len(messages) == 2
  assert any("record 1 of train, 'id0'" in message for message in messages)
  for position, pair in enumerate(found):
    draw = whole._order.draw(position)
    first, end = offsets[draw.slot : draw.slot + 2]
    for role, frame in zip(
      ('source', 'driving'), draw.frames(end - first), strict=True
    ):
      record = first + frame
      record = {1: 2, 5: 0}.get(int(record), record)  # The next of identity 0.
      np.testing.assert_array_equal(
        pair[f'{role}_pose'], whole.index.pose[record]
      )
  # The order of reading does not matter.
  again = damage_records(path, {1, 5})
  assert_same([again[59], again[0]], [found[59], found[0]])


def test_damaged_frames_are_errors_if_told(path):
  source = damage_records(path, {0, 1, 2, 3, 4, 5})
  source._skip_damaged = False
  with pytest.raises(prepared.CorruptDatasetError, match="of train, 'id0'"):
    [source[i] for i in range(4)]
  source._skip_damaged = True
  with pytest.raises(
    prepared.CorruptDatasetError, match="every frame of identity 'id0'"
  ):
    [source[i] for i in range(4)]


def test_damaged_files_are_named(tree, tmp_path):
  prepare_anime_frames.prepare_anime_frames(tree, tmp_path)
  folder = prepare_anime_frames.frames_dir(tmp_path)
  [shard] = folder.glob('anime_frames-train.array*')
  shard.write_bytes(shard.read_bytes()[:-100])
  with pytest.raises(prepared.CorruptDatasetError, match=shard.name):
    open_pairs(tmp_path)
  shard.unlink()
  with pytest.raises(prepared.CorruptDatasetError, match='missing'):
    open_pairs(tmp_path)
  index = folder / anime_records.index_name('train')
  index.write_bytes(b'x')
  with pytest.raises(prepared.CorruptDatasetError, match=index.name):
    open_pairs(tmp_path)
  files.write_json(folder / 'manifest.json', {'format': 'deca_codes'})
  with pytest.raises(ValueError, match='deca_codes, wanted anime_frames'):
    open_pairs(tmp_path)
  files.write_json(folder / 'manifest.json', {'format': 'anime_frames'})
  with pytest.raises(prepared.CorruptDatasetError, match=r'lacks \['):
    open_pairs(tmp_path)


def test_wrong_options_are_named_all_at_once(path, tmp_path):
  with pytest.raises(ValueError) as caught:
    open_pairs(path, size=0, seed=-1, repeats=0, background='red')
  for text in (
    'size is 0',
    'seed is -1',
    'repeats is 0',
    "background is 'red'",
  ):
    assert text in str(caught.value)
  with pytest.raises(ValueError, match=r"no split 'dev'.*train, test"):
    open_pairs(path, 'dev')
  with pytest.raises(ValueError, match='no prepared data set'):
    open_pairs(tmp_path)
  with pytest.raises(FileNotFoundError):
    open_pairs(tmp_path / 'none')


@pytest.mark.parametrize('num_threads', [1, 3])
def test_padded_pairs_are_the_first_pairs_in_order(path, num_threads):
  source = open_pairs(path, 'test')
  batches = list(pairs.padded_pairs(source, 7, 3, num_threads=num_threads))
  assert [b['_mask'].tolist() for b in batches] == [
    [1, 1, 1],
    [1, 1, 1],
    [1, 0, 0],
  ]
  for place in range(9):
    batch, row = divmod(place, 3)
    expected = source[min(place, 6)]
    for name in expected.keys() - {'_mask'}:
      np.testing.assert_array_equal(batches[batch][name][row], expected[name])
  with pytest.raises(ValueError, match='batch is 0'):
    pairs.padded_pairs(source, 7, 0)


def test_pictures_without_alpha_are_kept():
  rgb = np.full((4, 4, 3), 77, np.uint8)
  buffer = io.BytesIO()
  Image.fromarray(rgb).save(buffer, 'PNG')
  order = pairs.PairOrder(1, PairOptions(size=4, background='random'))
  with Image.open(buffer) as picture:
    np.testing.assert_array_equal(
      pairs.finish_picture(picture, order.draw(0)), rgb
    )
