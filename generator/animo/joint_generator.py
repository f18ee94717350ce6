"""The joint generator of two domains."""

from __future__ import annotations

from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp

from generator.animo.config import FULL
from generator.ops.warp import warp_by_flow
from generator.pirenderer.config import PIRendererConfig
from generator.pirenderer.editing import EditingDecoder, EditingEncoder
from generator.pirenderer.mapping import MappingNetwork
from generator.pirenderer.warping import WarpingNetwork

DOMAINS = ('anime', 'human')


class WarpedEditingNetwork(nn.Module):
  """Editing network that sees the source only and warps what it makes of it.

  Attributes:
    config: sizes.
    dtype: compute type; the picture is float32.
  """

  config: PIRendererConfig
  dtype: Any = jnp.float32

  @nn.compact
  def __call__(
    self,
    image: jax.Array,
    warped_image: jax.Array,
    flow: jax.Array,
    z: jax.Array,
  ) -> dict[str, jax.Array]:
    """Two [B, H, W, C], [B, h, w, 2], [B, Z] -> see `EditingDecoder`."""
    maps = EditingEncoder(self.config, self.dtype, name='encoder')(image)
    maps = [warp_by_flow(x, flow, compat=self.config.compat) for x in maps]
    decoder = EditingDecoder(self.config, self.dtype, name='decoder')
    return decoder(maps, z, warped_image)


class JointGenerator(nn.Module):
  """Moves a picture of either domain into a pose that both share.

  Attributes:
    config: sizes and switches of all networks.
    dtype: compute type of the convolutions. Parameters, statistics of norms,
      descriptor, flow and pictures are float32 with any of them.

  Example:
    >>> model = JointGenerator(TINY)
    >>> params = model.init(key, image, pose)['params']
    >>> model.apply({'params': params}, image, pose, domain='human')['image']
  """

  config: PIRendererConfig = FULL
  dtype: Any = jnp.float32

  def setup(self):
    """Makes the shared network and both domains' own."""
    config, dtype = self.config, self.dtype
    self.mapping = MappingNetwork(config)
    self.warping = {d: WarpingNetwork(config, dtype) for d in DOMAINS}
    self.editing = {d: WarpedEditingNetwork(config, dtype) for d in DOMAINS}

  def __call__(
    self,
    source_image: jax.Array,
    pose: jax.Array,
    *,
    domain: str = 'anime',
    edit: bool = True,
  ) -> dict[str, jax.Array]:
    """Warps and edits a picture.

    Args:
      source_image: [B, H, W, C] float in [0, 1]; H and W multiples of
        `config.size_multiple`.
      pose: [B, 70] float, see `joint_pose`.
      domain: which networks draw, one of `DOMAINS`. `init` makes the
        parameters of both.
      edit: False stops after the warp, for training its stage.

    Returns:
      `flow` [B, h, w, 2], (x, y) backward, in pixels of its own grid;
      `warped_image` [B, H, W, C] in the source's range; and, if editing,
      `image` [B, H, W, C] in (-1, 1) by tanh: trained towards [0, 1], clip it
      to show it; with `config.blend` also `painted_image`. All float32.

    Raises:
      ValueError: if a shape does not fit or the domain is unknown.
    """
    self._check(source_image, domain)
    source_image = source_image.astype(jnp.float32)
    z = self.mapping(pose)
    if self.is_initializing():
      for other in DOMAINS:
        flow = self.warping[other](source_image, z)
        self.editing[other](source_image, source_image, flow, z)
    flow = self.warping[domain](source_image, z)
    warped = warp_by_flow(source_image, flow, compat=self.config.compat)
    out = {'flow': flow, 'warped_image': warped}
    if edit:
      out |= self.editing[domain](source_image, warped, flow, z)
    return out

  def _check(self, source_image, domain):
    multiple, channels = self.config.size_multiple, self.config.image_channels
    if domain not in DOMAINS:
      raise ValueError(f'domain {domain!r} must be one of {DOMAINS}')
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
