"""The weak-perspective camera that comes with FLAME codes."""

from __future__ import annotations

import jax
import jax.numpy as jnp


def orthographic_project(points: jax.Array, camera: jax.Array) -> jax.Array:
  """Drops depth, shifts, scales and turns y downwards, as pictures have it.

  Picture coordinates are (scale * (x + tx), -scale * (y + ty)). With DECA's
  camera they span [-1, 1] over its square crop, (-1, -1) being the top left.
  The camera (10, 0, 0) gives the `10 * (x, -y)` of EDTN's landmark loss.

  Args:
    points: [..., L, 3] float, metres, y up.
    camera: [..., 3] float, (scale, tx, ty), broadcast against the leading
      dimensions of `points`.

  Returns:
    [..., L, 2] float picture coordinates, x right, y down.

  Raises:
    ValueError: if a last dimension is wrong.

  Example:
    `orthographic_project(jnp.array([[1., 2., 9.]]), jnp.array([10., 0, 0]))`
    is `[[10., -20.]]`.
  """
  points, camera = jnp.asarray(points), jnp.asarray(camera)
  if points.ndim < 2 or points.shape[-1] != 3:
    raise ValueError(f'points is {points.shape}, wanted [..., L, 3]')
  if camera.shape[-1:] != (3,):
    raise ValueError(
      f'camera is {camera.shape}, wanted [..., 3] = (scale, tx, ty)'
    )
  scale = camera[..., None, 0]
  x = scale * (points[..., 0] + camera[..., None, 1])
  y = scale * (points[..., 1] + camera[..., None, 2])
  return jnp.stack([x, -y], axis=-1)
