"""What reenactment reports about a run: statistics and times."""

from __future__ import annotations

import time
from typing import Any

import numpy as np
from absl import logging

from data import pose_vector
from edtn_jax.signal.statistics import StreamStatistics

# Above this an eye counts as closed.
_CLOSED_EYE = 0.5
# Rows of a pose vector whose jitter is averaged, by name.
_PARTS = {
  'coefficients': slice(0, pose_vector.NUM_COEFFICIENTS),
  'angles_deg': slice(pose_vector.NUM_COEFFICIENTS, None),
}


class Statistics:
  """Statistics of pose vectors before, after the filter and at the end."""

  def __init__(self):
    self._before = StreamStatistics()
    self._smoothed = StreamStatistics()
    self._result = StreamStatistics()
    self._closed_eye_frames = 0

  def add(
    self, before: np.ndarray, smoothed: np.ndarray, result: np.ndarray
  ) -> None:
    """Takes in the next [T, 20] pose vectors of each stage."""
    self._before.add(before)
    self._smoothed.add(smoothed)
    self._result.add(result)
    self._closed_eye_frames += int(closed_eyes(result).sum())

  def summary(self) -> dict[str, Any]:
    """Numbers for `summary.json`."""
    result = self._result
    rows = zip(
      pose_vector.POSE_NAMES,
      result.mean.tolist(),
      result.std.tolist(),
      result.minimum.tolist(),
      result.maximum.tolist(),
      strict=True,
    )
    before, after = self._before.jitter, self._smoothed.jitter
    return {
      'closed_eye_frames': self._closed_eye_frames,
      'jitter': {
        part: {
          'before': round(float(before[rows].mean()), 5),
          'after': round(float(after[rows].mean()), 5),
        }
        for part, rows in _PARTS.items()
      },
      'pose': {
        name: {
          key: round(value, 4)
          for key, value in zip(
            ('mean', 'std', 'min', 'max'), values, strict=True
          )
        }
        for name, *values in rows
      },
    }


def closed_eyes(poses: np.ndarray) -> np.ndarray:
  """Whether both eyes are closed, by either way of closing them.

  Args:
    poses: [T, 20] float, pose vectors.

  Returns:
    [T] bool: on both sides, wink or happy wink is above 0.5.
  """
  sides = []
  for side in ('left', 'right'):
    columns = [
      pose_vector.POSE_INDEX[f'{stem}_{side}']
      for stem in ('eye_wink', 'eye_happy_wink')
    ]
    sides.append(poses[:, columns].max(axis=1))
  return np.minimum(*sides) > _CLOSED_EYE


class ProgressLine:
  """Logs, every few seconds, how far a stream is."""

  def __init__(self, total: int | None, every_seconds: float = 5.0):
    """Starts the clock.

    Args:
      total: frames of the whole stream, None if unknown.
      every_seconds: time between two lines.
    """
    self._total = total
    self._every = every_seconds
    self._count = 0
    self._start = self._last = time.perf_counter()

  def add(self, count: int) -> None:
    """Counts frames that are done."""
    self._count += count
    now = time.perf_counter()
    if now - self._last < self._every:
      return
    self._last = now
    rate = self._count / (now - self._start)
    if self._total is None:
      logging.info('frame %d | %.1f frames/s', self._count, rate)
      return
    logging.info(
      'frame %d/%d | %.1f frames/s | %.0f s left',
      self._count,
      self._total,
      rate,
      (self._total - self._count) / rate,
    )
