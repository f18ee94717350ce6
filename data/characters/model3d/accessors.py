"""Arrays of numbers out of a glTF document.

Source: glTF 2.0 specification, section "Accessors".
"""

from __future__ import annotations

import numpy as np

from data.characters.model3d import errors
from data.characters.model3d.container import Container, at
from data.characters.model3d.errors import Fault

_DTYPES = {
  5120: np.int8,
  5121: np.uint8,
  5122: np.int16,
  5123: np.uint16,
  5125: np.uint32,
  5126: np.float32,
}
_WIDTHS = {'SCALAR': 1, 'VEC2': 2, 'VEC3': 3, 'VEC4': 4, 'MAT4': 16}


def _strided(
  container: Container,
  view_index: int,
  offset: int,
  dtype: np.dtype,
  count: int,
  width: int,
) -> np.ndarray:
  """[count, width] numbers of a buffer view, which may be interleaved."""
  data, stride = container.view(view_index)
  size = dtype.itemsize * width
  stride = stride or size
  if stride < size or offset < 0:
    raise Fault(f'buffer view {view_index} has a broken stride or offset')
  if count and offset + (count - 1) * stride + size > len(data):
    raise Fault(
      f'an accessor wants {count} elements, more than buffer view '
      f'{view_index} holds',
      'download or export it again',
    )
  return np.ndarray(
    (count, width), dtype, data, offset, (stride, dtype.itemsize)
  )


def _dtype(component: int) -> np.dtype:
  if component not in _DTYPES:
    raise Fault(f'an accessor has the unknown component type {component!r}')
  return np.dtype(_DTYPES[component]).newbyteorder('<')


def _real(values: np.ndarray) -> np.ndarray:
  """Normalized integers as the fractions that they stand for."""
  limit = np.iinfo(values.dtype).max
  return np.maximum(values.astype(np.float32) / limit, -1)


class AccessorReader:
  """Reads accessors of one container, each once, within a budget."""

  def __init__(self, container: Container):
    self._container = container
    self._cache: dict[int, np.ndarray] = {}
    self._left = errors.MAX_VALUES

  def _spend(self, count: int, width: int) -> None:
    if isinstance(count, bool) or not isinstance(count, int) or count < 0:
      raise Fault(f'an accessor has {count!r} elements')
    self._left -= count * width
    if self._left < 0:
      raise Fault(
        f'it holds more than {errors.MAX_VALUES} numbers',
        'reduce the model (fewer vertices or morph targets)',
      )

  def read(self, index: int, width: int, what: str) -> np.ndarray:
    """Numbers of an accessor.

    Args:
      index: of the accessor.
      width: components an element must have.
      what: what the numbers are, for messages.

    Returns:
      [count, width] array: float32 for floats and normalized integers, the
      file's integer type otherwise.

    Raises:
      Fault: if the accessor is broken, or holds numbers that are not finite.
    """
    if index not in self._cache:
      self._cache[index] = self._read(index, what)
    values = self._cache[index]
    if values.shape[1] != width:
      raise Fault(f'{what} has {values.shape[1]} components, wanted {width}')
    return values

  def _read(self, index: int, what: str) -> np.ndarray:
    accessor = at(self._container.gltf.accessors, index, 'accessor')
    width = _WIDTHS.get(accessor.type)
    if width is None:
      raise Fault(f'{what}: accessor type {accessor.type!r} is not supported')
    dtype = _dtype(accessor.componentType)
    count = accessor.count
    self._spend(count, width)
    if accessor.bufferView is None:
      values = np.zeros((count, width), dtype)
    else:
      values = _strided(
        self._container,
        accessor.bufferView,
        accessor.byteOffset or 0,
        dtype,
        count,
        width,
      )
    if accessor.sparse is not None:
      values = self._sparse(values, accessor.sparse)
    if accessor.normalized and dtype.kind in 'iu':
      values = _real(values)
    if values.dtype.kind == 'f':
      values = values.astype(np.float32)
      if not np.all(np.isfinite(values)):
        raise Fault(f'{what} holds numbers that are not finite')
    return values

  def _sparse(self, values: np.ndarray, sparse) -> np.ndarray:
    count, width = sparse.count, values.shape[1]
    self._spend(count, width + 1)
    place = _strided(
      self._container,
      sparse.indices.bufferView,
      sparse.indices.byteOffset or 0,
      _dtype(sparse.indices.componentType),
      count,
      1,
    )[:, 0].astype(np.int64)
    if count and (place.min() < 0 or place.max() >= len(values)):
      raise Fault('a sparse accessor writes beyond its end')
    replacement = _strided(
      self._container,
      sparse.values.bufferView,
      sparse.values.byteOffset or 0,
      values.dtype,
      count,
      width,
    )
    values = values.copy()
    values[place] = replacement
    return values
