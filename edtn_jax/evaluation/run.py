"""Evaluates a trained run over a split."""

from __future__ import annotations

from typing import Any

import jax
import ml_collections
from absl import logging
from etils import epath

from edtn_jax import checkpoints, devices, faces
from edtn_jax import workdir as workdir_lib
from edtn_jax.config import ConfigError, Problem
from edtn_jax.tasks import build_task, build_validation
from edtn_jax.tasks.validate import validate


def evaluate_run(
  workdir: str | epath.Path,
  *,
  step: int | None = None,
  data_path: str = '',
  split: str = '',
  averaged: bool | None = None,
  pose_adapter: str = '',
) -> dict[str, Any]:
  """Computes the validation metrics of a run's checkpoint.

  Args:
    workdir: of `edtn train` or `edtn convert`.
    step: which checkpoint; None takes the newest.
    data_path: a prepared data set to evaluate on; '' takes the run's own
      validation data.
    split: split of the data set; '' takes the config's validation split.
    averaged: moving average or raw parameters; None takes what there is.
    pose_adapter: `.npy` to use instead of the stored adapter.

  Returns:
    `metrics` by name, and the `protocol` that they were taken by.

  Raises:
    CheckpointError: if the checkpoint is absent or does not fit.
    ConfigError: if an argument cannot be used.
    DataError: if the data does not fit the run.
  """
  found = checkpoints.load_checkpoint(workdir, step=step, averaged=averaged)
  config = found.config.copy_and_resolve_references()
  if data_path:
    config.data.source, config.data.path = 'dataset', data_path
  if split and config.data.source != 'dataset':
    raise ConfigError(
      [
        Problem(
          'split',
          split,
          'has a meaning only for a prepared data set; the data of this run '
          'are made by code',
          'Give --data=DATASET as well, or leave --split out.',
        )
      ]
    )
  if split:
    config.data.validation_split = split
  constants = {} if pose_adapter else found.constants
  if pose_adapter:
    config.face.pose_adapter = pose_adapter
  elif 'pose_adapter' in constants:
    # The stored one counts; its file may be on another machine.
    config.face.pose_adapter = faces.FIT
  validate(config, num_devices=1)
  mesh = devices.data_mesh(1)
  task = build_task(config, constants)
  expected = jax.eval_shape(task.init, jax.random.key(0))
  checkpoints.check_params(found.params, expected, found.path)
  metrics = task.evaluate(
    devices.replicate(found.params, mesh),
    devices.replicate(task.constants, mesh),
    iter(build_validation(config, task)),
  )
  protocol = {
    'checkpoint': found.path,
    'step': found.step,
    'averaged': found.averaged,
    'data': config.data.path or config.data.source,
    'split': config.data.validation_split,
    **_objective(config),
    'commit': workdir_lib.git_commit(),
  }
  logging.info('Evaluated %s', found.path)
  return {'metrics': dict(metrics), 'protocol': protocol}


def _objective(config: ml_collections.ConfigDict) -> dict[str, str]:
  """Which reading of the loss, or which objective, a run was trained by."""
  return {
    f'loss_{key}': config.loss[key]
    for key in ('reading', 'objective')
    if key in config.loss
  }


def markdown_row(result: dict[str, Any]) -> str:
  """One README table row: step, then every metric that is not per part."""
  metrics = {k: v for k, v in result['metrics'].items() if '/' not in k}
  head = ' | '.join(['step', *metrics])
  rule = ' | '.join(['---'] * (len(metrics) + 1))
  values = ' | '.join(f'{v:.4g}' for v in metrics.values())
  step = result['protocol']['step']
  return f'| {head} |\n| {rule} |\n| {step} | {values} |'
