"""Exports an expression translator as a bundle."""

from __future__ import annotations

import pathlib
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from edtn_jax import bundles, checkpoints
from edtn_jax.export import program as program_lib
from edtn_jax.export.origin import origin
from edtn_jax.translation.inference import make_translate
from edtn_jax.translation.network import build_translator

PROGRAM_NAME = 'translator.stablehlo'
# Largest difference between the exported program and the network.
TOLERANCE = 1e-5
_SHAPES = ((50,), (3,))


def export_translator(
  found: checkpoints.Checkpoint,
  output: str | pathlib.Path,
  *,
  dtype: str = 'float32',
  program: bool = True,
) -> dict[str, Any]:
  """Writes the bundle and checks the exported program against the network.

  Args:
    found: checkpoint of an expression translation run.
    output: directory to make; it appears complete or not at all.
    dtype: type of the stored parameters; the program's are float32.
    program: whether to write `translator.stablehlo`: expression [B, 50] and
      jaw_pose [B, 3] to pose coefficients [B, 17].

  Returns:
    The manifest.

  Raises:
    BundleError: if `output` exists.
    ExportError: if the check fails.
    CheckpointError: if the checkpoint cannot be used.
  """
  bundles.check_output(output, dtype)
  translate = make_translate(found)
  programs, entries = {}, origin(found)
  if program:
    blob = program_lib.make_program(_network(found), _SHAPES)
    programs[PROGRAM_NAME] = blob
    entries |= {
      'max_abs_error': program_lib.check_program(
        blob, translate, _examples(), TOLERANCE
      ),
      'platforms': program_lib.PLATFORMS,
    }
  return bundles.write_bundle(
    output, found, programs=programs, entries=entries, dtype=dtype
  )


def _network(found: checkpoints.Checkpoint) -> program_lib.Network:
  model = build_translator(found.config.model)
  params = jax.tree.map(jnp.asarray, found.params['model'])

  def apply(expression, jaw_pose):
    return model.apply({'params': params}, expression, jaw_pose)

  return apply


def _examples() -> list[np.ndarray]:
  """Random codes."""
  rng = np.random.default_rng(0)
  return [
    (scale * rng.standard_normal((7, *shape))).astype(np.float32)
    for shape, scale in zip(_SHAPES, (1, 0.2), strict=True)
  ]
