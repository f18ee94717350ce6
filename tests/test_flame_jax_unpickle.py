"""The restricted unpickler: what it reads, and everything it refuses."""

import collections
import io
import os
import pickle
import pickletools
import struct
import sys

import numpy as np
import pytest
import scipy.sparse

from flame_jax import unpickle
from flame_jax.unpickle import (
  MalformedPickleError,
  Opaque,
  UnsafePickleError,
  read_restricted_npy,
  read_restricted_pickle,
)
from tests import flame_samples as samples

PROTOCOLS = range(6)


class Call:
  """Pickles as a call of anything."""

  def __init__(self, function, *args):
    self.reduced = (function, args)

  def __reduce__(self):
    return self.reduced


def equal(left, right):
  if isinstance(left, np.ndarray) and left.dtype == object:
    return left.shape == right.shape and all(map(equal, left.flat, right.flat))
  if isinstance(left, np.ndarray):
    same = left.dtype == right.dtype and np.array_equal(left, right)
    return same and isinstance(right, np.ndarray)
  if isinstance(left, dict):
    return left.keys() == right.keys() and all(
      equal(left[key], right[key]) for key in left
    )
  if isinstance(left, list | tuple):
    return type(left) is type(right) and all(
      equal(*pair) for pair in zip(left, right, strict=True)
    )
  return type(left) is type(right) and left == right


PLAIN = {
  'numbers': [0, 1, -1, 255, 65536, 2**31, -(2**70), 2**2100, 0.1, 1e300],
  'constants': (None, True, False, (), (1,), (1, 2), (1, 2, 3), (1, 2, 3, 4)),
  'texts': [
    '',
    'abc',
    'é€\N{GRINNING FACE}\n\\',
    b'',
    b'\x00\xff\n',
    'x' * 300,
  ],
  'sets': [{1, 'a', (1, 2)}, frozenset({3, b'b'})],
  'ordered': collections.OrderedDict([('b', 1), ('a', 2)]),
  'complex': 1 + 2j,
}


@pytest.mark.parametrize('protocol', PROTOCOLS)
def test_plain_data_read_as_python_reads_them(protocol):
  data = pickle.dumps(PLAIN, protocol)
  assert equal(read_restricted_pickle(data), PLAIN)


@pytest.mark.parametrize('protocol', PROTOCOLS)
def test_arrays_of_every_kind(protocol):
  arrays = [
    np.arange(6).astype(code).reshape(2, 3)
    for code in ('?', 'i1', '<u2', '>i4', '<i8', '<f2', '>f4', '<f8', '<c16')
  ]
  arrays += [
    np.asfortranarray(np.arange(6.0).reshape(2, 3)),
    np.arange(24).reshape(4, 6)[::2, 1::2],
    np.zeros((0, 3)),
    np.float32(2.5) * np.ones(()),
    np.array(['ab', 'c']),
    np.array([b'ab', b'c']),
    np.array([1, 'a', None, [np.arange(3)]], dtype=object),
  ]
  found = read_restricted_pickle(pickle.dumps(arrays, protocol))
  for expected, got in zip(arrays, found, strict=True):
    wanted = expected.astype(expected.dtype.newbyteorder('='))
    assert equal(wanted, got)


@pytest.mark.parametrize('protocol', PROTOCOLS)
def test_numpy_scalars(protocol):
  scalars = [np.float64(0.1), np.int32(-3), np.bool_(True), np.str_('ab')]
  found = read_restricted_pickle(pickle.dumps(scalars, protocol))
  assert found == scalars
  assert [type(f) for f in found] == [type(s) for s in scalars]


def test_arrays_are_writable_and_shared_objects_stay_shared():
  array = np.arange(3.0)
  first, second = read_restricted_pickle(pickle.dumps([array, array]))
  assert first is second
  first[0] = 5
  assert second[0] == 5


def test_cycles_of_containers_and_object_arrays():
  loop = []
  loop.append({'self': loop, 'array': np.empty(1, object)})
  loop[0]['array'][0] = loop
  found = read_restricted_pickle(pickle.dumps(loop))
  assert found[0]['self'] is found
  assert found[0]['array'][0] is found
  recursive = ([],)
  recursive[0].append(recursive)
  with pytest.raises(MalformedPickleError, match='contains itself'):
    read_restricted_pickle(pickle.dumps(recursive, 0))


