"""The progress line: rate, time left, share of waiting for data."""

from __future__ import annotations

import time
from collections.abc import Mapping

import numpy as np


class Progress:
  """Averages the scalars of a window of steps and measures its rate."""

  def __init__(self, *, num_steps: int, batch_size: int):
    self._num_steps = num_steps
    self._batch_size = batch_size
    self._reset()

  def _reset(self) -> None:
    self._began = time.perf_counter()
    self._waited = 0.0
    self._steps = 0
    self._sums: dict[str, float] = {}

  def waited(self, seconds: float) -> None:
    """Adds time spent waiting for input."""
    self._waited += seconds

  def add(self, scalars: Mapping[str, float]) -> None:
    """Adds the scalars of one finished step."""
    self._steps += 1
    for name, value in scalars.items():
      self._sums[name] = self._sums.get(name, 0.0) + float(value)

  def flush(self, step: int) -> tuple[dict[str, float], str]:
    """Ends the window.

    Args:
      step: steps done so far.

    Returns:
      The window's averages with `steps_per_second` and `data_wait` (share of
      the time), and the line to print.
    """
    seconds = max(time.perf_counter() - self._began, 1e-9)
    steps = max(self._steps, 1)
    values = {name: total / steps for name, total in self._sums.items()}
    rate = self._steps / seconds
    values |= {'steps_per_second': rate, 'data_wait': self._waited / seconds}
    left = (self._num_steps - step) / rate if rate else float('nan')
    line = (
      f'step {step}/{self._num_steps}'
      f' | loss {values.get("loss", float("nan")):.4g}'
      f' | {rate:.1f} steps/s'
      f' | {rate * self._batch_size:,.0f} examples/s'
      f' | data_wait {100 * values["data_wait"]:.1f} %'
      f' | {format_seconds(left)} left'
    )
    self._reset()
    return values, line


def format_seconds(seconds: float) -> str:
  """`1:02:03`, or `2:03` under an hour, or `?` if unknown."""
  if not np.isfinite(seconds):
    return '?'
  minutes, rest = divmod(round(seconds), 60)
  hours, minutes = divmod(minutes, 60)
  if hours:
    return f'{hours}:{minutes:02d}:{rest:02d}'
  return f'{minutes}:{rest:02d}'
