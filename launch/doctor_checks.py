"""What `launch.doctor` looks at, one function a subject."""

from __future__ import annotations

import configparser
import dataclasses
import glob
import importlib.metadata
import json
import math
import os
import pathlib
import platform
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator

import ml_collections
from etils import epath

from data import remote
from edtn_jax import workdir as workdir_lib
from edtn_jax.config import ConfigError
from launch import rendezvous
from launch.processes import Place

ROOT = pathlib.Path(__file__).resolve().parents[1]
# Checkpoints that lie on the disk at once: the latest two, the best, and the
# one that is being written.
_KEPT = 4
# Files that a driver makes where there is such a device.
_DEVICE_FILES = {
  'NVIDIA GPU': ('/dev/nvidia[0-9]*', 'cuda'),
  'TPU': ('/dev/accel[0-9]*', 'tpu'),
}
# Imports are slow on network file systems, and so are first looks at a TPU.
_PROBE_TIMEOUT_S = 180
_PROBE = """
import json, jax
devices = jax.local_devices()
print(json.dumps({
  'platform': jax.default_backend(), 'kind': devices[0].device_kind,
  'local': len(devices), 'all': jax.device_count(), 'jax': jax.__version__}))
"""


@dataclasses.dataclass(frozen=True)
class Finding:
  """One thing that was looked at.

  Attributes:
    subject: such as `disk`.
    text: what was found.
    remedy: what to do; '' if it is well.
  """

  subject: str
  text: str
  remedy: str = ''


@dataclasses.dataclass(frozen=True)
class Devices:
  """What JAX sees, here and in the whole run."""

  platform: str
  kind: str
  per_process: int
  total: int


def check_versions(setup: pathlib.Path = ROOT / 'setup.cfg') -> list[Finding]:
  """Compares what is installed with what the project asks for."""
  from packaging.requirements import Requirement
  from packaging.specifiers import SpecifierSet

  parser = configparser.ConfigParser()
  if setup.is_file():
    parser.read(setup)
    wanted = parser['options']['install_requires'].split('\n')
    python = parser['options']['python_requires']
  else:  # installed without its source
    found = importlib.metadata.metadata('edtn-jax')
    wanted = importlib.metadata.requires('edtn-jax') or []
    wanted = [line for line in wanted if 'extra ==' not in line]
    python = found['Requires-Python']
  problems = []
  if platform.python_version() not in SpecifierSet(python):
    problems.append(f'Python {platform.python_version()}, wanted {python}')
  required = [line for line in wanted if line and not line.startswith('#')]
  for line in required:
    requirement = Requirement(line)
    try:
      version = importlib.metadata.version(requirement.name)
    except importlib.metadata.PackageNotFoundError:
      problems.append(f'{requirement.name} is not installed')
      continue
    if not requirement.specifier.contains(version, prereleases=True):
      problems.append(f'{requirement.name} {version}, wanted {line}')
  if not problems:
    return [Finding('versions', f'{len(required)} packages as setup.cfg asks')]
  return [
    Finding('versions', text, "pip install -e '.' (see setup.cfg)")
    for text in problems
  ]


def probe_devices(
  place: Place | None, timeout: float = _PROBE_TIMEOUT_S
) -> tuple[Devices | None, list[Finding]]:
  """Asks JAX for its devices, in a process that may hang or crash."""
  command = [sys.executable, '-c', _PROBE]
  remedy = (
    'Look for another process that holds the devices, and at the driver '
    '(nvidia-smi; a TPU belongs to one process).'
  )
  try:
    done = subprocess.run(
      command,
      # Processes of one machine look at the same GPUs: none may take them.
      env={**os.environ, 'XLA_PYTHON_CLIENT_PREALLOCATE': 'false'},
      capture_output=True,
      text=True,
      timeout=timeout,
      check=True,
    )
    seen = json.loads(done.stdout.splitlines()[-1])
  except subprocess.TimeoutExpired:
    text = f'JAX does not find its devices within {timeout:.0f} s'
    return None, [Finding('devices', text, remedy)]
  except (subprocess.CalledProcessError, ValueError, IndexError) as error:
    told = (getattr(error, 'stderr', '') or str(error)).strip().splitlines()
    text = f'JAX finds no devices: {told[-1] if told else error}'
    return None, [Finding('devices', text, remedy)]
  own = 1 if place and place.one_device else seen['local']
  count = place.count if place else 1
  devices = Devices(seen['platform'], seen['kind'], own, own * count)
  text = f'{devices.total} x {devices.kind}, jax {seen["jax"]}'
  text += f' ({own} a process)' if count > 1 else ''
  return devices, [Finding('devices', text), *_unused(devices)]


def _unused(devices: Devices) -> Iterator[Finding]:
  """Accelerators that the machine has and JAX does not use."""
  if devices.platform != 'cpu':
    return
  for name, (pattern, extra) in _DEVICE_FILES.items():
    files = glob.glob(pattern)
    if files:
      yield Finding(
        'devices',
        f'{len(files)} {name} here, but JAX computes on the CPU',
        f"pip install -e '.[{extra}]', and unset JAX_PLATFORMS",
      )


