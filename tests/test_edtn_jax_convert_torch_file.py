"""PyTorch checkpoints, new and old, read without PyTorch."""

import sys
import zipfile
import zlib

import jax.numpy as jnp
import numpy as np
import pytest

from edtn_jax.convert.torch_file import TorchFileError, read_torch_file
from flame_jax.unpickle import Opaque, UnsafePickleError
from tests import torch_samples as samples

FLOATS = np.arange(6, dtype='<f4')


@pytest.fixture
def read(tmp_path):
  """Writes bytes to a file and reads it."""

  def write_and_read(data, **options):
    path = tmp_path / 'model.pt'
    path.write_bytes(data)
    return read_torch_file(path, **options)

  return write_and_read


def simple(shape=(2, 3), stride=(3, 1), offset=0, count=6, **options):
  stored = samples.storage('torch.FloatStorage', '0', count)
  return samples.tensor(stored, shape, stride, offset, **options)


def both(contents, stored):
  """The same contents as a zip archive and as a legacy file."""
  arrays = {key: np.ascontiguousarray(a) for key, a in stored.items()}
  yield samples.zip_file(contents, {k: a.tobytes() for k, a in arrays.items()})
  yield samples.legacy_file(
    contents, {k: (a.size, a.tobytes()) for k, a in arrays.items()}
  )


def test_state_dict(read):
  contents = samples.mapping({'weight': simple(), 'bias': simple((3,), (1,))})
  for data in both(contents, {'0': FLOATS}):
    found = read(data)
    assert list(found) == ['weight', 'bias']
    np.testing.assert_array_equal(found['weight'], FLOATS.reshape(2, 3))
    np.testing.assert_array_equal(found['bias'], FLOATS[:3])
    assert found['weight'].dtype == np.float32
    assert found['weight'].flags.writeable
  assert 'torch' not in sys.modules


@pytest.mark.parametrize(
  ('shape', 'stride', 'offset', 'expected'),
  [
    ((3, 2), (1, 3), 0, [[0, 3], [1, 4], [2, 5]]),  # transposed
    ((2,), (2,), 1, [1, 3]),  # every second one
    ((), (), 4, 4),
    ((0, 3), (3, 1), 0, np.zeros((0, 3))),
    ((2, 3), (0, 1), 3, [[3, 4, 5], [3, 4, 5]]),  # expanded
    ((2, 2), (1, 1), 0, [[0, 1], [1, 2]]),  # overlapping
  ],
)
def test_strides_are_honoured(read, shape, stride, offset, expected):
  for data in both(simple(shape, stride, offset), {'0': FLOATS}):
    np.testing.assert_array_equal(read(data), expected)


@pytest.mark.parametrize(
  ('kind', 'dtype'),
  [
    ('Double', np.float64),
    ('Float', np.float32),
    ('Half', np.float16),
    ('BFloat16', jnp.bfloat16),
    ('Long', np.int64),
    ('Int', np.int32),
    ('Short', np.int16),
    ('Char', np.int8),
    ('Byte', np.uint8),
    ('Bool', np.bool_),
    ('ComplexFloat', np.complex64),
  ],
)
@pytest.mark.parametrize('module', ['torch', 'torch.cuda'])
def test_dtypes(read, kind, dtype, module):
  array = np.array([0, 1, 2, 100]).astype(dtype)
  stored = samples.storage(f'{module}.{kind}Storage', '0', 4)
  for data in both(samples.tensor(stored, (4,), (1,)), {'0': array}):
    found = read(data)
    assert found.dtype == np.dtype(dtype)
    np.testing.assert_array_equal(found, array)


def test_untyped_storage_with_a_dtype(read):
  array = np.arange(4).astype(jnp.float8_e4m3fn)
  contents = (
    b'ctorch._utils\n_rebuild_tensor_v3\n('
    + samples.storage('torch.storage.UntypedStorage', '0', 4)
    + samples.number(0)
    + samples.numbers((2, 2))
    + samples.numbers((2, 1))
    + b'\x89ccollections\nOrderedDict\n)Rctorch\nfloat8_e4m3fn\ntR'
  )
  for data in both(contents, {'0': array}):
    found = read(data)
    assert found.dtype == array.dtype
    np.testing.assert_array_equal(found, array.reshape(2, 2))


