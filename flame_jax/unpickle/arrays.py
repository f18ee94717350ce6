"""Stand-ins for numpy arrays, scipy sparse matrices and chumpy expressions.

Only what is found in files of head models and checkpoints is known. Each
function here is what a pickle's call of the original name does, with every
size checked against the bytes that are really there.
"""

from __future__ import annotations

import math
import re
from collections import OrderedDict

import numpy as np

from flame_jax.unpickle.opcodes import make_set
from flame_jax.unpickle.values import (
  Global,
  MalformedPickleError,
  OpaqueGlobal,
  StandIn,
)

# Boolean, integer, real and complex numbers; byte and text strings; objects.
_DTYPE = re.compile(r'[?biufcSUO]\d{0,6}')
_MAX_DIMENSIONS = 32


def check_shape(shape) -> tuple[int, ...]:
  """Shape as a tuple of non-negative ints, or MalformedPickleError."""
  if isinstance(shape, int):
    shape = (shape,)
  if (
    not isinstance(shape, tuple | list)
    or len(shape) > _MAX_DIMENSIONS
    or not all(isinstance(size, int) and size >= 0 for size in shape)
  ):
    raise MalformedPickleError(f'{shape!r:.80} is not an array shape')
  return tuple(int(size) for size in shape)


def array_from_bytes(data, dtype: np.dtype, shape, fortran: bool, resolver):
  """A new C-ordered, native-endian array; sizes must match to the byte."""
  shape = check_shape(shape)
  if isinstance(data, str):
    data = data.encode('latin1')  # Python 2 wrote its bytes as text
  if not isinstance(data, bytes):
    raise MalformedPickleError('array data that are not bytes')
  if not dtype.itemsize:
    raise MalformedPickleError('an array whose elements have no size')
  wanted = math.prod(shape) * dtype.itemsize
  if wanted != len(data):
    raise MalformedPickleError(
      f'an array of shape {shape} and dtype {dtype} needs {wanted} bytes,'
      f' the file has {len(data)}'
    )
  resolver.charge(wanted)
  if not wanted:
    return np.zeros(shape, dtype.newbyteorder('='))
  array = np.frombuffer(data, dtype)
  array = array.reshape(shape, order='F' if fortran else 'C')
  return array.astype(dtype.newbyteorder('='), order='C')


class _Dtype(StandIn):
  """A numpy dtype of plain elements."""

  def __init__(self, code='', align=False, copy=False):
    if not isinstance(code, str) or not _DTYPE.fullmatch(code):
      raise MalformedPickleError(f'dtype {code!r:.40} is not allowed')
    self.dtype = np.dtype(object if code[0] == 'O' else code)

  def set_state(self, state) -> None:
    if not isinstance(state, tuple) or len(state) < 5:
      raise MalformedPickleError('a dtype with an unknown state')
    _, byte_order, subarray, names, fields, *_ = state
    if any(part is not None for part in (subarray, names, fields)):
      raise MalformedPickleError('structured dtypes are not allowed')
    if byte_order not in ('<', '>', '=', '|'):
      raise MalformedPickleError(f'byte order {byte_order!r:.10} is unknown')
    self.dtype = self.dtype.newbyteorder(byte_order)

  def resolve(self, resolver):
    return self.dtype


def _plain_dtype(value) -> np.dtype:
  if not isinstance(value, _Dtype):
    raise MalformedPickleError('an array whose dtype is missing')
  return value.dtype


class _Array(StandIn):
  """A numpy array; it exists only once its state has been checked."""

  def __init__(self, state: tuple | None = None):
    self._state = state

  def set_state(self, state) -> None:
    # Versions before numpy 1.0 left the leading version number out.
    if not isinstance(state, tuple) or len(state) not in (4, 5):
      raise MalformedPickleError('an array with an unknown state')
    self._state = state[-4:]

  def resolve(self, resolver):
    if self._state is None:
      raise MalformedPickleError('an array without data')
    shape, dtype, fortran, data = self._state
    dtype = _plain_dtype(dtype)
    if dtype.hasobject:
      return self._resolve_objects(check_shape(shape), fortran, data, resolver)
    return array_from_bytes(data, dtype, shape, bool(fortran), resolver)

  def _resolve_objects(self, shape, fortran, items, resolver):
    if not isinstance(items, list) or len(items) != math.prod(shape):
      raise MalformedPickleError('an object array of the wrong length')
    flat = np.empty(len(items), object)
    result = flat.reshape(shape, order='F' if fortran else 'C')
    resolver.settle(self, result)
    for index, item in enumerate(items):
      flat[index] = resolver.resolve(item)
    return result


