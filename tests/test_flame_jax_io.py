"""Head model files: the forms found in the wild, our own, and what is wrong."""

import dataclasses
import io
import os
import pickle
import zipfile

import jax
import numpy as np
import pytest
import scipy.sparse

from flame_jax import (
  FlameFileError,
  FlameParams,
  UnsafePickleError,
  flame_apply,
  load_flame,
  save_flame,
)
from flame_jax.assets import FlameAssets
from tests import flame_samples as samples
from tests import support, torch_samples


def write(path, value, protocol=2):
  path.write_bytes(pickle.dumps(value, protocol))
  return path


def check_model(assets, raw, split=300):
  expected = {
    'v_template': raw['v_template'],
    'faces': raw['f'],
    'shapedirs': raw['shapedirs'][..., :split],
    'expressiondirs': raw['shapedirs'][..., split:],
    'posedirs': raw['posedirs'],
    'J_regressor': raw['J_regressor'],
    'lbs_weights': raw['weights'],
  }
  for name, value in expected.items():
    found = np.asarray(getattr(assets, name))
    dtype = np.int32 if name == 'faces' else np.float32
    assert found.dtype == dtype
    np.testing.assert_array_equal(found, value.astype(dtype), err_msg=name)


def check_landmarks(assets, marks):
  for kind in ('static', 'dynamic', 'full'):
    faces = marks.get(f'{kind}_lmk_faces_idx')
    found = getattr(assets.landmarks, f'{kind}_faces')
    if faces is None:
      assert found is None
      continue
    weights = marks[f'{kind}_lmk_bary_coords']
    np.testing.assert_array_equal(found, np.squeeze(faces))
    np.testing.assert_allclose(
      getattr(assets.landmarks, f'{kind}_barycentric'),
      np.squeeze(weights),
      rtol=1e-6,
    )


# Models in the wild.


@pytest.mark.parametrize('protocol', range(6))
def test_model_with_chumpy_and_sparse_objects(tmp_path, monkeypatch, protocol):
  raw = samples.flame_fields()
  ch = samples.fake_class(monkeypatch, 'chumpy.ch', 'Ch')
  wild = {
    **raw,
    'shapedirs': samples.filled(ch, {'x': raw['shapedirs']}),
    'v_template': samples.filled(ch, {'x': raw['v_template']}),
    'J_regressor': scipy.sparse.csc_matrix(raw['J_regressor']),
    'J': samples.filled(ch, {'x': None}),  # needed by nobody
    'bs_style': 'lbs',
    'bs_type': 'lrotmin',
  }
  path = write(tmp_path / 'generic_model.pkl', wild, protocol)
  check_model(load_flame(path), raw)


def test_model_written_by_python2(tmp_path):
  raw = samples.flame_fields()
  sparse = scipy.sparse.csc_matrix(raw['J_regressor'])
  array = samples.python2_array
  fields = {
    'v_template': samples.python2_chumpy(raw['v_template']),
    'shapedirs': samples.python2_chumpy(raw['shapedirs']),
    'posedirs': array(raw['posedirs']),
    'weights': samples.python2_chumpy(raw['weights']),
    'f': array(raw['f']),
    'kintree_table': array(raw['kintree_table']),
    'bs_style': samples.python2_string('lbs'),
    'J_regressor': samples.python2_instance(
      'scipy.sparse.csc.csc_matrix',
      {
        '_shape': b'(K\x05K' + bytes([samples.NUM_VERTICES]) + b't',
        'data': array(sparse.data),
        'indices': array(sparse.indices),
        'indptr': array(sparse.indptr),
      },
    ),
  }
  path = tmp_path / 'generic_model.pkl'
  path.write_bytes(b'\x80\x02' + samples.python2_dict(fields) + b'.')
  check_model(load_flame(path), raw)


def test_model_fields_in_an_npz(tmp_path):
  raw = samples.flame_fields()
  path = tmp_path / 'flame2023_no_jaw.npz'
  np.savez_compressed(path, **raw, bs_style='lbs')
  check_model(load_flame(path), raw)


def test_other_widths_need_to_be_told(tmp_path):
  raw = samples.flame_fields(shape=7, expression=4)
  path = write(tmp_path / 'model.pkl', raw)
  with pytest.raises(FlameFileError, match=r'11 coefficients.*num_shape'):
    load_flame(path)
  check_model(load_flame(path, num_shape=7), raw, split=7)
  with pytest.raises(FlameFileError, match='must be 0 to 11'):
    load_flame(path, num_shape=12)


