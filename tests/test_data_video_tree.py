import pytest
from PIL import Image

from data import video_tree


def make(root, *paths):
  for path in paths:
    file = root / path
    file.parent.mkdir(parents=True, exist_ok=True)
    file.touch()
  return root


def found(root, **options):
  tree = video_tree.find_videos(root, **options)
  for video in tree.videos:
    if video.split is None and video.path != root:
      assert video.path == root / video.name
  return [(v.split, v.identity, v.name) for v in tree.videos]


def test_who_is_in_a_video(tmp_path):
  make(
    tmp_path,
    'id1#x#0#9.mp4',
    'anna/2.MOV',
    'anna/10.webm',
    'anna/party/id7#a.mkv',
    'id2#y/talk.avi',
    'solo.m4v',
  )
  assert found(tmp_path) == [
    (None, 'anna', 'anna/2.MOV'),
    (None, 'anna', 'anna/10.webm'),
    (None, 'id1', 'id1#x#0#9.mp4'),
    (None, 'id2', 'id2#y/talk.avi'),
    (None, 'id7', 'anna/party/id7#a.mkv'),
    (None, 'solo', 'solo.m4v'),
  ]


def test_splits_that_the_tree_gives(tmp_path):
  make(
    tmp_path, 'test/b/1.mp4', 'train/a/1.mp4', 'train/c.mp4', 'validation/d.gif'
  )
  assert found(tmp_path) == [
    ('train', 'a', 'a/1.mp4'),
    ('train', 'c', 'c.mp4'),
    ('validation', 'd', 'd.gif'),
    ('test', 'b', 'b/1.mp4'),
  ]
  assert video_tree.find_videos(tmp_path).has_splits
  # The folder alone is no split: it is the person who stands in it.
  assert found(tmp_path / 'test') == [(None, 'b', 'b/1.mp4')]


def test_folders_that_hold_only_pictures(tmp_path):
  make(
    tmp_path,
    'anna/one/0.png',
    'anna/one/1.JPG',
    'anna/one/.hidden',
    'anna/one/manifest.json',
    'id3#v.mp4/0.webp',
    'mixed/0.png',
    'mixed/clip.mp4',
    'mixed/notes',
    'nested/0.png',
    'nested/inner/0.png',
  )
  assert found(tmp_path) == [
    (None, 'anna', 'anna/one'),
    (None, 'id3', 'id3#v.mp4'),
    (None, 'mixed', 'mixed/clip.mp4'),
    (None, 'nested', 'nested/inner'),
  ]
  assert video_tree.find_videos(tmp_path).notes == (
    'files that are no videos by their names: 1 without a suffix, 2 .png',
  )
  inner = tmp_path / 'nested' / 'inner'
  assert found(inner) == [(None, 'inner', 'inner')]


def test_a_webp_is_what_it_shows(tmp_path):
  stills = [Image.new('RGB', (4, 4), color) for color in ('red', 'blue')]
  for folder in ('moving', 'still', 'both'):
    (tmp_path / folder).mkdir()
  for folder in ('moving', 'both'):
    stills[0].save(
      tmp_path / folder / 'a.webp', save_all=True, append_images=stills[1:]
    )
  for path in ('still/0.webp', 'still/1.webp', 'both/b.webp'):
    stills[0].save(tmp_path / path)
  (tmp_path / 'both' / 'cover.png').touch()
  assert found(tmp_path) == [
    (None, 'both', 'both/a.webp'),
    (None, 'moving', 'moving/a.webp'),
    (None, 'still', 'still'),
  ]
  assert video_tree.find_videos(tmp_path).notes == (
    'files that are no videos by their names: 1 .png, 1 .webp',
  )


def test_the_output_does_not_count(tmp_path):
  make(tmp_path, 'a.mp4', 'out/b.mp4', 'deca_codes/c.mp4', '.partial/d.mp4')
  assert len(found(tmp_path)) == 3
  only = [(None, 'a', 'a.mp4')]
  assert found(tmp_path, exclude=tmp_path / 'out')[:1] == only
  assert len(found(tmp_path, exclude=tmp_path / 'out')) == 2
  assert len(found(tmp_path, exclude=tmp_path)) == 2


def test_what_holds_no_video(tmp_path):
  with pytest.raises(FileNotFoundError, match='no such folder'):
    video_tree.find_videos(tmp_path / 'absent')
  make(tmp_path, 'clip.mp4', 'in/codes.npz')
  with pytest.raises(NotADirectoryError, match='the one it lies in'):
    video_tree.find_videos(tmp_path / 'clip.mp4')
  with pytest.raises(ValueError, match=r'no video here.*\.mp4.*only pictures'):
    video_tree.find_videos(tmp_path / 'in')


def test_what_is_not_looked_at_is_noted(tmp_path, monkeypatch):
  deep = '1/2/3/4/5/6/7'
  make(tmp_path, 'a.mp4', f'{deep}/b.mp4', 'locked/c.mp4')
  scan = video_tree.os.scandir

  def refuse(folder):
    if folder.name == 'locked':
      raise PermissionError('locked')
    return scan(folder)

  monkeypatch.setattr(video_tree.os, 'scandir', refuse)
  assert found(tmp_path) == [(None, 'a', 'a.mp4')]
  locked, far = video_tree.find_videos(tmp_path).notes
  assert locked == 'folders that may not be read: 1, the first is locked'
  assert far.startswith('folders deeper than 6')
  assert far.endswith(f'1, the first is {deep}')
  (tmp_path / 'a.mp4').unlink()
  with pytest.raises(ValueError, match=r'no video here.*may not be read'):
    video_tree.find_videos(tmp_path)


def test_a_name_counts_once_a_split(tmp_path):
  """What lies beside the folders of splits is for training as well."""
  make(tmp_path, 'a/1.mp4', 'a/2.mp4', 'train/a/1.mp4', 'test/b/1.mp4')
  assert found(tmp_path) == [
    ('train', 'a', 'a/1.mp4'),
    (None, 'a', 'a/2.mp4'),
    ('test', 'b', 'b/1.mp4'),
  ]
  [note] = video_tree.find_videos(tmp_path).notes
  assert note == (
    'left out, as train/ holds a video of the same name: 1, the first is '
    'a/1.mp4'
  )


def test_a_link_back_is_not_followed(tmp_path):
  make(tmp_path, 'anna/1.mp4')
  (tmp_path / 'anna/again').symlink_to(tmp_path / 'anna')
  tree = video_tree.find_videos(tmp_path)
  assert [video.name for video in tree.videos] == ['anna/1.mp4']
  assert not tree.notes
