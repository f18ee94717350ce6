"""Calibration: whose face it is, and what it looks like at rest."""

from __future__ import annotations

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np

from edtn_jax.encoders.landmark_fit import solver
from edtn_jax.encoders.landmark_fit.correspondence import LandmarkMap
from flame_jax.assets import FlameAssets

NUM_SHAPE = 100

# Share of a clip's frames that are taken for rest, where none are named.
_RESTING_SHARE = 0.15
# Landmarks of a mean face differ from a person's by this, metres; the
# identity basis explains part of it, offsets the rest.
_IDENTITY_SIGMA = 0.02
_ROUNDS = 3


class CalibrationError(ValueError):
  """A clip in which no resting face can be found."""


@dataclasses.dataclass(frozen=True, eq=False)
class Person:
  """What is constant about a person.

  Attributes:
    shape: [S] float32, identity coefficients.
    offsets: [N, 3] float32 metres, the landmarks of the face at rest less
      those of the shaped head.
    open_lids: [2] float32, lid openings (left, right) at rest, in eye widths.
    frames: indices of the frames it was taken from; empty for nobody.
  """

  shape: np.ndarray
  offsets: np.ndarray
  open_lids: np.ndarray
  frames: tuple[int, ...] = ()


def resting_frames(
  mouths: np.ndarray, lids: np.ndarray, points: np.ndarray
) -> np.ndarray:
  """The calmest frames of a clip: mouth closed, eyes open, face as usual.

  Args:
    mouths: [T] float, opening of the lips; NaN where there is no face.
    lids: [T, 2] float, opening of the lids.
    points: [T, N, 3] float, landmarks without head pose, metres.

  Returns:
    [n] int64 ascending indices, n >= 1.

  Raises:
    CalibrationError: if no frame has a face.
  """
  seen = np.isfinite(points).all((1, 2)) & np.isfinite(mouths)
  seen &= np.isfinite(lids).all(1)
  index = np.flatnonzero(seen)
  if not index.size:
    raise CalibrationError(
      'no frame has a face, so there is no resting face to calibrate with'
    )
  mouth, lid = mouths[index], lids[index].mean(axis=1)
  usual = points[index] - np.median(points[index], axis=0)
  votes = np.stack(
    [
      np.maximum(_scaled(mouth, 0.1), 0),
      # Open as mostly, neither closing nor wide: three quarters of frames
      # of a talking person are.
      _scaled(lid, 0.6),
      _scaled(np.sqrt((usual**2).mean((1, 2))), 0.1),
    ]
  )
  activity = np.square(votes).mean(axis=0)
  wanted = max(1, round(_RESTING_SHARE * len(index)))
  return np.sort(index[np.argsort(activity, kind='stable')[:wanted]])


def _scaled(values, quantile):
  """Values from a quantile, in units of their 5 % to 95 % range."""
  low, high = np.quantile(values, (0.05, 0.95))
  return (values - np.quantile(values, quantile)) / max(high - low, 1e-9)


@jax.jit
def frontal_points(
  head: jax.Array, points: jax.Array, weight: jax.Array
) -> jax.Array:
  """Takes the head pose off landmarks.

  Args:
    head: [N, 3] float, landmarks of a resting head, metres.
    points: [T, N, 3] float, landmarks in picture units; NaN without a face.
    weight: [N] float.

  Returns:
    [T, N, 3] float32, the landmarks placed on the head, metres.
  """

  def one(points):
    seen = jnp.isfinite(points).all()
    points = jnp.where(seen, points, head)
    rotation, shift, inverse_scale = solver.align(head, points, weight)
    placed = (inverse_scale * points - shift) @ rotation
    return jnp.where(seen, placed, jnp.nan)

  return jax.vmap(one)(points)


def find_person(
  assets: FlameAssets,
  landmarks: LandmarkMap,
  points: np.ndarray,
) -> tuple[np.ndarray, np.ndarray]:
  """Identity and resting landmarks by frames in which a face rests.

  Args:
    assets: the head model.
    landmarks: its N landmarks.
    points: [T, N, 3] float, landmarks of the resting frames, picture units.

  Returns:
    shape [100] and offsets [N, 3] of `Person`.
  """
  template, basis = _identity_blocks(assets, landmarks)
  weight = landmarks.weight
  shape, head = np.zeros(basis.shape[-1]), template
  for _ in range(_ROUNDS):
    placed = frontal_points(head, points, weight)
    # One frame that is off shall not move the resting face.
    rest = np.median(np.asarray(placed, np.float64), axis=0)
    shape = _fit_identity(rest, template, basis, weight)
    head = template + basis @ shape
  padded = np.zeros(NUM_SHAPE, np.float32)
  padded[: len(shape)] = shape
  return padded, (rest - head).astype(np.float32)


def _identity_blocks(assets, landmarks):
  """Landmarks of the mean head [N, 3] and what identity moves, [N, 3, S]."""
  corners = np.asarray(assets.faces)[landmarks.face_index]

  def at_landmarks(per_vertex):
    values = np.asarray(per_vertex)[corners].astype(np.float64)
    return np.einsum('nc,nc...->n...', landmarks.barycentric, values)

  basis = assets.shapedirs[..., :NUM_SHAPE]
  return at_landmarks(assets.v_template), at_landmarks(basis)


def _fit_identity(rest, template, basis, weight):
  """[S] identity whose landmarks are closest to `rest` [N, 3]."""
  root = np.sqrt(np.repeat(weight, 3))[:, None] / _IDENTITY_SIGMA
  rows = root * basis.reshape(-1, basis.shape[-1])
  target = root[:, 0] * (rest - template).ravel()
  gram = rows.T @ rows + np.eye(rows.shape[1])
  return np.linalg.solve(gram, rows.T @ target)
