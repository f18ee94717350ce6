"""Rate, latency and time by stage of a stream that is watched."""

from __future__ import annotations

import collections
import contextlib
import threading
import time
from collections.abc import Iterator
from typing import Any

import numpy as np

# What "now" means on the page.
_RECENT_S = 5.0
# Percentiles of a session are those of so many frames at its end.
_KEPT = 20_000


class Meter:
  """Counts frames and times them; may be read from any thread."""

  def __init__(self):
    self._lock = threading.Lock()
    self._count = 0
    self._first = self._last = 0.0
    self._recent: collections.deque = collections.deque()
    self._latencies: collections.deque = collections.deque(maxlen=_KEPT)
    self._stages: dict[str, collections.deque] = {}

  def add(self, latency_s: float, now: float | None = None) -> None:
    """Notes that a frame is done.

    Args:
      latency_s: seconds since it was due.
      now: by time.monotonic(), which is the default.
    """
    now = time.monotonic() if now is None else now
    with self._lock:
      self._first = self._first if self._count else now
      self._last = now
      self._count += 1
      self._latencies.append(latency_s)
      self._recent.append((now, latency_s))

  @contextlib.contextmanager
  def stage(self, name: str) -> Iterator[None]:
    """Times a block."""
    began = time.perf_counter()
    yield
    spent = time.perf_counter() - began
    with self._lock:
      kept = self._stages.setdefault(name, collections.deque(maxlen=_KEPT))
      kept.append(spent)

  def recent(self, now: float | None = None) -> dict[str, Any]:
    """Rate and latency of the last five seconds."""
    now = time.monotonic() if now is None else now
    with self._lock:
      while self._recent and self._recent[0][0] < now - _RECENT_S:
        self._recent.popleft()
      times = list(self._recent)
    rate = 0.0
    if len(times) > 1:
      rate = (len(times) - 1) / max(times[-1][0] - times[0][0], 1e-6)
    return {
      'frames_per_second': round(rate, 2),
      'latency_ms': percentiles([latency for _, latency in times]),
    }

  def summary(self) -> dict[str, Any]:
    """Rate and latency of the session, and each stage's time a frame."""
    with self._lock:
      lasted = self._last - self._first
      rate = (self._count - 1) / lasted if self._count > 1 and lasted else 0.0
      return {
        'frames_per_second': round(rate, 2),
        'latency_ms': percentiles(self._latencies),
        'stage_ms': {k: percentiles(v) for k, v in self._stages.items()},
      }


def percentiles(seconds) -> dict[str, float | None]:
  """Median and 95th percentile of times.

  Args:
    seconds: any number of them.

  Returns:
    `p50` and `p95` in milliseconds; None where there is nothing.
  """
  if not seconds:
    return {'p50': None, 'p95': None}
  middle, high = 1e3 * np.percentile(list(seconds), [50, 95])
  return {'p50': round(float(middle), 2), 'p95': round(float(high), 2)}
