import io
import json
import types

import numpy as np
import pytest
import tensorflow_datasets as tfds
from PIL import Image

from data import (
  anime_records,
  anime_rows,
  anime_shards,
  anime_tree,
  files,
  prepare_anime_frames,
  prepare_characters,
)
from data.builders import anime_frames


@pytest.fixture
def tree(tmp_path):
  prepare_characters.prepare_characters(
    tmp_path / 'drawn',
    num_identities=4,
    frames_per_identity=4,
    size=32,
    test_fraction=0.25,
  )
  return prepare_characters.tree_dir(tmp_path / 'drawn')


def prepare(tree, tmp_path, **options):
  return prepare_anime_frames.prepare_anime_frames(
    tree, tmp_path / 'out', **options
  )


def test_records_are_the_frames_of_the_tree(tree, tmp_path):
  calls = []
  manifest = prepare(tree, tmp_path, progress=lambda *args: calls.append(args))
  assert calls == [('write', i, 20) for i in range(1, 21)]
  assert manifest['skipped'] == []
  assert manifest['notes'] == []
  folder = prepare_anime_frames.frames_dir(tmp_path / 'out')
  assert json.loads((folder / 'manifest.json').read_text()) == manifest
  assert [p.name for p in (tmp_path / 'out').iterdir()] == ['anime_frames']
  builder = tfds.builder_from_directory(folder)
  table = anime_tree.read_tree(tree)
  place = {path: i for i, path in enumerate(table.paths)}
  seen = []
  assert list(manifest['splits']) == [
    'train',
    'train_neutral',
    'test',
    'test_neutral',
  ]
  assert manifest['image_format'] == 'png'
  assert manifest['picture_sizes'] == {'32x32': 20}
  for split in ('train', 'test'):
    names = anime_tree.read_identity_list(tree / f'{split}_list.txt')
    index = files.read_npz(folder / anime_records.index_name(split))
    records = builder.as_data_source(split=split)
    assert sorted(names) == sorted(index['identity_names'])
    assert manifest['splits'][split] == {
      'identities': len(names),
      'frames': len(records),
    }
    owners = np.repeat(
      index['identity_names'], np.diff(index['identity_offsets'])
    )
    for number in range(len(records)):
      frame = anime_frames.record_to_frame(records[number])
      seen.append(frame.path)
      assert frame.identity == owners[number]
      assert (frame.kind == 'rotation') == index['is_rotated'][number]
      assert frame.image == (tree / frame.path).read_bytes()
      expected = table.pose[place[frame.path]]
      np.testing.assert_array_equal(frame.pose, expected)
      np.testing.assert_array_equal(index['pose'][number], expected)
  assert sorted(seen) == sorted(table.paths)


def test_neutral_pictures_have_their_own_splits(tree, tmp_path):
  manifest = prepare(tree, tmp_path)
  folder = prepare_anime_frames.frames_dir(tmp_path / 'out')
  builder = tfds.builder_from_directory(folder)
  for split in ('train', 'test'):
    index = files.read_npz(
      folder / anime_records.index_name(f'{split}_neutral')
    )
    others = files.read_npz(folder / anime_records.index_name(split))
    names = index['identity_names'].tolist()
    assert names == others['identity_names'].tolist()
    assert index['identity_offsets'].tolist() == list(range(len(names) + 1))
    assert not index['pose'].any()
    assert not index['is_rotated'].any()
    records = builder.as_data_source(split=f'{split}_neutral')
    assert len(records) == manifest['splits'][f'{split}_neutral']['frames']
    for name, record in zip(names, records, strict=True):
      frame = anime_frames.record_to_frame(record)
      assert (frame.identity, frame.kind) == (name, 'basis')
      path = tree / f'basis/{name}/basis.png'
      assert frame.image == path.read_bytes()


@pytest.mark.parametrize('image_format', ['webp', 'jpeg'])
def test_pictures_are_encoded_as_told(tree, tmp_path, image_format):
  manifest = prepare(tree, tmp_path, image_format=image_format, num_threads=2)
  assert manifest['image_format'] == image_format
  folder = prepare_anime_frames.frames_dir(tmp_path / 'out')
  records = tfds.builder_from_directory(folder).as_data_source(split='train')
  for record in records:
    frame = anime_frames.record_to_frame(record)
    with Image.open(io.BytesIO(frame.image)) as picture:
      assert picture.format.lower() == image_format
    expected = anime_tree.on_white(anime_tree.read_picture(tree / frame.path))
    found = anime_tree.decode_picture(frame.image)
    if image_format == 'webp':
      np.testing.assert_array_equal(anime_tree.on_white(found), expected)
    else:
      assert np.abs(found[..., :3].astype(int) - expected).mean() < 3


