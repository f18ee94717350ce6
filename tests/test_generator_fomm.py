"""The first-order motion model: by hand and against the reference."""

import dataclasses
import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from edtn_jax.convert.fomm import convert_fomm
from generator.fomm import FULL, TINY, FirstOrderMotion, Keypoints
from generator.fomm.blocks import (
  BatchNorm,
  Hourglass,
  band_limit_kernel,
  band_limited_downsample,
)
from generator.fomm.keypoints import (
  KeypointDetector,
  gaussian_heatmaps,
  soft_argmax,
  spatial_softmax,
  weighted_jacobians,
)
from generator.fomm.motion import deform, sparse_motions
from generator.ops.warp import identity_grid
from tests.golden_weights import channels_last, draw_fomm

IDENTITY = np.broadcast_to(np.eye(2, dtype=np.float32), (1, 1, 2, 2))


def one_keypoint(x, y, jacobian=IDENTITY):
  values = jnp.array([[[x, y]]], jnp.float32)
  return Keypoints(values, jnp.asarray(jacobian, jnp.float32))


def test_band_limiting_kernel_by_hand():
  kernel = band_limit_kernel(4)
  # sigma = 1.5: 13 x 13, as `down.weight` of released weights.
  assert kernel.shape == (13, 13)
  assert kernel.sum() == pytest.approx(1, rel=1e-6)
  np.testing.assert_array_equal(kernel, kernel.T)
  np.testing.assert_array_equal(kernel, kernel[::-1])
  assert kernel[6, 7] / kernel[6, 6] == pytest.approx(np.exp(-0.5 / 1.5**2))
  np.testing.assert_array_equal(band_limit_kernel(1), [[1]])


def test_downsampling_blurs_and_takes_every_fourth_pixel():
  image = np.zeros((1, 32, 32, 2), np.float32)
  image[0, 8, 12, 0] = 1
  image[..., 1] = 0.5
  small = band_limited_downsample(jnp.asarray(image), 4)
  assert small.shape == (1, 8, 8, 2)
  kernel = band_limit_kernel(4)
  assert small[0, 2, 3, 0] == pytest.approx(kernel[6, 6], rel=1e-5)
  assert small[0, 2, 4, 0] == pytest.approx(kernel[6, 10], rel=1e-5)
  np.testing.assert_allclose(small[0, 2:-2, 2:-2, 1], 0.5, rtol=1e-5)


def test_keypoints_of_single_peaks():
  scores = np.zeros((1, 4, 6, 2), np.float32)
  scores[0, 0, 0, 0] = 50
  scores[0, 1, 4, 1] = 50
  heatmaps = spatial_softmax(jnp.asarray(scores), 0.1)
  np.testing.assert_allclose(heatmaps.sum((1, 2)), 1, rtol=1e-6)
  # The heatmap is the middle of a map of 10 x 12 pixels: margins of 3.
  np.testing.assert_allclose(
    soft_argmax(heatmaps, (10, 12))[0],
    [
      [2 * 3.5 / 12 - 1, 2 * 3.5 / 10 - 1],
      [2 * 7.5 / 12 - 1, 2 * 4.5 / 10 - 1],
    ],
    atol=1e-6,
  )
  # COMPAT: stretched, and corners are the centres of pixels.
  np.testing.assert_allclose(
    soft_argmax(heatmaps, (10, 12), compat=True)[0],
    [[-1, -1], [2 * 4 / 5 - 1, 2 * 1 / 3 - 1]],
    atol=1e-6,
  )
  jacobians = np.zeros((1, 4, 6, 8), np.float32)
  jacobians[0, 0, 0, :4] = (1, 2, 3, 4)
  jacobians[0, 1, 4, 4:] = (5, 6, 7, 8)
  np.testing.assert_allclose(
    weighted_jacobians(heatmaps, jnp.asarray(jacobians))[0],
    [[[1, 2], [3, 4]], [[5, 6], [7, 8]]],
    rtol=1e-6,
  )


