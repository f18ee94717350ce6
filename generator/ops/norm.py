"""Normalisation of features; statistics are always float32."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp

from generator.ops.conv import NORMAL_INIT


def normalize(
  x: jax.Array,
  axes: Sequence[int],
  scale: jax.Array | float,
  bias: jax.Array | float,
  eps: float = 1e-5,
) -> jax.Array:
  """Normalises to mean 0 and variance 1 over axes, then scales and shifts.

  Args:
    x: features.
    axes: axes to take the statistics over; the variance is the biased one.
    scale: factor that broadcasts against x, float32.
    bias: summand that broadcasts against x, float32.
    eps: added to the variance.

  Returns:
    Shape and dtype of x.
  """
  wide = x.astype(jnp.float32)
  mean = wide.mean(axes, keepdims=True)
  variance = jnp.square(wide - mean).mean(axes, keepdims=True)
  factor = jax.lax.rsqrt(variance + eps) * scale
  return (wide * factor + (bias - mean * factor)).astype(x.dtype)


class AdaIN(nn.Module):
  """Instance norm whose scale and shift come from a descriptor.

  out = norm(x) * (1 + gamma(h)) + beta(h), h = ReLU(shared(z)); PIRenderer,
  section 3.2.

  Attributes:
    hidden: width of h.
    eps: added to the variance.
    dtype: compute type of the result; statistics are float32.
    param_dtype: type of the parameters.
  """

  hidden: int = 128
  eps: float = 1e-5
  dtype: Any = None
  param_dtype: Any = jnp.float32

  @nn.compact
  def __call__(self, x: jax.Array, z: jax.Array) -> jax.Array:
    """[B, H, W, C] and a descriptor [B, Z] -> [B, H, W, C]."""

    def linear(features, name):
      # The descriptor is tiny and scales whole maps: kept in float32.
      return nn.Dense(
        features,
        name=name,
        dtype=jnp.float32,
        param_dtype=self.param_dtype,
        kernel_init=NORMAL_INIT,
      )

    if self.dtype is not None:
      x = x.astype(self.dtype)
    h = nn.relu(linear(self.hidden, 'shared')(z))
    gamma = linear(x.shape[-1], 'gamma')(h)[:, None, None]
    beta = linear(x.shape[-1], 'beta')(h)[:, None, None]
    return normalize(x, (1, 2), 1 + gamma, beta, self.eps)


class LayerNorm2d(nn.Module):
  """Layer norm over height, width and channels of a sample.

  Scale and shift are by channel, so that any size of image fits.

  Attributes:
    eps: added to the variance.
    dtype: compute type of the result; statistics are float32.
    param_dtype: type of the parameters.
  """

  eps: float = 1e-5
  dtype: Any = None
  param_dtype: Any = jnp.float32

  @nn.compact
  def __call__(self, x: jax.Array) -> jax.Array:
    """[B, H, W, C] -> [B, H, W, C]."""
    shape = (x.shape[-1],)
    scale = self.param('scale', nn.initializers.ones, shape, self.param_dtype)
    bias = self.param('bias', nn.initializers.zeros, shape, self.param_dtype)
    if self.dtype is not None:
      x = x.astype(self.dtype)
    return normalize(x, (1, 2, 3), scale, bias, self.eps)