def contents(folder):
  return {
    path.name: path.read_bytes()
    for path in folder.iterdir()
    if path.name != 'manifest.json'
  }


def test_a_killed_run_continues_to_the_same_files(tree, tmp_path, monkeypatch):
  monkeypatch.setattr(anime_shards, 'FRAMES_PER_SHARD', 5)
  (tree / 'rotation/0/0/0_0000.png').write_bytes(b'damaged')
  whole = prepare_anime_frames.prepare_anime_frames(tree, tmp_path / 'whole')
  assert whole['splits']['train']['frames'] == 11
  write = anime_frames.write_shard
  written = []

  def die_at_third(path, frames):
    written.append(path.name)
    if len(written) == 3:
      write(path, [frame for frame, _ in zip(frames, range(2), strict=False)])
      raise KeyboardInterrupt
    return write(path, frames)

  monkeypatch.setattr(anime_frames, 'write_shard', die_at_third)
  with pytest.raises(KeyboardInterrupt):
    prepare(tree, tmp_path)
  assert not (tmp_path / 'out/anime_frames').exists()
  done = tmp_path / 'out/.partial_anime_frames/build'
  first, second = sorted(done.glob('anime*'))
  second.write_bytes(second.read_bytes()[:-1])  # Not whole any more.
  kept = first.stat().st_mtime_ns
  calls = []
  manifest = prepare(tree, tmp_path, progress=lambda *args: calls.append(args))
  assert calls[0] == ('write', 5, 20)
  assert calls[1] == ('write', 6, 20)
  assert first.name not in ''.join(written[3:])
  assert second.name in ''.join(written[3:])
  folder = prepare_anime_frames.frames_dir(tmp_path / 'out')
  assert (folder / first.name).stat().st_mtime_ns == kept
  expected = prepare_anime_frames.frames_dir(tmp_path / 'whole')
  assert contents(folder) == contents(expected)
  for key in ('splits', 'skipped', 'num_bytes', 'picture_sizes'):
    assert manifest[key] == whole[key]
  assert [p.name for p in (tmp_path / 'out').iterdir()] == ['anime_frames']


def test_finished_files_of_other_options_are_not_kept(
  tree, tmp_path, monkeypatch
):
  def die(*unused):
    raise KeyboardInterrupt

  with monkeypatch.context() as patch:
    patch.setattr(prepare_anime_frames, '_describe', die)
    with pytest.raises(KeyboardInterrupt):
      prepare(tree, tmp_path)
  picture = tree / 'frontal/0/1/1_0001.png'
  picture.write_bytes((tree / 'frontal/0/1/1_0000.png').read_bytes())
  with monkeypatch.context() as patch:
    patch.setattr(prepare_anime_frames, '_describe', die)
    with pytest.raises(KeyboardInterrupt):
      prepare(tree, tmp_path, image_format='webp')
  prepare(tree, tmp_path)
  expected = tmp_path / 'expected'
  prepare_anime_frames.prepare_anime_frames(tree, expected)
  assert contents(
    prepare_anime_frames.frames_dir(tmp_path / 'out')
  ) == contents(prepare_anime_frames.frames_dir(expected))


def test_lists_given_come_before_those_of_the_tree(tree, tmp_path):
  train, test = tmp_path / 'a.txt', tmp_path / 'b.txt'
  train.write_text('0\r\n3\r\n')
  test.write_text('2\n77\n')
  manifest = prepare(tree, tmp_path, train_list=train, test_list=test)
  counts = {s: c['identities'] for s, c in manifest['splits'].items()}
  assert counts == {
    'train': 2,
    'train_neutral': 2,
    'test': 1,
    'test_neutral': 1,
  }
  assert manifest['notes'] == [
    '1 identities left out: they are in no list',
    '1 identities of the lists have no usable frame in the tree',
  ]
  with pytest.raises(ValueError, match='wanted both or none'):
    prepare(tree, tmp_path, train_list=train, overwrite=True)
  with pytest.raises(FileNotFoundError, match=r'none\.txt'):
    prepare(
      tree,
      tmp_path,
      train_list=tmp_path / 'none.txt',
      test_list=test,
      overwrite=True,
    )


