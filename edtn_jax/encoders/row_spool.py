"""Rows of numbers that wait on disk."""

from __future__ import annotations

import tempfile
from collections.abc import Iterable, Iterator

import numpy as np

from edtn_jax.encoders.clip_encoders import Rows

_CHUNK = 256


class RowSpool(Rows):
  """Takes rows one after another and keeps them in a temporary file.

  An hour of landmarks is half a gigabyte. Use as a context manager; the file
  is gone afterwards.

  Args:
    row_size: numbers of a row.
  """

  def __init__(self, row_size: int):
    self._row_size = row_size
    self._count = 0
    self._file = tempfile.TemporaryFile()  # noqa: SIM115 - closed on exit

  def __len__(self) -> int:
    return self._count

  def add(self, rows: np.ndarray) -> None:
    """Appends [n, row_size] float32 rows."""
    self._file.seek(0, 2)
    self._file.write(np.ascontiguousarray(rows, np.float32).tobytes())
    self._count += len(rows)

  def chunks(self) -> Iterator[np.ndarray]:
    """See `Rows`."""
    for start in range(0, self._count, _CHUNK):
      yield self._read(start, min(_CHUNK, self._count - start))

  def take(self, indices: Iterable[int]) -> np.ndarray:
    """See `Rows`."""
    rows = [self._read(int(index), 1) for index in indices]
    return np.concatenate(rows)

  def _read(self, start: int, count: int) -> np.ndarray:
    width = self._row_size * 4
    self._file.seek(start * width)
    data = self._file.read(count * width)
    return np.frombuffer(data, np.float32).reshape(count, self._row_size)

  def __enter__(self) -> RowSpool:
    return self

  def __exit__(self, *error) -> None:
    self._file.close()
