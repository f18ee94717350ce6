"""Mapping network: a pose, or a window of poses -> descriptor."""

from __future__ import annotations

import flax.linen as nn
import jax
import jax.numpy as jnp

from generator.ops.conv import NORMAL_INIT
from generator.pirenderer.config import PIRendererConfig

LEAK = 0.1  # of every leaky ReLU of the model


class MappingNetwork(nn.Module):
  """Pose -> descriptor z, in float32.

  Attributes:
    config: sizes.
  """

  config: PIRendererConfig

  @nn.compact
  def __call__(self, pose: jax.Array) -> jax.Array:
    """[B, P] or, with a window, [B, T, P] -> [B, Z] float32."""
    config = self.config
    pose = pose.astype(jnp.float32)
    wanted = (config.pose_size,)
    if config.pose_window > 1:
      wanted = (config.pose_window, config.pose_size)
    if pose.shape[1:] != wanted:
      raise ValueError(
        f'pose {pose.shape} must be [B, {", ".join(map(str, wanted))}]'
      )
    if config.pose_window > 1:
      return self._window(pose)
    z = self._linear('first')(pose)
    for i in range(config.mapping_layers):
      z = z + self._linear(f'layer_{i}')(nn.leaky_relu(z, LEAK))
    return z

  def _window(self, poses):
    """PIRenderer section 3.1: convolutions over time, without padding."""
    z = self._convolution('first', 7, 1)(poses)
    for i in range(self.config.mapping_layers):
      change = self._convolution(f'layer_{i}', 3, 3)(nn.leaky_relu(z, LEAK))
      z = z[:, 3:-3] + change
    return z.mean(1)

  def _linear(self, name):
    return nn.Dense(
      self.config.descriptor_size, kernel_init=NORMAL_INIT, name=name
    )

  def _convolution(self, name, size, dilation):
    return nn.Conv(
      self.config.descriptor_size,
      (size,),
      kernel_dilation=dilation,
      padding='VALID',
      kernel_init=NORMAL_INIT,
      name=name,
    )
