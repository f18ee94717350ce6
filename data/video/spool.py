"""Frames that wait on disk until all of them are known."""

from __future__ import annotations

import tempfile
import zlib
from collections.abc import Iterator

import numpy as np


class FrameSpool:
  """A queue of frames, compressed, in a temporary file.

  Memory holds one frame, however many wait. The file has no name and
  disappears with the process.
  """

  def __init__(self):
    self._file = tempfile.TemporaryFile()  # noqa: SIM115
    self._entries: list[tuple[int, tuple[int, ...]]] = []

  def __len__(self) -> int:
    return len(self._entries)

  def add(self, frame: np.ndarray) -> None:
    """Appends a uint8 array of any shape."""
    packed = zlib.compress(frame.tobytes(), 1)
    self._file.write(packed)
    self._entries.append((len(packed), frame.shape))

  def __iter__(self) -> Iterator[np.ndarray]:
    self._file.seek(0)
    for length, shape in self._entries:
      data = zlib.decompress(self._file.read(length))
      yield np.frombuffer(data, np.uint8).reshape(shape)

  def close(self) -> None:
    """Gives the disk space back."""
    self._file.close()
