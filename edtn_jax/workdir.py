"""A run's directory: its config, where it came from, what it wrote.

Layout: `config.json`, `provenance.json`, `metrics.jsonl` and TensorBoard
events, `checkpoints/<step>/`, `samples/`, and `result.json` once it is over.
"""

from __future__ import annotations

import contextlib
import datetime
import fcntl
import importlib.metadata
import json
import os
import pathlib
import platform
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from typing import Any

import ml_collections
from absl import logging
from etils import epath

from data import remote
from edtn_jax import config as config_lib

CONFIG = 'config.json'
PROVENANCE = 'provenance.json'
CHECKPOINTS = 'checkpoints'
SAMPLES = 'samples'
# Written when a run has taken its last step: final step and metrics.
RESULT = 'result.json'

_VERSIONED = (
  'jax',
  'jaxlib',
  'flax',
  'optax',
  'orbax-checkpoint',
  'grain',
  'numpy',
  'edtn-jax',
)


class WorkdirError(ValueError):
  """A run directory that is absent, foreign or does not fit the config."""


def check_directory(workdir: str | epath.Path) -> None:
  """Checks, before any work, where a run shall be written.

  Args:
    workdir: local, or `gs://bucket/name`, or `s3://bucket/name`.

  Raises:
    WorkdirError: if a file stands there, or runs cannot be written there.
    RemotePathError: naming the extra that its bucket needs.
  """
  remote.check(workdir)
  path = epath.Path(workdir)
  for place in (path, *path.parents):
    if place.exists():
      if not place.is_dir():
        raise WorkdirError(f'{place} is a file; choose another --workdir')
      if not remote.is_remote(place) and not os.access(place, os.W_OK):
        raise WorkdirError(
          _not_writable(place, 'no right to write, or a read-only file system')
        )
      return


def make(workdir: epath.Path) -> None:
  """Makes a run's directory.

  Raises:
    WorkdirError: if that cannot be.
  """
  try:
    workdir.mkdir(parents=True, exist_ok=True)
  except OSError as error:
    raise WorkdirError(_not_writable(workdir, str(error))) from error


def _not_writable(place: epath.Path, reason: str) -> str:
  return f'cannot write to {place}: {reason}. Choose another --workdir.'


def absolute(path: str | epath.Path) -> epath.Path:
  """A path from the root; one in a bucket is such a path already."""
  path = epath.Path(path)
  # `resolve` would make it a local folder with the name of the scheme.
  return path if remote.is_remote(path) else path.resolve()


@contextlib.contextmanager
def claim(
  workdir: str | os.PathLike, name: str | None = None
) -> Iterator[None]:
  """Keeps a second process out of a run's directory while the block runs.

  The claim ends with the process, however that ends. Buckets, and file
  systems that cannot lock, are left unguarded.

  Args:
    workdir: the directory, or a file that stands for it.
    name: how the error calls it.

  Raises:
    WorkdirError: if another process holds it.
  """
  if remote.is_remote(workdir):
    yield
    return
  handle = os.open(workdir, os.O_RDONLY)
  try:
    try:
      fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
      raise WorkdirError(
        f'another process trains in {name or workdir}; wait for it, or choose '
        'another --workdir'
      ) from error
    except OSError as error:
      logging.info('%s is not guarded against a second run: %s', workdir, error)
    yield
  finally:
    os.close(handle)


def write_text(path: epath.Path, text: str) -> None:
  """Writes a small text file so that a reader never sees half of it."""
  write_bytes(path, text.encode('utf-8'))


def write_bytes(path: epath.Path, content: bytes) -> None:
  """Writes a small file so that a reader never sees half of it."""
  path = epath.Path(path)
  path.parent.mkdir(parents=True, exist_ok=True)
  if remote.is_remote(path):  # object stores replace whole objects anyway
    path.write_bytes(content)
    return
  handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=f'.{path.name}.')
  try:
    with os.fdopen(handle, 'wb') as file:
      file.write(content)
    os.chmod(temporary, 0o644)
    os.replace(temporary, path)
  except BaseException:
    pathlib.Path(temporary).unlink(missing_ok=True)
    raise


