"""A head reduced to its landmarks: what the fit needs of 5,000 vertices.

A landmark is a fixed mixture of three vertices, so for a moving jaw and
expression it is, exactly as `flame_apply` has it,

  p = L f + (R - I) Q f,   f = [1, expression, vec(R - I)]

with R the jaw's rotation, L the mixed basis and Q the same mixed with the
skinning weights and taken about the jaw's joint. L and Q are small.
"""

from __future__ import annotations

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np

from edtn_jax.encoders.landmark_fit.correspondence import LandmarkMap
from flame_jax.assets import FlameAssets

_GLOBAL, _JAW = 0, 2
# Columns of `posedirs` that follow the jaw: joints 1..4 have nine each.
_JAW_FEATURES = slice(9, 18)
NUM_JAW_FEATURES = 9


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True, kw_only=True)
class HeadBlocks:
  """The landmarks of one person's head, as functions of expression and jaw.

  Attributes:
    linear: [N, 3, 1 + E + 9] float32, L above, metres.
    skinned: [N, 3, 1 + E + 9] float32, Q above, metres.
    root: [3, 1 + E] float32, the joint that the whole head turns about.
    normals: [N, 3] float32, outward normals of the resting surface.
    lids: [2, E] float32, change of lid opening (left, right) over the
      opening at rest, for each expression coefficient.
  """

  linear: jax.Array
  skinned: jax.Array
  root: jax.Array
  normals: jax.Array
  lids: jax.Array

  @property
  def num_expression(self) -> int:
    """E."""
    return self.root.shape[-1] - 1


def head_blocks(
  assets: FlameAssets,
  landmarks: LandmarkMap,
  num_expression: int,
  shape: np.ndarray | None = None,
  offsets: np.ndarray | None = None,
) -> HeadBlocks:
  """Reduces a head to its landmarks.

  Args:
    assets: the head model.
    landmarks: N landmarks on it.
    num_expression: E, how many expression coefficients take part.
    shape: [S] identity coefficients, S <= the model's; None for the mean.
    offsets: [N, 3] metres, added to the landmarks of the head at rest.

  Returns:
    The blocks, float32.
  """
  corners = np.asarray(assets.faces)[landmarks.face_index]
  share = np.asarray(landmarks.barycentric, np.float64)
  template = np.asarray(assets.v_template, np.float64)
  if shape is not None:
    basis = np.asarray(assets.shapedirs, np.float64)[..., : len(shape)]
    template = template + basis @ np.asarray(shape, np.float64)
  expression = np.asarray(assets.expressiondirs, np.float64)
  expression = expression[..., :num_expression]
  correctives = np.asarray(assets.posedirs, np.float64)[..., _JAW_FEATURES]
  basis = np.concatenate(
    [template[..., None], expression, correctives], axis=-1
  )
  regressor = np.asarray(assets.J_regressor, np.float64)
  joints = np.tensordot(regressor, basis, 1)
  # Joints are those of the head before any pose corrective.
  joints[..., 1 + num_expression :] = 0
  at_corners = basis[corners]  # [N, 3 corners, 3, 1 + E + 9]
  linear = np.einsum('nc,ncak->nak', share, at_corners)
  weights = np.asarray(assets.lbs_weights, np.float64)[corners, _JAW]
  about_jaw = at_corners - joints[_JAW]
  skinned = np.einsum('nc,ncak->nak', share * weights, about_jaw)
  if offsets is not None:
    linear[..., 0] += offsets
  # Normals of the triangles would do, but for slivers at lids and lips.
  normals = _normals(template, np.asarray(assets.faces))[corners].mean(axis=1)
  normals /= np.linalg.norm(normals, axis=1, keepdims=True)
  return HeadBlocks(
    linear=_array(linear),
    skinned=_array(skinned),
    root=_array(joints[_GLOBAL][:, : 1 + num_expression]),
    normals=_array(normals),
    lids=_array(_lid_blocks(linear, landmarks, num_expression)),
  )


def _normals(points, faces):
  """[V, 3] normals of a mesh, not normalised, sums over triangles."""
  a, b, c = np.moveaxis(points[faces], 1, 0)
  each = np.cross(b - a, c - a)
  result = np.zeros_like(points)
  for corner in faces.T:
    np.add.at(result, corner, each)
  return result


def _lid_blocks(linear, landmarks, num_expression):
  """[2, E] of `HeadBlocks.lids`.

  The opening is the mean height of upper over lower lid points, which unlike
  their distance is linear in the expression, and negative where lids cross.
  """
  result = []
  for rows in landmarks.lid_rows():
    height = (linear[rows[:, 0], 1] - linear[rows[:, 1], 1]).mean(axis=0)
    result.append(height[1 : 1 + num_expression] / height[0])
  return np.stack(result)


def _array(value) -> jax.Array:
  return jnp.asarray(value, jnp.float32)
