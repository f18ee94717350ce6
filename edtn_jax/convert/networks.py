"""Converted networks that no task trains: their configs, and back again."""

from __future__ import annotations

import dataclasses
import os
from typing import Any

import jax
import ml_collections
import numpy as np
from flax import linen as nn

from edtn_jax import bundles, checkpoints
from generator.animo import JointGenerator
from generator.fomm import FirstOrderMotion, FOMMConfig
from generator.pirenderer.config import PIRendererConfig

# Groups of a checkpoint's parameters, and what they are among the variables.
GROUPS = {'model': 'params', 'batch_stats': 'batch_stats'}
_NETWORKS = {
  'animo': (JointGenerator, PIRendererConfig),
  'fomm': (FirstOrderMotion, FOMMConfig),
}


def network_of(config: ml_collections.ConfigDict) -> nn.Module:
  """The network that a converted run's config describes.

  Args:
    config: `task` is `animo` or `fomm`, `model` holds the fields of its sizes.

  Returns:
    `JointGenerator` or `FirstOrderMotion`.

  Raises:
    CheckpointError: if the task is another, or a size does not exist.
  """
  if config.task not in _NETWORKS:
    raise checkpoints.CheckpointError(
      f'a config of {config.task!r}; wanted {" or ".join(_NETWORKS)}'
    )
  module, sizes = _NETWORKS[config.task]
  try:
    return module(sizes(**config.model.to_dict()))
  except (TypeError, ValueError) as error:
    raise checkpoints.CheckpointError(
      f'sizes of {config.task!r} that cannot be: {error}'
    ) from error


def config_of(
  task: str, sizes: PIRendererConfig | FOMMConfig
) -> ml_collections.ConfigDict:
  """The config that `network_of` reads."""
  return ml_collections.ConfigDict(
    {'task': task, 'model': dataclasses.asdict(sizes)}
  )


def expected_variables(network: nn.Module) -> dict[str, Any]:
  """Shapes of a network's variables.

  Args:
    network: what `network_of` gives.

  Returns:
    `params` and, of a first-order motion model, `batch_stats`.
  """
  sizes = network.config
  if isinstance(network, FirstOrderMotion):
    multiple = sizes.motion_downsample * 2 ** max(
      sizes.keypoint_blocks, sizes.motion_blocks
    )
    # Large enough for the keypoints' 7x7 convolution without padding.
    side, channels = max(multiple, 8 * sizes.motion_downsample), 3
    other = jax.ShapeDtypeStruct((1, side, side, channels), np.float32)
  else:
    side, channels = sizes.size_multiple, sizes.image_channels
    other = jax.ShapeDtypeStruct((1, sizes.pose_size), np.float32)
  image = jax.ShapeDtypeStruct((1, side, side, channels), np.float32)
  return jax.eval_shape(network.init, jax.random.key(0), image, other)


def load_network(path: str | os.PathLike) -> tuple[nn.Module, dict[str, Any]]:
  """Loads a converted AniMo or first-order motion model.

  Args:
    path: directory that `edtn convert` made.

  Returns:
    The network, and its variables, numpy arrays: `network.apply(variables,
    source_image, pose)`, or a driving image instead of the pose.

  Raises:
    CheckpointError: if it is absent, damaged or of another model.
  """
  found = bundles.load_model(path)
  network = network_of(found.config)
  expected = expected_variables(network)
  groups = {g: expected[n] for g, n in GROUPS.items() if n in expected}
  checkpoints.check_params(found.params, groups, found.path)
  return network, {GROUPS[g]: found.params[g] for g in groups}
