"""The FLAME layer against hand-made cases, a 4 x 4 reference and goldens."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import AxisType, PartitionSpec
from scipy.spatial.transform import Rotation

from flame_jax import FlameAssets, FlameParams, flame_apply
from tests import support

PARENTS = (-1, 0, 1, 1, 1)
SIZES = {
  'shape': 12,
  'expression': 50,
  'global_pose': 3,
  'neck_pose': 3,
  'jaw_pose': 3,
  'eye_pose': 6,
}


def triangle(weights, joints=None):
  """One triangle without blendshapes; joints are given vertices' averages."""
  regressor = np.zeros((5, 3), np.float32)
  regressor[:, 0] = 1  # every joint sits on the first vertex
  if joints is not None:
    regressor[:] = joints
  return FlameAssets(
    v_template=np.array([[0, 0, 0], [1, 0, 0], [0, 2, 0]], np.float32),
    faces=np.array([[0, 1, 2]], np.int32),
    shapedirs=np.zeros((3, 3, 1), np.float32),
    expressiondirs=np.zeros((3, 3, 1), np.float32),
    posedirs=np.zeros((3, 3, 36), np.float32),
    J_regressor=regressor,
    lbs_weights=np.asarray(weights, np.float32),
  )


def random_params(batch=(3,), names=tuple(SIZES), seed=0, scale=0.5):
  random = np.random.default_rng(seed)
  return FlameParams(
    **{
      name: scale * random.normal(size=(*batch, SIZES[name])).astype('f4')
      for name in names
    }
  )


def reference(assets, params):
  """FLAME for one code in float64, with 4 x 4 matrices down the joint tree."""
  get = {
    name: np.zeros(size)
    if getattr(params, name) is None
    else np.asarray(getattr(params, name), np.float64)
    for name, size in SIZES.items()
  }
  shaped = (
    np.asarray(assets.v_template, np.float64)
    + assets.shapedirs @ get['shape']
    + assets.expressiondirs @ get['expression']
  )
  joints = assets.J_regressor @ shaped
  pose = np.concatenate([get[n] for n in list(SIZES)[2:]]).reshape(5, 3)
  rotations = Rotation.from_rotvec(pose).as_matrix()
  features = (rotations[1:] - np.eye(3)).reshape(-1)
  posed = shaped + assets.posedirs @ features
  world = []
  for joint, parent in enumerate(PARENTS):
    local = np.eye(4)
    local[:3, :3] = rotations[joint]
    local[:3, 3] = joints[joint] - (joints[parent] if parent >= 0 else 0)
    world.append(local if parent < 0 else world[parent] @ local)
  world = np.stack(world)
  relative = world.copy()
  relative[:, :3, 3] -= np.einsum('jab,jb->ja', world[:, :3, :3], joints)
  blended = np.einsum('vj,jab->vab', assets.lbs_weights, relative)
  vertices = np.einsum('vab,vb->va', blended[:, :3, :3], posed)
  return vertices + blended[:, :3, 3], world[:, :3, 3]


# Hand-made cases.


def test_quarter_turn_of_the_whole_head_about_its_joint():
  assets = triangle([[1, 0, 0, 0, 0]] * 3, joints=[[0, 1, 0]] * 5)
  params = FlameParams(global_pose=jnp.array([0, 0, np.pi / 2]))
  output = flame_apply(assets, params)
  # The joint is (1, 0, 0): x goes to y and y to -x about it.
  np.testing.assert_allclose(
    output.vertices, [[1, -1, 0], [1, 0, 0], [-1, -1, 0]], atol=1e-6
  )
  np.testing.assert_allclose(output.joints, [[1, 0, 0]] * 5, atol=1e-6)
  assert output.landmarks is None


@pytest.mark.parametrize(
  ('field', 'joint'), [('neck_pose', 1), ('jaw_pose', 2)]
)
def test_half_and_half_weights_move_half_way(field, joint):
  weights = np.zeros((3, 5))
  weights[0, 0] = weights[1, joint] = 1
  weights[2, [0, joint]] = 0.5
  params = FlameParams(**{field: jnp.array([0, 0, np.pi / 2])})
  output = flame_apply(triangle(weights), params)
  # (0, 2, 0) turns to (-2, 0, 0); linear blending gives the middle.
  np.testing.assert_allclose(
    output.vertices, [[0, 0, 0], [0, 1, 0], [-1, 1, 0]], atol=1e-6
  )


