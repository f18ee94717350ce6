"""The orthographic camera."""

import jax.numpy as jnp
import numpy as np
import pytest

from flame_jax import orthographic_project


def test_scale_shift_and_downward_y():
  points = jnp.array([[1.0, 2.0, 9.0], [-1.0, 0.5, -9.0]])
  projected = orthographic_project(points, jnp.array([10.0, 0.25, -0.5]))
  np.testing.assert_allclose(projected, [[12.5, -15.0], [-7.5, 0.0]])


def test_depth_does_not_matter():
  points = np.random.default_rng(0).normal(size=(5, 3))
  camera = jnp.array([3.0, 0.1, 0.2])
  moved = points + np.array([0, 0, 7.0])
  np.testing.assert_array_equal(
    orthographic_project(points, camera), orthographic_project(moved, camera)
  )


def test_edtn_landmark_projection():
  points = np.random.default_rng(0).normal(size=(2, 68, 3)).astype(np.float32)
  projected = orthographic_project(points, jnp.array([10.0, 0.0, 0.0]))
  expected = 10 * points[..., :2] * np.array([1, -1], np.float32)
  np.testing.assert_allclose(projected, expected, rtol=1e-6)


def test_cameras_and_points_broadcast():
  points = np.random.default_rng(0).normal(size=(4, 5, 3))
  cameras = np.random.default_rng(1).normal(size=(3, 1, 3))
  projected = orthographic_project(points, cameras)
  assert projected.shape == (3, 4, 5, 2)
  one = orthographic_project(points[2], cameras[1, 0])
  np.testing.assert_allclose(projected[1, 2], one, rtol=1e-6)


@pytest.mark.parametrize(
  ('points', 'camera', 'message'),
  [((5, 2), (3,), 'points'), ((3,), (3,), 'points'), ((5, 3), (2,), 'camera')],
)
def test_wrong_shapes_are_refused(points, camera, message):
  with pytest.raises(ValueError, match=message):
    orthographic_project(jnp.zeros(points), jnp.zeros(camera))
