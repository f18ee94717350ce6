"""A pure-functional FLAME head: arrays in, mesh and landmarks out.

The built-in head is in `flame_jax.procedural`, the renderer in
`flame_jax.render`.
"""

from flame_jax.assets import (
  FlameAssets,
  FlameOutput,
  FlameParams,
  LandmarkEmbedding,
)
from flame_jax.camera import orthographic_project
from flame_jax.io import FlameFileError, load_flame, save_flame
from flame_jax.landmarks import (
  frontal_landmark_weights,
  landmarks_from_vertices,
)
from flame_jax.layer import flame_apply
from flame_jax.rotations import axis_angle_to_matrix
from flame_jax.unpickle import UnsafePickleError

__all__ = [
  'FlameAssets',
  'FlameFileError',
  'FlameOutput',
  'FlameParams',
  'LandmarkEmbedding',
  'UnsafePickleError',
  'axis_angle_to_matrix',
  'flame_apply',
  'frontal_landmark_weights',
  'landmarks_from_vertices',
  'load_flame',
  'orthographic_project',
  'save_flame',
]
