"""The 68 facial landmarks of a FLAME mesh: 17 of the jaw contour, 51 fixed.

The contour a camera sees depends on how far the head is turned, so FLAME's
dynamic embedding stores 79 contours, one for each degree of yaw.
"""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np

from flame_jax.assets import FlameAssets, LandmarkEmbedding
from flame_jax.rotations import yaw_degrees

LANDMARK_KINDS = ('dynamic', 'static')

# Layout of the contour table: rows 0..39 are turns of 0..39 degrees and more
# to the one side, rows 40..78 of 1..39 degrees and more to the other.
_MAX_YAW = 39
_MAX_ROW = 78


def contour_row(head_rotation: jax.Array) -> jax.Array:
  """Row of the dynamic contour table for a head rotation.

  Args:
    head_rotation: [..., 3, 3] float, world rotation of the neck joint, that
      is, global rotation times neck rotation.

  Returns:
    [...] int32 in [0, 78]. Not differentiable: gradients stop here.
  """
  yaw = yaw_degrees(jax.lax.stop_gradient(head_rotation))
  degrees = jnp.round(jnp.clip(yaw, -90.0, float(_MAX_YAW))).astype(jnp.int32)
  turned_back = jnp.minimum(_MAX_YAW - degrees, _MAX_ROW)
  return jnp.where(degrees < 0, turned_back, degrees)


def _require_embedding(assets: FlameAssets) -> LandmarkEmbedding:
  if assets.landmarks is None:
    raise ValueError(
      'this head model has no landmark embedding; give load_flame its'
      ' landmark files (landmark_paths)'
    )
  return assets.landmarks


def _full_embedding(assets: FlameAssets) -> tuple[jax.Array, jax.Array]:
  embedding = _require_embedding(assets)
  if embedding.full_faces is None or embedding.full_barycentric is None:
    raise ValueError(
      "landmarks='static' needs the full 68-point embedding (full_lmk_*),"
      ' which this model has not; use landmark_embedding.npy as landmark'
      " file, or landmarks='dynamic'"
    )
  return embedding.full_faces, embedding.full_barycentric


def _fixed_points(vertices, triangles, faces, barycentric):
  """[..., L, 3] points whose triangles are the same for the whole batch."""
  corners = jnp.take(triangles, faces, axis=0, mode='clip')  # [L, 3]
  gathered = jnp.take(vertices, corners.reshape(-1), axis=-2, mode='clip')
  gathered = gathered.reshape(*vertices.shape[:-2], *corners.shape, 3)
  return jnp.sum(gathered * barycentric[..., None], axis=-2)


def _select_row(table, row):
  """Row `row` [...] of a [R, n] table, as a masked sum.

  Exact, and unlike a gather by a batch of indices it keeps the batch's
  sharding on explicit meshes.
  """
  chosen = row[..., None] == jnp.arange(len(table))
  return jnp.sum(jnp.where(chosen[..., None], table, 0), axis=-2)


def _contour_points(vertices, triangles, embedding, row):
  """[..., 17, 3] contour points, each batch element by its own table row."""
  num_rows, num_points = embedding.dynamic_faces.shape
  corners = jnp.take(triangles, embedding.dynamic_faces, axis=0, mode='clip')
  corners = _select_row(corners.reshape(num_rows, -1), row)
  barycentric = embedding.dynamic_barycentric.reshape(num_rows, -1)
  barycentric = _select_row(barycentric, row)
  batch = jnp.broadcast_shapes(vertices.shape[:-2], row.shape)
  gathered = jnp.take_along_axis(
    jnp.broadcast_to(vertices, (*batch, *vertices.shape[-2:])),
    jnp.broadcast_to(corners, (*batch, 3 * num_points))[..., None],
    axis=-2,
    mode='clip',
  )
  weighted = gathered * barycentric[..., None]
  return weighted.reshape(*batch, num_points, 3, 3).sum(axis=-2)


def landmarks_from_vertices(
  assets: FlameAssets,
  vertices: jax.Array,
  *,
  kind: str = 'dynamic',
  head_rotation: jax.Array | None = None,
) -> jax.Array:
  """Reads the 68 landmarks off a mesh.

  Args:
    assets: the head model.
    vertices: [..., V, 3] float, metres.
    kind: `dynamic` takes the contour that shows at the head's yaw; `static`
      takes the fixed full set.
    head_rotation: [..., 3, 3] world rotation of the neck joint (global times
      neck), or None for a frontal head. Only used by `dynamic`.

  Returns:
    [..., 68, 3] float, metres: 17 contour points first, then 51 others
    (brows 17:27, nose 27:36, eyes 36:48, mouth 48:68).

  Raises:
    ValueError: if `kind` is unknown, a shape is wrong or the model has no
      such embedding.
  """
  vertices = jnp.asarray(vertices)
  if kind not in LANDMARK_KINDS:
    raise ValueError(f'kind is {kind!r}, must be one of {LANDMARK_KINDS}')
  if vertices.shape[-2:] != (assets.num_vertices, 3):
    raise ValueError(
      f'vertices is {vertices.shape}, wanted [..., {assets.num_vertices}, 3]'
    )
  triangles = jnp.asarray(assets.faces)
  if kind == 'static':
    return _fixed_points(vertices, triangles, *_full_embedding(assets))
  if head_rotation is None:
    faces, barycentric = _frontal(_require_embedding(assets), jnp)
    return _fixed_points(vertices, triangles, faces, barycentric)
  embedding = jax.tree.map(jnp.asarray, _require_embedding(assets))
  row = contour_row(head_rotation)
  contour = _contour_points(vertices, triangles, embedding, row)
  rest = _fixed_points(
    vertices, triangles, embedding.static_faces, embedding.static_barycentric
  )
  rest = jnp.broadcast_to(rest, (*contour.shape[:-2], *rest.shape[-2:]))
  return jnp.concatenate([contour, rest], axis=-2)


def _frontal(embedding: LandmarkEmbedding, xp):
  """Row 0 of the contour table followed by the static points."""
  faces = xp.concatenate(
    [xp.asarray(embedding.dynamic_faces)[0], xp.asarray(embedding.static_faces)]
  )
  barycentric = xp.concatenate(
    [
      xp.asarray(embedding.dynamic_barycentric)[0],
      xp.asarray(embedding.static_barycentric),
    ]
  )
  return faces, barycentric


def frontal_landmark_weights(
  assets: FlameAssets,
) -> tuple[np.ndarray, np.ndarray]:
  """The linear map from vertices to the 68 landmarks of a frontal head.

  Landmark l is `sum_c barycentric[l, c] * vertices[triangles[faces[l], c]]`.

  Args:
    assets: the head model; concrete arrays, not tracers.

  Returns:
    faces [68] int32 (rows of `assets.faces`) and barycentric [68, 3] float32.

  Raises:
    ValueError: if the model has no landmark embedding.
  """
  faces, barycentric = _frontal(_require_embedding(assets), np)
  return faces.astype(np.int32), barycentric.astype(np.float32)