def test_parameters_sizes_and_bare_storages(read):
  contents = samples.mapping(
    {
      'parameter': b'ctorch._utils\n_rebuild_parameter\n('
      + simple()
      + b'\x88ccollections\nOrderedDict\n)RtR',
      'size': b'ctorch\nSize\n' + samples.numbers((2, 3)) + b'\x85R',
      'storage': samples.storage('torch.FloatStorage', '0', 6),
      'device': b'ctorch\ndevice\n' + samples.text('cuda') + b'K\x00\x86R',
    }
  )
  for data in both(contents, {'0': FLOATS}):
    found = read(data)
    np.testing.assert_array_equal(found['parameter'], FLOATS.reshape(2, 3))
    assert found['size'] == (2, 3)
    np.testing.assert_array_equal(found['storage'], FLOATS)
    assert found['device'] == 'cuda:0'


def test_big_endian_files(read):
  swapped = FLOATS.astype('>f4').tobytes()
  data = samples.zip_file(simple(), {'0': swapped}, byteorder=b'big')
  np.testing.assert_array_equal(read(data), FLOATS.reshape(2, 3))
  data = samples.legacy_file(simple(), {'0': (6, swapped)}, little_endian=False)
  np.testing.assert_array_equal(read(data), FLOATS.reshape(2, 3))


def test_storage_views_of_legacy_files(read):
  view = b'(' + samples.text('1') + b'K\x02K\x03t'
  stored = samples.storage('torch.FloatStorage', '0', 6, view)
  data = samples.legacy_file(
    samples.tensor(stored, (3,), (1,)), {'0': (6, FLOATS.tobytes())}
  )
  np.testing.assert_array_equal(read(data), [2, 3, 4])


def nested(contents: bytes) -> bytes:
  """Opcodes of torch.storage._load_from_bytes(contents)."""
  return (
    b'ctorch.storage\n_load_from_bytes\nB'
    + len(contents).to_bytes(4, 'little')
    + contents
    + b'\x85R'
  )


def test_torch_bytes_inside_a_pickle(read):
  stored = samples.storage('torch.FloatStorage', '0', 6)
  for inner in both(stored, {'0': FLOATS}):
    outer = samples.tensor(nested(inner), (2, 3), (3, 1))
    for data in both(outer, {}):
      np.testing.assert_array_equal(read(data), FLOATS.reshape(2, 3))


# What is refused.

EVIL = b'cposix\nsystem\n' + samples.text('touch hacked') + b'\x85R'


@pytest.mark.parametrize(
  'contents',
  [
    EVIL,
    samples.mapping({'a': simple(), 'b': EVIL}),
    nested(samples.legacy_file(EVIL, {})),
    nested(samples.zip_file(EVIL, {})),
    nested(samples.legacy_file(nested(samples.zip_file(EVIL, {})), {})),
  ],
)
def test_calls_are_refused_by_name(read, tmp_path, monkeypatch, contents):
  monkeypatch.chdir(tmp_path)
  for data in both(contents, {'0': FLOATS}):
    with pytest.raises(UnsafePickleError, match=r'posix\.system') as caught:
      read(data)
    assert caught.value.name == 'posix.system'
    assert 'skip_unknown' in str(caught.value)
    assert 'model.pt' in str(caught.value)
  assert not (tmp_path / 'hacked').exists()


def test_calls_in_the_header_of_a_legacy_file_are_refused(read):
  good = samples.legacy_file(simple(), {'0': (6, FLOATS.tobytes())})
  magic = good[: good.index(b'.') + 1]
  with pytest.raises(UnsafePickleError):
    read(magic + b'\x80\x02' + EVIL + b'.')


def test_endless_nesting_is_refused(read):
  data = samples.legacy_file(b'N', {})
  for _ in range(6):
    data = samples.legacy_file(nested(data), {})
  with pytest.raises(TorchFileError):
    read(data)


@pytest.mark.parametrize(
  'contents',
  [
    simple((7,), (1,)),
    simple((2, 3), (4, 1)),
    simple((6,), (1,), 1),
    simple((1,), (1,), 6),
    simple((2, 3), (3,)),
    simple((10**9,), (0,)),
    simple((2**40, 2**40), (0, 0)),
    simple(count=7),
    simple(count=10**15),
    simple(extra=b'}' + samples.text('conj') + b'\x88s'),
    samples.storage('torch.DoubleStorage', '0', 6),
    samples.storage('torch.FloatStorage', '1', 6),
    samples.storage('torch.FloatStorage', '../0', 6),
    samples.text('0') + b'Q',
    samples.numbers((1, 2, 3, 4, 5)) + b'Q',
    b'ctorch._utils\n_rebuild_tensor_v2\n(NK\x00))\x89NtR',
  ],
)
def test_inconsistent_tensors_are_refused(read, contents):
  for data in both(contents, {'0': FLOATS}):
    with pytest.raises(TorchFileError, match=r'model\.pt'):
      read(data)


