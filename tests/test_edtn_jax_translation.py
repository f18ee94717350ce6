"""The translator network, the pose adapter and its fit."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from data.pose_vector import COEFFICIENT_NAMES, make_pose_vector
from edtn_jax.convert.expression_translator import (
  convert_expression_translator,
)
from edtn_jax.translation import (
  ExpressionTranslator,
  PoseAdapterError,
  fit_pose_adapter,
  load_pose_adapter,
)
from edtn_jax.translation.pose_adapter import (
  fit_expressions,
  landmark_basis,
  target_displacements,
)
from flame_jax.procedural import procedural_head
from tests.support import random_head


def test_translator_has_the_papers_size():
  shapes = jax.eval_shape(
    ExpressionTranslator().init,
    jax.random.key(0),
    jnp.zeros((1, 50)),
    jnp.zeros((1, 3)),
  )
  assert sum(x.size for x in jax.tree.leaves(shapes)) == 561_681


def test_translator_by_hand():
  # One hidden unit that sees the first expression number and the jaw's x.
  model = ExpressionTranslator(hidden_sizes=(1,), num_coefficients=1)
  kernel = np.zeros((53, 1), np.float32)
  kernel[0], kernel[50] = 1.0, 2.0
  params = {
    'layer_0': {'kernel': kernel, 'bias': np.array([-1.0], np.float32)},
    'layer_1': {
      'kernel': np.array([[3.0]], np.float32),
      'bias': np.array([0.5], np.float32),
    },
  }
  expression = np.zeros((2, 50), np.float32)
  jaw_pose = np.zeros((2, 3), np.float32)
  expression[0, 0], jaw_pose[0, 0] = 2.0, 0.5
  out = model.apply({'params': params}, expression, jaw_pose)
  # Row 0: 2 + 1 - 1 = 2 passes; row 1: -1 leaks to -0.2.
  wanted = 1 / (1 + np.exp([[-(3 * 2 + 0.5)], [-(3 * -0.2 + 0.5)]]))
  np.testing.assert_allclose(out, wanted, rtol=1e-6)


def test_translator_refuses_other_widths():
  with pytest.raises(ValueError, match=r'\[..., 50\]'):
    ExpressionTranslator().init(
      jax.random.key(0), jnp.zeros((1, 53)), jnp.zeros((1, 3))
    )


def test_golden_outputs_of_the_released_network(shared_dir):
  golden = np.load(shared_dir / 'golden' / 'edtn_outputs.npz')
  params = convert_expression_translator(shared_dir / 'real' / 'EDTN.pt')
  from data.deca import read_clip

  clip, skipped = read_clip(shared_dir / 'real' / 'deca')
  assert not skipped
  assert clip.frames == tuple(golden['frames'].tolist()) or len(
    clip.frames
  ) == len(golden['frames'])
  out = ExpressionTranslator().apply(
    {'params': params}, clip.expression, clip.jaw_pose
  )
  np.testing.assert_allclose(out, golden['pose_coefficients'], atol=1e-5)
  poses = make_pose_vector(np.asarray(out), clip.global_pose)
  np.testing.assert_allclose(poses, golden['pose_vector'], atol=1e-4)


def test_load_released_adapter(shared_dir):
  path = shared_dir / 'real' / 'transform_matrix_08_30.npy'
  matrix = load_pose_adapter(path)
  assert matrix.shape == (17, 50)
  assert matrix.dtype == np.float32
  np.testing.assert_array_equal(matrix, np.load(path).astype(np.float32))


@pytest.mark.parametrize(
  ('array', 'words'),
  [
    (np.zeros((16, 50)), r'shape is \(16, 50\)'),
    (np.zeros((17, 40)), r'shape is \(17, 40\), wanted \(17, 50\)'),
    (np.array(np.nan), r'shape is \(\)'),
    (np.full((17, 50), np.nan), 'NaN'),
    (np.eye(17, 50, -1), r'rows \[0\] are zero'),
    (np.array([{'a': 1}], dtype=object), 'no plain'),
    (np.zeros((17, 50), 'S3'), 'not a numeric'),
  ],
)
def test_bad_adapters_say_why(tmp_path, array, words):
  path = tmp_path / 'adapter.npy'
  np.save(path, array, allow_pickle=True)
  with pytest.raises(PoseAdapterError, match=words):
    load_pose_adapter(path)


def test_absent_adapter_says_what_to_give(tmp_path):
  with pytest.raises(PoseAdapterError, match='fit'):
    load_pose_adapter(tmp_path / 'none.npy')


def test_fit_reproduces_the_landmarks_of_a_known_adapter():
  neutral, basis = landmark_basis(random_head(60), 50)
  del neutral
  known = np.random.default_rng(0).standard_normal((17, 50))
  wanted = np.einsum('lxe,ke->klx', basis, known)
  fitted = fit_expressions(basis, wanted, penalty=0.0)
  found = np.einsum('lxe,ke->klx', basis, fitted)
  np.testing.assert_allclose(found, wanted, atol=1e-6 * np.abs(wanted).max())


def test_fit_is_the_minimum_and_the_penalty_shortens_it():
  _, basis = landmark_basis(random_head(60), 50)
  wanted = 0.01 * np.random.default_rng(0).standard_normal((1, 68, 3))
  penalty = 0.1
  psi = fit_expressions(basis, wanted, penalty)[0]
  ridge = penalty * np.square(basis).sum() / 50

  def cost(x):
    residual = jnp.einsum('lxe,e->lx', basis, x) - wanted[0]
    return jnp.square(residual).sum() + ridge * jnp.square(x).sum()

  gradient = jax.grad(cost)(jnp.asarray(psi, jnp.float32))
  scale = np.abs(jax.grad(cost)(jnp.zeros(50))).max()
  np.testing.assert_allclose(gradient, 0, atol=1e-4 * scale)
  looser = fit_expressions(basis, wanted, 0.001)[0]
  assert np.linalg.norm(psi) < np.linalg.norm(looser)


def test_model_with_too_few_expressions_is_refused():
  with pytest.raises(PoseAdapterError, match='50 expression components'):
    fit_pose_adapter(random_head(), num_expression=60)


@pytest.fixture(scope='module')
def fitted():
  """Procedural head, its adapter and the landmarks of every meaning."""
  head = procedural_head()
  adapter = fit_pose_adapter(head)
  neutral, basis = landmark_basis(head, 50)
  moved = neutral + np.einsum('lxe,ke->klx', basis, adapter)
  return neutral, dict(zip(COEFFICIENT_NAMES, moved, strict=True))


def _lid_opening(points, side):
  pairs = {'right': ((37, 41), (38, 40)), 'left': ((43, 47), (44, 46))}[side]
  return np.mean([points[u, 1] - points[d, 1] for u, d in pairs])


@pytest.mark.parametrize('side', ['left', 'right'])
@pytest.mark.parametrize('stem', ['eye_wink', 'eye_happy_wink'])
def test_winks_close_their_own_eye_only(fitted, stem, side):
  neutral, moved = fitted
  points = moved[f'{stem}_{side}']
  other = {'left': 'right', 'right': 'left'}[side]
  assert _lid_opening(points, side) < 0.2 * _lid_opening(neutral, side)
  assert _lid_opening(points, other) == pytest.approx(
    _lid_opening(neutral, other), rel=0.15
  )


@pytest.mark.parametrize('side', ['left', 'right'])
def test_surprise_opens_its_own_eye(fitted, side):
  neutral, moved = fitted
  opening = _lid_opening(moved[f'eye_surprised_{side}'], side)
  assert opening > 1.3 * _lid_opening(neutral, side)


@pytest.mark.parametrize('side', ['left', 'right'])
def test_brows_move_as_named(fitted, side):
  neutral, moved = fitted
  brow = {'right': [17, 18, 19, 20, 21], 'left': [26, 25, 24, 23, 22]}[side]

  def rise(name):
    return (moved[f'{name}_{side}'] - neutral)[brow, 1]

  assert rise('eyebrow_raised').mean() > 0.004
  assert rise('eyebrow_lowered')[-1] < -0.004
  assert rise('eyebrow_troubled')[-1] > 0.004
  assert rise('eyebrow_troubled')[0] < rise('eyebrow_troubled')[-1]


def test_mouth_shapes_differ_as_animators_draw_them(fitted):
  neutral, moved = fitted

  def opening(points):
    return points[62, 1] - points[66, 1]

  def width(points):
    return points[54, 0] - points[48, 0]

  opened = {n: opening(moved[f'mouth_{n}']) for n in 'aeiou'}
  wide = {n: width(moved[f'mouth_{n}']) for n in 'aeiou'}
  assert opened['a'] > opened['o'] > opened['u']
  assert opened['a'] > opened['e'] > opened['i']
  assert wide['i'] > width(neutral) > wide['o'] > wide['u']


def test_left_and_right_are_mirror_images():
  neutral, _ = landmark_basis(procedural_head(), 50)
  moved = dict(
    zip(COEFFICIENT_NAMES, target_displacements(neutral), strict=True)
  )
  left = moved['eyebrow_troubled_left'][22:27]
  right = moved['eyebrow_troubled_right'][17:22]
  np.testing.assert_allclose(left[::-1, 1], right[:, 1], rtol=1e-9)
