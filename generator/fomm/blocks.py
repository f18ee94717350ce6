"""Building blocks of the first-order motion model."""

from __future__ import annotations

import functools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import linen as nn

from generator.ops.resize import average_pool, upsample_nearest

# PyTorch's own initialisation: uniform within 1 / sqrt(fan in).
UNIFORM_INIT = nn.initializers.variance_scaling(1 / 3, 'fan_in', 'uniform')


class BatchNorm(nn.Module):
  """Batch norm with PyTorch's constants.

  DEVIATION: the tracked variance is the biased one, PyTorch's is not:
  one part in B H W. Covered by
  `test_batch_norm_tracks_the_batch`.

  Attributes:
    train: use and track the batch's statistics instead of the running ones
      (collection `batch_stats`). Over a batch that is split between devices
      these are the statistics of all of it.
    dtype: of the result; statistics are float32.
  """

  train: bool = False
  dtype: Any = jnp.float32

  @nn.compact
  def __call__(self, x: jax.Array) -> jax.Array:
    """[B, H, W, C] -> [B, H, W, C]."""
    norm = nn.BatchNorm(
      use_running_average=not self.train,
      momentum=0.9,
      epsilon=1e-5,
      dtype=self.dtype,
    )
    # One level of names, as a checkpoint has it.
    nn.share_scope(self, norm)
    return norm(x)


class ConvBlock(nn.Module):
  """Convolution, batch norm, ReLU; halved after or doubled before.

  Attributes:
    features: channels of the result.
    kernel_size: odd; the size of the image stays.
    resize: `'half'` (average), `'double'` (nearest) or None.
    train: see `BatchNorm`.
    dtype: of the computation; parameters stay float32.
  """

  features: int
  kernel_size: int = 3
  resize: str | None = None
  train: bool = False
  dtype: Any = jnp.float32

  @nn.compact
  def __call__(self, x: jax.Array) -> jax.Array:
    """[B, H, W, C] -> [B, H', W', features]."""
    if self.resize == 'double':
      x = upsample_nearest(x, 2)
    x = conv(self.features, self.kernel_size, self.dtype, name='conv')(x)
    x = nn.relu(BatchNorm(self.train, self.dtype, name='norm')(x))
    return average_pool(x, 2) if self.resize == 'half' else x


class ResidualBlock(nn.Module):
  """x + two times norm, ReLU, convolution.

  Attributes:
    train: see `BatchNorm`.
    dtype: of the computation; parameters stay float32.
  """

  train: bool = False
  dtype: Any = jnp.float32

  @nn.compact
  def __call__(self, x: jax.Array) -> jax.Array:
    """[B, H, W, C] -> [B, H, W, C]."""
    y = x
    for number in (1, 2):
      y = BatchNorm(self.train, self.dtype, name=f'norm{number}')(y)
      y = conv(x.shape[-1], 3, self.dtype, name=f'conv{number}')(nn.relu(y))
    return x + y


class Hourglass(nn.Module):
  """U-net: halves, then doubles, every size seeing its encoder map again.

  Attributes:
    base: channels are `min(maximum, base 2^i)`.
    num_blocks: halvings.
    maximum: most channels.
    train: see `BatchNorm`.
    dtype: of the computation; parameters stay float32.
  """

  base: int
  num_blocks: int
  maximum: int
  train: bool = False
  dtype: Any = jnp.float32

  @nn.compact
  def __call__(self, x: jax.Array) -> jax.Array:
    """[B, H, W, C] -> [B, H, W, base + C].

    Args:
      x: H and W multiples of 2^num_blocks.

    Returns:
      Features, the last C of which are the input.

    Raises:
      ValueError: if the size is no such multiple.
    """
    multiple = 2**self.num_blocks
    if x.shape[1] % multiple or x.shape[2] % multiple:
      raise ValueError(
        f'an hourglass of {self.num_blocks} blocks wants sizes that are '
        f'multiples of {multiple}, got {x.shape[1]}x{x.shape[2]}'
      )

    def width(level):
      return min(self.maximum, self.base * 2**level)

    block = functools.partial(ConvBlock, train=self.train, dtype=self.dtype)
    maps = [x.astype(self.dtype)]
    for i in range(self.num_blocks):
      down = block(width(i + 1), resize='half', name=f'encoder_{i}')
      maps.append(down(maps[-1]))
    x = maps.pop()
    for i in range(self.num_blocks):
      level = self.num_blocks - 1 - i
      x = block(width(level), resize='double', name=f'decoder_{i}')(x)
      x = jnp.concatenate([x, maps.pop()], axis=-1)
    return x


def conv(
  features: int,
  kernel_size: int,
  dtype: Any,
  name: str,
  padding: int | None = None,
  **options,
) -> nn.Conv:
  """A convolution as this model uses it.

  Args:
    features: channels of the result.
    kernel_size: side of the kernel.
    dtype: of the computation; parameters stay float32.
    name: name of the module.
    padding: zeros on every side, None for as many as keep the size.
    **options: further attributes of `nn.Conv`.

  Returns:
    The module.
  """
  options.setdefault('kernel_init', UNIFORM_INIT)
  return nn.Conv(
    features,
    (kernel_size, kernel_size),
    padding=kernel_size // 2 if padding is None else padding,
    dtype=dtype,
    name=name,
    **options,
  )


def band_limit_kernel(factor: int) -> np.ndarray:
  """Gaussian that an image meets before it is made smaller.

  Args:
    factor: how many times smaller.

  Returns:
    [n, n] float32 with sum 1; standard deviation (factor - 1) / 2 pixels,
    n = 2 round(4 sigma) + 1. Released weights hold it as `down.weight`.
  """
  sigma = (factor - 1) / 2
  radius = round(4 * sigma)
  if not radius:
    return np.ones((1, 1), np.float32)
  line = np.exp(-0.5 * np.square(np.arange(-radius, radius + 1) / sigma))
  kernel = np.outer(line, line)
  return (kernel / kernel.sum()).astype(np.float32)


def band_limited_downsample(image: jax.Array, factor: int) -> jax.Array:
  """Makes an image smaller: blur, then every `factor`-th pixel.

  Args:
    image: [B, H, W, C]; outside counts as zero.
    factor: how many times smaller.

  Returns:
    [B, ceil(H / factor), ceil(W / factor), C], dtype of the image.
  """
  kernel = band_limit_kernel(factor)
  radius, channels = len(kernel) // 2, image.shape[-1]
  kernel = np.tile(kernel[..., None, None], (1, 1, 1, channels))
  return jax.lax.conv_general_dilated(
    image,
    jnp.asarray(kernel, image.dtype),
    (factor, factor),
    ((radius, radius),) * 2,
    dimension_numbers=('NHWC', 'HWIO', 'NHWC'),
    feature_group_count=channels,
  )
