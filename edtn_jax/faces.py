"""The head model and pose adapter that a config names."""

from __future__ import annotations

import ml_collections
import numpy as np

from edtn_jax.translation.pose_adapter import (
  PoseAdapterError,
  fit_pose_adapter,
  load_pose_adapter,
)
from flame_jax.assets import FlameAssets

PROCEDURAL = 'procedural'
FIT = 'fit'
NUM_EXPRESSION = 50


def load_face(config: ml_collections.ConfigDict) -> FlameAssets:
  """Loads `config.model`: the procedural head or a FLAME-format file.

  Args:
    config: the `face` section: `model` ('procedural' or a path) and
      `landmarks` (path or comma-separated paths of landmark files, or None).

  Returns:
    The head model with its landmark embedding.

  Raises:
    FlameFileError: if a file is absent or malformed.
  """
  if config.model == PROCEDURAL:
    from flame_jax.procedural import procedural_head

    return procedural_head()
  from flame_jax.io import load_flame

  paths = config.landmarks.split(',') if config.landmarks else None
  return load_flame(config.model, paths)


def load_adapter(
  config: ml_collections.ConfigDict, assets: FlameAssets
) -> np.ndarray:
  """Fits or loads `config.pose_adapter`.

  Args:
    config: the `face` section: `pose_adapter` ('fit' or a `.npy` path) and
      `adapter_penalty`.
    assets: the head model it belongs to.

  Returns:
    [17, 50] float32.

  Raises:
    PoseAdapterError: if the matrix does not fit the translator's 50
      expression numbers.
  """
  if config.pose_adapter == FIT:
    return fit_pose_adapter(
      assets,
      num_expression=NUM_EXPRESSION,
      penalty=config.adapter_penalty,
    )
  matrix = load_pose_adapter(config.pose_adapter)
  if matrix.shape[1] != NUM_EXPRESSION:
    raise PoseAdapterError(
      f'pose adapter {config.pose_adapter} is {matrix.shape}, the translator '
      f'works with (17, {NUM_EXPRESSION}); refit it for this model'
    )
  return matrix
