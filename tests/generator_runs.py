"""A run of a tiny generator with random weights, as training leaves it."""

from __future__ import annotations

import json
import pathlib

import jax
import numpy as np

from configs import anime_generator
from data.pose_vector import NUM_POSE
from edtn_jax import checkpoints
from edtn_jax import workdir as workdir_lib
from edtn_jax.animation.network import build_generator

STEP = 7
SIZE = 32


def write_run(workdir: pathlib.Path, *, averaged: bool = True) -> pathlib.Path:
  """Writes the run.

  Args:
    workdir: directory of the run.
    averaged: whether it keeps a moving average, which has other weights.

  Returns:
    `workdir`.
  """
  config = anime_generator.get_config('tiny')
  manager = checkpoints.CheckpointManager(workdir, best_metric='l1_parts')
  manager.save(
    STEP,
    {
      'params': make_params(config, 0),
      'ema_params': make_params(config, 1) if averaged else None,
      'constants': {},
    },
    data={},
    config=config,
    metrics={'l1_parts': 0.125},
  )
  manager.close()
  workdir_lib.write_config(workdir, config)
  workdir_lib.append_provenance(workdir, start_step=0)
  rows = [
    {'step': STEP - 1, 'validation/l1_parts': 0.5},
    {'step': STEP, 'train/loss': 3.0},
    {'step': STEP, 'validation/l1_parts': 0.125},
  ]
  lines = ''.join(json.dumps(row) + '\n' for row in rows)
  (workdir / 'metrics.jsonl').write_text(lines + '{"step": ')
  return workdir


def make_params(config, seed: int):
  """Weights with which every pose shows, drawn without compiling `init`."""
  rng = np.random.default_rng(seed)
  model = build_generator(config.model)
  example = np.zeros((1, SIZE, SIZE, 3)), np.zeros((1, NUM_POSE))
  shapes = jax.eval_shape(model.init, jax.random.key(0), *example)['params']

  def draw(path, leaf):
    if len(leaf.shape) > 1:
      scale = 1 / np.sqrt(np.prod(leaf.shape[:-1]))
      return (scale * rng.standard_normal(leaf.shape)).astype(np.float32)
    value = 0 if path[-1].key == 'bias' else 1
    return np.full(leaf.shape, value, np.float32)

  return {'model': jax.tree_util.tree_map_with_path(draw, shapes)}
