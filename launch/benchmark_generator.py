"""Measures the generator: its warp in several forms, and the whole net.

Times are the best of several calls, because other programs only ever add to
them; the time of the CPU, summed over cores, stands beside them.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax

from edtn_jax.training.cost import peak_flops
from generator.ops import warp
from generator.pirenderer.config import FULL, LITE
from generator.pirenderer.face_generator import FaceGenerator
from launch.benchmark_table import Row

_WARP_SHAPES = ((64, 64, 64), (128, 128, 32), (256, 256, 3))
# A product with every pixel is left out above so many operations.
_MOST_OPERATIONS = 2e10


def best(call: Callable[[], Any], seconds: float) -> tuple[float, float, int]:
  """Best time of a call, after one that compiles.

  Args:
    call: returns arrays to wait for.
    seconds: how long to repeat, at least three calls.

  Returns:
    Seconds a call, the least seconds of CPU a call (all cores), and the
    number of calls.
  """
  jax.block_until_ready(call())
  times, cpu = [], []
  began = time.perf_counter()
  while len(times) < 3 or time.perf_counter() - began < seconds:
    wall, used = time.perf_counter(), time.process_time()
    jax.block_until_ready(call())
    times.append(time.perf_counter() - wall)
    cpu.append(time.process_time() - used)
  return min(times), min(cpu), len(times)


def _row(what, measured, note='') -> Row:
  took, cpu, calls = measured
  text = f'CPU {1e3 * cpu:,.1f} ms'
  return {
    'what': what,
    'milliseconds': 1e3 * took,
    'calls': calls,
    'note': f'{text}; {note}' if note else text,
  }


def _gather_side_by_side(image, position):
  """All four neighbours of a pixel as channels: one gather."""
  batch, height, width, channels = image.shape
  right = jnp.concatenate([image[:, :, 1:], image[:, :, -1:]], 2)
  pair = jnp.concatenate([image, right], -1)
  below = jnp.concatenate([pair[:, 1:], pair[:, -1:]], 1)
  pixels = jnp.concatenate([pair, below], -1)
  pixels = pixels.reshape(batch, height * width, 4 * channels)
  last = np.array([width, height], np.float32) - 1
  position = jnp.clip(position, 0, last)
  low = jnp.floor(position)
  x, y = jnp.split(position - low, 2, -1)
  index = (low[..., 1] * width + low[..., 0]).astype(jnp.int32)
  four = jax.vmap(lambda p, i: p.at[i].get(mode='clip'))(pixels, index)
  a, b, c, d = jnp.split(four, 4, -1)
  return (1 - y) * ((1 - x) * a + x * b) + y * ((1 - x) * c + x * d)


def _product(image, position):
  """Weights of all columns, then of all rows, by matrix products."""
  batch, height, width, _ = image.shape
  last = np.array([width, height], np.float32) - 1
  points = jnp.clip(position, 0, last).reshape(batch, -1, 2)

  def weights(axis, size):
    distance = jnp.abs(points[..., axis, None] - np.arange(size))
    return jnp.maximum(1 - distance, 0)

  rows = jnp.einsum('bpx,byxc->bpyc', weights(0, width), image)
  out = jnp.einsum('bpy,bpyc->bpc', weights(1, height), rows)
  return out.reshape(*position.shape[:3], -1)


_FORMS = {
  'four gathers (ours)': warp.sample_pixels,
  'one gather of four neighbours': _gather_side_by_side,
  'matrix products': _product,
}


def benchmark_warp(seconds: float) -> list[Row]:
  """The warp's forms, forward and backward."""
  rows = []
  rng = np.random.default_rng(0)
  for height, width, channels in _WARP_SHAPES:
    for batch in (1, 8):
      shape = (batch, height, width, channels)
      image = jnp.asarray(rng.random(shape), jnp.float32)
      grid = np.stack(np.meshgrid(np.arange(width), np.arange(height)), -1)
      # Smooth, as flows are; a few pixels.
      waves = 5 * np.sin(grid / 20 + rng.random(2))
      position = jnp.asarray(
        np.broadcast_to(grid + waves, (batch, height, width, 2)), jnp.float32
      )
      for name, form in _FORMS.items():
        operations = 2 * batch * (height * width) ** 2 * channels
        if name == 'matrix products' and operations > _MOST_OPERATIONS:
          continue
        size = f'{batch} x {height} x {width} x {channels}'
        rows += _warp_rows(
          form, f'warp {size}, {name}', image, position, seconds
        )
  return rows


