"""Bundles: a checkpoint as plain files, for other programs and to pass on.

    params.npz        parameters, `/`-separated names, and the constants
    config.json       config of the run
    pose_vector.json  names, groups, sides, ranges and units of the pose vector
    *.stablehlo       the network as a program, where there is one
    manifest.json     task, step, provenance, licence, sha256 of each file

Nothing in them is executed when they are read, and every file is compared with
its hash.
"""

from __future__ import annotations

import contextlib
import dataclasses
import hashlib
import json
import os
import pathlib
import shutil
import tempfile
from collections.abc import Iterator, Mapping
from typing import Any

import jax
import ml_collections
import numpy as np
from absl import logging

from data import files
from data.pose_vector import POSE_NUMBERS
from edtn_jax import checkpoints
from edtn_jax import config as config_lib
from edtn_jax import workdir as workdir_lib

FORMAT = 'edtn-bundle-1'
DTYPES = ('float32', 'float16')
_MANIFEST = 'manifest.json'
_PARAMS, _CONFIG, _POSE = 'params.npz', 'config.json', 'pose_vector.json'
# Of a config, what may be a path, or several, comma-separated.
_PATHS = (
  'init_from', 'resume_from', 'data.path', 'face.landmarks', 'face.model',
  'face.pose_adapter', 'loss.vgg_weights',
)  # fmt: skip
# Of a manifest, what reading needs.
_KEYS = ('task', 'checkpoint_step', 'averaged', 'sha256')


class BundleError(checkpoints.CheckpointError):
  """A bundle that cannot be written or read."""


def write_bundle(
  output: str | os.PathLike,
  found: checkpoints.Checkpoint,
  *,
  programs: Mapping[str, bytes],
  entries: Mapping[str, Any],
  dtype: str = 'float32',
) -> dict[str, Any]:
  """Writes a bundle; it appears complete or not at all.

  Args:
    output: directory to make.
    found: what goes into it.
    programs: content by file name.
    entries: goes into the manifest.
    dtype: type in which parameters are stored, of `DTYPES`.

  Returns:
    The manifest.

  Raises:
    BundleError: if `output` exists or the type is unknown.
  """
  check_output(output, dtype)
  output = pathlib.Path(output)
  with _new_directory(output) as partial:
    arrays = {
      name: array.astype(dtype) for name, array in leaves(found.params).items()
    }
    files.write_npz(partial / _PARAMS, {**arrays, **found.constants})
    schema = [dataclasses.asdict(number) for number in POSE_NUMBERS]
    (partial / _POSE).write_text(json.dumps(schema, indent=2))
    (partial / _CONFIG).write_text(config_lib.to_json(_portable(found.config)))
    for name, content in programs.items():
      (partial / name).write_bytes(content)
    provenance = workdir_lib.provenance()
    # Arguments hold paths; see `_portable`.
    del provenance['argv']
    manifest = {
      'format': FORMAT,
      'task': found.config.task,
      'checkpoint_step': found.step,
      'averaged': found.averaged,
      'dtype': dtype,
      **entries,
      'provenance': provenance,
      'sha256': {p.name: _sha256(p) for p in sorted(partial.iterdir())},
    }
    files.write_json(partial / _MANIFEST, manifest)
  logging.info('Exported %s to %s', found.path, output)
  return manifest


def check_output(output: str | os.PathLike, dtype: str = 'float32') -> None:
  """Checks, before any work, what `write_bundle` is going to be given.

  Raises:
    BundleError: if `output` exists or the type is unknown.
  """
  if dtype not in DTYPES:
    raise BundleError(f'dtype is {dtype!r}; wanted {" or ".join(DTYPES)}')
  if pathlib.Path(output).exists():
    raise BundleError(f'{output} exists; choose another --output')


def is_bundle(path: str | os.PathLike) -> bool:
  """Whether a directory looks like a bundle, sound or not."""
  path = pathlib.Path(path)
  return (path / _MANIFEST).is_file() and (path / _PARAMS).is_file()


def load_model(
  path: str | os.PathLike, *, step: int | None = None
) -> checkpoints.Checkpoint:
  """Reads a bundle, or a checkpoint of a run.

  Args:
    path: bundle, workdir, or checkpoint directory.
    step: which step of a workdir; None takes the newest.

  Returns:
    The checkpoint.

  Raises:
    CheckpointError: if it is absent or damaged, or a bundle of another step.
  """
  if not is_bundle(path):
    return checkpoints.load_checkpoint(os.fspath(path), step=step)
  found = read_bundle(path)
  if step not in (None, found.step):
    raise BundleError(f'{path} is a bundle of step {found.step}, not {step}')
  return found


