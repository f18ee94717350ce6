"""Rotations from axis-angle vectors, with gradients that are finite at zero."""

from __future__ import annotations

import jax
import jax.numpy as jnp

# Below this squared angle (radians) the Taylor series of sin(x)/x is exact to
# float64 rounding with the four terms used here.
_SMALL_SQUARED_ANGLE = 1e-3


def _sinc_of_squared(squared: jax.Array) -> jax.Array:
  """sin(x) / x as a smooth function of x squared, also at zero."""
  small = squared < _SMALL_SQUARED_ANGLE
  # The unused branch must stay finite, or its gradient poisons the other's.
  angle = jnp.sqrt(jnp.where(small, 1.0, squared))
  series = 1.0 + squared * (
    -1.0 / 6.0 + squared * (1.0 / 120.0 - squared / 5040.0)
  )
  return jnp.where(small, series, jnp.sin(angle) / angle)


def rotation_offset(axis_angle: jax.Array) -> jax.Array:
  """Rotation matrix minus the identity, R - I (Rodrigues' formula).

  The difference is what FLAME's pose correctives and our skinning consume; it
  is exactly zero at zero pose and loses no digits for small angles.

  Args:
    axis_angle: [..., 3] float, rotation axis times angle in radians.

  Returns:
    [..., 3, 3] float of the same dtype, R - I.

  Raises:
    ValueError: if the last dimension is not 3.
  """
  axis_angle = jnp.asarray(axis_angle)
  if axis_angle.shape[-1:] != (3,):
    raise ValueError(f'axis_angle is {axis_angle.shape}, wanted [..., 3]')
  squared = jnp.sum(axis_angle * axis_angle, axis=-1)[..., None, None]
  x, y, z = axis_angle[..., 0], axis_angle[..., 1], axis_angle[..., 2]
  zero = jnp.zeros_like(x)
  cross = jnp.stack([zero, -z, y, z, zero, -x, -y, x, zero], axis=-1)
  cross = cross.reshape(*axis_angle.shape[:-1], 3, 3)
  outer = axis_angle[..., :, None] * axis_angle[..., None, :]
  cross_squared = outer - squared * jnp.eye(3, dtype=outer.dtype)
  # (1 - cos x) / x^2 written with the half angle, which does not cancel.
  half = _sinc_of_squared(0.25 * squared)
  return _sinc_of_squared(squared) * cross + 0.5 * half**2 * cross_squared


def axis_angle_to_matrix(axis_angle: jax.Array) -> jax.Array:
  """Rotation matrices that turn column vectors, R @ x.

  Args:
    axis_angle: [..., 3] float, rotation axis times angle in radians.

  Returns:
    [..., 3, 3] float rotation matrices.

  Raises:
    ValueError: if the last dimension is not 3.

  Example:
    `axis_angle_to_matrix(jnp.array([0, 0, jnp.pi / 2]))` takes x to y.
  """
  offset = rotation_offset(axis_angle)
  return offset + jnp.eye(3, dtype=offset.dtype)


def yaw_degrees(rotation: jax.Array) -> jax.Array:
  """Turn about the vertical axis of a rotation matrix.

  The y angle of the z-y-x Euler decomposition R = Rz(c) Ry(b) Rx(a), the one
  by which FLAME's landmark table is indexed.

  Args:
    rotation: [..., 3, 3] float rotation matrices.

  Returns:
    [...] float, degrees in [-90, 90].
  """
  cosine = jnp.hypot(rotation[..., 0, 0], rotation[..., 1, 0])
  return jnp.rad2deg(jnp.arctan2(-rotation[..., 2, 0], cosine))
