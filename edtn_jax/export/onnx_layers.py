"""ONNX of the layers in `generator.ops`, one function each.

Each takes a graph, the parameters that Flax keeps of the layer, and the names
of values; maps are [B, C, H, W] here. Statistics and positions are float32 in
any precision, as in the layers themselves.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from edtn_jax.export.onnx_graph import Graph
from generator.ops.warp import identity_grid

Params = Mapping[str, Any]
EPS = 1e-5


def dense(graph: Graph, params: Params, x: str) -> str:
  """`nn.Dense` in float32: [B, I] -> [B, O]."""
  return graph.node(
    'Gemm',
    x,
    graph.constant(params['kernel']),
    graph.constant(params['bias']),
  )


def leaky_relu(graph: Graph, x: str, slope: float) -> str:
  """`nn.leaky_relu`."""
  return graph.node('LeakyRelu', x, alpha=float(slope))


def conv2d(
  graph: Graph, params: Params, x: str, stride: int = 1, padding: int = 0
) -> str:
  """`generator.ops.conv.Conv2d`."""
  kernel = np.asarray(params['kernel'])
  return graph.node(
    'Conv',
    x,
    graph.weight(kernel.transpose(3, 2, 0, 1)),
    graph.weight(params['bias']),
    kernel_shape=kernel.shape[:2],
    strides=(stride, stride),
    pads=(padding,) * 4,
  )


def conv_transpose2d(
  graph: Graph,
  params: Params,
  x: str,
  stride: int,
  padding: int,
  output_padding: int,
) -> str:
  """`generator.ops.conv.ConvTranspose2d`, whose kernel is stored turned."""
  kernel = np.asarray(params['kernel'])[::-1, ::-1]
  return graph.node(
    'ConvTranspose',
    x,
    graph.weight(kernel.transpose(2, 3, 0, 1)),
    graph.weight(params['bias']),
    kernel_shape=kernel.shape[:2],
    strides=(stride, stride),
    pads=(padding,) * 4,
    output_padding=(output_padding, output_padding),
  )


def up_conv2d(graph: Graph, params: Params, x: str) -> str:
  """`generator.ops.conv.UpConv2d` as one transposed 4x4 convolution.

  A 3x3 convolution of repeated pixels: each tap meets two pixels along both
  axes, and four copies of the kernel, shifted, add up.
  """
  kernel = np.asarray(params['kernel'])[::-1, ::-1]
  wide = np.zeros((4, 4, *kernel.shape[2:]), np.float32)
  for row in (0, 1):
    for column in (0, 1):
      wide[row : row + 3, column : column + 3] += kernel
  return graph.node(
    'ConvTranspose',
    x,
    graph.weight(wide.transpose(2, 3, 0, 1)),
    graph.weight(params['bias']),
    kernel_shape=(4, 4),
    strides=(2, 2),
    pads=(1, 1, 1, 1),
  )


def _instance_norm(graph: Graph, x: str, channels: int) -> str:
  """Mean 0 and variance 1 over all axes but the first two."""
  return graph.node(
    'InstanceNormalization',
    x,
    graph.constant(np.ones(channels)),
    graph.constant(np.zeros(channels)),
    epsilon=EPS,
  )


def adain(graph: Graph, params: Params, x: str, z: str) -> str:
  """`generator.ops.norm.AdaIN`; z is float32."""
  hidden = graph.node('Relu', dense(graph, params['shared'], z))
  channels = len(params['gamma']['bias'])
  one = np.ones(channels, np.float32)
  # The one of 1 + gamma goes into the bias.
  gamma = {**params['gamma'], 'bias': params['gamma']['bias'] + one}
  shape = graph.constant([0, channels, 1, 1], np.int64)
  scale, shift = (
    graph.node('Reshape', dense(graph, part, hidden), shape)
    for part in (gamma, params['beta'])
  )
  x = _instance_norm(graph, graph.wide(x), channels)
  x = graph.node('Add', graph.node('Mul', x, scale), shift)
  return graph.narrow(x)


def layer_norm2d(graph: Graph, params: Params, x: str, size: int) -> str:
  """`generator.ops.norm.LayerNorm2d` of a map of size x size."""
  channels = len(params['bias'])
  flat = graph.constant([0, 1, -1], np.int64)
  whole = graph.constant([0, channels, size, size], np.int64)
  x = graph.node('Reshape', graph.wide(x), flat)
  x = graph.node('Reshape', _instance_norm(graph, x, 1), whole)
  scale, bias = (
    graph.constant(np.reshape(params[name], (-1, 1, 1)))
    for name in ('scale', 'bias')
  )
  return graph.narrow(graph.node('Add', graph.node('Mul', x, scale), bias))


def average_pool(graph: Graph, x: str, factor: int) -> str:
  """`generator.ops.resize.average_pool`."""
  return graph.node(
    'AveragePool',
    x,
    kernel_shape=(factor, factor),
    strides=(factor, factor),
  )


def warp_by_flow(
  graph: Graph, image: str, flow: str, size: int, flow_size: int, compat: bool
) -> str:
  """`generator.ops.warp.warp_by_flow` of square maps.

  Args:
    graph: to add to.
    image: [B, C, size, size] float32.
    flow: [B, 2, flow_size, flow_size] float32, in pixels of its own grid.
    size: of the image.
    flow_size: of the flow.
    compat: see there.

  Returns:
    [B, C, size, size].
  """
  # Positions for GridSample without aligned corners: 2 pixels / size.
  unit = 2 / flow_size
  grid = identity_grid(size, size, align_corners=False).transpose(2, 0, 1)
  if compat:
    unit = 2 / max(flow_size - 1, 1)
    grid = identity_grid(flow_size, flow_size, align_corners=True)
    grid = grid.transpose(2, 0, 1)
  moved = graph.node('Mul', flow, graph.constant(np.float32(unit)))
  # COMPAT: there the positions are resized, not the flow.
  if compat:
    moved = graph.node('Add', moved, graph.constant(grid))
  moved = _resize_bilinear(graph, moved, size, flow_size)
  if not compat:
    moved = graph.node('Add', moved, graph.constant(grid))
  return graph.node(
    'GridSample',
    image,
    graph.node('Transpose', moved, perm=(0, 2, 3, 1)),
    align_corners=0,
    mode='bilinear' if graph.opset < 20 else 'linear',
    padding_mode='border',
  )


def _resize_bilinear(graph: Graph, x: str, size: int, source: int) -> str:
  """`generator.ops.resize.resize_bilinear`, outer edges kept."""
  if size == source:
    return x
  scale = size / source
  return graph.node(
    'Resize',
    x,
    '',
    graph.constant([1, 1, scale, scale]),
    mode='linear',
    coordinate_transformation_mode='half_pixel',
  )
