import numpy as np
import pytest
import scipy.io

from data import codes, deca, drivers, prepare


def save_mat(path, value):
  path.parent.mkdir(parents=True, exist_ok=True)
  fields = {
    'shape': np.zeros((1, 100)),
    'exp': np.full((1, 50), value, np.float32),
    'pose': np.arange(6.0)[None] / 10,
    'cam': np.array([[9.0, 0, 0]]),
  }
  scipy.io.savemat(path, fields)


def make_clip(identity='a', name='one', value=1.0, num_frames=5, known=True):
  fields = {
    key: np.full((num_frames, width), value / 100, np.float32)
    for key, width in codes.CLIP_FIELDS.items()
    if known or key != 'true_pose_coeffs'
  }
  frames = tuple(f'f{t}' for t in range(num_frames))
  return codes.CodeClip(
    identity, name, frames, **fields, expression_space='procedural'
  )


def expressions(driver):
  return np.concatenate([chunk.expression[:, 0] for chunk in driver])


def test_folder_is_read_in_chunks(tmp_path):
  folder = tmp_path / 'id3#talk.mp4'
  for t in range(7):
    save_mat(folder / f'{t}.mat', t)
  driver = drivers.open_driver(folder, chunk_frames=3)
  assert driver.name == 'id3#talk.mp4'
  assert driver.num_frames == 7
  assert driver.expression_space == 'flame'
  chunks = list(driver)
  assert [chunk.num_frames for chunk in chunks] == [3, 3, 1]
  assert chunks[2].frames == ('6',)
  assert chunks[0].identity == 'id3'
  np.testing.assert_allclose(chunks[0].jaw_pose[0], [0.3, 0.4, 0.5])
  np.testing.assert_array_equal(expressions(driver), np.arange(7))


def test_broken_frames_are_bridged_so_that_timing_stays(tmp_path):
  for t in range(8):
    save_mat(tmp_path / f'{t}.mat', t)
  for t in (0, 1, 4, 5):
    (tmp_path / f'{t}.mat').write_bytes(b'broken')
  driver = drivers.open_driver(tmp_path, chunk_frames=5)
  for _ in range(2):  # A second pass gives and lists the same.
    np.testing.assert_array_equal(expressions(driver), [2, 2, 2, 3, 3, 3, 6, 7])
    names = [s.path.rsplit('/', 1)[-1] for s in driver.skipped]
    assert names == ['0.mat', '1.mat', '4.mat', '5.mat']
    assert driver.skipped[0].reason.startswith('truncated')


def test_only_one_chunk_is_in_memory(tmp_path, monkeypatch):
  for t in range(6):
    save_mat(tmp_path / f'{t}.mat', t)
  driver = drivers.open_driver(tmp_path, chunk_frames=2)
  read = []
  original = deca.read_mat
  monkeypatch.setattr(
    deca, 'read_mat', lambda path: read.append(path.stem) or original(path)
  )
  chunks = iter(driver)
  next(chunks)
  assert read == ['0', '1']
  next(chunks)
  assert read == ['0', '1', '2', '3']


def test_prepared_data_set(tmp_path):
  train = [make_clip('a', 'one', 1), make_clip('a', 'two', 2)]
  prepare.prepare_procedural(
    tmp_path, {'train': train, 'test': [make_clip('b', 'three', 3)]}
  )
  driver = drivers.open_driver(tmp_path, chunk_frames=4)
  assert (driver.name, driver.num_frames) == ('one', 5)
  assert driver.expression_space == 'procedural'
  chunks = list(driver)
  assert [chunk.num_frames for chunk in chunks] == [4, 1]
  assert chunks[1].frames == ('f4',)
  assert chunks[1].true_pose_coeffs.shape == (1, 17)
  for options, name in (
    ({'clip': 'two'}, 'two'),
    ({'clip': 'three'}, 'three'),
    ({'split': 'test'}, 'three'),
  ):
    assert drivers.open_driver(tmp_path, **options).name == name
  with pytest.raises(drivers.DriverError, match=r"no clip 'four' in train, te"):
    drivers.open_driver(tmp_path, clip='four')
  with pytest.raises(drivers.DriverError, match=r"no clip 'three' in train;"):
    drivers.open_driver(tmp_path, clip='three', split='train')
  with pytest.raises(ValueError, match="no split 'dev'"):
    drivers.open_driver(tmp_path, split='dev')


