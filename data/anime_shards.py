"""Writes the frames of a tree as files of records; can be interrupted.

work/
  build/   the files, under their final names
  done/    one mark a finished file: what it is of, and what was left out

A file whose mark is there and fits is not written again, so that a run that
is killed and started again ends with the same bytes as one that is not.
"""

from __future__ import annotations

import collections
import concurrent.futures
import contextlib
import dataclasses
import functools
import hashlib
import json
import os
import pathlib
import shutil
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
import PIL
from absl import logging

from data import anime_tree, files, picture_codec
from data.builders import anime_frames

# Frames a file: some 300 files and 250 to 500 MB each for all of AnimeCeleb.
FRAMES_PER_SHARD = 8192

# Pictures that are encoded to estimate how large all of them will be.
_SAMPLED = 32
_SPARE_BYTES = 64 << 20


@dataclasses.dataclass(frozen=True, eq=False)
class Shard:
  """One file to write.

  Attributes:
    table: whose frames.
    split: which split.
    number: of the file in its split.
    count: files of the split.
    frames: indices into `table`.
    image_format: one of `picture_codec.IMAGE_FORMATS`.
  """

  table: anime_tree.FrameTable
  split: str
  number: int
  count: int
  frames: np.ndarray
  image_format: str

  @property
  def name(self) -> str:
    """Name of its file."""
    return anime_frames.shard_name(self.split, self.number, self.count)

  def digest(self) -> str:
    """Changes when anything does that its bytes depend on."""
    table = self.table
    state = hashlib.sha256(
      f'{anime_frames.FORMAT_VERSION} {self.name} {self.image_format} '
      f'{PIL.__version__}\n'.encode()
    )
    for frame in self.frames.tolist():
      path = table.paths[frame]
      # A picture that changed in the meantime must not be taken for the old.
      state.update(
        f'{path}\t{table.kinds[frame]}\t{table.identity_of(frame)}\t'
        f'{_state_of(table.root / path)}\n'.encode()
      )
      state.update(table.pose[frame].tobytes())
    return state.hexdigest()


@dataclasses.dataclass(frozen=True)
class Written:
  """What became of a shard.

  Attributes:
    digest: see `Shard.digest`.
    num_records: records in its file.
    record_bytes: bytes of the records.
    file_bytes: size of the file.
    sizes: number of pictures by `<width>x<height>`.
    damaged: index into the shard's frames, and reason, of what was left out.
  """

  digest: str
  num_records: int
  record_bytes: int
  file_bytes: int
  sizes: dict[str, int]
  damaged: list[tuple[int, str]]


def plan_shards(
  table: anime_tree.FrameTable,
  split: str,
  frames: np.ndarray,
  image_format: str,
) -> list[Shard]:
  """Divides the frames of a split into files.

  Args:
    table: the tree.
    split: name of the split.
    frames: [n] indices into `table`, in the order wanted.
    image_format: one of `picture_codec.IMAGE_FORMATS`.

  Returns:
    The shards in order.
  """
  starts = range(0, len(frames), FRAMES_PER_SHARD)
  return [
    Shard(
      table,
      split,
      number,
      len(starts),
      frames[start : start + FRAMES_PER_SHARD],
      image_format,
    )
    for number, start in enumerate(starts)
  ]


def write_shards(
  shards: Sequence[Shard],
  work: pathlib.Path,
  *,
  num_threads: int = 1,
  progress: Callable[[int, int], None] | None = None,
) -> list[Written]:
  """Writes those files that are not there yet.

  Args:
    shards: all of the data set.
    work: folder for work in progress. Whatever is not of these shards goes.
    num_threads: threads that read and encode pictures.
    progress: called with frames done, frames in all.

  Returns:
    What became of each shard.

  Raises:
    OSError: if there is no room, or a file cannot be read or written.
  """
  build, marks = work / 'build', work / 'done'
  build.mkdir(parents=True, exist_ok=True)
  marks.mkdir(exist_ok=True)
  _clear(build, marks, {shard.name for shard in shards})
  found = [_finished(shard, build, marks) for shard in shards]
  left = [s for s, done in zip(shards, found, strict=True) if done is None]
  if len(left) < len(shards):
    logging.info(
      'Keeping %d of %d finished files', len(shards) - len(left), len(shards)
    )
  _require_room(left, work, num_threads)
  counter = _Counter(shards, progress)
  with _threads(num_threads) as pool:
    for number, shard in enumerate(shards):
      if found[number] is None:
        found[number] = _write(shard, build, marks, pool, counter)
      else:
        counter.add(len(shard.frames))
  return found


class _Counter:
  """Counts frames for `progress`."""

  def __init__(
    self,
    shards: Sequence[Shard],
    progress: Callable[[int, int], None] | None,
  ):
    self._total = sum(len(shard.frames) for shard in shards)
    self._done = 0
    self._progress = progress

  def add(self, count: int) -> None:
    self._done += count
    if self._progress:
      self._progress(self._done, self._total)


@contextlib.contextmanager
def _threads(count: int) -> Iterator[concurrent.futures.Executor]:
  pool = concurrent.futures.ThreadPoolExecutor(count)
  try:
    yield pool
  finally:
    pool.shutdown(cancel_futures=True)


def _clear(build: pathlib.Path, marks: pathlib.Path, names: set[str]) -> None:
  """Removes what an interrupted run left and this one does not want."""
  for path in [*build.iterdir(), *marks.iterdir()]:
    if path.is_dir():
      shutil.rmtree(path)
    elif path.name.removesuffix('.json') not in names:
      path.unlink()