def test_styles_of_the_tree_are_in_the_index(tree, tmp_path):
  styles = prepare_characters.identity_styles(tree)
  assert sorted(styles) == ['0', '1', '2', '3']
  prepare(tree, tmp_path)
  folder = prepare_anime_frames.frames_dir(tmp_path / 'out')
  found = {}
  for split in ('train', 'test'):
    index = files.read_npz(folder / anime_records.index_name(split))
    found |= dict(
      zip(index['identity_names'], index['identity_styles'], strict=True)
    )
  assert found == styles
  (tree / 'manifest.json').unlink()  # As in AnimeCeleb: nothing is known.
  prepare(tree, tmp_path, overwrite=True)
  index = files.read_npz(folder / anime_records.index_name('train'))
  assert 'identity_styles' not in index


def test_a_real_tree_with_odd_rows(tmp_path):
  """Other column names, more columns, CRLF, both forms of names."""
  root = tmp_path / 'tree'
  pose = ','.join(['0.5'] * 17 + ['1', '-2', '19.5'])
  names = {'7': '7_0001.png', '12': 'char_b/x_1.png', '12 ': 'none_1.png'}
  lines = ['index,org_id,kmeans,image,' + ','.join(f'p{i}' for i in range(20))]
  for number, (identity, name) in enumerate(names.items()):
    lines.append(f'{number},{identity.strip()},03,{name},{pose}')
  (root / 'basis').mkdir(parents=True)
  (root / 'combined_pose.csv').write_bytes('\r\n'.join(lines).encode())
  picture = Image.new('RGBA', (8, 8), (10, 20, 30, 255))
  for path in (
    'rotation/03/7/7_0001.png',
    'frontal/03/7/7_0001.png',
    'rotation/03/char_b/x_1.png',
    'rotation/03/char_b/x_2.png',
    'basis/7/basis.png',
  ):
    (root / path).parent.mkdir(parents=True, exist_ok=True)
    picture.save(root / path)
  manifest = prepare(root, tmp_path, test_fraction=0)
  assert manifest['splits'] == {
    'train': {'identities': 2, 'frames': 3},
    'train_neutral': {'identities': 1, 'frames': 1},
  }
  assert {
    s['where']: s['reason'].split(' ')[0] for s in manifest['skipped']
  } == {
    'combined_pose.csv:4': 'missing',
    'rotation/03/char_b/x_2.png': 'no',
    'basis/char_b/basis.png': 'missing',
  }
  folder = prepare_anime_frames.frames_dir(tmp_path / 'out')
  index = files.read_npz(folder / anime_records.index_name('train'))
  assert index['identity_names'].tolist() == ['7', '12']
  assert index['is_rotated'].tolist() == [False, True, True]
  np.testing.assert_array_equal(
    index['pose'][:, 17:], [[0, 0, 0], [1, -2, 19.5], [1, -2, 19.5]]
  )


def test_faults_are_listed_and_lose_nothing_else(tree, tmp_path):
  damaged = tree / 'frontal/0/2/2_0001.png'
  damaged.write_bytes(damaged.read_bytes()[:200])
  (tree / 'rotation/0/1/1_0000.png').unlink()
  (tree / 'frontal/0/1/1_0000.png').unlink()
  (tree / 'test_list.txt').write_text('3\n2\n')
  (tree / 'train_list.txt').write_text('1\n2\n')
  manifest = prepare(tree, tmp_path, num_threads=2)
  assert manifest['splits'] == {
    'train': {'identities': 1, 'frames': 2},
    'train_neutral': {'identities': 1, 'frames': 1},
    'test': {'identities': 2, 'frames': 7},
    'test_neutral': {'identities': 2, 'frames': 2},
  }
  reasons = {s['where']: s['reason'] for s in manifest['skipped']}
  assert sorted(reasons) == ['combined_pose.csv:4', 'frontal/0/2/2_0001.png']
  assert reasons['combined_pose.csv:4'].startswith('missing png')
  assert reasons['frontal/0/2/2_0001.png'].startswith('damaged png')
  assert manifest['notes'] == [
    '1 identities of both lists are tested on only',
    '1 identities left out: they are in no list',
  ]


