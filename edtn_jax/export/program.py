"""A network with its parameters as files that other programs run, checked.

    stablehlo/<name>.stablehlo   `jax.export`: cpu, cuda and tpu, any batch
    onnx/<name>.onnx             float32; `_fp16` and `_int8` likewise

A StableHLO program ages (JAX promises months, not years), so parameters and
config travel with it.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import jax
import jax.export
import numpy as np
from absl import logging

from edtn_jax import runtime

FORMATS = ('stablehlo', 'onnx')
PLATFORMS = ('cpu', 'cuda', 'tpu')
# Sizes of the batches that a program is tried with, beside all examples.
_TRIED = (1, 3)

Function = Callable[..., Any]


class ExportError(ValueError):
  """An export that cannot be made, or whose check failed."""


@dataclasses.dataclass(frozen=True)
class Allowed:
  """Largest differences between a program and its network.

  Attributes:
    largest: of any number.
    mean: of all numbers of the examples.
  """

  largest: float
  mean: float = np.inf


@dataclasses.dataclass(frozen=True)
class Network:
  """What is exported.

  Attributes:
    name: stem of the files.
    traced: function of float32 arrays with a leading batch axis, as jax can
      trace it; its parameters become part of the StableHLO program.
    reference: the network as inference uses it, on numpy arrays.
    float_reference: the same, computed in float32 whatever its config says;
      ONNX files are compared with it.
    inputs: examples by name, each with a batch of at least 3.
    output: name of the result.
    allowed: by `stablehlo` and by the precision of ONNX files.
    onnx: makes an ONNX file of (precision, opset).
    optional: precisions that are left out where they fail their check.
  """

  name: str
  traced: Function
  reference: Function
  float_reference: Function
  inputs: Mapping[str, np.ndarray]
  output: str
  allowed: Mapping[str, Allowed]
  onnx: Callable[[str, int], bytes]
  optional: tuple[str, ...] = ()


@dataclasses.dataclass(frozen=True)
class Programs:
  """Checked programs.

  Attributes:
    files: content by name.
    entries: what a manifest says of each, by name.
    left_out: why an optional one is not there, by name.
  """

  files: dict[str, bytes]
  entries: dict[str, dict[str, Any]]
  left_out: dict[str, str]

  @property
  def manifest(self) -> dict[str, Any]:
    """Entries of a manifest."""
    return {'programs': self.entries, 'programs_left_out': self.left_out}


def check_formats(formats: Sequence[str]) -> None:
  """Raises ExportError if a format is not of `FORMATS`."""
  unknown = [name for name in formats if name not in FORMATS]
  if unknown:
    raise ExportError(
      f'formats are {", ".join(FORMATS)}; {", ".join(unknown)} is not one'
    )


def make_programs(
  network: Network, formats: Sequence[str], opset: int
) -> Programs:
  """Writes a network in some formats and compares each with it.

  Args:
    network: what to write.
    formats: of `FORMATS`.
    opset: version of ONNX's operators.

  Returns:
    The files, with the differences that were found.

  Raises:
    ExportError: if a format or the opset is unknown, a package is missing, or
      a program differs more than is allowed.
  """
  check_formats(formats)
  found = Programs({}, {}, {})
  if 'stablehlo' in formats:
    _add_stablehlo(found, network)
  if 'onnx' in formats:
    for precision in runtime.PRECISIONS:
      if precision in network.allowed:
        _add_onnx(found, network, precision, opset)
  return found


def _add_stablehlo(found: Programs, network: Network) -> None:
  shapes = [x.shape[1:] for x in network.inputs.values()]
  blob = make_stablehlo(network.traced, shapes)
  program = jax.export.deserialize(bytearray(blob))
  name = f'stablehlo/{network.name}.stablehlo'
  found.entries[name] = {
    'platforms': PLATFORMS,
    **compare(
      program.call,
      network.reference,
      network.inputs.values(),
      network.allowed['stablehlo'],
      name,
    ),
  }
  found.files[name] = blob


def make_stablehlo(
  function: Function, shapes: Sequence[tuple[int, ...]]
) -> bytes:
  """Serialises a function for every platform and any batch size.

  Args:
    function: of float32 arrays with a leading batch axis.
    shapes: of its arguments, without the batch axis.

  Returns:
    What `jax.export.deserialize` reads.
  """
  (batch,) = jax.export.symbolic_shape('batch')
  arguments = [
    jax.ShapeDtypeStruct((batch, *shape), np.float32) for shape in shapes
  ]
  exported = jax.export.export(jax.jit(function), platforms=PLATFORMS)
  return bytes(exported(*arguments).serialize())


def _add_onnx(
  found: Programs, network: Network, precision: str, opset: int
) -> None:
  from edtn_jax.export import onnx_graph

  name = runtime.onnx_name(network.name, precision)
  content = network.onnx(precision, opset)
  session = runtime.open_session(
    content,
    name,
    1,
    ('CPUExecutionProvider',),
    onnx_graph.require('onnxruntime'),
  )

  def run(*arguments):
    inputs = dict(zip(network.inputs, arguments, strict=True))
    return session.run([network.output], inputs)[0]

  try:
    differences = compare(
      run,
      network.float_reference,
      network.inputs.values(),
      network.allowed[precision],
      name,
    )
  except ExportError as error:
    if precision not in network.optional:
      raise
    logging.warning('Left out: %s', error)
    found.left_out[name] = str(error)
    return
  found.entries[name] = {'opset': opset, 'precision': precision, **differences}
  found.files[name] = content


def compare(
  program: Function,
  reference: Function,
  examples: Sequence[np.ndarray],
  allowed: Allowed,
  name: str,
) -> dict[str, float]:
  """Compares a program with its network, at several batch sizes.

  Args:
    program: function of the examples.
    reference: the network.
    examples: arguments, with a batch of at least 3.
    allowed: differences.
    name: of the program, for the error.

  Returns:
    `max_abs_error` and `mean_abs_error` that were found, and
    `allowed_max_abs_error`.

  Raises:
    ExportError: if one is above what is allowed.
  """
  examples = list(examples)
  wanted = np.asarray(reference(*examples))
  largest, mean = 0.0, 0.0
  for size in sorted({*_TRIED, len(wanted)}):
    result = np.asarray(program(*(x[:size] for x in examples)))
    difference = np.abs(result - wanted[:size])
    largest = max(largest, float(difference.max()))
    mean = max(mean, float(difference.mean()))
  # Written so that a NaN fails as well.
  if not (largest <= allowed.largest and mean <= allowed.mean):
    raise ExportError(
      f'{name} differs from the network by {largest:.3g} (allowed '
      f'{allowed.largest:.3g}), {mean:.3g} on the average (allowed '
      f'{allowed.mean:.3g})'
    )
  return {
    'max_abs_error': largest,
    'mean_abs_error': mean,
    'allowed_max_abs_error': allowed.largest,
  }
