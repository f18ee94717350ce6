import json
import pickle

import numpy as np
import pytest

from data import codes, dataset, layout, prepare


def make_clip(identity, name, num_frames, value):
  fields = {
    key: np.full((num_frames, width), value / 100, np.float32)
    for key, width in codes.CLIP_FIELDS.items()
  }
  frames = [f'{t:03d}' for t in range(num_frames)]
  return codes.CodeClip(
    identity, name, frames, **fields, expression_space='procedural'
  )


CLIPS = [
  make_clip('a', 'one', 2, 1.0),
  make_clip('a', 'two', 3, 2.0),
  make_clip('b', 'one', 1, 3.0),
]


@pytest.fixture
def prepared(tmp_path):
  prepare.prepare_procedural(
    tmp_path / 'out', {'train': CLIPS, 'test': [make_clip('c', 'x', 4, 9)]}
  )
  return tmp_path / 'out'


def test_opens_the_output_or_the_folder_in_it(prepared):
  for path in (prepared, layout.final_dir(prepared), str(prepared)):
    info = dataset.open_dataset(path)
    assert info.path == layout.final_dir(prepared)
    assert info.splits['train'] == dataset.SplitInfo(2, 3, 6)
    assert list(info.splits) == ['train', 'test']
    assert info.expression_space == 'procedural'
    assert info.has_true_pose_coeffs


def test_index_says_which_record_is_whose(prepared):
  index = dataset.open_dataset(prepared).index('train')
  assert index.identity_names == ('a', 'b')
  assert index.clip_names == ('one', 'two', 'one')
  np.testing.assert_array_equal(index.clip_identity, [0, 0, 1])
  np.testing.assert_array_equal(index.clip_offsets, [0, 2, 5, 6])
  np.testing.assert_array_equal(index.identity_offsets, [0, 5, 6])


def test_table_equals_the_clips(prepared):
  table = dataset.load_table(prepared, 'train')
  wanted = codes.CodeTable.from_clips(CLIPS)
  assert table.identity_names == wanted.identity_names
  assert table.expression_space == wanted.expression_space
  np.testing.assert_array_equal(table.identity_offsets, wanted.identity_offsets)
  for name, value in wanted.arrays().items():
    np.testing.assert_array_equal(getattr(table, name), value)


def test_one_clip_with_everything(prepared):
  info = dataset.open_dataset(prepared)
  clip = dataset.read_clip(info, 'train', 1)
  assert (clip.identity, clip.name) == ('a', 'two')
  assert clip.frames == ('000', '001', '002')
  np.testing.assert_array_equal(clip.flame_code(), CLIPS[1].flame_code())


def test_reader_travels_to_other_processes(prepared):
  info = dataset.open_dataset(prepared)
  reader = dataset.ClipReader(info, 'train', ('jaw_pose',))
  copy = pickle.loads(pickle.dumps(reader))
  assert len(copy) == 3
  assert list(copy[2]) == ['jaw_pose']
  np.testing.assert_array_equal(copy[2]['jaw_pose'], CLIPS[2].jaw_pose)


def test_shards_are_read_in_order(tmp_path):
  clips = [make_clip(f'id{i:02d}', 'x', 1 + i % 3, i) for i in range(20)]
  prepare.prepare_procedural(tmp_path, {'train': clips})
  info = dataset.open_dataset(tmp_path)
  reader = dataset.ClipReader(info, 'train', ('jaw_pose',))
  # One file of 20 records, read as if it were three files.
  readers = reader._readers * 3
  reader._readers, reader._paths = readers, reader._paths * 3
  reader._ends = np.array([20, 40, 60])
  assert len(reader) == 60
  for record in (0, 19, 20, 45, 59):
    value = reader[record]['jaw_pose'][0, 0]
    assert value == np.float32(record % 20 / 100)
  values = [record['jaw_pose'][0, 0] for record in reader]
  np.testing.assert_allclose(values, np.tile(np.arange(20) / 100, 3))


