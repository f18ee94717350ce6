"""Reads head models as they are found, and our own .npz.

- FLAME 2020 and 2023 pickles (Python 2, with chumpy and scipy objects), or the
  same fields in an .npz;
- landmark embeddings: `landmark_embedding.npy` (whose dynamic entries are
  PyTorch tensors), or the pair `flame_static_embedding.pkl` and
  `flame_dynamic_embedding.npy`;
- what `save_flame` wrote.

Nothing in a file is ever executed; see `flame_jax.unpickle`.
"""

from __future__ import annotations

import dataclasses
import os
import pathlib
import uuid
from collections.abc import Sequence

import numpy as np

from flame_jax import fields as fields_lib
from flame_jax import unpickle
from flame_jax.assets import FlameAssets, LandmarkEmbedding

Path = str | os.PathLike

_FORMAT = 'flame_jax head model 1'
_EMBEDDING_PREFIX = 'landmarks.'

_OWN_PATTERN = ('landmarks.{}_faces', 'landmarks.{}_barycentric')
_FULL_PATTERN = ('{}_lmk_faces_idx', '{}_lmk_bary_coords')
# A file with none of these is something else altogether.
_MODEL_FIELDS = {'v_template', 'shapedirs', 'posedirs', 'weights'}
_PAIR_NAMES = ('lmk_face_idx', 'lmk_b_coords')

_WHERE_MODEL = (
  "FLAME's model files are at https://flame.is.tue.mpg.de after a free"
  ' registration: FLAME 2020 (generic_model.pkl) under a non-commercial'
  ' scientific research licence, FLAME 2023 Open under CC-BY-4.0. Or use the'
  ' built-in procedural head (flame_jax.procedural.procedural_head), which'
  ' needs no file'
)
_WHERE_LANDMARKS = (
  'landmark_embedding.npy comes with DECA, flame_static_embedding.pkl with'
  " FLAME's own code and flame_dynamic_embedding.npy with RingNet, all for"
  ' non-commercial research; see https://flame.is.tue.mpg.de. Or use the'
  ' built-in procedural head, which carries its own'
)


class FlameFileError(ValueError):
  """A head model cannot be loaded.

  Attributes:
    problems: everything found wrong, one message each.
  """

  def __init__(self, problems: Sequence[str]):
    super().__init__(
      'cannot load the head model:' + ''.join(f'\n- {p}' for p in problems)
    )
    self.problems = tuple(problems)


def load_flame(
  path: Path,
  landmark_paths: Path | Sequence[Path] | None = None,
  *,
  num_shape: int | None = None,
) -> FlameAssets:
  """Loads a head model in FLAME's format.

  Args:
    path: FLAME pickle, .npz with FLAME's field names, or a `save_flame` file.
    landmark_paths: landmark embedding file or files; they replace an embedding
      in `path`. None leaves the model without landmarks unless `path` has
      them.
    num_shape: how many of the columns of `shapedirs` are shape, the rest being
      expression; only needed when there are not FLAME's 300 + 100.

  Returns:
    FlameAssets of float32 and int32 arrays on the default device.

  Raises:
    FlameFileError: if a file is missing, damaged or has wrong fields; lists
      every problem of every file, and where to get missing ones.
    unpickle.UnsafePickleError: if a pickle names a class or function outside
      the allow-list.

  Example:
    `load_flame('generic_model.pkl', 'landmark_embedding.npy')`
  """
  problems: list[str] = []
  raw = _read_fields(pathlib.Path(path), _WHERE_MODEL, problems)
  landmark_files = {
    str(p): _read_fields(pathlib.Path(p), _WHERE_LANDMARKS, problems)
    for p in _as_paths(landmark_paths)
  }
  assets = None
  if raw is not None:
    assets = _model(raw, str(path), num_shape, problems)
  if landmark_files:
    embedding = _embedding(landmark_files, _num_faces(assets), problems)
    assets = _with_landmarks(assets, embedding)
  if problems:
    raise FlameFileError(problems)
  return assets