def check_count(devices: Devices, expected: int) -> list[Finding]:
  """Compares the number of devices with what the user said."""
  if not expected or devices.total == expected:
    return []
  text = f'{devices.total} devices, expected {expected}'
  remedy = 'Look for machines or devices that are missing (nvidia-smi -L).'
  return [Finding('devices', text, remedy)]


def check_config(
  config: ml_collections.ConfigDict, devices: Devices, place: Place | None
) -> list[Finding]:
  """Everything that the training itself would refuse: batch, mesh, files."""
  from edtn_jax.tasks.validate import validate

  several = place is not None and place.count > 1
  try:
    validate(
      config,
      num_devices=devices.total,
      devices_per_process=devices.per_process if several else None,
    )
  except ConfigError as error:
    return [
      Finding('config', f'{p.key} = {p.value!r}: {p.rule}', p.remedy)
      for p in error.problems
    ]
  batch = config.train.batch_size
  return [Finding('config', f'batch {batch} on {devices.total} device(s)')]


def existing_parent(path: str | os.PathLike) -> pathlib.Path:
  """The first directory above a path that exists, or the path itself."""
  place = pathlib.Path(path).absolute()
  return next(p for p in (place, *place.parents) if p.exists())


def check_workdir(workdir: str) -> list[Finding]:
  """Whether a run's files can be written; leaves nothing behind."""
  remedy = 'Choose another --workdir, or see to the rights.'
  try:
    workdir_lib.check_directory(workdir)
    if remote.is_remote(workdir):
      probe = epath.Path(workdir) / f'.doctor_{os.getpid()}'
      probe.write_text('')
      probe.unlink()
    place = _written_place(workdir)
    if not remote.is_remote(place):
      parent = existing_parent(place)
      with tempfile.NamedTemporaryFile(dir=parent, prefix='.doctor_') as file:
        file.write(b'x')
        file.flush()
  except Exception as error:  # buckets raise errors of their own
    return [Finding('workdir', f'{workdir}: {error}', remedy)]
  return [Finding('workdir', f'{workdir} can be written')]


def _written_place(workdir: str) -> str:
  """Where a run is written, which may be copied to its bucket from there."""
  from edtn_jax import mirror

  return str(mirror.cache()) if mirror.is_needed(workdir) else workdir


def state_bytes(config: ml_collections.ConfigDict) -> int:
  """Size of one checkpoint, from shapes alone."""
  import jax

  from edtn_jax.tasks import build_task
  from edtn_jax.training.optimizer import build_optimizer
  from edtn_jax.training.step import init_state

  task = build_task(config)
  optimizer = build_optimizer(config.optimizer, 1)
  ema = config.train.ema_decay > 0
  state = jax.eval_shape(lambda: init_state(task, optimizer, config.seed, ema))
  return sum(
    math.prod(leaf.shape) * leaf.dtype.itemsize
    for leaf in jax.tree.leaves(state)
  )


def check_disk(workdir: str, checkpoint_bytes: int) -> list[Finding]:
  """Whether the checkpoints fit beside what is there."""
  size = f'{checkpoint_bytes / 1e6:,.1f} MB a checkpoint'
  workdir = _written_place(workdir)
  if remote.is_remote(workdir):
    return [Finding('disk', f'{size}, in a bucket')]
  free = shutil.disk_usage(existing_parent(workdir)).free
  needed = _KEPT * checkpoint_bytes
  text = f'{size}, {_KEPT} at once; {free / 1e9:,.1f} GB left'
  if needed <= free:
    return [Finding('disk', text)]
  return [
    Finding('disk', text, f'Make {(needed - free) / 1e6:,.0f} MB of room.')
  ]


def check_data(config: ml_collections.ConfigDict) -> list[Finding]:
  """Whether a prepared data set is there, whole, and has the splits."""
  if config.data.source != 'dataset':
    return [Finding('data', f'made by code ({config.data.source})')]
  path = config.data.path
  remedy = 'Make it again (edtn prepare), or see that this machine reaches it.'
  try:
    manifests = sorted(remote.local_copy(path).rglob('manifest.json'))
    splits = json.loads(manifests[0].read_text())['splits'] if manifests else {}
    wanted = [config.data.train_split, config.data.validation_split]
    missing = [split for split in wanted if split not in splits]
    if missing:
      text = f'{path} has no split {missing}; there: {sorted(splits)}'
      return [Finding('data', text, 'Name one: --config.data.train_split=...')]
    _read_first(config)
  except (OSError, ValueError, KeyError, RuntimeError) as error:
    return [Finding('data', f'{path}: {error}', remedy)]
  counts = ', '.join(f'{name} {splits[name]}' for name in wanted)
  return [Finding('data', f'{path}: {counts}')]


def _read_first(config: ml_collections.ConfigDict) -> None:
  from edtn_jax.tasks import build_task, build_validation

  next(iter(build_validation(config, build_task(config))))


def check_peers(place: Place, workdir: str, wait: float) -> list[Finding]:
  """Whether the processes reach process 0, and see one directory."""
  workdir = _written_place(workdir)
  local = None if remote.is_remote(workdir) else existing_parent(workdir)
  try:
    rendezvous.meet(place, local, wait)
  except rendezvous.RendezvousError as error:
    return [Finding('processes', error.problem, error.remedy)]
  text = f'process {place.number} of {place.count}, by {place.coordinator}'
  return [Finding('processes', text)]