def test_damaged_archives(read):
  stored = {'0': FLOATS.tobytes()}
  good = samples.zip_file(simple(), stored)
  flipped = bytearray(good)
  flipped[good.index(FLOATS.tobytes()) + 5] ^= 1
  bombs = samples.zip_file(
    samples.storage('torch.ByteStorage', '0', 1 << 24),
    {'0': bytes(1 << 24)},
    compression=zipfile.ZIP_DEFLATED,
  )
  assert len(bombs) < 100_000
  cases = {
    'zip': good[: len(good) // 2],
    'CRC': bytes(flipped),
    'missing': samples.zip_file(simple(), {}),
    'larger than the file': bombs,
    'compressed': samples.zip_file(
      simple(), stored, compression=zipfile.ZIP_DEFLATED
    ),
    'TorchScript': samples.zip_file(
      simple(), stored, extra={'archive/constants.pkl': b'N.'}
    ),
    'torch.save did not write': samples.zip_file(
      simple(), stored, extra={'other/data.pkl': b'N.'}
    ),
    'opcode': b'\xffhello world',
    'bytes wanted': b'',
    'not a file that torch.save wrote': b'\x80\x02K\x01.',
    'wanted': samples.legacy_file(simple(), {'0': (6, FLOATS.tobytes()[:-1])}),
    'needs': samples.legacy_file(simple(), {'0': (5, FLOATS.tobytes()[:-4])}),
    'nothing refers': samples.legacy_file(simple(), {'9': (0, b'')}),
    'not in the file': samples.legacy_file(simple(), {}),
    'protocol 7': samples.legacy_file(b'N', {}).replace(b'M\xe9\x03', b'K\x07'),
  }
  for message, data in cases.items():
    with pytest.raises(TorchFileError, match=message) as caught:
      read(data)
    assert 'fetch it again' in str(caught.value)


def test_every_truncation_of_a_legacy_file_is_noticed(read):
  data = samples.legacy_file(simple(), {'0': (6, FLOATS.tobytes())})
  for size in range(len(data)):
    with pytest.raises(TorchFileError):
      read(data[:size])


def test_absent_files_and_folders(tmp_path):
  with pytest.raises(TorchFileError, match='does not exist; give the path'):
    read_torch_file(tmp_path / 'nothing.pt')
  with pytest.raises(TorchFileError, match='is a folder'):
    read_torch_file(tmp_path)


def test_unknown_objects_become_placeholders_on_request(
  read, tmp_path, monkeypatch
):
  monkeypatch.chdir(tmp_path)
  callback = (
    b'clightning.callbacks\nStopper\n)\x81}' + samples.text('a') + b'K\x01sb'
  )
  odd = samples.tensor(
    samples.storage('torch.QInt8Storage', '7', 4), (4,), (1,)
  )
  contents = samples.mapping(
    {'weight': simple(), 'callback': callback, 'evil': EVIL, 'odd': odd}
  )
  for data in both(contents, {'0': FLOATS}):
    found = read(data, skip_unknown=True)
    np.testing.assert_array_equal(found['weight'], FLOATS.reshape(2, 3))
    assert isinstance(found['callback'], Opaque)
    assert found['callback'].name == 'lightning.callbacks.Stopper'
    assert found['evil'].name == 'posix.system'
    assert found['odd'].name == 'torch.QInt8Storage'
  assert not (tmp_path / 'hacked').exists()


# Real files.


def test_released_weights(shared_dir):
  found = read_torch_file(shared_dir / 'real' / 'EDTN.pt')
  shapes = {name: value.shape for name, value in found.items()}
  assert shapes == {
    'main.0.weight': (512, 53),
    'main.0.bias': (512,),
    'main.2.weight': (512, 512),
    'main.2.bias': (512,),
    'main.4.weight': (512, 512),
    'main.4.bias': (512,),
    'main.6.weight': (17, 512),
    'main.6.bias': (17,),
  }
  assert sum(value.size for value in found.values()) == 561_681


def test_lightning_checkpoint_holds_the_drawn_weights(shared_dir):
  found = read_torch_file(shared_dir / 'golden' / 'pirender_small.ckpt')
  assert found['epoch'] == 7
  assert found['global_step'] == 11
  state = found['state_dict']
  names = [
    n for n in state if n.startswith('generator.') and state[n].ndim == 4
  ]
  assert len(names) > 10
  for name in names:
    shape = state[name].shape
    if '.down.' in name:
      continue
    random = np.random.RandomState(zlib.crc32(name.encode()))
    drawn = random.standard_normal(shape).astype(np.float32)
    np.testing.assert_allclose(
      state[name], drawn / np.sqrt(np.prod(shape[1:])), rtol=1e-5
    )
  assert any(name.startswith('generator_ema.') for name in state)
