"""DECA's codes as it stores them: one MATLAB file a frame, one folder a clip.

A file holds `shape` [1,100], `exp` [1,50], `pose` [1,6] = global 3 + jaw 3,
`cam` [1,3] and numbers that nothing here needs (`tex`, `light`, `detail`).
Files found in the wild are cut short, hold NaN or are no MATLAB files at all,
so every reason to refuse one is told apart and named.
"""

from __future__ import annotations

import dataclasses
import io
import os
import pathlib
import struct
import zlib

import numpy as np
import scipy.io

from data import codes, files

# Numbers of each field that a code is made of.
REQUIRED_FIELDS: dict[str, int] = {'shape': 100, 'exp': 50, 'pose': 6, 'cam': 3}

# A DECA file has about 2 kB; one with its images some megabytes.
MAX_FILE_BYTES = 64 << 20
# DECA's largest numbers are camera scales near 10; beyond this a file is junk.
MAX_ABS_VALUE = 1e3

_HEADER_BYTES = 128
_COMPRESSED = 15  # miCOMPRESSED, MAT-File Format (MathWorks), table 1-1.


class CorruptRecordError(ValueError):
  """A file that cannot be used.

  Attributes:
    path: the file.
    reason: why, in a few words; the first words tell the kind.
  """

  def __init__(self, path: str | os.PathLike, reason: str):
    super().__init__(f'{os.fspath(path)}: {reason}')
    self.path = os.fspath(path)
    self.reason = reason

  def __reduce__(self):
    # Default pickling would pass the message alone; worker processes need it.
    return (type(self), (self.path, self.reason))


@dataclasses.dataclass(frozen=True)
class SkippedFrame:
  """A frame left out of a clip.

  Attributes:
    path: its file.
    reason: why.
  """

  path: str
  reason: str


def read_mat(path: str | os.PathLike) -> dict[str, np.ndarray]:
  """Reads one DECA file.

  Args:
    path: a MATLAB 5 file (what `scipy.io.savemat` writes).

  Returns:
    The fields of `REQUIRED_FIELDS`, each a [n] float32 vector of finite
    numbers. `pose` is global 3 then jaw 3, radians.

  Raises:
    CorruptRecordError: with the reason: truncated, not a mat file, missing
      field, wrong shape, NaN or inf, absurdly large.
  """
  content = _read_bytes(path)
  _check_elements(path, content)
  try:
    stored = scipy.io.loadmat(io.BytesIO(content))
  # The reader meets broken bytes with errors of nearly every kind.
  except Exception as error:
    raise CorruptRecordError(
      path, f'not a readable mat file ({type(error).__name__}: {error})'
    ) from error
  missing = [name for name in REQUIRED_FIELDS if name not in stored]
  if missing:
    raise CorruptRecordError(path, f'missing field: {", ".join(missing)}')
  return {
    name: _to_vector(path, name, stored[name], size)
    for name, size in REQUIRED_FIELDS.items()
  }


def _read_bytes(path: str | os.PathLike) -> bytes:
  try:
    with open(path, 'rb') as file:
      content = file.read(MAX_FILE_BYTES + 1)
  except OSError as error:
    raise CorruptRecordError(path, f'unreadable ({error.strerror})') from error
  if len(content) > MAX_FILE_BYTES:
    raise CorruptRecordError(
      path, f'absurdly large: more than {MAX_FILE_BYTES >> 20} MiB'
    )
  if len(content) < _HEADER_BYTES:
    raise CorruptRecordError(
      path,
      f'truncated: {len(content)} bytes, a mat file starts with '
      f'{_HEADER_BYTES}',
    )
  return content


def _check_elements(path: str | os.PathLike, content: bytes) -> None:
  """Walks the top-level elements, so that no size is believed unchecked."""
  order = {b'IM': '<', b'MI': '>'}.get(content[126:128])
  if order is None:
    raise CorruptRecordError(path, 'not a mat file: no MATLAB 5 header')
  position = _HEADER_BYTES
  while position < len(content):
    if position + 8 > len(content):
      raise CorruptRecordError(path, 'truncated: ends inside a tag')
    kind, size = struct.unpack_from(f'{order}II', content, position)
    position += 8
    if position + size > len(content):
      raise CorruptRecordError(
        path,
        f'truncated: an element of {size} bytes has '
        f'{len(content) - position} left',
      )
    if kind == _COMPRESSED:
      _check_inflated(path, content[position : position + size])
    position += size


