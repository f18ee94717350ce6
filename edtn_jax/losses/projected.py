"""The loss geometry without a mesh: exact, and as cheap as the network.

The predicted head has pose 0 and jaw 0, so it is linear in the coefficients
b: `v' = T + D b` with `D = E phi^T`, [3V, 17]. The target head moves only its
jaw, so it is linear in a short vector of features g(psi, jaw): with the jaw
rotation R, r = vec(R - I), and skinning weight w of the jaw,

    x = T + E psi + P r                      blendshapes
    v = x + w (R - I)(x - j)                 skinning, j = j0 + J psi
    v - T = G g,   g = [psi, r, r ⊗ (1, psi, r)]

One QR factorisation of [D | G], with D's columns first, then gives

    |v' - v|^2 = |A b - B g|^2 + |C g|^2

A [17, 17], B [17, N], C [N, N]. B g (17 numbers) and |C g|^2 (one number) do
not depend on the network: they are computed once a frame. The form is the
expansion `b^T D^T D b - 2 b^T D^T (v - T) + |v - T|^2` without its
cancellation: every part is a sum of squares.
"""

from __future__ import annotations

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np

from edtn_jax.losses.terms import Geometry
from flame_jax.assets import FlameAssets
from flame_jax.landmarks import frontal_landmark_weights
from flame_jax.rotations import rotation_offset

_JAW = 2
_HIGHEST = jax.lax.Precision.HIGHEST


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class ProjectedMesh:
  """Constants of the projected form for one head model and one adapter.

  N is the number of features, 9 + E + 9 (1 + E + 9) for E expressions.

  Attributes:
    vertex_from_coeffs: A [17, 17] float32.
    vertex_from_features: B [17, N] float32.
    residual_from_features: C [M, N] float32, M <= N.
    landmark_neutral: [68, 3] float32, metres.
    landmark_from_coeffs: [17, 68, 3] float32.
    landmark_from_features: [N, 68, 3] float32.
    num_vertices: V (static).
  """

  vertex_from_coeffs: jax.Array
  vertex_from_features: jax.Array
  residual_from_features: jax.Array
  landmark_neutral: jax.Array
  landmark_from_coeffs: jax.Array
  landmark_from_features: jax.Array
  num_vertices: int = dataclasses.field(metadata={'static': True})


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class Targets:
  """What one frame contributes to the projected form.

  Attributes:
    vertex_projection: B g, [..., 17] float32, metres.
    vertex_residual: |C g|^2, [...] float32, square metres.
    landmarks: [..., 68, 3] float32, metres.
  """

  vertex_projection: jax.Array
  vertex_residual: jax.Array
  landmarks: jax.Array


def make_projected_mesh(
  assets: FlameAssets, pose_adapter: np.ndarray
) -> ProjectedMesh:
  """Projects a head model; done once, in float64 (about 2 s for FLAME).

  Args:
    assets: the head model with a landmark embedding.
    pose_adapter: [17, E] float, E expression coefficients.

  Returns:
    The constants, float32.
  """
  adapter = np.asarray(pose_adapter, np.float64)
  num_coeffs, num_expression = adapter.shape
  target = _target_basis(assets, num_expression)
  predicted = target[..., :num_expression] @ adapter.T
  num_vertices = len(target)

  stacked = np.concatenate([predicted, target], axis=-1)
  triangle = np.linalg.qr(stacked.reshape(3 * num_vertices, -1), mode='r')
  faces, barycentric = frontal_landmark_weights(assets)
  corners = np.asarray(assets.faces)[faces]

  def at_landmarks(field):
    return np.einsum('lc,lc...->l...', barycentric, field[corners])

  template = np.asarray(assets.v_template, np.float64)
  return ProjectedMesh(
    vertex_from_coeffs=_f32(triangle[:num_coeffs, :num_coeffs]),
    vertex_from_features=_f32(triangle[:num_coeffs, num_coeffs:]),
    residual_from_features=_f32(triangle[num_coeffs:, num_coeffs:]),
    landmark_neutral=_f32(at_landmarks(template)),
    landmark_from_coeffs=_f32(np.moveaxis(at_landmarks(predicted), -1, 0)),
    landmark_from_features=_f32(np.moveaxis(at_landmarks(target), -1, 0)),
    num_vertices=num_vertices,
  )


