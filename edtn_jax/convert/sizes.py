"""Sizes of public networks, read off the shapes of their weights."""

from __future__ import annotations

import re
from collections.abc import Mapping

import numpy as np

from data.pose_vector import NUM_POSE
from edtn_jax.convert.table import ConversionError
from generator.animo.pose import JOINT_POSE_SIZE
from generator.fomm import FOMMConfig
from generator.fomm.blocks import band_limit_kernel
from generator.pirenderer.config import PIRendererConfig

Arrays = Mapping[str, np.ndarray]
# The band-limiting kernel grows with the factor; more is no face any more.
_MAX_DOWNSAMPLE = 16


def pirenderer_config(arrays: Arrays) -> PIRendererConfig:
  """Sizes of a PIRenderer.

  Args:
    arrays: weights by name, without `generator.`.

  Returns:
    The config, with `compat`.

  Raises:
    ConversionError: if the weights that tell a size are not there, or the
      network takes no pose vector of 20 numbers.
  """
  config = _hourglass_config(arrays, '')
  if config.pose_size != NUM_POSE:
    raise ConversionError(
      f'the generator takes poses of {config.pose_size} numbers; an anime '
      f"generator takes {NUM_POSE}. Weights of PIRenderer's own human faces "
      'are driven by another face model and cannot be used here'
    )
  return config


def animo_config(arrays: Arrays) -> PIRendererConfig:
  """Sizes of AniMo; see `pirenderer_config`."""
  config = _hourglass_config(arrays, 'A')
  if config.pose_size != JOINT_POSE_SIZE:
    raise ConversionError(
      f'the generator takes poses of {config.pose_size} numbers; AniMo takes '
      f'{JOINT_POSE_SIZE}'
    )
  return config


def _hourglass_config(arrays: Arrays, domain: str) -> PIRendererConfig:
  """Sizes of mapping, warping and editing networks."""
  warp = f'warpping_net{domain}.hourglass'
  edit = f'editing_net{domain}'
  down = rf'{warp}\.encoder\.encoder(\d+)\.conv_0\.weight'
  up = rf'{warp}\.decoder\.decoder(\d+)\.conv_0\.weight'
  levels = rf'{edit}\.encoder\.down(\d+)\.model\.0\.weight'
  blocks = rf'{edit}\.decoder\.res\d+\.res(\d+)\.conv2\.weight'
  adain = f'{warp}.encoder.encoder0.norm_0.mlp_shared.0.weight'
  descriptor_size, pose_size = _pose_shape(arrays)
  first = _shape(arrays, f'{warp}.encoder.input_layer.weight', 4)
  widths = [*_outputs(arrays, down), *_outputs(arrays, levels)]
  try:
    return PIRendererConfig(
      pose_size=pose_size,
      descriptor_size=descriptor_size,
      mapping_layers=_count(arrays, r'mapping_net\.encoder(\d+)\.1\.weight'),
      warping_channels=first[0],
      warping_down=_count(arrays, down),
      warping_up=_count(arrays, up),
      editing_channels=_shape(
        arrays, f'{edit}.encoder.first.model.0.weight', 4
      )[0],
      editing_levels=_count(arrays, levels),
      editing_blocks=_count(arrays, blocks),
      # Where no level reaches the limit, the widest one does as well.
      max_channels=max(widths, default=0),
      adain_hidden=_shape(arrays, adain, 2)[0],
      image_channels=first[1],
      compat=True,
    )
  except ValueError as error:
    raise ConversionError(f'weights of no generator: {error}') from error


def _pose_shape(arrays: Arrays) -> tuple[int, ...]:
  """Sizes of the descriptor and of a single pose."""
  normed = sorted(n for n in arrays if n.endswith(('_orig', '.weight_u')))
  if normed:
    raise ConversionError(
      f'{normed[0]} and others belong to a spectral norm, which no released '
      'generator has; divide the weights by it and save them again'
    )
  shape = _shape(arrays, 'mapping_net.first.0.weight')
  if len(shape) != 2:
    raise ConversionError(
      f'mapping_net.first.0.weight is {shape}: this generator is driven by '
      'windows of frames; one that is driven by single poses is needed'
    )
  return shape


def fomm_config(arrays: Arrays) -> FOMMConfig:
  """Sizes of a first-order motion model.

  Args:
    arrays: weights by name, which begins with `generator.` or `kp_detector.`.

  Returns:
    The config, with `compat`; temperature and variance, which have no
    weights, are the paper's.

  Raises:
    ConversionError: if the weights that tell a size are not there.
  """
  keypoints = r'kp_detector\.predictor'
  motion = r'generator\.dense_motion_network\.hourglass'
  widths = {
    source: _outputs(
      arrays, rf'{source}\.encoder\.down_blocks\.\d+\.conv\.weight'
    )
    for source in (keypoints, motion)
  }
  down = _outputs(arrays, r'generator\.down_blocks\.\d+\.conv\.weight')
  for name, found in (*widths.items(), (r'generator\.down_blocks', down)):
    if not found:
      text = name.replace('\\', '')
      raise ConversionError(f'sizes cannot be told: no weights of {text}')
  first = _shape(arrays, 'generator.first.conv.weight', 4)[0]
  return FOMMConfig(
    num_keypoints=_shape(arrays, 'kp_detector.kp.weight', 4)[0],
    motion_downsample=_downsample(arrays),
    # The first block has doubled the channels already.
    keypoint_base=max(1, widths[keypoints][0] // 2),
    keypoint_blocks=len(widths[keypoints]),
    motion_base=max(1, widths[motion][0] // 2),
    motion_blocks=len(widths[motion]),
    hourglass_max=max(*widths[keypoints], *widths[motion]),
    generator_base=first,
    generator_max=max(first, *down),
    generator_blocks=len(down),
    bottleneck_blocks=_count(
      arrays, r'generator\.bottleneck\.r(\d+)\.conv1\.weight'
    ),
    compat=True,
  )


def _downsample(arrays: Arrays) -> int:
  """Factor whose band-limiting kernel is as large as the file's."""
  name = 'kp_detector.down.weight'
  if name not in arrays:
    return 1
  size = _shape(arrays, name, 4)[-1]
  for factor in range(2, _MAX_DOWNSAMPLE + 1):
    if len(band_limit_kernel(factor)) == size:
      return factor
  raise ConversionError(
    f'{name} is a kernel of {size} pixels, which belongs to no factor'
  )


def _shape(
  arrays: Arrays, name: str, num_axes: int | None = None
) -> tuple[int, ...]:
  """Shape of one weight."""
  if name not in arrays:
    raise ConversionError(f'sizes cannot be told: {name} is missing')
  shape = np.shape(arrays[name])
  if num_axes is not None and len(shape) != num_axes:
    raise ConversionError(
      f'{name} is {shape}, wanted an array of {num_axes} axes'
    )
  return shape


def _outputs(arrays: Arrays, pattern: str) -> list[int]:
  """Output channels of the weights whose whole name matches, by number."""
  names = [name for name in arrays if re.fullmatch(pattern, name)]
  names.sort(key=lambda name: [int(n) for n in re.findall(r'\d+', name)])
  return [_shape(arrays, name, 4)[0] for name in names]


def _count(arrays: Arrays, pattern: str) -> int:
  """How many numbers the group of the pattern takes."""
  matches = (re.fullmatch(pattern, name) for name in arrays)
  return len({match[1] for match in matches if match})