class _Scalar(StandIn):
  """One numpy number or string."""

  def __init__(self, dtype, data=b''):
    self._dtype = _plain_dtype(dtype)
    if self._dtype.hasobject:
      raise MalformedPickleError('an object scalar is not allowed')
    self._data = data

  def resolve(self, resolver):
    array = array_from_bytes(self._data, self._dtype, (), False, resolver)
    return array[()]


class _Sparse(StandIn):
  """A scipy sparse matrix; resolves to a dense array."""

  def __init__(self, *args):
    # scipy pickles by state; constructor arguments are no part of the format.
    self._state = None

  def set_state(self, state) -> None:
    if not isinstance(state, dict):
      raise MalformedPickleError('a sparse matrix with an unknown state')
    self._state = state

  def _part(self, resolver, *names):
    for name in names:
      if self._state and name in self._state:
        return resolver.resolve(self._state[name])
    raise MalformedPickleError(f'a sparse matrix without {names[0]}')

  def _coordinates(self, resolver, shape):
    """Row and column of every stored entry."""
    raise NotImplementedError

  def resolve(self, resolver):
    shape = check_shape(self._part(resolver, '_shape', 'shape'))
    data = self._part(resolver, 'data')
    if len(shape) != 2 or not isinstance(data, np.ndarray) or data.ndim != 1:
      raise MalformedPickleError('a sparse matrix that is not a matrix')
    if data.dtype.kind not in 'biuf':
      raise MalformedPickleError('a sparse matrix that holds no numbers')
    rows, columns = self._coordinates(resolver, shape)
    if not rows.shape == columns.shape == data.shape:
      raise MalformedPickleError('a sparse matrix of inconsistent lengths')
    for indices, size in ((rows, shape[0]), (columns, shape[1])):
      if indices.size and not 0 <= indices.min() <= indices.max() < size:
        raise MalformedPickleError('a sparse matrix with entries outside of it')
    resolver.charge(math.prod(shape) * data.dtype.itemsize)
    dense = np.zeros(shape, data.dtype)
    np.add.at(dense, (rows, columns), data)
    return dense


def _index_array(value, name: str) -> np.ndarray:
  if not isinstance(value, np.ndarray) or value.ndim != 1:
    raise MalformedPickleError(f'a sparse matrix whose {name} is no vector')
  if value.dtype.kind not in 'iu':
    raise MalformedPickleError(f'a sparse matrix with fractions in {name}')
  return value.astype(np.int64)


class _CompressedSparse(_Sparse):
  """Compressed rows (csr) or columns (csc)."""

  major = 0

  def _coordinates(self, resolver, shape):
    minor = _index_array(self._part(resolver, 'indices'), 'indices')
    starts = _index_array(self._part(resolver, 'indptr'), 'indptr')
    counts = np.diff(starts)
    if (
      len(starts) != shape[self.major] + 1
      or starts[0] != 0
      or starts[-1] != len(minor)
      or (counts < 0).any()
    ):
      raise MalformedPickleError('a sparse matrix with a wrong indptr')
    major = np.repeat(np.arange(len(counts)), counts)
    return (major, minor) if self.major == 0 else (minor, major)


class _ColumnSparse(_CompressedSparse):
  major = 1


class _CoordinateSparse(_Sparse):
  def _coordinates(self, resolver, shape):
    if self._state and 'coords' in self._state:
      pair = resolver.resolve(self._state['coords'])
      if not isinstance(pair, tuple) or len(pair) != 2:
        raise MalformedPickleError('a sparse matrix with unknown coordinates')
    else:
      pair = (self._part(resolver, 'row'), self._part(resolver, 'col'))
    return tuple(_index_array(part, 'coordinates') for part in pair)


class ChumpyExpression(StandIn):
  """A node of a chumpy expression that has no value of its own.

  Attributes:
    name: the chumpy class.
  """

  def __init__(self, name: str):
    self.name = name
    self._state = {}

  def __repr__(self):
    return f'<{self.name}, an expression without a stored value>'

  def set_state(self, state) -> None:
    """Takes the attribute dict."""
    if not isinstance(state, dict):
      raise MalformedPickleError(f'{self.name} with an unknown state')
    self._state = state

  def resolve(self, resolver):
    """Stays an expression: chumpy itself would be needed to evaluate it."""
    return self

  def array(self, resolver, name: str) -> np.ndarray | None:
    """Attribute `name` as an array of numbers, None if it is none."""
    value = resolver.resolve(self._state.get(name))
    if isinstance(value, int | float | list):
      value = np.asarray(value)
    if not isinstance(value, np.ndarray) or value.dtype.kind not in 'biuf':
      return None
    return value


class _ChumpyArray(ChumpyExpression):
  """chumpy.Ch: an array, in attribute `x`."""

  def resolve(self, resolver):
    value = self.array(resolver, 'x')
    return self if value is None else value


