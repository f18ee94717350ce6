"""The four terms of EDTN's objective (paper, equations 2 to 6).

Every term exists in two readings. `paper` follows the equations; `code`
follows the numbers that the authors' public implementation computes. Both
compare a target head (the human expression, jaw as measured) with a predicted
head (the adapter's expression, jaw closed), unposed and with mean shape.

| term     | paper                                  | code                   |
|----------|----------------------------------------|------------------------|
| vertex   | eq. 2: mean over V of |v - v'|^2       | mean over 3V           |
| landmark | eq. 3: sum over 68 of the L1 distance  | weighted mean, 10(x,-y)|
| eye      | eq. 4: lid offsets, L1 of difference   | lid distances, 2D      |
| mouth    | eq. 5: lip offsets, L1 of difference   | lip distances, 2D      |
| total    | eq. 6: sum with lambda_ver on vertex   | the same               |
"""

from __future__ import annotations

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np

READINGS = ('paper', 'code')
TERMS = ('vertex', 'landmark', 'eye', 'mouth')

# (upper, lower) landmark pairs of the lids and of the outer lips.
LID_PAIRS = np.array([(37, 41), (38, 40), (43, 47), (44, 46)])
LIP_PAIRS = np.array([(50, 58), (51, 57), (52, 56)])

# The code's orthographic view and landmark weights (eyes and mouth count 5).
CODE_VIEW_SCALE = 10.0
CODE_LANDMARK_WEIGHTS = np.where(np.arange(68) >= 36, 5.0, 1.0)


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class Geometry:
  """What the terms compare.

  Attributes:
    vertex_error: [...] float32, sum over vertices and axes of the squared
      difference between the two meshes, square metres.
    num_vertices: V (static).
    target_landmarks: [..., 68, 3] float32, metres.
    predicted_landmarks: [..., 68, 3] float32, metres.
  """

  vertex_error: jax.Array
  target_landmarks: jax.Array
  predicted_landmarks: jax.Array
  num_vertices: int = dataclasses.field(metadata={'static': True})


@dataclasses.dataclass(frozen=True)
class LossWeights:
  """Weights of the terms; zero switches a term off (paper, Table 2).

  Attributes:
    vertex: lambda_ver of equation 6, 100 in the paper.
    landmark: weight of equation 3.
    eye: weight of equation 4.
    mouth: weight of equation 5.
    sparsity: DEVIATION: weight of the mean coefficient, 0 in the paper. The
      adapter's rows are not independent (a raised and a lowered brow cancel
      each other), so the mesh alone leaves coefficients free to rest at high
      values, as the released network's brows do; a small weight picks the
      calmest pose among equals. Covered by
      `test_sparsity_prefers_the_calm_pose`.
  """

  vertex: float = 100.0
  landmark: float = 1.0
  eye: float = 1.0
  mouth: float = 1.0
  sparsity: float = 0.0


def loss_terms(geometry: Geometry, reading: str) -> dict[str, jax.Array]:
  """Evaluates the four terms for every sample.

  Args:
    geometry: the two heads, leading dimensions `...`.
    reading: `paper` or `code`.

  Returns:
    dict of [...] float32 with the keys `vertex, landmark, eye, mouth`. The
    mean over a batch is the reference's batch value.

  Raises:
    ValueError: for an unknown reading.
  """
  if reading == 'paper':
    return _paper_terms(geometry)
  if reading == 'code':
    return _code_terms(geometry)
  raise ValueError(f'loss reading {reading!r} is not one of {READINGS}')


def _paper_terms(geometry: Geometry) -> dict[str, jax.Array]:
  target, predicted = (
    geometry.target_landmarks,
    geometry.predicted_landmarks,
  )

  def offset_difference(pairs):
    offsets = [
      p[..., pairs[:, 0], :] - p[..., pairs[:, 1], :]
      for p in (target, predicted)
    ]
    return jnp.abs(offsets[0] - offsets[1]).sum((-2, -1))

  return {
    'vertex': geometry.vertex_error / geometry.num_vertices,
    'landmark': jnp.abs(target - predicted).sum((-2, -1)),
    'eye': offset_difference(LID_PAIRS),
    'mouth': offset_difference(LIP_PAIRS),
  }


def _code_terms(geometry: Geometry) -> dict[str, jax.Array]:
  target, predicted = (
    CODE_VIEW_SCALE * p[..., :2] * np.array([1.0, -1.0], np.float32)
    for p in (geometry.target_landmarks, geometry.predicted_landmarks)
  )
  weights = jnp.asarray(CODE_LANDMARK_WEIGHTS, jnp.float32)

  def distance_difference(pairs):
    lengths = [
      safe_norm(p[..., pairs[:, 0], :] - p[..., pairs[:, 1], :])
      for p in (target, predicted)
    ]
    return jnp.abs(lengths[0] - lengths[1]).mean(-1)

  absolute = jnp.abs(target - predicted).sum(-1)
  return {
    'vertex': geometry.vertex_error / (3 * geometry.num_vertices),
    'landmark': (weights * absolute).sum(-1) / (2 * weights.sum()),
    'eye': distance_difference(LID_PAIRS),
    'mouth': distance_difference(LIP_PAIRS),
  }


def sparsity_term(pose_coeffs: jax.Array) -> jax.Array:
  """Mean coefficient of each sample; see `LossWeights.sparsity`.

  Args:
    pose_coeffs: [..., 17] float32 in [0, 1].

  Returns:
    [...] float32.
  """
  return pose_coeffs.mean(-1)


def safe_norm(x: jax.Array) -> jax.Array:
  """Euclidean norm over the last axis with a zero gradient at zero.

  A fully closed eye has a lid distance of exactly zero, where the plain norm's
  gradient is NaN.

  Args:
    x: [..., n] float.

  Returns:
    [...] float.
  """
  square = jnp.square(x).sum(-1)
  positive = square > 0
  return jnp.where(positive, jnp.sqrt(jnp.where(positive, square, 1.0)), 0.0)


def total_loss(terms: dict[str, jax.Array], weights: LossWeights) -> jax.Array:
  """Equation 6: the weighted sum of the terms.

  Args:
    terms: dict of [...] float32, see `loss_terms` and `sparsity_term`.
    weights: the weight of each term. A term of weight zero is left out, so
      it cannot contribute a NaN.

  Returns:
    [...] float32.

  Raises:
    ValueError: if every weight is zero.
  """
  parts = [
    weight * terms[name]
    for name, weight in dataclasses.asdict(weights).items()
    if weight
  ]
  if not parts:
    raise ValueError('every loss weight is zero: nothing to learn')
  return sum(parts[1:], parts[0])
