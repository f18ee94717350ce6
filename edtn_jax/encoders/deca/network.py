"""DECA's coarse encoder: a picture of a face -> 236 numbers.

Feng et al., "Learning an Animatable Detailed 3D Face Model from In-The-Wild
Images" (SIGGRAPH 2021), section 3: a ResNet-50 (He et al., CVPR 2016, table 1)
and a fully connected layer before the last.
"""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
from flax import linen as nn

from edtn_jax.encoders.deca.codes import NUM_CODES

SIZE = 224  # pixels, height and width of a crop
# Blocks and width of every stage; a block's result is four times as wide.
STAGES = ((3, 64), (4, 128), (6, 256), (3, 512))
_HIDDEN = 1024
_EXPANSION = 4


class _Convolution(nn.Module):
  """Convolution without a bias, then batch norm with tracked statistics.

  Attributes:
    features: channels of the result.
    kernel_size: side of the kernel, odd.
    stride: step between outputs.
    precision: of the products.
  """

  features: int
  kernel_size: int
  stride: int
  precision: Any

  @nn.compact
  def __call__(self, x: jax.Array) -> jax.Array:
    """[B, H, W, C] -> [B, H / stride, W / stride, features]."""
    x = nn.Conv(
      self.features,
      (self.kernel_size, self.kernel_size),
      self.stride,
      padding=self.kernel_size // 2,
      use_bias=False,
      precision=self.precision,
      name='conv',
    )(x)
    return nn.BatchNorm(use_running_average=True, epsilon=1e-5, name='norm')(x)


class _Bottleneck(nn.Module):
  """1x1, 3x3 with the stride, 1x1, around a shortcut.

  Attributes:
    width: channels in the middle.
    stride: step between outputs.
    precision: of the products.
  """

  width: int
  stride: int
  precision: Any

  @nn.compact
  def __call__(self, x: jax.Array) -> jax.Array:
    """[B, H, W, C] -> [B, H / stride, W / stride, 4 width]."""

    def convolution(x, name, features, size=1, stride=1):
      layer = _Convolution(features, size, stride, self.precision, name=name)
      return layer(x)

    features = _EXPANSION * self.width
    y = nn.relu(convolution(x, 'block_1', self.width))
    y = nn.relu(convolution(y, 'block_2', self.width, 3, self.stride))
    y = convolution(y, 'block_3', features)
    if x.shape != y.shape:
      x = convolution(x, 'shortcut', features, 1, self.stride)
    return nn.relu(x + y)


class DecaEncoder(nn.Module):
  """ResNet-50 and two dense layers; for inference.

  Attributes:
    precision: of all products. The default keeps float32 where a device would
      round its inputs.

  Example:
    >>> codes = DecaEncoder().apply(variables, images)
  """

  precision: Any = jax.lax.Precision.HIGHEST

  def setup(self):
    """Makes the layers."""
    self.first = _Convolution(STAGES[0][1], 7, 2, self.precision)
    self.stages = [
      _Bottleneck(width, 2 if stage and not block else 1, self.precision)
      for stage, (blocks, width) in enumerate(STAGES)
      for block in range(blocks)
    ]
    self.hidden = nn.Dense(_HIDDEN, precision=self.precision)
    self.codes = nn.Dense(NUM_CODES, precision=self.precision)

  def __call__(self, images: jax.Array) -> jax.Array:
    """Encodes crops.

    Args:
      images: [B, 224, 224, 3] float, RGB in [0, 1]; see `crop.face_crop`.

    Returns:
      [B, 236] float32; `codes.split_codes` names them.

    Raises:
      ValueError: if the images have another shape.
    """
    return self.codes(nn.relu(self.hidden(self.features(images))))

  def features(self, images: jax.Array) -> jax.Array:
    """[B, 224, 224, 3] -> [B, 2048], by `apply(..., method='features')`."""
    if images.ndim != 4 or images.shape[1:] != (SIZE, SIZE, 3):
      raise ValueError(
        f'images {images.shape} must be [B, {SIZE}, {SIZE}, 3]; cut them with '
        'face_crop'
      )
    x = nn.relu(self.first(images.astype(jnp.float32)))
    x = nn.max_pool(x, (3, 3), (2, 2), ((1, 1), (1, 1)))
    for block in self.stages:
      x = block(x)
    # 7x7, the whole map.
    return x.mean((1, 2))
