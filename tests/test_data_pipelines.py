import json
import types

import numpy as np
import pytest
from absl import flags

from data import codes, dataset, layout, pipelines, prepare, streams

BATCH = 8
SEED = 11


def make_clips(num_identities=7, known=True):
  """Every number of a frame says which frame it is."""
  row = 0
  for i in range(num_identities):
    for video in range(1 + i % 2):
      length = 2 + (i + video) % 3
      values = (row + np.arange(length, dtype=np.float32))[:, None] / 100
      row += length
      fields = {
        name: np.repeat(values, width, axis=1)
        for name, width in codes.CLIP_FIELDS.items()
      }
      if not known:
        fields['true_pose_coeffs'] = None
      yield codes.CodeClip(
        f'id{i}', f'v{video}', map(str, range(length)), **fields
      )


@pytest.fixture(scope='module')
def prepared(tmp_path_factory):
  path = tmp_path_factory.mktemp('prepared')
  prepare.prepare_procedural(path, {'train': make_clips()})
  return path


@pytest.fixture(scope='module')
def memory(prepared):
  table = dataset.load_table(prepared, 'train')
  return pipelines.MemoryPipeline(table, SEED, BATCH)


def rows_of(batch):
  return np.rint(batch['human']['expression'][:, 0] * 100).astype(int)


def take(prepared, steps, **options):
  options = {'num_threads': 0, **options}
  with pipelines.stream_codes(
    prepared, 'train', SEED, BATCH, **options
  ) as stream:
    return [next(stream) for _ in range(steps)]


def assert_same_batches(left, right):
  for one, other in zip(left, right, strict=True):
    assert one.keys() == other.keys() == {'human'}
    assert one['human'].keys() == other['human'].keys()
    for name, value in one['human'].items():
      assert value.dtype == np.float32
      np.testing.assert_array_equal(value, other['human'][name])


def test_memory_batches_are_pure_functions_of_the_step(memory):
  steps = [memory.indices(step) for step in range(6)]
  np.testing.assert_array_equal(memory.indices(4), steps[4])
  assert steps[0].dtype == np.int64
  # Passes run across batches: 7 identities, batches of 8.
  offsets = codes.CodeTable.from_clips(make_clips()).identity_offsets
  order = np.searchsorted(offsets, np.concatenate(steps), side='right') - 1
  np.testing.assert_array_equal(
    np.sort(order[:42].reshape(6, 7), axis=1), np.tile(np.arange(7), (6, 1))
  )
  np.testing.assert_array_equal(rows_of(memory.batch(2)), steps[2])


@pytest.mark.parametrize('num_threads', [0, 2])
def test_stream_equals_memory(prepared, memory, num_threads):
  batches = take(prepared, 5, num_threads=num_threads)
  assert_same_batches(batches, [memory.batch(step) for step in range(5)])
  assert {k: v.shape for k, v in batches[0]['human'].items()} == {
    'expression': (8, 50),
    'jaw_pose': (8, 3),
    'global_pose': (8, 3),
    'true_pose_coeffs': (8, 17),
  }


