"""A profiler's trace of some steps, for TensorBoard or Perfetto."""

from __future__ import annotations

import pathlib
import shutil
import tempfile
from typing import Any

import jax
from absl import logging
from etils import epath

from data import remote

FOLDER = 'profile'


class StepTrace:
  """Traces the steps [begin, end) of a run into `<workdir>/profile`.

  The profiler writes to this machine only; a trace of a run in a bucket is
  copied there when it is whole.
  """

  def __init__(self, workdir: epath.Path, steps: tuple[int, int]):
    """Traces nothing yet.

    Args:
      workdir: the run's directory.
      steps: begin and end; nothing is traced where they are equal.
    """
    self._folder = workdir / FOLDER
    self._begin, self._end = steps
    self._local: pathlib.Path | None = None

  def before(self, step: int, state: Any) -> None:
    """Begins or ends the trace, if it is time; called before every step."""
    if self._end <= self._begin:
      return
    if step == self._begin:
      self._local = pathlib.Path(
        tempfile.mkdtemp(prefix='edtn_profile_')
        if remote.is_remote(self._folder)
        else self._folder
      )
      jax.profiler.start_trace(str(self._local))
    elif step == self._end:
      self.end(state)

  def end(self, state: Any) -> None:
    """Ends the trace if there is one, once `state` is computed."""
    if self._local is None:
      return
    local, self._local = self._local, None
    jax.block_until_ready(state)
    jax.profiler.stop_trace()
    if not remote.is_remote(self._folder):
      return
    try:
      remote.copy_out(local, self._folder)
    except remote.RemotePathError as error:
      # The run is worth more than its trace.
      logging.error('The trace stays in %s: %s', local, error)
    else:
      shutil.rmtree(local)