def test_a_picture_that_goes_meanwhile_is_left_out(tree, tmp_path, monkeypatch):
  read_tree = anime_tree.read_tree

  def then_lose(root):
    table = read_tree(root)
    (tree / 'frontal/0/2/2_0001.png').unlink()
    return table

  monkeypatch.setattr(anime_tree, 'read_tree', then_lose)
  manifest = prepare(tree, tmp_path)
  [lost] = manifest['skipped']
  assert lost['where'] == 'frontal/0/2/2_0001.png'
  assert 'No such file' in lost['reason']


def test_a_tree_without_lists_is_split_by_name(tree, tmp_path):
  (tree / 'test_list.txt').unlink()
  manifest = prepare(tree, tmp_path, test_fraction=0)
  assert manifest['splits'] == {
    'train': {'identities': 4, 'frames': 16},
    'train_neutral': {'identities': 4, 'frames': 4},
  }
  assert 'split by a hash' in manifest['notes'][0]
  manifest = prepare(tree, tmp_path, test_fraction=0.01, overwrite=True)
  assert manifest['splits'] == {
    'train': {'identities': 3, 'frames': 12},
    'train_neutral': {'identities': 3, 'frames': 3},
    'test': {'identities': 1, 'frames': 4},
    'test_neutral': {'identities': 1, 'frames': 1},
  }


def test_rows_of_mixed_identities_are_brought_together(tree, tmp_path):
  path = tree / anime_rows.CSV_NAME
  header, *rows = path.read_text().splitlines()
  path.write_text('\n'.join([header, *rows[::2], *rows[1::2]]) + '\n')
  (tree / 'test_list.txt').write_text('')
  (tree / 'train_list.txt').write_text('0\n1\n2\n3\n')
  prepare(tree, tmp_path)
  folder = prepare_anime_frames.frames_dir(tmp_path / 'out')
  index = files.read_npz(folder / anime_records.index_name('train'))
  assert index['identity_names'].tolist() == ['0', '1', '2', '3']
  assert index['identity_offsets'].tolist() == [0, 4, 8, 12, 16]


def test_nothing_appears_when_it_fails(tree, tmp_path, monkeypatch):
  final = prepare_anime_frames.frames_dir(tmp_path / 'out')
  with pytest.raises(
    ValueError, match=r'bmp.*test_fraction is 1.*num_threads is 0'
  ):
    prepare(tree, tmp_path, image_format='bmp', test_fraction=1, num_threads=0)
  assert not (tmp_path / 'out').exists()
  with pytest.raises(FileNotFoundError, match=r'combined_pose\.csv'):
    prepare(tmp_path, tmp_path)
  assert not (tmp_path / 'out').exists()
  (tree / 'test_list.txt').write_text('x\n')
  (tree / 'train_list.txt').write_text('y\n')
  with pytest.raises(ValueError, match='name none of its 4 identities'):
    prepare(tree, tmp_path)
  (tree / 'train_list.txt').write_text('0\n1\n')

  class Full(io.BytesIO):
    """What writing to a full disk does."""

    def write(self, content):
      raise RuntimeError('write() failed: No space left on device')

  with monkeypatch.context() as patch:
    patch.setattr(
      anime_frames.array_record_module,
      'ArrayRecordWriter',
      lambda path, options: Full(),
    )
    with pytest.raises(OSError, match=r'cannot write .*No space left'):
      prepare(tree, tmp_path)
  with monkeypatch.context() as patch:
    patch.setattr(
      anime_shards.shutil,
      'disk_usage',
      lambda path: types.SimpleNamespace(free=1000),
    )
    with pytest.raises(OSError, match='too little room: 10 frames need'):
      prepare(tree, tmp_path)
  assert not final.exists()
  prepare(tree, tmp_path)
  with pytest.raises(FileExistsError, match='--overwrite'):
    prepare(tree, tmp_path)
  assert [p.name for p in (tmp_path / 'out').iterdir()] == ['anime_frames']


def test_all_pictures_damaged_is_an_error(tree, tmp_path):
  for path in tree.glob('*/0/*/*.png'):
    path.write_bytes(path.read_bytes()[:-40])
  with pytest.raises(
    anime_rows.AnimeTreeError, match='no picture is usable; the first of 16'
  ):
    prepare(tree, tmp_path)


def test_other_data_in_the_way_is_left_alone(tree, tmp_path):
  final = prepare_anime_frames.frames_dir(tmp_path / 'out')
  final.mkdir(parents=True)
  (final / 'thesis.txt').write_text('mine')
  with pytest.raises(FileExistsError, match='something else is here'):
    prepare(tree, tmp_path, overwrite=True)
  assert (final / 'thesis.txt').read_text() == 'mine'