@pytest.mark.parametrize('shard_count', [2, 4])
def test_shards_together_are_the_batch(prepared, memory, shard_count):
  parts = [
    take(prepared, 4, shard_index=i, shard_count=shard_count)
    for i in range(shard_count)
  ]
  for step, shards in enumerate(zip(*parts, strict=True)):
    rows = [rows_of(shard) for shard in shards]
    assert {len(r) for r in rows} == {BATCH // shard_count}
    np.testing.assert_array_equal(
      np.sort(np.concatenate(rows)), np.sort(memory.indices(step))
    )


def test_state_fits_any_number_of_shards(prepared, memory):
  with pipelines.stream_codes(
    prepared, 'train', SEED, BATCH, shard_count=2, num_threads=0
  ) as stream:
    assert stream.get_state() == {'global_next_index': 0}
    for _ in range(3):
      next(stream)
    state = json.loads(json.dumps(stream.get_state()))
  assert state == {'global_next_index': 24}
  batches = take(prepared, 2, start_state=state)
  assert_same_batches(batches, [memory.batch(3), memory.batch(4)])


def test_set_state_goes_back(prepared, memory):
  with pipelines.stream_codes(prepared, 'train', SEED, BATCH) as stream:
    first = [next(stream) for _ in range(3)]
    stream.set_state({'global_next_index': 8})
    again = [next(stream) for _ in range(2)]
    assert stream.get_state() == {'global_next_index': 24}
  assert_same_batches(again, first[1:])


def test_sets_without_true_coefficients(tmp_path):
  prepare.prepare_procedural(tmp_path, {'train': make_clips(known=False)})
  (batch,) = take(tmp_path, 1)
  assert set(batch['human']) == {'expression', 'jaw_pose', 'global_pose'}
  table = dataset.load_table(tmp_path, 'train')
  memory = pipelines.MemoryPipeline(table, SEED, BATCH)
  assert_same_batches([batch], [memory.batch(0)])


def test_closed_stream_says_so(prepared):
  stream = pipelines.stream_codes(prepared, 'train', SEED, BATCH)
  stream.close()
  stream.close()
  with pytest.raises(ValueError, match='stream is closed'):
    next(stream)


def test_damage_met_while_streaming_names_the_file(tmp_path):
  prepare.prepare_procedural(tmp_path, {'train': make_clips()})
  (path,) = layout.final_dir(tmp_path).glob('*.array_record*')
  content = bytearray(path.read_bytes())
  content[200] ^= 0xFF
  path.write_bytes(content)
  with pytest.raises(dataset.CorruptDatasetError, match=path.name):
    take(tmp_path, 3)


@pytest.mark.parametrize(
  ('options', 'message'),
  [
    ({'global_batch': 0, 'num_workers': -1}, 'global_batch is 0.*num_workers'),
    ({'shard_count': 3}, '8 is not divisible by shard_count 3'),
    ({'shard_index': 2, 'shard_count': 2}, 'shard_index is 2, of 2 shards'),
    ({'split': 'dev'}, "no split 'dev'"),
    ({'start_state': {'step': 3}}, "wanted {'global_next_index'"),
    ({'start_state': {'global_next_index': -8}}, 'stream state is'),
    ({'start_state': {'global_next_index': 12}}, 'whole number of batches'),
  ],
)
def test_wrong_options(prepared, options, message):
  arguments = {'split': 'train', 'seed': 0, 'global_batch': BATCH, **options}
  with pytest.raises(ValueError, match=message):
    pipelines.stream_codes(prepared, **arguments)


def test_workers_need_parsed_flags(prepared, monkeypatch):
  unparsed = types.SimpleNamespace(FLAGS=flags.FlagValues())
  monkeypatch.setattr(streams, 'flags', unparsed)
  with pytest.raises(ValueError, match='mark_as_parsed'):
    pipelines.stream_codes(prepared, 'train', SEED, BATCH, num_workers=1)


def test_padded_batches_cover_everything_once():
  table = codes.CodeTable.from_clips(make_clips(3))
  batches = list(pipelines.padded_batches(table, 4))
  assert table.num_frames == 13
  masks = np.stack([batch['_mask'] for batch in batches])
  assert masks.dtype == np.float32
  np.testing.assert_array_equal(masks.ravel(), [1] * 13 + [0] * 3)
  rows = np.concatenate([rows_of(batch) for batch in batches])
  np.testing.assert_array_equal(rows, [*range(13), 12, 12, 12])
  assert batches[0]['human']['true_pose_coeffs'].shape == (4, 17)
  with pytest.raises(ValueError, match='batch is 0'):
    pipelines.padded_batches(table, 0)


@pytest.mark.slow
def test_workers_change_nothing(prepared, memory):
  batches = take(prepared, 5, num_workers=2)
  assert_same_batches(batches, [memory.batch(step) for step in range(5)])
  state = {'global_next_index': 3 * BATCH}
  batches = take(prepared, 2, num_workers=1, start_state=state)
  assert_same_batches(batches, [memory.batch(3), memory.batch(4)])
