import numpy as np
import pytest
from PIL import Image

from data import anime_rows, anime_tree, files, pose_vector
from data.anime_rows import PoseRow


def save_picture(root, path, value=0):
  path = root / path
  path.parent.mkdir(parents=True, exist_ok=True)
  picture = np.full((4, 4, 4), value, np.uint8)
  Image.fromarray(picture).save(path)


def make_pose(value, angles=(1.5, -2, 3)):
  coeffs = np.float32(value) + np.arange(17, dtype=np.float32) / 100
  return (*coeffs, *np.float32(angles))


def make_rows():
  """Two identities of two rows; the second uses names with `/`."""
  return [
    PoseRow('7', '0', '7_0000.png', make_pose(0.1)),
    PoseRow('7', '0', '7_0001.png', make_pose(1 / 3)),
    PoseRow('12', '3', 'twelve/a_b.png', make_pose(0.5)),
    PoseRow('12', '3', 'twelve/c_d.png', make_pose(0.6)),
  ]


def make_tree(root):
  rows = make_rows()
  for value, row in enumerate(rows):
    for kind in anime_rows.KINDS:
      path = anime_rows.picture_path(kind, row.cluster, row.name)
      save_picture(root, path, value)
  for folder in ('7', 'twelve'):
    save_picture(root, anime_rows.basis_path(folder))
  anime_rows.write_csv(root, rows)
  return rows


def edit_csv(root, change):
  path = root / anime_rows.CSV_NAME
  lines = path.read_text().splitlines()
  path.write_text('\n'.join(change(lines)) + '\n')


def reasons(table):
  return {s.where: s.reason for s in table.skipped}


def test_a_tree_is_read_as_it_was_written(tmp_path):
  rows = make_tree(tmp_path)
  table = anime_tree.read_tree(tmp_path, check_pictures=True, num_threads=2)
  assert table.skipped == ()
  assert len(table) == 8
  assert table.identities == ('7', '12')
  assert [table.identity_of(i) for i in range(8)] == ['7'] * 4 + ['12'] * 4
  assert table.kinds == ('frontal', 'rotation') * 4
  assert table.paths[:2] == (
    'frontal/0/7/7_0000.png',
    'rotation/0/7/7_0000.png',
  )
  assert table.paths[-1] == 'rotation/3/twelve/c_d.png'
  assert table.basis == {
    '7': 'basis/7/basis.png',
    '12': 'basis/twelve/basis.png',
  }
  expected = np.array([row.pose for row in rows], np.float32)
  assert table.pose.dtype == np.float32
  np.testing.assert_array_equal(table.pose[1::2], expected)
  np.testing.assert_array_equal(table.pose[::2, :17], expected[:, :17])
  np.testing.assert_array_equal(table.pose[::2, 17:], 0)
  np.testing.assert_array_equal(table.frames_of(['12', 'x']), [4, 5, 6, 7])
  assert len(table.frames_of([])) == 0
  picture = anime_tree.read_picture(tmp_path / table.paths[2])
  np.testing.assert_array_equal(picture, np.full((4, 4, 4), 1, np.uint8))


def test_the_csv_names_its_columns(tmp_path):
  make_tree(tmp_path)
  first, second = (tmp_path / anime_rows.CSV_NAME).read_text().splitlines()[:2]
  assert first == ','.join(
    ['org_id', 'cluster', 'png', *pose_vector.POSE_NAMES]
  )
  assert second.startswith('7,0,7_0000.png,0.1,0.11,')
  assert second.endswith(',1.5,-2.0,3.0')


@pytest.mark.parametrize(
  'change',
  [
    lambda lines: lines[1:],
    lambda lines: ['\ufeff' + lines[0], *lines[1:]],
    lambda lines: [f'{i},{line}' for i, line in enumerate(lines)],
    lambda lines: [line + ',more' for line in lines],
    lambda lines: ['a,b,c' + ',x' * 20, *lines[1:]],
    lambda lines: [f'{line}\r\n' for line in lines],
  ],
  ids=['headless', 'bom', 'index', 'more columns', 'other names', 'crlf'],
)
def test_other_forms_of_the_csv_read_the_same(tmp_path, change):
  make_tree(tmp_path)
  expected = anime_tree.read_tree(tmp_path)
  edit_csv(tmp_path, change)
  table = anime_tree.read_tree(tmp_path)
  assert table.skipped == ()
  assert table.paths == expected.paths
  np.testing.assert_array_equal(table.pose, expected.pose)


