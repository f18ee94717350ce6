"""Human expression codes in memory: one clip, and a table of many people.

Names follow FLAME and DECA: a code is shape 100, expression 50, global pose 3
and jaw pose 3 (axis-angle, radians), plus DECA's camera (scale, x, y).
"""

from __future__ import annotations

import dataclasses
import itertools
import os
from collections.abc import Iterable, Mapping

import numpy as np

from data import files, pose_vector

FLAME_SPACE = 'flame'
PROCEDURAL_SPACE = 'procedural'

NUM_SHAPE = 100
NUM_EXPRESSION = 50

# Last dimension of every per-frame array of a clip.
CLIP_FIELDS: dict[str, int] = {
  'expression': NUM_EXPRESSION,
  'jaw_pose': 3,
  'global_pose': 3,
  'shape': NUM_SHAPE,
  'camera': 3,
  'true_pose_coeffs': pose_vector.NUM_COEFFICIENTS,
}
TABLE_FIELDS = ('expression', 'jaw_pose', 'global_pose', 'true_pose_coeffs')
OPTIONAL_FIELD = 'true_pose_coeffs'


class CodesError(ValueError):
  """Codes that break a rule; the message lists every problem found."""


def _array_problems(
  name: str, value: np.ndarray, num_frames: int | None
) -> list[str]:
  """What is wrong with one per-frame array, in words."""
  width = CLIP_FIELDS[name]
  if value.ndim != 2 or value.shape[1] != width:
    return [f'{name} is {list(value.shape)}, wanted [T, {width}]']
  problems = []
  if num_frames is not None and len(value) != num_frames:
    problems.append(f'{name} has {len(value)} frames, wanted {num_frames}')
  bad = np.flatnonzero(~np.isfinite(value).all(axis=1))
  if bad.size:
    problems.append(
      f'{name} has NaN or inf in {bad.size} frames (first: frame {bad[0]})'
    )
  elif name == OPTIONAL_FIELD and value.size:
    low, high = value.min(), value.max()
    if low < 0 or high > 1:
      problems.append(f'{name} spans [{low:g}, {high:g}], wanted [0, 1]')
  return problems


def _to_float32(value: object) -> np.ndarray:
  try:
    with np.errstate(over='ignore'):  # Becomes inf, which is then reported.
      return np.ascontiguousarray(value, dtype=np.float32)
  except (TypeError, ValueError) as error:
    raise CodesError(f'codes must be numbers: {error}') from error


def _convert_fields(owner: object, names: Iterable[str]) -> None:
  """Casts array fields of a frozen dataclass to contiguous float32."""
  for name in names:
    value = getattr(owner, name)
    if value is not None:
      object.__setattr__(owner, name, _to_float32(value))


def _space_problems(expression_space: object) -> list[str]:
  if isinstance(expression_space, str) and expression_space:
    return []
  return [
    f'expression_space is {expression_space!r}, wanted a name such as '
    f'{FLAME_SPACE!r} or {PROCEDURAL_SPACE!r}'
  ]


def _raise_if_any(what: str, problems: list[str]) -> None:
  if problems:
    raise CodesError(f'{what}: ' + '; '.join(problems))


