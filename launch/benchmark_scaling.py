r"""What more devices cost and bring: measured here, predicted elsewhere.

    python -m launch.benchmark --only=scaling

A training step of both tasks is compiled for 1, 2, 4 and 8 devices, each with
the same number of rows a device; that of the paper's generator only for 8, and
not run, because a step takes minutes here. What the devices say to each other
is counted in the compiled program: it holds for any number of machines, because
it is a property of the program. Times of virtual devices, which share the cores
of one machine, say what the step costs and nothing about how it scales; what 8
GPUs or a slice of TPUs would do is computed from the program and from what
stands beside it. No such machine was measured.
"""

from __future__ import annotations

import dataclasses
import json
import math
import os
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from typing import Any

from launch.benchmark_table import Row

DEVICE_COUNTS = (1, 2, 4, 8)
COLLECTIVES = (
  'all-reduce',
  'all-gather',
  'reduce-scatter',
  'all-to-all',
  'collective-permute',
)

_BITS = {
  'pred': 8, 's4': 4, 'u4': 4, 's8': 8, 'u8': 8, 's16': 16, 'u16': 16,
  's32': 32, 'u32': 32, 's64': 64, 'u64': 64, 'f8e4m3fn': 8, 'f8e5m2': 8,
  'bf16': 16, 'f16': 16, 'f32': 32, 'f64': 64, 'c64': 64, 'c128': 128,
}  # fmt: skip
_SHAPE = re.compile(r'\b([a-z]+\d*[a-z0-9]*)\[([\d,]*)\]')
# `%name = <shapes> all-reduce(...)`; of an asynchronous pair the start counts.
_INSTRUCTION = re.compile(
  rf'= (?P<result>.*?) (?P<kind>{"|".join(COLLECTIVES)})'
  r'(?P<start>-start)?\('
)
_GROUPS = re.compile(r'replica_groups=(?:\{\{([\d,]*)\}|\[(\d+),(\d+)\])')


def collective_bytes(program: str, num_devices: int) -> dict[str, int]:
  """Bytes that each device puts into the collectives of a program.

  The operands are counted: of an all-reduce the whole array, of an all-gather
  a device's part, of a reduce-scatter the whole array again. Programs of XLA
  name shapes of results; those of operands follow from the group's size.

  Args:
    program: `compiled.as_text()`, without loops around collectives.
    num_devices: devices of the program, for collectives over all of them.

  Returns:
    Bytes by kind; kinds that are absent are left out.

  Example:
    >>> line = '%r = f32[2,3]{1,0} all-reduce(%p), replica_groups={{0,1}}'
    >>> collective_bytes(line, 2)
    {'all-reduce': 24}
  """
  found: dict[str, int] = {}
  for line in program.splitlines():
    match = _INSTRUCTION.search(line)
    if not match:
      continue
    kind, size = match['kind'], _group_size(line, num_devices)
    result = match['result']
    if match['start'] and kind == 'all-gather':
      # Its result is (operands, results).
      count = _shape_bytes(result) / (1 + size)
    elif match['start'] and kind == 'collective-permute':
      count = _shape_bytes(result) / 2
    elif kind == 'all-gather':
      count = _shape_bytes(result) / size
    elif kind == 'reduce-scatter':
      count = _shape_bytes(result) * size
    else:
      count = _shape_bytes(result)
    if size > 1:
      found[kind] = found.get(kind, 0) + round(count)
  return found


def _group_size(line: str, num_devices: int) -> int:
  match = _GROUPS.search(line)
  if not match or match[1] == '':
    return num_devices
  return int(match[3]) if match[1] is None else len(match[1].split(','))


def _shape_bytes(text: str) -> float:
  return sum(
    math.prod(int(n) for n in sizes.split(',') if n) * _BITS[kind] / 8
    for kind, sizes in _SHAPE.findall(text)
    if kind in _BITS
  )


@dataclasses.dataclass(frozen=True)
class Machine:
  """What a prediction assumes of devices that nobody here has.

  Attributes:
    name: what is predicted.
    devices: how many.
    peak: operations a second of one device, bfloat16.
    bandwidth: bytes a second that one device sends along one axis, while it
      receives as many.
    axes: of the network, used at once; 1 is a switch.
    latency: seconds of one hop.
    source: where the numbers are from.
  """

  name: str
  devices: int
  peak: float
  bandwidth: float
  axes: int
  latency: float
  source: str


