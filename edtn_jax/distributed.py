"""Several processes as one run: how they join, and how they end together.

    with distributed.joined('10.0.0.1:1234,2,0'):
      train_and_evaluate(config, workdir)

A process that fails says so to the others, and they end with its reason: a
computation that all of them share would otherwise wait for it for ever. A
process that says nothing at all for `heartbeat` seconds was killed, and ends
the others as well; if it was process 0, JAX itself ends them at once ("the
leader task was preempted/died").
"""

from __future__ import annotations

import atexit
import contextlib
import os
import socket
import sys
import threading
import time
from collections.abc import Iterable, Iterator

import jax
from absl import logging

from edtn_jax import process_setting
from edtn_jax.process_setting import Processes

# Of a process that ends because another one did.
EXIT_CODE = 1
_ERROR_CODE = 2  # as the command line's, for every error that it tells
_INTERRUPTED_CODE = 130

# Keys of the coordinator's store, each followed by a process number.
_ALIVE, _FAILED, _HEARD = 'edtn/alive/', 'edtn/failed/', 'edtn/heard/'
_DONE = 'done'
# How errors read that are only the echo of another process's end.
_ECHOES = ('gloo', 'nccl', 'connection', 'socket', 'unavailable', 'peer')
_MOST_REASON = 2000  # characters of a reason that travel
# Seconds that a process which has failed may take to clean up.
_PATIENCE = 20.0


class JoinError(RuntimeError):
  """Processes that cannot find each other."""


_watch: _Watch | None = None


@contextlib.contextmanager
def joined(setting: str = '') -> Iterator[None]:
  """Makes this process one of several while the block runs.

  Must come before anything that uses a device.

  Args:
    setting: see `process_setting.parse`; '' looks at the environment variable
      `EDTN_PROCESSES`, and is a process of its own if that is empty as well.

  Raises:
    ConfigError: if the setting cannot be read.
    JoinError: if the others are not found in time.
  """
  global _watch
  chosen = process_setting.parse(
    setting or os.environ.get(process_setting.VARIABLE, '')
  )
  if chosen is None:
    yield
    return
  _join(chosen)
  if jax.process_index() != 0:
    logging.set_verbosity(logging.WARNING)  # One process tells the story.
  logging.info(
    'Process %d of %d, %d of %d devices',
    jax.process_index(),
    jax.process_count(),
    jax.local_device_count(),
    jax.device_count(),
  )
  _watch = _Watch(chosen.heartbeat)
  try:
    yield
  except BaseException as error:
    tell_failure(error)
    raise
  _watch.close()
  _watch = None
  jax.distributed.shutdown()


def tell_failure(error: BaseException) -> None:
  """Lets the other processes end, with the reason, because this one does.

  Does nothing the second time, nor in a process of its own. Call it before
  anything that waits for the others, such as a save.
  """
  if _watch is not None and not _watch.told:
    _watch.tell_failure(error)
    _leave_abruptly(error)


def _join(chosen: Processes) -> None:
  """Finds the others."""
  if jax.distributed.is_initialized():
    raise JoinError('this process has joined others already')
  if chosen.coordinator:
    _check_coordinator(chosen)
  if chosen.number == 0:
    logging.info(
      'Waiting for %d other process(es) at %s',
      chosen.count - 1,
      chosen.coordinator,
    )
  try:
    with _giving_up_after(chosen):
      jax.distributed.initialize(
        chosen.coordinator or None,
        chosen.count,
        chosen.number,
        # JAX would abort with a stack trace; both limits of ours come first,
        # and name what is missing.
        initialization_timeout=chosen.join + 60,
        heartbeat_timeout_seconds=2 * chosen.heartbeat + 10,
      )
  except ValueError as error:
    if chosen.coordinator:
      raise
    raise JoinError(
      f'"auto" finds neither SLURM, nor a TPU slice, nor Open MPI, nor '
      f'Kubernetes with its Python package here ({error}). Name the '
      f'processes: {process_setting.FORM}'
    ) from error


@contextlib.contextmanager
def _giving_up_after(chosen: Processes) -> Iterator[None]:
  """Ends the process if the block, which cannot be interrupted, takes long."""

  def give_up():
    print(
      f'edtn: not all of the {chosen.count or ""} processes came together '
      f'within {chosen.join} s. Start each with a number of its own, and all '
      'with the same coordinator and count.',
      file=sys.stderr,
      flush=True,
    )
    os._exit(_ERROR_CODE)

  timer = threading.Timer(chosen.join, give_up)
  timer.daemon = True
  timer.start()
  try:
    yield
  finally:
    timer.cancel()


def _check_coordinator(chosen: Processes) -> None:
  """Tells a coordinator that nobody can reach in our words, not JAX's."""
  host, _, port = chosen.coordinator.rpartition(':')
  host = host.strip('[]')
  if chosen.number == 0:
    with socket.socket() as probe:
      probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
      try:
        probe.bind(('', int(port)))
      except OSError as error:
        raise JoinError(
          f'process 0 is the coordinator and cannot open port {port} here: '
          f'{error}. Choose another port, in all processes.'
        ) from error
    return
  began = time.monotonic()
  while True:
    try:
      socket.create_connection((host, int(port)), timeout=5).close()
      return
    except OSError as error:
      if time.monotonic() - began > chosen.join:
        raise JoinError(
          f'the coordinator {chosen.coordinator} cannot be reached for '
          f'{chosen.join} s: {error}. Start process 0 there, check the '
          'address, and that the network lets this port through.'
        ) from error
    time.sleep(0.2)


