"""Warps: exact tiny cases, both corner conventions, gradients."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from generator.ops import warp

# 4 wide, 2 high, one channel.
IMAGE = np.arange(8, dtype=np.float32).reshape(1, 2, 4, 1)


def sample(image, points, **kwargs):
  grid = np.asarray(points, np.float32)[None, None]
  return np.asarray(warp.grid_sample(image, grid, **kwargs))[0, 0, :, 0]


@pytest.mark.parametrize('align_corners', [True, False])
@pytest.mark.parametrize('padding', warp.PADDINGS)
@pytest.mark.parametrize('shape', [(2, 2), (2, 4), (4, 2)])
def test_identity_grid_gives_the_image(align_corners, padding, shape):
  image = np.random.default_rng(0).random((2, *shape, 3), np.float32)
  grid = warp.identity_grid(*shape, align_corners=align_corners)
  grid = np.stack([grid, grid])
  out = warp.grid_sample(
    image, grid, align_corners=align_corners, padding=padding
  )
  np.testing.assert_allclose(out, image, atol=1e-6)


def test_one_pixel_fills_the_plane():
  image = np.full((1, 1, 1, 1), 7, np.float32)
  points = [(0, 0), (-1, 1), (0.5, -3)]
  for align_corners in (True, False):
    values = sample(image, points, align_corners=align_corners)
    np.testing.assert_array_equal(values, [7, 7, 7])


def test_one_pixel_with_zeros_around():
  image = np.full((1, 1, 1, 1), 8, np.float32)
  # Unaligned: -1 is the pixel's edge, half a pixel from its centre.
  points = [(0, 0), (-1, 0), (-1, 1), (-2, 0), (-3, 0)]
  values = sample(image, points, align_corners=False, padding='zeros')
  np.testing.assert_array_equal(values, [8, 4, 2, 0, 0])
  # Aligned: one pixel has no extent, every position is its centre.
  values = sample(image, points, align_corners=True, padding='zeros')
  np.testing.assert_array_equal(values, [8, 8, 8, 8, 8])


def test_corner_conventions_by_hand():
  points = [(-1, -1), (1, 1), (0, 0), (-0.5, 0)]
  aligned = sample(IMAGE, points, align_corners=True)
  np.testing.assert_allclose(aligned, [0, 7, 3.5, 2.75])
  edges = sample(IMAGE, points, align_corners=False)
  np.testing.assert_allclose(edges, [0, 7, 3.5, 2.5])
  # The corner of four quarters, one of them inside.
  zeros = sample(IMAGE, points, align_corners=False, padding='zeros')
  np.testing.assert_allclose(zeros, [0, 7 / 4, 3.5, 2.5])


@pytest.mark.parametrize(
  ('padding', 'expected'),
  [
    ('border', [[1, 2, 3, 3], [5, 6, 7, 7]]),
    ('zeros', [[1, 2, 3, 0], [5, 6, 7, 0]]),
  ],
)
def test_shift_by_one_pixel(padding, expected):
  grid = np.stack(np.meshgrid(np.arange(4.0), np.arange(2.0)), -1)[None]
  out = warp.sample_pixels(IMAGE, grid + np.float32([1, 0]), padding=padding)
  np.testing.assert_array_equal(out[0, :, :, 0], expected)


def test_flow_is_backward_x_first():
  flow = np.broadcast_to(np.float32([1, 0]), (1, 2, 4, 2))
  out = warp.warp_by_flow(IMAGE, flow)
  np.testing.assert_array_equal(out[0, :, :, 0], [[1, 2, 3, 3], [5, 6, 7, 7]])
  flow = np.broadcast_to(np.float32([0, -1]), (1, 2, 4, 2))
  out = warp.warp_by_flow(IMAGE, flow)
  np.testing.assert_array_equal(out[0, :, :, 0], [[0, 1, 2, 3]] * 2)


@pytest.mark.parametrize('flow_shape', [(1, 1), (2, 4), (1, 2), (4, 4)])
def test_zero_flow_is_the_identity_at_any_resolution(flow_shape):
  flow = np.zeros((1, *flow_shape, 2), np.float32)
  np.testing.assert_array_equal(warp.warp_by_flow(IMAGE, flow), IMAGE)


def test_a_coarse_flow_is_in_its_own_pixels():
  # Half a pixel of a grid half as fine is one pixel of the image.
  flow = np.broadcast_to(np.float32([0.5, 0]), (1, 1, 2, 2))
  out = warp.warp_by_flow(IMAGE, flow)
  np.testing.assert_array_equal(out[0, :, :, 0], [[1, 2, 3, 3], [5, 6, 7, 7]])


def test_compat_zero_flow_is_not_the_identity():
  flow = np.zeros((1, 2, 4, 2), np.float32)
  out = warp.warp_by_flow(IMAGE, flow, compat=True)[0, :, :, 0]
  # Position -1 + 2 i / 3, read as ((g + 1) * 4 - 1) / 2: 4 i / 3 - 1/2,
  # clipped to [0, 3]; rows go to -1/2 and 3/2, clipped to 0 and 1.
  row = [0, 5 / 6, 13 / 6, 3]
  np.testing.assert_allclose(out, [row, np.add(row, 4)], atol=1e-6)


def test_compat_resizes_positions_without_aligned_corners():
  flow = np.zeros((1, 1, 2, 2), np.float32)
  out = warp.warp_by_flow(IMAGE, flow, compat=True)[0, :, :, 0]
  # Along x: [-1, 1] resized to 4 is [-1, -1/2, 1/2, 1]: pixels -1/2, 1/2,
  # 5/2, 7/2. Along y a single position, -1, is above the first row.
  np.testing.assert_allclose(out, [[0, 0.5, 2.5, 3]] * 2, atol=1e-6)


@pytest.mark.parametrize('align_corners', [True, False])
def test_flow_and_deformation_are_inverse(align_corners):
  flow = np.random.default_rng(0).normal(size=(2, 3, 5, 2)).astype(np.float32)
  there = warp.flow_to_deformation(flow, align_corners=align_corners)
  back = warp.deformation_to_flow(there, align_corners=align_corners)
  np.testing.assert_allclose(back, flow, atol=1e-6)
  # One pixel of five is a half of [-1, 1] when the centres are the ends.
  step = np.float32([0.5, 1]) if align_corners else np.float32([0.4, 2 / 3])
  grid = warp.identity_grid(3, 5, align_corners=align_corners)
  np.testing.assert_allclose(there - grid, flow * step, atol=1e-6)


@pytest.mark.parametrize('padding', warp.PADDINGS)
def test_gradients_match_finite_differences(padding):
  rng = np.random.default_rng(1)
  image = rng.normal(size=(2, 4, 3, 2))
  # Away from pixel centres, where the derivative jumps; some outside.
  position = rng.integers(-1, 5, (2, 3, 3, 2)) + rng.uniform(0.2, 0.8)
  weight = rng.normal(size=(2, 3, 3, 2)).astype(np.float32)

  def total(image, position):
    out = warp.sample_pixels(image, position, padding=padding)
    return (out * weight).sum()

  arguments = (jnp.float32(image), jnp.float32(position))
  for number, gradient in enumerate(jax.grad(total, (0, 1))(*arguments)):
    for index in list(np.ndindex(gradient.shape))[::3]:
      step = np.zeros(gradient.shape, np.float32)
      step[index] = 0.05  # linear on both sides: no truncation error
      ends = [list(arguments), list(arguments)]
      ends[0][number] += step
      ends[1][number] -= step
      numeric = (total(*ends[0]) - total(*ends[1])) / 0.1
      np.testing.assert_allclose(gradient[index], numeric, atol=2e-4)


def test_many_positions_on_one_pixel_add_their_gradients():
  position = np.zeros((1, 2, 3, 2), np.float32)
  gradient = jax.grad(lambda x: warp.sample_pixels(x, position).sum())(
    jnp.asarray(IMAGE)
  )
  np.testing.assert_array_equal(gradient[0, :, :, 0], [[6, 0, 0, 0], [0] * 4])


def test_type_of_the_image_is_kept():
  image = jnp.asarray(IMAGE, jnp.bfloat16)
  out = warp.warp_by_flow(image, np.zeros((1, 2, 4, 2), np.float32))
  assert out.dtype == jnp.bfloat16
  np.testing.assert_array_equal(out, image)


def test_faults_are_named():
  with pytest.raises(ValueError, match="'mirror' must be one of"):
    warp.sample_pixels(IMAGE, np.zeros((1, 1, 1, 2)), padding='mirror')
  with pytest.raises(ValueError, match='must be'):
    warp.warp_by_flow(IMAGE, np.zeros((1, 2, 4, 3)))
  with pytest.raises(ValueError, match='same B'):
    warp.sample_pixels(IMAGE, np.zeros((2, 1, 1, 2)))
