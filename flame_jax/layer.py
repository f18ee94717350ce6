"""The FLAME layer: codes in, mesh, joints and landmarks out.

T_P = T + B_S(shape) + B_E(expression) + B_P(pose), then linear blend skinning
(Li et al. 2017, eqs. 1-5). The skinning is written for FLAME's small tree
(jaw and eyes hang on the neck, the neck on the root) as a chain of offsets

  face = sum_j w_j (R_j - I) (x - J_j)        over jaw and eyes
  neck = (R_1 - I) ((1 - w_0) (x - J_1) + face)
  y    = x + face + neck;   vertices = y + (R_0 - I) (y - J_0)

which equals blending 4 x 4 transforms when the weights of a vertex sum to one,
costs nothing for joints that do not move, keeps no [B, V, 4, 4] array and is
exact at zero pose. Coordinates are kept in separate planes while it runs
because XLA vectorises [..., V] and not [..., V, 3].
"""

from __future__ import annotations

import functools

import jax
import jax.numpy as jnp

from flame_jax.assets import FlameAssets, FlameOutput, FlameParams
from flame_jax.landmarks import LANDMARK_KINDS, landmarks_from_vertices
from flame_jax.rotations import rotation_offset

_GLOBAL, _NECK, _JAW, _LEFT_EYE, _RIGHT_EYE = range(5)
_AXES = range(3)


def _check(assets: FlameAssets, params: FlameParams, landmarks) -> None:
  """Raises one ValueError that lists everything wrong with the inputs."""
  limits = {
    'shape': (assets.shapedirs.shape[-1], False),
    'expression': (assets.expressiondirs.shape[-1], False),
    'global_pose': (3, True),
    'neck_pose': (3, True),
    'jaw_pose': (3, True),
    'eye_pose': (6, True),
  }
  problems = []
  leading = {}
  for name, (size, exact) in limits.items():
    value = getattr(params, name)
    if value is None:
      continue
    if not hasattr(value, 'shape'):
      problems.append(f'{name} is a {type(value).__name__}, wanted an array')
      continue
    shape = value.shape
    if not shape or shape[-1] > size or (exact and shape[-1] != size):
      wanted = f'[..., {size}]' if exact else f'[..., n] with n <= {size}'
      problems.append(f'{name} is {list(shape)}, wanted {wanted}')
    leading[name] = shape[:-1]
  try:
    jnp.broadcast_shapes(*leading.values())
  except ValueError:
    problems.append(f'leading dimensions do not broadcast: {leading}')
  if landmarks is not None and landmarks not in LANDMARK_KINDS:
    problems.append(
      f'landmarks is {landmarks!r}, must be one of {LANDMARK_KINDS} or None'
    )
  if problems:
    raise ValueError('flame_apply: ' + '; '.join(problems))


def _rotation_offsets(params: FlameParams) -> dict[int, jax.Array]:
  """R - I, [..., 3, 3], of the joints that move at all."""
  vectors = {
    _GLOBAL: params.global_pose,
    _NECK: params.neck_pose,
    _JAW: params.jaw_pose,
  }
  if params.eye_pose is not None:
    vectors[_LEFT_EYE] = params.eye_pose[..., :3]
    vectors[_RIGHT_EYE] = params.eye_pose[..., 3:]
  return {
    joint: rotation_offset(vector)
    for joint, vector in vectors.items()
    if vector is not None
  }


def _identity_terms(assets: FlameAssets, params: FlameParams):
  """(basis [V, 3, n], coefficients [..., n]) of shape and expression."""
  pairs = (
    (assets.shapedirs, params.shape),
    (assets.expressiondirs, params.expression),
  )
  for basis, coefficients in pairs:
    if coefficients is not None:
      yield jnp.asarray(basis)[..., : coefficients.shape[-1]], coefficients


def _corrective_terms(assets: FlameAssets, offsets: dict[int, jax.Array]):
  """(basis [V, 3, 9], coefficients [..., 9]) of the joints that move."""
  posedirs = jnp.asarray(assets.posedirs)
  for joint, offset in offsets.items():
    if joint != _GLOBAL:
      first = 9 * (joint - 1)
      features = offset.reshape(*offset.shape[:-2], 9)
      yield posedirs[..., first : first + 9], features


def _merge_terms(terms):
  """Joins terms with equal batch shape, so that each costs one matmul.

  Terms with other batch shapes stay apart: one person's shape, say, is then
  blended once and not for every frame.
  """
  groups = {}
  for basis, coefficients in terms:
    groups.setdefault(coefficients.shape[:-1], []).append((basis, coefficients))
  return [
    tuple(jnp.concatenate(parts, axis=-1) for parts in zip(*group, strict=True))
    for group in groups.values()
  ]


def _blend(template, terms, matmul_dtype):
  """Template [..] plus blendshapes; bases are [*template.shape, n]."""
  result = template
  for basis, coefficients in terms:
    result = result + jnp.tensordot(
      coefficients.astype(matmul_dtype),
      basis.astype(matmul_dtype),
      ((-1,), (-1,)),
      precision=jax.lax.Precision.HIGHEST,
      preferred_element_type=template.dtype,
    )
  return result


def _blend_planes(template, terms, matmul_dtype):
  """Three [..., V] coordinate planes of template plus blendshapes."""
  # The small basis is transposed here; the large result never is.
  terms = [(basis.transpose(1, 0, 2), c) for basis, c in terms]
  blended = _blend(template.T, terms, matmul_dtype)
  return [blended[..., a, :] for a in _AXES]


