"""Checks raw arrays of a head model file and makes `FlameAssets` of them.

Every check adds to one list of problems instead of raising, so that a user who
has the wrong file learns everything about it at once.
"""

from __future__ import annotations

from collections.abc import Mapping

import jax.numpy as jnp
import numpy as np

from flame_jax.assets import (
  NUM_CONTOUR,
  NUM_CONTOUR_ROWS,
  NUM_JOINTS,
  NUM_LANDMARKS,
  PARENTS,
  FlameAssets,
  LandmarkEmbedding,
)

FLAME_SHAPE_COEFFICIENTS = 300
FLAME_EXPRESSION_COEFFICIENTS = 100

_NUM_STATIC = NUM_LANDMARKS - NUM_CONTOUR
_NUM_CORRECTIVES = 9 * (NUM_JOINTS - 1)
# The layer's skinning relies on weights that sum to one.
_SUM_TOLERANCE = 1e-4
# FLAME writes the parent of the root as the largest uint32.
_NO_PARENT = (-1, 2**32 - 1)

# Asset field -> its name in FLAME's own model files, where they differ.
FLAME_NAMES = {'faces': 'f', 'lbs_weights': 'weights'}
# Marks a field whose problem has been noted already.
_REPORTED = object()
_EMBEDDING_SHAPES = {
  'static': (_NUM_STATIC,),
  'dynamic': (NUM_CONTOUR_ROWS, NUM_CONTOUR),
  'full': (NUM_LANDMARKS,),
}


class FieldReader:
  """Takes arrays out of a mapping and notes what is wrong with them.

  Args:
    fields: name -> array, as read from a file.
    source: what to call the file in messages.
    problems: list that messages are appended to.
  """

  def __init__(self, fields: Mapping, source: str, problems: list[str]):
    self._fields = fields
    self._source = source
    self._problems = problems

  def __contains__(self, name: str) -> bool:
    return name in self._fields

  def complain(self, message: str) -> None:
    """Notes a problem of this file."""
    self._problems.append(f'{self._source}: {message}')

  def array(self, name: str, shape: tuple, *, integer: bool = False):
    """The field as float32 or int64 array, or None after a complaint.

    Args:
      name: field name.
      shape: sizes; a string stands for any size.
      integer: whether indices are wanted.
    """
    if name not in self._fields:
      self.complain(f'{name} is missing')
      return None
    value = self._fields[name]
    if value is _REPORTED:
      return None
    if not isinstance(value, np.ndarray):
      self.complain(f'{name} is {value!r:.80}, not an array')
      return None
    kinds, wanted = ('iu', 'integers') if integer else ('fiu', 'real numbers')
    if value.dtype.kind not in kinds:
      self.complain(f'{name} has dtype {value.dtype}, wanted {wanted}')
      return None
    fits = len(shape) == value.ndim and all(
      not isinstance(size, int) or size == given
      for size, given in zip(shape, value.shape, strict=False)
    )
    if not fits:
      text = ', '.join(str(size) for size in shape)
      self.complain(f'{name} has shape {list(value.shape)}, wanted [{text}]')
      return None
    if integer:
      return value.astype(np.int64)
    value = value.astype(np.float32)
    if not np.isfinite(value).all():
      count = int((~np.isfinite(value)).sum())
      self.complain(f'{name} has {count} values that are not finite')
      return None
    return value

  def indices(self, name: str, shape: tuple, limit: int | None):
    """An int32 index array with entries in [0, limit)."""
    value = self.array(name, shape, integer=True)
    if value is None or limit is None:
      return None
    if value.size and not 0 <= value.min() <= value.max() < limit:
      self.complain(
        f'{name} has indices from {value.min()} to {value.max()}, wanted'
        f' 0 to {limit - 1}'
      )
      return None
    return value.astype(np.int32)

  def fractions(self, name: str, shape: tuple):
    """A float32 array whose last dimension sums to one."""
    value = self.array(name, shape)
    if value is None:
      return None
    sums = value.sum(axis=-1, dtype=np.float64)
    if value.size and np.abs(sums - 1).max() > _SUM_TOLERANCE:
      self.complain(
        f'{name} has rows that sum to {sums.min():.4g} .. {sums.max():.4g},'
        ' wanted 1'
      )
      return None
    return value