@dataclasses.dataclass(frozen=True, eq=False)
class CodeClip:
  """The codes of one video of one person, frame by frame.

  Arrays are cast to float32 and checked when the clip is made.

  Attributes:
    identity: who it is; clips of one person share it.
    name: which video it is.
    frames: T frame names without suffix, in order of time.
    expression: [T, 50] float32 expression code psi.
    jaw_pose: [T, 3] float32, axis-angle radians.
    global_pose: [T, 3] float32, axis-angle radians.
    shape: [T, 100] float32 shape code beta.
    camera: [T, 3] float32 orthographic camera (scale, x, y).
    true_pose_coeffs: [T, 17] float32 in [0, 1], known only where the project
      made the codes itself; else None.
    expression_space: whose expression basis the codes belong to: `flame` for
      DECA's, `procedural` for codes that the project makes.

  Raises:
    CodesError: with all problems, on wrong shapes, NaN, no frames.
  """

  identity: str
  name: str
  frames: tuple[str, ...]
  expression: np.ndarray
  jaw_pose: np.ndarray
  global_pose: np.ndarray
  shape: np.ndarray
  camera: np.ndarray
  true_pose_coeffs: np.ndarray | None = None
  expression_space: str = FLAME_SPACE

  def __post_init__(self):
    object.__setattr__(self, 'frames', tuple(str(f) for f in self.frames))
    _convert_fields(self, CLIP_FIELDS)
    problems = _space_problems(self.expression_space)
    for name in ('identity', 'name'):
      if not getattr(self, name):
        problems.append(f'{name} is empty')
    if not self.frames:
      problems.append('the clip has no frames')
    for name, value in self.arrays().items():
      problems.extend(_array_problems(name, value, len(self.frames)))
    _raise_if_any(f'clip {self.name!r}', problems)

  @property
  def num_frames(self) -> int:
    """Number of frames T."""
    return len(self.frames)

  def arrays(self) -> dict[str, np.ndarray]:
    """Every per-frame array that the clip has, by field name."""
    values = {name: getattr(self, name) for name in CLIP_FIELDS}
    return {name: v for name, v in values.items() if v is not None}

  def flame_code(self) -> np.ndarray:
    """The whole FLAME code.

    Returns:
      [T, 156] float32: shape 100, expression 50, global pose 3, jaw pose 3.
    """
    parts = (self.shape, self.expression, self.global_pose, self.jaw_pose)
    return np.concatenate(parts, axis=1)

  def save(self, path: str | os.PathLike) -> None:
    """Writes the clip to an `.npz`, atomically."""
    files.write_npz(path, clip_to_arrays(self))

  @classmethod
  def load(cls, path: str | os.PathLike) -> CodeClip:
    """Reads a clip that `save` wrote.

    Args:
      path: an `.npz` file.

    Returns:
      The clip.

    Raises:
      files.BrokenFileError: if the file is no readable `.npz`.
      CodesError: if it is not a saved clip or its codes are broken.
    """
    stored = files.read_npz(path)
    _require_kind(path, stored, 'code_clip')
    return clip_from_arrays(stored)


def clip_to_arrays(clip: CodeClip) -> dict[str, np.ndarray]:
  """What `CodeClip.save` stores: per-frame arrays, names, the space.

  Args:
    clip: the clip.

  Returns:
    Field name to array, none of them of Python objects.
  """
  return {
    'kind': np.array('code_clip'),
    'identity': np.array(clip.identity),
    'name': np.array(clip.name),
    'frames': np.array(clip.frames),
    'expression_space': np.array(clip.expression_space),
    **clip.arrays(),
  }


def clip_from_arrays(stored: Mapping[str, np.ndarray]) -> CodeClip:
  """Builds a clip from the arrays that `CodeClip.save` names.

  Args:
    stored: field name to array.

  Returns:
    The clip.

  Raises:
    CodesError: if a field is missing or broken.
  """
  needed = [*CLIP_FIELDS, 'identity', 'name', 'frames', 'expression_space']
  needed.remove(OPTIONAL_FIELD)
  missing = [name for name in needed if name not in stored]
  _raise_if_any('clip', [f'{name} is missing' for name in missing])
  arrays = {name: stored[name] for name in CLIP_FIELDS if name in stored}
  return CodeClip(
    identity=str(stored['identity']),
    name=str(stored['name']),
    frames=tuple(stored['frames'].tolist()),
    expression_space=str(stored['expression_space']),
    **arrays,
  )


