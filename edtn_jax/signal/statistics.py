"""Statistics of a stream of frames in constant memory."""

from __future__ import annotations

import numpy as np


class StreamStatistics:
  """Mean, deviation, range and jitter of [T, C] chunks.

  Jitter is the mean absolute second difference, a frame: it is zero for
  anything that moves evenly, so it measures trembling and not expression.

  Attributes:
    count: frames seen.
  """

  def __init__(self):
    self.count = 0
    self._mean: np.ndarray | float = 0.0
    self._squares: np.ndarray | float = 0.0
    self._low: np.ndarray | float = np.inf
    self._high: np.ndarray | float = -np.inf
    self._second_differences: np.ndarray | float = 0.0
    self._tail: np.ndarray | None = None

  def add(self, chunk: np.ndarray) -> None:
    """Takes in the next frames.

    Args:
      chunk: [T, C] float.
    """
    chunk = np.asarray(chunk, np.float64)
    if not len(chunk):
      return
    # Chan, Golub and LeVeque (1979): merging moments without cancellation.
    total = self.count + len(chunk)
    mean = chunk.mean(axis=0)
    shift = mean - self._mean
    self._squares = (
      self._squares
      + np.square(chunk - mean).sum(axis=0)
      + shift**2 * (self.count * len(chunk) / total)
    )
    self._mean = self._mean + shift * (len(chunk) / total)
    self._low = np.minimum(self._low, chunk.min(axis=0))
    self._high = np.maximum(self._high, chunk.max(axis=0))
    joined = chunk if self._tail is None else np.vstack([self._tail, chunk])
    differences = np.abs(np.diff(joined, n=2, axis=0)).sum(axis=0)
    self._second_differences = self._second_differences + differences
    # A copy: a view would keep the whole chunk alive.
    self._tail = joined[-2:].copy()
    self.count = total

  @property
  def mean(self) -> np.ndarray:
    """[C] float64."""
    return np.asarray(self._mean)

  @property
  def std(self) -> np.ndarray:
    """[C] float64, of the population."""
    return np.sqrt(self._squares / max(self.count, 1))

  @property
  def minimum(self) -> np.ndarray:
    """[C] float64."""
    return np.asarray(self._low)

  @property
  def maximum(self) -> np.ndarray:
    """[C] float64."""
    return np.asarray(self._high)

  @property
  def jitter(self) -> np.ndarray:
    """[C] float64; zero for fewer than three frames."""
    return np.asarray(self._second_differences) / max(self.count - 2, 1)
