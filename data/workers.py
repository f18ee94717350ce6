"""Processes that work through a list of jobs.

It imports nothing slow: every worker process does so first.
"""

from __future__ import annotations

import concurrent.futures
import contextlib
import multiprocessing
import os
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TypeVar

_Job = TypeVar('_Job')
_Result = TypeVar('_Result')

# Read by numpy's linear algebra when it is imported. A process a core whose
# matrix products use every core wait for one another: soft shading was four
# times slower.
_ONE_THREAD = {'OPENBLAS_NUM_THREADS': '1', 'OMP_NUM_THREADS': '1'}


def map_in_processes(
  function: Callable[[_Job], _Result],
  jobs: Sequence[_Job],
  num_processes: int,
  *,
  chunksize: int = 1,
  environment: Mapping[str, str] | None = None,
) -> Iterator[_Result]:
  """Results of a function for every job, in the order of the jobs.

  The processes compute with one thread each, and end with this one, however
  it ends.

  Args:
    function: what to call, of a module's top level.
    jobs: its argument, once for each call.
    num_processes: 1 calls it here.
    chunksize: jobs that a process takes at once.
    environment: variables that the processes have besides ours.

  Yields:
    Its results.

  Raises:
    What the function raises; jobs that have not begun are then left.
  """
  if num_processes == 1:
    yield from map(function, jobs)
    return
  # A forked process would inherit JAX's threads, which deadlocks.
  pool = concurrent.futures.ProcessPoolExecutor(
    min(num_processes, max(1, len(jobs))),
    multiprocessing.get_context('spawn'),
    initializer=_end_with_parent,
  )
  try:
    # All processes start while the jobs are handed in.
    with _environment({**_ONE_THREAD, **(environment or {})}):
      results = pool.map(function, jobs, chunksize=chunksize)
    yield from results
  finally:
    pool.shutdown(cancel_futures=True)


@contextlib.contextmanager
def _environment(variables: Mapping[str, str]) -> Iterator[None]:
  """Processes that start in this block find these variables set."""
  before = {name: os.environ.get(name) for name in variables}
  os.environ.update(variables)
  try:
    yield
  finally:
    for name, value in before.items():
      if value is None:
        del os.environ[name]
      else:
        os.environ[name] = value


def _end_with_parent() -> None:
  """Ends this worker process when the process that started it is gone.

  The workers of a killed process would otherwise work on, into the folders of
  the run that resumes it, and then wait for ever.
  """
  parent = multiprocessing.parent_process()

  def watch() -> None:
    parent.join()
    os._exit(1)

  threading.Thread(target=watch, daemon=True).start()
