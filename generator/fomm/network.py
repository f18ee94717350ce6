"""The first-order motion model: keypoints, dense motion, generator.

Siarohin et al., "First Order Motion Model for Image Animation", NeurIPS 2019.
"""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
from flax import linen as nn

from generator.fomm.blocks import ConvBlock, ResidualBlock, conv
from generator.fomm.config import FULL, FOMMConfig
from generator.fomm.keypoints import KeypointDetector, Keypoints
from generator.fomm.motion import DenseMotion, deform
from generator.ops.resize import resize_bilinear
from generator.ops.warp import deformation_to_flow


class OcclusionAwareGenerator(nn.Module):
  """Moves the source's features and paints what they do not show.

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
    """Draws the source as the driving keypoints want it.

    Args:
      source_image: [B, H, W, 3] float in [0, 1].
      source: keypoints of the source.
      driving: keypoints of the driving frame.

    Returns:
      See `FirstOrderMotion`.
    """
    config = self.config
    motion = DenseMotion(config, self.train, self.dtype, name='dense_motion')(
      source_image, source, driving
    )

    def block(level, **options):
      width = min(config.generator_max, config.generator_base * 2**level)
      return ConvBlock(width, train=self.train, dtype=self.dtype, **options)

    x = source_image.astype(self.dtype)
    x = block(0, kernel_size=7, name='first')(x)
    for i in range(config.generator_blocks):
      x = block(i + 1, resize='half', name=f'down_{i}')(x)
    x = deform(x, motion['deformation'], compat=config.compat)
    x *= resize_bilinear(motion['occlusion'], x.shape[1:3]).astype(x.dtype)
    for i in range(config.bottleneck_blocks):
      x = ResidualBlock(self.train, self.dtype, name=f'bottleneck_{i}')(x)
    for i in range(config.generator_blocks):
      level = config.generator_blocks - 1 - i
      x = block(level, resize='double', name=f'up_{i}')(x)
    x = conv(3, 7, self.dtype, 'final')(x)
    return {
      'image': nn.sigmoid(x.astype(jnp.float32)),
      'warped_image': deform(
        source_image, motion['deformation'], compat=config.compat
      ),
      'flow': deformation_to_flow(
        motion['deformation'], align_corners=config.compat
      ),
      'mask': motion['mask'],
      'occlusion': motion['occlusion'],
    }


class FirstOrderMotion(nn.Module):
  """The whole model.

  Attributes:
    config: sizes.
    train: use the batch's statistics in its batch norms and track them in the
      collection `batch_stats` (apply with `mutable=['batch_stats']`); without
      it, the tracked ones are used.
    dtype: of the computation; coordinates and parameters are float32.

  Example:
    >>> model = FirstOrderMotion(TINY)
    >>> variables = model.init(key, source_image, driving_image)
    >>> image = model.apply(variables, source_image, driving_image)['image']
  """

  config: FOMMConfig = FULL
  train: bool = False
  dtype: Any = jnp.float32

  def setup(self):
    """Makes both networks."""
    options = (self.config, self.train, self.dtype)
    self.keypoint_detector = KeypointDetector(*options)
    self.generator = OcclusionAwareGenerator(*options)

  def __call__(
    self, source_image: jax.Array, driving_image: jax.Array
  ) -> dict[str, jax.Array]:
    """Animates a source with the pose of a driving frame.

    Args:
      source_image: [B, H, W, 3] float in [0, 1]; H and W multiples of
        `motion_downsample * 2^keypoint_blocks` and of the other nets' steps,
        128 for the paper's sizes.
      driving_image: [B, H, W, 3] float in [0, 1].

    Returns:
      `image` [B, H, W, 3] float32 in (0, 1); `warped_image` [B, H, W, 3], the
      source deformed, black where nothing is known; `flow` [B, h, w, 2]
      float32, backward, in pixels of its own grid; `mask` [B, h, w, K + 1] and
      `occlusion` [B, h, w, 1] float32, see `DenseMotion`; `source_keypoints`
      and `driving_keypoints`, see `Keypoints`.
    """
    source = self.keypoints(source_image)
    driving = self.keypoints(driving_image)
    return {
      **self.animate(source_image, source, driving),
      'source_keypoints': source,
      'driving_keypoints': driving,
    }

  def keypoints(self, image: jax.Array) -> Keypoints:
    """Keypoints of an image, for `apply(..., method='keypoints')`."""
    return self.keypoint_detector(image)

  def animate(
    self, source_image: jax.Array, source: Keypoints, driving: Keypoints
  ) -> dict[str, jax.Array]:
    """Draws a source with known keypoints, see `__call__`."""
    return self.generator(source_image, source, driving)
