"""Exports an expression translator as one directory.

    params.npz           parameters, `/`-separated names, and the pose adapter
    translator.stablehlo jax.export, any batch size, for cpu, cuda and tpu
    pose_vector.json     names, groups, sides, ranges and units of the output
    config.json          config of the run
    manifest.json        provenance, numbers of the check, sha256 of each file

The serialised program ages (JAX promises months, not years), so parameters
and config travel with it.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import os
import pathlib
import shutil
import tempfile
from typing import Any

import jax
import jax.export
import jax.numpy as jnp
import numpy as np
from absl import logging

from data.pose_vector import POSE_NUMBERS
from edtn_jax import checkpoints
from edtn_jax import config as config_lib
from edtn_jax import workdir as workdir_lib
from edtn_jax.translation.inference import make_translate
from edtn_jax.translation.network import build_translator

PLATFORMS = ('cpu', 'cuda', 'tpu')
# Largest difference between the exported program and the network.
TOLERANCE = 1e-5


class ExportError(ValueError):
  """An export that cannot be made, or whose check failed."""


def export_translator(
  workdir: str | pathlib.Path,
  output: str | pathlib.Path,
  *,
  step: int | None = None,
  averaged: bool | None = None,
) -> dict[str, Any]:
  """Writes the bundle and checks the exported program against the network.

  Args:
    workdir: a run of `edtn train` or `edtn convert`.
    output: directory to make; it appears complete or not at all.
    step: which checkpoint; None takes the newest.
    averaged: moving average or raw parameters; None takes what there is.

  Returns:
    The manifest.

  Raises:
    ExportError: if `output` exists or the check fails.
    CheckpointError: if the checkpoint cannot be used.
  """
  output = pathlib.Path(output)
  if output.exists():
    raise ExportError(f'{output} exists; choose another --output')
  found = checkpoints.load_checkpoint(workdir, step=step, averaged=averaged)
  translate = make_translate(found)
  output.parent.mkdir(parents=True, exist_ok=True)
  partial = pathlib.Path(
    tempfile.mkdtemp(dir=output.parent, prefix=f'.{output.name}.')
  )
  try:
    blob = _serialise(found)
    error = _check(blob, translate)
    _write_files(partial, found, blob)
    manifest = {
      'format': 'edtn-bundle-1',
      'checkpoint_step': found.step,
      'averaged': found.averaged,
      'max_abs_error': error,
      'platforms': PLATFORMS,
      'provenance': workdir_lib.provenance(),
      'sha256': {p.name: _sha256(p) for p in sorted(partial.iterdir())},
    }
    text = json.dumps(manifest, indent=2) + '\n'
    (partial / 'manifest.json').write_text(text)
    os.chmod(partial, 0o755)
    os.replace(partial, output)
  except BaseException:
    shutil.rmtree(partial, ignore_errors=True)
    raise
  logging.info('Exported %s to %s, error %.2g', found.path, output, error)
  return manifest


def _serialise(found: checkpoints.Checkpoint) -> bytes:
  """The network with its parameters inside, for every platform."""
  model = build_translator(found.config.model)
  params = jax.tree.map(jnp.asarray, found.params['model'])

  def apply(expression, jaw_pose):
    return model.apply({'params': params}, expression, jaw_pose)

  (batch,) = jax.export.symbolic_shape('batch')
  arguments = [
    jax.ShapeDtypeStruct((batch, width), jnp.float32) for width in (50, 3)
  ]
  exported = jax.export.export(jax.jit(apply), platforms=PLATFORMS)(*arguments)
  return bytes(exported.serialize())


def _check(blob: bytes, translate) -> float:
  """Largest difference on random codes, at two batch sizes."""
  program = jax.export.deserialize(bytearray(blob))
  rng = np.random.default_rng(0)
  worst = 0.0
  for size in (1, 7):
    expression = rng.standard_normal((size, 50)).astype(np.float32)
    jaw_pose = 0.2 * rng.standard_normal((size, 3)).astype(np.float32)
    difference = program.call(expression, jaw_pose) - translate(
      expression, jaw_pose
    )
    worst = max(worst, float(np.abs(difference).max()))
  # Written so that a NaN fails as well.
  if not worst <= TOLERANCE:
    raise ExportError(
      f'the exported program differs from the network by {worst:.3g} '
      f'(allowed {TOLERANCE:g}); nothing was written'
    )
  return worst


def _write_files(
  directory: pathlib.Path, found: checkpoints.Checkpoint, blob: bytes
) -> None:
  leaves, _ = jax.tree_util.tree_flatten_with_path(found.params)
  arrays = {
    jax.tree_util.keystr(path, simple=True, separator='/'): np.asarray(leaf)
    for path, leaf in leaves
  }
  np.savez(directory / 'params.npz', **arrays, **found.constants)
  (directory / 'translator.stablehlo').write_bytes(blob)
  schema = [dataclasses.asdict(number) for number in POSE_NUMBERS]
  (directory / 'pose_vector.json').write_text(json.dumps(schema, indent=2))
  (directory / 'config.json').write_text(config_lib.to_json(found.config))


def _sha256(path: pathlib.Path) -> str:
  return hashlib.sha256(path.read_bytes()).hexdigest()
