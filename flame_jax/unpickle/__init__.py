"""Reads pickles of head models and checkpoints without running anything.

FLAME's files and PyTorch checkpoints are pickles, and a pickle is a program
that may call anything. The reader here interprets them itself: classes and
functions on an allow-list (numpy, scipy.sparse, chumpy, torch tensors, plain
containers) have data-only stand-ins of ours, everything else is refused by
name. Neither chumpy, scipy nor PyTorch is imported.
"""

from __future__ import annotations

import io
import os
import pathlib
import tokenize
import zipfile

import numpy as np

from flame_jax.unpickle.arrays import ARRAY_GLOBALS, array_from_bytes
from flame_jax.unpickle.machine import PickleMachine
from flame_jax.unpickle.torch_tensors import (
  TORCH_GLOBALS,
  is_torch_file,
  read_torch_bytes,
)
from flame_jax.unpickle.values import (
  DAMAGE,
  ZIP_DAMAGE,
  Global,
  MalformedPickleError,
  Opaque,
  OpaqueGlobal,
  Resolver,
  UnsafePickleError,
)

__all__ = [
  'MalformedPickleError',
  'Opaque',
  'UnsafePickleError',
  'is_torch_file',
  'read_restricted_npy',
  'read_restricted_npz',
  'read_restricted_pickle',
  'read_restricted_torch',
]

# Torch files inside pickles inside torch files: real ones nest once.
_MAX_NESTING = 3
# Sparse matrices grow when they become dense; more than this is an attack.
_BYTES_BEYOND_FILE = 1 << 28
_GROWTH = 4
_MAX_UNPACKED_BYTES = 1 << 31


class _AllowList:
  """Maps (module, name) to stand-ins; the only door out of a pickle."""

  def __init__(self, skip_unknown: bool = False, nesting: int = 0):
    self._skip_unknown = skip_unknown
    self._nesting = nesting

  def __call__(self, module: str, name: str) -> Global:
    full_name = f'{module}.{name}'
    if full_name == 'torch.storage._load_from_bytes':
      return Global(full_name, self._load_from_bytes)
    for table in (ARRAY_GLOBALS, TORCH_GLOBALS):
      if full_name in table:
        return table[full_name]
    if self._skip_unknown:
      return OpaqueGlobal(full_name)
    raise UnsafePickleError(
      f'refers to {full_name}, which is not on the allow-list of array and'
      ' container classes; nothing was executed',
      full_name,
    )

  def _load_from_bytes(self, data=b''):
    if isinstance(data, str):
      data = data.encode('latin1')
    if self._nesting >= _MAX_NESTING or not isinstance(data, bytes):
      raise MalformedPickleError('torch bytes that are no torch file')
    inner = _AllowList(self._skip_unknown, self._nesting + 1)
    return read_torch_bytes(data, inner)


def _read_source(source) -> bytes:
  if isinstance(source, str | os.PathLike):
    return pathlib.Path(source).read_bytes()
  return bytes(source)


def _resolve(value, num_bytes: int):
  resolver = Resolver(_GROWTH * num_bytes + _BYTES_BEYOND_FILE)
  try:
    return resolver.resolve(value)
  except MalformedPickleError:
    raise
  except DAMAGE as error:
    raise MalformedPickleError(f'damaged contents: {error}') from error


def read_restricted_pickle(source, *, skip_unknown: bool = False):
  """Reads a pickle of any protocol that holds plain data and arrays.

  Args:
    source: a path, or the bytes of the file.
    skip_unknown: put an `Opaque` placeholder, never constructed, in the place
      of every object whose class is not on the allow-list, instead of
      refusing the file.

  Returns:
    The object: numbers, strings, containers and numpy arrays. Sparse matrices
    and chumpy arrays come as dense numpy arrays, torch tensors as numpy
    arrays, Python 2 byte strings as text (Latin-1).

  Raises:
    UnsafePickleError: if a class or function outside the allow-list is named.
    MalformedPickleError: if the file is truncated, damaged or no pickle.
    OSError: if the path cannot be read.

  Example:
    `read_restricted_pickle('generic_model.pkl')['v_template']`
  """
  data = _read_source(source)
  machine = PickleMachine(data, _AllowList(skip_unknown))
  return _resolve(machine.run(), len(data))


def read_restricted_torch(source, *, skip_unknown: bool = False):
  """Reads a file written by torch.save, zip archive or older.

  Args:
    source: a path, or the bytes of the file.
    skip_unknown: as in `read_restricted_pickle`.

  Returns:
    The saved object with numpy arrays for tensors (bfloat16 by ml_dtypes).

  Raises:
    UnsafePickleError: if a class or function outside the allow-list is named.
    MalformedPickleError: if the file is damaged or not of torch.save.
    OSError: if the path cannot be read.
  """
  data = _read_source(source)
  value = read_torch_bytes(data, _AllowList(skip_unknown))
  return _resolve(value, len(data))


def read_restricted_npy(source):
  """Reads a .npy file; pickled object arrays go through the restricted reader.

  Args:
    source: a path, or the bytes of the file.

  Returns:
    The array. A file that holds one Python object (numpy.save of a dict)
    gives that object.

  Raises:
    UnsafePickleError: if it pickles something outside the allow-list.
    MalformedPickleError: if it is damaged or no .npy file.
    OSError: if the path cannot be read.
  """
  data = _read_source(source)
  stream = io.BytesIO(data)
  try:
    version = np.lib.format.read_magic(stream)
    read_header = {
      (1, 0): np.lib.format.read_array_header_1_0,
      (2, 0): np.lib.format.read_array_header_2_0,
    }[version]
    shape, fortran, dtype = read_header(stream)
  except (*DAMAGE, SyntaxError, tokenize.TokenError) as error:
    raise MalformedPickleError(f'not a readable .npy file: {error}') from error
  payload = data[stream.tell() :]
  if dtype.hasobject:
    value = read_restricted_pickle(payload)
    single = isinstance(value, np.ndarray) and value.shape == ()
    return value[()] if single else value
  if dtype.kind not in 'biufcSU':
    raise MalformedPickleError(f'dtype {dtype} is not allowed')
  try:
    resolver = Resolver(len(data))
    return array_from_bytes(payload, dtype, shape, fortran, resolver)
  except MalformedPickleError:
    raise
  except DAMAGE as error:
    raise MalformedPickleError(f'not a readable .npy file: {error}') from error


def read_restricted_npz(path) -> dict[str, np.ndarray]:
  """Reads an .npz file, each array as `read_restricted_npy` does.

  Args:
    path: the file.

  Returns:
    Arrays by name.

  Raises:
    UnsafePickleError: if it pickles something outside the allow-list.
    MalformedPickleError: if it is damaged, no .npz file, or unpacks to more
      than 2 GiB.
    OSError: if the path cannot be opened.
  """
  try:
    with open(path, 'rb') as stream, zipfile.ZipFile(stream) as archive:
      entries = archive.infolist()
      if sum(entry.file_size for entry in entries) > _MAX_UNPACKED_BYTES:
        raise MalformedPickleError(
          f'unpacks to more than {_MAX_UNPACKED_BYTES} bytes'
        )
      return {
        entry.filename.removesuffix('.npy'): read_restricted_npy(
          archive.read(entry)
        )
        for entry in entries
      }
  except (MalformedPickleError, UnsafePickleError):
    raise
  except ZIP_DAMAGE as error:
    raise MalformedPickleError(f'damaged .npz: {error}') from error
