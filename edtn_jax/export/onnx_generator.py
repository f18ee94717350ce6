"""ONNX of `generator.pirenderer`: one function for each of its modules.

Whoever changes a module there changes the function of the same name here; the
test compares both for every switch of `PIRendererConfig`.
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from typing import Any

import numpy as np

from edtn_jax.export import onnx_layers as layers
from edtn_jax.export.onnx_graph import OPSET, Graph
from edtn_jax.export.onnx_layers import Params
from edtn_jax.export.program import ExportError
from generator.pirenderer.config import PIRendererConfig
from generator.pirenderer.editing import BLEND_START
from generator.pirenderer.mapping import LEAK
from generator.pirenderer.palette import TINT_START

# A map and its side, pixels.
_Map = tuple[str, int]


def generator_onnx(
  config: PIRendererConfig,
  variables: Mapping[str, Any],
  size: int,
  *,
  opset: int = OPSET,
  precision: str = 'float32',
  notes: Mapping[str, str] | None = None,
) -> bytes:
  """Writes `FaceGenerator` as an ONNX file for any batch.

  Inputs: `source_image` [B, size, size, C] float32 in [0, 1] and `pose`
  [B, P], or [B, T, P] with a window. Outputs: those of `FaceGenerator` under
  its names, float32; `image` [B, size, size, C] is the result, to be clipped
  to [0, 1]. What is not asked for is not computed.

  Args:
    config: sizes and switches.
    variables: `params`, and with spectral norm `spectral`, as Flax has them.
    size: of the pictures.
    opset: version of ONNX's operators.
    precision: of weights and features, `float32` or `float16`; inputs and
      outputs are float32 with both.
    notes: metadata of the file.

  Returns:
    The file.

  Raises:
    ExportError: if the size does not fit, something is missing that the
      config asks for, or the opset or the precision is unknown.
  """
  if precision == 'int8':
    raise ExportError('there is no int8 form of the generator')
  if size % config.size_multiple:
    raise ExportError(
      f'pictures of {size} pixels a side: this network takes multiples of '
      f'{config.size_multiple}'
    )
  graph = Graph(opset, precision)
  params = _with_fixed_norms(config, variables)
  pose_shape = (config.pose_size,)
  if config.pose_window > 1:
    pose_shape = (config.pose_window, config.pose_size)
  shape = (size, size, config.image_channels)
  source = graph.node(
    'Transpose', graph.input('source_image', shape), perm=(0, 3, 1, 2)
  )
  z = mapping(graph, config, params['mapping'], graph.input('pose', pose_shape))
  flow, flow_size = warping(
    graph, config, params['warping'], (graph.narrow(source), size), z
  )
  warped = layers.warp_by_flow(
    graph, source, flow, size, flow_size, config.compat
  )
  found = editing(graph, config, params['editing'], source, warped, z, size)
  found |= {'warped_image': warped, 'flow': flow}
  shapes = {
    'flow': (flow_size, flow_size, 2),
    'share': (size, size, 1),
  }
  outputs = {
    name: (
      graph.node('Transpose', value, perm=(0, 2, 3, 1)),
      shapes.get(name, shape),
    )
    for name, value in found.items()
  }
  return graph.model('generator', outputs, notes)


def _with_fixed_norms(
  config: PIRendererConfig, variables: Mapping[str, Any]
) -> Params:
  """Parameters, kernels divided by the spectral norms that are stored."""
  if not config.spectral_norm:
    return variables['params']
  if 'spectral' not in variables:
    raise ExportError(
      'spectral_norm is on, and the vectors that it keeps (the collection '
      '"spectral") are not there; they are not part of a checkpoint yet'
    )

  def divided(params, vectors):
    fixed = {
      name: divided(value, vectors.get(name, {}))
      for name, value in params.items()
      if isinstance(value, Mapping)
    }
    fixed = {**params, **fixed}
    if 'u' in vectors:
      kernel = np.asarray(params['kernel'], np.float64)
      matrix = kernel.reshape(-1, kernel.shape[-1])
      v = matrix @ np.asarray(vectors['u'])
      v /= np.linalg.norm(v) + 1e-12
      norm = v @ (matrix @ np.asarray(vectors['u']))
      fixed['kernel'] = (kernel / norm).astype(np.float32)
    return fixed

  return divided(variables['params'], variables['spectral'])


def mapping(
  graph: Graph, config: PIRendererConfig, params: Params, pose: str
) -> str:
  """`MappingNetwork`: pose -> z [B, Z] float32."""
  if config.pose_window > 1:
    return _mapping_window(graph, config, params, pose)
  z = layers.dense(graph, params['first'], pose)
  for i in range(config.mapping_layers):
    change = layers.leaky_relu(graph, z, LEAK)
    change = layers.dense(graph, params[f'layer_{i}'], change)
    z = graph.node('Add', z, change)
  return z


def _mapping_window(graph, config, params, poses):
  """Convolutions over time; [B, T, P] -> [B, Z]."""

  def convolution(part, x, dilation):
    kernel = np.asarray(part['kernel']).transpose(2, 1, 0)
    return graph.node(
      'Conv',
      x,
      graph.constant(kernel),
      graph.constant(part['bias']),
      kernel_shape=kernel.shape[2:],
      dilations=(dilation,),
    )

  z = graph.node('Transpose', poses, perm=(0, 2, 1))
  z = convolution(params['first'], z, 1)
  begin, end, axis = (graph.constant([i], np.int64) for i in (3, -3, 2))
  for i in range(config.mapping_layers):
    change = layers.leaky_relu(graph, z, LEAK)
    change = convolution(params[f'layer_{i}'], change, 3)
    kept = graph.node('Slice', z, begin, end, axis)
    z = graph.node('Add', kept, change)
  mean = graph.node('GlobalAveragePool', z)
  return graph.node('Flatten', mean)


def warping(
  graph: Graph, config: PIRendererConfig, params: Params, image: _Map, z: str
) -> _Map:
  """`WarpingNetwork`: picture and z -> flow [B, 2, h, h] float32."""
  x, size = image
  x = layers.conv2d(graph, params['input'], x, padding=3)
  maps = [x]
  for i in range(config.warping_down):
    maps.append(_down_block(graph, params[f'down_{i}'], maps[-1], z))
    size //= 2
  x = maps.pop()
  first = config.warping_down - 1
  for i in range(first, first - config.warping_up, -1):
    x = _up_block(graph, params[f'up_{i}'], x, z)
    x = graph.node('Concat', x, maps.pop(), axis=1)
    size *= 2
  x = layers.layer_norm2d(graph, params['flow_norm'], x, size)
  x = layers.leaky_relu(graph, x, LEAK)
  x = layers.conv2d(graph, params['flow'], x, padding=3)
  return graph.wide(x), size


def _norm(graph, params, x, z):
  """AdaIN and the leaky ReLU after it."""
  return layers.leaky_relu(graph, layers.adain(graph, params, x, z), LEAK)


def _down_block(graph, params, x, z):
  x = _norm(graph, params['norm_0'], x, z)
  x = layers.conv2d(graph, params['conv_0'], x, stride=2, padding=1)
  x = _norm(graph, params['norm_1'], x, z)
  return layers.conv2d(graph, params['conv_1'], x, padding=1)


def _up_block(graph, params, x, z):
  main = _norm(graph, params['norm_0'], x, z)
  main = layers.conv2d(graph, params['conv_0'], main, padding=1)
  main = _norm(graph, params['norm_1'], main, z)
  main = layers.conv_transpose2d(graph, params['conv_1'], main, 2, 1, 1)
  skip = _norm(graph, params['norm_skip'], x, z)
  skip = layers.conv_transpose2d(graph, params['conv_skip'], skip, 2, 1, 1)
  return graph.node('Add', main, skip)


def editing(
  graph: Graph,
  config: PIRendererConfig,
  params: Params,
  image: str,
  warped: str,
  z: str,
  size: int,
) -> dict[str, str]:
  """`EditingNetwork`: float32 pictures and z -> float32 outputs by name."""
  both = graph.node('Concat', image, warped, axis=1)
  maps = editing_encoder(graph, config, params['encoder'], both, size)
  return editing_decoder(graph, config, params['decoder'], maps, z, warped)


def editing_encoder(
  graph: Graph, config: PIRendererConfig, params: Params, x: str, size: int
) -> list[_Map]:
  """`EditingEncoder`: float32 map -> maps, the full size first."""
  x = graph.narrow(x)
  maps = [(_conv_block(graph, params['first'], x, size), size)]
  for i in range(config.editing_levels):
    x, size = maps[-1]
    x = _conv_block(graph, params[f'down_{i}'], x, size)
    maps.append((layers.average_pool(graph, x, 2), size // 2))
  return maps


def editing_decoder(
  graph: Graph,
  config: PIRendererConfig,
  params: Params,
  maps: list[_Map],
  z: str,
  warped: str,
) -> dict[str, str]:
  """`EditingDecoder`: maps, z, float32 picture -> float32 outputs by name."""
  x = maps[-1][0]
  for i in reversed(range(config.editing_levels)):
    for j in range(config.editing_blocks):
      x = _residual_block(graph, config, params[f'residual_{i}_{j}'], x, z)
    skip, size = maps[i]
    x = _conv_block(graph, params[f'up_{i}'], x, size, double=True)
    skip = _conv_block(graph, params[f'skip_{i}'], skip, size)
    x = graph.node('Add', x, skip)
  x = graph.wide(layers.conv2d(graph, params['final'], x, padding=3))
  if not config.blend:
    return {'image': graph.node('Tanh', x)}
  return _blended(graph, config, x, warped)


def _blended(graph, config, x, warped):
  """Mixes what is painted with the warped picture."""
  channels, colors = config.image_channels, config.palette
  painted = _channels(graph, x, 0, channels)
  if colors:
    ends = [channels + 1 + i * colors for i in range(3)]
    maps = (_channels(graph, x, *pair) for pair in itertools.pairwise(ends))
    painted = _painted(graph, painted, *maps, warped)
  else:
    painted = graph.node('Tanh', painted)
  share = _channels(graph, x, channels, channels + 1)
  start = graph.constant(np.float32(BLEND_START))
  share = graph.node('Sigmoid', graph.node('Add', share, start))
  change = graph.node('Sub', painted, warped)
  image = graph.node('Add', warped, graph.node('Mul', share, change))
  return {'image': image, 'painted_image': painted, 'share': share}


def _painted(graph, tint, keys, shares, warped):
  """`palette.paint`, on [B, C, H, W]."""

  def rows(x):
    """[B, C, H, W] -> [B, C, H W]."""
    return graph.node('Reshape', x, graph.constant([0, 0, -1], np.int64))

  keys = graph.node('Softmax', rows(keys), axis=2)
  columns = graph.node('Transpose', rows(warped), perm=(0, 2, 1))
  found = graph.node('MatMul', keys, columns)
  found = graph.node('Transpose', found, perm=(0, 2, 1))
  shares = rows(graph.node('Softmax', shares, axis=1))
  mixed = graph.node('MatMul', found, shares)
  mixed = graph.node('Reshape', mixed, graph.node('Shape', tint))
  start = graph.constant(np.float32(TINT_START))
  left = graph.node('Sigmoid', graph.node('Add', tint, start))
  return graph.node('Mul', mixed, left)


def _channels(graph, x, begin, end):
  """Some channels of [B, C, H, W]."""
  begin, end, axis = (graph.constant([i], np.int64) for i in (begin, end, 1))
  return graph.node('Slice', x, begin, end, axis)


def _conv_block(graph, params, x, size, double=False):
  """`ConvBlock`; size is that of the result."""
  if double:
    x = layers.up_conv2d(graph, params['conv'], x)
  else:
    padding = np.shape(params['conv']['kernel'])[0] // 2
    x = layers.conv2d(graph, params['conv'], x, padding=padding)
  x = layers.layer_norm2d(graph, params['norm'], x, size)
  return layers.leaky_relu(graph, x, LEAK)


def _residual_block(graph, config, params, x, z):
  def branch(x, i):
    x = layers.conv2d(graph, params[f'conv_{i}'], x, padding=1)
    return layers.adain(graph, params[f'norm_{i}'], x, z)

  inner = x
  # COMPAT: the first branch is not used; see `ResidualBlock`.
  if not config.compat:
    inner = layers.leaky_relu(graph, branch(x, 0), LEAK)
  return graph.node('Add', x, branch(inner, 1))
