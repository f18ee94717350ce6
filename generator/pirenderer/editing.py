"""Editing network: source, warped picture and descriptor -> picture."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp

from generator.ops.conv import Conv2d, UpConv2d
from generator.ops.norm import AdaIN, LayerNorm2d
from generator.ops.resize import average_pool
from generator.pirenderer import palette
from generator.pirenderer.config import PIRendererConfig
from generator.pirenderer.mapping import LEAK

# A fresh network paints an eighth: sigmoid(-2).
BLEND_START = -2.0


class ConvBlock(nn.Module):
  """Convolution, layer norm, leaky ReLU.

  Attributes:
    features: channels of the result.
    config: sizes.
    kernel_size: side of the kernel, odd; the size is kept.
    double: repeat every pixel before a convolution, which is 3x3 then.
    dtype: compute type.
  """

  features: int
  config: PIRendererConfig
  kernel_size: int = 3
  double: bool = False
  dtype: Any = jnp.float32

  @nn.compact
  def __call__(self, x: jax.Array) -> jax.Array:
    """[B, H, W, C] -> [B, H, W, F], or twice as high and wide."""
    options = {
      'spectral_norm': self.config.spectral_norm,
      'dtype': self.dtype,
      'name': 'conv',
    }
    size = self.kernel_size
    if self.double:
      x = UpConv2d(self.features, **options)(x)
    else:
      x = Conv2d(self.features, size, padding=size // 2, **options)(x)
    return nn.leaky_relu(LayerNorm2d(dtype=self.dtype, name='norm')(x), LEAK)


class ResidualBlock(nn.Module):
  """Two convolutions with AdaIN around a shortcut.

  Attributes:
    config: sizes; `compat` drops the first convolution.
    dtype: compute type.
  """

  config: PIRendererConfig
  dtype: Any = jnp.float32

  @nn.compact
  def __call__(self, x: jax.Array, z: jax.Array) -> jax.Array:
    """[B, H, W, C], [B, Z] -> [B, H, W, C]."""

    def branch(x, i):
      x = Conv2d(
        x.shape[-1],
        3,
        padding=1,
        spectral_norm=self.config.spectral_norm,
        dtype=self.dtype,
        name=f'conv_{i}',
      )(x)
      hidden = self.config.adain_hidden
      return AdaIN(hidden, dtype=self.dtype, name=f'norm_{i}')(x, z)

    inner = x
    # COMPAT: the released weights were trained without the first branch, whose
    # result was never used; its weights exist all the same.
    # Test: `test_compat_drops_a_convolution`.
    if not self.config.compat or self.is_initializing():
      first = nn.leaky_relu(branch(x, 0), LEAK)
      inner = x if self.config.compat else first
    return x + branch(inner, 1)


class EditingEncoder(nn.Module):
  """Convolutions that halve the size level by level.

  Attributes:
    config: sizes.
    dtype: compute type.
  """

  config: PIRendererConfig
  dtype: Any = jnp.float32

  @nn.compact
  def __call__(self, x: jax.Array) -> list[jax.Array]:
    """[B, H, W, C] -> maps of every level, the full size first."""
    config = self.config
    block = nn.remat(ConvBlock) if config.remat else ConvBlock

    def apply(x, level, name, kernel_size=3):
      features = config.channels(config.editing_channels, level)
      return block(features, config, kernel_size, dtype=self.dtype, name=name)(
        x
      )

    maps = [apply(x, 0, 'first', 7)]
    for i in range(config.editing_levels):
      maps.append(average_pool(apply(maps[-1], i + 1, f'down_{i}'), 2))
    return maps


class EditingDecoder(nn.Module):
  """Residual blocks and doublings, joined by sums with the encoder's maps.

  Attributes:
    config: sizes.
    dtype: compute type; the picture is float32.
  """

  config: PIRendererConfig
  dtype: Any = jnp.float32

  @nn.compact
  def __call__(
    self, maps: Sequence[jax.Array], z: jax.Array, warped_image: jax.Array
  ) -> dict[str, jax.Array]:
    """Decodes, and blends if the config says so.

    Args:
      maps: of the encoder, the full size first.
      z: [B, Z] descriptor.
      warped_image: [B, H, W, C] float32, looked at only to blend and for
        colours.

    Returns:
      `image` [B, H, W, C] in (-1, 1), and if it is blended also
      `painted_image` likewise, before the blend, and its `share`
      [B, H, W, 1] in (0, 1) of the result.
    """
    config = self.config
    conv, residual = (
      nn.remat(block) if config.remat else block
      for block in (ConvBlock, ResidualBlock)
    )
    x = maps[-1]
    for i in reversed(range(config.editing_levels)):
      features = config.channels(config.editing_channels, i)
      for j in range(config.editing_blocks):
        x = residual(config, self.dtype, name=f'residual_{i}_{j}')(x, z)
      up = conv(features, config, double=True, dtype=self.dtype, name=f'up_{i}')
      skip = conv(features, config, dtype=self.dtype, name=f'skip_{i}')
      x = up(x) + skip(maps[i])
    channels = config.image_channels
    colors = config.palette and palette.num_channels(config.palette)
    x = Conv2d(
      channels + config.blend + colors,
      7,
      padding=3,
      dtype=self.dtype,
      name='final',
    )(x)
    x = x.astype(jnp.float32)
    if not config.blend:
      return {'image': jnp.tanh(x)}
    painted = x[..., :channels]
    if colors:
      painted = palette.paint(painted, x[..., channels + 1 :], warped_image)
    else:
      painted = jnp.tanh(painted)
    share = nn.sigmoid(x[..., channels : channels + 1] + BLEND_START)
    image = share * painted + (1 - share) * warped_image
    return {'image': image, 'painted_image': painted, 'share': share}


class EditingNetwork(nn.Module):
  """Mends a warped picture.

  Attributes:
    config: sizes.
    dtype: compute type; the picture is float32.
  """

  config: PIRendererConfig
  dtype: Any = jnp.float32

  @nn.compact
  def __call__(
    self, image: jax.Array, warped_image: jax.Array, z: jax.Array
  ) -> dict[str, jax.Array]:
    """Two pictures [B, H, W, C] and [B, Z] -> those of `EditingDecoder`."""
    both = jnp.concatenate([image, warped_image], axis=-1)
    maps = EditingEncoder(self.config, self.dtype, name='encoder')(both)
    decoder = EditingDecoder(self.config, self.dtype, name='decoder')
    return decoder(maps, z, warped_image)
