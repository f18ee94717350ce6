"""PyTorch's tensors and files, read without PyTorch.

A torch file is a pickle whose tensors point into storages by persistent ids.
Since 1.6 it is a zip archive with one stored entry for each storage; before
that, five pickles in a row followed by the storages' bytes. The second form
also hides inside ordinary pickles, as the argument of
`torch.storage._load_from_bytes`.
"""

from __future__ import annotations

import io
import math
import zipfile
from collections.abc import Callable

import jax.numpy as jnp
import numpy as np

from flame_jax.unpickle.arrays import check_shape
from flame_jax.unpickle.machine import PickleMachine
from flame_jax.unpickle.values import (
  ZIP_DAMAGE,
  Global,
  MalformedPickleError,
  Opaque,
  StandIn,
  UnsafePickleError,
)

# First pickle of a legacy file, and the one protocol version there ever was.
_MAGIC_NUMBER = 0x1950A86A20F9469CFC6C
_LEGACY_PROTOCOL = 1001
_ZIP_START = b'PK\x03\x04'
_LEGACY_START = b'\x80\x02\x8a\nl\xfc\x9cF\xf9 j\xa8P\x19.'

_STORAGE_DTYPES = {
  'Double': 'float64',
  'Float': 'float32',
  'Half': 'float16',
  'BFloat16': 'bfloat16',
  'Long': 'int64',
  'Int': 'int32',
  'Short': 'int16',
  'Char': 'int8',
  'Byte': 'uint8',
  'Bool': 'bool',
  'ComplexFloat': 'complex64',
  'ComplexDouble': 'complex128',
}
_EXTRA_DTYPES = (
  'uint16',
  'uint32',
  'uint64',
  'float8_e4m3fn',
  'float8_e5m2',
)
# A tensor may be larger than its storage (expanded views), within reason.
_MAX_EXPANDED_BYTES = 1 << 26


class _Typed(Global):
  """A name that stands for a dtype."""

  __slots__ = ('dtype',)

  def __init__(self, name: str, dtype: str):
    super().__init__(name)
    # jax.numpy knows the numpy forms of bfloat16 and float8.
    self.dtype = np.dtype(getattr(jnp, dtype))


class _StorageType(_Typed):
  """A storage class such as torch.FloatStorage."""

  __slots__ = ()


class _TorchDtype(_Typed):
  """torch.float32 and so on."""

  __slots__ = ()


class _Storage(StandIn):
  """Numbers in a row, whose bytes may be read after the pickle."""

  def __init__(self, dtype: np.dtype, count: int, first: int = 0):
    if not isinstance(count, int) or count < 0:
      raise MalformedPickleError(f'a storage of {count!r:.40} elements')
    self.dtype = dtype
    self.count = count
    self._first = first
    self._root: _Storage = self
    self._data: bytes | None = None
    self._big_endian = False

  def view(self, first: int, count: int) -> _Storage:
    """Part of this storage, as legacy files have it."""
    if not 0 <= first <= first + count <= self.count:
      raise MalformedPickleError('a storage view outside of its storage')
    part = _Storage(self.dtype, count, first)
    part._root = self
    return part

  def fill(self, data: bytes, big_endian: bool) -> None:
    """Gives the storage its bytes."""
    wanted = self.count * self.dtype.itemsize
    if len(data) != wanted:
      raise MalformedPickleError(
        f'a storage of {self.count} {self.dtype} needs {wanted} bytes, the'
        f' file has {len(data)}'
      )
    self._data, self._big_endian = data, big_endian

  def tensor(self, dtype, offset, shape, stride, resolver) -> np.ndarray:
    """Copies a strided view of the storage."""
    if self._root._data is None:
      raise MalformedPickleError('a tensor whose storage is not in the file')
    start = self._first * self.dtype.itemsize
    data = self._root._data[start : start + self.count * self.dtype.itemsize]
    if len(data) % dtype.itemsize:
      raise MalformedPickleError('a storage with a broken last element')
    flat = np.frombuffer(data, dtype)
    if self._root._big_endian:
      flat = flat.byteswap()
    last = offset + sum((n - 1) * s for n, s in zip(shape, stride, strict=True))
    size = math.prod(shape)
    if size and not 0 <= offset <= last < flat.size:
      raise MalformedPickleError('a tensor that reaches beyond its storage')
    num_bytes = size * dtype.itemsize
    if num_bytes > max(flat.nbytes, _MAX_EXPANDED_BYTES):
      raise MalformedPickleError(
        f'a tensor of {num_bytes} bytes in {len(data)}'
      )
    resolver.charge(num_bytes)
    if not size:
      return np.zeros(shape, dtype)
    steps = [s * dtype.itemsize for s in stride]
    view = np.lib.stride_tricks.as_strided(flat[offset:], shape, steps)
    return np.array(view, order='C')

  def resolve(self, resolver):
    return self.tensor(self.dtype, 0, (self.count,), (1,), resolver)


