"""Batches of human codes: from memory, or streamed by grain.

Both follow `sampling.IdentitySampler`, so they give the same batches. Batches
are nested dicts of float32 arrays:

    {'human': {'expression': [B, 50], 'jaw_pose': [B, 3],
               'global_pose': [B, 3], 'true_pose_coeffs': [B, 17] if known}}
"""

from __future__ import annotations

import functools
import os
import sys
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from data import codes, dataset, sampling, streams

# Decoded clips that a reading process may keep. The codes of all of VoxCeleb
# are a few hundred MB, so that every pass after the first comes from here.
_CACHE_BYTES = 1 << 30

Batch = streams.Batch


def table_batch(table: codes.CodeTable, frames: np.ndarray) -> Batch:
  """Picks frames of a table.

  Args:
    table: the codes.
    frames: [B] int64 frame indices.

  Returns:
    A batch.
  """
  return {'human': {name: a[frames] for name, a in table.arrays().items()}}


class MemoryPipeline:
  """Which frames of a table make the batch of a step.

  The only state is the step. Put the table on the device once and gather
  there; `batch` gathers on the host.

  Args:
    table: the codes.
    seed: of the order.
    global_batch: frames per step, of all processes together.

  Raises:
    ValueError: on a batch below 1 or a negative seed.
  """

  def __init__(self, table: codes.CodeTable, seed: int, global_batch: int):
    _require_positive('global_batch', global_batch)
    self._table = table
    self._sampler = sampling.IdentitySampler(table.identity_offsets, seed)
    self._global_batch = global_batch

  @property
  def num_identities(self) -> int:
    """Identities, which is the number of frames in a pass."""
    return self._sampler.num_identities

  def indices(self, step: int) -> np.ndarray:
    """The frames of a step.

    Args:
      step: 0 or more.

    Returns:
      [global_batch] int64 rows of the table.
    """
    start = step * self._global_batch
    return self._sampler.frame_index(
      np.arange(start, start + self._global_batch)
    )

  def batch(self, step: int) -> Batch:
    """The batch of a step, gathered on the host."""
    return table_batch(self._table, self.indices(step))


class _FrameSource:
  """Endless random-access source for grain: position -> one frame's codes."""

  def __init__(self, info: dataset.DatasetInfo, split: str, seed: int):
    index = info.index(split)
    fields = tuple(
      name
      for name in codes.TABLE_FIELDS
      if name != codes.OPTIONAL_FIELD or info.has_true_pose_coeffs
    )
    self._reader = dataset.ClipReader(info, split, fields)
    dataset.require_matching(info, split, self._reader, index)
    self._clip_offsets = index.clip_offsets
    self._sampler = sampling.IdentitySampler(index.identity_offsets, seed)
    frame_bytes = 4 * sum(codes.CLIP_FIELDS[name] for name in fields)
    clip_bytes = frame_bytes * index.clip_offsets[-1] / len(index.clip_names)
    self._cached_clips = int(_CACHE_BYTES / clip_bytes)
    self._start()

  def _start(self) -> None:
    # Reading a clip costs forty times what taking a frame out of it does.
    self._read = functools.lru_cache(self._cached_clips)(
      self._reader.__getitem__
    )

  def __getstate__(self) -> dict[str, Any]:
    # A cache cannot be pickled; every worker process starts its own.
    return {k: v for k, v in self.__dict__.items() if k != '_read'}

  def __setstate__(self, state: dict[str, Any]) -> None:
    self.__dict__.update(state)
    self._start()

  def __len__(self) -> int:
    return sys.maxsize

  def __getitem__(self, position: int) -> Batch:
    frame = self._sampler.frame_at(int(position))
    clip = int(np.searchsorted(self._clip_offsets, frame, side='right')) - 1
    row = frame - int(self._clip_offsets[clip])
    record = self._read(clip)
    return {'human': {name: value[row] for name, value in record.items()}}


def stream_codes(
  dataset_path: str | os.PathLike,
  split: str,
  seed: int,
  global_batch: int,
  *,
  shard_index: int = 0,
  shard_count: int = 1,
  num_workers: int = 0,
  num_threads: int = 2,
  start_state: Mapping[str, int] | None = None,
) -> streams.BatchStream:
  """Streams a prepared data set in training order.

  Args:
    dataset_path: a prepared data set.
    split: which split.
    seed: of the order.
    global_batch: frames per step, of all processes together.
    shard_index: which part of each batch this process gets.
    shard_count: number of processes.
    num_workers: reading processes; 0 reads in this one.
    num_threads: reading threads (in each worker); 0 reads when asked.
    start_state: a state to continue from.

  Returns:
    An iterator over batches of `global_batch // shard_count` frames: the
    shards' parts of `MemoryPipeline.batch`, one after another.

  Raises:
    FileNotFoundError, ValueError: on a wrong data set, split or option, with
      all wrong options in one message.
  """
  # Before the data set is opened, so that wrong options are named at once.
  options = streams.StreamOptions(
    global_batch,
    shard_index,
    shard_count,
    num_workers,
    num_threads,
    start_state,
  )
  source = _FrameSource(dataset.open_dataset(dataset_path), split, seed)
  return streams.open_stream(source, options)


def _require_positive(name: str, value: int) -> None:
  if value < 1:
    raise ValueError(f'{name} is {value}, wanted at least 1')


def padded_batches(table: codes.CodeTable, batch: int) -> Iterator[Batch]:
  """Every frame of a table once, in order, in batches of one size.

  Args:
    table: the codes.
    batch: frames per batch. The last is filled up with the last frame.

  Yields:
    Batches with `_mask` [B] float32: 1 for a frame, 0 for filling.

  Raises:
    ValueError: on a batch below 1.
  """
  _require_positive('batch', batch)
  return _padded_batches(table, batch)


def _padded_batches(table: codes.CodeTable, batch: int) -> Iterator[Batch]:
  for start in range(0, table.num_frames, batch):
    rows = np.arange(start, start + batch)
    yield {
      **table_batch(table, np.minimum(rows, table.num_frames - 1)),
      '_mask': (rows < table.num_frames).astype(np.float32),
    }