def _f32(x) -> jax.Array:
  return jnp.asarray(x, jnp.float32)


def _target_basis(assets: FlameAssets, num_expression: int) -> np.ndarray:
  """G of the module's docstring, [V, 3, N] float64."""
  template = np.asarray(assets.v_template, np.float64)
  expression = np.asarray(
    assets.expressiondirs[..., :num_expression], np.float64
  )
  # Pose features are the joints 1..4, nine numbers each; the jaw is joint 2.
  corrective = np.asarray(assets.posedirs, np.float64)[
    ..., 9 * (_JAW - 1) : 9 * _JAW
  ]
  regressor = np.asarray(assets.J_regressor, np.float64)[_JAW]
  weight = np.asarray(assets.lbs_weights, np.float64)[:, _JAW]

  # x - j by its features (1, psi, r): [V, 3, 1 + E + 9].
  shaped = np.concatenate([template[..., None], expression], axis=-1)
  about_joint = np.concatenate(
    [shaped - np.einsum('v,vxf->xf', regressor, shaped), corrective], axis=-1
  )
  # ((R - I)(x - j))_a = sum_b r_ab (x - j)_b: row a sees r_a0, r_a1, r_a2.
  num_inner = about_joint.shape[-1]
  turned = np.zeros((len(template), 3, 3, 3, num_inner))
  for axis in range(3):
    turned[:, axis, axis] = weight[:, None, None] * about_joint
  turned = turned.reshape(len(template), 3, 9 * num_inner)
  return np.concatenate([expression, corrective, turned], axis=-1)


def _features(expression: jax.Array, jaw_pose: jax.Array) -> jax.Array:
  """G of the module's docstring, [..., N] float32."""
  rotation = rotation_offset(jaw_pose)
  r = rotation.reshape(*jaw_pose.shape[:-1], 9)
  inner = jnp.concatenate([jnp.ones_like(r[..., :1]), expression, r], axis=-1)
  outer = (r[..., :, None] * inner[..., None, :]).reshape(*r.shape[:-1], -1)
  return jnp.concatenate([expression, r, outer], axis=-1)


def projected_targets(
  projection: ProjectedMesh, expression: jax.Array, jaw_pose: jax.Array
) -> Targets:
  """Everything the loss needs from the human side of a frame.

  Args:
    projection: constants.
    expression: [..., E] float32.
    jaw_pose: [..., 3] float32, axis-angle radians.

  Returns:
    Targets with leading dimensions `...`.
  """
  g = _features(expression, jaw_pose)

  def times(matrix):
    return jnp.einsum('mn,...n->...m', matrix, g, precision=_HIGHEST)

  landmarks = projection.landmark_neutral + jnp.einsum(
    '...n,nlx->...lx',
    g,
    projection.landmark_from_features,
    precision=_HIGHEST,
  )
  return Targets(
    vertex_projection=times(projection.vertex_from_features),
    vertex_residual=jnp.square(times(projection.residual_from_features)).sum(
      -1
    ),
    landmarks=landmarks,
  )


def projected_geometry(
  projection: ProjectedMesh, targets: Targets, pose_coeffs: jax.Array
) -> Geometry:
  """Compares both heads without building them.

  Args:
    projection: constants.
    targets: of the same frames.
    pose_coeffs: [..., 17] float32.

  Returns:
    Geometry equal to `mesh_geometry`'s up to float32 rounding.
  """
  in_span = jnp.einsum(
    'mk,...k->...m',
    projection.vertex_from_coeffs,
    pose_coeffs,
    precision=_HIGHEST,
  )
  error = (
    jnp.square(in_span - targets.vertex_projection).sum(-1)
    + targets.vertex_residual
  )
  landmarks = projection.landmark_neutral + jnp.einsum(
    '...k,klx->...lx',
    pose_coeffs,
    projection.landmark_from_coeffs,
    precision=_HIGHEST,
  )
  return Geometry(
    vertex_error=error,
    target_landmarks=targets.landmarks,
    predicted_landmarks=landmarks,
    num_vertices=projection.num_vertices,
  )
