"""Exports an anime generator as a bundle."""

from __future__ import annotations

import functools
import pathlib
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from data import pose_vector
from edtn_jax import bundles, checkpoints
from edtn_jax.animation.generator import AnimeGenerator
from edtn_jax.animation.network import build_generator
from edtn_jax.export import program as program_lib
from edtn_jax.export.origin import origin
from generator.pirenderer.face_generator import FaceGenerator

PROGRAM_NAME = 'generator.stablehlo'
# Largest difference between the exported program and the network: one half of
# a step of 8-bit colour, which bfloat16 compute may take.
TOLERANCE = 0.5 / 255
# Pictures whose parameters were rounded may differ so much on the average.
ROUNDING_TOLERANCE = 1 / 255


def export_generator(
  found: checkpoints.Checkpoint,
  output: str | pathlib.Path,
  *,
  dtype: str = 'float32',
  program: bool = True,
) -> dict[str, Any]:
  """Writes the bundle and checks its pictures against the network's.

  Args:
    found: checkpoint of an `anime_generator` run.
    output: directory to make; it appears complete or not at all.
    dtype: type of the stored parameters; float16 halves the file.
    program: whether to write `generator.stablehlo`: source_image
      [B, size, size, 3] float32 in [0, 1] and pose [B, 20] to image
      [B, size, size, 3] float32, to be clipped to [0, 1]. It holds the
      parameters as they are stored.

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
  model, examples = build_generator(found.config.model), _examples(size)
  network = functools.partial(_draw, model, stored)
  entries = {**origin(found), 'image_size': size, 'rounding_error': 0.0}
  if dtype != 'float32':
    entries['rounding_error'] = _rounding_error(
      functools.partial(_draw, model, params), network, examples
    )
  programs = {}
  if program:
    shapes = [array.shape[1:] for array in examples]
    blob = program_lib.make_program(network, shapes)
    programs[PROGRAM_NAME] = blob
    entries |= {
      'max_abs_error': program_lib.check_program(
        blob, network, examples, TOLERANCE
      ),
      'platforms': program_lib.PLATFORMS,
    }
  return bundles.write_bundle(
    output, found, programs=programs, entries=entries, dtype=dtype
  )


@functools.partial(jax.jit, static_argnums=0)
def _draw(model: FaceGenerator, params, images, poses) -> jax.Array:
  return model.apply({'params': params}, images, poses)['image']


def _rounding_error(
  network: program_lib.Network,
  stored: program_lib.Network,
  examples: list[np.ndarray],
) -> float:
  pictures = [f(*examples) for f in (network, stored)]
  error = float(jnp.abs(pictures[0] - pictures[1]).mean())
  # Written so that a NaN fails as well.
  if not error <= ROUNDING_TOLERANCE:
    raise program_lib.ExportError(
      f'stored as asked, the parameters change pictures by {error:.3g} on the '
      f'average (allowed {ROUNDING_TOLERANCE:.3g}); export with float32'
    )
  return error


def _examples(size: int) -> list[np.ndarray]:
  """Smooth pictures and poses in their range."""
  rng = np.random.default_rng(0)
  coarse = rng.random((3, 5, 5, 3)).astype(np.float32)
  images = jax.image.resize(coarse, (3, size, size, 3), 'linear')
  low, high = (
    np.array([getattr(n, end) for n in pose_vector.POSE_NUMBERS])
    for end in ('low', 'high')
  )
  poses = rng.uniform(low, high, (3, pose_vector.NUM_POSE))
  return [np.asarray(images), poses.astype(np.float32)]