def _finished(
  shard: Shard, build: pathlib.Path, marks: pathlib.Path
) -> Written | None:
  """What the mark of a shard says, if it still holds."""
  try:
    content = json.loads((marks / f'{shard.name}.json').read_bytes())
    written = Written(**content)
    path = build / shard.name
    whole = (
      written.digest == shard.digest()
      and written.file_bytes == path.stat().st_size
      and written.num_records == anime_frames.count_records(path)
    )
  except (OSError, ValueError, TypeError):
    return None
  return written if whole else None


def _write(
  shard: Shard,
  build: pathlib.Path,
  marks: pathlib.Path,
  pool: concurrent.futures.Executor,
  counter: _Counter,
) -> Written:
  damaged: list[tuple[int, str]] = []
  sizes: collections.Counter[str] = collections.Counter()

  def frames() -> Iterator[anime_frames.Frame]:
    for place, encoded in enumerate(_encode_all(shard, pool)):
      if isinstance(encoded, str):
        damaged.append((place, encoded))
      else:
        image, (width, height) = encoded
        sizes[f'{width}x{height}'] += 1
        yield _frame(shard.table, int(shard.frames[place]), image)
      counter.add(1)

  digest = shard.digest()
  final = build / shard.name
  unfinished = final.with_name(f'.{final.name}.tmp')
  record_bytes = anime_frames.write_shard(unfinished, frames())
  with open(unfinished, 'rb') as file:
    os.fsync(file.fileno())
  os.replace(unfinished, final)
  written = Written(
    digest=digest,
    num_records=sum(sizes.values()),
    record_bytes=record_bytes,
    file_bytes=final.stat().st_size,
    sizes=dict(sizes),
    damaged=damaged,
  )
  files.write_json(marks / f'{shard.name}.json', dataclasses.asdict(written))
  return written


def _encode_all(
  shard: Shard, pool: concurrent.futures.Executor
) -> Iterator[tuple[bytes, tuple[int, int]] | str]:
  """Encoded pictures in order, or why one cannot be used."""
  encode = functools.partial(_encode, shard)
  # Some at a time: a shard is half a gigabyte.
  for start in range(0, len(shard.frames), 256):
    yield from pool.map(encode, shard.frames[start : start + 256].tolist())


def _encode(shard: Shard, frame: int) -> tuple[bytes, tuple[int, int]] | str:
  path = shard.table.paths[frame]
  try:
    content = (shard.table.root / path).read_bytes()
    return picture_codec.transcode(content, shard.image_format, path)
  except (OSError, files.BrokenFileError) as error:
    return f'damaged png: {error}'


def _state_of(path: pathlib.Path) -> str:
  """Size and time of a file; one that is gone is left out like a damaged."""
  try:
    found = os.stat(path)
  except OSError as error:
    return f'absent: {error.errno}'
  return f'{found.st_size}\t{found.st_mtime_ns}'


def _frame(
  table: anime_tree.FrameTable, frame: int, image: bytes
) -> anime_frames.Frame:
  return anime_frames.Frame(
    image=image,
    pose=table.pose[frame],
    identity=table.identity_of(frame),
    kind=table.kinds[frame],
    path=table.paths[frame],
  )


def _require_room(
  shards: Sequence[Shard], work: pathlib.Path, num_threads: int
) -> None:
  """Raises OSError if the disk is too small for what is left to write."""
  total = sum(len(shard.frames) for shard in shards)
  if not total:
    return
  every = max(1, total // _SAMPLED)
  sample = [
    (shard, frame)
    for shard in shards
    for frame in shard.frames[::every].tolist()
  ][:_SAMPLED]
  with _threads(num_threads) as pool:
    encoded = list(pool.map(lambda chosen: _encode(*chosen), sample))
  sizes = [len(e[0]) for e in encoded if not isinstance(e, str)]
  if not sizes:
    return
  wanted = total * (float(np.mean(sizes)) + 256)  # Names and pose numbers.
  free = shutil.disk_usage(work).free
  if wanted + _SPARE_BYTES > free:
    raise OSError(
      f'{work}: too little room: {total} frames need about '
      f'{wanted / 1e9:.1f} GB, {free / 1e9:.1f} GB are free; choose another '
      'output folder or a smaller image_format (webp, jpeg)'
    )


def damaged_frames(
  shards: Sequence[Shard], written: Sequence[Written]
) -> tuple[anime_tree.Skipped, ...]:
  """Pictures that were left out, with reasons."""
  return tuple(
    anime_tree.Skipped(shard.table.paths[shard.frames[place]], reason)
    for shard, done in zip(shards, written, strict=True)
    for place, reason in done.damaged
  )


def kept_frames(
  shards: Sequence[Shard], written: Sequence[Written]
) -> np.ndarray:
  """Frames of consecutive shards that became records, in their order.

  Returns:
    [n] int64 indices into the table of the shards.
  """
  parts = [np.zeros(0, np.int64)]
  for shard, done in zip(shards, written, strict=True):
    lost = [place for place, _ in done.damaged]
    parts.append(np.delete(shard.frames, np.array(lost, np.int64)))
  return np.concatenate(parts)


def shard_sizes(written: Sequence[Written]) -> list[tuple[int, int]]:
  """Records and their bytes, as `anime_frames.write_description` wants."""
  return [(done.num_records, done.record_bytes) for done in written]


def summary(written: Sequence[Written]) -> dict[str, Any]:
  """What a manifest says of the files: bytes, pictures by size."""
  sizes: collections.Counter[str] = collections.Counter()
  for done in written:
    sizes.update(done.sizes)
  return {
    'num_bytes': sum(done.file_bytes for done in written),
    'picture_sizes': dict(sizes.most_common()),
  }