class _ChumpySelect(ChumpyExpression):
  """chumpy's indexing: entries `idxs` of `a`, perhaps reshaped."""

  def resolve(self, resolver):
    source = self.array(resolver, 'a')
    indices = self.array(resolver, 'idxs')
    if source is None or indices is None:
      return self
    source, indices = source.reshape(-1), indices.reshape(-1)
    if indices.dtype.kind not in 'iu' or (
      indices.size and not 0 <= indices.min() <= indices.max() < source.size
    ):
      raise MalformedPickleError(f'{self.name} selects what is not there')
    resolver.charge(indices.size * source.itemsize)
    shape = resolver.resolve(self._state.get('preferred_shape'))
    selected = source[indices]
    return selected if shape is None else selected.reshape(check_shape(shape))


def _reconstruct_array(subtype, shape=(0,), code=b'b'):
  if not isinstance(subtype, Global):
    raise MalformedPickleError('an array of an unknown kind')
  return _Array()


def _array_from_buffer(buffer, dtype, shape, order='C'):
  return _Array((shape, dtype, order == 'F', buffer))


def _reconstruct_instance(kind, base=None, state=None):
  """copyreg._reconstructor for classes that derive from object alone."""
  if isinstance(kind, OpaqueGlobal):
    return kind.construct()
  if (
    not isinstance(kind, Global)
    or getattr(base, 'name', '').rsplit('.', 1)[-1] != 'object'
    or state is not None
  ):
    raise MalformedPickleError('an object of an unknown layout')
  return kind.construct()


def _encode(text='', encoding='utf-8', errors='strict') -> bytes:
  # numpy and bytes in protocols 0 to 2 are written as Latin-1 text.
  if encoding not in ('latin1', 'latin-1') or not isinstance(text, str):
    raise MalformedPickleError('text in an unexpected encoding')
  return text.encode('latin1')


def _ordered_dict(pairs=()):
  result = OrderedDict()
  for key, value in pairs:
    make_set([key])
    result[key] = value
  return result


def _array_globals() -> dict[str, Global]:
  rules = {
    'numpy.ndarray': None,
    'numpy.matrix': None,
    'numpy.matrixlib.defmatrix.matrix': None,
    'numpy.dtype': _Dtype,
    '_codecs.encode': _encode,
    'collections.OrderedDict': _ordered_dict,
    'collections.defaultdict': lambda factory=None: {},
  }
  for core in ('numpy.core', 'numpy._core'):
    rules[f'{core}.multiarray._reconstruct'] = _reconstruct_array
    rules[f'{core}.multiarray.scalar'] = _Scalar
    rules[f'{core}.numeric._frombuffer'] = _array_from_buffer
  for builtins in ('__builtin__', 'builtins'):
    rules[f'{builtins}.object'] = None
    rules[f'{builtins}.set'] = make_set
    rules[f'{builtins}.frozenset'] = lambda values=(): make_set(
      values, frozenset
    )
    rules[f'{builtins}.complex'] = complex
    rules[f'{builtins}.bytes'] = lambda: b''
  for copyreg in ('copy_reg', 'copyreg'):
    rules[f'{copyreg}._reconstructor'] = _reconstruct_instance
  kinds = {
    'csc': _ColumnSparse,
    'csr': _CompressedSparse,
    'coo': _CoordinateSparse,
  }
  for kind, stand_in in kinds.items():
    for module in (kind, f'_{kind}'):
      rules[f'scipy.sparse.{module}.{kind}_matrix'] = stand_in
      rules[f'scipy.sparse.{module}.{kind}_array'] = stand_in
  return {name: Global(name, rule) for name, rule in rules.items()}


_CHUMPY_VALUES = {
  'chumpy.ch.Ch': _ChumpyArray,
  'chumpy.Ch': _ChumpyArray,
  'chumpy.reordering.Select': _ChumpySelect,
}
# Expressions seen in body-model files, in fields that no head model needs.
_CHUMPY_EXPRESSIONS = (
  'chumpy.ch.MatVecMult',
  'chumpy.ch_ops.add',
  'chumpy.ch_ops.divide',
  'chumpy.ch_ops.multiply',
  'chumpy.ch_ops.subtract',
  'chumpy.reordering.Reshape',
  'chumpy.reordering.concatenate',
  'chumpy.reordering.ravel',
  'chumpy.reordering.reshape',
  'chumpy.reordering.transpose',
)


def _chumpy_globals() -> dict[str, Global]:
  """Chumpy classes; constructor arguments are no part of their pickles."""
  found = {}
  for name in (*_CHUMPY_VALUES, *_CHUMPY_EXPRESSIONS):
    kind = _CHUMPY_VALUES.get(name, ChumpyExpression)
    found[name] = Global(name, lambda *args, kind=kind, name=name: kind(name))
  return found


ARRAY_GLOBALS: dict[str, Global] = {**_array_globals(), **_chumpy_globals()}
