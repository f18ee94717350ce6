"""EDTN's loss terms: by hand, against the reference, and in both forms."""

import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import PartitionSpec

from edtn_jax import devices
from edtn_jax.convert.expression_translator import (
  convert_expression_translator,
)
from edtn_jax.losses import (
  Geometry,
  LossWeights,
  loss_terms,
  make_projected_mesh,
  mesh_geometry,
  projected_geometry,
  projected_targets,
  total_loss,
)
from edtn_jax.losses.terms import READINGS, safe_norm
from edtn_jax.translation import ExpressionTranslator
from tests.support import assets_from_golden, random_head

NUM_VERTICES = 40


@pytest.fixture(scope='module')
def head():
  return random_head(NUM_VERTICES)


@pytest.fixture(scope='module')
def pose_adapter():
  rng = np.random.default_rng(1)
  return rng.standard_normal((17, 50)).astype(np.float32)


@pytest.fixture(scope='module')
def codes():
  rng = np.random.default_rng(2)
  return {
    'expression': rng.standard_normal((8, 50)).astype(np.float32),
    'jaw_pose': (0.3 * rng.standard_normal((8, 3))).astype(np.float32),
    'pose_coeffs': rng.random((8, 17)).astype(np.float32),
  }


def _geometry(target, predicted, vertex_error=0.0):
  return Geometry(
    vertex_error=jnp.float32(vertex_error),
    target_landmarks=jnp.asarray(target, jnp.float32),
    predicted_landmarks=jnp.asarray(predicted, jnp.float32),
    num_vertices=NUM_VERTICES,
  )


def test_equal_heads_cost_nothing():
  points = np.random.default_rng(0).standard_normal((68, 3))
  for reading in READINGS:
    terms = loss_terms(_geometry(points, points), reading)
    assert {k: float(v) for k, v in terms.items()} == dict.fromkeys(
      ('vertex', 'landmark', 'eye', 'mouth'), 0.0
    )


def test_one_raised_lid_by_hand():
  # Upper lid point 37 of the predicted head is 0.01 m higher, 0.02 m forward.
  target = np.zeros((68, 3))
  target[[37, 38, 43, 44], 1] = 0.01
  predicted = target.copy()
  predicted[37] += (0, 0.01, 0.02)
  paper = loss_terms(_geometry(target, predicted), 'paper')
  assert paper['landmark'] == pytest.approx(0.03)
  assert paper['eye'] == pytest.approx(0.03)
  assert paper['mouth'] == 0
  code = loss_terms(_geometry(target, predicted), 'code')
  # 2D view times ten: 0.1 apart; one of four lid pairs; weight 5 of
  # 36 * 1 + 32 * 5 = 196 weights and two coordinates.
  assert code['eye'] == pytest.approx(0.1 / 4)
  assert code['landmark'] == pytest.approx(5 * 0.1 / (2 * 196))
  assert code['mouth'] == 0


def test_lower_lip_counts_in_the_mouth_term_only():
  target = np.zeros((68, 3))
  predicted = target.copy()
  predicted[57, 1] = -0.02
  paper = loss_terms(_geometry(target, predicted), 'paper')
  assert paper['mouth'] == pytest.approx(0.02)
  assert paper['eye'] == 0
  code = loss_terms(_geometry(target, predicted), 'code')
  assert code['mouth'] == pytest.approx(0.2 / 3)


def test_vertex_term_is_a_mean_over_vertices_or_numbers():
  points = np.zeros((68, 3))
  geometry = _geometry(points, points, vertex_error=6.0)
  paper = loss_terms(geometry, 'paper')['vertex']
  assert paper == pytest.approx(6 / NUM_VERTICES)
  assert loss_terms(geometry, 'code')['vertex'] == pytest.approx(paper / 3)


def test_unknown_reading_is_named():
  points = np.zeros((68, 3))
  with pytest.raises(ValueError, match='magic'):
    loss_terms(_geometry(points, points), 'magic')


def test_total_follows_the_weights_and_leaves_zero_terms_out():
  terms = {
    'vertex': jnp.float32(0.01),
    'landmark': jnp.float32(2),
    'eye': jnp.float32(3),
    'mouth': jnp.float32(np.nan),
  }
  weights = LossWeights(vertex=100, landmark=1, eye=0.5, mouth=0)
  assert total_loss(terms, weights) == pytest.approx(1 + 2 + 1.5)
  with pytest.raises(ValueError, match='every loss weight'):
    total_loss(terms, LossWeights(0, 0, 0, 0))


def test_norm_has_a_finite_gradient_at_zero():
  gradient = jax.grad(lambda x: safe_norm(x))(jnp.zeros(3))
  np.testing.assert_array_equal(gradient, 0)
  gradient = jax.grad(lambda x: safe_norm(x))(jnp.array([3.0, 4.0]))
  np.testing.assert_allclose(gradient, [0.6, 0.8], rtol=1e-6)


@pytest.mark.parametrize('reading', READINGS)
def test_projected_form_equals_the_mesh(head, pose_adapter, codes, reading):
  projection = make_projected_mesh(head, pose_adapter)
  targets = projected_targets(
    projection, codes['expression'], codes['jaw_pose']
  )

  def by_mesh(pose_coeffs):
    geometry = mesh_geometry(
      head, pose_adapter, codes['expression'], codes['jaw_pose'], pose_coeffs
    )
    return _sum(geometry, reading)

  def by_projection(pose_coeffs):
    geometry = projected_geometry(projection, targets, pose_coeffs)
    return _sum(geometry, reading)

  (mesh, mesh_terms), mesh_gradient = jax.value_and_grad(by_mesh, has_aux=True)(
    codes['pose_coeffs']
  )
  (flat, flat_terms), flat_gradient = jax.value_and_grad(
    by_projection, has_aux=True
  )(codes['pose_coeffs'])
  assert flat == pytest.approx(float(mesh), rel=2e-6)
  for name, value in mesh_terms.items():
    np.testing.assert_allclose(flat_terms[name], value, rtol=1e-5, err_msg=name)
  scale = np.abs(mesh_gradient).max()
  np.testing.assert_allclose(
    flat_gradient, mesh_gradient, rtol=1e-4, atol=2e-6 * scale
  )