def test_left_and_right_eye_are_joints_3_and_4():
  weights = [[0, 0, 0, 1, 0], [0, 0, 0, 1, 0], [0, 0, 0, 0, 1]]
  left = jnp.array([0, 0, np.pi / 2, 0, 0, 0])
  moved = flame_apply(triangle(weights), FlameParams(eye_pose=left))
  np.testing.assert_allclose(
    moved.vertices, [[0, 0, 0], [0, 1, 0], [0, 2, 0]], atol=1e-6
  )
  moved = flame_apply(triangle(weights), FlameParams(eye_pose=left[::-1]))
  np.testing.assert_allclose(
    moved.vertices, [[0, 0, 0], [1, 0, 0], [0, 0, 2]], atol=2e-6
  )


def test_the_jaw_hangs_on_the_neck_and_the_neck_on_the_root():
  weights = [[0, 0, 1, 0, 0]] * 3
  quarter = jnp.array([0, 0, np.pi / 2])
  params = FlameParams(global_pose=quarter, neck_pose=quarter, jaw_pose=quarter)
  output = flame_apply(triangle(weights), params)
  np.testing.assert_allclose(
    output.vertices, [[0, 0, 0], [0, -1, 0], [2, 0, 0]], atol=2e-6
  )


def test_blendshapes_add_up():
  assets = dataclasses.replace(
    triangle([[1, 0, 0, 0, 0]] * 3),
    shapedirs=np.ones((3, 3, 2), np.float32) * [1, 10],
    expressiondirs=np.ones((3, 3, 2), np.float32) * [100, 1000],
  )
  params = FlameParams(shape=jnp.array([1.0, 2.0]), expression=jnp.ones(1))
  output = flame_apply(assets, params)
  np.testing.assert_allclose(output.vertices, assets.v_template + 121)
  # Joints are regressed from the shaped head.
  np.testing.assert_allclose(output.joints, np.full((5, 3), 121))


def test_pose_correctives_are_row_major_offsets_of_joints_1_to_4():
  directions = np.zeros((3, 3, 36), np.float32)
  directions[0, 0] = 10.0 ** -np.arange(36)
  assets = dataclasses.replace(
    triangle([[1, 0, 0, 0, 0]] * 3), posedirs=directions
  )
  # R - I of a quarter turn about x: (1,1) (1,2) (2,1) (2,2) = -1 -1 1 -1.
  params = FlameParams(jaw_pose=jnp.array([np.pi / 2, 0, 0]))
  moved = flame_apply(assets, params).vertices[0, 0]
  np.testing.assert_allclose(moved, -1e-13 - 1e-14 + 1e-16 - 1e-17, rtol=1e-3)
  still = flame_apply(
    assets, FlameParams(global_pose=jnp.array([np.pi / 2, 0, 0]))
  )
  np.testing.assert_array_equal(still.vertices[0], assets.v_template[0])


# Invariants.


def test_nothing_given_is_the_template():
  assets = support.random_head()
  output = flame_apply(assets, FlameParams())
  np.testing.assert_array_equal(output.vertices, assets.v_template)
  assert output.landmarks.shape == (68, 3)


@pytest.mark.parametrize('batch', [(), (1,), (7,)])
def test_zero_pose_is_exactly_no_pose(batch):
  assets = support.random_head()
  code = random_params(batch, ('shape', 'expression'))
  posed = dataclasses.replace(
    code,
    **{n: jnp.zeros((*batch, SIZES[n])) for n in SIZES if n.endswith('_pose')},
  )
  without = flame_apply(assets, code)
  with_zeros = flame_apply(assets, posed)
  jax.tree.map(np.testing.assert_array_equal, without, with_zeros)


@pytest.mark.parametrize(
  'names',
  [
    tuple(SIZES),
    ('expression', 'jaw_pose'),
    ('shape', 'expression', 'global_pose', 'jaw_pose'),
    ('neck_pose',),
    ('neck_pose', 'eye_pose'),
    ('global_pose', 'eye_pose'),
  ],
)
def test_agrees_with_matrices_down_the_joint_tree(names):
  assets = support.random_head()
  params = random_params((3,), names)
  output = flame_apply(assets, params)
  for index in range(3):
    one = jax.tree.map(lambda a, index=index: a[index], params)
    vertices, joints = reference(assets, one)
    np.testing.assert_allclose(output.vertices[index], vertices, atol=1e-6)
    np.testing.assert_allclose(output.joints[index], joints, atol=1e-6)


def test_fewer_coefficients_are_the_first_ones():
  assets = support.random_head()
  few = random_params((2,), ('shape', 'expression'))
  few = FlameParams(shape=few.shape[:, :5], expression=few.expression[:, :7])
  padded = FlameParams(
    shape=np.pad(few.shape, ((0, 0), (0, 7))),
    expression=np.pad(few.expression, ((0, 0), (0, 43))),
  )
  np.testing.assert_allclose(
    flame_apply(assets, few).vertices,
    flame_apply(assets, padded).vertices,
    atol=1e-7,
  )


