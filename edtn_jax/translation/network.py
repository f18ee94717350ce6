"""The expression domain translation network M (EDTN paper, section 2.1)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
import ml_collections
from flax import linen as nn

from data.pose_vector import NUM_COEFFICIENTS

NUM_EXPRESSION = 50
NUM_JAW = 3


class ExpressionTranslator(nn.Module):
  """Maps FLAME expression and jaw to anime pose coefficients.

  A multilayer perceptron with leaky ReLU and a sigmoid at the end; with the
  default sizes it has 561,681 parameters and the layout of the released
  weights (`main.{0,2,4,6}` there, `layer_{0,1,2,3}` here).

  Attributes:
    hidden_sizes: width of each hidden layer.
    num_coefficients: number of outputs, 17 for AnimeCeleb's pose vector.
    negative_slope: slope of the leaky ReLU below zero.
    dtype: dtype of the computation; parameters stay float32.
    precision: matmul precision, e.g. `jax.lax.Precision.HIGHEST`.

  Example:
    >>> model = ExpressionTranslator()
    >>> params = model.init(key, expression, jaw_pose)['params']
    >>> pose_coeffs = model.apply({'params': params}, expression, jaw_pose)
  """

  hidden_sizes: Sequence[int] = (512, 512, 512)
  num_coefficients: int = NUM_COEFFICIENTS
  negative_slope: float = 0.2
  dtype: Any = jnp.float32
  precision: Any = None

  @nn.compact
  def __call__(self, expression: jax.Array, jaw_pose: jax.Array) -> jax.Array:
    """Translates codes.

    Args:
      expression: [..., 50] float32, FLAME expression coefficients.
      jaw_pose: [..., 3] float32, axis-angle radians.

    Returns:
      [..., 17] float32 pose coefficients in (0, 1).

    Raises:
      ValueError: if a last dimension is wrong.
    """
    if expression.shape[-1] != NUM_EXPRESSION or jaw_pose.shape[-1] != NUM_JAW:
      raise ValueError(
        f'wanted expression [..., {NUM_EXPRESSION}] and jaw_pose '
        f'[..., {NUM_JAW}], got {expression.shape} and {jaw_pose.shape}'
      )
    x = jnp.concatenate([expression, jaw_pose], axis=-1).astype(self.dtype)
    for i, size in enumerate(self.hidden_sizes):
      x = self._dense(size, i)(x)
      x = nn.leaky_relu(x, self.negative_slope)
    x = self._dense(self.num_coefficients, len(self.hidden_sizes))(x)
    return nn.sigmoid(x.astype(jnp.float32))

  def _dense(self, size: int, index: int) -> nn.Dense:
    return nn.Dense(
      size,
      dtype=self.dtype,
      precision=self.precision,
      name=f'layer_{index}',
    )


def build_translator(
  config: ml_collections.ConfigDict,
) -> ExpressionTranslator:
  """Builds the translator from the `model` section of a config."""
  return ExpressionTranslator(
    hidden_sizes=tuple(config.hidden_sizes),
    negative_slope=config.negative_slope,
    dtype=jnp.dtype(config.dtype),
  )
