"""VGG19 up to relu5_1: the features of the perceptual loss.

Simonyan and Zisserman, "Very Deep Convolutional Networks for Large-Scale Image
Recognition", table 1, column E.
"""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
from flax import linen as nn

# (name, channels) of every convolution up to conv5_1, stage by stage; the
# stages are separated by 2x2 maximum pooling.
STAGES = (
  (('conv1_1', 64), ('conv1_2', 64)),
  (('conv2_1', 128), ('conv2_2', 128)),
  (('conv3_1', 256), ('conv3_2', 256), ('conv3_3', 256), ('conv3_4', 256)),
  (('conv4_1', 512), ('conv4_2', 512), ('conv4_3', 512), ('conv4_4', 512)),
  (('conv5_1', 512),),
)
FEATURES = ('relu1_1', 'relu2_1', 'relu3_1', 'relu4_1', 'relu5_1')
# relu5_1 is this many times smaller than the image.
STRIDE = 16

# torchvision counts activations and pooling too: `features.{index}`.
_INDICES = {
  'conv1_1': 0,
  'conv1_2': 2,
  'conv2_1': 5,
  'conv2_2': 7,
  'conv3_1': 10,
  'conv3_2': 12,
  'conv3_3': 14,
  'conv3_4': 16,
  'conv4_1': 19,
  'conv4_2': 21,
  'conv4_3': 23,
  'conv4_4': 25,
  'conv5_1': 28,
}
_BEFORE = r'(?:.*\.)?'

# (source regex, target path or None to ignore, layout) for a torchvision state
# dict, with or without a prefix such as `vgg19.`.
TABLE = (
  *(
    row
    for name, index in _INDICES.items()
    for row in (
      (rf'{_BEFORE}features\.{index}\.weight', f'{name}/kernel', 'conv'),
      (rf'{_BEFORE}features\.{index}\.bias', f'{name}/bias', 'same'),
    )
  ),
  # Nothing after relu5_1 is computed.
  (rf'{_BEFORE}features\.(?:30|32|34)\.(?:weight|bias)', None, 'same'),
  (rf'{_BEFORE}classifier\..*', None, 'same'),
)


class VGG19Features(nn.Module):
  """The five feature maps that the perceptual and style losses compare.

  Attributes:
    dtype: dtype of the computation; parameters stay float32.

  Example:
    >>> model = VGG19Features()
    >>> maps = model.apply({'params': params}, normalised_images)
  """

  dtype: Any = jnp.float32

  @nn.compact
  def __call__(self, images: jax.Array) -> tuple[jax.Array, ...]:
    """Computes the features.

    Args:
      images: [B, H, W, 3] float, RGB, normalised with ImageNet's mean and
        standard deviation; H and W at least 16.

    Returns:
      relu1_1 [B, H, W, 64], relu2_1 [B, H/2, W/2, 128], relu3_1
      [B, H/4, W/4, 256], relu4_1 [B, H/8, W/8, 512] and relu5_1
      [B, H/16, W/16, 512]; sizes rounded down; of `dtype`, not negative.

    Raises:
      ValueError: if the images are no RGB images or smaller than 16x16.
    """
    if images.ndim != 4 or images.shape[-1] != 3:
      raise ValueError(f'wanted images [B, H, W, 3], got {images.shape}')
    if min(images.shape[1:3]) < STRIDE:
      raise ValueError(
        f'VGG features need images of {STRIDE}x{STRIDE} pixels or more, got '
        f'{images.shape[1]}x{images.shape[2]}'
      )
    x = images.astype(self.dtype)
    maps = []
    for number, stage in enumerate(STAGES):
      if number:
        x = nn.max_pool(x, (2, 2), (2, 2))
      for position, (name, channels) in enumerate(stage):
        x = nn.relu(
          nn.Conv(channels, (3, 3), padding=1, dtype=self.dtype, name=name)(x)
        )
        if position == 0:
          maps.append(x)
    return tuple(maps)
