"""ONNX of `translation.network.ExpressionTranslator`."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from edtn_jax.export import onnx_layers as layers
from edtn_jax.export.onnx_graph import OPSET, Graph
from edtn_jax.export.onnx_layers import Params
from edtn_jax.translation.network import NUM_EXPRESSION, NUM_JAW


def translator_onnx(
  params: Params,
  negative_slope: float,
  *,
  opset: int = OPSET,
  precision: str = 'float32',
  notes: Mapping[str, str] | None = None,
) -> bytes:
  """Writes the translator as an ONNX file for any batch.

  Inputs: `expression` [B, 50] and `jaw_pose` [B, 3] float32, axis-angle
  radians. Output: `pose_coeffs` [B, 17] float32 in (0, 1).

  Args:
    params: of `ExpressionTranslator`.
    negative_slope: of its leaky ReLU.
    opset: version of ONNX's operators.
    precision: of weights and features; inputs and outputs are float32 with
      any. Of `int8` the matrices between hidden layers alone are stored as
      int8, with a scale for each column: nine tenths of the parameters. The
      first and the last layer would double the error, and features as int8
      would make it twenty times as large.
    notes: metadata of the file.

  Returns:
    The file.

  Raises:
    ExportError: if the opset is unknown, or `onnx` is not installed.
  """
  graph = Graph(opset, precision)
  inputs = (
    graph.input('expression', (NUM_EXPRESSION,)),
    graph.input('jaw_pose', (NUM_JAW,)),
  )
  x = graph.narrow(graph.node('Concat', *inputs, axis=1))
  for i in range(len(params)):
    if i:
      x = layers.leaky_relu(graph, x, negative_slope)
    part = params[f'layer_{i}']
    between = 0 < i < len(params) - 1
    weight = graph.weight
    if precision == 'int8' and between:
      weight = graph.int8_weight
    x = graph.node(
      'Gemm', x, weight(part['kernel']), graph.weight(part['bias'])
    )
  x = graph.node('Sigmoid', graph.wide(x))
  count = np.shape(params[f'layer_{len(params) - 1}']['bias'])
  return graph.model('translator', {'pose_coeffs': (x, count)}, notes)
