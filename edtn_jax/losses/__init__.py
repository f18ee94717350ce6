"""EDTN's losses: the terms of the paper, and two ways to their geometry.

`terms` holds equations 2 to 6. `mesh` and `projected` both compute what the
terms compare, `mesh` through the FLAME layer, `projected` by exact linear
algebra without any mesh; they agree in value and gradient.
"""

from edtn_jax.losses.mesh import mesh_geometry
from edtn_jax.losses.projected import (
  ProjectedMesh,
  Targets,
  make_projected_mesh,
  projected_geometry,
  projected_targets,
)
from edtn_jax.losses.terms import (
  Geometry,
  LossWeights,
  loss_terms,
  sparsity_term,
  total_loss,
)

__all__ = [
  'Geometry',
  'LossWeights',
  'ProjectedMesh',
  'Targets',
  'loss_terms',
  'make_projected_mesh',
  'mesh_geometry',
  'projected_geometry',
  'projected_targets',
  'sparsity_term',
  'total_loss',
]
