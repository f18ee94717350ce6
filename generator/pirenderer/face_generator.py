"""The whole generator."""

from __future__ import annotations

from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp

from generator.ops.warp import warp_by_flow
from generator.pirenderer.config import PIRendererConfig
from generator.pirenderer.editing import EditingNetwork
from generator.pirenderer.mapping import MappingNetwork
from generator.pirenderer.warping import WarpingNetwork


class FaceGenerator(nn.Module):
  """Moves a picture into a pose.

  Attributes:
    config: sizes and switches.
    dtype: compute type of the convolutions. Parameters, statistics of norms,
      descriptor, flow and pictures are float32 with any of them.

  Example:
    `model = FaceGenerator(LITE)`;
    `params = model.init(key, image, pose)['params']`;
    `model.apply({'params': params}, image, pose)['image']`.
  """

  config: PIRendererConfig = PIRendererConfig()
  dtype: Any = jnp.float32

  @nn.compact
  def __call__(
    self, source_image: jax.Array, pose: jax.Array, *, edit: bool = True
  ) -> dict[str, jax.Array]:
    """Warps and edits.

    Args:
      source_image: [B, H, W, C] float in [0, 1]; H and W multiples of
        `config.size_multiple`.
      pose: [B, P], or [B, T, P] with a window.
      edit: False stops after the warp, for training its stage. Initialise
        with True, or the editing network gets no parameters.

    Returns:
      `flow` [B, H/4, W/4, 2], (x, y) backward, in pixels of its own grid;
      `warped_image` [B, H, W, C] in the source's range; and, if editing,
      `image` [B, H, W, C] in (-1, 1) by tanh: trained towards [0, 1], clip it
      to show it; with `config.blend` also `painted_image`, what is blended
      with the warped one. All float32.

    Raises:
      ValueError: if a shape does not fit.
    """
    multiple = self.config.size_multiple
    channels = self.config.image_channels
    if (
      source_image.ndim != 4
      or source_image.shape[1] % multiple
      or source_image.shape[2] % multiple
      or source_image.shape[3] != channels
    ):
      raise ValueError(
        f'source_image {source_image.shape} must be [B, H, W, {channels}] '
        f'with H and W multiples of {multiple}; resize or pad it'
      )
    source_image = source_image.astype(jnp.float32)
    z = MappingNetwork(self.config, name='mapping')(pose)
    warping = WarpingNetwork(self.config, self.dtype, name='warping')
    flow = warping(source_image, z)
    compat = self.config.compat
    warped = warp_by_flow(source_image, flow, compat=compat)
    out = {'flow': flow, 'warped_image': warped}
    if edit:
      editing = EditingNetwork(self.config, self.dtype, name='editing')
      out |= editing(source_image, warped, z)
    return out
