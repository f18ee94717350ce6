"""Puts ONNX graphs together: names, constants, types.

ONNX is written directly, module by module, instead of by a general converter:
those keep no symbolic batch through our convolutions and turn a warp into two
hundred gathers, where ONNX has one operator, GridSample.
"""

from __future__ import annotations

import importlib
from collections.abc import Mapping, Sequence
from types import ModuleType
from typing import Any

import numpy as np

from edtn_jax.export.program import ExportError

OPSET = 17
# What the layers are written for and tested with. GridSample came with 16; its
# mode is spelt otherwise from 20 on.
OPSETS = tuple(range(17, 22))
# Of int8, matrices alone are; they are computed with in float32.
PRECISIONS = ('float32', 'float16', 'int8')
_LARGEST_INT8 = 127
_BATCH = 'batch'


def check_opset(opset: int) -> None:
  """Raises ExportError if a version is not of `OPSETS`."""
  if opset not in OPSETS:
    raise ExportError(
      f'ONNX opset {opset} is not known; give one of {OPSETS[0]} to '
      f'{OPSETS[-1]}, such as --opset={OPSET}'
    )


def require(name: str) -> ModuleType:
  """Imports a package of the extra [onnx].

  Args:
    name: `onnx`, `onnxruntime`, or a module of either.

  Raises:
    ExportError: if it is not installed.
  """
  try:
    return importlib.import_module(name)
  except ImportError as error:
    raise ExportError(
      f'ONNX files need the package {name.partition(".")[0]!r}, which is not '
      "installed: pip install 'edtn-jax[onnx]', or leave them out with "
      '--formats=stablehlo'
    ) from error


class Graph:
  """A graph that grows node by node.

  Values are known by their names. Features are computed in `precision`;
  `wide` and `narrow` go between that and float32, where they differ.

  Attributes:
    opset: version of ONNX's operators.
    precision: of `PRECISIONS`, of weights and features.

  Example:
    >>> graph = Graph()
    >>> graph.input('x', (3,))
    >>> y = graph.node('Relu', 'x')
    >>> model = graph.model('relu', {'y': (y, (3,))})
  """

  def __init__(self, opset: int = OPSET, precision: str = 'float32'):
    """Starts an empty graph.

    Raises:
      ExportError: if the version or the precision is unknown, or the package
        `onnx` is not installed.
    """
    check_opset(opset)
    if precision not in PRECISIONS:
      raise ExportError(f'precision {precision!r} is not one of {PRECISIONS}')
    self.opset = opset
    self.precision = precision
    self._onnx = require('onnx')
    self._nodes: list[Any] = []
    self._constants: dict[str, Any] = {}
    self._inputs: list[Any] = []

  def input(self, name: str, shape: Sequence[int]) -> str:
    """Declares a float32 input [batch, *shape]; returns its name."""
    self._inputs.append(self._value(name, shape))
    return name

  def constant(self, array: Any, dtype: Any = np.float32) -> str:
    """Adds an array as it is; returns its name."""
    name = f'constant_{len(self._constants)}'
    self._constants[name] = self._onnx.numpy_helper.from_array(
      np.ascontiguousarray(array, dtype), name
    )
    return name

  def weight(self, array: Any) -> str:
    """Adds an array in the precision of features; returns its name."""
    half = self.precision == 'float16'
    return self.constant(array, np.float16 if half else np.float32)

  def int8_weight(self, array: Any) -> str:
    """Adds a matrix as int8 with a scale for each column."""
    array = np.asarray(array, np.float32)
    scale = np.maximum(np.abs(array).max(0) / _LARGEST_INT8, 1e-12)
    return self.node(
      'DequantizeLinear',
      self.constant(np.rint(array / scale), np.int8),
      self.constant(scale),
      self.constant(np.zeros(len(scale)), np.int8),
      axis=1,
    )

  def node(self, operator: str, *inputs: str, **attributes: Any) -> str:
    """Adds an operator with one output; returns the output's name."""
    name = f'{operator.lower()}_{len(self._nodes)}'
    self._nodes.append(
      self._onnx.helper.make_node(
        operator, inputs, [name], name=name, **attributes
      )
    )
    return name

  def wide(self, x: str) -> str:
    """Features as float32."""
    return self._cast(x, 'FLOAT')

  def narrow(self, x: str) -> str:
    """A float32 value as features."""
    return self._cast(x, 'FLOAT16')

  def _cast(self, x: str, kind: str) -> str:
    if self.precision != 'float16':
      return x
    return self.node('Cast', x, to=getattr(self._onnx.TensorProto, kind))

  def model(
    self,
    name: str,
    outputs: Mapping[str, tuple[str, Sequence[int]]],
    notes: Mapping[str, str] | None = None,
  ) -> bytes:
    """Finishes the graph.

    Args:
      name: of the graph.
      outputs: by name, the float32 value and its shape without the batch axis.
      notes: metadata of the file.

    Returns:
      The ONNX file, checked by ONNX's own checker.

    Raises:
      ExportError: if the checker refuses it.
    """
    helper = self._onnx.helper
    nodes = self._nodes + [
      helper.make_node('Identity', [value], [output])
      for output, (value, _) in outputs.items()
    ]
    graph = helper.make_graph(
      nodes,
      name,
      self._inputs,
      [self._value(output, shape) for output, (_, shape) in outputs.items()],
      list(self._constants.values()),
    )
    imports = [helper.make_opsetid('', self.opset)]
    model = helper.make_model(
      graph,
      opset_imports=imports,
      # The oldest that knows the operators: runtimes refuse newer ones.
      ir_version=helper.find_min_ir_version_for(imports),
      producer_name='edtn-jax',
    )
    helper.set_model_props(model, dict(notes or {}))
    try:
      self._onnx.checker.check_model(model, full_check=True)
    except (
      self._onnx.checker.ValidationError,
      self._onnx.shape_inference.InferenceError,
    ) as error:
      raise ExportError(f'the ONNX graph {name} is unsound: {error}') from error
    return model.SerializeToString()

  def _value(self, name: str, shape: Sequence[int]) -> Any:
    return self._onnx.helper.make_tensor_value_info(
      name, self._onnx.TensorProto.FLOAT, [_BATCH, *shape]
    )
