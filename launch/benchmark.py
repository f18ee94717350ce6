r"""Measures the parts of EDTN on this machine and prints a table.

    python -m launch.benchmark                 # step, flame, input
    python -m launch.benchmark --only=step,flame
    taskset -c 1 python -m launch.benchmark --only=characters  # one core
    python -m launch.benchmark --only=epochs   # 50 epochs, about a minute
    python -m launch.benchmark --only=reenact --video=clip.mp4

`--json=FILE` keeps the numbers with versions and hardware.
Times are medians of repeated calls after one call that compiles.
"""

from __future__ import annotations

import json
import os
import pathlib
import statistics
import tempfile
import time
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from absl import app, flags

from configs import edtn as edtn_config
from data import anime_sampling, pipelines, procedural_codes
from data.characters import STYLES, Character
from data.codes import CodeTable
from edtn_jax import devices, faces
from edtn_jax import workdir as workdir_lib
from edtn_jax.tasks import build_data, build_task
from edtn_jax.training.optimizer import build_optimizer
from edtn_jax.training.step import init_state, make_train_step
from flame_jax.assets import FlameParams
from flame_jax.layer import flame_apply
from flame_jax.procedural import procedural_head
from launch.benchmark_export import benchmark_export
from launch.benchmark_generator import benchmark_generator, benchmark_warp
from launch.benchmark_pictures import benchmark_pictures
from launch.benchmark_reenact import benchmark_reenact
from launch.benchmark_scaling import benchmark_scaling
from launch.benchmark_table import Row, table

# Sides of the pictures of characters, pixels.
_PICTURE_SIZES = (64, 256, 512, 1024)


def measure(call: Callable[[], Any], seconds: float) -> tuple[float, int]:
  """Median time of a call, after one that compiles.

  Args:
    call: returns arrays to wait for.
    seconds: how long to repeat, at least five calls.

  Returns:
    Seconds a call, and the number of calls.
  """
  return measure_together({'': call}, seconds)['']


def measure_together(
  calls: dict[str, Callable[[], Any]], seconds: float
) -> dict[str, tuple[float, int]]:
  """Median time of several calls that take turns.

  What disturbs the machine disturbs all of them alike, so that their ratios
  can be trusted more than those of separate measurements.

  Args:
    calls: each returns arrays to wait for.
    seconds: time for each call, at least five rounds.

  Returns:
    Seconds a call and the number of calls, by name.
  """
  times: dict[str, list[float]] = {name: [] for name in calls}
  for call in calls.values():
    jax.block_until_ready(call())
  spent, rounds = 0.0, 0
  while rounds < 5 or spent < seconds * len(calls):
    for name, call in calls.items():
      # Once untimed: what ran before has left its data in the caches.
      jax.block_until_ready(call())
      began = time.perf_counter()
      jax.block_until_ready(call())
      times[name].append(time.perf_counter() - began)
      spent += times[name][-1]
    rounds += 1
  return {n: (statistics.median(t), len(t)) for n, t in times.items()}


def _row(what: str, seconds: float, calls: int, note: str = '') -> Row:
  return {
    'what': what,
    'milliseconds': 1e3 * seconds,
    'calls': calls,
    'note': note,
  }


def _step_config(form: str):
  config = edtn_config.get_config()
  config.loss.form = form
  config.data.num_identities = 1024
  config.data.frames_per_identity = 2
  config.data.validation_identities = 2
  # The same work every time: a network that learns drives its gradients
  # towards denormal numbers, which a CPU multiplies far more slowly.
  config.optimizer.learning_rate = 0.0
  return config