def test_saved_clip_and_table(tmp_path):
  clip = make_clip(value=7)
  clip.save(tmp_path / 'mine.npz')
  driver = drivers.open_driver(tmp_path / 'mine.npz')
  (chunk,) = driver
  assert driver.name == 'mine'
  assert chunk.frames == clip.frames
  np.testing.assert_array_equal(chunk.flame_code(), clip.flame_code())
  table = codes.CodeTable.from_clips([clip, make_clip('b', value=8)])
  table.save(tmp_path / 'table.npz')
  assert drivers.open_driver(tmp_path / 'table.npz').num_frames == 5
  driver = drivers.open_driver(tmp_path / 'table.npz', clip='b')
  np.testing.assert_allclose(expressions(driver), [0.08] * 5)
  assert driver.expression_space == 'procedural'
  with pytest.raises(drivers.DriverError, match=r"no identity 'c' in 2"):
    drivers.open_driver(tmp_path / 'table.npz', clip='c')


def test_users_own_npz(tmp_path):
  path = tmp_path / 'own.npz'
  pose = np.arange(12.0).reshape(2, 6) / 10
  np.savez(path, exp=np.ones((2, 50)), pose=pose)
  (chunk,) = drivers.open_driver(path)
  np.testing.assert_allclose(chunk.global_pose, pose[:, :3], rtol=1e-6)
  np.testing.assert_allclose(chunk.jaw_pose, pose[:, 3:], rtol=1e-6)
  np.testing.assert_array_equal(chunk.camera, [[1, 0, 0]] * 2)
  assert chunk.frames == ('0000000', '0000001')
  assert chunk.expression_space == 'flame'
  np.savez(
    path,
    expression=np.ones((1, 50)),
    jaw_pose=np.ones((1, 3)),
    frames=['x'],
    expression_space='procedural',
  )
  (chunk,) = drivers.open_driver(path)
  np.testing.assert_array_equal(chunk.global_pose, np.zeros((1, 3)))
  assert chunk.frames == ('x',)
  assert chunk.expression_space == 'procedural'


@pytest.mark.parametrize(
  ('arrays', 'message'),
  [
    ({'a': np.ones(3)}, r"arrays \['a'\]; wanted expression \(or exp\)"),
    ({'exp': np.ones((2, 50))}, 'jaw_pose'),
    ({'exp': np.ones((2, 50)), 'pose': np.ones((2, 3))}, r'pose is \[2, 3\]'),
    (
      {'exp': np.full((2, 50), np.nan), 'jaw_pose': np.ones((2, 3))},
      r'NaN or inf in 2 frames',
    ),
    (
      {'exp': np.ones(50), 'jaw_pose': np.ones((50, 3))},
      r'expression is \[50\], wanted \[T, 50\]',
    ),
    (
      {'exp': np.ones((2, 50)), 'pose': np.ones((3, 6))},
      'jaw_pose has 3 frames, wanted 2',
    ),
    (
      {'exp': np.ones((0, 50)), 'pose': np.ones((0, 6))},
      'the clip has no frames',
    ),
  ],
)
def test_npz_that_cannot_drive(tmp_path, arrays, message):
  np.savez(tmp_path / 'own.npz', **arrays)
  with pytest.raises(drivers.DriverError, match=r'own\.npz: .*' + message):
    drivers.open_driver(tmp_path / 'own.npz')


def test_wrong_paths(tmp_path):
  with pytest.raises(FileNotFoundError, match='no such file or folder'):
    drivers.open_driver(tmp_path / 'absent')
  with pytest.raises(drivers.DriverError, match=r'no \.mat file'):
    drivers.open_driver(tmp_path)
  (tmp_path / 'notes.txt').write_text('hello')
  with pytest.raises(ValueError, match='not a readable'):
    drivers.open_driver(tmp_path / 'notes.txt')
  (tmp_path / '0.mat').write_bytes(b'')
  with pytest.raises(drivers.DriverError, match=r'none of 1 \.mat files'):
    drivers.open_driver(tmp_path)
  save_mat(tmp_path / '1.mat', 1)
  with pytest.raises(drivers.DriverError, match="split='train' has no mean"):
    drivers.open_driver(tmp_path, split='train')
  with pytest.raises(drivers.DriverError, match='chunk_frames is 0'):
    drivers.open_driver(tmp_path, chunk_frames=0)


def test_unfinished_data_set_says_so(tmp_path):
  (tmp_path / '.partial').mkdir()
  with pytest.raises(ValueError, match='interrupted'):
    drivers.open_driver(tmp_path)


def test_real_folder(shared_dir):
  driver = drivers.open_driver(shared_dir / 'real' / 'deca', chunk_frames=64)
  chunks = list(driver)
  assert [chunk.num_frames for chunk in chunks] == [64, 64, 64, 8]
  assert not driver.skipped
  whole, _ = deca.read_clip(shared_dir / 'real' / 'deca')
  np.testing.assert_array_equal(
    np.concatenate([chunk.flame_code() for chunk in chunks]),
    whole.flame_code(),
  )
