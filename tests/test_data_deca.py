import pickle

import numpy as np
import pytest
import scipy.io

from data import deca


def record(value=0.5, **changes):
  fields = {
    'shape': np.full((1, 100), value, np.float32),
    'tex': np.zeros((1, 50), np.float32),
    'exp': np.full((1, 50), value + 1, np.float32),
    'pose': np.arange(6, dtype=np.float32)[None] / 10 + value,
    'cam': np.array([[9.0, 0.1, 0.2]], np.float32),
    'light': np.zeros((9, 3), np.float32),
    'detail': np.zeros((1, 128), np.float32),
  }
  fields.update(changes)
  return {name: v for name, v in fields.items() if v is not None}


def save(path, value=0.5, compress=False, **changes):
  path.parent.mkdir(parents=True, exist_ok=True)
  scipy.io.savemat(path, record(value, **changes), do_compression=compress)
  return path


@pytest.mark.parametrize('compress', [False, True])
def test_reads_what_a_code_needs(tmp_path, compress):
  fields = deca.read_mat(save(tmp_path / '0.mat', compress=compress))
  assert list(fields) == ['shape', 'exp', 'pose', 'cam']
  assert all(v.dtype == np.float32 and v.ndim == 1 for v in fields.values())
  np.testing.assert_array_equal(fields['exp'], np.full(50, 1.5))
  np.testing.assert_allclose(fields['pose'], [0.5, 0.6, 0.7, 0.8, 0.9, 1.0])


def test_column_vectors_and_doubles_are_the_same_code(tmp_path):
  column = np.full((50, 1), 1.5, np.float64)
  fields = deca.read_mat(save(tmp_path / '0.mat', exp=column))
  np.testing.assert_array_equal(fields['exp'], np.full(50, 1.5, np.float32))


def reason_of(path):
  with pytest.raises(deca.CorruptRecordError) as error:
    deca.read_mat(path)
  assert str(error.value) == f'{path}: {error.value.reason}'
  return error.value.reason


@pytest.mark.parametrize(
  ('changes', 'reason'),
  [
    ({'exp': None, 'cam': None}, 'missing field: exp, cam'),
    ({'exp': np.zeros((1, 64))}, 'wrong shape: exp is [1, 64]'),
    ({'exp': np.zeros((2, 25))}, 'wrong shape: exp is [2, 25]'),
    ({'pose': np.zeros((0, 0))}, 'wrong shape: pose is [0, 0]'),
    ({'exp': np.full((1, 50), np.nan)}, 'NaN or inf in exp'),
    ({'cam': np.full((1, 3), np.inf)}, 'NaN or inf in cam'),
    ({'shape': np.full((1, 100), 1e30)}, 'absurdly large: shape holds 1e+30'),
    ({'exp': 'words'}, 'wrong type: exp'),
    ({'exp': np.array([[{'a': 1}]])}, 'wrong type: exp'),
    ({'exp': np.full((1, 50), 1j)}, 'wrong type: exp'),
  ],
)
def test_wrong_content_is_named(tmp_path, changes, reason):
  assert reason_of(save(tmp_path / '0.mat', **changes)).startswith(reason)


def test_nan_in_fields_nobody_needs_is_no_fault(tmp_path):
  path = save(tmp_path / '0.mat', light=np.full((9, 3), np.nan))
  assert deca.read_mat(path)['exp'][0] == 1.5


@pytest.mark.parametrize('compress', [False, True])
def test_every_truncation_is_found(tmp_path, compress):
  whole = save(tmp_path / '0.mat', compress=compress).read_bytes()
  path = tmp_path / 'cut.mat'
  for size in range(0, len(whole), 31):
    path.write_bytes(whole[:size])
    reason = reason_of(path)
    # A cut exactly between two fields looks like a file without the rest.
    assert reason.startswith(('truncated', 'missing field')), size