def test_leading_dimensions_broadcast():
  assets = support.random_head()
  shape = random_params((), ('shape',)).shape
  expression = random_params((2, 1), ('expression',)).expression
  jaw = random_params((4,), ('jaw_pose',)).jaw_pose
  turn = random_params((1, 4), ('global_pose',), seed=1).global_pose
  output = flame_apply(
    assets,
    FlameParams(
      shape=shape, expression=expression, jaw_pose=jaw, global_pose=turn
    ),
  )
  assert output.vertices.shape == (2, 4, 40, 3)
  assert output.joints.shape == (2, 4, 5, 3)
  assert output.landmarks.shape == (2, 4, 68, 3)
  one = flame_apply(
    assets,
    FlameParams(
      shape=shape,
      expression=expression[1, 0],
      jaw_pose=jaw[2],
      global_pose=turn[0, 2],
    ),
  )
  for name in ('vertices', 'joints', 'landmarks'):
    np.testing.assert_allclose(
      getattr(output, name)[1, 2], getattr(one, name), atol=1e-6
    )


@pytest.mark.parametrize('dtype', [np.float64, jnp.bfloat16, np.int32])
def test_codes_of_other_dtypes_are_computed_in_float32(dtype):
  assets = support.random_head()
  jaw = np.array([0.5, 0.25, 1.0]).astype(dtype)
  output = flame_apply(assets, FlameParams(jaw_pose=jaw))
  again = flame_apply(assets, FlameParams(jaw_pose=jaw.astype(np.float32)))
  assert output.vertices.dtype == jnp.float32
  np.testing.assert_array_equal(output.vertices, again.vertices)


@pytest.mark.parametrize('landmarks', ['dynamic', 'static', None])
def test_jit_and_vmap_change_nothing(landmarks):
  assets = support.random_head()
  params = random_params()

  def apply(assets, params):
    return flame_apply(assets, params, landmarks=landmarks)

  plain = apply(assets, params)
  for changed in (jax.jit(apply), jax.vmap(apply, in_axes=(None, 0))):
    jax.tree.map(
      lambda a, b: np.testing.assert_allclose(a, b, atol=1e-6),
      plain,
      changed(assets, params),
    )


def test_bfloat16_operands_keep_float32_sums():
  assets = support.random_head()
  params = random_params()
  exact = flame_apply(assets, params)
  rough = flame_apply(assets, params, matmul_dtype=jnp.bfloat16)
  assert rough.vertices.dtype == jnp.float32
  difference = np.abs(exact.vertices - rough.vertices).max()
  assert 0 < difference < 2e-3
  # The template is not rounded.
  still = flame_apply(assets, FlameParams(), matmul_dtype=jnp.bfloat16)
  np.testing.assert_array_equal(still.vertices, assets.v_template)


def test_every_wrong_input_is_named_at_once():
  params = FlameParams(
    shape=jnp.zeros((2, 13)),
    expression=jnp.zeros(()),
    neck_pose=[0.0, 0.0, 0.0],
    jaw_pose=jnp.zeros((3, 4)),
    eye_pose=jnp.zeros((2, 3)),
  )
  with pytest.raises(ValueError) as caught:
    flame_apply(support.random_head(), params, landmarks='all')
  message = str(caught.value)
  for part in (
    'shape is [2, 13], wanted [..., n] with n <= 12',
    'expression is []',
    'neck_pose is a list',
    'jaw_pose is [3, 4], wanted [..., 3]',
    'eye_pose is [2, 3], wanted [..., 6]',
    'do not broadcast',
    "landmarks is 'all'",
  ):
    assert part in message


# Gradients.


def _loss(params, assets):
  output = flame_apply(assets, params)
  weights = jnp.sin(jnp.arange(output.vertices.size, dtype=jnp.float32))
  mesh = jnp.sum(output.vertices * weights.reshape(output.vertices.shape))
  return mesh + jnp.sum(output.landmarks**2) + jnp.sum(output.joints**3)


def test_gradients_are_finite_at_zero_pose():
  assets = support.random_head()
  zero = jax.tree.map(jnp.zeros_like, random_params(()))
  gradient = jax.jit(jax.grad(_loss))(zero, assets)
  for leaf in jax.tree.leaves(gradient):
    assert np.isfinite(leaf).all()
    assert np.abs(leaf).max() > 0


def test_second_derivatives_are_finite_at_zero_pose():
  assets = support.random_head()
  zero = FlameParams(jaw_pose=jnp.zeros(3), global_pose=jnp.zeros(3))
  ones = jax.tree.map(jnp.ones_like, zero)

  def slope(params):
    return jax.grad(_loss)(params, assets)

  _, curvature = jax.jit(lambda p, d: jax.jvp(slope, (p,), (d,)))(zero, ones)
  for leaf in jax.tree.leaves(curvature):
    assert np.isfinite(leaf).all()
    assert np.abs(leaf).max() > 0