def write_config(workdir: epath.Path, config: ml_collections.ConfigDict):
  """Stores the config of a run."""
  write_text(workdir / CONFIG, config_lib.to_json(config) + '\n')


def read_config(workdir: str | epath.Path) -> ml_collections.ConfigDict:
  """Reads the config of a run.

  Raises:
    WorkdirError: if there is no run at `workdir`, or its config is damaged.
  """
  path = epath.Path(workdir) / CONFIG
  if not path.exists():
    raise WorkdirError(
      f'no run at {workdir}: {CONFIG} is missing. Train one with '
      f'"edtn train", or convert released weights with "edtn convert".'
    )
  try:
    return config_lib.from_json(path.read_text())
  except ValueError as error:
    raise WorkdirError(f'{path} is damaged: {error}') from error


def provenance() -> dict[str, Any]:
  """Commit, versions, devices and time of this process."""
  import jax

  return {
    'started': datetime.datetime.now(datetime.UTC).isoformat('T', 'seconds'),
    'commit': git_commit(),
    'python': platform.python_version(),
    'versions': {name: _version(name) for name in _VERSIONED},
    'platform': jax.default_backend(),
    'device_kind': jax.devices()[0].device_kind,
    'devices': jax.device_count(),
    'processes': jax.process_count(),
    'argv': sys.argv[1:],
  }


def append_provenance(workdir: epath.Path, **extra: Any) -> None:
  """Adds this process to the list of runs that worked in `workdir`."""
  path = workdir / PROVENANCE
  try:
    runs = json.loads(path.read_text())['runs'] if path.exists() else []
  except (ValueError, KeyError, TypeError) as error:
    raise WorkdirError(
      f'{path} is damaged: {error}. Move it away; a new one will be written.'
    ) from error
  runs.append({**provenance(), **extra})
  write_text(path, json.dumps({'runs': runs}, indent=2) + '\n')


def git_commit() -> str | None:
  """Commit of the source tree, marked `-dirty` if it differs, or None."""
  root = pathlib.Path(__file__).resolve().parents[1]
  if not (root / '.git').exists():
    return None
  command = ['git', '-C', str(root), 'describe', '--always', '--dirty']
  command += ['--abbrev=12', '--exclude=*']
  try:
    done = subprocess.run(
      command, capture_output=True, text=True, timeout=10, check=True
    )
  except (OSError, subprocess.SubprocessError):
    return None
  return done.stdout.strip()


def _version(name: str) -> str | None:
  try:
    return importlib.metadata.version(name)
  except importlib.metadata.PackageNotFoundError:
    return None


# A change of these would make the stored state mean something else.
_FIXED = ('task', 'seed', 'model.', 'face.', 'data.', 'loss.', 'optimizer.name')
# Who reads the data changes nothing about it.
_FREE = ('data.num_workers', 'data.num_threads')


def check_same_run(
  stored: ml_collections.ConfigDict, wanted: ml_collections.ConfigDict
) -> dict[str, tuple[Any, Any]]:
  """Compares the config of an existing run with the one asked for.

  Args:
    stored: config found in the workdir.
    wanted: config of this call.

  Returns:
    Differences that are allowed on resume (rates, lengths, logging).

  Raises:
    ConfigError: with every difference that is not.
  """
  differences = config_lib.differences(stored, wanted)
  problems = []
  for key, (old, new) in differences.items():
    fixed = key.startswith(_FIXED) and key not in _FREE
    if fixed or key == 'train.batch_size':
      problems.append(
        config_lib.Problem(
          key,
          new,
          f'the run in this workdir has {old!r}',
          'Use the same value, or another --workdir.',
        )
      )
  if problems:
    raise config_lib.ConfigError(problems)
  return differences
