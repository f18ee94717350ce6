"""The training loop. It knows tasks, and nothing of faces."""

from __future__ import annotations

import collections
import contextlib
import dataclasses
import json
import math
import time
from typing import Any

import jax
import ml_collections
import numpy as np
from absl import logging
from clu import parameter_overview
from etils import epath

from data import remote
from edtn_jax import (
  agreement,
  checkpoints,
  devices,
  distributed,
  mirror,
  sharding,
)
from edtn_jax import workdir as workdir_lib
from edtn_jax.config import ConfigError, Problem
from edtn_jax.tasks import build_data, build_task
from edtn_jax.tasks.base import Batch, Params, Task, TrainData
from edtn_jax.tasks.validate import validate
from edtn_jax.training import cost
from edtn_jax.training.optimizer import build_optimizer
from edtn_jax.training.preemption import PreemptionWatch
from edtn_jax.training.progress import Progress
from edtn_jax.training.start import StateSource, state_trees
from edtn_jax.training.step import TrainState, make_train_step
from edtn_jax.training.trace import StepTrace
from edtn_jax.training.writer import MetricWriter

# Steps whose scalars may still be on the device: reading a step's scalars
# only when later steps are queued keeps the device busy. It is the depth of
# the device's input queue as well: the batches of these steps are on their way
# to it, or there, before it needs them.
_IN_FLIGHT = 2


class NonFiniteError(RuntimeError):
  """A loss or gradient became NaN or infinite."""


@dataclasses.dataclass(frozen=True)
class TrainResult:
  """What a run leaves behind.

  Attributes:
    state: final training state.
    metrics: last validation metrics, or {} if none were taken.
    step: steps done.
    preempted: whether a signal ended the run before its last step.
    task: the task, for whoever wants to look at the result.
  """

  state: TrainState
  metrics: dict[str, float]
  step: int
  preempted: bool
  task: Task


def train_and_evaluate(
  config: ml_collections.ConfigDict,
  workdir: str | epath.Path,
  *,
  num_devices: int | None = None,
) -> TrainResult:
  """Trains a task as its config says; resumes what `workdir` holds.

  The state comes from, in this order: the newest checkpoint of `workdir`;
  the one of `config.resume_from` (state and data position); parameters of
  `config.init_from`; a fresh start.

  Under `jax.distributed` every process calls it alike, with a `workdir` that
  all of them share; process 0 alone writes, but for checkpoints.

  Args:
    config: see `configs/edtn.py`.
    workdir: directory of the run; made if absent. May be in `gs://`, or in
      `s3://`, see `mirror.opened`.
    num_devices: use only the first so many devices; default all.

  Returns:
    The result; `preempted` if SIGTERM ended the run early (it is saved).

  Raises:
    ConfigError: if the config cannot be run; nothing was written.
    WorkdirError: if `workdir` is a file, damaged, or in use.
    RemotePathError: if its bucket cannot be reached.
    NonFiniteError: at a NaN or infinite loss; the last good state is saved.
  """
  workdir_lib.check_directory(workdir)
  _check_devices(num_devices)
  several = jax.process_count() > 1
  validate(
    config,
    num_devices=num_devices or jax.device_count(),
    devices_per_process=jax.local_device_count() if several else None,
  )
  agreement.check_same_config(config)
  devices.use_compile_cache(config.compile_cache_dir)
  # From here on, so that a signal during the start or the last save is heeded.
  with PreemptionWatch() as watch, contextlib.ExitStack() as stack:
    place = stack.enter_context(mirror.opened(workdir))
    _check_same_run(place.folder, config)
    run = _Run(config, place, _mesh(config, num_devices), stack)
    try:
      result = run.train(watch)
    except BaseException as error:
      # First of all: closing may wait for processes that wait for this one.
      distributed.tell_failure(error)
      run.close(wait=not several)
      raise
    run.close()
    return result


def _check_same_run(
  workdir: epath.Path, config: ml_collections.ConfigDict
) -> None:
  if not (workdir / workdir_lib.CONFIG).exists():
    return
  changed = workdir_lib.check_same_run(workdir_lib.read_config(workdir), config)
  for key, (old, new) in changed.items():
    logging.info('Resuming with %s = %r (was %r)', key, new, old)


def _check_devices(num_devices: int | None) -> None:
  there = jax.device_count()
  least = 1 if jax.process_count() == 1 else there
  if num_devices is not None and not least <= num_devices <= there:
    allowed = f'{least} to {there}, the devices here'
    if least > 1:
      allowed = f'{there}: with several processes all devices take part'
    raise ConfigError(
      [
        Problem(
          'num_devices',
          num_devices,
          f'must be {allowed}',
          'Leave it out to use all.',
        )
      ]
    )


def _mesh(config: ml_collections.ConfigDict, num_devices: int | None):
  shape = sharding.mesh_shape(config, num_devices or jax.device_count())
  return devices.data_mesh(num_devices, model=shape['model'])