@pytest.mark.parametrize('scale', [0.0, 0.5])
def test_gradients_are_those_of_the_float64_reference(scale):
  assets = support.random_head()
  params = random_params((), scale=scale)
  weights = np.random.default_rng(5).normal(size=(40, 3))

  def loss(params):
    vertices = flame_apply(assets, params).vertices
    return jnp.sum(vertices * weights)

  gradient = jax.grad(loss)(params)
  step = 1e-5
  for name in SIZES:
    value = np.asarray(getattr(params, name), np.float64)
    numeric = np.zeros_like(value)
    for index in range(value.size):
      sides = []
      for sign in (1, -1):
        moved = value.copy()
        moved[index] += sign * step
        other = dataclasses.replace(params, **{name: moved})
        sides.append(np.sum(reference(assets, other)[0] * weights))
      numeric[index] = (sides[0] - sides[1]) / (2 * step)
    np.testing.assert_allclose(
      getattr(gradient, name), numeric, atol=2e-5, err_msg=name
    )


# Devices.


def test_pmap_and_shard_map_give_the_same_value_and_gradient():
  assets = support.random_head()
  names = ('expression', 'global_pose', 'jaw_pose')
  params = random_params((16,), names)

  def mean_loss(scale, assets, params):
    moved = dataclasses.replace(params, expression=scale * params.expression)
    output = flame_apply(assets, moved)
    return jnp.mean(output.vertices**2) + jnp.mean(output.landmarks**2)

  scale = jnp.float32(1.3)
  expected = jax.value_and_grad(mean_loss)(scale, assets, params)

  def averaged(scale, assets, params):
    return jax.lax.pmean(mean_loss(scale, assets, params), 'data')

  mesh = jax.make_mesh((8,), ('data',), axis_types=(AxisType.Auto,))
  sharded = jax.shard_map(
    averaged,
    mesh=mesh,
    in_specs=(PartitionSpec(), PartitionSpec(), PartitionSpec('data')),
    out_specs=PartitionSpec(),
  )
  found = jax.jit(jax.value_and_grad(sharded))(scale, assets, params)
  np.testing.assert_allclose(found, expected, rtol=1e-5)

  split = jax.tree.map(lambda a: a.reshape(8, 2, *a.shape[1:]), params)
  value, gradient = jax.pmap(
    lambda s, a, p: jax.lax.pmean(
      jax.value_and_grad(mean_loss)(s, a, p), 'data'
    ),
    axis_name='data',
    in_axes=(None, None, 0),
  )(scale, assets, split)
  np.testing.assert_allclose(value, np.full(8, expected[0]), rtol=1e-5)
  np.testing.assert_allclose(gradient, np.full(8, expected[1]), rtol=1e-5)


@pytest.mark.parametrize('kind', [AxisType.Auto, AxisType.Explicit])
def test_sharded_codes_under_jit(kind):
  assets = support.random_head()
  params = random_params((16,))
  expected = flame_apply(assets, params)
  mesh = jax.make_mesh((8,), ('data',), axis_types=(kind,))
  data = jax.NamedSharding(mesh, PartitionSpec('data'))
  whole = jax.NamedSharding(mesh, PartitionSpec())
  with jax.set_mesh(mesh):
    found = jax.jit(flame_apply)(
      jax.device_put(assets, whole), jax.device_put(params, data)
    )
  jax.tree.map(
    lambda a, b: np.testing.assert_allclose(a, b, atol=1e-6), expected, found
  )


# The published implementation's numbers.


def test_golden_model(shared_dir):
  with np.load(shared_dir / 'golden' / 'flame_a.npz') as golden:
    golden = dict(golden)
  assets = support.assets_from_golden(golden)
  params = FlameParams(
    shape=golden['shape'],
    expression=golden['exp'],
    global_pose=golden['pose'][:, :3],
    jaw_pose=golden['pose'][:, 3:],
  )
  output = flame_apply(assets, params)
  np.testing.assert_allclose(output.vertices, golden['vertices'], atol=1e-6)
  np.testing.assert_allclose(output.landmarks, golden['landmarks2d'], atol=1e-6)
  static = flame_apply(assets, params, landmarks='static')
  np.testing.assert_allclose(static.landmarks, golden['landmarks3d'], atol=1e-6)
  with_eyes = dataclasses.replace(params, eye_pose=golden['eye_pose'])
  np.testing.assert_allclose(
    flame_apply(assets, with_eyes).vertices,
    golden['vertices_with_eye_pose'],
    atol=1e-6,
  )