class _Tensor(StandIn):
  """A tensor, or a parameter: the same numbers."""

  def __init__(self, storage: _Storage, dtype, offset, shape, stride):
    shape, stride = check_shape(shape), check_shape(stride)
    if len(shape) != len(stride) or not isinstance(offset, int) or offset < 0:
      raise MalformedPickleError('a tensor with inconsistent shape and strides')
    self._storage = storage
    self._layout = (dtype, offset, shape, stride)

  def set_state(self, state) -> None:
    """Attributes set on a tensor are not kept."""

  def resolve(self, resolver):
    return self._storage.tensor(*self._layout, resolver)


def _rebuild(storage, dtype, offset, size, stride, metadata):
  if isinstance(storage, Opaque):
    return storage
  if not isinstance(storage, _Storage):
    raise MalformedPickleError('a tensor without a storage')
  if isinstance(metadata, dict) and any(metadata.values()):
    raise MalformedPickleError(
      f'a tensor with the lazy operations {sorted(map(str, metadata))}; save'
      ' it after .resolve_conj().resolve_neg()'
    )
  return _Tensor(storage, dtype or storage.dtype, offset, size, stride)


def _rebuild_tensor(
  storage, offset, size, stride, requires_grad=False, hooks=None, metadata=None
):
  return _rebuild(storage, None, offset, size, stride, metadata)


def _rebuild_tensor_v3(
  storage, offset, size, stride, requires_grad, hooks, dtype, metadata=None
):
  if not isinstance(dtype, _TorchDtype):
    raise MalformedPickleError('a tensor of an unknown dtype')
  return _rebuild(storage, dtype.dtype, offset, size, stride, metadata)


def _rebuild_parameter(data, *unused):
  if not isinstance(data, _Tensor | Opaque):
    raise MalformedPickleError('a parameter that is not a tensor')
  return data


def _torch_globals() -> dict[str, Global]:
  rules = {
    'torch.Size': lambda sizes=(): tuple(sizes),
    'torch.device': lambda *parts: ':'.join(map(str, parts)),
    'torch._utils._rebuild_tensor': _rebuild_tensor,
    'torch._utils._rebuild_tensor_v2': _rebuild_tensor,
    'torch._utils._rebuild_tensor_v3': _rebuild_tensor_v3,
    'torch._utils._rebuild_parameter': _rebuild_parameter,
    'torch._utils._rebuild_parameter_with_state': _rebuild_parameter,
  }
  found = {name: Global(name, rule) for name, rule in rules.items()}
  for prefix, dtype in _STORAGE_DTYPES.items():
    for module in ('torch', 'torch.cuda'):
      name = f'{module}.{prefix}Storage'
      found[name] = _StorageType(name, dtype)
  for name in ('torch.storage.UntypedStorage', 'torch.UntypedStorage'):
    found[name] = _StorageType(name, 'uint8')
  for dtype in (*_STORAGE_DTYPES.values(), *_EXTRA_DTYPES):
    found[f'torch.{dtype}'] = _TorchDtype(f'torch.{dtype}', dtype)
  return found


TORCH_GLOBALS: dict[str, Global] = _torch_globals()


