"""Keypoints and their local affine motion (FOMM paper, section 3.1)."""

from __future__ import annotations

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from flax import linen as nn

from generator.fomm.blocks import Hourglass, band_limited_downsample, conv
from generator.fomm.config import FOMMConfig
from generator.ops.warp import identity_grid

_KERNEL = 7


class Keypoints(NamedTuple):
  """Where the keypoints of an image are and how it is deformed around them.

  Attributes:
    values: [B, K, 2] float32, (x, y), [-1, 1] is the image.
    jacobians: [B, K, 2, 2] float32; the columns are where steps along x and y
      of the (never computed) reference frame lead.
  """

  values: jax.Array
  jacobians: jax.Array


class KeypointDetector(nn.Module):
  """Finds keypoints and jacobians in an image.

  Attributes:
    config: sizes.
    train: use and track the batch's statistics.
    dtype: of the computation; coordinates and parameters are float32.
  """

  config: FOMMConfig
  train: bool = False
  dtype: Any = jnp.float32

  @nn.compact
  def __call__(self, image: jax.Array) -> Keypoints:
    """[B, H, W, 3] float in [0, 1] -> Keypoints."""
    config = self.config
    image = band_limited_downsample(image, config.motion_downsample)
    features = Hourglass(
      config.keypoint_base,
      config.keypoint_blocks,
      config.hourglass_max,
      self.train,
      self.dtype,
      name='hourglass',
    )(image)

    def head(size, name, **options):
      layer = conv(size, _KERNEL, self.dtype, name, padding=0, **options)
      return layer(features).astype(jnp.float32)

    heatmaps = spatial_softmax(
      head(config.num_keypoints, 'heatmap'), config.temperature
    )
    # Starts as the identity: weights 0, biases (1, 0, 0, 1).
    jacobians = head(
      4 * config.num_keypoints,
      'jacobian',
      kernel_init=nn.initializers.zeros,
      bias_init=_identity_bias,
    )
    return Keypoints(
      soft_argmax(heatmaps, features.shape[1:3], compat=config.compat),
      weighted_jacobians(heatmaps, jacobians),
    )


def spatial_softmax(scores: jax.Array, temperature: float) -> jax.Array:
  """Heatmaps that sum to 1 over the image.

  Args:
    scores: [B, h, w, K] float.
    temperature: scores are divided by it.

  Returns:
    [B, h, w, K] of the same dtype.
  """
  batch, height, width, count = scores.shape
  flat = scores.reshape(batch, height * width, count) / temperature
  return jax.nn.softmax(flat, axis=1).reshape(scores.shape)


def soft_argmax(
  heatmaps: jax.Array, size: tuple[int, int], *, compat: bool = False
) -> jax.Array:
  """Mean position under each heatmap.

  Args:
    heatmaps: [B, h, w, K] float32 that sum to 1 over h and w.
    size: height and width of the map that the heatmaps are the middle of, the
      convolution having cut an equal margin on both sides.
    compat: see `FOMMConfig`.

  Returns:
    [B, K, 2] float32, (x, y) in [-1, 1].
  """
  height, width = heatmaps.shape[1:3]
  if compat:
    grid = identity_grid(height, width, align_corners=True)
  else:
    top, left = (size[0] - height) // 2, (size[1] - width) // 2
    grid = identity_grid(*size, align_corners=False)
    grid = grid[top : top + height, left : left + width]
  # A sum, no matrix product: those are too coarse for positions on some
  # devices.
  return (heatmaps[..., None] * grid[:, :, None]).sum((1, 2))


def weighted_jacobians(heatmaps: jax.Array, jacobians: jax.Array) -> jax.Array:
  """Mean jacobian under each heatmap.

  Args:
    heatmaps: [B, h, w, K] float32 that sum to 1 over h and w.
    jacobians: [B, h, w, 4 K] float32, row by row for each keypoint.

  Returns:
    [B, K, 2, 2] float32.
  """
  *leading, count = heatmaps.shape
  jacobians = jacobians.reshape(*leading, count, 2, 2)
  return (heatmaps[..., None, None] * jacobians).sum((1, 2))


def gaussian_heatmaps(
  values: jax.Array, grid: np.ndarray, variance: float
) -> jax.Array:
  """Pictures of keypoints.

  Args:
    values: [B, K, 2] float32, (x, y).
    grid: [h, w, 2] float32, the position of every pixel.
    variance: of the Gaussians, in the coordinates' units squared.

  Returns:
    [B, K, h, w] float32, 1 at the keypoint.
  """
  distance = jnp.square(values[:, :, None, None] - grid).sum(-1)
  return jnp.exp(-0.5 * distance / variance)


def _identity_bias(key, shape, dtype=jnp.float32) -> jax.Array:
  del key
  return jnp.tile(jnp.array([1, 0, 0, 1], dtype), shape[0] // 4)
