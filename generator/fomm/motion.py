"""Dense motion from keypoints (FOMM paper, sections 3.1 and 3.2)."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
from flax import linen as nn

from generator.fomm.blocks import Hourglass, band_limited_downsample, conv
from generator.fomm.config import FOMMConfig
from generator.fomm.keypoints import Keypoints, gaussian_heatmaps
from generator.ops.resize import resize_bilinear
from generator.ops.warp import grid_sample, identity_grid

_KERNEL = 7


class DenseMotion(nn.Module):
  """Mixes the motions of the keypoints into one deformation.

  Attributes:
    config: sizes.
    train: use and track the batch's statistics.
    dtype: of the computation; coordinates and parameters are float32.
  """

  config: FOMMConfig
  train: bool = False
  dtype: Any = jnp.float32

  @nn.compact
  def __call__(
    self, source_image: jax.Array, source: Keypoints, driving: Keypoints
  ) -> dict[str, jax.Array]:
    """Computes where each pixel of the driving frame comes from.

    Args:
      source_image: [B, H, W, 3] float in [0, 1].
      source: keypoints of the source.
      driving: keypoints of the driving frame.

    Returns:
      `deformation` [B, h, w, 2] float32 normalised positions; `mask`
      [B, h, w, K + 1] float32, the share of each motion (background first);
      `occlusion` [B, h, w, 1] float32, 1 where the source shows what is
      wanted, 0 where it has to be invented.
    """
    config = self.config
    small = band_limited_downsample(source_image, config.motion_downsample)
    batch, height, width, channels = small.shape
    grid = identity_grid(height, width, align_corners=config.compat)
    motions = sparse_motions(source, driving, grid)
    count = motions.shape[1]

    heatmaps = gaussian_heatmaps(
      driving.values, grid, config.heatmap_variance
    ) - gaussian_heatmaps(source.values, grid, config.heatmap_variance)
    # The background has no keypoint.
    heatmaps = jnp.pad(heatmaps, ((0, 0), (1, 0), (0, 0), (0, 0)))
    # All motions at once, as one tall picture.
    deformed = grid_sample(
      small,
      motions.reshape(batch, count * height, width, 2),
      align_corners=False,
      padding='zeros',
    ).reshape(batch, count, height, width, channels)

    x = jnp.concatenate([heatmaps[..., None], deformed], axis=-1)
    x = jnp.moveaxis(x, 1, 3).reshape(batch, height, width, -1)
    x = Hourglass(
      config.motion_base,
      config.motion_blocks,
      config.hourglass_max,
      self.train,
      self.dtype,
      name='hourglass',
    )(x)
    scores = conv(count, _KERNEL, self.dtype, 'mask')(x)
    mask = jax.nn.softmax(scores.astype(jnp.float32), axis=-1)
    visible = conv(1, _KERNEL, self.dtype, 'occlusion')(x)
    shares = jnp.moveaxis(mask, -1, 1)[..., None]
    return {
      'deformation': (shares * motions).sum(1),
      'mask': mask,
      'occlusion': nn.sigmoid(visible.astype(jnp.float32)),
    }


def sparse_motions(
  source: Keypoints, driving: Keypoints, grid: jax.Array
) -> jax.Array:
  """One affine motion for the background and for each keypoint (eq. 4).

  T(z) = source + J (z - driving), J = J_source J_driving^-1; the background
  does not move.

  Args:
    source: keypoints of the source.
    driving: keypoints of the driving frame.
    grid: [h, w, 2] float32, the position of every pixel.

  Returns:
    [B, K + 1, h, w, 2] float32 positions in the source, background first.
  """
  steps = grid - driving.values[:, :, None, None]
  jacobian = _product(source.jacobians, _inverse(driving.jacobians))
  moved = (jacobian[:, :, None, None] * steps[..., None, :]).sum(-1)
  moved += source.values[:, :, None, None]
  background = jnp.broadcast_to(grid, (len(moved), 1, *grid.shape))
  return jnp.concatenate([background, moved], axis=1)


def deform(
  image: jax.Array, deformation: jax.Array, *, compat: bool = False
) -> jax.Array:
  """Samples an image at the positions of a coarser deformation.

  Args:
    image: [B, H, W, C] float.
    deformation: [B, h, w, 2] float32 normalised positions.
    compat: see `FOMMConfig`.

  Returns:
    [B, H, W, C], zero where a position is outside the image.
  """
  size = image.shape[1:3]
  if not compat and deformation.shape[1:3] != size:
    # Steps are resized, not positions: a resized ramp is flat at the border.
    small = identity_grid(*deformation.shape[1:3], align_corners=False)
    steps = resize_bilinear(deformation - small, size)
    deformation = steps + identity_grid(*size, align_corners=False)
  return grid_sample(
    image,
    resize_bilinear(deformation, size),
    align_corners=False,
    padding='zeros',
  )


def _product(first: jax.Array, second: jax.Array) -> jax.Array:
  """Products of [..., 2, 2] matrices, in full precision on every device."""
  return (first[..., :, :, None] * second[..., None, :, :]).sum(-2)


def _inverse(matrix: jax.Array) -> jax.Array:
  """Inverses of [..., 2, 2] matrices."""
  a, b = matrix[..., 0, 0], matrix[..., 0, 1]
  c, d = matrix[..., 1, 0], matrix[..., 1, 1]
  adjugate = jnp.stack([jnp.stack([d, -b], -1), jnp.stack([-c, a], -1)], -2)
  return adjugate / (a * d - b * c)[..., None, None]