MACHINES = (
  Machine(
    '8 x H100 SXM',
    8,
    989e12,
    450e9,
    1,
    10e-6,
    'data sheet: 989 TFLOP/s dense bf16; NVLink 900 GB/s in both directions '
    'together',
  ),
  Machine(
    'TPU v5e-64',
    64,
    197e12,
    50e9,
    2,
    1e-6,
    'system page: 197 TFLOP/s bf16, interconnect 1,600 Gbit/s a chip over four '
    'ports; an 8 x 8 slice does not wrap around, so one link of 50 GB/s each '
    'way along both axes',
  ),
)


@dataclasses.dataclass(frozen=True)
class Prediction:
  """Seconds of a step, and how much of n times one device is left.

  Attributes:
    compute: of one device alone.
    communicate: of the collectives, if nothing overlaps.
    worst: share of ideal scaling without any overlap.
    best: with all of it overlapped that fits under the computation.
  """

  compute: float
  communicate: float
  worst: float
  best: float


def predict(
  flops: float,
  data: dict[str, int],
  machine: Machine,
  utilization: float,
) -> Prediction:
  """Predicts a data-parallel step; see `Machine` for what is assumed.

  A ring all-reduce sends 2 (n - 1) / n of the array, the others half as much,
  spread over the axes; each hop costs its latency.

  Args:
    flops: operations of one device's rows.
    data: `collective_bytes` of one device.
    machine: where.
    utilization: share of the peak that the computation is assumed to reach.

  Returns:
    The prediction.
  """
  n = machine.devices
  compute = flops / (machine.peak * utilization)
  sent = 0.0
  for kind, count in data.items():
    whole = count * n if kind == 'all-gather' else count
    sent += (2 if kind == 'all-reduce' else 1) * whole * (n - 1) / n
  side = round(n ** (1 / machine.axes))
  hops = 2 * machine.axes * (side - 1)
  communicate = sent / (machine.bandwidth * machine.axes)
  communicate += hops * machine.latency if data else 0
  return Prediction(
    compute,
    communicate,
    compute / (compute + communicate),
    compute / max(compute, communicate),
  )


# Share of the peak that a prediction assumes: the aim of the project's design
# for the generator, and little for three small matrix products.
UTILIZATION = {'expression_translation': 0.05, 'anime_generator': 0.4}


def benchmark_scaling(seconds: float) -> list[Row]:
  """Steps on 1, 2, 4, 8 devices of this machine, and the predictions.

  The devices are those that JAX finds, or eight virtual ones where it finds
  one: in a process of its own, whose CPU is split.
  """
  with tempfile.TemporaryDirectory() as directory:
    path = os.path.join(directory, 'rows.json')
    environment = {**os.environ}
    environment.setdefault('JAX_NUM_CPU_DEVICES', str(max(DEVICE_COUNTS)))
    done = subprocess.run(
      [sys.executable, '-m', __name__, path, str(seconds)],
      env=environment,
      capture_output=True,
      text=True,
      check=False,
    )
    if done.returncode:
      raise RuntimeError(f'the measuring process failed:\n{done.stderr}')
    with open(path) as file:
      return json.load(file)


@dataclasses.dataclass(frozen=True)
class Case:
  """A training step.

  Attributes:
    name: of the network.
    config: of its task; `train.batch_size` is of one device.
    runs: whether this machine runs it too, and does not only compile it.
  """

  name: str
  config: Any
  runs: bool = True


def _cases() -> list[Case]:
  from configs import anime_generator, edtn

  code = edtn.get_config()
  code.data.num_identities = 1024
  code.data.frames_per_identity = 2
  code.data.validation_identities = 2
  code.train.batch_size = 512
  lite, paper = (anime_generator.get_config(x) for x in ('lite', None))
  for pair in (lite, paper):
    pair.data.source = 'characters'
    pair.data.pipeline = 'memory'
    pair.data.num_identities = 4
    pair.data.pairs_per_identity = 16
    pair.loss.objective = 'structural'  # VGG19's weights are not here
    pair.loss.edit_from_step = 0  # the stage that costs most
    pair.train.batch_size = 8
  for config in (code, lite, paper):
    # The same work every time, see `benchmark._step_config`.
    config.optimizer.learning_rate = 0.0
  return [
    Case('EDTN', code),
    Case('generator lite, 96 x 96', lite),
    Case("the paper's generator, 256 x 256, no VGG19", paper, runs=False),
  ]