def test_python2_arrays_and_strings():
  array = np.arange(-3, 3, dtype='<f8').reshape(2, 3)
  data = samples.python2_dict(
    {
      'array': samples.python2_array(array),
      'name': samples.python2_string(b'caf\xe9'),
      'quoted': b"S'a\\x00\\n\\'b'\n",
      'unicode': b'V\\u20ac\n',
      'long': b'L12L\n',
      'bool': b'I01\n',
    }
  )
  found = read_restricted_pickle(b'\x80\x02' + data + b'.')
  assert equal(found.pop('array'), array)
  assert found == {
    'name': 'café',
    'quoted': "a\x00\n'b",
    'unicode': '€',
    'long': 12,
    'bool': True,
  }


@pytest.mark.parametrize('protocol', PROTOCOLS)
@pytest.mark.parametrize('kind', ['csc', 'csr', 'coo'])
@pytest.mark.parametrize('family', ['matrix', 'array'])
def test_sparse_matrices_become_dense(protocol, kind, family):
  dense = np.array([[0, 1.5, 0], [2, 0, -3]])
  sparse = getattr(scipy.sparse, f'{kind}_{family}')(dense)
  found = read_restricted_pickle(pickle.dumps(sparse, protocol))
  assert equal(found, dense)


def test_sparse_matrix_of_old_scipy():
  state = {
    '_shape': b'(K\x02K\x03t',
    'maxprint': b'K2',
    'data': samples.python2_array(np.array([2, 1.5, -3])),
    'indices': samples.python2_array(np.array([1, 0, 1], np.int32)),
    'indptr': samples.python2_array(np.array([0, 1, 2, 3], np.int32)),
  }
  data = samples.python2_instance('scipy.sparse.csc.csc_matrix', state) + b'.'
  assert equal(
    read_restricted_pickle(data), np.array([[0, 1.5, 0], [2, 0, -3]])
  )


@pytest.mark.parametrize(
  ('field', 'value'),
  [
    ('indices', np.array([1, 0, 2], np.int32)),
    ('indices', np.array([1, 0, -1], np.int32)),
    ('indices', np.array([1, 0], np.int32)),
    ('indptr', np.array([0, 2, 1, 3], np.int32)),
    ('indptr', np.array([0, 1, 3], np.int32)),
    ('indices', np.array([1.0, 0.0, 1.0])),
  ],
)
def test_inconsistent_sparse_matrices_are_refused(field, value):
  sparse = scipy.sparse.csc_matrix(np.array([[0, 1.5, 0], [2, 0, -3]]))
  setattr(sparse, field, value)
  with pytest.raises(MalformedPickleError, match='sparse'):
    read_restricted_pickle(pickle.dumps(sparse))


def test_small_sparse_matrix_cannot_fill_the_memory():
  sparse = scipy.sparse.csc_matrix((10**5, 10**5))
  with pytest.raises(MalformedPickleError, match='bytes'):
    read_restricted_pickle(pickle.dumps(sparse))


@pytest.mark.parametrize('protocol', PROTOCOLS)
def test_chumpy_arrays_and_selections(monkeypatch, protocol):
  array = np.arange(12.0).reshape(3, 4)
  ch = samples.fake_class(monkeypatch, 'chumpy.ch', 'Ch')
  select = samples.fake_class(monkeypatch, 'chumpy.reordering', 'Select')
  add = samples.fake_class(monkeypatch, 'chumpy.ch_ops', 'add')
  node = samples.filled(ch, {'x': array, '_dirty_vars': set(), '_itr': None})
  chosen = samples.filled(
    select, {'a': node, 'idxs': np.array([5, 0]), 'preferred_shape': (2, 1)}
  )
  total = samples.filled(add, {'a': node, 'b': node})
  data = pickle.dumps({'n': node, 's': chosen, 't': total}, protocol)
  found = read_restricted_pickle(data)
  assert equal(found['n'], array)
  assert equal(found['s'], np.array([[5.0], [0.0]]))
  assert 'chumpy.ch_ops.add' in repr(found['t'])


