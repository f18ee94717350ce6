"""A human head in FLAME's format, made by formulas; no licence attached.

It has what a FLAME file has: about 5,500 vertices, five joints, 300 identity
and 100 expression components, corrective shapes and the 68-point landmark
embeddings, so everything that takes a FLAME model takes this one. Its
coefficients mean something else than FLAME's: `align_expression_basis` makes
FLAME's expression codes readable within the span of a pose adapter.
"""

from __future__ import annotations

import dataclasses
import functools

import jax
import numpy as np

from flame_jax.assets import FlameAssets, LandmarkEmbedding
from flame_jax.procedural import basis, embedding, geometry, motions, skinning

__all__ = ('align_expression_basis', 'expression_motions', 'procedural_head')


@functools.lru_cache(maxsize=4)
def procedural_head(seed: int = 0) -> FlameAssets:
  """A human head and neck in FLAME's format.

  Args:
    seed: of the random part of the identity and expression bases; the head
      at rest, its motions and landmarks are the same for all seeds.

  Returns:
    Head model: V = 5458, F = 10826, S = 300, E = 100, with landmarks and
    vertex colours; float32 and int32. Made once a process and seed.

  Example:
    assets = procedural_head()
    output = flame_apply(assets, FlameParams(jaw_pose=jnp.array([0.3, 0, 0])))
  """
  head = geometry.head_geometry()
  places = embedding.landmark_embedding(head)
  landmarks = {}
  for name in ('static', 'dynamic', 'full'):
    faces, barycentric = getattr(places, name)
    landmarks[f'{name}_faces'] = _array(faces, np.int32)
    landmarks[f'{name}_barycentric'] = _array(barycentric)
  return FlameAssets(
    v_template=_array(head.points),
    faces=_array(head.faces, np.int32),
    shapedirs=_array(basis.shape_basis(seed)),
    expressiondirs=_array(basis.expression_basis(seed)),
    posedirs=_array(basis.pose_basis(head)),
    J_regressor=_array(skinning.joint_regressor(head)),
    lbs_weights=_array(skinning.skinning_weights(head)),
    landmarks=LandmarkEmbedding(**landmarks),
    vertex_colors=_array(head.colors),
  )


def expression_motions(seed: int = 0) -> dict[str, np.ndarray]:
  """The named elementary motions that the expression basis is made of.

  Args:
    seed: of the head; motions do not depend on it.

  Returns:
    Name -> [V, 3] float64 displacement at full strength, metres. Names that
    end in `_left` and `_right` (the character's) are mirror images.
  """
  del seed
  return {name: field.copy() for name, field in motions.named_motions().items()}


def align_expression_basis(
  assets: FlameAssets,
  adapter_model: np.ndarray,
  adapter_codes: np.ndarray,
  *,
  ridge: float = 1e-6,
) -> FlameAssets:
  """Lets a head answer to expression codes of another model.

  This is an approximation limited to the given meanings: codes inside the
  span of `adapter_codes` move the head as those meanings do, what is
  orthogonal to all of them does nothing. It serves to show real FLAME codes
  on a head without FLAME's files; it does not turn that head into FLAME.

  Args:
    assets: the head model to show.
    adapter_model: [K, E'] this model's own expression for each of K meanings
      (E' at most its number of components).
    adapter_codes: [K, C] codes of the same meanings in the other space, such
      as the released FLAME pose adapter [17, 50].
    ridge: share of the largest squared singular value of `adapter_codes`
      below which directions are damped.

  Returns:
    The head with `expressiondirs` [V, 3, C] such that, up to the ridge,
    expressiondirs @ adapter_codes[k] is what adapter_model[k] did before.

  Raises:
    ValueError: the arrays do not fit together or hold non-finite numbers;
      all problems are listed.
  """
  model = np.asarray(adapter_model, np.float64)
  codes = np.asarray(adapter_codes, np.float64)
  _check_adapters(model, codes, assets.expressiondirs.shape[-1])
  own = np.asarray(assets.expressiondirs, np.float64)[..., : model.shape[1]]
  gram = codes @ codes.T
  damping = ridge * np.linalg.eigvalsh(gram)[-1]
  # Rows of the pseudo-inverse's transpose: [K, C].
  dual = np.linalg.solve(gram + damping * np.eye(len(codes)), codes)
  return dataclasses.replace(
    assets, expressiondirs=_array(own @ (model.T @ dual))
  )


def _check_adapters(model, codes, num_expression):
  problems = []
  for name, array in (('adapter_model', model), ('adapter_codes', codes)):
    if array.ndim != 2 or not array.size:
      problems.append(f'{name} must be a matrix, not {list(array.shape)}')
    elif not np.isfinite(array).all():
      problems.append(f'{name} holds numbers that are not finite')
  if not problems and len(model) != len(codes):
    problems.append(
      f'adapter_model has {len(model)} rows, adapter_codes {len(codes)}; '
      'both need one row for each meaning'
    )
  if model.ndim == 2 and model.shape[1] > num_expression:
    problems.append(
      f'adapter_model has {model.shape[1]} columns, the head only '
      f'{num_expression} expression components'
    )
  if problems:
    raise ValueError('align_expression_basis: ' + '; '.join(problems))


def _array(array, dtype=np.float32):
  """On the default device, also when the first caller is being traced."""
  with jax.ensure_compile_time_eval():
    return jax.device_put(np.ascontiguousarray(array, dtype))
