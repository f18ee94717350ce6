"""The loss geometry through the full FLAME mesh: the reference path."""

from __future__ import annotations

import jax
import jax.numpy as jnp

from edtn_jax.losses.terms import Geometry
from flame_jax.assets import FlameAssets, FlameParams
from flame_jax.layer import flame_apply


def mesh_geometry(
  assets: FlameAssets,
  pose_adapter: jax.Array,
  expression: jax.Array,
  jaw_pose: jax.Array,
  pose_coeffs: jax.Array,
) -> Geometry:
  """Builds both heads with the FLAME layer and compares them.

  Args:
    assets: the head model, V vertices.
    pose_adapter: [17, E] float32.
    expression: [..., E] float32, measured human expression.
    jaw_pose: [..., 3] float32, measured jaw, axis-angle radians.
    pose_coeffs: [..., 17] float32, predicted anime coefficients.

  Returns:
    Geometry with leading dimensions `...`.
  """
  target = flame_apply(
    assets, FlameParams(expression=expression, jaw_pose=jaw_pose)
  )
  predicted = flame_apply(
    assets,
    FlameParams(
      expression=jnp.matmul(
        pose_coeffs, pose_adapter, precision=jax.lax.Precision.HIGHEST
      )
    ),
  )
  error = jnp.square(predicted.vertices - target.vertices).sum((-2, -1))
  return Geometry(
    vertex_error=error,
    target_landmarks=target.landmarks,
    predicted_landmarks=predicted.landmarks,
    num_vertices=assets.num_vertices,
  )
