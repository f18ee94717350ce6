"""Where the time goes."""

from __future__ import annotations

import collections.abc
import contextlib
import time
from typing import TypeVar

_Item = TypeVar('_Item')


class Stopwatch:
  """Adds up wall time by stage."""

  def __init__(self):
    self._start = time.perf_counter()
    self._stages: dict[str, float] = {}

  @contextlib.contextmanager
  def __call__(self, stage: str) -> collections.abc.Iterator[None]:
    """Times a block."""
    start = time.perf_counter()
    try:
      yield
    finally:
      spent = time.perf_counter() - start
      self._stages[stage] = self._stages.get(stage, 0.0) + spent

  def each(
    self, stage: str, items: collections.abc.Iterable[_Item]
  ) -> collections.abc.Iterator[_Item]:
    """Yields items, timing how long each takes to arrive."""
    iterator, end = iter(items), object()
    while True:
      with self(stage):
        item = next(iterator, end)
      if item is end:
        return
      yield item
      # Else the last chunk would stay alive while the next one is read.
      del item

  def seconds(self) -> dict[str, float]:
    """Seconds by stage, and `total` since the start."""
    total = time.perf_counter() - self._start
    stages = {**self._stages, 'total': total}
    return {name: round(spent, 4) for name, spent in stages.items()}
