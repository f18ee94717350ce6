import pytest

from data import voxceleb


def make_tree(root, *paths):
  """Touches files; a path with a final slash is an empty folder."""
  for path in paths:
    target = root / path
    if path.endswith('/'):
      target.mkdir(parents=True, exist_ok=True)
    else:
      target.parent.mkdir(parents=True, exist_ok=True)
      target.touch()


def described(clips):
  return [(c.split, c.identity, c.name) for c in clips]


def test_voxceleb_tree(tmp_path):
  make_tree(
    tmp_path,
    'images/train/id2#v#1#2.mp4/0000000.png',
    'deca/train/id2#v#1#2.mp4/0000000.mat',
    'deca/train/id1#w#10#12.mp4/0000000.mat',
    'deca/train/id1#w#2#5.mp4/0000000.mat',
    'deca/train/id3#x#0#1.mp4/',
    'deca/test/id9#y#0#1.mp4/0000000.mat',
  )
  found = voxceleb.discover_clips(tmp_path)
  assert found.has_splits
  assert described(found.clips) == [
    ('train', 'id1', 'id1#w#2#5.mp4'),
    ('train', 'id1', 'id1#w#10#12.mp4'),
    ('train', 'id2', 'id2#v#1#2.mp4'),
    ('test', 'id9', 'id9#y#0#1.mp4'),
  ]
  assert described(found.empty) == [('train', 'id3', 'id3#x#0#1.mp4')]
  assert found.clips[0].folder == tmp_path / 'deca/train/id1#w#2#5.mp4'


def test_split_folders_without_deca(tmp_path):
  make_tree(tmp_path, 'train/a#1/0.mat', 'validation/b#1/0.mat', 'test/c/0.mat')
  found = voxceleb.discover_clips(tmp_path)
  assert described(found.clips) == [
    ('train', 'a', 'a#1'),
    ('validation', 'b', 'b#1'),
    ('test', 'c', 'c'),
  ]


def test_folder_of_clips(tmp_path):
  make_tree(tmp_path, 'b/0.mat', 'a#2/0.mat', 'a#1/0.mat', 'empty/x.txt')
  found = voxceleb.discover_clips(tmp_path)
  assert not found.has_splits
  assert described(found.clips) == [
    (None, 'a', 'a#1'),
    (None, 'a', 'a#2'),
    (None, 'b', 'b'),
  ]
  assert described(found.empty) == [(None, 'empty', 'empty')]


def test_folder_of_people(tmp_path):
  make_tree(tmp_path, 'ann/v1/0.mat', 'ann/v2/0.mat', 'bob/v1/0.mat')
  found = voxceleb.discover_clips(tmp_path)
  assert described(found.clips) == [
    (None, 'ann', 'ann/v1'),
    (None, 'ann', 'ann/v2'),
    (None, 'bob', 'bob/v1'),
  ]


def test_one_folder_is_one_clip(tmp_path, monkeypatch):
  folder = tmp_path / 'id5#talk.mp4'
  make_tree(folder, '0.mat', '1.mat', '.hidden/0.mat')
  found = voxceleb.discover_clips(folder)
  assert described(found.clips) == [(None, 'id5', 'id5#talk.mp4')]
  monkeypatch.chdir(folder)
  assert described(voxceleb.discover_clips('.').clips) == described(found.clips)


def test_output_inside_the_input_is_left_out(tmp_path):
  make_tree(tmp_path, 'a/0.mat', 'prepared/deca_codes/1.0.0/x.json')
  found = voxceleb.discover_clips(tmp_path, exclude=tmp_path / 'prepared')
  assert described(found.clips) == [(None, 'a', 'a')]
  assert not found.empty


def test_nothing_to_find(tmp_path):
  with pytest.raises(FileNotFoundError, match='no such folder'):
    voxceleb.discover_clips(tmp_path / 'absent')
  make_tree(tmp_path, 'clip/0.png', 'file.mat2')
  with pytest.raises(NotADirectoryError, match='not a folder'):
    voxceleb.discover_clips(tmp_path / 'file.mat2')
  with pytest.raises(ValueError, match=r'no \.mat file here or in the folders'):
    voxceleb.discover_clips(tmp_path)


def test_real_folder(shared_dir):
  found = voxceleb.discover_clips(shared_dir / 'real' / 'deca')
  assert described(found.clips) == [(None, 'deca', 'deca')]