def split_flame_fields(
  raw: Mapping, source: str, num_shape: int | None, problems: list[str]
) -> dict:
  """Checks what only FLAME's own files have and splits their `shapedirs`."""
  fields = {**raw, 'shapedirs': _REPORTED, 'expressiondirs': _REPORTED}
  reader = FieldReader(raw, source, problems)
  _check_parents(reader)
  basis = reader.array('shapedirs', ('V', 3, 'S'))
  if basis is None:
    return fields
  width = basis.shape[-1]
  standard = FLAME_SHAPE_COEFFICIENTS + FLAME_EXPRESSION_COEFFICIENTS
  if num_shape is None and width != standard:
    reader.complain(
      f'shapedirs has {width} coefficients where FLAME has {standard}; say how'
      ' many of them are shape with num_shape=...'
    )
    return fields
  split = FLAME_SHAPE_COEFFICIENTS if num_shape is None else num_shape
  if not 0 <= split <= width:
    reader.complain(f'num_shape is {split}, must be 0 to {width}')
    return fields
  fields['shapedirs'] = basis[..., :split]
  fields['expressiondirs'] = basis[..., split:]
  return fields


def _check_parents(reader: FieldReader) -> None:
  table = reader.array('kintree_table', (2, NUM_JOINTS), integer=True)
  if table is None:
    return
  root, *rest = table[0].tolist()
  if root not in _NO_PARENT or tuple(rest) != PARENTS[1:]:
    reader.complain(
      f'kintree_table has parents {[root, *rest]}, wanted {list(PARENTS)}'
      ' (global, neck, jaw, left eye, right eye)'
    )


def make_assets(
  fields: Mapping,
  source: str,
  problems: list[str],
  names: Mapping[str, str] | None = None,
) -> FlameAssets | None:
  """Checked assets without landmarks, or None after a complaint.

  Args:
    fields: arrays by field name.
    source: what to call the file in messages.
    problems: list that messages are appended to.
    names: asset field -> its name in the file, where they differ.
  """
  names = names or {}
  faces_name = names.get('faces', 'faces')
  weights_name = names.get('lbs_weights', 'lbs_weights')
  reader = FieldReader(fields, source, problems)
  template = reader.array('v_template', ('V', 3))
  count = 'V' if template is None else len(template)
  limit = None if template is None else count
  arrays = {
    'v_template': template,
    'faces': reader.indices(faces_name, ('F', 3), limit),
    'shapedirs': reader.array('shapedirs', (count, 3, 'S')),
    'expressiondirs': reader.array('expressiondirs', (count, 3, 'E')),
    'posedirs': reader.array('posedirs', (count, 3, _NUM_CORRECTIVES)),
    'J_regressor': reader.array('J_regressor', (NUM_JOINTS, count)),
    'lbs_weights': reader.fractions(weights_name, (count, NUM_JOINTS)),
  }
  complete = all(array is not None for array in arrays.values())
  colors = None
  if 'vertex_colors' in reader:
    colors = reader.array('vertex_colors', (count, 3))
    complete = complete and colors is not None
  if not complete:
    return None
  arrays = {key: jnp.asarray(array) for key, array in arrays.items()}
  return FlameAssets(
    **arrays,
    vertex_colors=None if colors is None else jnp.asarray(colors),
  )


def make_embedding(
  fields: Mapping,
  source: str,
  num_faces: int | None,
  problems: list[str],
  pattern: tuple[str, str],
) -> LandmarkEmbedding | None:
  """Checked landmark embedding, or None after a complaint.

  Args:
    fields: arrays by name.
    source: what to call the file in messages.
    num_faces: F of the model, or None if the model could not be read.
    problems: list that messages are appended to.
    pattern: names of face and barycentric fields, `{}` for the set's name.
  """
  fields = dict(fields)
  sets = ['static', 'dynamic']
  if pattern[0].format('full') in fields:
    sets.append('full')
    for text in pattern:
      # Files in the wild carry a leading 1 here.
      value = fields.get(text.format('full'))
      if isinstance(value, np.ndarray) and value.shape[:1] == (1,):
        fields[text.format('full')] = value[0]
  reader = FieldReader(fields, source, problems)
  found = {}
  for name in sets:
    shape = _EMBEDDING_SHAPES[name]
    faces, weights = (text.format(name) for text in pattern)
    found[f'{name}_faces'] = reader.indices(faces, shape, num_faces)
    found[f'{name}_barycentric'] = reader.fractions(weights, (*shape, 3))
  if any(value is None for value in found.values()):
    return None
  return LandmarkEmbedding(
    **{name: jnp.asarray(value) for name, value in found.items()}
  )