def test_heatmap_pictures_by_hand():
  grid = identity_grid(5, 5, align_corners=True)
  picture = gaussian_heatmaps(jnp.zeros((1, 1, 2)), grid, 0.01)[0, 0]
  assert picture[2, 2] == 1
  assert picture[2, 3] == pytest.approx(np.exp(-0.5 * 0.25 / 0.01), rel=1e-4)


def test_identity_jacobians_only_translate():
  grid = identity_grid(3, 4, align_corners=False)
  motions = sparse_motions(
    one_keypoint(0.25, -0.5), one_keypoint(0.5, 0.0), grid
  )
  np.testing.assert_array_equal(motions[0, 0], grid)
  np.testing.assert_allclose(
    motions[0, 1], grid - np.array([0.25, 0.5]), atol=1e-6
  )


def test_jacobians_turn_and_stretch_about_the_keypoint():
  source = one_keypoint(0.1, 0.2, np.array([[[[0, -2], [2, 0]]]]))
  driving = one_keypoint(-0.3, 0.4, np.array([[[[0.5, 0], [0, 1]]]]))
  point = np.array([[[-0.3 + 0.1, 0.4 + 0.01]]], np.float32)
  moved = sparse_motions(source, driving, point)[0, 1, 0, 0]
  # Step (0.1, 0.01) is (0.2, 0.01) in the reference, (-0.02, 0.4) in source.
  np.testing.assert_allclose(moved, [0.1 - 0.02, 0.2 + 0.4], rtol=1e-5)


def test_equal_keypoints_do_not_move():
  jacobian = np.array([[[[0.3, -2], [1.5, 0.2]]]])
  keypoints = one_keypoint(0.3, -0.7, jacobian)
  grid = identity_grid(4, 4, align_corners=False)
  motions = sparse_motions(keypoints, keypoints, grid)
  np.testing.assert_allclose(motions[0, 1], grid, atol=1e-6)


def test_no_motion_is_the_identity():
  image = np.random.default_rng(0).random((1, 16, 16, 3)).astype(np.float32)
  still = identity_grid(4, 4, align_corners=False)[None]
  np.testing.assert_allclose(deform(image, still), image, atol=2e-6)
  # COMPAT: corners are inside the image, resized positions flat at the border.
  still = identity_grid(4, 4, align_corners=True)[None]
  assert np.abs(deform(image, still, compat=True) - image).max() > 0.1


def test_one_pixel_to_the_right_and_black_outside():
  image = np.random.default_rng(0).random((1, 8, 8, 3)).astype(np.float32)
  deformation = identity_grid(2, 2, align_corners=False)[None] - (2 / 8, 0)
  moved = np.asarray(deform(image, jnp.asarray(deformation)))
  np.testing.assert_allclose(moved[:, :, 1:], image[:, :, :-1], atol=2e-6)
  np.testing.assert_allclose(moved[:, :, 0], 0, atol=2e-6)


def test_batch_norm_tracks_the_batch():
  x = jnp.array([1.0, 5.0]).reshape(2, 1, 1, 1)
  variables = {
    'params': {'scale': jnp.ones(1), 'bias': jnp.zeros(1)},
    'batch_stats': {'mean': jnp.zeros(1), 'var': jnp.ones(1)},
  }
  still = BatchNorm().apply(variables, x)
  np.testing.assert_allclose(still, x / np.sqrt(1 + 1e-5), rtol=1e-6)
  y, updated = BatchNorm(train=True).apply(
    variables, x, mutable=['batch_stats']
  )
  np.testing.assert_allclose(y.ravel(), [-1, 1], rtol=1e-4)
  np.testing.assert_allclose(updated['batch_stats']['mean'], [0.3], rtol=1e-6)
  # 0.9 * 1 + 0.1 * 4; the unbiased variance would be 8.
  np.testing.assert_allclose(updated['batch_stats']['var'], [1.3], rtol=1e-6)


def test_sizes_that_do_not_halve_are_named():
  with pytest.raises(ValueError, match='multiples of 8, got 16x12'):
    jax.eval_shape(
      Hourglass(8, 3, 32).init, jax.random.key(0), np.zeros((1, 16, 12, 3))
    )