def _sum(geometry, reading):
  terms = loss_terms(geometry, reading)
  return total_loss(terms, LossWeights()).sum(), terms


def test_projection_of_a_perfect_prediction_is_zero(head, pose_adapter):
  # The human expression is the adapter's own, the jaw is closed.
  pose_coeffs = np.random.default_rng(3).random((4, 17)).astype(np.float32)
  projection = make_projected_mesh(head, pose_adapter)
  targets = projected_targets(
    projection, pose_coeffs @ pose_adapter, np.zeros((4, 3), np.float32)
  )
  geometry = projected_geometry(projection, targets, pose_coeffs)
  scale = np.square(targets.vertex_projection).sum(-1)
  np.testing.assert_array_less(geometry.vertex_error, 1e-9 * scale)


def test_golden_losses_and_gradients(shared_dir):
  golden = np.load(shared_dir / 'golden' / 'edtn_losses.npz')
  adapter = np.load(shared_dir / 'real' / 'transform_matrix_08_30.npy')
  params = convert_expression_translator(shared_dir / 'real' / 'EDTN.pt')
  model = ExpressionTranslator()
  head, adapter = assets_from_golden(golden), adapter.astype(np.float32)
  expression, jaw_pose = golden['exp'], golden['pose'][:, 3:]
  projection = make_projected_mesh(head, adapter)

  def loss_of(params, form):
    pose_coeffs = model.apply({'params': params}, expression, jaw_pose)
    if form == 'mesh':
      geometry = mesh_geometry(head, adapter, expression, jaw_pose, pose_coeffs)
    else:
      geometry = projected_geometry(
        projection,
        projected_targets(projection, expression, jaw_pose),
        pose_coeffs,
      )
    terms = jax.tree.map(jnp.mean, loss_terms(geometry, 'code'))
    return total_loss(terms, LossWeights()), terms

  norms = json.loads(str(golden['grad_norms']))
  for form in ('mesh', 'projected'):
    (total, terms), gradient = jax.value_and_grad(loss_of, has_aux=True)(
      params, form
    )
    assert total == pytest.approx(float(golden['total']), rel=1e-5)
    for name, value in terms.items():
      assert value == pytest.approx(float(golden[name]), rel=1e-5), name
    for number, layer in zip((0, 2, 4, 6), range(4), strict=True):
      for ours, theirs in (('kernel', 'weight'), ('bias', 'bias')):
        norm = np.linalg.norm(gradient[f'layer_{layer}'][ours])
        wanted = norms[f'{number}.{theirs}']
        assert norm == pytest.approx(wanted, rel=1e-4), (form, layer, ours)


@pytest.fixture(scope='module')
def single_device_loss(head, pose_adapter, codes):
  """Vertex loss and gradient by the coefficients, on one device."""

  def loss_of(pose_coeffs, expression, jaw_pose):
    geometry = mesh_geometry(
      head, pose_adapter, expression, jaw_pose, pose_coeffs
    )
    return loss_terms(geometry, 'paper')['vertex'].mean()

  arguments = codes['pose_coeffs'], codes['expression'], codes['jaw_pose']
  return loss_of, arguments, jax.jit(jax.value_and_grad(loss_of))(*arguments)


def test_vertex_loss_sharded_by_jit(single_device_loss):
  loss_of, arguments, (value, gradient) = single_device_loss
  sharding = devices.batch_sharded(devices.data_mesh(8))
  sharded = [jax.device_put(x, sharding) for x in arguments]
  other, other_gradient = jax.jit(jax.value_and_grad(loss_of))(*sharded)
  assert len(other_gradient.sharding.device_set) == 8
  assert other == pytest.approx(float(value), rel=1e-6)
  np.testing.assert_allclose(other_gradient, gradient, rtol=1e-5, atol=1e-9)


def test_vertex_loss_under_pmap(single_device_loss):
  loss_of, arguments, (value, gradient) = single_device_loss
  split = [x.reshape(8, 1, -1) for x in arguments]
  values, gradients = jax.pmap(jax.value_and_grad(loss_of))(*split)
  assert values.mean() == pytest.approx(float(value), rel=1e-6)
  # Each device averages over its own row; the batch averages over eight.
  np.testing.assert_allclose(
    gradients.reshape(8, 17) / 8, gradient, rtol=1e-5, atol=1e-9
  )


def test_vertex_loss_under_shard_map(single_device_loss):
  loss_of, arguments, (value, gradient) = single_device_loss
  rows = PartitionSpec('data')

  def global_loss(*parts):
    return jax.lax.pmean(loss_of(*parts), 'data')

  sharded = jax.shard_map(
    global_loss,
    mesh=devices.data_mesh(8),
    in_specs=(rows, rows, rows),
    out_specs=PartitionSpec(),
  )
  other, other_gradient = jax.jit(jax.value_and_grad(sharded))(*arguments)
  assert other == pytest.approx(float(value), rel=1e-6)
  np.testing.assert_allclose(other_gradient, gradient, rtol=1e-5, atol=1e-9)
