"""Rotations: exact turns, orthogonality, gradients at zero."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from flame_jax import rotations


@pytest.mark.parametrize(
  ('axis_angle', 'expected'),
  [
    ([np.pi / 2, 0, 0], [[1, 0, 0], [0, 0, -1], [0, 1, 0]]),
    ([0, np.pi / 2, 0], [[0, 0, 1], [0, 1, 0], [-1, 0, 0]]),
    ([0, 0, np.pi / 2], [[0, -1, 0], [1, 0, 0], [0, 0, 1]]),
    ([0, np.pi, 0], [[-1, 0, 0], [0, 1, 0], [0, 0, -1]]),
  ],
)
def test_quarter_and_half_turns(axis_angle, expected):
  matrix = rotations.axis_angle_to_matrix(jnp.array(axis_angle))
  np.testing.assert_allclose(matrix, expected, atol=1e-6)


def test_zero_is_exact():
  assert not np.asarray(rotations.rotation_offset(jnp.zeros((2, 3)))).any()
  matrix = rotations.axis_angle_to_matrix(jnp.zeros(3))
  np.testing.assert_array_equal(matrix, np.eye(3))


@pytest.mark.parametrize('scale', [1e-8, 1e-4, 0.03, 0.0317, 1.0, 3.0, 6.0])
def test_agrees_with_scipy_at_every_size(scale):
  axes = np.random.default_rng(0).normal(size=(20, 3))
  axes /= np.linalg.norm(axes, axis=-1, keepdims=True)
  vectors = (scale * axes).astype(np.float32)
  expected = Rotation.from_rotvec(vectors.astype(np.float64)).as_matrix()
  matrix = rotations.axis_angle_to_matrix(vectors)
  np.testing.assert_allclose(matrix, expected, atol=1e-6)
  # The offset keeps its digits where 1 - cos(x) would lose them.
  offset = np.asarray(rotations.rotation_offset(vectors), np.float64)
  np.testing.assert_allclose(
    offset, expected - np.eye(3), atol=1e-6 * min(scale, 1) + 1e-16
  )


def test_any_batch_shape():
  vectors = np.random.default_rng(0).normal(size=(2, 1, 4, 3))
  matrices = rotations.axis_angle_to_matrix(jnp.asarray(vectors))
  assert matrices.shape == (2, 1, 4, 3, 3)
  single = rotations.axis_angle_to_matrix(jnp.asarray(vectors[1, 0, 2]))
  np.testing.assert_allclose(matrices[1, 0, 2], single, atol=1e-6)


def test_derivatives_at_zero_are_those_of_the_cross_product():
  jacobian = jax.jacobian(rotations.axis_angle_to_matrix)(jnp.zeros(3))
  levi_civita = np.zeros((3, 3, 3))
  for a, b, c in [(0, 1, 2), (1, 2, 0), (2, 0, 1)]:
    levi_civita[a, b, c], levi_civita[a, c, b] = 1, -1
  np.testing.assert_array_equal(jacobian, -levi_civita)
  hessian = jax.hessian(rotations.axis_angle_to_matrix)(jnp.zeros(3))
  # d2 R_ij / dr_a dr_b = (delta_ia delta_jb + delta_ib delta_ja) / 2 - ...
  eye = np.eye(3)
  expected = 0.5 * (
    np.einsum('ia,jb->ijab', eye, eye) + np.einsum('ib,ja->ijab', eye, eye)
  ) - np.einsum('ij,ab->ijab', eye, eye)
  np.testing.assert_allclose(hessian, expected, atol=1e-6)


@pytest.mark.parametrize('scale', [0.0316, 0.0317])
def test_derivative_has_no_step_between_series_and_formula(scale):
  direction = jnp.array([0.6, 0.0, 0.8])
  jacobian = jax.jacobian(rotations.axis_angle_to_matrix)(scale * direction)
  middle = jax.jacobian(rotations.axis_angle_to_matrix)(0.03165 * direction)
  np.testing.assert_allclose(jacobian, middle, atol=1e-4)


@pytest.mark.parametrize('degrees', [-80, -39.4, -1, 0, 0.6, 45, 89])
def test_yaw_of_a_turn_with_nod_and_tilt(degrees):
  # Upper case is Rz @ Ry @ Rx.
  turn = Rotation.from_euler('ZYX', [20, degrees, -30], degrees=True)
  yaw = rotations.yaw_degrees(jnp.asarray(turn.as_matrix(), jnp.float32))
  np.testing.assert_allclose(yaw, degrees, atol=1e-4)


def test_wrong_size_is_refused():
  with pytest.raises(ValueError, match=r'wanted \[..., 3\]'):
    rotations.rotation_offset(jnp.zeros((2, 4)))