@pytest.mark.parametrize('indices', [[0, 12], [-1], [0.5]])
def test_selections_of_what_is_not_there(monkeypatch, indices):
  select = samples.fake_class(monkeypatch, 'chumpy.reordering', 'Select')
  state = {'a': np.arange(12.0), 'idxs': np.array(indices)}
  with pytest.raises(MalformedPickleError, match='selects'):
    read_restricted_pickle(pickle.dumps(samples.filled(select, state)))


def test_chumpy_of_python2():
  array = np.arange(6, dtype='<f4').reshape(2, 3)
  found = read_restricted_pickle(samples.python2_chumpy(array) + b'.')
  assert equal(found, array)
  assert 'chumpy' not in sys.modules


# Refusals.

EVIL = {
  'os.system': Call(os.system, 'touch hacked'),
  'builtins.eval': Call(eval, '1'),
  'builtins.exec': Call(exec, '1'),
  'builtins.getattr': Call(getattr, np.ndarray, 'tofile'),
  'builtins.__import__': Call(__import__, 'os'),
  'io.open': Call(open, 'hacked', 'w'),
  'numpy.fromfile': Call(np.fromfile, 'hacked'),
  'operator.attrgetter': Call(
    __import__('operator').attrgetter('__class__'), 1
  ),
}


@pytest.mark.parametrize('protocol', PROTOCOLS)
@pytest.mark.parametrize('name', sorted(EVIL))
def test_calls_are_refused_by_name(name, protocol, tmp_path, monkeypatch):
  monkeypatch.chdir(tmp_path)
  data = pickle.dumps({'x': [EVIL[name]]}, protocol)
  with pytest.raises(UnsafePickleError) as caught:
    read_restricted_pickle(data)
  last = name.rpartition('.')[2]
  assert caught.value.name.endswith(f'.{last}')
  assert caught.value.name in str(caught.value)
  assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
  'data',
  [
    b"cos\nsystem\n(S'touch hacked'\ntR.",
    b"(S'touch hacked'\nios\nsystem\n.",
    b"(cos\nsystem\nS'touch hacked'\no.",
    b'\x80\x04\x8c\x02os\x8c\x06system\x93\x8c\x0ctouch hacked\x85R.',
    b'\x80\x02cos\nsystem\n)\x81.',
    b'\x80\x04cos\nsystem\n)}\x92.',
    b'c__main__\nanything\n.',
    b'cnumpy\nndarray.tofile\n.',
    b'\x80\x04\x8c\x05numpy\x8c\x0fndarray.__new__\x93.',
    b'cflame_jax.unpickle.values\nGlobal\n.',
  ],
)
def test_every_way_to_name_a_function_is_closed(data, tmp_path, monkeypatch):
  monkeypatch.chdir(tmp_path)
  with pytest.raises(UnsafePickleError, match='allow-list'):
    read_restricted_pickle(data)
  assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
  'data',
  [
    b'cnumpy\nndarray\n(K\x01tR.',  # a class that is only a reference
    b'c__builtin__\nobject\n)\x81.',
    b'K\x01)R.',  # calls of plain values
    b'}(K\x01tR.',
    b"S'eval'\n)R.",
  ],
)
def test_calls_of_references_and_values_are_refused(data):
  with pytest.raises(UnsafePickleError):
    read_restricted_pickle(data)


@pytest.mark.parametrize(
  'data',
  [
    # Attributes on classes, functions, containers and arrays.
    b'cnumpy\nndarray\n}U\x01xK\x01sb.',
    b'cnumpy.core.multiarray\n_reconstruct\n(N}U\x0c__defaults__)stb.',
    b'](N}U\x06appendK\x01stb.',
    b'}(}U\x01xK\x01stb.',
    b'N(N}tb.',
    # Items and members of the wrong thing.
    b'cnumpy\nndarray\nK\x01K\x02s.',
    b')K\x01a.',
    b'](K\x01K\x02u.',
    b'}(K\x01K\x02e.',
    b']\x80\x04(K\x01\x90.',
    b'}(K\x01u.',
    b'}]K\x01s.',
    # Stack and memo.
    b'.',
    b'0.',
    b'a.',
    b'(K\x01',
    b'K\x01(.',
    b't.',
    b'h\x05.',
    b'g7\n.',
    b'j\xff\xff\xff\xff.',
    b'R.',
    # Out-of-file and extension references.
    b'Pabc\n.',
    b'K\x01Q.',
    b'\x82\x01.',
    b'\x83\x01\x00.',
    b'\x97.',
    b'\x97\x98.',
    # Numbers and strings.
    b'Iabc\n.',
    b'L' + b'9' * 10_000 + b'L\n.',
    b'Fx\n.',
    b"S'abc\n.",
    b'Sabc\n.',
    b"S'\\xz'\n.",
    b'X\x01\x00\x00\x00\xff.',
    b'\x8b\xff\xff\xff\xff.',
    b'T\xff\xff\xff\xff.',
    b'\x8e\xff\xff\xff\xff\xff\xff\xff\x7f.',
    b'\x80\x09N.',
    b'\x95\x01.',
    b'hello world',
    b'',
    b'\x00' * 20,
  ],
)
def test_damaged_pickles_are_refused(data):
  with pytest.raises(MalformedPickleError):
    read_restricted_pickle(data)


