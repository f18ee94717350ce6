"""The progress line: rate, time left, share of waiting for data."""

from __future__ import annotations

import time
from collections.abc import Mapping

import numpy as np


class Progress:
  """Averages the scalars of a window of steps and measures its rate."""

  def __init__(
    self, *, num_steps: int, batch_size: int, peak_flops: float | None = None
  ):
    """Starts the first window.

    Args:
      num_steps: length of the run.
      batch_size: examples of a step.
      peak_flops: of all devices together, a second; None if not known.
    """
    self._num_steps = num_steps
    self._batch_size = batch_size
    self._peak_flops = peak_flops
    self.restart()

  def restart(self) -> None:
    """Begins a window, now."""
    self._began = time.perf_counter()
    self._waited = 0.0
    self._steps = 0
    self._flops = 0.0
    self._sums: dict[str, float] = {}

  def waited(self, seconds: float) -> None:
    """Adds time spent waiting for input."""
    self._waited += seconds

  def add(self, scalars: Mapping[str, float], flops: float = 0.0) -> None:
    """Adds the scalars of one finished step, and what it cost."""
    self._steps += 1
    self._flops += flops
    for name, value in scalars.items():
      self._sums[name] = self._sums.get(name, 0.0) + float(value)

  def flush(self, step: int) -> tuple[dict[str, float], str]:
    """Ends the window.

    Args:
      step: steps done so far.

    Returns:
      The window's averages with `steps_per_second`, `data_wait` (share of the
      time) and, where the peak is known, `mfu` (share of the peak that the
      step's matrix products and convolutions reach); and the line to print.
    """
    seconds = max(time.perf_counter() - self._began, 1e-9)
    steps = max(self._steps, 1)
    values = {name: total / steps for name, total in self._sums.items()}
    rate = self._steps / seconds
    values |= {'steps_per_second': rate, 'data_wait': self._waited / seconds}
    if self._peak_flops and self._flops:
      values['mfu'] = self._flops / seconds / self._peak_flops
    left = (self._num_steps - step) / rate if rate else float('nan')
    line = (
      f'step {step}/{self._num_steps}'
      f' | loss {values.get("loss", float("nan")):.4g}'
      f' | {rate:.1f} steps/s'
      f' | {rate * self._batch_size:,.0f} examples/s'
      f' | data_wait {100 * values["data_wait"]:.1f} %'
      f'{_mfu_text(values)}'
      f' | {format_seconds(left)} left'
    )
    self.restart()
    return values, line


def _mfu_text(values: Mapping[str, float]) -> str:
  return f' | mfu {100 * values["mfu"]:.1f} %' if 'mfu' in values else ''


def format_seconds(seconds: float) -> str:
  """`1:02:03`, or `2:03` under an hour, or `?` if unknown."""
  if not np.isfinite(seconds):
    return '?'
  minutes, rest = divmod(round(seconds), 60)
  hours, minutes = divmod(minutes, 60)
  if hours:
    return f'{hours}:{minutes:02d}:{rest:02d}'
  return f'{minutes}:{rest:02d}'
