"""Where the state of a run comes from: a checkpoint, parameters, or a seed."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

import jax
import ml_collections
import optax
from absl import logging
from jax.sharding import Mesh

from edtn_jax import checkpoints, devices, sharding
from edtn_jax.tasks.base import Task, TrainData
from edtn_jax.training.step import TrainState, init_state


class StateSource:
  """Makes, or reads, the state of a run, spread as its config says.

  Args:
    config: of the run.
    task: what is trained.
    optimizer: of every group.
    mesh: devices.

  Attributes:
    shardings: where the state lies, a `TrainState` of shardings.

  Raises:
    ConfigError: if the rules of `config.sharding` do not fit the state.
  """

  def __init__(
    self,
    config: ml_collections.ConfigDict,
    task: Task,
    optimizer: optax.GradientTransformation,
    mesh: Mesh,
  ):
    self._config, self._task, self._mesh = config, task, mesh
    ema = config.train.ema_decay > 0

    def init() -> TrainState:
      return init_state(task, optimizer, config.seed, ema)

    self._init: Callable[[], TrainState] = init
    self._shapes = jax.eval_shape(init)
    self.shardings = sharding.state_shardings(
      self._shapes, sharding.rules_of(config), mesh
    )

  def given(self, data: TrainData) -> TrainState:
    """That of resume_from, then of init_from, then a fresh one."""
    if self._config.resume_from:
      found = checkpoints.find_checkpoint(self._config.resume_from)
      other = checkpoints.CheckpointManager(
        found.parent.parent,
        best_metric=self._task.best_metric,
        read_only=True,
      )
      state = self.restored(other, int(found.name), data)
      other.close()
      return state
    state = jax.jit(self._init, out_shardings=self.shardings)()
    if self._config.init_from:
      found = checkpoints.load_checkpoint(self._config.init_from)
      checkpoints.check_params(found.params, state.params, found.path)
      places = self.shardings.params
      ema = state.ema_params
      state = dataclasses.replace(
        state,
        params=devices.place(found.params, places),
        # Buffers of its own: the state is donated.
        ema_params=None if ema is None else devices.place(found.params, places),
      )
      logging.info('Parameters from %s', found.path)
    return state

  def restored(
    self, manager: checkpoints.CheckpointManager, step: int, data: TrainData
  ) -> TrainState:
    """That of a checkpoint, whatever number of devices wrote it.

    Raises:
      CheckpointError: if it is damaged, or does not fit.
    """
    abstract = jax.tree.map(
      lambda x, place: jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=place),
      self._shapes,
      self.shardings,
    )
    trees, position = manager.restore(step, state_trees(abstract))
    if position != data.position(step):
      raise checkpoints.CheckpointError(
        f'checkpoint {step} stands at data position {position}, this config '
        f'at {data.position(step)}: train.batch_size differs'
      )
    logging.info('Restored step %d from %s', step, manager.directory)
    return TrainState(
      step=trees['trainer']['step'],
      params=trees['params'],
      opt_state=trees['trainer']['opt_state'],
      ema_params=trees.get('ema_params'),
      rng=trees['trainer']['rng'],
    )


def state_trees(state: TrainState) -> dict[str, Any]:
  """A state as checkpoint items."""
  return {
    'params': state.params,
    'ema_params': state.ema_params,
    'trainer': {
      'step': state.step,
      'opt_state': state.opt_state,
      'rng': state.rng,
    },
  }
