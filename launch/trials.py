"""Trials of a sweep: what they are, and running each of them once.

A trial is one `main.py train` in a directory of its own, so it can be looked
at, resumed and evaluated like any run.
"""

from __future__ import annotations

import contextlib
import dataclasses
import fcntl
import importlib.util
import itertools
import json
import os
import pathlib
import re
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from absl import logging

from data import remote
from edtn_jax import workdir as workdir_lib

# In a trial's directory: the arguments that it was started with last.
TRIAL = 'trial.json'
# Held by whoever runs a trial, and by the training itself.
_LOCK = '.sweep.lock'

ROOT = pathlib.Path(__file__).resolve().parents[1]


class SweepError(ValueError):
  """A config without a sweep, or trials that failed."""


@dataclasses.dataclass(frozen=True)
class Trial:
  """One run of a sweep.

  Attributes:
    overrides: dotted config key to value.
    label: what its row is called; '' for one that its overrides tell.
    beside: what the row shows besides, such as the numbers of a paper.
  """

  overrides: Mapping[str, Any]
  label: str = ''
  beside: Mapping[str, Any] = dataclasses.field(default_factory=dict)

  @property
  def name(self) -> str:
    """Name of its directory, e.g. `loss.vertex_weight=10.0`."""
    words = [f'{k}={v}' for k, v in self.overrides.items()]
    if self.label:
      seed = self.overrides.get('seed')
      words = [re.sub(r'\W+', '_', self.label)]
      words += [f'seed={seed}'] if seed is not None else []
    return re.sub(r'[^\w.,=+-]+', '_', ','.join(words)) or 'base'

  @property
  def words(self) -> list[str]:
    """Its overrides as arguments of `edtn train`."""
    return [f'--config.{k}={v}' for k, v in self.overrides.items()]


@dataclasses.dataclass(frozen=True)
class Sweep:
  """All trials of a config, and how they are run.

  Attributes:
    config_file: with or without `:argument`.
    workdir: directory of the sweep.
    trials: in the order of the config.
    metric: what the plot shows, '' if the config does not say.
    arguments: `--config.*` words for every trial.
  """

  config_file: str
  workdir: pathlib.Path
  trials: tuple[Trial, ...]
  metric: str = ''
  arguments: tuple[str, ...] = ()

  def directory(self, trial: Trial) -> pathlib.Path:
    """Where a trial is run."""
    return self.workdir / trial.name

  def command(self, trial: Trial) -> list[str]:
    """Command line of a trial."""
    return [
      sys.executable,
      str(ROOT / 'main.py'),
      'train',
      f'--config={self.config_file}',
      f'--workdir={self.directory(trial)}',
      *self.arguments,
      *trial.words,
    ]

  def finished(self, trial: Trial) -> bool:
    """Whether a trial has been run to its end, with these arguments."""
    directory = self.directory(trial)
    mark = directory / TRIAL
    return (
      (directory / workdir_lib.RESULT).exists()
      and mark.exists()
      and mark.read_text() == self.fingerprint(trial)
    )

  def fingerprint(self, trial: Trial) -> str:
    """Its arguments, by which a finished trial is recognised."""
    argument = self.config_file.partition(':')[2]
    return json.dumps([argument, *self.arguments, *trial.words])


def read_sweep(
  config_file: str,
  workdir: str | os.PathLike,
  *,
  name: str = '',
  seeds: Sequence[int] = (),
  arguments: Sequence[str] = (),
) -> Sweep:
  """Reads the trials that a config declares.

  Args:
    config_file: path, with or without `:argument`.
    workdir: directory of the sweep.
    name: '' for `sweep`, or the NAME of a `sweep_NAME`.
    seeds: every trial is run with each of these; () leaves the config's.
    arguments: `--config.*` words for every trial.

  Returns:
    The sweep.

  Raises:
    SweepError: if the file or its sweep is absent, or a trial comes twice.
  """
  if remote.is_remote(workdir):
    raise SweepError(
      f'--workdir={workdir}: a sweep keeps its books in a local or shared '
      'directory; choose another'
    )
  module = _config_module(config_file)
  function = f'sweep_{name}' if name else 'sweep'
  if not hasattr(module, function):
    known = sorted(
      n.removeprefix('sweep_') for n in vars(module) if n.startswith('sweep_')
    )
    others = f'It has --sweep={", ".join(known)}. ' if known else ''
    raise SweepError(
      f'{config_file} has no {function}(add). {others}Add one: '
      f'def {function}(add): add(**{{"loss.vertex_weight": 10.0}})'
    )
  trials: list[Trial] = []

  def add(label: str = '', beside: Mapping[str, Any] = {}, /, **overrides):
    trials.append(Trial(overrides, label, dict(beside)))

  getattr(module, function)(add)
  if seeds:
    trials = [
      dataclasses.replace(t, overrides={**t.overrides, 'seed': seed})
      for t, seed in itertools.product(trials, seeds)
    ]
  names = [t.name for t in trials]
  twice = sorted({n for n in names if names.count(n) > 1})
  if twice or not trials:
    raise SweepError(
      f'{config_file}: {function}() adds '
      + (f'the same trial twice: {", ".join(twice)}' if twice else 'no trial')
    )
  return Sweep(
    config_file,
    pathlib.Path(workdir),
    tuple(trials),
    getattr(module, 'SWEEP_METRIC', ''),
    tuple(arguments),
  )


