"""Exports an anime generator as a bundle."""

from __future__ import annotations

import functools
import pathlib
from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from data import pose_vector
from edtn_jax import bundles, checkpoints
from edtn_jax.animation.generator import AnimeGenerator
from edtn_jax.animation.network import build_generator
from edtn_jax.export import onnx_graph
from edtn_jax.export.onnx_generator import generator_onnx
from edtn_jax.export.origin import origin
from edtn_jax.export.program import (
  Allowed,
  ExportError,
  Function,
  Network,
  make_programs,
)
from generator.pirenderer.face_generator import FaceGenerator

ALLOWED = {
  # One half of a step of 8-bit colour, which bfloat16 compute may take.
  'stablehlo': Allowed(0.5 / 255),
  'float32': Allowed(1e-3, 1e-4),
  # Steep edges of a warp may move by a fraction of a pixel.
  'float16': Allowed(16 / 255, 0.5 / 255),
}
# Pictures whose parameters were rounded may differ so much on the average.
ROUNDING_TOLERANCE = 1 / 255


def export_generator(
  found: checkpoints.Checkpoint,
  output: str | pathlib.Path,
  *,
  dtype: str = 'float32',
  formats: Sequence[str] = ('stablehlo',),
  opset: int = onnx_graph.OPSET,
) -> dict[str, Any]:
  """Writes the bundle and checks its programs against the network.

  Args:
    found: checkpoint of an `anime_generator` run.
    output: directory or .zip to make; it appears complete or not at all.
    dtype: type of the stored parameters; float16 halves the file.
    formats: of `program.FORMATS`. Programs take source_image
      [B, size, size, 3] in [0, 1] and pose [B, 20] and give image
      [B, size, size, 3], to be clipped to [0, 1]; all float32. They hold the
      parameters as they are stored.
    opset: version of ONNX's operators.

  Returns:
    The manifest; `rounding_error` is the mean difference of a picture of the
    stored parameters to one of the checkpoint's, colours in [0, 1].

  Raises:
    BundleError: if `output` exists.
    ExportError: if a check fails.
    CheckpointError: if the checkpoint cannot be used.
  """
  bundles.check_output(output, dtype)
  size = AnimeGenerator(found).size
  params = found.params['model']
  stored = jax.tree.map(
    lambda x: np.asarray(x).astype(dtype).astype(np.float32), params
  )
  network = _network(found, stored, size)
  entries = {**origin(found), 'image_size': size, 'rounding_error': 0.0}
  if dtype != 'float32':
    model = build_generator(found.config.model)
    entries['rounding_error'] = _rounding_error(
      functools.partial(_draw, model, params),
      network.reference,
      list(network.inputs.values()),
    )
  programs = make_programs(network, formats, opset)
  return bundles.write_bundle(
    output,
    found,
    programs=programs.files,
    entries={**entries, **programs.manifest},
    dtype=dtype,
  )


def _network(found: checkpoints.Checkpoint, params: Any, size: int) -> Network:
  model = build_generator(found.config.model)
  network = functools.partial(_draw, model, params)
  wide = FaceGenerator(model.config, jnp.float32)
  return Network(
    name='generator',
    traced=network,
    reference=network,
    float_reference=functools.partial(_draw, wide, params),
    inputs=_examples(size),
    output='image',
    allowed=ALLOWED,
    onnx=lambda precision, opset: generator_onnx(
      model.config, {'params': params}, size, opset=opset, precision=precision
    ),
  )


@functools.partial(jax.jit, static_argnums=0)
def _draw(model: FaceGenerator, params, images, poses) -> jax.Array:
  return model.apply({'params': params}, images, poses)['image']


def _rounding_error(
  network: Function, stored: Function, examples: list[np.ndarray]
) -> float:
  pictures = [f(*examples) for f in (network, stored)]
  error = float(jnp.abs(pictures[0] - pictures[1]).mean())
  # Written so that a NaN fails as well.
  if not error <= ROUNDING_TOLERANCE:
    raise ExportError(
      f'stored as asked, the parameters change pictures by {error:.3g} on the '
      f'average (allowed {ROUNDING_TOLERANCE:.3g}); export with float32'
    )
  return error


def _examples(size: int) -> dict[str, np.ndarray]:
  """Smooth pictures and poses in their range."""
  rng = np.random.default_rng(0)
  coarse = rng.random((3, 5, 5, 3)).astype(np.float32)
  images = jax.image.resize(coarse, (3, size, size, 3), 'linear')
  low, high = (
    np.array([getattr(n, end) for n in pose_vector.POSE_NUMBERS])
    for end in ('low', 'high')
  )
  poses = rng.uniform(low, high, (3, pose_vector.NUM_POSE))
  return {
    'source_image': np.asarray(images),
    'pose': poses.astype(np.float32),
  }
