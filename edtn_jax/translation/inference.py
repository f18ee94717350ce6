"""A trained translator as a plain function of numpy arrays."""

from __future__ import annotations

from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np

from edtn_jax import checkpoints
from edtn_jax.translation.network import build_translator

Translate = Callable[[np.ndarray, np.ndarray], np.ndarray]

# Frames are padded to a multiple of this, so that few shapes are compiled.
# Single ones, as live use gives, are not: padding would cost them 4 ms.
_CHUNK = 256


def make_translate(checkpoint: checkpoints.Checkpoint) -> Translate:
  """Builds `translate(expression, jaw_pose) -> pose_coeffs`.

  Args:
    checkpoint: of an expression translation run, see
      `edtn_jax.checkpoints.load_checkpoint`.

  Returns:
    A function of [T, 50] and [T, 3] (axis-angle, radians) float arrays that
    gives [T, 17] float32 in (0, 1), for any T.

  Raises:
    CheckpointError: if the checkpoint is of another task, or its parameters
      do not fit the model that its config describes.
  """
  if checkpoint.config.task != 'expression_translation':
    raise checkpoints.CheckpointError(
      f'{checkpoint.path} is a checkpoint of {checkpoint.config.task!r}; an '
      '"expression_translation" one is needed'
    )
  example = (jnp.zeros((1, 50)), jnp.zeros((1, 3)))
  with checkpoints.reading_config(checkpoint.path):
    model = build_translator(checkpoint.config.model)
    expected = jax.eval_shape(model.init, jax.random.key(0), *example)['params']
  params = checkpoint.params.get('model', {})
  checkpoints.check_params(params, expected, checkpoint.path)
  params = jax.tree.map(jnp.asarray, params)

  @jax.jit
  def apply(params, expression, jaw_pose):
    return model.apply({'params': params}, expression, jaw_pose)

  def translate(expression: np.ndarray, jaw_pose: np.ndarray) -> np.ndarray:
    expression = np.asarray(expression, np.float32)
    jaw_pose = np.asarray(jaw_pose, np.float32)
    pieces = []
    for begin in range(0, len(expression), _CHUNK):
      part = slice(begin, begin + _CHUNK)
      count = len(expression[part])
      size = 1 if len(expression) == 1 else _CHUNK
      rows = [(0, size - count), (0, 0)]
      result = apply(
        params, np.pad(expression[part], rows), np.pad(jaw_pose[part], rows)
      )
      pieces.append(np.asarray(result)[:count])
    return np.concatenate(pieces) if pieces else np.zeros((0, 17), np.float32)

  return translate
