"""A trained generator as a plain function of numpy arrays."""

from __future__ import annotations

import functools
import os
from collections.abc import Callable, Iterator
from typing import Any

import jax
import jax.numpy as jnp
import ml_collections
import numpy as np
from absl import logging

from data import pose_vector
from edtn_jax import bundles, checkpoints, engines, shipped
from edtn_jax.animation.network import build_generator
from edtn_jax.runtime import MAX_ENLARGEMENT
from generator.pirenderer.detail import blend_with_detail
from generator.pirenderer.face_generator import FaceGenerator

TASK = 'anime_generator'
_REMEDY = (
  'Train one (edtn train --config=configs/anime_generator.py:lite '
  '--workdir=runs/lite) and name it: --generator=runs/lite'
)


class AnimeGenerator:
  """Moves a picture by pose vectors.

  Attributes:
    size: side of the pictures that it was trained on, pixels.
    largest: side up to which it moves larger ones, pixels; `size` itself,
      unless its network blends.
    config: of the run that trained it.
    description: what a summary says of it: path, step, whether the weights
      are a moving average, sha256 of the parameters, and who runs it.
  """

  def __init__(self, found: checkpoints.Checkpoint, engine: str = engines.JAX):
    """Checks that parameters and config belong together.

    Args:
      found: a checkpoint of the task `anime_generator`.
      engine: who runs it, see `engines.open_program`.

    Raises:
      CheckpointError: if it is of another task, or its parameters do not fit
        the network that its config describes.
      ConfigError, BundleError: see `engines.open_program`.
    """
    if found.config.task != TASK:
      raise checkpoints.CheckpointError(
        f'{found.path} is a checkpoint of {found.config.task!r}; one of '
        f'{TASK!r} is needed. {_REMEDY}'
      )
    self.config = found.config
    with checkpoints.reading_config(found.path):
      self.size = int(found.config.data.size)
      self._model = build_generator(found.config.model)
      expected = _expected(self._model, self.size)
    params = found.params.get('model', {})
    checkpoints.check_params(params, expected, found.path)
    self.params = jax.tree.map(jnp.asarray, params)
    blends = self._model.config.blend
    self.largest = self.size * (MAX_ENLARGEMENT if blends else 1)
    self._program = engines.open_program(found.path, engine)
    self.description = {
      'generator': found.path,
      'generator_step': found.step,
      'generator_averaged': found.averaged,
      'generator_size': self.size,
      'generator_sha256': bundles.params_sha256(params),
      'generator_engine': engines.ONNX if self._program else engines.JAX,
    }
    self._has_warned = False

  def animate(
    self, source: np.ndarray, poses: np.ndarray, batch_size: int = 8
  ) -> Iterator[np.ndarray]:
    """Draws a picture in some poses.

    Two batches are held at a time, however many poses there are. Numbers
    outside the range that the generator was trained on are clamped; the first
    call that meets any warns.

    Args:
      source: [S, S, 3] uint8 RGB on white, such as `source.open_source`
        gives, S from `size` to `largest`: the network sees a smaller copy and
        says how to move the source, see `blend_with_detail`.
      poses: [T, 20] float, pose vectors.
      batch_size: pictures computed at once; one program is compiled for each
        size, and the last batch is filled up.

    Yields:
      [S, S, 3] uint8 RGB.

    Raises:
      ValueError: if an array has another shape or type, or a pose is not
        finite.
    """
    poses = self._checked(source, poses, batch_size)
    draw = self._drawing(source)
    waiting, count = None, 0
    for begin in range(0, len(poses), batch_size):
      batch = poses[begin : begin + batch_size]
      drawn = draw(np.pad(batch, [(0, batch_size - len(batch)), (0, 0)]))
      # The device draws the next batch while this one is used.
      if waiting is not None:
        yield from np.asarray(waiting)[:count]
      waiting, count = drawn, len(batch)
    if waiting is not None:
      yield from np.asarray(waiting)[:count]

  def _drawing(self, source: np.ndarray) -> Callable[[np.ndarray], jax.Array]:
    """Poses to [B, S, S, 3] uint8 pictures of a source."""
    source = jnp.asarray(source)
    if self._program is None:
      return functools.partial(
        _frames, self._model, self.size, self.params, source
      )
    seen = np.asarray(_seen(self.size, source))
    names = _BLENDED if len(source) > self.size else ('image',)

    def draw(poses: np.ndarray) -> jax.Array:
      out = self._program.outputs(seen, poses, names)
      return _finished(self.size, source, out)

    return draw

  def _checked(self, source, poses, batch_size) -> np.ndarray:
    """The poses, clamped."""
    side = len(source)
    if (
      source.shape != (side, side, 3)
      or source.dtype != np.uint8
      or not self.size <= side <= self.largest
    ):
      raise ValueError(
        f'source is {source.dtype} {source.shape}, wanted uint8 [S, S, 3], S '
        f'from {self.size} to {self.largest}'
      )
    poses = np.asarray(poses, np.float32)
    if poses.ndim != 2 or poses.shape[1] != pose_vector.NUM_POSE:
      raise ValueError(f'poses are {poses.shape}, wanted [T, 20]')
    if not np.isfinite(poses).all():
      raise ValueError('poses hold numbers that are not finite')
    if batch_size < 1:
      raise ValueError(f'batch_size is {batch_size}, wanted at least 1')
    clamped = np.clip(poses, *_RANGES)
    wrong = (clamped != poses).any(axis=0)
    if wrong.any() and not self._has_warned:
      self._has_warned = True
      names = np.array(pose_vector.POSE_NAMES)[wrong]
      logging.warning(
        'Beyond the range that the generator was trained on, and clamped: %s. '
        'Coefficients are 0 to 1, angles within %g degrees.',
        ', '.join(names),
        _RANGES[1][-1],
      )
    return clamped