def test_stand_ins_are_not_changed_by_a_refused_file():
  before = pickle.dumps(np.arange(3))
  for data in (
    b'cnumpy\ndtype\n}U\x07__new__K\x01sb.',
    b'cnumpy.core.multiarray\n_reconstruct\n}U\nset_stateK\x01sb.',
  ):
    with pytest.raises(MalformedPickleError):
      read_restricted_pickle(data)
  assert equal(read_restricted_pickle(before), np.arange(3))


def test_nested_calls_inside_object_arrays(tmp_path, monkeypatch):
  monkeypatch.chdir(tmp_path)
  array = np.empty((), object)
  array[()] = {'faces': [EVIL['os.system']]}
  with pytest.raises(UnsafePickleError, match='system'):
    read_restricted_pickle(pickle.dumps(array))
  stream = io.BytesIO()
  np.save(stream, array, allow_pickle=True)
  with pytest.raises(UnsafePickleError, match='system'):
    read_restricted_npy(stream.getvalue())
  assert not list(tmp_path.iterdir())


@pytest.mark.parametrize('size', [0, 1, 2, 3, 10])
def test_truncated_pickles(size):
  data = pickle.dumps({'a': np.arange(100)}, 4)
  with pytest.raises(MalformedPickleError):
    read_restricted_pickle(data[: len(data) * size // 11])


def test_every_truncation_and_bit_flip_ends_in_one_of_two_errors(monkeypatch):
  ch = samples.fake_class(monkeypatch, 'chumpy.ch', 'Ch')
  sparse = scipy.sparse.csc_matrix(np.eye(2))
  value = {'a': samples.filled(ch, {'x': np.arange(3)}), 's': sparse}
  data = pickle.dumps(value, 2)
  random = np.random.default_rng(0)
  outcomes = collections.Counter()
  for position in range(len(data)):
    flipped = bytearray(data)
    flipped[position] ^= 1 << random.integers(8)
    for candidate in (data[:position], bytes(flipped)):
      try:
        read_restricted_pickle(candidate)
        outcomes['read'] += 1
      except (MalformedPickleError, UnsafePickleError) as error:
        outcomes[type(error).__name__] += 1
  assert outcomes['UnsafePickleError'] > 0
  assert sum(outcomes.values()) == 2 * len(data)


def test_deep_nesting_is_refused_without_a_crash():
  depth = 100_000
  with pytest.raises(MalformedPickleError):
    read_restricted_pickle(b']' * depth + b'a' * (depth - 1) + b'.')
  deep_tuple = b')' + b'\x85' * depth
  with pytest.raises(MalformedPickleError, match='key'):
    read_restricted_pickle(b'}' + deep_tuple + b'K\x01s.')
  with pytest.raises(MalformedPickleError, match='key'):
    read_restricted_pickle(b'\x8f(' + deep_tuple + b'\x90.')


def _array_pickle(shape=(3,), code='f8', data=b'\x00' * 24, state=None):
  """An array pickle in which any part may be wrong."""
  state = state or (3, '<', None, None, None, -1, -1, 0)
  dtype = Call(np.dtype, code, False, True)
  dtype.reduced = (*dtype.reduced, state)
  array = Call(np._core.multiarray._reconstruct, np.ndarray, (0,), b'b')
  array.reduced = (*array.reduced, (1, shape, dtype, False, data))
  return pickle.dumps(array)


def test_hand_made_array_pickle_is_right_when_nothing_is_wrong():
  data = struct.pack('<3d', 1, 2, 3)
  assert equal(
    read_restricted_pickle(_array_pickle(data=data)), np.array([1.0, 2, 3])
  )


@pytest.mark.parametrize(
  'wrong',
  [
    {'shape': (10**12,)},
    {'shape': (2**62, 2**62)},
    {'shape': (-3,)},
    {'shape': (3.0,)},
    {'shape': 'abc'},
    {'shape': (1,) * 100},
    {'data': b'\x00' * 23},
    {'data': b''},
    {'data': 'é€'},
    {'data': [1, 2, 3]},
    {'data': None},
    {'code': 'S0', 'shape': (10**12,), 'data': b''},
    {'shape': (0, 2**62, 2**62), 'data': b''},
    {'code': 'V8'},
    {'code': 'M8[ns]'},
    {'code': 'f8,f8'},
    {'code': 'f3'},
    {'code': 'O8', 'data': [1, 2]},
    {'code': 'O8'},
    {'state': (3, '<', ('f8', (10**9,)), None, None, -1, -1, 0)},
    {'state': (3, '|', None, ('a',), {'a': ('f8', 0)}, 8, 1, 16)},
    {'state': (3, 'x', None, None, None, -1, -1, 0)},
    {'state': (3,)},
  ],
)
def test_absurd_arrays_are_refused(wrong):
  with pytest.raises(MalformedPickleError):
    read_restricted_pickle(_array_pickle(**wrong))


def test_repeated_strings_cannot_fill_the_memory():
  text = b'x' * (1 << 20)
  head = b'c_codecs\nencode\nq\x000X' + struct.pack('<I', len(text)) + text
  one = (
    b'cnumpy._core.numeric\n_frombuffer\n(h\x01cnumpy\ndtype\n(X\x02\x00\x00'
    b'\x00u1tRJ' + struct.pack('<i', len(text)) + b'\x85tR'
  )
  few = b'\x80\x02' + head + b'q\x010(' + one * 3 + b't.'
  assert len(read_restricted_pickle(few)) == 3
  many = b'\x80\x02' + head + b'q\x010(' + one * 400 + b't.'
  with pytest.raises(MalformedPickleError, match='bytes'):
    read_restricted_pickle(many)


def test_encodings_other_than_latin1_are_refused():
  data = b'c_codecs\nencode\n(X\x01\x00\x00\x00aX\x05\x00\x00\x00rot13tR.'
  with pytest.raises(MalformedPickleError, match='encoding'):
    read_restricted_pickle(data)


# Skipping.


def test_unknown_objects_can_be_skipped(tmp_path, monkeypatch):
  monkeypatch.chdir(tmp_path)
  kind = samples.fake_class(monkeypatch, 'lightning.callbacks', 'Stopper')
  value = {
    'weights': np.arange(3.0),
    'callback': samples.filled(kind, {'patience': 3}),
    'class': kind,
    'evil': EVIL['os.system'],
    'nested': [EVIL['builtins.eval'], 1],
  }
  for protocol in PROTOCOLS:
    data = pickle.dumps(value, protocol)
    with pytest.raises(UnsafePickleError):
      read_restricted_pickle(data)
    found = read_restricted_pickle(data, skip_unknown=True)
    assert equal(found['weights'], np.arange(3.0))
    assert isinstance(found['callback'], Opaque)
    assert found['callback'].name == 'lightning.callbacks.Stopper'
    assert found['class'].name == 'lightning.callbacks.Stopper'
    assert found['evil'].name.endswith('.system')
    assert found['nested'][1] == 1
  assert not list(tmp_path.iterdir())


# .npy files.


def test_npy_files_as_numpy_reads_them(tmp_path):
  for array in (
    np.arange(6.0).reshape(2, 3),
    np.asfortranarray(np.arange(6, dtype='>i2').reshape(2, 3)),
    np.array('text'),
    np.zeros((0, 4)),
  ):
    path = tmp_path / 'a.npy'
    np.save(path, array)
    wanted = array.astype(array.dtype.newbyteorder('='))
    assert equal(read_restricted_npy(path), wanted)


def test_npy_file_that_holds_a_dict(tmp_path):
  value = {'a': np.arange(3), 'b': [1, 2]}
  np.save(tmp_path / 'a.npy', value, allow_pickle=True)
  assert equal(read_restricted_npy(tmp_path / 'a.npy'), value)


def _npy(header: str, payload: bytes = b'', version=b'\x01\x00') -> bytes:
  text = header.encode().ljust(117) + b'\n'
  return b'\x93NUMPY' + version + struct.pack('<H', len(text)) + text + payload


@pytest.mark.parametrize(
  'data',
  [
    _npy("{'descr': '<f8', 'fortran_order': False, 'shape': (99999999999,), }"),
    _npy(
      "{'descr': '<f8', 'fortran_order': False, 'shape': (2,), }", b'\0' * 8
    ),
    _npy("{'descr': '<f8', 'fortran_order': False, 'shape': (-1,), }"),
    _npy(
      "{'descr': '|V8', 'fortran_order': False, 'shape': (1,), }", b'\0' * 8
    ),
    _npy("{'descr': [('a','<f8')], 'fortran_order': False, 'shape': (1,), }"),
    _npy("{'descr': '|O', 'fortran_order': False, 'shape': (), }", b'\x80\x04'),
    _npy("{'descr': '|S0', 'fortran_order': False, 'shape': (9**12,), }"),
    _npy("{'descr': '<f8', 'fortran_order': False, 'shape': (0, 2**62), }"),
    _npy(
      "{'descr': '<f8', 'fortran_order': False, 'shape': (0, 1"
      + '0' * 18
      + ', 99), }'
    ),
    _npy('__import__("os").system("touch hacked")'),
    _npy("{'descr': '<f8'"),
    _npy("{'descr': '<f8', 'fortran_order': False, 'shape': (), }")[:40],
    _npy(
      "{'descr': '<f8', 'fortran_order': False, 'shape': (), }", b'', b'\x09\0'
    ),
    b'\x93NUMPY',
    b'',
  ],
)
def test_damaged_npy_files(data):
  with pytest.raises(MalformedPickleError):
    read_restricted_npy(data)


# Real files.


def test_landmark_embedding_with_torch_tensors(shared_dir):
  found = read_restricted_npy(shared_dir / 'real' / 'landmark_embedding.npy')
  shapes = {name: value.shape for name, value in found.items()}
  assert shapes == {
    'static_lmk_faces_idx': (51,),
    'static_lmk_bary_coords': (51, 3),
    'dynamic_lmk_faces_idx': (79, 17),
    'dynamic_lmk_bary_coords': (79, 17, 3),
    'full_lmk_faces_idx': (1, 68),
    'full_lmk_bary_coords': (1, 68, 3),
  }
  sums = found['dynamic_lmk_bary_coords'].sum(-1)
  np.testing.assert_allclose(sums, 1, atol=1e-6)
  assert 'torch' not in sys.modules


@pytest.mark.parametrize(
  ('name', 'read'),
  [
    ('flame_a_generic_model.pkl', read_restricted_pickle),
    ('flame_a_landmark_embedding.npy', read_restricted_npy),
  ],
)
def test_golden_files_equal_their_arrays(shared_dir, name, read):
  found = read(shared_dir / 'golden' / name)
  prefix = 'model_' if name.endswith('.pkl') else 'embed_'
  with np.load(shared_dir / 'golden' / 'flame_a.npz') as golden:
    names = [n for n in golden if n.startswith(prefix)]
    assert names
    for full_name in names:
      wanted = golden[full_name]
      got = found[full_name.removeprefix(prefix)]
      np.testing.assert_allclose(got, wanted, rtol=1e-6, atol=1e-9)


def test_all_opcodes_that_python_writes_are_known():
  written = {
    op.code.encode('latin1')
    for op in pickletools.opcodes
    if op.name not in ('STOP', 'EXT1', 'EXT2', 'EXT4')
    and not op.name.endswith('_BUFFER')
  }
  from flame_jax.unpickle.opcodes import HANDLERS

  assert written == set(HANDLERS)


def test_public_names():
  for name in unpickle.__all__:
    assert hasattr(unpickle, name)