def _config_module(config_file: str) -> Any:
  path = pathlib.Path(config_file.partition(':')[0])
  if not path.is_file():
    raise SweepError(f'no config file at {path}')
  spec = importlib.util.spec_from_file_location(path.stem, path)
  module = importlib.util.module_from_spec(spec)
  spec.loader.exec_module(module)
  return module


class Runner:
  """Runs command lines, and passes on a signal to end to all of them."""

  def __init__(self):
    self._running: set[subprocess.Popen] = set()
    # Re-entrant: a signal may come while this thread holds it.
    self._guard = threading.RLock()
    self.stopped = False

  def __call__(self, command: list[str], lock: int) -> int:
    """Runs one command line.

    Args:
      command: its words.
      lock: file descriptor that it keeps open: while it lives, also when this
        process was killed, nobody else runs its trial.

    Returns:
      Its exit status.
    """
    with self._guard:
      if self.stopped:
        return -signal.SIGTERM
      process = subprocess.Popen(command, pass_fds=(lock,))
      self._running.add(process)
      if self.stopped:
        process.send_signal(signal.SIGTERM)
    try:
      return process.wait()
    finally:
      with self._guard:
        self._running.discard(process)

  def stop(self, *unused: Any) -> None:
    """Lets every running trial save and end; starts no other."""
    with self._guard:
      self.stopped = True
      for process in self._running:
        process.send_signal(signal.SIGTERM)

  @contextlib.contextmanager
  def heeding_signals(self) -> Iterator[None]:
    """Stops at SIGTERM or Ctrl-C while the block runs."""
    before = {
      number: signal.signal(number, self.stop)
      for number in (signal.SIGTERM, signal.SIGINT)
    }
    try:
      yield
    finally:
      for number, handler in before.items():
        signal.signal(number, handler)


def run_trial(
  sweep: Sweep, trial: Trial, run: Callable[[list[str], int], int]
) -> str:
  """Runs a trial, if it is not finished.

  Args:
    sweep: that it belongs to.
    trial: which one.
    run: see `Runner`.

  Returns:
    '' if it is finished now, or why not.
  """
  directory = sweep.directory(trial)
  directory.mkdir(parents=True, exist_ok=True)
  with _claimed(directory) as lock:
    if sweep.finished(trial):
      logging.info('%s: finished before', trial.name)
      return ''
    logging.info('%s: starting', trial.name)
    with _replacing_result(directory, sweep.fingerprint(trial)):
      status = run(sweep.command(trial), lock)
    # A run that a signal ended has saved, exits with 0, and has no result.
    if status == 0 and sweep.finished(trial):
      return ''
  return f'{trial.name}: exit status {status}, not finished'


@contextlib.contextmanager
def _replacing_result(
  directory: pathlib.Path, fingerprint: str
) -> Iterator[None]:
  """Puts a result of other arguments aside; back, if no new one comes."""
  mark, result = directory / TRIAL, directory / workdir_lib.RESULT
  old_mark = mark.read_text() if mark.exists() else None
  old_result = result.read_text() if result.exists() else None
  workdir_lib.write_text(mark, fingerprint)
  result.unlink(missing_ok=True)
  yield
  if old_mark and old_result and not result.exists():
    workdir_lib.write_text(result, old_result)
    workdir_lib.write_text(mark, old_mark)


@contextlib.contextmanager
def _claimed(directory: pathlib.Path) -> Iterator[int]:
  """Waits until nobody else runs what is in a directory."""
  with open(directory / _LOCK, 'w') as handle:
    try:
      fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
      logging.info(
        '%s: another process runs it; waiting for that', directory.name
      )
      fcntl.flock(handle, fcntl.LOCK_EX)
    except OSError as error:
      # Some network file systems cannot lock; the training guards itself.
      logging.info('%s is not guarded: %s', directory, error)
    yield handle.fileno()
