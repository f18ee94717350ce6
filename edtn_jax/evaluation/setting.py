"""What of a run's config an evaluation goes by."""

from __future__ import annotations

import ml_collections
import numpy as np

from edtn_jax import checkpoints, faces
from edtn_jax.config import ConfigError, Problem

# Only training looks at these. Values that never stand in the way: weights of
# a loss may be on another machine, and the true flow is not in a data set.
_UNUSED = {
  'anime_generator': {
    'data.pipeline': 'stream',
    'loss.flow_weight': 0.0,
    'loss.flow_weight_editing': 0.0,
    'loss.painted_weight': 0.0,
  },
  'expression_translation': {'data.pipeline': 'memory'},
}
# Instead of the objective of VGG19, which compares pictures in training.
_STRUCTURAL = {
  'loss.objective': 'structural',
  'loss.part_weight': 0.0,
  'loss.l1_weight': 1.0,
}


def evaluation_config(
  found: checkpoints.Checkpoint,
  *,
  data_path: str = '',
  split: str = '',
  pose_adapter: str = '',
) -> tuple[ml_collections.ConfigDict, dict[str, np.ndarray]]:
  """The config and the constants of an evaluation.

  Args:
    found: checkpoint of the run.
    data_path: see `evaluation.run.evaluate`.
    split: likewise.
    pose_adapter: likewise.

  Returns:
    A copy of the run's config, in which nothing stands that only training
    needs, and the stored constants that hold.

  Raises:
    ConfigError: if an argument has no meaning for this run.
  """
  config = found.config.copy_and_resolve_references()
  if data_path:
    config.data.source, config.data.path = 'dataset', data_path
  problems = _argument_problems(config, split, pose_adapter)
  if problems:
    raise ConfigError(problems)
  if split:
    config.data.validation_split = split
  # How state lay on the devices of the training; here it is whole on each.
  if 'sharding' in config:
    with config.unlocked():
      del config.sharding
  changes = dict(_UNUSED.get(config.task, {}))
  if config.loss.get('objective') == 'vgg':
    changes |= _STRUCTURAL
  for key, value in changes.items():
    section, name = key.split('.')
    # Configs of before an entry was there do without.
    if name in config[section]:
      config[section][name] = value
  constants = found.constants
  if pose_adapter:
    constants = {}
    config.face.pose_adapter = pose_adapter
  elif 'pose_adapter' in constants:
    # The stored one counts; its file may be on another machine.
    config.face.pose_adapter = faces.FIT
  return config, constants


def _argument_problems(config, split, pose_adapter) -> list[Problem]:
  problems = []
  if split and config.data.source != 'dataset':
    problems.append(
      Problem(
        'split',
        split,
        'has a meaning only for a prepared data set; the data of this run are '
        'made by code',
        'Give --data=DATASET as well, or leave --split out.',
      )
    )
  if pose_adapter and 'face' not in config:
    problems.append(
      Problem(
        'pose_adapter',
        pose_adapter,
        f'has no meaning for a run of {config.task!r}, which has no face model',
        'Leave --pose_adapter out.',
      )
    )
  return problems