def test_flipped_bytes_never_raise_anything_else(tmp_path):
  whole = bytearray(save(tmp_path / '0.mat', compress=True).read_bytes())
  path = tmp_path / 'flipped.mat'
  rng = np.random.default_rng(0)
  refused = 0
  for _ in range(200):
    flipped = whole.copy()
    for position in rng.integers(126, len(whole), 4):
      flipped[position] = rng.integers(256)
    path.write_bytes(flipped)
    try:
      deca.read_mat(path)
    except deca.CorruptRecordError:
      refused += 1
  assert refused > 150


def test_other_files_are_told_apart(tmp_path):
  path = tmp_path / '0.mat'
  path.write_bytes(b'\x89HDF\r\n' + b'x' * 500)
  assert reason_of(path) == 'not a mat file: no MATLAB 5 header'
  path.write_bytes(b'')
  assert reason_of(path).startswith('truncated: 0 bytes')
  assert reason_of(tmp_path / 'absent.mat').startswith('unreadable (No such')


def test_size_is_bounded_before_anything_is_parsed(tmp_path, monkeypatch):
  big = np.zeros((1, 20_000), np.float32)
  bomb = save(tmp_path / 'bomb.mat', compress=True, detail=big)
  plain = save(tmp_path / 'plain.mat', detail=big)
  monkeypatch.setattr(deca, 'MAX_FILE_BYTES', 30_000)
  assert bomb.stat().st_size < 5_000
  assert reason_of(bomb).startswith('absurdly large: inflates beyond')
  assert reason_of(plain).startswith('absurdly large: more than')


def test_error_survives_pickling():
  error = deca.CorruptRecordError('a.mat', 'truncated: x')
  copy = pickle.loads(pickle.dumps(error))
  assert (copy.path, copy.reason) == ('a.mat', 'truncated: x')


def test_clip_keeps_good_frames_and_lists_the_rest(tmp_path):
  folder = tmp_path / 'id7#video#1#2.mp4'
  for t in (10, 9, 2):
    save(folder / f'{t}.mat', value=t)
  save(folder / '3.mat', exp=np.full((1, 50), np.nan))
  (folder / '4.mat').write_bytes(b'')
  (folder / '._2.mat').write_bytes(b'not a frame')
  (folder / 'notes.txt').write_text('not a frame')
  clip, skipped = deca.read_clip(folder)
  assert clip.identity == 'id7'
  assert clip.name == folder.name
  assert clip.frames == ('2', '9', '10')
  assert clip.expression_space == 'flame'
  np.testing.assert_allclose(clip.expression[:, 0], [3, 10, 11])
  np.testing.assert_allclose(clip.global_pose[0], [2.0, 2.1, 2.2], rtol=1e-6)
  np.testing.assert_allclose(clip.jaw_pose[0], [2.3, 2.4, 2.5], rtol=1e-6)
  np.testing.assert_allclose(clip.camera[0], [9, 0.1, 0.2], rtol=1e-6)
  assert [s.path for s in skipped] == [
    str(folder / '3.mat'),
    str(folder / '4.mat'),
  ]
  assert skipped[0].reason == 'NaN or inf in exp'
  assert skipped[1].reason.startswith('truncated')


def test_clip_without_a_good_frame_is_none(tmp_path):
  (tmp_path / '0.mat').write_bytes(b'')
  clip, skipped = deca.read_clip(tmp_path)
  assert clip is None
  assert len(skipped) == 1


def test_real_clip(shared_dir):
  clip, skipped = deca.read_clip(shared_dir / 'real' / 'deca')
  assert not skipped
  assert clip.num_frames == 200
  assert clip.frames[:2] == ('0000000', '0000001')
  assert clip.flame_code().shape == (200, 156)
  raw = scipy.io.loadmat(shared_dir / 'real' / 'deca' / '0000123.mat')
  np.testing.assert_array_equal(clip.expression[123], raw['exp'][0])
  np.testing.assert_array_equal(clip.jaw_pose[123], raw['pose'][0, 3:])
  np.testing.assert_array_equal(clip.global_pose[123], raw['pose'][0, :3])
  np.testing.assert_array_equal(clip.shape[123], raw['shape'][0])
