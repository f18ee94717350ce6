"""The pose that both domains share: a 3D face model's 70 numbers."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np

NUM_EXPRESSION = 64
JOINT_POSE_SIZE = NUM_EXPRESSION + 3 + 3  # and angles, and translation

_NUM_COEFFICIENTS = 17
# Pitch, roll, yaw of a pose vector -> pitch, yaw, roll (x, y, z) of a face
# model.
_ANGLE_ORDER = np.array([0, 2, 1])


def joint_pose(
  pose_vector: jax.Array,
  expression_basis: jax.Array,
  translation: jax.Array | None = None,
) -> jax.Array:
  """Expresses an anime pose vector in the terms of a face model.

  AnimeCeleb paper, section 4: the coefficients b become b Phi.

  Args:
    pose_vector: [..., 20] float: 17 coefficients in [0, 1], then pitch, roll
      and yaw in degrees.
    expression_basis: Phi, [17, 64] float, the face model's expression for
      each coefficient.
    translation: [..., 3] float of the face model; None for zero, which is what
      anime heads have.

  Returns:
    [..., 70] float32: 64 expression numbers; pitch, yaw and roll in radians;
    translation.

  Raises:
    ValueError: if a shape does not fit.
  """
  wanted = (_NUM_COEFFICIENTS, NUM_EXPRESSION)
  if pose_vector.shape[-1] != 20 or expression_basis.shape != wanted:
    raise ValueError(
      f'wanted a pose_vector [..., 20] and an expression_basis {wanted}, got '
      f'{pose_vector.shape} and {expression_basis.shape}'
    )
  pose_vector = jnp.asarray(pose_vector, jnp.float32)
  if translation is None:
    translation = jnp.zeros((*pose_vector.shape[:-1], 3))
  expression = jnp.matmul(
    pose_vector[..., :_NUM_COEFFICIENTS],
    jnp.asarray(expression_basis, jnp.float32),
    precision=jax.lax.Precision.HIGHEST,
  )
  angles = pose_vector[..., _NUM_COEFFICIENTS:][..., _ANGLE_ORDER]
  return jnp.concatenate(
    [expression, jnp.deg2rad(angles), translation], axis=-1
  )