def _leave_abruptly(error: BaseException) -> None:
  """Ends the process at its exit, and soon, without a wait for the others.

  What JAX and its libraries do at exit waits for processes that are gone.
  """
  interrupted = isinstance(error, KeyboardInterrupt)
  code = _INTERRUPTED_CODE if interrupted else _ERROR_CODE

  def leave():
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)

  def lose_patience():
    print(f'edtn: stops: {error}', file=sys.stderr)
    leave()

  timer = threading.Timer(_PATIENCE, lose_patience)
  timer.daemon = True
  timer.start()
  # Handlers run last to first, so that this one comes before JAX's.
  atexit.register(leave)
  error.add_note(f'(process {jax.process_index()} of {jax.process_count()})')


class _Watch:
  """Tells the others that this process is alive, and listens to them.

  Args:
    heartbeat: seconds of silence after which a process counts as dead.

  Attributes:
    told: whether this process has said that it fails.
  """

  def __init__(self, heartbeat: float):
    from jax._src import distributed  # no public way to the store

    self._client = distributed.global_state.client
    self._number, self._count = jax.process_index(), jax.process_count()
    self._heartbeat = heartbeat
    self._interval = min(max(heartbeat / 20, 0.1), 2.0)
    # Of each process: what it said last, and when that was new.
    self._heard: dict[int, tuple[str, float]] = {}
    self._host = socket.gethostname()
    self.told = False
    self._closed = threading.Event()
    self._thread = threading.Thread(
      target=self._run, name='edtn-watch', daemon=True
    )
    self._thread.start()

  def close(self) -> None:
    """Leaves in peace: this process is silent from now on."""
    self._stop()
    self._set(_ALIVE, _DONE)

  def tell_failure(self, error: BaseException) -> None:
    """Tells the others why this process ends.

    Does not return if the error only echoes that another one ended.
    """
    self.told = True
    echo = isinstance(error, jax.errors.JaxRuntimeError) and any(
      word in str(error).lower() for word in _ECHOES
    )
    # Of a process that was killed, the watch finds out and ends this one.
    deadline = time.monotonic() + (self._heartbeat + 5 if echo else 0)
    while True:
      failed = self._others(_FAILED)
      if failed or time.monotonic() > deadline:
        break
      time.sleep(self._interval)
    if failed:
      self._end(_failure_text(failed), failed)
    self._stop()
    text = str(error) or type(error).__name__
    self._set(_FAILED, f'{self._host}|{text[:_MOST_REASON]}')
    self._wait_for_others()

  def _stop(self) -> None:
    self._closed.set()
    self._thread.join()

  def _set(self, key: str, value: str) -> None:
    with contextlib.suppress(RuntimeError):  # the coordinator may be gone
      self._client.key_value_set(
        f'{key}{self._number}', value, allow_overwrite=True
      )

  def _others(self, key: str) -> dict[int, str]:
    """What the others have under a key; nothing if the store is gone."""
    try:
      found = self._client.key_value_dir_get(key)
    except RuntimeError:
      return {}
    by_number = {int(name.rpartition('/')[2]): value for name, value in found}
    by_number.pop(self._number, None)
    return by_number

  def _wait_for_others(self, but: Iterable[int] = ()) -> None:
    """Lets the others hear of a failure before the coordinator is gone."""
    if self._number != 0:
      return
    deadline = time.monotonic() + 5 * self._interval + 2
    while time.monotonic() < deadline:
      told = {*but, *self._others(_HEARD), *self._others(_FAILED)}
      if len(told) >= self._count - 1:
        return
      time.sleep(self._interval / 2)

  def _run(self) -> None:
    beat = 0
    while not self._closed.wait(self._interval):
      beat += 1
      self._set(_ALIVE, f'{self._host}|{beat}')
      failed = self._others(_FAILED)
      if failed:
        self._end(_failure_text(failed), failed)
      silent = self._silent()
      if silent:
        names = ', '.join(_name(*found) for found in silent.items())
        self._end(
          f'{names} not heard of for {self._heartbeat} s: killed (out of '
          'memory?), or the machine or its network is gone',
          silent,
        )

  def _silent(self) -> dict[int, str]:
    """Processes that are silent for too long, with what they said last."""
    now, silent = time.monotonic(), {}
    for number, value in self._others(_ALIVE).items():
      last, since = self._heard.get(number, (None, now))
      if value != last:
        self._heard[number] = value, now
      elif value != _DONE and now - since > self._heartbeat:
        silent[number] = value
    return silent

  def _end(self, reason: str, gone: Iterable[int]) -> None:
    """Ends this process, whatever its other threads wait for."""
    self._set(_HEARD, 'yes')
    print(
      f'edtn: process {self._number} of {self._count} stops: {reason}. '
      'Finished checkpoints are kept: start all processes again with the same '
      'commands to continue.',
      file=sys.stderr,
      flush=True,
    )
    self._wait_for_others(gone)
    os._exit(EXIT_CODE)


def _name(number: int, value: str) -> str:
  host = value.partition('|')[0]
  return f'process {number}' + (f' on {host}' if host else '')


def _failure_text(failed: dict[int, str]) -> str:
  number = min(failed)
  return (
    f'{_name(number, failed[number])} failed: '
    + (failed[number].partition('|')[2])
  )
