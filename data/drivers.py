"""Driving codes from wherever the user has them, in chunks of frames.

    driver = open_driver('deca/id10283#video.mp4')
    for chunk in driver:       # a CodeClip of at most 256 frames
      ...

`open_driver` takes a folder of DECA `.mat` files (read as it goes, so memory
does not grow with length), a prepared data set, or an `.npz`.
"""

from __future__ import annotations

import abc
import dataclasses
import os
import pathlib
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
from absl import logging

from data import codes, dataset, deca, files, layout
from data.video import picture_reader

# Camera of codes that come without one: unit scale, centred.
NEUTRAL_CAMERA = (1.0, 0.0, 0.0)

# Names under which a user's own `.npz` may hold an array; ours comes first.
_ALIASES: dict[str, tuple[str, ...]] = {
  'expression': ('expression', 'exp'),
  'jaw_pose': ('jaw_pose',),
  'global_pose': ('global_pose',),
  'shape': ('shape',),
  'camera': ('camera', 'cam'),
}


class DriverError(ValueError):
  """Driving codes that cannot be used; the message says what to do."""


class Driver(abc.ABC):
  """A clip that is read chunk by chunk, as often as one likes.

  Attributes:
    name: what to call it.
    expression_space: whose expression basis its codes belong to.
    num_frames: its length, None if unknown.
    fps: frames a second, None if its source does not say.
    skipped: frames bridged so far in the latest pass over it.
  """

  name: str
  expression_space: str
  num_frames: int | None
  fps: float | None = None
  skipped: list[deca.SkippedFrame]

  def summary(self) -> Mapping[str, Any]:
    """What a report says of it, after a pass."""
    return {}

  @abc.abstractmethod
  def __iter__(self) -> Iterator[codes.CodeClip]:
    """Yields the frames in order, at most `chunk_frames` at a time."""


class ClipDriver(Driver):
  """Chunks of a clip in memory.

  Args:
    clip: the codes.
    name: what to call it.
    chunk_frames: frames in a chunk.
  """

  def __init__(self, clip: codes.CodeClip, name: str, chunk_frames: int):
    self.name = name
    self.expression_space = clip.expression_space
    self.num_frames = clip.num_frames
    self.skipped = []
    self._clip = clip
    self._chunk_frames = chunk_frames

  def __iter__(self) -> Iterator[codes.CodeClip]:
    for start in range(0, self._clip.num_frames, self._chunk_frames):
      rows = slice(start, start + self._chunk_frames)
      arrays = {k: v[rows] for k, v in self._clip.arrays().items()}
      yield dataclasses.replace(
        self._clip, frames=self._clip.frames[rows], **arrays
      )


class MatFolderDriver(Driver):
  """Reads a folder of DECA files frame by frame.

  A broken file is bridged by the codes of the good frame before it (at the
  start: after it), so that timing stays; `skipped` lists it.

  Args:
    folder: holds `.mat` files.
    chunk_frames: frames in a chunk.

  Raises:
    DriverError: if there is no usable frame.
  """

  def __init__(self, folder: pathlib.Path, chunk_frames: int):
    self._folder = folder
    self._paths = deca.list_frames(folder)
    self._chunk_frames = chunk_frames
    self.name = folder.resolve().name
    self.expression_space = codes.FLAME_SPACE
    self.num_frames = len(self._paths)
    self.skipped = []
    self._first_good = self._find_first_good()

  def _find_first_good(self) -> dict[str, np.ndarray]:
    reason = ''
    for path in self._paths:
      try:
        return deca.read_mat(path)
      except deca.CorruptRecordError as error:
        reason = reason or str(error)
    raise DriverError(
      f'{self._folder}: none of {len(self._paths)} .mat files is usable '
      f'(first: {reason})'
    )

  def __iter__(self) -> Iterator[codes.CodeClip]:
    self.skipped = []
    record = self._first_good
    for start in range(0, len(self._paths), self._chunk_frames):
      paths = self._paths[start : start + self._chunk_frames]
      records = []
      for path in paths:
        record = self._read_or_bridge(path, record)
        records.append(record)
      yield deca.clip_from_records(
        deca.identity_of(self.name), self.name, [p.stem for p in paths], records
      )

  def _read_or_bridge(
    self, path: pathlib.Path, last: dict[str, np.ndarray]
  ) -> dict[str, np.ndarray]:
    try:
      return deca.read_mat(path)
    except deca.CorruptRecordError as error:
      logging.warning('%s; the frame before it is held', error)
      self.skipped.append(deca.SkippedFrame(str(path), error.reason))
      return last


def open_driver(
  path: str | os.PathLike,
  *,
  chunk_frames: int = 256,
  split: str | None = None,
  clip: str | None = None,
) -> Driver:
  """Opens driving codes.

  Args:
    path: a folder of DECA `.mat` files, a prepared data set, or an `.npz`: a
      saved `CodeClip` or `CodeTable`, or a user's own with `expression` (or
      `exp`) [T, 50] and either `pose` [T, 6] = global 3 + jaw 3 or `jaw_pose`
      [T, 3] and, if the head moves, `global_pose` [T, 3], radians. `shape`,
      `camera`, `frames` and `expression_space` (else `flame`) may be there.
    chunk_frames: frames in a chunk, 1 or more.
    split: of a prepared data set; by default all are searched.
    clip: clip name in a data set, identity in a saved table; by default the
      first.

  Returns:
    The driver.

  Raises:
    FileNotFoundError: if nothing is at `path`.
    ValueError: if there are no usable codes; see the message.
  """
  path = pathlib.Path(path)
  if chunk_frames < 1:
    raise DriverError(f'chunk_frames is {chunk_frames}, wanted at least 1')
  if not path.exists():
    raise FileNotFoundError(f'{path}: no such file or folder')
  if not path.is_dir():
    _reject_choice(path, split=split)
    return _open_npz(path, chunk_frames, clip)
  if _is_dataset(path):
    return _open_dataset(path, chunk_frames, split, clip)
  _reject_choice(path, split=split, clip=clip)
  if not deca.list_frames(path):
    raise DriverError(
      f'{path}: no .mat file in this folder; give the folder of one clip, a '
      'prepared data set or an .npz'
    )
  return MatFolderDriver(path, chunk_frames)