# Outputs from which a larger picture is made.
_BLENDED = ('flow', 'painted_image', 'share')
_RANGES = tuple(
  np.array([getattr(n, end) for n in pose_vector.POSE_NUMBERS], np.float32)
  for end in ('low', 'high')
)


def load_generator(
  path: str | os.PathLike | None = None,
  *,
  step: int | None = None,
  engine: str = engines.JAX,
) -> AnimeGenerator:
  """Loads a generator for inference.

  Args:
    path: bundle of `edtn export`, workdir of a run, or checkpoint directory;
      of a run the moving average of the parameters, if it kept one. None
      takes the bundle that comes with the project.
    step: which step of a workdir; None takes the newest.
    engine: who runs it, see `engines.open_program`.

  Returns:
    The generator.

  Raises:
    CheckpointError: if it is absent, damaged or of another model.
    ConfigError, BundleError: see `engines.open_program`.

  Example:
    `frames = load_generator().animate(source, poses)`.
  """
  if path is None:
    path = shipped.bundle_of(TASK)
  return AnimeGenerator(bundles.load_model(path, step=step), engine)


def has_seen(config: ml_collections.ConfigDict, seed: int) -> bool | None:
  """Whether a generator was trained on a drawn character.

  Args:
    config: of the generator.
    seed: of the character.

  Returns:
    None if it was trained on a data set: nobody knows whom that shows.
  """
  if config.data.source != 'characters':
    return None
  first = config.data.first_identity
  return first <= seed < first + config.data.num_identities


def unseen_character(config: ml_collections.ConfigDict) -> int:
  """Seed of a drawn character that a generator has never seen.

  Training takes the seeds from `data.first_identity` on, validation the ones
  after those; this is the first after both. Of a generator that was trained on
  a data set, a seed that no prepared set reaches.
  """
  settings = config.data
  if settings.source != 'characters':
    return 1_000_000
  known = settings.num_identities + settings.validation_identities
  return settings.first_identity + known


@functools.partial(jax.jit, static_argnums=(0, 1))
def _frames(model: FaceGenerator, size, params, source, poses) -> jax.Array:
  """[B, S, S, 3] uint8 pictures of one source in B poses."""
  seen = _repeated(_seen(size, source), len(poses))
  return _finished(size, source, model.apply({'params': params}, seen, poses))


@functools.partial(jax.jit, static_argnums=0)
def _seen(size, source) -> jax.Array:
  """[size, size, 3] float32, what the network sees of a source."""
  source = source.astype(jnp.float32) / 255
  if len(source) == size:
    return source
  return jax.image.resize(source, (size, size, 3), 'lanczos3')


@functools.partial(jax.jit, static_argnums=0)
def _finished(size, source, out) -> jax.Array:
  """[B, S, S, 3] uint8 pictures from what the network says of a source."""
  if len(source) == size:
    image = out['image']
  else:
    whole = source.astype(jnp.float32) / 255
    image = blend_with_detail(_repeated(whole, len(out['share'])), out)
  return jnp.round(jnp.clip(image, 0, 1) * 255).astype(jnp.uint8)


def _repeated(x: jax.Array, count: int) -> jax.Array:
  return jnp.broadcast_to(x, (count, *x.shape))


def _expected(model: FaceGenerator, size: int) -> Any:
  """Shapes of a network's parameters."""
  example = (
    jnp.zeros((1, size, size, 3)),
    jnp.zeros((1, pose_vector.NUM_POSE)),
  )
  return jax.eval_shape(model.init, jax.random.key(0), *example)['params']