def save_flame(path: Path, assets: FlameAssets) -> None:
  """Writes a head model, whole or not at all, as `load_flame` reads it.

  Args:
    path: file to write; must end in .npz. Missing folders are made.
    assets: the model; float32 and int32 arrays come back bit for bit.

  Raises:
    FlameFileError: if the arrays do not make a valid model.
    ValueError: if the path does not end in .npz.
    OSError: if the file cannot be written.
  """
  path = pathlib.Path(path)
  if path.suffix != '.npz':
    raise ValueError(f'{path} must end in .npz')
  arrays = _named_arrays(assets)
  problems: list[str] = []
  _model({'format': np.array(_FORMAT), **arrays}, str(path), None, problems)
  if problems:
    raise FlameFileError(problems)
  path.parent.mkdir(parents=True, exist_ok=True)
  unfinished = path.with_name(f'.{path.name}.{uuid.uuid4().hex}')
  try:
    with open(unfinished, 'xb') as stream:
      np.savez(stream, format=np.array(_FORMAT), **arrays)
      stream.flush()
      os.fsync(stream.fileno())
    os.replace(unfinished, path)
  finally:
    unfinished.unlink(missing_ok=True)


def _named_arrays(assets: FlameAssets) -> dict[str, np.ndarray]:
  values = dict(vars(assets))
  embedding = values.pop('landmarks')
  if embedding is not None:
    for name, value in vars(embedding).items():
      values[_EMBEDDING_PREFIX + name] = value
  return {
    name: np.asarray(value)
    for name, value in values.items()
    if value is not None
  }


def _as_paths(paths) -> list[Path]:
  if paths is None:
    return []
  return [paths] if isinstance(paths, str | os.PathLike) else list(paths)


def _read_fields(path: pathlib.Path, where: str, problems: list[str]):
  """Field dict of a file of any known kind, or None after a complaint."""
  if not path.is_file():
    kind = 'a folder, not a file' if path.is_dir() else 'no such file'
    problems.append(f'{path}: {kind}. {where}')
    return None
  try:
    data = path.read_bytes()
    if data.startswith(b'PK'):
      fields = unpickle.read_restricted_npz(path)
    elif data.startswith(b'\x93NUMPY'):
      fields = unpickle.read_restricted_npy(data)
    else:
      fields = unpickle.read_restricted_pickle(data)
  except unpickle.UnsafePickleError as error:
    raise unpickle.UnsafePickleError(f'{path}: {error}', error.name) from error
  except (OSError, unpickle.MalformedPickleError) as error:
    problems.append(f'{path}: {error}. Fetch the file again. {where}')
    return None
  if not isinstance(fields, dict):
    problems.append(f'{path}: holds a {type(fields).__name__}, wanted a dict')
    return None
  return fields


def _model(raw, source: str, num_shape, problems) -> FlameAssets | None:
  if 'format' not in raw:
    if not _MODEL_FIELDS & raw.keys():
      problems.append(
        f'{source}: is no head model; it has {sorted(map(str, raw))}'
      )
      return None
    fields = fields_lib.split_flame_fields(raw, source, num_shape, problems)
    names = fields_lib.FLAME_NAMES
    return fields_lib.make_assets(fields, source, problems, names)
  if str(raw['format']) != _FORMAT:
    problems.append(f'{source}: format {raw["format"]} is not {_FORMAT!r}')
    return None
  if num_shape is not None:
    problems.append(f"{source}: num_shape is only for FLAME's own files")
  assets = fields_lib.make_assets(raw, source, problems)
  if not any(name.startswith(_EMBEDDING_PREFIX) for name in raw):
    return assets
  embedding = fields_lib.make_embedding(
    raw, source, _num_faces(assets), problems, _OWN_PATTERN
  )
  return _with_landmarks(assets, embedding)


def _num_faces(assets: FlameAssets | None) -> int | None:
  return None if assets is None else assets.faces.shape[0]


def _with_landmarks(assets: FlameAssets | None, embedding):
  if assets is None:
    return None
  return dataclasses.replace(assets, landmarks=embedding)


def _embedding(files: dict, num_faces, problems) -> LandmarkEmbedding | None:
  """Embedding from one full file, or from the static and dynamic pair."""
  parts = {}
  for path, raw in files.items():
    if raw is None:
      return None
    if _FULL_PATTERN[0].format('static') in raw:
      parts.update(raw)
    elif _PAIR_NAMES[0] in raw:
      # Both files of the pair use these names; the dynamic one has a table.
      kind = 'dynamic' if np.ndim(raw[_PAIR_NAMES[0]]) > 1 else 'static'
      for pattern, name in zip(_FULL_PATTERN, _PAIR_NAMES, strict=True):
        if name in raw:
          parts[pattern.format(kind)] = raw[name]
    else:
      problems.append(
        f'{path}: is no landmark file; it has {sorted(map(str, raw))}'
      )
      return None
  source = ' + '.join(files)
  return fields_lib.make_embedding(
    parts, source, num_faces, problems, _FULL_PATTERN
  )