def read_bundle(path: str | os.PathLike) -> checkpoints.Checkpoint:
  """Reads a bundle after comparing each file with its hash.

  Args:
    path: the directory.

  Returns:
    The checkpoint; parameters are float32, whatever they are stored as.

  Raises:
    BundleError: if it is no bundle, incomplete, or not what was written; names
      every file that is not.
  """
  path = pathlib.Path(path)
  manifest = read_manifest(path)
  problems = []
  for name, digest in manifest['sha256'].items():
    if not (path / name).is_file():
      problems.append(f'{name} is missing')
    elif _sha256(path / name) != digest:
      problems.append(f'{name} is not the file that was written (sha256)')
  if problems:
    raise BundleError(
      f'{path} is damaged: {"; ".join(problems)}. Export or copy it again.'
    )
  try:
    stored = files.read_npz(path / _PARAMS)
    config = checkpoints.parse_config((path / _CONFIG).read_text())
    params = _tree(
      {k: v.astype(np.float32) for k, v in stored.items() if '/' in k}
    )
  except (OSError, ValueError) as error:
    raise BundleError(
      f'{path} is damaged: {error}. Export or copy it again.'
    ) from error
  logging.info('Read %s, step %d', path, manifest['checkpoint_step'])
  return checkpoints.Checkpoint(
    config=config,
    params=params,
    constants={k: v for k, v in stored.items() if '/' not in k},
    step=manifest['checkpoint_step'],
    path=str(path),
    averaged=manifest['averaged'],
  )


def read_manifest(path: str | os.PathLike) -> dict[str, Any]:
  """Reads the manifest of a bundle.

  Raises:
    BundleError: if there is none, or it is not of this format.
  """
  path = pathlib.Path(path) / _MANIFEST
  try:
    manifest = json.loads(path.read_bytes())
  except (OSError, ValueError) as error:
    raise BundleError(f'{path} cannot be read: {error}') from error
  if not isinstance(manifest, dict) or manifest.get('format') != FORMAT:
    raise BundleError(f'{path} is no manifest of the format {FORMAT!r}')
  hashes = manifest.get('sha256')
  missing = [key for key in _KEYS if key not in manifest]
  if missing or not isinstance(hashes, dict):
    raise BundleError(f'{path} is damaged: it lacks {missing or "hashes"}')
  unnamed = {_PARAMS, _CONFIG} - hashes.keys()
  # A hash of a file elsewhere would only confuse.
  strange = [name for name in hashes if pathlib.Path(name).name != name]
  if unnamed or strange:
    raise BundleError(
      f'{path} is damaged: no hash of {sorted(unnamed)}, strange names '
      f'{strange}'
    )
  return manifest


def leaves(tree: Any) -> dict[str, np.ndarray]:
  """Arrays of a tree by `/`-separated path."""
  found, _ = jax.tree_util.tree_flatten_with_path(tree)
  return {
    jax.tree_util.keystr(path, simple=True, separator='/'): np.asarray(leaf)
    for path, leaf in found
  }


def _tree(arrays: Mapping[str, np.ndarray]) -> dict[str, Any]:
  """What `leaves` came from; ValueError if a name is a group as well."""
  tree: dict[str, Any] = {}
  for name, array in arrays.items():
    *parents, last = name.split('/')
    node = tree
    for parent in parents:
      node = node.setdefault(parent, {})
      if not isinstance(node, dict):
        break
    if not isinstance(node, dict) or last in node:
      raise ValueError(f'{name} is an array and holds arrays, or lies in one')
    node[last] = array
  return tree


def _portable(config: ml_collections.ConfigDict) -> ml_collections.ConfigDict:
  """A config to pass on: of this machine's paths only the last names stay.

  They still tell what was used. Inference reads none of them but `face.model`,
  instead of which `edtn reenact` takes another.
  """
  config = config.copy_and_resolve_references()
  for key in _PATHS:
    *sections, last = key.split('.')
    node = config.get(sections[0], {}) if sections else config
    if node.get(last):
      node[last] = ','.join(
        pathlib.PurePath(path).name for path in node[last].split(',')
      )
  if 'compile_cache_dir' in config:
    config.compile_cache_dir = ''
  return config


@contextlib.contextmanager
def _new_directory(output: pathlib.Path) -> Iterator[pathlib.Path]:
  """A directory that gets its name when the block ends well."""
  output.parent.mkdir(parents=True, exist_ok=True)
  partial = pathlib.Path(
    tempfile.mkdtemp(dir=output.parent, prefix=f'.{output.name}.')
  )
  try:
    yield partial
    os.chmod(partial, 0o755)
    os.replace(partial, output)
  except BaseException:
    shutil.rmtree(partial, ignore_errors=True)
    raise


def _sha256(path: pathlib.Path) -> str:
  with open(path, 'rb') as file:
    return hashlib.file_digest(file, 'sha256').hexdigest()
