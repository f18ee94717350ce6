"""SIGTERM or Ctrl-C: finish the step, save, exit 0."""

from __future__ import annotations

import signal
import threading

import jax
from absl import logging


class PreemptionWatch:
  """Tells the loop when the machine is about to be taken away.

  Under `jax.distributed` its own handler sees the signal and all processes
  agree on one step; otherwise this class handles SIGTERM and the first
  Ctrl-C. A second Ctrl-C interrupts as usual.

  Example:
    >>> with PreemptionWatch() as watch:
    ...   for step in range(n):
    ...     if watch.reached(step): break
  """

  def __init__(self):
    self._seen = threading.Event()
    self._previous = {}

  def __enter__(self) -> PreemptionWatch:
    # Python allows handlers in the main thread only; a run in another thread
    # leaves signals to whoever owns the process.
    if (
      not _distributed()
      and threading.current_thread() is threading.main_thread()
    ):
      for number in (signal.SIGTERM, signal.SIGINT):
        # What the shell of a background job ignores stays ignored.
        if signal.getsignal(number) is not signal.SIG_IGN:
          self._previous[number] = signal.signal(number, self._handle)
    return self

  def __exit__(self, *exc_info) -> None:
    for number, handler in self._previous.items():
      signal.signal(number, handler)
    self._previous = {}

  def reached(self, step: int) -> bool:
    """Whether to save and stop after `step`."""
    if _distributed():
      from jax.experimental import multihost_utils

      return multihost_utils.reached_preemption_sync_point(step)
    return self._seen.is_set()

  def _handle(self, signum, frame):
    del frame
    logging.warning('Signal %d: saving after this step', signum)
    if signum == signal.SIGINT:
      signal.signal(signum, self._previous[signum])
    self._seen.set()


def _distributed() -> bool:
  return jax.distributed.is_initialized()