# Landmarks in the wild.


@pytest.fixture
def model_path(tmp_path):
  return write(tmp_path / 'model.pkl', samples.flame_fields())


def test_landmark_file_with_torch_tensors(tmp_path, model_path):
  marks = samples.embedding_fields()
  faces = marks['dynamic_lmk_faces_idx'].astype('<i8')
  weights = marks['dynamic_lmk_bary_coords'].astype('<f4')
  fields = {
    **{
      name: samples.python2_array(value)
      for name, value in marks.items()
      if not name.startswith('dynamic')
    },
    'dynamic_lmk_faces_idx': _nested_tensor('Long', faces),
    'dynamic_lmk_bary_coords': _nested_tensor('Float', weights),
  }
  payload = (
    b'\x80\x03cnumpy.core.multiarray\n_reconstruct\ncnumpy\nndarray\n'
    b'K\x00\x85C\x01b\x87R(K\x01)cnumpy\ndtype\n(X\x02\x00\x00\x00O8K\x00K\x01'
    b'tR(K\x03X\x01\x00\x00\x00|NNNJ\xff\xff\xff\xffJ\xff\xff\xff\xffK?tb\x89]'
    + samples.python2_dict(fields)
    + b'atb.'
  )
  header = io.BytesIO()
  np.lib.format.write_array_header_1_0(
    header, {'descr': '|O', 'fortran_order': False, 'shape': ()}
  )
  path = tmp_path / 'landmark_embedding.npy'
  path.write_bytes(header.getvalue() + payload)
  check_landmarks(load_flame(model_path, path), marks)


