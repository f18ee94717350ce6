"""Codes frame by frame from encoders that are made for clips."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import numpy as np

from edtn_jax.encoders.clip_encoders import ClipEncoder, Rows


class LiveCodes:
  """Calibrates an encoder on the frames so far, then encodes one at a time.

  To the encoder this is a clip that begins with the calibration frames; the
  frames after them it gets as they are seen.
  """

  def __init__(
    self, encoder: ClipEncoder, start: np.ndarray, size: tuple[int, int]
  ):
    """Calibrates at the first call.

    Args:
      encoder: used by nobody else as long as this is.
      start: [n, row_size] float32, rows of frames that show the face at rest.
      size: (width, height) of the frames in pixels.
    """
    self._rows = _GrowingRows(start)
    self._codes = iter(encoder.codes(self._rows, size))

  def __call__(self, row: np.ndarray) -> dict[str, np.ndarray]:
    """Codes of the next frame.

    Args:
      row: [row_size] float32, of `ClipEncoder.observe`.

    Returns:
      `clip_encoders.CODES`, [1, ...] float32.

    Raises:
      CalibrationError: at the first call, see `ClipEncoder.codes`.
    """
    self._rows.newest = row[None]
    return next(self._codes)


class _GrowingRows(Rows):
  """A start that is known, then whatever `newest` is when it is asked for."""

  def __init__(self, start: np.ndarray):
    self.newest = start[:1]
    self._start = start

  def __len__(self) -> int:
    return len(self._start)

  def take(self, indices: Iterable[int]) -> np.ndarray:
    return self._start[list(indices)]

  def chunks(self) -> Iterator[np.ndarray]:
    while True:
      yield self.newest