class _Storages:
  """The storages that the pickle of one file refers to, by key."""

  def __init__(self):
    self.by_key: dict[str, list[_Storage]] = {}

  def load(self, identity):
    """Persistent ids: ('storage', type, key, location, count[, view])."""
    if not isinstance(identity, tuple) or len(identity) not in (5, 6):
      raise MalformedPickleError('an unknown kind of persistent id')
    tag, kind, key, _, count, *view = identity
    if tag != 'storage' or not isinstance(key, str):
      raise MalformedPickleError('an unknown kind of persistent id')
    if not isinstance(kind, _StorageType):
      return Opaque(getattr(kind, 'name', 'storage'))
    known = self.by_key.setdefault(key, [])
    for storage in known:
      if storage.dtype == kind.dtype and storage.count == count:
        break
    else:
      storage = _Storage(kind.dtype, count)
      known.append(storage)
    if view and view[0] is not None:
      _, first, part = view[0]
      return storage.view(first, part)
    return storage


def is_torch_file(data: bytes) -> bool:
  """Whether the bytes start as torch.save writes them, old or new."""
  return data.startswith((_ZIP_START, _LEGACY_START))


def read_torch_bytes(data: bytes, find_global: Callable) -> object:
  """Unresolved object in a torch file.

  Args:
    data: the whole file.
    find_global: the allow-list.

  Raises:
    MalformedPickleError: if it is damaged or of a kind that is not read.
    UnsafePickleError: if it names something outside the allow-list.
  """
  if data.startswith(_ZIP_START):
    return _read_zip(data, find_global)
  return _read_legacy(data, find_global)


def _read_zip(data: bytes, find_global: Callable) -> object:
  try:
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
      return _read_archive(archive, len(data), find_global)
  except (MalformedPickleError, UnsafePickleError):
    raise
  except ZIP_DAMAGE as error:
    raise MalformedPickleError(f'a damaged zip archive: {error}') from error


def _read_archive(archive: zipfile.ZipFile, num_bytes: int, find_global):
  entries = {entry.filename: entry for entry in archive.infolist()}
  if sum(entry.file_size for entry in entries.values()) > num_bytes:
    raise MalformedPickleError('zip entries that are larger than the file')
  roots = [
    name.removesuffix('data.pkl')
    for name in entries
    if name.endswith('/data.pkl') and name.count('/') == 1
  ]
  if len(roots) != 1:
    raise MalformedPickleError('a zip archive that torch.save did not write')
  root = roots[0]
  if f'{root}constants.pkl' in entries:
    raise MalformedPickleError(
      'a TorchScript program; save its state_dict() with torch.save instead'
    )

  def read(name: str) -> bytes:
    entry = entries.get(root + name)
    if entry is None:
      raise MalformedPickleError(f'entry {name} is missing')
    # torch.save never compresses, so no entry can outgrow the file.
    if entry.compress_type != zipfile.ZIP_STORED:
      raise MalformedPickleError(f'entry {name} is compressed')
    return archive.read(entry)

  storages = _Storages()
  machine = PickleMachine(read('data.pkl'), find_global, storages.load)
  result = machine.run()
  big_endian = f'{root}byteorder' in entries and read('byteorder') == b'big'
  for key, group in storages.by_key.items():
    contents = read(f'data/{key}')
    for storage in group:
      storage.fill(contents, big_endian)
  return result


def _read_legacy(data: bytes, find_global: Callable) -> object:
  storages = _Storages()
  machine = PickleMachine(data, find_global, storages.load)
  if machine.run() != _MAGIC_NUMBER:
    raise MalformedPickleError('not a file that torch.save wrote')
  protocol, system, result, keys = (machine.run() for _ in range(4))
  if protocol != _LEGACY_PROTOCOL or not isinstance(system, dict):
    raise MalformedPickleError(f'torch file protocol {protocol} is not known')
  if not isinstance(keys, list):
    raise MalformedPickleError('a torch file without a list of storages')
  big_endian = system.get('little_endian') is False
  for key in keys:
    group = storages.by_key.get(key) if isinstance(key, str) else None
    if not group:
      raise MalformedPickleError('a storage to which nothing refers')
    _fill_from(machine, group, big_endian)
  return result


def _fill_from(machine, group: list[_Storage], big_endian: bool) -> None:
  """Reads one storage that follows the pickles: a count, then its bytes."""
  count = machine.take_number('>q' if big_endian else '<q')
  contents = machine.take(count * group[0].dtype.itemsize)
  for storage in group:
    storage.fill(contents, big_endian)