def _warp_rows(form, what, image, position, seconds):
  def energy(image, position):
    return jnp.square(form(image, position)).sum()

  calls = {
    'forward': jax.jit(form),
    'gradient of positions': jax.jit(jax.grad(energy, 1)),
    'gradient of both': jax.jit(jax.grad(energy, (0, 1))),
  }
  return [
    _row(f'{what}: {name}', best(lambda c=call: c(image, position), seconds))
    for name, call in calls.items()
  ]


def _model(config, dtype, size, batch):
  """Module, random parameters and inputs."""
  rng = np.random.default_rng(0)
  model = FaceGenerator(config, dtype)
  image = jnp.asarray(rng.random((batch, size, size, 3)), jnp.float32)
  pose = jnp.asarray(rng.random((batch, 20)), jnp.float32)
  shapes = jax.eval_shape(model.init, jax.random.key(0), image, pose)
  params = jax.tree.map(
    lambda s: jnp.asarray(rng.normal(0, 0.02, s.shape), s.dtype), shapes
  )
  return model, params, image, pose


def _operations(compiled) -> float:
  """Billions of operations that XLA counts."""
  costs = compiled.cost_analysis()
  return (costs or {}).get('flops', float('nan')) / 1e9


def _forward_row(name, config, dtype, size, batch, seconds) -> Row:
  model, params, image, pose = _model(config, dtype, size, batch)
  compiled = jax.jit(model.apply).lower(params, image, pose).compile()
  measured = best(lambda: compiled(params, image, pose), seconds)
  return _generator_row(
    f'{name} forward, {size} x {size}, batch {batch}, {dtype.__name__}',
    measured,
    compiled,
    batch,
  )


def _step_row(name, config, dtype, size, batch, seconds) -> Row:
  """Adam step on the squared error of picture and warp."""
  model, params, image, pose = _model(config, dtype, size, batch)
  optimizer = optax.adam(1e-4)

  def loss(params):
    out = model.apply(params, image, pose)
    return sum(
      jnp.square(out[k] - image).mean() for k in ('image', 'warped_image')
    )

  def step(params, state):
    updates, state = optimizer.update(jax.grad(loss)(params), state, params)
    return optax.apply_updates(params, updates), state

  state = optimizer.init(params)
  compiled = jax.jit(step).lower(params, state).compile()
  measured = best(lambda: compiled(params, state), seconds)
  return _generator_row(
    f'{name} training step, {size} x {size}, batch {batch}, {dtype.__name__}',
    measured,
    compiled,
    batch,
  )


def _generator_row(what, measured, compiled, batch) -> Row:
  took = measured[0]
  operations = _operations(compiled)
  peak = peak_flops(jax.devices()[0].device_kind)
  share = f', {operations * 1e9 / took / peak:.0%} of peak' if peak else ''
  memory = compiled.memory_analysis()
  parts = ('argument', 'output', 'temp')
  used = sum(getattr(memory, f'{part}_size_in_bytes') for part in parts)
  return _row(
    what,
    measured,
    f'{batch / took:,.2f} images/s; {operations:,.1f} GFLOP, '
    f'{operations / took:,.0f} GFLOP/s{share}; {used / 1e6:,.0f} MB',
  )


def benchmark_generator(seconds: float) -> list[Row]:
  """Forward and training step; more sizes where there is an accelerator."""
  jobs = [
    (_forward_row, 'full', FULL, jnp.float32, 256, 1),
    (_forward_row, 'lite', LITE, jnp.float32, 256, 1),
    (_forward_row, 'lite', LITE, jnp.float32, 96, 1),
    (_forward_row, 'lite', LITE, jnp.float32, 96, 8),
    (_step_row, 'lite', LITE, jnp.float32, 96, 8),
    (_forward_row, 'lite', LITE, jnp.bfloat16, 96, 1),
    (_forward_row, 'full', FULL, jnp.float32, 256, 8),
    (_step_row, 'full', FULL, jnp.float32, 256, 1),
  ]
  if jax.default_backend() != 'cpu':
    jobs += [
      (call, name, config, dtype, 256, batch)
      for name, config in (('full', FULL), ('lite', LITE))
      for dtype in (jnp.float32, jnp.bfloat16)
      for batch in (1, 8, 32)
      for call in (_forward_row, _step_row)
      if (call, name, config, dtype, 256, batch) not in jobs
    ]
  return [call(*arguments, seconds) for call, *arguments in jobs]
