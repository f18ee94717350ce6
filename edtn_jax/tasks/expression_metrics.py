"""Validation metrics of the expression translator.

A metric is a state with `empty`, `from_batch`, `merge` and `compute`, so it
adds up over batches, devices and processes in any order.
"""

from __future__ import annotations

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np

from data.pose_vector import COEFFICIENT_NAMES, NUM_COEFFICIENTS
from edtn_jax.losses.terms import (
  LID_PAIRS,
  LIP_PAIRS,
  TERMS,
  Geometry,
  safe_norm,
)

_MILLIMETRES = 1000.0


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class ExpressionMetrics:
  """Sums over frames; `compute` turns them into named numbers.

  Attributes:
    count: number of frames.
    truth_count: number of frames whose true coefficients are known.
    sums: per-frame scalars, summed.
    coeff_sum: [17] sum of the coefficients.
    coeff_square: [17] sum of their squares.
    coeff_low: [17] smallest value seen.
    coeff_high: [17] largest value seen.
    coeff_error: [17] sum of absolute errors against the truth.
  """

  count: jax.Array
  truth_count: jax.Array
  sums: dict[str, jax.Array]
  coeff_sum: jax.Array
  coeff_square: jax.Array
  coeff_low: jax.Array
  coeff_high: jax.Array
  coeff_error: jax.Array

  @classmethod
  def empty(cls) -> ExpressionMetrics:
    """The state before any frame."""
    zeros = np.zeros(NUM_COEFFICIENTS, np.float32)
    return cls(
      count=np.float32(0),
      truth_count=np.float32(0),
      sums={name: np.float32(0) for name in _SUMS},
      coeff_sum=zeros,
      coeff_square=zeros,
      coeff_low=zeros + np.inf,
      coeff_high=zeros - np.inf,
      coeff_error=zeros,
    )

  @classmethod
  def from_batch(
    cls,
    *,
    geometry: Geometry,
    terms: dict[str, jax.Array],
    pose_coeffs: jax.Array,
    true_pose_coeffs: jax.Array | None,
    mask: jax.Array,
  ) -> ExpressionMetrics:
    """State of one batch.

    Args:
      geometry: target and predicted heads, leading dimension B.
      terms: dict of [B] loss terms and their total under `loss`.
      pose_coeffs: [B, 17] float32.
      true_pose_coeffs: [B, 17] float32 or None.
      mask: [B] float32, 1 for real frames and 0 for padding.

    Returns:
      The state; sums cover real frames only.
    """
    target, predicted = (
      geometry.target_landmarks,
      geometry.predicted_landmarks,
    )
    per_frame = {
      **{k: terms[k] for k in (*TERMS, 'loss')},
      'landmark_error_mm': _MILLIMETRES
      * safe_norm(target - predicted).mean(-1),
      'vertex_error_mm': _MILLIMETRES
      * jnp.sqrt(geometry.vertex_error / geometry.num_vertices),
      'lid_error_mm': _pair_error(target, predicted, LID_PAIRS),
      'lip_error_mm': _pair_error(target, predicted, LIP_PAIRS),
    }
    real = mask[:, None] > 0
    truth = true_pose_coeffs is not None
    error = (
      jnp.abs(pose_coeffs - true_pose_coeffs)
      if truth
      else jnp.zeros_like(pose_coeffs)
    )
    return cls(
      count=mask.sum(),
      truth_count=mask.sum() * truth,
      sums={k: (v * mask).sum() for k, v in per_frame.items()},
      coeff_sum=(pose_coeffs * mask[:, None]).sum(0),
      coeff_square=(jnp.square(pose_coeffs) * mask[:, None]).sum(0),
      coeff_low=jnp.where(real, pose_coeffs, jnp.inf).min(0),
      coeff_high=jnp.where(real, pose_coeffs, -jnp.inf).max(0),
      coeff_error=(error * mask[:, None]).sum(0),
    )

  def merge(self, other: ExpressionMetrics) -> ExpressionMetrics:
    """The state of both sets of frames together."""
    added = jax.tree.map(lambda a, b: a + b, self, other)
    return dataclasses.replace(
      added,
      coeff_low=jnp.minimum(self.coeff_low, other.coeff_low),
      coeff_high=jnp.maximum(self.coeff_high, other.coeff_high),
    )

  def compute(self) -> dict[str, float]:
    """Means over all frames.

    Returns:
      `loss` and its terms, `*_mm` errors, `coefficient/<name>/{mean, std,
      low, high}`, and, where truth is known, `coefficient_error` and
      `coefficient/<name>/error`.

    Raises:
      ValueError: if no frame was seen.
    """
    count = float(self.count)
    if not count:
      raise ValueError('no frame was evaluated: the split is empty')
    result = {k: float(v) / count for k, v in self.sums.items()}
    mean = np.asarray(self.coeff_sum) / count
    variance = np.asarray(self.coeff_square) / count - mean**2
    columns = {
      'mean': mean,
      'std': np.sqrt(np.maximum(variance, 0)),
      'low': np.asarray(self.coeff_low),
      'high': np.asarray(self.coeff_high),
    }
    if float(self.truth_count):
      columns['error'] = np.asarray(self.coeff_error) / float(self.truth_count)
      result['coefficient_error'] = float(columns['error'].mean())
    for column, values in columns.items():
      for name, value in zip(COEFFICIENT_NAMES, values, strict=True):
        result[f'coefficient/{name}/{column}'] = float(value)
    result['frames'] = count
    return result


_SUMS = (
  *TERMS,
  'loss',
  'landmark_error_mm',
  'vertex_error_mm',
  'lid_error_mm',
  'lip_error_mm',
)


def _pair_error(
  target: jax.Array, predicted: jax.Array, pairs: np.ndarray
) -> jax.Array:
  """Mean absolute difference of the pairs' distances, [B], millimetres."""

  def distance(points):
    return safe_norm(points[..., pairs[:, 0], :] - points[..., pairs[:, 1], :])

  difference = jnp.abs(distance(target) - distance(predicted))
  return _MILLIMETRES * difference.mean(-1)