def benchmark_step(seconds: float) -> list[Row]:
  """Training step of batch 512: bare network, projected form, mesh form."""
  calls = {}
  for name, form in (
    ('bare', 'projected'),
    ('projected', 'projected'),
    ('mesh', 'mesh'),
  ):
    config = _step_config(form)
    task = build_task(config)
    if name == 'bare':
      task = _BareTask(task)
    mesh = devices.data_mesh(1)
    data = build_data(config, task, mesh)
    optimizer = build_optimizer(config.optimizer, 1)
    step_fn = make_train_step(task, data, optimizer, mesh, ema_decay=0.0)
    state = [jax.jit(lambda t=task, o=optimizer: init_state(t, o, 0, False))()]
    constants = devices.replicate(task.constants, mesh)
    batch = devices.shard_batch(next(data.batches(0)), mesh)

    def call(state=state, step_fn=step_fn, data=data, batch=batch, c=constants):
      now = state[0].step
      state[0], scalars = step_fn(state[0], c, data.resident, batch, now + 0)
      return scalars

    calls[name] = call
  times = measure_together(calls, seconds)
  vertices = procedural_head().num_vertices
  texts = {
    'bare': 'network alone, loss = mean square of the output',
    'projected': 'EDTN loss, projected form',
    'mesh': f'EDTN loss, through the mesh of {vertices:,} vertices',
  }
  bare = times['bare'][0]
  return [
    _row(f'step: {texts[n]}', t, count, f'{t / bare:.2f} x the network alone')
    for n, (t, count) in times.items()
  ]


class _BareTask:
  """The same network, data and optimizer with next to no loss."""

  def __init__(self, task):
    self._task = task

  def __getattr__(self, name):
    return getattr(self._task, name)

  def encode(self, constants, batch):
    """Nothing to add."""
    del constants
    return batch

  def losses(self, group, params, constants, batch, rng, step):
    """Mean square of the coefficients."""
    del group, rng, step
    out = self._task.predict(params, constants, batch)['pose_coeffs']
    return jnp.square(out).mean(), {}


def benchmark_flame(seconds: float) -> list[Row]:
  """FLAME layer, expression and jaw: forward, and forward with gradient."""
  head = jax.tree.map(jnp.asarray, procedural_head())
  rng = np.random.default_rng(0)
  rows = []

  def vertices(assets, expression, jaw_pose):
    params = FlameParams(expression=expression, jaw_pose=jaw_pose)
    return flame_apply(assets, params, landmarks='dynamic')

  def energy(expression, jaw_pose, assets):
    out = vertices(assets, expression, jaw_pose)
    return jnp.square(out.vertices).sum() + jnp.square(out.landmarks).sum()

  forward = jax.jit(vertices)
  both = jax.jit(jax.value_and_grad(energy, argnums=(0, 1)))
  for batch in (1, 64, 512):
    expression = jnp.asarray(rng.standard_normal((batch, 50)), jnp.float32)
    jaw = jnp.asarray(0.1 * rng.standard_normal((batch, 3)), jnp.float32)
    calls = {
      'forward': lambda e=expression, j=jaw: forward(head, e, j),
      'forward + backward': lambda e=expression, j=jaw: both(e, j, head),
    }
    for name, call in calls.items():
      took, count = measure(call, seconds)
      note = f'{1e6 * took / batch:.0f} µs a head'
      rows.append(_row(f'FLAME {name}, batch {batch}', took, count, note))
  return rows


def benchmark_input(seconds: float) -> list[Row]:
  """Codes through the resident path and through grain, batch 512."""
  adapter = faces.procedural_adapter()
  clips = list(
    procedural_codes.procedural_clips(
      adapter, seed=0, num_identities=1024, frames_per_identity=20
    )
  )
  table = CodeTable.from_clips(clips)
  memory = pipelines.MemoryPipeline(table, 0, 512)
  resident = {
    'expression': jnp.asarray(table.expression),
    'jaw_pose': jnp.asarray(table.jaw_pose),
  }
  gather = jax.jit(lambda r, i: jax.tree.map(lambda x: x[i], r))
  steps = iter(range(1 << 30))

  def from_memory():
    return gather(resident, memory.indices(next(steps)).astype(np.int32))

  rows = [_input_row('in memory, on the device', from_memory, seconds)]
  from data.prepare import prepare_procedural

  with tempfile.TemporaryDirectory() as directory:
    path = pathlib.Path(directory) / 'codes'
    prepare_procedural(path, {'train': clips})
    stream = pipelines.stream_codes(path, 'train', 0, 512, num_threads=0)
    for _ in range(3):  # the first passes read the disk
      next(stream)
    rows.append(
      _input_row(
        'streamed by grain, after the first pass', lambda: next(stream), seconds
      )
    )
  return rows


