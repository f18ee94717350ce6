import json

import numpy as np
import pytest
import tensorflow_datasets as tfds

from data import (
  anime_rows,
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
  assert calls == [('write', i, 16) for i in range(1, 17)]
  assert manifest['skipped'] == []
  assert manifest['notes'] == []
  folder = prepare_anime_frames.frames_dir(tmp_path / 'out')
  assert json.loads((folder / 'manifest.json').read_text()) == manifest
  assert [p.name for p in (tmp_path / 'out').iterdir()] == ['anime_frames']
  builder = tfds.builder_from_directory(folder)
  table = anime_tree.read_tree(tree)
  place = {path: i for i, path in enumerate(table.paths)}
  seen = []
  for split in ('train', 'test'):
    names = anime_tree.read_identity_list(tree / f'{split}_list.txt')
    index = files.read_npz(folder / prepare_anime_frames.index_name(split))
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
    'test': {'identities': 2, 'frames': 7},
  }
  reasons = {s['where']: s['reason'] for s in manifest['skipped']}
  assert sorted(reasons) == ['combined_pose.csv:4', 'frontal/0/2/2_0001.png']
  assert reasons['combined_pose.csv:4'].startswith('missing png')
  assert reasons['frontal/0/2/2_0001.png'].startswith('damaged png')
  assert manifest['notes'] == [
    '1 identities of both lists are tested on only',
    '1 identities left out: they are in no list',
  ]


def test_a_tree_without_lists_is_split_by_name(tree, tmp_path):
  (tree / 'test_list.txt').unlink()
  manifest = prepare(tree, tmp_path, test_fraction=0)
  assert manifest['splits'] == {'train': {'identities': 4, 'frames': 16}}
  assert 'split by a hash' in manifest['notes'][0]
  manifest = prepare(tree, tmp_path, test_fraction=0.01, overwrite=True)
  assert manifest['splits'] == {
    'train': {'identities': 3, 'frames': 12},
    'test': {'identities': 1, 'frames': 4},
  }


def test_rows_of_mixed_identities_are_brought_together(tree, tmp_path):
  path = tree / anime_rows.CSV_NAME
  header, *rows = path.read_text().splitlines()
  path.write_text('\n'.join([header, *rows[::2], *rows[1::2]]) + '\n')
  (tree / 'test_list.txt').write_text('')
  (tree / 'train_list.txt').write_text('0\n1\n2\n3\n')
  prepare(tree, tmp_path)
  folder = prepare_anime_frames.frames_dir(tmp_path / 'out')
  index = files.read_npz(folder / prepare_anime_frames.index_name('train'))
  assert index['identity_names'].tolist() == ['0', '1', '2', '3']
  assert index['identity_offsets'].tolist() == [0, 4, 8, 12, 16]


def test_nothing_appears_when_it_fails(tree, tmp_path, monkeypatch):
  final = prepare_anime_frames.frames_dir(tmp_path / 'out')
  with pytest.raises(ValueError, match=r'test_fraction is 1.*num_threads is 0'):
    prepare(tree, tmp_path, test_fraction=1, num_threads=0)
  assert not (tmp_path / 'out').exists()
  with pytest.raises(FileNotFoundError, match=r'combined_pose\.csv'):
    prepare(tmp_path, tmp_path)
  (tree / 'test_list.txt').write_text('x\n')
  (tree / 'train_list.txt').write_text('y\n')
  with pytest.raises(ValueError, match='name none of its 4 identities'):
    prepare(tree, tmp_path)
  (tree / 'train_list.txt').write_text('0\n1\n')

  def fail(table, frames):
    raise OSError('no space left on device')

  with monkeypatch.context() as patch:
    patch.setattr(anime_frames, 'table_frames', fail)
    with pytest.raises(OSError, match='no space left'):
      prepare(tree, tmp_path)
  assert not final.exists()
  prepare(tree, tmp_path)
  with pytest.raises(FileExistsError, match='--overwrite'):
    prepare(tree, tmp_path)
  assert [p.name for p in (tmp_path / 'out').iterdir()] == ['anime_frames']
