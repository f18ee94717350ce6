"""Helpers shared by tests: small head models, golden weights."""

from __future__ import annotations

import numpy as np

from flame_jax.assets import FlameAssets, LandmarkEmbedding


def assets_from_golden(golden) -> FlameAssets:
  """Head model stored as `model_*` and `embed_*` arrays of a golden file."""
  directions = golden['model_shapedirs']
  return FlameAssets(
    v_template=golden['model_v_template'],
    faces=golden['model_f'].astype(np.int32),
    shapedirs=directions[..., :300],
    expressiondirs=directions[..., 300:],
    posedirs=golden['model_posedirs'],
    J_regressor=golden['model_J_regressor'],
    lbs_weights=golden['model_weights'],
    landmarks=LandmarkEmbedding(
      static_faces=golden['embed_static_lmk_faces_idx'].astype(np.int32),
      static_barycentric=golden['embed_static_lmk_bary_coords'],
      dynamic_faces=golden['embed_dynamic_lmk_faces_idx'].astype(np.int32),
      dynamic_barycentric=golden['embed_dynamic_lmk_bary_coords'],
      full_faces=golden['embed_full_lmk_faces_idx'][0].astype(np.int32),
      full_barycentric=golden['embed_full_lmk_bary_coords'][0],
    ),
  )


def random_head(num_vertices: int = 40, seed: int = 0) -> FlameAssets:
  """A small random model in FLAME's format: right shapes, no meaning."""
  rng = np.random.default_rng(seed)

  def normal(*shape, scale=0.01):
    return (scale * rng.standard_normal(shape)).astype(np.float32)

  def convex(*shape):
    raw = rng.random(shape).astype(np.float32) + 0.05
    return raw / raw.sum(-1, keepdims=True)

  num_faces = 2 * num_vertices
  return FlameAssets(
    v_template=normal(num_vertices, 3, scale=0.1),
    faces=rng.integers(0, num_vertices, (num_faces, 3)).astype(np.int32),
    shapedirs=normal(num_vertices, 3, 12),
    expressiondirs=normal(num_vertices, 3, 50),
    posedirs=normal(num_vertices, 3, 36, scale=0.003),
    J_regressor=convex(5, num_vertices),
    lbs_weights=convex(num_vertices, 5),
    landmarks=LandmarkEmbedding(
      static_faces=rng.integers(0, num_faces, 51).astype(np.int32),
      static_barycentric=convex(51, 3),
      dynamic_faces=rng.integers(0, num_faces, (79, 17)).astype(np.int32),
      dynamic_barycentric=convex(79, 17, 3),
      full_faces=rng.integers(0, num_faces, 68).astype(np.int32),
      full_barycentric=convex(68, 3),
    ),
  )
