"""Bundles: a checkpoint as plain files, for other programs and to pass on.

    README.md                model card: what it is, numbers, licences, use
    params.npz               parameters, `/`-separated names, and the constants
    config.json              config of the run
    pose_vector.json         names, groups, sides, ranges, units of the vector
    pose_vector.schema.json  the same as a JSON schema of one frame
    stablehlo/, onnx/        the network as programs, where there are any
    edtn_runtime.py          runs the ONNX files without JAX
    manifest.json            task, step, provenance, licences, sha256 of each

A bundle is a folder, or the same files in a .zip. Nothing in it is executed
when it is read, and every file is compared with its hash.
"""

from __future__ import annotations

import contextlib
import dataclasses
import hashlib
import io
import json
import os
import pathlib
import shutil
import tempfile
import zipfile
from collections.abc import Iterator, Mapping
from typing import Any

import jax
import ml_collections
import numpy as np
from absl import logging

from data.pose_vector import POSE_NUMBERS
from edtn_jax import bundle_card, checkpoints, runtime
from edtn_jax import config as config_lib
from edtn_jax import workdir as workdir_lib

# Of the first format, bundles were flat and had no zip; they are still read.
FORMAT = 'edtn-bundle-2'
DTYPES = ('float32', 'float16')
_MANIFEST = runtime.MANIFEST
_PARAMS, _CONFIG, _POSE = 'params.npz', 'config.json', 'pose_vector.json'
_SCHEMA, _RUNTIME, _CARD = (
  'pose_vector.schema.json',
  'edtn_runtime.py',
  'README.md',
)
# Of a config, what may be a path, or several, comma-separated.
_PATHS = (
  'init_from', 'resume_from', 'data.path', 'face.landmarks', 'face.model',
  'face.pose_adapter', 'loss.vgg_weights',
)  # fmt: skip
# What does not shrink is not compressed.
_STORED = ('.npz', '.onnx', '.stablehlo')
# Zip files know no earlier day; all of ours are alike.
_ZIP_DATE = (1980, 1, 1, 0, 0, 0)


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
    output: directory, or file that ends in .zip, to make.
    found: what goes into it.
    programs: content by file name, `/`-separated.
    entries: goes into the manifest.
    dtype: type in which parameters are stored, of `DTYPES`.

  Returns:
    The manifest.

  Raises:
    BundleError: if `output` exists or the type is unknown.
  """
  check_output(output, dtype)
  contents = {
    _PARAMS: _params_file(found, dtype),
    _CONFIG: config_lib.to_json(_portable(found.config)).encode(),
    **_pose_files(),
    **programs,
  }
  if any(name.startswith('onnx/') for name in programs):
    contents[_RUNTIME] = pathlib.Path(runtime.__file__).read_bytes()
  provenance = workdir_lib.provenance()
  # Arguments hold paths; see `_portable`.
  del provenance['argv']
  manifest = {
    'format': FORMAT,
    'task': found.config.task,
    'checkpoint_step': found.step,
    'averaged': found.averaged,
    'dtype': dtype,
    'num_parameters': sum(x.size for x in leaves(found.params).values()),
    **entries,
    'provenance': provenance,
  }
  contents[_CARD] = bundle_card.card(manifest).encode()
  manifest['sha256'] = {
    name: hashlib.sha256(contents[name]).hexdigest()
    for name in sorted(contents)
  }
  contents[_MANIFEST] = (json.dumps(manifest, indent=2) + '\n').encode()
  _write(pathlib.Path(output), contents)
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
  """Whether a directory or .zip looks like a bundle, sound or not."""
  path = pathlib.Path(path)
  if path.is_file():
    return path.suffix == '.zip'
  return (path / _MANIFEST).is_file() and (path / _PARAMS).is_file()


def load_model(
  path: str | os.PathLike,
  *,
  step: int | None = None,
  averaged: bool | None = None,
) -> checkpoints.Checkpoint:
  """Reads a bundle, or a checkpoint of a run.

  Args:
    path: bundle, workdir, or checkpoint directory.
    step: which step of a workdir; None takes the newest.
    averaged: of a run, see `checkpoints.load_checkpoint`.

  Returns:
    The checkpoint.

  Raises:
    CheckpointError: if it is absent or damaged, or a bundle of another step.
  """
  if not is_bundle(path):
    return checkpoints.load_checkpoint(
      os.fspath(path), step=step, averaged=averaged
    )
  found = read_bundle(path)
  if step not in (None, found.step):
    raise BundleError(f'{path} is a bundle of step {found.step}, not {step}')
  return found


def read_bundle(path: str | os.PathLike) -> checkpoints.Checkpoint:
  """Reads a bundle after comparing each file with its hash.

  Args:
    path: directory or .zip.

  Returns:
    The checkpoint; parameters are float32, whatever they are stored as.

  Raises:
    BundleError: if it is no bundle, incomplete, or not what was written; names
      every file that is not.
  """
  opened = open_bundle(path)
  try:
    stored = _read_arrays(opened.read(_PARAMS))
    config = checkpoints.parse_config(opened.read(_CONFIG).decode())
    params = _tree(
      {k: v.astype(np.float32) for k, v in stored.items() if '/' in k}
    )
  # A zip file inside that is damaged has an error of its own.
  except (OSError, ValueError, zipfile.BadZipFile) as error:
    raise BundleError(
      f'{path} is damaged: {error}. Export or copy it again.'
    ) from error
  manifest = opened.manifest
  logging.info('Read %s, step %d', path, manifest['checkpoint_step'])
  return checkpoints.Checkpoint(
    config=config,
    params=params,
    constants={k: v for k, v in stored.items() if '/' not in k},
    step=manifest['checkpoint_step'],
    path=str(path),
    averaged=manifest['averaged'],
  )


def open_bundle(path: str | os.PathLike) -> runtime.BundleFiles:
  """Opens a bundle, each file compared with its hash.

  Raises:
    BundleError: see `read_bundle`.
  """
  try:
    opened = runtime.BundleFiles(path)
  except runtime.BundleFileError as error:
    raise BundleError(str(error)) from error
  unnamed = {_PARAMS, _CONFIG} - set(opened.names)
  if unnamed:
    raise BundleError(f'{path} is damaged: no hash of {sorted(unnamed)}')
  return opened


def read_manifest(path: str | os.PathLike) -> dict[str, Any]:
  """Reads the manifest of a bundle, and compares its files with it.

  Raises:
    BundleError: see `read_bundle`.
  """
  return open_bundle(path).manifest


def leaves(tree: Any) -> dict[str, np.ndarray]:
  """Arrays of a tree by `/`-separated path."""
  found, _ = jax.tree_util.tree_flatten_with_path(tree)
  return {
    jax.tree_util.keystr(path, simple=True, separator='/'): np.asarray(leaf)
    for path, leaf in found
  }


def params_sha256(params: Any) -> str:
  """Says which parameters these are, whatever file they came from.

  Args:
    params: pytree of arrays of any float type.

  Returns:
    sha256 of their names and float32 values, in the order of the names, in
    hexadecimal.
  """
  digest = hashlib.sha256()
  for name, array in sorted(leaves(params).items()):
    digest.update(name.encode())
    digest.update(np.ascontiguousarray(array, np.float32).tobytes())
  return digest.hexdigest()


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


def _params_file(found: checkpoints.Checkpoint, dtype: str) -> bytes:
  arrays = {
    name: array.astype(dtype) for name, array in leaves(found.params).items()
  }
  file = io.BytesIO()
  np.savez(file, **{**arrays, **found.constants})
  return file.getvalue()


def _read_arrays(content: bytes) -> dict[str, np.ndarray]:
  with np.load(io.BytesIO(content), allow_pickle=False) as stored:
    return {name: stored[name] for name in stored.files}


def _pose_files() -> dict[str, bytes]:
  """The pose vector: what its numbers are, and a schema of one frame."""
  numbers = [dataclasses.asdict(number) for number in POSE_NUMBERS]
  schema = {
    '$schema': 'https://json-schema.org/draft/2020-12/schema',
    'title': 'Pose vector of an anime head, one frame',
    'type': 'array',
    'prefixItems': [
      {
        'title': n['name'],
        'description': n['meaning'] + (f', {n["unit"]}' if n['unit'] else ''),
        'type': 'number',
        'minimum': n['low'],
        'maximum': n['high'],
      }
      for n in numbers
    ],
    'items': False,
    'minItems': len(numbers),
  }
  return {
    _POSE: json.dumps(numbers, indent=2).encode(),
    _SCHEMA: json.dumps(schema, indent=2).encode(),
  }


def _write(output: pathlib.Path, contents: Mapping[str, bytes]) -> None:
  with _new_directory(output) as partial:
    if output.suffix == '.zip':
      # Named last: what is interrupted leaves nothing under that name.
      file = partial / output.name
      _write_zip(file, contents)
      os.replace(file, output)
      return
    folder = partial / 'bundle'
    for name, content in contents.items():
      path = folder / name
      path.parent.mkdir(parents=True, exist_ok=True)
      path.write_bytes(content)
    os.replace(folder, output)


def _write_zip(path: pathlib.Path, contents: Mapping[str, bytes]) -> None:
  with zipfile.ZipFile(path, 'x') as archive:
    for name, content in contents.items():
      entry = zipfile.ZipInfo(name, _ZIP_DATE)
      entry.external_attr = 0o644 << 16
      stored = name.endswith(_STORED)
      entry.compress_type = (
        zipfile.ZIP_STORED if stored else zipfile.ZIP_DEFLATED
      )
      archive.writestr(entry, content)


@contextlib.contextmanager
def _new_directory(output: pathlib.Path) -> Iterator[pathlib.Path]:
  """A folder beside the output that is gone when the block ends."""
  output.parent.mkdir(parents=True, exist_ok=True)
  partial = pathlib.Path(
    tempfile.mkdtemp(dir=output.parent, prefix=f'.{output.name}.')
  )
  try:
    yield partial
  finally:
    shutil.rmtree(partial, ignore_errors=True)
