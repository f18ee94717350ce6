"""Evaluates a trained run over a split."""

from __future__ import annotations

import dataclasses
import hashlib
import pathlib
import time
from collections.abc import Iterator
from typing import Any

import jax
import ml_collections
import numpy as np
from absl import logging
from etils import epath

from data import layout, remote
from edtn_jax import bundles, checkpoints, devices
from edtn_jax import workdir as workdir_lib
from edtn_jax.evaluation import extras
from edtn_jax.evaluation.setting import evaluation_config
from edtn_jax.tasks import build_task, build_validation
from edtn_jax.tasks.base import Batch, Task
from edtn_jax.tasks.validate import validate


@dataclasses.dataclass(frozen=True)
class Evaluation:
  """An evaluation, and what its page shows.

  Attributes:
    result: `metrics` by name, and the `protocol` that they were taken by.
    task: that was evaluated.
    extra: what was measured beside the task's own metrics.
    pictures: by name, [H, W, 3] uint8; of the first batch.
  """

  result: dict[str, Any]
  task: Task
  extra: extras.Extra
  pictures: dict[str, np.ndarray]


def evaluate(
  workdir: str | epath.Path,
  *,
  step: int | None = None,
  data_path: str = '',
  split: str = '',
  averaged: bool | None = None,
  pose_adapter: str = '',
  pictures: bool = False,
) -> Evaluation:
  """Measures a checkpoint of a run on a split.

  The split is divided among all devices of all processes; every process must
  call it, and gets the same numbers.

  Args:
    workdir: of `edtn train` or `edtn convert`, or bundle of `edtn export`.
    step: which checkpoint; None takes the newest.
    data_path: a prepared data set to evaluate on; '' takes the run's own
      validation data.
    split: split of the data set; '' takes the config's validation split.
    averaged: moving average or raw parameters; None takes what there is.
    pose_adapter: `.npy` to use instead of the stored adapter.
    pictures: whether to draw the task's pictures as well.

  Returns:
    The evaluation.

  Raises:
    CheckpointError: if the checkpoint is absent or does not fit.
    ConfigError: if an argument cannot be used.
    DataError: if the data does not fit the run.
  """
  began = time.perf_counter()
  found = bundles.load_model(workdir, step=step, averaged=averaged)
  config, constants = evaluation_config(
    found, data_path=data_path, split=split, pose_adapter=pose_adapter
  )
  validate(config, num_devices=1)
  mesh = devices.data_mesh()
  # Every device gets a part of each batch; what fills it up counts nothing.
  rows, ways = config.train.eval_batch_size, mesh.shape[devices.DATA_AXIS]
  config.train.eval_batch_size = -(-rows // ways) * ways
  task = build_task(config, constants)
  expected = jax.eval_shape(task.init, jax.random.key(0))
  checkpoints.check_params(found.params, expected, found.path)
  split_data = build_validation(config, task)
  measured = extras.Evaluated(
    task=task,
    config=config,
    params=devices.replicate(found.params, mesh),
    constants=devices.replicate(task.constants, mesh),
    batches=split_data,
    spread=lambda batch: devices.shard_batch(batch, mesh),
  )
  metrics = task.evaluate(
    measured.params, measured.constants, _spread(measured)
  )
  extra = extras.extra(measured)
  logging.info('Evaluated %s', found.path)
  return Evaluation(
    result={
      'metrics': {**metrics, **extra.metrics},
      'protocol': {
        **_protocol(found, config),
        **extra.protocol,
        'wall_time_s': round(time.perf_counter() - began, 1),
      },
    },
    task=task,
    extra=extra,
    pictures=_pictures(measured) if pictures else {},
  )


def _spread(measured: extras.Evaluated) -> Iterator[Batch]:
  return map(measured.spread, measured.batches)


def _pictures(measured: extras.Evaluated) -> dict[str, np.ndarray]:
  """Of this process's rows of the first batch, on one device."""
  params, constants = (
    jax.tree.map(lambda x: np.asarray(x.addressable_data(0)), tree)
    for tree in (measured.params, measured.constants)
  )
  batch = next(iter(measured.batches))
  return measured.task.pictures(params, constants, batch)


def _protocol(
  found: checkpoints.Checkpoint, config: ml_collections.ConfigDict
) -> dict[str, Any]:
  protocol = {
    'task': config.task,
    'checkpoint': remote.origin(found.path),
    'step': found.step,
    'averaged': found.averaged,
    'parameters_sha256': bundles.params_sha256(found.params),
    'num_parameters': sum(x.size for x in jax.tree.leaves(found.params)),
    'data': config.data.path or config.data.source,
    'split': config.data.validation_split,
  }
  if 'size' in config.data:
    protocol['image_size'] = config.data.size
  if config.data.source == 'dataset':
    protocol['data_sha256'] = _manifest_sha256(config.data.path)
  return {
    **protocol,
    # Of the run, not of the config that was adapted for the evaluation.
    **_objective(found.config),
    'devices': f'{jax.device_count()} x {jax.devices()[0].device_kind}',
    'commit': workdir_lib.git_commit(),
  }


def _manifest_sha256(path: str) -> str:
  """Of a prepared data set, by its output folder or the folder of its files."""
  folder = remote.local_copy(path)
  # The output folder holds NAME/VERSION; that it is there, its reader checked.
  places = [folder, *folder.glob('*/*')]
  manifests = [place / layout.MANIFEST_NAME for place in places]
  content = next(m for m in manifests if m.is_file()).read_bytes()
  return hashlib.sha256(content).hexdigest()


def _objective(config: ml_collections.ConfigDict) -> dict[str, str]:
  """Which reading of the loss, or which objective, a run was trained by."""
  return {
    f'loss_{key}': config.loss[key]
    for key in ('reading', 'objective')
    if key in config.loss
  }


def run_name(checkpoint: str) -> str:
  """Name of a bundle, or of the run that <run>/checkpoints/<step> is of."""
  path = pathlib.PurePath(checkpoint)
  return path.parts[-3] if path.parts[-2:-1] == ('checkpoints',) else path.name


def markdown_row(result: dict[str, Any]) -> str:
  """One README table row: step, then every metric that is not per part."""
  metrics = {k: v for k, v in result['metrics'].items() if '/' not in k}
  head = ' | '.join(['step', *metrics])
  rule = ' | '.join(['---'] * (len(metrics) + 1))
  values = ' | '.join(f'{v:.4g}' for v in metrics.values())
  step = result['protocol']['step']
  return f'| {head} |\n| {rule} |\n| {step} | {values} |'
