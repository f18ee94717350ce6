"""What a training step costs: operations, memory, share of the peak."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator
from typing import Any

import jax
import numpy as np
from jax.extend import core

# Peak of one device in bfloat16 without sparsity, operations a second, by the
# beginning of `device_kind`; the longest fitting entry counts. Sources: data
# sheets of NVIDIA H100 (SXM; PCIe), H200, A100, L4 (half of what is given
# "with sparsity"), and Google's "TPU v4", "v5e", "v5p", "v6e" system pages.
PEAK_FLOPS = {
  'NVIDIA H100': 989e12,
  'NVIDIA H100 PCIe': 756e12,
  'NVIDIA H200': 989e12,
  'NVIDIA A100': 312e12,
  'NVIDIA L4': 121e12,
  'NVIDIA L40': None,  # another card, whose name begins alike
  'TPU v4': 275e12,
  'TPU v4 lite': None,
  'TPU v5 lite': 197e12,
  'TPU v5e': 197e12,
  'TPU v5': 459e12,
  'TPU v5p': 459e12,
  'TPU v6 lite': 918e12,
  'TPU v6e': 918e12,
}


def peak_flops(device_kind: str) -> float | None:
  """Peak operations a second of a device, bfloat16; None if not known."""
  fitting = [k for k in PEAK_FLOPS if device_kind.startswith(k)]
  return PEAK_FLOPS[max(fitting, key=len)] if fitting else None


def count_flops(function: Callable[..., Any], *args: Any) -> float:
  """Operations of all matrix products and convolutions of a call.

  Counted from the traced program, so that the number is the same on every
  device; what is computed again to save memory counts again, and of branches
  the one with most operations. Everything else
  (norms, activations, sampling) is left out: a few percent.

  Args:
    function: what is called.
    *args: its arguments; arrays or `jax.ShapeDtypeStruct`.

  Returns:
    Operations; a multiplication and an addition are two.

  Example:
    >>> count_flops(jnp.dot, np.zeros((2, 3)), np.zeros((3, 4)))
    48.0
  """
  return program_flops(jax.make_jaxpr(function)(*args).jaxpr)


def program_flops(jaxpr: core.Jaxpr) -> float:
  """`count_flops` of what is traced already, e.g. `jit(f).trace(x).jaxpr`."""
  total = 0.0
  for equation in jaxpr.eqns:
    name, params = equation.primitive.name, equation.params
    if name == 'dot_general':
      total += _product_flops(equation)
    elif name == 'conv_general_dilated':
      total += _convolution_flops(equation)
    elif name == 'cond':
      total += max(program_flops(b.jaxpr) for b in params['branches'])
    else:
      times = params['length'] if name == 'scan' else 1
      inner = (program_flops(j) for j in _inner_programs(params))
      total += times * sum(inner)
  return total


def _inner_programs(params: dict[str, Any]) -> Iterator[core.Jaxpr]:
  for value in params.values():
    if isinstance(value, core.ClosedJaxpr):
      yield value.jaxpr
    elif isinstance(value, core.Jaxpr):
      yield value


def _product_flops(equation) -> float:
  (contracted, _), _ = equation.params['dimension_numbers']
  shape = equation.invars[0].aval.shape
  inner = math.prod(shape[axis] for axis in contracted)
  return 2.0 * math.prod(equation.outvars[0].aval.shape) * inner


def _convolution_flops(equation) -> float:
  """Products with what is there: not with padding, nor with gaps."""
  params = equation.params
  source, kernel = (v.aval.shape for v in equation.invars[:2])
  result = equation.outvars[0].aval.shape
  numbers = params['dimension_numbers']
  products = 1.0
  for axis in range(len(params['window_strides'])):
    products *= _axis_products(
      source[numbers.lhs_spec[2 + axis]],
      kernel[numbers.rhs_spec[2 + axis]],
      result[numbers.out_spec[2 + axis]],
      params['window_strides'][axis],
      params['padding'][axis][0],
      params['lhs_dilation'][axis],
      params['rhs_dilation'][axis],
    )
  batch, features = (result[axis] for axis in numbers.out_spec[:2])
  channels = kernel[numbers.rhs_spec[1]]
  return (
    2.0 * products * batch * features * channels / params['batch_group_count']
  )


def _axis_products(
  source: int,
  taps: int,
  result: int,
  stride: int,
  pad: int,
  gap: int,
  step: int,
) -> int:
  """Pairs of an output and a tap that meet an input, along one axis."""
  position = (
    stride * np.arange(result)[:, None] + step * np.arange(taps)[None] - pad
  )
  inside = (position >= 0) & (position <= gap * (source - 1))
  return int((inside & (position % gap == 0)).sum())


class MeasuredStep:
  """A compiled function that says what it costs.

  Args:
    function: of `jax.jit`.
    inputs: its arguments; the compiled function takes such arguments only.

  Attributes:
    flops: operations of a call, see `count_flops`.
  """

  def __init__(self, function: Callable[..., Any], inputs: tuple[Any, ...]):
    began = time.perf_counter()
    traced = function.trace(*inputs)
    self._compiled = traced.lower().compile()
    self._seconds = time.perf_counter() - began
    self.flops = program_flops(traced.jaxpr.jaxpr)

  def __call__(self, *inputs: Any) -> Any:
    """Calls the compiled function."""
    return self._compiled(*inputs)

  def describe(self) -> str:
    """One line: operations, memory, time to compile."""
    memory = _memory_text(self._compiled.memory_analysis())
    flops = format_flops(self.flops)
    return f'{flops}; {memory}; compiled in {self._seconds:.1f} s'


def _memory_text(memory: Any) -> str:
  if memory is None:
    return 'memory not known'
  kept = memory.argument_size_in_bytes + memory.output_size_in_bytes
  kept -= memory.alias_size_in_bytes  # donated: one buffer is both
  temporary = memory.temp_size_in_bytes
  return (
    f'{format_bytes(kept + temporary)} on each device, '
    f'{format_bytes(temporary)} of it for intermediate values'
  )


def format_bytes(count: float) -> str:
  """`1.5 GB`."""
  return f'{count / 1e9:.2f} GB' if count >= 1e9 else f'{count / 1e6:.1f} MB'


def format_flops(count: float) -> str:
  """`1.5 TFLOP`."""
  for unit, size in (('T', 1e12), ('G', 1e9), ('M', 1e6)):
    if count >= size:
      return f'{count / size:.3g} {unit}FLOP'
  return f'{count:.0f} FLOP'