def _check_inflated(path: str | os.PathLike, compressed: bytes) -> None:
  try:
    inflated = zlib.decompressobj().decompress(compressed, MAX_FILE_BYTES + 1)
  except zlib.error as error:
    raise CorruptRecordError(
      path, f'not a readable mat file (zlib: {error})'
    ) from error
  if len(inflated) > MAX_FILE_BYTES:
    raise CorruptRecordError(
      path, f'absurdly large: inflates beyond {MAX_FILE_BYTES >> 20} MiB'
    )


def _to_vector(
  path: str | os.PathLike, name: str, value: object, size: int
) -> np.ndarray:
  """Checks one field and flattens it to [size] float32."""
  if not isinstance(value, np.ndarray) or value.dtype.kind not in 'fiu':
    raise CorruptRecordError(path, f'wrong type: {name} is no array of numbers')
  # [1, n], [n, 1] and [n] are one vector; [2, n/2] is something else.
  if value.size != size or max(value.shape, default=0) != size:
    raise CorruptRecordError(
      path, f'wrong shape: {name} is {list(value.shape)}, wanted [1, {size}]'
    )
  if not np.isfinite(value).all():
    raise CorruptRecordError(path, f'NaN or inf in {name}')
  largest = float(np.abs(value.astype(np.float64)).max())
  if largest > MAX_ABS_VALUE:
    raise CorruptRecordError(
      path,
      f'absurdly large: {name} holds {largest:g}, wanted at most '
      f'{MAX_ABS_VALUE:g}',
    )
  return value.reshape(size).astype(np.float32)


def list_frames(folder: str | os.PathLike) -> list[pathlib.Path]:
  """The `.mat` files directly in a folder, in counting order.

  Args:
    folder: a clip folder. Hidden files (as some systems leave) do not count.

  Returns:
    Paths, `2.mat` before `10.mat`.
  """
  with os.scandir(folder) as entries:
    names = [entry.name for entry in entries if is_frame_name(entry.name)]
  names.sort(key=files.natural_key)
  return [pathlib.Path(folder, name) for name in names]


def is_frame_name(name: str) -> bool:
  """Whether a file name is that of a frame's codes."""
  return name.endswith('.mat') and not name.startswith('.')


def identity_of(clip_name: str) -> str:
  """Identity in a VoxCeleb clip name: what stands before the first `#`."""
  return clip_name.split('#', 1)[0] or clip_name


def clip_from_records(
  identity: str,
  name: str,
  frames: list[str],
  records: list[dict[str, np.ndarray]],
) -> codes.CodeClip:
  """Joins frames that `read_mat` returned.

  Args:
    identity: who it is.
    name: which clip it is.
    frames: T frame names.
    records: T dicts of `read_mat`.

  Returns:
    The clip, in FLAME's expression space.
  """
  stacked = {
    field: np.stack([record[field] for record in records])
    for field in REQUIRED_FIELDS
  }
  return codes.CodeClip(
    identity=identity,
    name=name,
    frames=tuple(frames),
    expression=stacked['exp'],
    jaw_pose=stacked['pose'][:, 3:],
    global_pose=stacked['pose'][:, :3],
    shape=stacked['shape'],
    camera=stacked['cam'],
    expression_space=codes.FLAME_SPACE,
  )


def read_clip(
  folder: str | os.PathLike,
  *,
  identity: str | None = None,
  name: str | None = None,
) -> tuple[codes.CodeClip | None, list[SkippedFrame]]:
  """Reads a folder of frames; broken ones are left out and listed.

  Args:
    folder: a folder of `.mat` files.
    identity: who it is; by default the folder's name up to `#`.
    name: which clip it is; by default the folder's name.

  Returns:
    The clip, or None if no frame is usable, and the frames left out.
  """
  folder = pathlib.Path(folder)
  name = name or folder.resolve().name
  frames, records, skipped = [], [], []
  for path in list_frames(folder):
    try:
      records.append(read_mat(path))
    except CorruptRecordError as error:
      skipped.append(SkippedFrame(str(path), error.reason))
    else:
      frames.append(path.stem)
  if not records:
    return None, skipped
  identity = identity or identity_of(name)
  return clip_from_records(identity, name, frames, records), skipped
