"""Measures what is exported: ONNX Runtime against JAX, on the CPU.

The same numbers go into both, and what takes turns is disturbed alike, so the
ratios can be trusted more than the times. Beside them stands what the machine
can do at all: the rate of a large matrix product in either library.
"""

from __future__ import annotations

import functools
import time
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from edtn_jax import runtime
from edtn_jax.export import onnx_graph
from edtn_jax.export.onnx_generator import generator_onnx
from edtn_jax.export.onnx_translator import translator_onnx
from edtn_jax.translation.network import ExpressionTranslator
from generator.pirenderer.config import FULL, LITE
from generator.pirenderer.face_generator import FaceGenerator
from launch.benchmark_table import Row

THREADS = (1, 2)
_PROVIDERS = ('CPUExecutionProvider',)
_MATRIX = 2048
# Name, config, side of the picture, batch.
_GENERATORS = (
  ('lite', LITE, 96, 1),
  ('lite', LITE, 96, 8),
  ('full', FULL, 256, 1),
)


def benchmark_export(seconds: float) -> list[Row]:
  """Matrix products, the translator, and both sizes of the generator."""
  onnxruntime = onnx_graph.require('onnxruntime')
  opened = functools.partial(_opened, onnxruntime)
  limits = _products(opened, seconds)
  rows = [limits[name] for name in limits]
  limit = max(row['gflops'] for row in rows)
  for batch in (1, 256):
    rows += _translator_rows(opened, batch, seconds)
  for name, config, size, batch in _GENERATORS:
    rows += _generator_rows(opened, name, config, size, batch, seconds, limit)
  return rows


def _opened(onnxruntime, content: bytes, threads: int):
  return runtime.open_session(
    content, 'benchmark', threads, _PROVIDERS, onnxruntime
  )


def _turns(calls: dict[str, Callable[[], Any]], seconds: float):
  """Best time of calls that take turns, and how many; the first compiles."""
  for call in calls.values():
    jax.block_until_ready(call())
  times: dict[str, list[float]] = {name: [] for name in calls}
  began = time.perf_counter()
  while min(
    map(len, times.values())
  ) < 3 or time.perf_counter() - began < seconds * len(calls):
    for name, call in calls.items():
      start = time.perf_counter()
      jax.block_until_ready(call())
      times[name].append(time.perf_counter() - start)
  return {name: (min(t), len(t)) for name, t in times.items()}


def _row(what: str, measured: tuple[float, int], note: str, **more) -> Row:
  took, calls = measured
  row = {'what': what, 'milliseconds': 1e3 * took, 'calls': calls, 'note': note}
  return {**row, **more}


def _products(opened, seconds: float) -> dict[str, Row]:
  """The most that either library gets out of this machine."""
  rng = np.random.default_rng(0)
  matrix = rng.random((_MATRIX, _MATRIX)).astype(np.float32)
  graph = onnx_graph.Graph()
  x = graph.input('x', (_MATRIX,))
  product = graph.node('MatMul', x, graph.constant(matrix))
  content = graph.model('product', {'y': (product, (_MATRIX,))})
  on_device = jnp.asarray(matrix)
  multiply = jax.jit(jnp.matmul)
  calls = {'JAX': lambda: multiply(on_device, on_device)}
  for threads in THREADS:
    session = opened(content, threads)
    calls[_label(threads)] = lambda s=session: s.run(None, {'x': matrix})
  rows = {}
  for name, measured in _turns(calls, seconds).items():
    rate = 2 * _MATRIX**3 / measured[0] / 1e9
    rows[name] = _row(
      f'limit: product of {_MATRIX} x {_MATRIX} matrices, {name}',
      measured,
      f'{rate:,.0f} GFLOP/s',
      gflops=rate,
    )
  return rows


def _label(threads: int) -> str:
  return f'ONNX Runtime, {threads} thread{"s" if threads > 1 else ""}'


def _calls(opened, content: bytes, inputs, in_jax) -> dict[str, Callable]:
  """JAX, then ONNX Runtime with each number of threads; results are alike."""
  calls = {'JAX': in_jax}
  wanted = np.asarray(in_jax())
  for threads in THREADS:
    session = opened(content, threads)
    np.testing.assert_allclose(session.run(None, inputs)[0], wanted, atol=2e-3)
    calls[_label(threads)] = lambda s=session: s.run(None, inputs)[0]
  return calls


def _translator_rows(opened, batch: int, seconds: float) -> list[Row]:
  model = ExpressionTranslator()
  rng = np.random.default_rng(0)
  inputs = {
    'expression': rng.standard_normal((batch, 50)).astype(np.float32),
    'jaw_pose': rng.standard_normal((batch, 3)).astype(np.float32),
  }
  params = _random(model, inputs)
  apply = jax.jit(model.apply)
  content = translator_onnx(params['params'], model.negative_slope)
  calls = _calls(
    opened, content, inputs, lambda: apply(params, *inputs.values())
  )
  return _compared(f'translator, batch {batch}', calls, batch, seconds)


def _generator_rows(
  opened, name, config, size, batch, seconds, limit
) -> list[Row]:
  model = FaceGenerator(config)
  rng = np.random.default_rng(0)
  inputs = {
    'source_image': rng.random((batch, size, size, 3)).astype(np.float32),
    'pose': rng.random((batch, config.pose_size)).astype(np.float32),
  }
  params = _random(model, inputs)
  compiled = jax.jit(model.apply).lower(params, *inputs.values()).compile()
  content = generator_onnx(config, params, size)
  calls = _calls(
    opened,
    content,
    inputs,
    lambda: compiled(params, *inputs.values())['image'],
  )
  operations = (compiled.cost_analysis() or {}).get('flops', np.nan) / 1e9
  what = f'generator {name}, {size} x {size}, batch {batch}'
  rows = _compared(what, calls, batch, seconds)
  for row in rows:
    rate = 1e3 * operations / row['milliseconds']
    row['note'] += f'; {rate:,.0f} GFLOP/s, {rate / limit:.0%} of the limit'
  return rows


def _compared(what, calls, batch, seconds) -> list[Row]:
  measured = _turns(calls, seconds)
  jax_took = measured['JAX'][0]
  return [
    _row(
      f'{what}: {name}',
      (took, calls),
      f'{1e3 * took / batch:,.3f} ms and {batch / took:,.1f} frames/s; '
      f'{jax_took / took:.2f} x JAX',
    )
    for name, (took, calls) in measured.items()
  ]


def _random(model, inputs) -> Any:
  """Parameters that keep features at about the size of the inputs."""
  rng = np.random.default_rng(0)
  shapes = jax.eval_shape(model.init, jax.random.key(0), *inputs.values())

  def draw(path, leaf):
    if len(leaf.shape) > 1:
      scale = np.prod(leaf.shape[:-1]) ** -0.5
      return (scale * rng.standard_normal(leaf.shape)).astype(np.float32)
    return np.full(leaf.shape, path[-1].key == 'scale', np.float32)

  return jax.tree_util.tree_map_with_path(draw, shapes)