def test_full_size_has_the_papers_shapes():
  image = jax.ShapeDtypeStruct((1, 256, 256, 3), np.float32)
  out, variables = jax.eval_shape(
    FirstOrderMotion(FULL).init_with_output, jax.random.key(0), image, image
  )
  assert out['image'].shape == (1, 256, 256, 3)
  assert out['mask'].shape == (1, 64, 64, 11)
  assert out['source_keypoints'].jacobians.shape == (1, 10, 2, 2)
  shapes = variables['params']['generator']
  assert shapes['bottleneck_5']['conv1']['kernel'].shape == (3, 3, 256, 256)
  deepest = shapes['dense_motion']['hourglass']['encoder_4']['conv']['kernel']
  assert deepest.shape == (3, 3, 1024, 1024)


@pytest.mark.slow
def test_new_keypoints_start_with_identity_jacobians():
  config = dataclasses.replace(TINY, keypoint_blocks=1)
  image = np.random.default_rng(0).random((1, 32, 32, 3)).astype(np.float32)
  keypoints, _ = KeypointDetector(config).init_with_output(
    jax.random.key(0), image
  )
  np.testing.assert_allclose(
    keypoints.jacobians, np.broadcast_to(np.eye(2), (1, 10, 2, 2)), atol=1e-6
  )
  assert np.abs(keypoints.values).max() < 1


@pytest.fixture(scope='module')
def golden(shared_dir):
  return np.load(shared_dir / 'golden' / 'fomm_small.npz')


@pytest.mark.slow
def test_fomm_golden(golden):
  config = dataclasses.replace(TINY, compat=True)
  variables = convert_fomm(draw_fomm(golden['keys']), config)
  source, driving = (channels_last(golden[x]) for x in ('source', 'driving'))
  out = FirstOrderMotion(config).apply(variables, source, driving)
  for name in ('source', 'driving'):
    found = out[f'{name}_keypoints']
    for part in ('value', 'jacobian'):
      np.testing.assert_allclose(
        getattr(found, f'{part}s'), golden[f'kp_{name}_{part}'], atol=1e-5
      )
  for ours, theirs, tolerance in (
    ('mask', 'mask', 1e-5),
    ('occlusion', 'occlusion_map', 1e-5),
    ('image', 'prediction', 1e-5),
    # Jacobians of random weights are nearly singular: positions are coarse.
    ('warped_image', 'deformed', 1e-3),
  ):
    np.testing.assert_allclose(
      out[ours], channels_last(golden[theirs]), atol=tolerance, err_msg=ours
    )
  # The clean form, with the same weights: a frame that drives itself.
  still = FirstOrderMotion(TINY).apply(variables, source, source)
  np.testing.assert_allclose(still['warped_image'], source, atol=1e-3)
  assert np.abs(still['flow']).max() < 1e-3


@pytest.mark.slow
def test_every_kernel_learns():
  config = dataclasses.replace(
    TINY,
    keypoint_blocks=1,
    motion_blocks=1,
    generator_blocks=1,
    bottleneck_blocks=1,
  )
  model = FirstOrderMotion(config, train=True)
  random = np.random.default_rng(0)
  images = random.random((2, 2, 32, 32, 3)).astype(np.float32)
  expected = jax.eval_shape(model.init, jax.random.key(0), *images)
  params = jax.tree.map(
    lambda x: (0.3 * random.standard_normal(x.shape)).astype(np.float32),
    expected['params'],
  )
  stats = jax.tree.map(lambda x: jnp.ones(x.shape), expected['batch_stats'])

  @jax.jit
  @functools.partial(jax.value_and_grad, has_aux=True)
  def step(params):
    variables = {'params': params, 'batch_stats': stats}
    out, updated = model.apply(variables, *images, mutable=['batch_stats'])
    return jnp.abs(out['image'] - images[1]).mean(), updated['batch_stats']

  (loss, updated), gradient = step(params)
  assert np.isfinite(loss)
  for path, leaf in jax.tree_util.tree_leaves_with_path(gradient):
    name = jax.tree_util.keystr(path)
    assert np.isfinite(leaf).all(), name
    if 'kernel' in name:
      assert np.abs(leaf).max() > 0, name
  assert all(
    jax.tree.leaves(jax.tree.map(lambda a, b: (a != b).any(), stats, updated))
  )