def holds_codes(path: str | os.PathLike) -> bool:
  """Whether something is for `open_driver`, and not a moving picture.

  Args:
    path: file or folder.

  Returns:
    True for an `.npz`, a prepared data set and a folder that holds a `.mat`
    file or no picture.
  """
  path = pathlib.Path(path)
  if not path.is_dir():
    return path.suffix.lower() == '.npz'
  if _is_dataset(path) or deca.list_frames(path):
    return True
  return not any(
    file.suffix.lower() in picture_reader.SUFFIXES for file in path.iterdir()
  )


def _reject_choice(path: pathlib.Path, **choices: str | None) -> None:
  given = [f'{name}={value!r}' for name, value in choices.items() if value]
  if given:
    raise DriverError(
      f'{path}: {", ".join(given)} has no meaning here, only in a prepared '
      'data set'
    )


def _is_dataset(path: pathlib.Path) -> bool:
  """Whether a folder is a prepared data set, finished or not."""
  return (
    layout.final_dir(path).is_dir()
    or (path / layout.MANIFEST_NAME).is_file()
    or (path / layout.PARTIAL_NAME).is_dir()
  )


def _open_dataset(
  path: pathlib.Path, chunk_frames: int, split: str | None, name: str | None
) -> Driver:
  info = dataset.open_dataset(path)
  for candidate in [split] if split else info.splits:
    names = info.index(candidate).clip_names
    if name is None or name in names:
      record = names.index(name) if name else 0
      clip = dataset.read_clip(info, candidate, record)
      return ClipDriver(clip, clip.name, chunk_frames)
  raise DriverError(
    f'{path}: no clip {name!r} in {split or ", ".join(info.splits)}; the last '
    f'split searched has {len(names)} clips, such as {names[0]!r}'
  )


def _open_npz(
  path: pathlib.Path, chunk_frames: int, name: str | None
) -> Driver:
  stored = files.read_npz(path)
  kind = str(stored.get('kind', ''))
  try:
    if kind == 'code_table':
      clip = _clip_of_table(codes.CodeTable.load(path), name)
    else:
      _reject_choice(path, clip=name)
      if kind == 'code_clip':
        clip = codes.clip_from_arrays(stored)
      else:
        clip = _clip_of_arrays(path.stem, stored)
  except codes.CodesError as error:
    raise DriverError(f'{path}: {error}') from error
  return ClipDriver(clip, path.stem, chunk_frames)


def _clip_of_table(table: codes.CodeTable, name: str | None) -> codes.CodeClip:
  names = table.identity_names
  if name is not None and name not in names:
    raise codes.CodesError(
      f'no identity {name!r} in {len(names)}, such as {names[0]!r}'
    )
  chosen = names.index(name) if name else 0
  rows = slice(*table.identity_offsets[chosen : chosen + 2])
  arrays = {key: value[rows] for key, value in table.arrays().items()}
  return _complete_clip(names[chosen], arrays, table.expression_space)


def _clip_of_arrays(
  name: str, stored: Mapping[str, np.ndarray]
) -> codes.CodeClip:
  """A clip from the arrays that users have."""
  arrays = {}
  for field, aliases in _ALIASES.items():
    found = [alias for alias in aliases if alias in stored]
    if found:
      arrays[field] = stored[found[0]]
  if 'pose' in stored:
    pose = stored['pose']
    if pose.ndim != 2 or pose.shape[1] != 6:
      raise codes.CodesError(
        f'pose is {list(pose.shape)}, wanted [T, 6] = global 3 + jaw 3'
      )
    arrays.setdefault('global_pose', pose[:, :3])
    arrays.setdefault('jaw_pose', pose[:, 3:])
  missing = [key for key in ('expression', 'jaw_pose') if key not in arrays]
  if missing:
    raise codes.CodesError(
      f'it has the arrays {sorted(stored)}; wanted expression (or exp) '
      '[T, 50], and jaw_pose [T, 3] or pose [T, 6] = global 3 + jaw 3'
    )
  if 'global_pose' not in arrays:
    logging.warning('%s has no global_pose: the head will not move', name)
  space = str(stored.get('expression_space', codes.FLAME_SPACE))
  return _complete_clip(name, arrays, space, stored.get('frames'))


def _complete_clip(
  name: str,
  arrays: Mapping[str, np.ndarray],
  expression_space: str,
  frames: Sequence[str] | np.ndarray | None = None,
) -> codes.CodeClip:
  """Fills up what pictures of an average, resting head need."""
  length = len(np.atleast_1d(arrays['expression']))
  resting = {
    'global_pose': np.zeros((length, 3)),
    'shape': np.zeros((length, codes.NUM_SHAPE)),
    'camera': np.tile(NEUTRAL_CAMERA, (length, 1)),
  }
  if frames is None:
    frames = [f'{t:07d}' for t in range(length)]
  return codes.CodeClip(
    identity=name,
    name=name,
    frames=tuple(np.asarray(frames).astype(str).tolist()),
    expression_space=expression_space,
    **{**resting, **arrays},
  )