@dataclasses.dataclass(frozen=True, eq=False)
class CodeTable:
  """The codes of many people in memory, frames sorted by identity.

  The frames of identity i are rows `identity_offsets[i]` to
  `identity_offsets[i + 1]`. Arrays are cast and checked when it is made.

  Attributes:
    expression: [N, 50] float32.
    jaw_pose: [N, 3] float32, axis-angle radians.
    global_pose: [N, 3] float32, axis-angle radians.
    true_pose_coeffs: [N, 17] float32 in [0, 1], or None.
    identity_names: I names, ascending, no name twice.
    identity_offsets: [I + 1] int64, from 0 to N, strictly ascending.
    expression_space: whose expression basis the codes belong to.

  Raises:
    CodesError: with all problems, on wrong shapes, NaN, no frames.
  """

  expression: np.ndarray
  jaw_pose: np.ndarray
  global_pose: np.ndarray
  true_pose_coeffs: np.ndarray | None
  identity_names: tuple[str, ...]
  identity_offsets: np.ndarray
  expression_space: str

  def __post_init__(self):
    names = tuple(str(n) for n in self.identity_names)
    object.__setattr__(self, 'identity_names', names)
    offsets = np.asarray(self.identity_offsets)
    if offsets.dtype.kind in 'iu':
      offsets = offsets.astype(np.int64)
    object.__setattr__(self, 'identity_offsets', offsets)
    _convert_fields(self, TABLE_FIELDS)
    problems = _space_problems(self.expression_space)
    problems += self._identity_problems()
    if not len(self.expression):
      problems.append('the table has no frames')
    num_frames = len(self.expression)
    for name, value in self.arrays().items():
      problems.extend(_array_problems(name, value, num_frames))
    _raise_if_any('code table', problems)

  def _identity_problems(self) -> list[str]:
    names, offsets = self.identity_names, self.identity_offsets
    problems = []
    if any(a >= b for a, b in itertools.pairwise(names)):
      problems.append('identity_names are not ascending without repeats')
    if offsets.dtype != np.int64 or offsets.shape != (len(names) + 1,):
      problems.append(
        f'identity_offsets is {offsets.dtype} {list(offsets.shape)}, '
        f'wanted int64 [{len(names) + 1}]'
      )
    elif (
      offsets[0] != 0
      or offsets[-1] != len(self.expression)
      or (np.diff(offsets) <= 0).any()
    ):
      problems.append(
        'identity_offsets must rise from 0 to the number of frames '
        f'({len(self.expression)}) with at least one frame each'
      )
    return problems

  @property
  def num_frames(self) -> int:
    """Number of frames N of all identities."""
    return len(self.expression)

  @property
  def num_identities(self) -> int:
    """Number of identities I."""
    return len(self.identity_names)

  def arrays(self) -> dict[str, np.ndarray]:
    """Every per-frame array that the table has, by field name."""
    values = {name: getattr(self, name) for name in TABLE_FIELDS}
    return {name: v for name, v in values.items() if v is not None}

  @classmethod
  def from_clips(cls, clips: Iterable[CodeClip]) -> CodeTable:
    """Gathers clips; frames are sorted by identity, then clip name.

    Args:
      clips: clips of one expression space; either all or none of them know
        their true coefficients.

    Returns:
      The table.

    Raises:
      CodesError: with all problems, e.g. no clips or mixed spaces.
    """
    clips = sorted(clips, key=clip_order)
    if not clips:
      raise CodesError('code table: there are no clips')
    spaces = sorted({clip.expression_space for clip in clips})
    known = sum(clip.true_pose_coeffs is not None for clip in clips)
    problems = []
    if len(spaces) > 1:
      problems.append(f'clips of different expression spaces: {spaces}')
    if known not in (0, len(clips)):
      problems.append(
        f'{known} of {len(clips)} clips have true_pose_coeffs, wanted all '
        'or none'
      )
    _raise_if_any('code table', problems)
    frames_of: dict[str, int] = {}
    for clip in clips:
      count = frames_of.get(clip.identity, 0) + clip.num_frames
      frames_of[clip.identity] = count
    fields = {
      name: np.concatenate([getattr(clip, name) for clip in clips])
      for name in TABLE_FIELDS
      if name != OPTIONAL_FIELD or known
    }
    return cls(
      **{OPTIONAL_FIELD: None, **fields},
      identity_names=tuple(frames_of),
      identity_offsets=np.cumsum([0, *frames_of.values()]),
      expression_space=spaces[0],
    )

  def save(self, path: str | os.PathLike) -> None:
    """Writes the table to an `.npz`, atomically."""
    files.write_npz(
      path,
      {
        'kind': np.array('code_table'),
        'identity_names': np.array(self.identity_names),
        'identity_offsets': self.identity_offsets,
        'expression_space': np.array(self.expression_space),
        **self.arrays(),
      },
    )

  @classmethod
  def load(cls, path: str | os.PathLike) -> CodeTable:
    """Reads a table that `save` wrote.

    Args:
      path: an `.npz` file.

    Returns:
      The table.

    Raises:
      files.BrokenFileError: if the file is no readable `.npz`.
      CodesError: if it is not a saved table or its codes are broken.
    """
    stored = files.read_npz(path)
    _require_kind(path, stored, 'code_table')
    names = [f.name for f in dataclasses.fields(cls)]
    missing = [n for n in names if n not in stored and n != OPTIONAL_FIELD]
    _raise_if_any(str(path), [f'{name} is missing' for name in missing])
    return cls(
      **{name: stored.get(name) for name in TABLE_FIELDS},
      identity_names=tuple(stored['identity_names'].tolist()),
      identity_offsets=stored['identity_offsets'],
      expression_space=str(stored['expression_space']),
    )


def clip_order(clip: CodeClip) -> tuple:
  """Sort key of clips in tables and data sets: identity, then clip name."""
  return (clip.identity, files.natural_key(clip.name))


def _require_kind(
  path: str | os.PathLike, stored: Mapping[str, np.ndarray], kind: str
) -> None:
  found = str(stored.get('kind', 'unknown'))
  if found != kind:
    raise CodesError(f'{path}: kind is {found!r}, wanted {kind!r}')
