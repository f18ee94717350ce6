"""Endless batches from a random-access source, read ahead by grain."""

from __future__ import annotations

import dataclasses
import weakref
from collections.abc import Iterator, Mapping
from typing import Any, Protocol

import numpy as np
from absl import flags

STATE_KEY = 'global_next_index'

Batch = dict[str, Any]


class ExampleSource(Protocol):
  """Position in an endless order -> one example, from any thread."""

  def __len__(self) -> int:
    """A number that no run reaches."""

  def __getitem__(self, position: int) -> Batch:
    """A nested dict of arrays and numpy scalars."""


@dataclasses.dataclass(frozen=True)
class StreamOptions:
  """How a source is read.

  Attributes:
    global_batch: examples per step, of all processes together.
    shard_index: which part of each batch this process gets.
    shard_count: number of processes.
    num_workers: reading processes; 0 reads in this one.
    num_threads: reading threads (in each worker); 0 reads when asked.
    start_state: what `BatchStream.get_state` returned, to continue from.

  Raises:
    ValueError: with all wrong options in one message.
  """

  global_batch: int
  shard_index: int = 0
  shard_count: int = 1
  num_workers: int = 0
  num_threads: int = 2
  start_state: Mapping[str, int] | None = None

  def __post_init__(self):
    problems = self._problems()
    if problems:
      raise ValueError('; '.join(problems))
    if self.start_state is not None:
      check_state(self.start_state, self.global_batch)

  def _problems(self) -> list[str]:
    problems = []
    for name, least in (
      ('global_batch', 1),
      ('shard_count', 1),
      ('num_workers', 0),
      ('num_threads', 0),
    ):
      value = getattr(self, name)
      if value < least:
        problems.append(f'{name} is {value}, wanted at least {least}')
    if not problems and not 0 <= self.shard_index < self.shard_count:
      problems.append(
        f'shard_index is {self.shard_index}, of {self.shard_count} shards'
      )
    if not problems and self.global_batch % self.shard_count:
      problems.append(
        f'global_batch {self.global_batch} is not divisible by shard_count '
        f'{self.shard_count}'
      )
    if self.num_workers and not flags.FLAGS.is_parsed():
      problems.append(
        'num_workers needs parsed absl flags (grain reads them): start through '
        'absl.app.run, or call absl.flags.FLAGS.mark_as_parsed() first'
      )
    return problems


def check_state(state: Mapping[str, int], global_batch: int) -> dict[str, int]:
  """A state as `BatchStream` takes it.

  Args:
    state: what `get_state` returned, perhaps by way of JSON.
    global_batch: examples per step of the stream that it is for.

  Returns:
    The state.

  Raises:
    ValueError: if it is no such state, or of another batch size.
  """
  value = state.get(STATE_KEY) if isinstance(state, Mapping) else None
  if not isinstance(value, int | np.integer) or value < 0:
    raise ValueError(
      f'stream state is {state!r}, wanted {{{STATE_KEY!r}: number of examples}}'
    )
  if value % global_batch:
    raise ValueError(
      f'stream state {int(value)} is not a whole number of batches of '
      f'{global_batch}; continue with the batch size of the saved run'
    )
  return {STATE_KEY: int(value)}


class _OwnRows:
  """Position in a process's part of the order -> one example.

  Grain's own shards would deal a batch out like cards. These are cut from it
  in one piece, so that the global batch is the same, row by row, for every
  number of processes.
  """

  def __init__(self, source: ExampleSource, options: StreamOptions):
    self._source = source
    self._rows = options.global_batch // options.shard_count
    self._global_batch = options.global_batch
    self._first = options.shard_index * self._rows

  def __len__(self) -> int:
    return len(self._source)

  def __getitem__(self, position: int) -> Batch:
    step, row = divmod(int(position), self._rows)
    return self._source[step * self._global_batch + self._first + row]


class BatchStream:
  """Iterator over this process's part of every batch, without end.

  Its state is `{'global_next_index': k}`, k being the number of examples that
  all processes together have taken: it fits any number of workers, threads
  and processes. Use it in a `with` statement, or call `close`.
  """

  def __init__(self, grain_iterator: Any, options: StreamOptions):
    # In a list that the finalizer shares: grain's iterators must be gone, not
    # only closed, before the interpreter takes their modules away.
    self._holder = [grain_iterator]
    self._finalizer = weakref.finalize(self, _close_all, self._holder)
    self._global_batch = options.global_batch
    self._shard_count = options.shard_count

  @property
  def _iterator(self) -> Any:
    if not self._holder:
      raise ValueError('the stream is closed; open a new one')
    return self._holder[0]

  def __iter__(self) -> Iterator[Batch]:
    return self

  def __next__(self) -> Batch:
    return _copied(next(self._iterator))

  def get_state(self) -> dict[str, int]:
    """What `set_state` needs to continue after the batch given last."""
    own = int(self._iterator.get_state()[STATE_KEY])
    return {STATE_KEY: own * self._shard_count}

  def set_state(self, state: Mapping[str, int]) -> None:
    """Continues where a stream was when `get_state` was called on it.

    Args:
      state: what `get_state` returned, perhaps by way of JSON.

    Raises:
      ValueError: if it is no such state, or of another batch size.
    """
    taken = check_state(state, self._global_batch)[STATE_KEY]
    self._iterator.set_state({STATE_KEY: taken // self._shard_count})

  def close(self) -> None:
    """Stops threads and worker processes; the stream is over."""
    self._finalizer()

  def __enter__(self) -> BatchStream:
    return self

  def __exit__(self, *unused: object) -> None:
    self.close()


def _copied(batch: Any) -> Any:
  # Workers hand over shared memory, which must not outlive the stream.
  if isinstance(batch, dict):
    return {name: _copied(value) for name, value in batch.items()}
  return np.array(batch)


def _close_all(holder: list) -> None:
  while holder:
    holder.pop().close()


def open_stream(source: ExampleSource, options: StreamOptions) -> BatchStream:
  """Streams a source; every option but the batch leaves its order alone.

  Args:
    source: picklable, if there are workers.
    options: how.

  Returns:
    Batches of `global_batch // shard_count` examples. The batch of step k
    holds the positions `k * global_batch` to `(k + 1) * global_batch`; shard
    i has the i-th part of them, in their order.
  """
  # Here, because grain imports jax, which not every user of the data needs.
  import grain

  workers = None
  if options.num_workers:
    workers = grain.MultiprocessingOptions(num_workers=options.num_workers)
  elastic = grain.experimental.ElasticIterator(
    grain.MapDataset.source(_OwnRows(source, options)),
    options.global_batch // options.shard_count,
    grain.sharding.ShardOptions(0, 1),
    read_options=grain.ReadOptions(
      num_threads=options.num_threads,
      prefetch_buffer_size=max(2, 2 * options.num_threads),
    ),
    multiprocessing_options=workers,
  )
  stream = BatchStream(iter(elastic), options)
  if options.start_state is not None:
    stream.set_state(options.start_state)
  return stream
