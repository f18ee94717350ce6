"""DECA's coarse encoder in use: crops of faces in, named codes out."""

from __future__ import annotations

import os
import pathlib
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from edtn_jax import bundles, checkpoints
from edtn_jax.encoders.deca.codes import split_codes
from edtn_jax.encoders.deca.network import SIZE, DecaEncoder

TASK = 'deca_encoder'
# Groups of a checkpoint's parameters, and what they are among the variables.
GROUPS = {'model': 'params', 'batch_stats': 'batch_stats'}
_REMEDY = (
  'Convert the deca_model.tar that comes with DECA (research licence): '
  'edtn convert --input=deca_model.tar --workdir=runs/deca'
)


def expected_variables() -> dict[str, Any]:
  """Shapes of the encoder's variables, `params` and `batch_stats`."""
  images = jax.ShapeDtypeStruct((1, SIZE, SIZE, 3), np.float32)
  return jax.eval_shape(DecaEncoder().init, jax.random.key(0), images)


@jax.jit
def encode(variables: Any, images: jax.Array) -> dict[str, jax.Array]:
  """Encodes crops; compiled once for each number of them.

  Args:
    variables: `params` and `batch_stats` of `DecaEncoder`.
    images: [B, 224, 224, 3] float, RGB in [0, 1].

  Returns:
    [B, ...] float32 by name, see `codes.split_codes`.
  """
  return split_codes(DecaEncoder().apply(variables, images))


class CoarseEncoder:
  """DECA's coarse encoder with weights.

  Attributes:
    description: what a summary says of it: path, and the file that it was
      converted from with its sha256.
  """

  def __init__(self, found: checkpoints.Checkpoint):
    """Checks that a checkpoint is one of this encoder.

    Args:
      found: the checkpoint.

    Raises:
      CheckpointError: if it is of another model, or its parameters do not fit.
    """
    if found.config.task != TASK:
      raise checkpoints.CheckpointError(
        f'{found.path} is a checkpoint of {found.config.task!r}; one of '
        f'{TASK!r} is needed. {_REMEDY}'
      )
    expected = expected_variables()
    checkpoints.check_params(
      found.params,
      {group: expected[name] for group, name in GROUPS.items()},
      found.path,
    )
    self._variables = {
      name: jax.tree.map(jnp.asarray, found.params[group])
      for group, name in GROUPS.items()
    }
    origin = found.config.get('converted', {})
    self.description = {
      'encoder': found.path,
      'encoder_file': origin.get('file', ''),
      'encoder_sha256': origin.get('sha256', ''),
    }

  def encode(
    self, images: np.ndarray, batch_size: int = 8
  ) -> dict[str, np.ndarray]:
    """Encodes crops of any number of frames.

    Args:
      images: [T, 224, 224, 3] float, RGB in [0, 1], see `crop.face_crop`.
      batch_size: crops computed at once; one program is compiled for each
        size, and the last batch is filled up. 1 for live use.

    Returns:
      [T, ...] float32 arrays by name, see `codes.split_codes`: `shape`,
      `tex`, `expression`, `global_pose`, `jaw_pose`, `camera`, `light`.

    Raises:
      ValueError: if the images have another shape or range, or there are none.
    """
    images = np.asarray(images)
    self._check(images, batch_size)
    parts = []
    for begin in range(0, len(images), batch_size):
      batch = images[begin : begin + batch_size].astype(np.float32)
      rows = [(0, batch_size - len(batch)), (0, 0), (0, 0), (0, 0)]
      codes = encode(self._variables, np.pad(batch, rows))
      parts.append({k: np.asarray(x)[: len(batch)] for k, x in codes.items()})
    return {k: np.concatenate([p[k] for p in parts]) for k in parts[0]}

  def _check(self, images: np.ndarray, batch_size: int) -> None:
    if images.ndim != 4 or images.shape[1:] != (SIZE, SIZE, 3):
      raise ValueError(
        f'images are {images.shape}, wanted [T, {SIZE}, {SIZE}, 3]; cut them '
        'with face_crop'
      )
    if not len(images):
      raise ValueError('there are no images')
    if images.dtype.kind != 'f' or not (
      images.min() >= 0 and images.max() <= 1
    ):
      raise ValueError(
        f'images are {images.dtype} in [{images.min()}, {images.max()}], '
        'wanted float in [0, 1]; divide bytes by 255'
      )
    if batch_size < 1:
      raise ValueError(f'batch_size is {batch_size}, wanted at least 1')


def load_deca_encoder(path: str | os.PathLike) -> CoarseEncoder:
  """Loads DECA's coarse encoder for inference.

  Args:
    path: directory that `edtn convert` made of the user's `deca_model.tar`.

  Returns:
    The encoder.

  Raises:
    CheckpointError: if it is absent, damaged or of another model.

  Example:
    >>> encoder = load_deca_encoder('runs/deca')
    >>> codes = encoder.encode(face_crop(frame, points=landmarks).image[None])
  """
  if pathlib.Path(path).is_file():
    raise checkpoints.CheckpointError(f'{path} is a file. {_REMEDY}')
  try:
    found = bundles.load_model(path)
  except checkpoints.CheckpointError as error:
    raise checkpoints.CheckpointError(f'{error} {_REMEDY}') from error
  return CoarseEncoder(found)