def test_every_fault_is_listed_and_loses_nothing_else(tmp_path):
  make_tree(tmp_path)
  good = '7,0,7_0000.png' + ',0' * 20

  def add_faults(lines):
    faults = [
      good,
      '7,0,7_9.png' + ',0' * 20,
      '7,0,7_0000.png,0.5',
      good.replace('7_0000', '"7_0000'),
      '7,0,7_2.png,nan,inf,x' + ',0' * 17,
      '7,0,7_2.png,1.2,-0.1' + ',0' * 15 + ',0,0,91',
      '7,0,../7_2.png' + ',0' * 20,
      ',0,7_2.png' + ',0' * 20,
      '7,0,none.png' + ',0' * 20,
      '',
    ]
    return [*lines[:3], *faults, *lines[3:]]

  edit_csv(tmp_path, add_faults)
  save_picture(tmp_path, 'frontal/0/99/99_0.png')
  (tmp_path / 'basis/twelve/basis.png').unlink()
  table = anime_tree.read_tree(tmp_path)
  assert len(table) == 8
  assert table.basis == {'7': 'basis/7/basis.png'}
  found = reasons(table)
  assert found.pop('frontal/0/99/99_0.png').startswith('no row')
  assert found.pop('basis/twelve/basis.png').endswith('identity 12')
  numbered = {int(k.split(':')[1]): v for k, v in found.items()}
  assert sorted(numbered) == list(range(4, 13))
  assert 'earlier row' in numbered[4]
  assert numbered[5] == (
    'missing png: no frontal/0/7/7_9.png or rotation/0/7/7_9.png'
  )
  assert numbered[6] == 'malformed row: 4 cells, wanted 23'
  assert numbered[7].startswith('malformed row')
  assert numbered[8] == (
    'eye_wink_left is nan, not finite; eye_wink_right is inf, not finite; '
    "eye_surprised_left is 'x', no number"
  )
  assert numbered[9] == (
    'eye_wink_left is 1.2, out of range [0, 1]; eye_wink_right is -0.1, out '
    'of range [0, 1]; yaw is 91, out of range [-90, 90]'
  )
  assert "'../7_2.png' is no name of a file in the tree" in numbered[10]
  assert numbered[11] == 'org_id is empty'
  assert 'no folder' in numbered[12]


def test_rounding_beyond_the_range_is_clamped(tmp_path):
  save_picture(tmp_path, 'rotation/0/7/7_0.png')
  row = PoseRow('7', '0', '7_0.png', (1.00005, -0.00005, *[0.0] * 18))
  anime_rows.write_csv(tmp_path, [row])
  table = anime_tree.read_tree(tmp_path)
  np.testing.assert_array_equal(table.pose, [[1] + [0] * 19])
  assert table.kinds == ('rotation',)


@pytest.mark.parametrize('damage', ['cut', 'flipped', 'empty', 'text'])
def test_damaged_pictures_are_left_out(tmp_path, damage):
  make_tree(tmp_path)
  path = tmp_path / 'rotation/0/7/7_0001.png'
  whole = path.read_bytes()
  flipped = bytearray(whole)
  flipped[45] ^= 255
  path.write_bytes(
    {
      'cut': whole[:50],
      'flipped': bytes(flipped),
      'empty': b'',
      'text': b'not a picture',
    }[damage]
  )
  assert len(anime_tree.read_tree(tmp_path)) == 8
  table = anime_tree.read_tree(tmp_path, check_pictures=True)
  assert len(table) == 7
  assert table.pose.shape == (7, 20)
  assert 'rotation/0/7/7_0001.png' not in table.paths
  [where] = reasons(table)
  assert where == 'rotation/0/7/7_0001.png'
  assert reasons(table)[where].startswith('damaged png')
  with pytest.raises(files.BrokenFileError, match='7_0001'):
    anime_tree.read_picture(path)


def test_a_tree_without_a_usable_frame_is_an_error(tmp_path):
  with pytest.raises(FileNotFoundError, match=r'combined_pose\.csv.*rotation'):
    anime_tree.read_tree(tmp_path)
  anime_rows.write_csv(tmp_path, [])
  with pytest.raises(anime_rows.AnimeTreeError, match='no row'):
    anime_tree.read_tree(tmp_path)
  anime_rows.write_csv(tmp_path, make_rows())
  with pytest.raises(anime_rows.AnimeTreeError, match=r'4: .*missing png'):
    anime_tree.read_tree(tmp_path)
  (tmp_path / anime_rows.CSV_NAME).write_text('org_id,a,b,c\n')
  with pytest.raises(anime_rows.AnimeTreeError, match='4 columns'):
    anime_tree.read_tree(tmp_path)
  with pytest.raises(FileNotFoundError):
    anime_tree.read_picture(tmp_path / 'none.png')


def test_pictures_are_put_on_white():
  colors = [[10, 20, 30, 0], [10, 20, 30, 255], [0, 100, 255, 51]]
  white = anime_tree.on_white(np.array([colors], np.uint8))
  assert white.dtype == np.uint8
  # 0.8 * 255 = 204; 0.2 * 100 + 204 = 224.
  np.testing.assert_array_equal(
    white, [[[255] * 3, [10, 20, 30], [204, 224, 255]]]
  )


def test_identity_lists(tmp_path):
  path = tmp_path / anime_tree.TRAIN_LIST_NAME
  anime_tree.write_identity_list(path, ['0', '12'])
  assert path.read_bytes() == b'0\n12\n'
  path.write_bytes(b'\xef\xbb\xbf0\r\n\r\n 12')
  assert anime_tree.read_identity_list(path) == ('0', '12')
  anime_tree.write_identity_list(path, [])
  assert anime_tree.read_identity_list(path) == ()


def test_folder_of():
  assert anime_rows.folder_of('12_3_4.png') == '12'
  assert anime_rows.folder_of('a_b/3_4.png') == 'a_b'
  for name in ('12.png', '_1.png', '/1.png'):
    with pytest.raises(ValueError, match='no folder'):
      anime_rows.folder_of(name)
