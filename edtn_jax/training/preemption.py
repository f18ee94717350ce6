"""SIGTERM: finish the step, save, exit 0."""

from __future__ import annotations

import signal
import threading

import jax
from absl import logging


class PreemptionWatch:
  """Tells the loop when the machine is about to be taken away.

  Under `jax.distributed` its own handler sees the signal and all processes
  agree on one step; otherwise this class installs a handler for SIGTERM.

  Example:
    >>> with PreemptionWatch() as watch:
    ...   for step in range(n):
    ...     if watch.reached(step): break
  """

  def __init__(self):
    self._seen = threading.Event()
    self._previous = None

  def __enter__(self) -> PreemptionWatch:
    # Python allows handlers in the main thread only; a run in another thread
    # leaves signals to whoever owns the process.
    if (
      not _distributed()
      and threading.current_thread() is threading.main_thread()
    ):
      self._previous = signal.signal(signal.SIGTERM, self._handle)
    return self

  def __exit__(self, *exc_info) -> None:
    if self._previous is not None:
      signal.signal(signal.SIGTERM, self._previous)
      self._previous = None

  def reached(self, step: int) -> bool:
    """Whether to save and stop after `step`."""
    if _distributed():
      from jax.experimental import multihost_utils

      return multihost_utils.reached_preemption_sync_point(step)
    return self._seen.is_set()

  def _handle(self, signum, frame):
    del frame
    logging.warning('Signal %d: saving after this step', signum)
    self._seen.set()


def _distributed() -> bool:
  return jax.distributed.is_initialized()
