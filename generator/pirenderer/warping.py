"""Warping network: picture and descriptor -> flow."""

from __future__ import annotations

from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp

from generator.ops.conv import Conv2d, ConvTranspose2d
from generator.ops.norm import AdaIN, LayerNorm2d
from generator.pirenderer.config import PIRendererConfig
from generator.pirenderer.mapping import LEAK


class DownBlock(nn.Module):
  """Two convolutions after AdaIN; the first halves the size.

  Attributes:
    features: channels of the result.
    config: sizes.
    dtype: compute type.
  """

  features: int
  config: PIRendererConfig
  dtype: Any = jnp.float32

  @nn.compact
  def __call__(self, x: jax.Array, z: jax.Array) -> jax.Array:
    """[B, H, W, C], [B, Z] -> [B, H/2, W/2, F]."""
    options = {
      'dtype': self.dtype,
      'spectral_norm': self.config.spectral_norm,
    }
    hidden = self.config.adain_hidden
    x = AdaIN(hidden, dtype=self.dtype, name='norm_0')(x, z)
    x = nn.leaky_relu(x, LEAK)
    x = Conv2d(self.features, 4, 2, 1, name='conv_0', **options)(x)
    x = AdaIN(hidden, dtype=self.dtype, name='norm_1')(x, z)
    x = nn.leaky_relu(x, LEAK)
    return Conv2d(self.features, 3, 1, 1, name='conv_1', **options)(x)


class UpBlock(nn.Module):
  """Residual block after AdaIN that doubles the size.

  Attributes:
    features: channels of the result.
    config: sizes.
    dtype: compute type.
  """

  features: int
  config: PIRendererConfig
  dtype: Any = jnp.float32

  @nn.compact
  def __call__(self, x: jax.Array, z: jax.Array) -> jax.Array:
    """[B, H, W, C], [B, Z] -> [B, 2H, 2W, F]."""
    options = {
      'dtype': self.dtype,
      'spectral_norm': self.config.spectral_norm,
    }

    def norm(x, name):
      x = AdaIN(self.config.adain_hidden, dtype=self.dtype, name=name)(x, z)
      return nn.leaky_relu(x, LEAK)

    def double(x, name):
      return ConvTranspose2d(self.features, 3, 2, 1, 1, name=name, **options)(x)

    main = norm(x, 'norm_0')
    main = Conv2d(self.features, 3, 1, 1, name='conv_0', **options)(main)
    main = double(norm(main, 'norm_1'), 'conv_1')
    return main + double(norm(x, 'norm_skip'), 'conv_skip')


class WarpingNetwork(nn.Module):
  """Hourglass of AdaIN blocks with skips that ends in a flow.

  Attributes:
    config: sizes.
    dtype: compute type; the flow is float32.
  """

  config: PIRendererConfig
  dtype: Any = jnp.float32

  @nn.compact
  def __call__(self, image: jax.Array, z: jax.Array) -> jax.Array:
    """Computes the backward flow.

    Args:
      image: [B, H, W, C] in [0, 1].
      z: [B, Z] descriptor.

    Returns:
      [B, h, w, 2] float32, (x, y) in pixels of its own grid; h is H by
      2 ** (warping_down - warping_up).
    """
    config = self.config

    def channels(level):
      return config.channels(config.warping_channels, level)

    down, up = (
      nn.remat(block) if config.remat else block
      for block in (DownBlock, UpBlock)
    )
    x = Conv2d(channels(0), 7, 1, 3, dtype=self.dtype, name='input')(image)
    maps = [x]
    for i in range(config.warping_down):
      block = down(channels(i + 1), config, self.dtype, name=f'down_{i}')
      maps.append(block(maps[-1], z))
    x = maps.pop()
    first = config.warping_down - 1
    for i in range(first, first - config.warping_up, -1):
      x = up(channels(i), config, self.dtype, name=f'up_{i}')(x, z)
      x = jnp.concatenate([x, maps.pop()], axis=-1)
    x = LayerNorm2d(dtype=self.dtype, name='flow_norm')(x)
    x = nn.leaky_relu(x, LEAK)
    x = Conv2d(2, 7, 1, 3, dtype=self.dtype, name='flow')(x)
    return x.astype(jnp.float32)