def _nested_tensor(kind, array):
  stored = torch_samples.storage(f'torch.{kind}Storage', '94', array.size)
  inner = torch_samples.legacy_file(
    stored, {'94': (array.size, array.tobytes())}
  )
  load = b'ctorch.storage\n_load_from_bytes\nB' + len(inner).to_bytes(
    4, 'little'
  )
  strides = [s // array.itemsize for s in array.strides]
  return torch_samples.tensor(load + inner + b'\x85R', array.shape, strides)


def test_pair_of_landmark_files_in_any_order(tmp_path, model_path):
  marks = samples.embedding_fields(full=False)
  names = ('lmk_face_idx', 'lmk_b_coords')
  values = {
    kind: {
      name: marks[f'{kind}_lmk_{ending}']
      for name, ending in zip(names, ('faces_idx', 'bary_coords'), strict=True)
    }
    for kind in ('static', 'dynamic')
  }
  static = write(tmp_path / 'flame_static_embedding.pkl', values['static'])
  dynamic = tmp_path / 'flame_dynamic_embedding.npy'
  np.save(dynamic, values['dynamic'], allow_pickle=True)
  for paths in ([static, dynamic], (str(dynamic), str(static))):
    check_landmarks(load_flame(model_path, paths), marks)
  with pytest.raises(FlameFileError, match='dynamic_lmk_faces_idx is missing'):
    load_flame(model_path, static)


def test_no_landmark_file_is_no_landmarks(model_path):
  assert load_flame(model_path).landmarks is None
  assert load_flame(model_path, ()).landmarks is None


# Our own format.


def test_saved_model_comes_back_bit_for_bit(tmp_path):
  assets = support.random_head()
  colors = np.random.default_rng(0).random((40, 3), np.float32)
  for saved in (
    assets,
    dataclasses.replace(assets, vertex_colors=colors),
    dataclasses.replace(assets, landmarks=None),
  ):
    path = tmp_path / 'new' / 'head.npz'
    save_flame(path, saved)
    loaded = load_flame(path)
    assert jax.tree.structure(loaded) == jax.tree.structure(saved)
    for new, old in zip(
      jax.tree.leaves(loaded), jax.tree.leaves(saved), strict=True
    ):
      assert new.dtype == old.dtype
      assert np.asarray(new).tobytes() == np.asarray(old).tobytes()
    assert [p.name for p in path.parent.iterdir()] == ['head.npz']


def test_saved_files_hold_no_pickles(tmp_path):
  save_flame(tmp_path / 'head.npz', support.random_head())
  with np.load(tmp_path / 'head.npz', allow_pickle=False) as arrays:
    assert 'landmarks.dynamic_faces' in arrays
    for name in arrays:
      assert arrays[name].dtype.kind in 'ifU'


def test_landmark_files_replace_those_in_the_model(tmp_path):
  assets = support.random_head(num_vertices=samples.NUM_VERTICES)
  save_flame(tmp_path / 'head.npz', assets)
  marks = samples.embedding_fields()
  np.save(tmp_path / 'marks.npy', marks, allow_pickle=True)
  loaded = load_flame(tmp_path / 'head.npz', tmp_path / 'marks.npy')
  check_landmarks(loaded, marks)


def test_a_failed_save_leaves_the_old_file(tmp_path, monkeypatch):
  path = tmp_path / 'head.npz'
  save_flame(path, support.random_head())
  before = path.read_bytes()
  with pytest.raises(FlameFileError, match='lbs_weights'):
    save_flame(
      path,
      dataclasses.replace(
        support.random_head(), lbs_weights=np.ones((40, 5), np.float32)
      ),
    )

  def full(*args):
    raise OSError('no space left')

  monkeypatch.setattr(os, 'fsync', full)
  with pytest.raises(OSError, match='no space'):
    save_flame(path, support.random_head(seed=1))
  assert path.read_bytes() == before
  assert [p.name for p in tmp_path.iterdir()] == ['head.npz']
  with pytest.raises(ValueError, match=r'must end in \.npz'):
    save_flame(tmp_path / 'head.pkl', support.random_head())


# What is wrong, all at once.


def test_missing_files_say_where_to_get_them(tmp_path):
  with pytest.raises(FlameFileError) as caught:
    load_flame(tmp_path / 'model.pkl', [tmp_path / 'marks.npy', tmp_path])
  model, marks, folder = caught.value.problems
  for part in (
    'model.pkl',
    'no such file',
    'https://flame.is.tue.mpg.de',
    'registration',
    'non-commercial',
    'CC-BY-4.0',
    'procedural head',
  ):
    assert part in model
  assert 'marks.npy' in marks
  assert 'landmark_embedding.npy comes with DECA' in marks
  assert 'a folder' in folder
  for problem in caught.value.problems:
    assert problem in str(caught.value)


def test_every_wrong_field_is_named_at_once(tmp_path):
  raw = samples.flame_fields()
  raw['v_template'][3, 1] = np.nan
  raw['f'][0, 0] = 10_000
  raw['posedirs'] = raw['posedirs'][..., :27]
  raw['J_regressor'] = raw['J_regressor'].astype(complex)
  raw['weights'] = 2 * raw['weights']
  raw['kintree_table'][0] = [0, 0, 1, 2, 3]
  del raw['shapedirs']
  marks = samples.embedding_fields()
  marks['static_lmk_bary_coords'] = marks['static_lmk_bary_coords'][:50]
  marks['full_lmk_bary_coords'] *= 0.9
  marks['dynamic_lmk_faces_idx'] = 'lost'
  np.save(tmp_path / 'marks.npy', marks, allow_pickle=True)
  with pytest.raises(FlameFileError) as caught:
    load_flame(write(tmp_path / 'model.pkl', raw), tmp_path / 'marks.npy')
  message = str(caught.value)
  for part in (
    'model.pkl: v_template has 1 values that are not finite',
    'model.pkl: posedirs has shape [24, 3, 27], wanted [V, 3, 36]',
    'model.pkl: J_regressor has dtype complex128',
    'model.pkl: weights has rows that sum to 2',
    'model.pkl: kintree_table has parents [0, 0, 1, 2, 3]',
    'model.pkl: shapedirs is missing',
    'marks.npy: static_lmk_bary_coords has shape [50, 3], wanted [51, 3]',
    'marks.npy: full_lmk_bary_coords has rows that sum to 0.9',
    "marks.npy: dynamic_lmk_faces_idx is 'lost', not an array",
  ):
    assert part in message
  assert len(caught.value.problems) == 9


def test_indices_out_of_range(tmp_path):
  raw = samples.flame_fields()
  raw['f'][0, 0] = 10_000
  with pytest.raises(FlameFileError, match=r'f has indices from .* to 10000'):
    load_flame(write(tmp_path / 'model.pkl', raw))
  raw = samples.flame_fields()
  marks = samples.embedding_fields()
  marks['dynamic_lmk_faces_idx'][5, 5] = samples.NUM_FACES
  np.save(tmp_path / 'marks.npy', marks, allow_pickle=True)
  with pytest.raises(FlameFileError, match='wanted 0 to 29'):
    load_flame(write(tmp_path / 'model.pkl', raw), tmp_path / 'marks.npy')


def test_expressions_of_chumpy_are_named(tmp_path, monkeypatch):
  raw = samples.flame_fields()
  add = samples.fake_class(monkeypatch, 'chumpy.ch_ops', 'add')
  raw['v_template'] = samples.filled(add, {'a': raw['v_template'], 'b': 1})
  path = write(tmp_path / 'model.pkl', raw)
  with pytest.raises(
    FlameFileError, match=r'v_template is <chumpy\.ch_ops\.add'
  ):
    load_flame(path)


@pytest.mark.parametrize(
  ('data', 'message'),
  [
    (b'', 'not a readable pickle'),
    (b'hello world', 'not a readable pickle'),
    (b'PK\x03\x04 and so on', r'damaged \.npz'),
    (b'\x93NUMPY', r'not a readable \.npy'),
    (pickle.dumps([1, 2]), 'holds a list, wanted a dict'),
    (pickle.dumps({'a': 1}), r"is no head model; it has \['a'\]"),
    (pickle.dumps(samples.flame_fields())[:-50], 'Fetch the file again'),
  ],
)
def test_files_of_another_kind(tmp_path, data, message):
  path = tmp_path / 'model.pkl'
  path.write_bytes(data)
  with pytest.raises(FlameFileError, match=message):
    load_flame(path)


def test_unpacked_size_is_limited(tmp_path, monkeypatch):
  path = tmp_path / 'model.npz'
  with zipfile.ZipFile(path, 'w', zipfile.ZIP_DEFLATED) as archive:
    archive.writestr('v_template.npy', bytes(1 << 22))
  assert path.stat().st_size < 10_000
  monkeypatch.setattr('flame_jax.unpickle._MAX_UNPACKED_BYTES', 1 << 21)
  with pytest.raises(FlameFileError, match='unpacks to more'):
    load_flame(path)


def test_malicious_model_and_landmark_files(tmp_path, model_path, monkeypatch):
  monkeypatch.chdir(tmp_path)

  class Evil:
    def __reduce__(self):
      return os.system, ('touch hacked',)

  raw = {**samples.flame_fields(), 'extra': Evil()}
  path = write(tmp_path / 'evil.pkl', raw)
  with pytest.raises(UnsafePickleError, match=r'evil\.pkl.*system'):
    load_flame(path)
  marks = {**samples.embedding_fields(), 'extra': [Evil()]}
  np.save(tmp_path / 'evil.npy', marks, allow_pickle=True)
  with pytest.raises(UnsafePickleError, match=r'evil\.npy.*system'):
    load_flame(model_path, tmp_path / 'evil.npy')
  np.savez(tmp_path / 'evil.npz', v_template=np.array([Evil()], object))
  with pytest.raises(UnsafePickleError, match=r'evil\.npz.*system'):
    load_flame(tmp_path / 'evil.npz')
  assert not (tmp_path / 'hacked').exists()


def test_format_of_a_later_version_is_refused(tmp_path):
  np.savez(tmp_path / 'head.npz', format='flame_jax head model 9')
  with pytest.raises(FlameFileError, match='head model 9'):
    load_flame(tmp_path / 'head.npz')


# Real files.


def test_golden_files_in_wild_formats(shared_dir):
  folder = shared_dir / 'golden'
  assets = load_flame(
    folder / 'flame_a_generic_model.pkl',
    folder / 'flame_a_landmark_embedding.npy',
  )
  assert isinstance(assets, FlameAssets)
  with np.load(folder / 'flame_a.npz') as golden:
    golden = dict(golden)
  params = FlameParams(
    shape=golden['shape'],
    expression=golden['exp'],
    global_pose=golden['pose'][:, :3],
    jaw_pose=golden['pose'][:, 3:],
  )
  output = flame_apply(assets, params)
  np.testing.assert_allclose(output.vertices, golden['vertices'], atol=1e-6)
  np.testing.assert_allclose(output.landmarks, golden['landmarks2d'], atol=1e-6)


def test_real_landmarks_do_not_fit_a_small_model(shared_dir, model_path):
  path = shared_dir / 'real' / 'landmark_embedding.npy'
  with pytest.raises(FlameFileError, match='indices from 151 to 8921'):
    load_flame(model_path, path)
