"""The head model and pose adapter that a config names."""

from __future__ import annotations

import dataclasses

import ml_collections
import numpy as np

from data.codes import FLAME_SPACE, NUM_EXPRESSION, PROCEDURAL_SPACE
from edtn_jax.translation.pose_adapter import (
  PoseAdapterError,
  fit_pose_adapter,
  load_pose_adapter,
)
from flame_jax.assets import FlameAssets

PROCEDURAL = 'procedural'
FIT = 'fit'
# Damps the directions in which the released adapter's rows nearly coincide
# (singular values 31 to 0.18): undamped, real codes tear the mouth.
_RIDGE = 0.026
AUTO = 'auto'
EXPRESSION_SPACES = (AUTO, PROCEDURAL_SPACE, FLAME_SPACE)


@dataclasses.dataclass(frozen=True)
class Face:
  """A head model with the adapter that belongs to it.

  Attributes:
    assets: the head model.
    pose_adapter: [17, 50] float32, expressions of the 17 coefficients.
    expression_space: whose expression numbers it understands, `procedural`
      or `flame`.
    description: one line for reports.
    shown_assets: head to draw predictions with, where `assets` only
      approximates the codes; None where it is the same.
    shown_adapter: [17, E] adapter of `shown_assets`, or None.
  """

  assets: FlameAssets
  pose_adapter: np.ndarray
  expression_space: str
  description: str
  shown_assets: FlameAssets | None = None
  shown_adapter: np.ndarray | None = None


def expression_space(config: ml_collections.ConfigDict) -> str:
  """Whose expression numbers a `face` section speaks of.

  Args:
    config: the `face` section. `expression_space` `auto` means: the
      procedural head's own, or FLAME's where `model` is a file.

  Returns:
    `procedural` or `flame`.
  """
  if config.expression_space != AUTO:
    return config.expression_space
  return PROCEDURAL_SPACE if config.model == PROCEDURAL else FLAME_SPACE


def load_face(
  config: ml_collections.ConfigDict, pose_adapter: np.ndarray | None = None
) -> Face:
  """Loads the head model and fits or loads its adapter.

  The procedural head has an expression basis of its own. With
  `expression_space='flame'` and a released adapter it is given a basis that
  answers to FLAME's codes along the adapter's 17 directions, so that real
  codes can be shown and trained on without any restricted file.

  Args:
    config: the `face` section: `model` ('procedural' or a FLAME file),
      `landmarks` (comma-separated landmark files), `pose_adapter` ('fit' or a
      `.npy` file), `adapter_penalty`, `expression_space`.
    pose_adapter: [17, 50] to use instead of `config.pose_adapter`, for
      example the one stored in a checkpoint.

  Returns:
    The face.

  Raises:
    FlameFileError: if a model file is absent or malformed.
    PoseAdapterError: if the adapter does not fit, or is missing where FLAME
      codes meet the procedural head.
  """
  if config.model == PROCEDURAL:
    return _procedural_face(config, pose_adapter)
  from flame_jax.io import load_flame

  paths = config.landmarks.split(',') if config.landmarks else None
  assets = load_flame(config.model, paths)
  if pose_adapter is None:
    pose_adapter = _adapter(config, assets)
  space = expression_space(config)
  return Face(assets, pose_adapter, space, f'FLAME file {config.model}')


def _procedural_face(config, pose_adapter) -> Face:
  from flame_jax.procedural import align_expression_basis, procedural_head

  assets = procedural_head()
  if expression_space(config) == PROCEDURAL_SPACE:
    if pose_adapter is None:
      pose_adapter = _adapter(config, assets)
    return Face(assets, pose_adapter, PROCEDURAL_SPACE, 'procedural head')
  if pose_adapter is None and config.pose_adapter == FIT:
    raise PoseAdapterError(
      'FLAME codes on the procedural head need the pose adapter that relates '
      'the two: give its .npy file (for example the released '
      'transform_matrix), or a FLAME file as face.model'
    )
  if pose_adapter is None:
    pose_adapter = _adapter(config, assets)
  own = fit_pose_adapter(assets, penalty=config.adapter_penalty)
  # Rows of equal length weigh all 17 meanings alike; see _RIDGE.
  length = np.linalg.norm(pose_adapter, axis=1, keepdims=True)
  aligned = align_expression_basis(
    assets, own / length, pose_adapter / length, ridge=_RIDGE
  )
  return Face(
    aligned,
    pose_adapter,
    FLAME_SPACE,
    'procedural head, aligned to FLAME codes by the pose adapter',
    shown_assets=assets,
    shown_adapter=own,
  )


def _adapter(
  config: ml_collections.ConfigDict, assets: FlameAssets
) -> np.ndarray:
  """Fits or loads `config.pose_adapter`, [17, 50] float32."""
  if config.pose_adapter == FIT:
    return fit_pose_adapter(
      assets,
      num_expression=NUM_EXPRESSION,
      penalty=config.adapter_penalty,
    )
  return load_pose_adapter(config.pose_adapter, num_expression=NUM_EXPRESSION)


def procedural_adapter() -> np.ndarray:
  """The adapter fitted to the procedural head, [17, 50] float32."""
  from flame_jax.procedural import procedural_head

  return fit_pose_adapter(procedural_head(), num_expression=NUM_EXPRESSION)