def _rest_joints(assets: FlameAssets, terms, dtype) -> jax.Array:
  """[..., 5, 3] joints of the shaped head, without forming its mesh."""
  regressor = jnp.asarray(assets.J_regressor, dtype)

  def regress(per_vertex):
    return jnp.tensordot(
      regressor, per_vertex, 1, precision=jax.lax.Precision.HIGHEST
    )

  joint_terms = [(regress(basis), c) for basis, c in terms]
  template = regress(jnp.asarray(assets.v_template, dtype))
  return _blend(template, joint_terms, dtype)


def _turn(offset, planes):
  """(R - I) applied to coordinate planes; offset [..., 3, 3], 3 x [..., V]."""
  return [
    sum(offset[..., a, b, None] * planes[b] for b in _AXES) for a in _AXES
  ]


def _add(planes, more):
  return [p + m for p, m in zip(planes, more, strict=True)]


def _skin(vertices, joints, weights, offsets):
  """Linear blend skinning of coordinate planes (see the module's formula)."""

  def about(planes, joint):
    return [planes[a] - joints[..., joint, a, None] for a in _AXES]

  face = None
  for joint in (_JAW, _LEFT_EYE, _RIGHT_EYE):
    if joint in offsets:
      weighted = [weights[:, joint] * p for p in about(vertices, joint)]
      term = _turn(offsets[joint], weighted)
      face = term if face is None else _add(face, term)
  posed = vertices if face is None else _add(vertices, face)
  if _NECK in offsets:
    below_root = 1.0 - weights[:, _GLOBAL]
    carried = [below_root * p for p in about(vertices, _NECK)]
    carried = carried if face is None else _add(carried, face)
    posed = _add(posed, _turn(offsets[_NECK], carried))
  if _GLOBAL in offsets:
    posed = _add(posed, _turn(offsets[_GLOBAL], about(posed, _GLOBAL)))
  return posed


def _posed_joints(joints, offsets):
  """[..., 5, 3] joints after the rotations of the joints above them."""
  planes = [joints[..., a] for a in _AXES]
  for joint in (_NECK, _GLOBAL):
    if joint in offsets:
      centred = [planes[a] - joints[..., joint, a, None] for a in _AXES]
      # The root itself does not hang on the neck.
      carried = jnp.arange(5) >= joint
      centred = [jnp.where(carried, p, 0.0) for p in centred]
      planes = _add(planes, _turn(offsets[joint], centred))
  return jnp.stack(planes, axis=-1)


def _head_rotation(offsets) -> jax.Array | None:
  """[..., 3, 3] world rotation of the neck, None if it is the identity."""
  factors = [
    offsets[joint] + jnp.eye(3, dtype=offsets[joint].dtype)
    for joint in (_GLOBAL, _NECK)
    if joint in offsets
  ]
  if not factors:
    return None
  if len(factors) == 1:
    return factors[0]
  return jnp.matmul(*factors, precision=jax.lax.Precision.HIGHEST)


@functools.partial(jax.jit, static_argnames=('landmarks', 'matmul_dtype'))
def flame_apply(
  assets: FlameAssets,
  params: FlameParams,
  *,
  landmarks: str | None = 'dynamic',
  matmul_dtype=None,
) -> FlameOutput:
  """Computes mesh, joints and landmarks of FLAME codes.

  Pure, and compiled for each new combination of shapes and of fields that are
  None. Use it under `jax.jit`, `vmap`, `grad`, `pmap` and `shard_map` as well,
  with `assets` as an argument of the outer function.

  Args:
    assets: the head model.
    params: the codes. Leading dimensions `...` broadcast; a field that is None
      is exactly zero and costs nothing. Fewer shape or expression
      coefficients than the basis has stand for its first ones.
    landmarks: `dynamic` (contour by the head's yaw), `static` (the full fixed
      set) or None for no landmarks.
    matmul_dtype: dtype of the blendshape matmul's operands, for example
      `jnp.bfloat16`; sums are float32 in any case. None means float32.

  Returns:
    FlameOutput with vertices [..., V, 3], joints [..., 5, 3] and landmarks
    [..., 68, 3] in metres. Landmarks are None when the model has no embedding.

  Raises:
    ValueError: if shapes do not fit, all problems in one message.

  Example:
    `flame_apply(assets, FlameParams(expression=psi, jaw_pose=jaw)).vertices`
  """
  _check(assets, params, landmarks)
  fields = {
    name: jnp.asarray(value)
    for name, value in vars(params).items()
    if value is not None
  }
  dtype = jnp.result_type(jnp.float32, *fields.values())
  fields = {name: value.astype(dtype) for name, value in fields.items()}
  batch = jnp.broadcast_shapes(*(f.shape[:-1] for f in fields.values()))
  params = FlameParams(**fields)
  offsets = _rotation_offsets(params)
  identity = list(_identity_terms(assets, params))
  terms = _merge_terms([*identity, *_corrective_terms(assets, offsets)])
  template = jnp.asarray(assets.v_template, dtype)
  joints = _rest_joints(assets, _merge_terms(identity), dtype)
  operands = matmul_dtype or dtype
  if offsets:
    planes = _blend_planes(template, terms, operands)
    weights = jnp.asarray(assets.lbs_weights, dtype)
    vertices = jnp.stack(_skin(planes, joints, weights, offsets), axis=-1)
    joints = _posed_joints(joints, offsets)
  else:
    vertices = _blend(template, terms, operands)
  vertices = jnp.broadcast_to(vertices, (*batch, *template.shape))
  points = None
  if landmarks is not None and assets.landmarks is not None:
    points = landmarks_from_vertices(
      assets, vertices, kind=landmarks, head_rotation=_head_rotation(offsets)
    )
  return FlameOutput(
    vertices=vertices,
    joints=jnp.broadcast_to(joints, (*batch, 5, 3)),
    landmarks=points,
  )