def _input_row(what: str, call: Callable[[], Any], seconds: float) -> Row:
  took, count = measure(call, seconds)
  return _row(
    f'input, batch 512: {what}', took, count, f'{512 / took:,.0f} codes/s'
  )


def benchmark_characters(seconds: float) -> list[Row]:
  """Turned and talking characters in every style and four sizes."""
  people = range(8)
  rows = []
  for size in _PICTURE_SIZES:
    for style in STYLES:
      characters = [Character.from_seed(p, size, style) for p in people]
      poses = [
        anime_sampling.identity_poses(0, person, 1, True)[0]
        for person in people
      ]

      def draw(characters=characters, poses=poses):
        for character, pose in zip(characters, poses, strict=True):
          picture = character.render(pose)
        return picture

      took, count = measure(draw, seconds / len(people))
      each = took / len(people)
      note = f'{1 / each:,.0f} pictures/s'
      what = f'character, {style}, {size} x {size}'
      rows.append(_row(what, each, count * len(people), note))
  return rows


def benchmark_epochs(seconds: float) -> list[Row]:
  """50 epochs over 18,503 identities, one frame of each a pass."""
  del seconds
  from edtn_jax.training import train_and_evaluate

  config = edtn_config.get_config()
  config.compile_cache_dir = ''
  config.train.pictures = False
  with tempfile.TemporaryDirectory() as directory:
    began = time.perf_counter()
    result = train_and_evaluate(config, directory)
    took = time.perf_counter() - began
  note = (
    f'{result.step} steps, everything included; validation loss '
    f'{result.metrics["loss"]:.4f}, coefficient error '
    f'{result.metrics["coefficient_error"]:.4f}'
  )
  return [_row('50 epochs, 18,503 identities, end to end', took, 1, note)]


PARTS = {
  'step': benchmark_step,
  'flame': benchmark_flame,
  'input': benchmark_input,
  'characters': benchmark_characters,
  'pictures': benchmark_pictures,
  'warp': benchmark_warp,
  'generator': benchmark_generator,
  'export': benchmark_export,
  'scaling': benchmark_scaling,
  'reenact': lambda seconds: benchmark_reenact(seconds, flags.FLAGS.video),
  'epochs': benchmark_epochs,
}


def main(argv: list[str]) -> None:
  """Runs the chosen parts."""
  del argv
  given = flags.FLAGS
  unknown = sorted(set(given.only) - set(PARTS))
  if unknown:
    raise app.UsageError(f'--only: {unknown} not in {sorted(PARTS)}')
  rows = [row for name in given.only for row in PARTS[name](given.seconds)]
  machine = {**workdir_lib.provenance(), 'cpu_count': os.cpu_count()}
  print(
    f'{machine["device_kind"]}, {machine["devices"]} device(s), '
    f'{machine["cpu_count"]} CPU cores, jax {jax.__version__}, '
    f'commit {machine["commit"]}\n'
  )
  print(table(rows))
  if given.json:
    text = json.dumps({'machine': machine, 'rows': rows}, indent=2) + '\n'
    workdir_lib.write_text(pathlib.Path(given.json), text)


def define_flags() -> None:
  """Defines the flags; only of the module that is run."""
  flags.DEFINE_list(
    'only',
    ['step', 'flame', 'input'],
    'parts: step, flame, input, characters, pictures, warp, generator, '
    'export, scaling, reenact, epochs',
  )
  flags.DEFINE_string(
    'video', '', 'clip of a face for --only=reenact; empty makes one'
  )
  flags.DEFINE_string('json', '', 'file for the numbers')
  flags.DEFINE_float('seconds', 3.0, 'time spent on each number')


if __name__ == '__main__':
  define_flags()
  app.run(main)