def test_absent_and_unfinished(prepared, tmp_path):
  with pytest.raises(FileNotFoundError, match='no such folder'):
    dataset.open_dataset(tmp_path / 'absent')
  (tmp_path / 'bare').mkdir()
  with pytest.raises(ValueError, match='no prepared data set here; make one'):
    dataset.open_dataset(tmp_path / 'bare')
  with pytest.raises(ValueError, match="no split 'dev'; it has train, test"):
    dataset.load_table(prepared, 'dev')


def data_file(prepared, pattern='*train.array_record*'):
  (path,) = layout.final_dir(prepared).glob(pattern)
  return path


@pytest.mark.parametrize('position', [64 + 30, 64 + 60, 70_000])
def test_flipped_byte_names_the_file(tmp_path, position):
  rng = np.random.default_rng(0)
  fields = {
    key: rng.random((400, width)) for key, width in codes.CLIP_FIELDS.items()
  }
  clip = codes.CodeClip('a', 'b', map(str, range(400)), **fields)
  prepare.prepare_procedural(tmp_path, {'train': [clip]})
  path = data_file(tmp_path)
  content = bytearray(path.read_bytes())
  content[position] ^= 0xFF
  path.write_bytes(content)
  with pytest.raises(dataset.CorruptDatasetError, match=path.name):
    dataset.load_table(tmp_path, 'train')


@pytest.mark.parametrize('size', [0, 10, 70_000])
def test_cut_file_is_named(prepared, size):
  path = data_file(prepared)
  path.write_bytes(path.read_bytes()[:size])
  with pytest.raises(dataset.CorruptDatasetError, match=path.name):
    dataset.load_table(prepared, 'train')


def test_missing_file_is_named(prepared):
  path = data_file(prepared)
  path.unlink()
  with pytest.raises(dataset.CorruptDatasetError, match='file is missing'):
    dataset.load_table(prepared, 'train')


def test_foreign_records_are_named(prepared):
  path, other = data_file(prepared), data_file(prepared, '*test.array*')
  from array_record.python import array_record_module

  writer = array_record_module.ArrayRecordWriter(str(path), 'group_size:1')
  for _ in range(3):
    writer.write(b'\xff\x00 not a record')
  writer.close()
  with pytest.raises(dataset.CorruptDatasetError, match=path.name):
    dataset.load_table(prepared, 'train')
  assert dataset.load_table(prepared, 'test').num_frames == 4
  assert other.exists()


def test_broken_index_and_manifest_are_named(prepared):
  folder = layout.final_dir(prepared)
  index = folder / 'clips-train.npz'
  (folder / 'clips-test.npz').replace(index)
  with pytest.raises(dataset.CorruptDatasetError, match='the manifest says'):
    dataset.load_table(prepared, 'train')
  index.write_bytes(b'junk')
  with pytest.raises(dataset.CorruptDatasetError, match=r'clips-train\.npz'):
    dataset.load_table(prepared, 'train')
  manifest = folder / 'manifest.json'
  manifest.write_text(json.dumps({'format': 'deca_codes'}))
  with pytest.raises(dataset.CorruptDatasetError, match=r"lacks .*'splits'"):
    dataset.open_dataset(prepared)
  manifest.write_text('{')
  with pytest.raises(dataset.CorruptDatasetError, match=r'manifest\.json'):
    dataset.open_dataset(prepared)


@pytest.mark.parametrize('name', ['features.json', 'dataset_info.json'])
def test_broken_tfds_files_are_named(prepared, name):
  path = layout.final_dir(prepared) / name
  path.write_text('{')
  with pytest.raises(dataset.CorruptDatasetError, match=r'features\.json'):
    dataset.load_table(prepared, 'train')
  path.unlink()
  with pytest.raises(dataset.CorruptDatasetError, match='prepare the data set'):
    dataset.load_table(prepared, 'train')