class _Run:
  """One call of `train_and_evaluate`: the parts and the loop over them."""

  def __init__(self, config, place: mirror.Mirror, mesh, stack):
    workdir = place.folder
    self.config, self.workdir, self.mesh = config, workdir, mesh
    self.stack = stack
    self.task: Task = build_task(config)
    self.batch_axes = sharding.batch_axes(sharding.rules_of(config))
    # Before the data are read or drawn, which may take long. What a state
    # looks like does not depend on the length of the run.
    source = StateSource(
      config, self.task, build_optimizer(config.optimizer, 1), mesh
    )
    self.data: TrainData = build_data(self._data_config(), self.task, mesh)
    # A process without its data ends the run before anything is written.
    agreement.meet('data')
    self.batch_size = config.train.batch_size
    self.num_steps = config.train.num_steps or math.ceil(
      config.train.num_epochs * self.data.examples_per_pass / self.batch_size
    )
    self.eval_every = config.train.eval_every or max(
      1, round(self.data.examples_per_pass / self.batch_size)
    )
    self.constants = devices.replicate(self.task.constants, mesh)
    self.active = jax.process_index() == 0
    self.trace = StepTrace(workdir, config.train.profile_steps)
    self.state = self._open(source)
    optimizer = build_optimizer(config.optimizer, self.num_steps)
    self._make_step = lambda task: make_train_step(
      task,
      self.data,
      optimizer,
      mesh,
      config.train.ema_decay,
      config.train.get('accumulation', 1),
      state_shardings=source.shardings,
      batch_axes=self.batch_axes,
    )
    self._steps: dict[int, cost.MeasuredStep] = {}  # by stage
    start = int(self.state.step)
    if start > self.num_steps:
      raise ConfigError(
        [
          Problem(
            'train.num_steps',
            self.num_steps,
            f'the run has done {start} steps already',
            'Ask for at least as many (num_epochs counts as well).',
          )
        ]
      )
    if self.active:
      workdir_lib.write_config(workdir, config)
      workdir_lib.append_provenance(
        workdir, start_step=start, **self.task.notes()
      )
    self.writer = MetricWriter(workdir, active=self.active, start_step=start)
    peak = cost.peak_flops(mesh.devices.flat[0].device_kind)
    self.progress = Progress(
      num_steps=self.num_steps,
      batch_size=self.batch_size,
      peak_flops=peak * mesh.size if peak else None,
    )
    self.metrics: dict[str, float] = {}
    place.follow(lambda: self.manager.steps)

  def _open(self, source: StateSource) -> TrainState:
    """The state to begin with, and the directory, which is this run's now."""
    newest = agreement.number_of_first(
      max(checkpoints.finished_steps(self.workdir), default=-1)
    )
    # Before the directory is made: a checkpoint that does not fit must not
    # leave an empty run behind.
    given = source.given(self.data) if newest < 0 else None
    if self.active:
      workdir_lib.make(self.workdir)
      self.stack.enter_context(workdir_lib.claim(self.workdir))
    agreement.check_shared_directory(self.workdir)
    self.manager = checkpoints.CheckpointManager(
      self.workdir, best_metric=self.task.best_metric
    )
    return given or source.restored(self.manager, newest, self.data)

  def _data_config(self) -> ml_collections.ConfigDict:
    """The config with validation batches that every device gets a part of."""
    config = self.config.copy_and_resolve_references()
    ways = math.prod(self.mesh.shape[axis] for axis in self.batch_axes)
    rows = config.train.eval_batch_size
    config.train.eval_batch_size = -(-rows // ways) * ways
    return config

  def close(self, *, wait: bool = True) -> None:
    """Closes the files; waits for pending saves, if asked to."""
    try:
      if wait:
        self.manager.close()
    finally:
      self.writer.close()

  def train(self, watch: PreemptionWatch) -> TrainResult:
    """Steps until the end, a signal or a bad number."""
    step = int(self.state.step)
    logging.info(
      'Training %s from step %d to %d on %d device(s)',
      self.config.task,
      step,
      self.num_steps,
      self.mesh.size,
    )
    parameter_overview.log_parameter_overview(
      self.state.params, include_stats='global'
    )
    # Closed with the run: a stream owns threads and worker processes.
    batches = self.stack.enter_context(
      contextlib.closing(self.data.batches(step))
    )
    pending = collections.deque()
    preempted = False
    while step < self.num_steps and not preempted:
      self.trace.before(step, self.state)
      began = time.perf_counter()
      batch = self._spread(next(batches))
      self.progress.waited(time.perf_counter() - began)
      inputs = (self.constants, self.data.resident, batch, np.int32(step))
      step_fn = self._step_fn(self.task.stage(step), inputs)
      self.state, scalars = step_fn(self.state, *inputs)
      step += 1
      pending.append((step, scalars))
      preempted = watch.reached(step)
      boundary = preempted or self._is_boundary(step)
      while pending and (boundary or len(pending) > _IN_FLIGHT):
        self._finish_step(*pending.popleft())
      if boundary:
        self._at_boundary(step, preempted)
    self.trace.end(self.state)
    if step not in self.manager.steps:
      self._save(step)
    self.manager.wait()
    if step == self.num_steps:
      self._write_result(step)
    return TrainResult(
      state=self.state,
      metrics=self.metrics,
      step=step,
      preempted=preempted and step < self.num_steps,
      task=self.task,
    )

  def _step_fn(self, stage: int, inputs: tuple[Any, ...]) -> cost.MeasuredStep:
    """The compiled step of a stage; logs what it will cost."""
    if stage not in self._steps:
      step_fn = self._make_step(self.task.at_stage(stage))
      self._steps[stage] = cost.MeasuredStep(step_fn, (self.state, *inputs))
      logging.info(
        'A step of %d examples in stage %d: %s',
        self.batch_size,
        stage,
        self._steps[stage].describe(),
      )
      self.progress.restart()  # Compiling is no part of the rate.
    return self._steps[stage]

  def _write_result(self, step: int) -> None:
    if not self.metrics:  # nothing was left to do
      if (self.workdir / workdir_lib.RESULT).exists():
        return
      # Killed between the last checkpoint and its result. All processes come
      # here: one alone would wait for the others in a sharded computation.
      self._evaluate(step, pictures=False)
    if not self.active:
      return
    result = {'step': step, 'metrics': self.metrics, **self.task.notes()}
    workdir_lib.write_text(
      self.workdir / workdir_lib.RESULT, json.dumps(result, indent=2) + '\n'
    )

  def _is_boundary(self, step: int) -> bool:
    train = self.config.train
    return step == self.num_steps or any(
      every and step % every == 0
      for every in (train.log_every, self.eval_every, train.checkpoint_every)
    )

  def _at_boundary(self, step: int, preempted: bool) -> None:
    """Logs, evaluates and saves, whichever is due after `step`."""
    train, last = self.config.train, step == self.num_steps
    self.manager.check()
    if last or preempted or (train.log_every and step % train.log_every == 0):
      values, line = self.progress.flush(step)
      self.writer.scalars(step, values, prefix='train')
      logging.info('%s', line)
    due = train.checkpoint_every and step % train.checkpoint_every == 0
    # Every regular checkpoint is evaluated, or none could be the best one; at
    # a signal time is short, unless the run is over anyway.
    evaluated = last or (not preempted and (due or step % self.eval_every == 0))
    if evaluated:
      self._evaluate(step, pictures=last or due)
    if last or preempted or due:
      self._save(step, self.metrics if evaluated else None)

  def _finish_step(self, step: int, scalars: Any) -> None:
    """Reads a step's scalars; stops the run at the first bad number."""
    values = jax.device_get(scalars)
    if not values.pop('accepted'):
      good = int(self.state.step)
      self._save(good)
      self.manager.wait()
      shown = ', '.join(f'{k} = {v:.4g}' for k, v in sorted(values.items()))
      where = remote.origin(self.workdir)
      raise NonFiniteError(
        f'step {step}: {shown}. The state after step {good} is saved in '
        f'{where}. Lower --config.optimizer.learning_rate, set '
        '--config.optimizer.clip_norm=1, or look for bad values in the data; '
        'the same command continues from the saved state.'
      )
    self.progress.add(values, self._steps[self.task.stage(step - 1)].flops)

  def _spread(self, batch: Batch) -> Batch:
    return devices.shard_batch(batch, self.mesh, self.batch_axes)

  def _evaluate(self, step: int, *, pictures: bool) -> None:
    """Every device takes its part of each batch; all get the whole result."""
    state = self.state
    params = state.ema_params if state.ema_params is not None else state.params
    params = devices.gathered(params, self.mesh)
    metrics = self.task.evaluate(
      params, self.constants, map(self._spread, self.data.validation())
    )
    self.metrics = dict(metrics)
    self.writer.scalars(step, self.metrics, prefix='validation')
    logging.info(
      'validation at step %d: %s',
      step,
      ', '.join(f'{k} {v:.4g}' for k, v in metrics.items() if '/' not in k),
    )
    if pictures and self.config.train.pictures and self.active:
      self._draw(step, params)

  def _draw(self, step: int, params: Params) -> None:
    """Samples, in one process: nothing that it computes may be shared."""
    constants = self.constants
    if jax.process_count() > 1:
      params, constants = jax.device_get((params, self.task.constants))
    batch = next(self.data.validation())
    self.writer.pictures(step, self.task.pictures(params, constants, batch))

  def _save(self, step: int, metrics: dict[str, float] | None = None) -> None:
    self.manager.save(
      step,
      {
        **state_trees(self.state),
        'constants': self.task.portable_constants(),
      },
      data=self.data.position(step),
      config=self.config,
      metrics=metrics,
    )
