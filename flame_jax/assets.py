"""The arrays of a FLAME-format head model, its inputs and its outputs.

Source: Li et al., "Learning a model of facial shape and expression from 4D
scans" (SIGGRAPH Asia 2017). All three classes are pytrees, so a model goes
into `jax.jit` as an argument and never as a closed-over constant.
"""

from __future__ import annotations

import dataclasses

import jax

NUM_JOINTS = 5
JOINT_NAMES = ('global', 'neck', 'jaw', 'left_eye', 'right_eye')
# Parent of each joint; the root has none (FLAME's kintree_table).
PARENTS = (-1, 0, 1, 1, 1)
NUM_LANDMARKS = 68
NUM_CONTOUR = 17
NUM_CONTOUR_ROWS = 79


def _pytree(cls):
  """Makes `cls` a frozen dataclass whose fields are all pytree children."""
  return jax.tree_util.register_dataclass(
    dataclasses.dataclass(frozen=True, kw_only=True)(cls)
  )


@_pytree
class LandmarkEmbedding:
  """Where the 68 landmarks sit on the mesh: triangle index + barycentrics.

  Attributes:
    static_faces: [51] int32, triangles of the brows, nose, eyes and mouth.
    static_barycentric: [51, 3] float32, weights of the triangle's corners.
    dynamic_faces: [79, 17] int32, jaw contour triangles for each yaw row.
    dynamic_barycentric: [79, 17, 3] float32.
    full_faces: [68] int32, a second set with a fixed contour, or None when
      the file in use has none.
    full_barycentric: [68, 3] float32 or None.
  """

  static_faces: jax.Array
  static_barycentric: jax.Array
  dynamic_faces: jax.Array
  dynamic_barycentric: jax.Array
  full_faces: jax.Array | None = None
  full_barycentric: jax.Array | None = None


@_pytree
class FlameAssets:
  """A head model in FLAME's format. Metres; y up, z out of the face.

  Attributes:
    v_template: [V, 3] float32, the mean head (V = 5023 for FLAME).
    faces: [F, 3] int32, triangles (F = 9976 for FLAME).
    shapedirs: [V, 3, S] float32, identity basis (S = 300 for FLAME).
    expressiondirs: [V, 3, E] float32, expression basis (E = 100 for FLAME).
    posedirs: [V, 3, 36] float32, pose-corrective basis over the row-major
      flattened (R_j - I) of joints 1..4.
    J_regressor: [5, V] float32, joints from vertices.
    lbs_weights: [V, 5] float32, skinning weights; rows sum to one.
    landmarks: the landmark embedding, or None when none was loaded.
    vertex_colors: [V, 3] float32 in [0, 1] for pictures, or None.
  """

  v_template: jax.Array
  faces: jax.Array
  shapedirs: jax.Array
  expressiondirs: jax.Array
  posedirs: jax.Array
  J_regressor: jax.Array
  lbs_weights: jax.Array
  landmarks: LandmarkEmbedding | None = None
  vertex_colors: jax.Array | None = None

  @property
  def num_vertices(self) -> int:
    """V, the number of mesh vertices."""
    return self.v_template.shape[0]


@_pytree
class FlameParams:
  """What moves the head. A field that is None is exactly zero, statically.

  Leading dimensions `...` are any number of batch dimensions and broadcast
  against each other. Rotations are axis-angle vectors in radians.

  Attributes:
    shape: [..., <=S] float32, coefficients of the identity basis.
    expression: [..., <=E] float32, coefficients of the expression basis.
    global_pose: [..., 3] float32, rotation of the whole head.
    neck_pose: [..., 3] float32.
    jaw_pose: [..., 3] float32.
    eye_pose: [..., 6] float32, left eye then right eye.
  """

  shape: jax.Array | None = None
  expression: jax.Array | None = None
  global_pose: jax.Array | None = None
  neck_pose: jax.Array | None = None
  jaw_pose: jax.Array | None = None
  eye_pose: jax.Array | None = None


@_pytree
class FlameOutput:
  """What the layer computes.

  Attributes:
    vertices: [..., V, 3] float32, metres.
    joints: [..., 5, 3] float32, posed joint positions, metres.
    landmarks: [..., 68, 3] float32, metres, jaw contour first; None when the
      model carries no landmark embedding or none was asked for.
  """

  vertices: jax.Array
  joints: jax.Array
  landmarks: jax.Array | None = None