def compiled_step(
  config: Any, num_devices: int
) -> tuple[Any, float, Callable[[], Any]]:
  """The training step of a task on so many devices.

  Args:
    config: of the task; `train.batch_size` is of one device.
    num_devices: how many.

  Returns:
    The compiled program, its operations on all devices, and what runs it: the
    state is made at its first call.
  """
  import jax
  import numpy as np

  from edtn_jax import devices
  from edtn_jax.tasks import build_data, build_task
  from edtn_jax.training import cost
  from edtn_jax.training.optimizer import build_optimizer
  from edtn_jax.training.step import init_state, make_train_step

  config = config.copy_and_resolve_references()
  config.train.batch_size *= num_devices
  mesh = devices.data_mesh(num_devices)
  task = build_task(config)
  task = task.at_stage(task.stage(0))
  data = build_data(config, task, mesh)
  optimizer = build_optimizer(config.optimizer, 1)
  ema = config.train.ema_decay
  step_fn = make_train_step(task, data, optimizer, mesh, ema)
  init = jax.jit(
    lambda: init_state(task, optimizer, 0, ema > 0),
    out_shardings=devices.replicated(mesh),
  )
  shapes = jax.eval_shape(init)
  constants = devices.replicate(task.constants, mesh)
  batch = devices.shard_batch(next(data.batches(0)), mesh)
  inputs = (constants, data.resident, batch)
  traced = step_fn.trace(shapes, *inputs, np.int32(0))
  compiled = traced.lower().compile()
  steps, state = iter(range(1 << 30)), None

  def call():
    nonlocal state
    before = init() if state is None else state
    state, scalars = compiled(before, *inputs, np.int32(next(steps)))
    return scalars

  return compiled, cost.program_flops(traced.jaxpr.jaxpr), call


def rows_of(case: Case, seconds: float) -> list[Row]:
  """A step on this machine's devices, and what is predicted of others."""
  import jax

  rows, at_most = [], jax.device_count()
  kind, batch_size = jax.devices()[0].platform, case.config.train.batch_size
  counts = [n for n in DEVICE_COUNTS if n <= at_most]
  for count in counts if case.runs else counts[-1:]:
    compiled, flops, call = compiled_step(case.config, count)
    data = collective_bytes(compiled.as_text(), count)
    took, calls = _best(call, seconds) if case.runs else (math.nan, 0)
    shared = ', which share its cores' if kind == 'cpu' and count > 1 else ''
    time_text = (
      f'{1e3 * took / count:,.2f} ms for the rows of one device'
      if case.runs
      else 'compiled and not run'
    )
    rows.append(
      {
        'what': f'scaling: {case.name}, {count} {kind} device(s){shared}, '
        f'{batch_size} rows each',
        'milliseconds': 1e3 * took if case.runs else None,
        'calls': calls,
        'note': f'{time_text}; {flops / count:.4g} FLOP and '
        f'{_bytes_text(data)} a device',
      }
    )
  share = UTILIZATION[case.config.task]
  return rows + [
    prediction_row(case.name, flops / count, data, machine, share)
    for machine in MACHINES
  ]


def prediction_row(
  name: str, flops: float, data: dict[str, int], machine: Machine, share: float
) -> Row:
  """What a machine would do, with all that is assumed of it."""
  found = predict(flops, data, machine, share)
  return {
    'what': f'PREDICTED, not measured: {name}, {machine.name}',
    'milliseconds': 1e3 * (found.compute + found.communicate),
    'calls': 0,
    'note': f'{1e3 * found.compute:,.3f} ms computing at {100 * share:.0f} % '
    f'of {machine.peak / 1e12:.0f} TFLOP/s, {1e3 * found.communicate:,.3f} ms '
    f'exchanging {_bytes_text(data)} (ring, {machine.axes} axis/axes of '
    f'{machine.bandwidth / 1e9:.0f} GB/s, {1e6 * machine.latency:.0f} us a '
    f'hop); scaling efficiency {100 * found.worst:.1f} % without overlap, '
    f'{100 * found.best:.1f} % with; input and start of kernels left out. '
    f'Assumed from: {machine.source}',
  }


def _bytes_text(data: dict[str, int]) -> str:
  if not data:
    return 'no collectives'
  return ', '.join(f'{n / 1e6:.4g} MB {kind}' for kind, n in data.items())


def _best(call: Callable[[], Any], seconds: float) -> tuple[float, int]:
  """Shortest time of a call: other programs only ever add to it."""
  import jax

  jax.block_until_ready(call())
  times: list[float] = []
  while len(times) < 3 or sum(times) < seconds:
    began = time.perf_counter()
    jax.block_until_ready(call())
    times.append(time.perf_counter() - began)
  return min(times), len(times)


def main(path: str, seconds: str) -> None:
  """Writes all rows to a file."""
  rows = []
  for case in _cases():
    rows += rows_of(case, float(seconds))
  with open(path, 'w') as file:
    json.dump(rows, file)


if __name__ == '__main__':
  main(*sys.argv[1:])
