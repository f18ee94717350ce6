"""Exports an expression translator as a bundle."""

from __future__ import annotations

import pathlib
from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from edtn_jax import bundles, checkpoints
from edtn_jax.export import onnx_graph
from edtn_jax.export.onnx_translator import translator_onnx
from edtn_jax.export.origin import origin
from edtn_jax.export.program import Allowed, Network, make_programs
from edtn_jax.translation.inference import make_translate
from edtn_jax.translation.network import (
  NUM_EXPRESSION,
  NUM_JAW,
  build_translator,
)

# Coefficients go from 0 to 1; int8 is for those who need small files.
ALLOWED = {
  'stablehlo': Allowed(1e-5),
  'float32': Allowed(1e-5),
  'float16': Allowed(1e-2, 1e-3),
  'int8': Allowed(1e-2),
}
_NUM_EXAMPLES = 512


def export_translator(
  found: checkpoints.Checkpoint,
  output: str | pathlib.Path,
  *,
  dtype: str = 'float32',
  formats: Sequence[str] = ('stablehlo',),
  opset: int = onnx_graph.OPSET,
) -> dict[str, Any]:
  """Writes the bundle and checks its programs against the network.

  Args:
    found: checkpoint of an expression translation run.
    output: directory or .zip to make; it appears complete or not at all.
    dtype: type of the stored parameters; the programs' are the checkpoint's.
    formats: of `program.FORMATS`. Programs take expression [B, 50] and
      jaw_pose [B, 3] and give pose coefficients [B, 17], float32.
    opset: version of ONNX's operators.

  Returns:
    The manifest.

  Raises:
    BundleError: if `output` exists.
    ExportError: if a check fails.
    CheckpointError: if the checkpoint cannot be used.
  """
  bundles.check_output(output, dtype)
  programs = make_programs(_network(found), formats, opset)
  return bundles.write_bundle(
    output,
    found,
    programs=programs.files,
    entries={**origin(found), **programs.manifest},
    dtype=dtype,
  )


def _network(found: checkpoints.Checkpoint) -> Network:
  config = found.config.model
  translate = make_translate(found)
  params = found.params['model']

  def apply(model, expression, jaw_pose):
    tree = jax.tree.map(jnp.asarray, params)
    return model.apply({'params': tree}, expression, jaw_pose)

  model = build_translator(config)
  wide = model.clone(dtype=jnp.float32)
  return Network(
    name='translator',
    traced=lambda *inputs: apply(model, *inputs),
    reference=translate,
    float_reference=lambda *inputs: apply(wide, *inputs),
    inputs=_examples(),
    output='pose_coeffs',
    allowed=ALLOWED,
    onnx=lambda precision, opset: translator_onnx(
      params, config.negative_slope, opset=opset, precision=precision
    ),
    optional=('int8',),
  )


def _examples() -> dict[str, np.ndarray]:
  """Random codes."""
  rng = np.random.default_rng(0)
  return {
    name: (scale * rng.standard_normal((_NUM_EXAMPLES, size))).astype(
      np.float32
    )
    for name, size, scale in (
      ('expression', NUM_EXPRESSION, 1),
      ('jaw_pose', NUM_JAW, 0.2),
    )
  }
