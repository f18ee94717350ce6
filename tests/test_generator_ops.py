"""Resizes, norms and convolutions against values worked out by hand."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from generator.ops.conv import Conv2d, ConvTranspose2d, UpConv2d
from generator.ops.norm import AdaIN, LayerNorm2d, normalize
from generator.ops.resize import (
  average_pool,
  resize_bilinear,
  upsample_nearest,
)

KEY = jax.random.key(0)


def picture(rows):
  return np.asarray(rows, np.float32)[None, :, :, None]


def test_enlarging_by_half_pixels():
  out = resize_bilinear(picture([[0, 4]]), (1, 4))
  np.testing.assert_array_equal(out[0, 0, :, 0], [0, 1, 3, 4])
  out = resize_bilinear(picture([[0, 4]]), (2, 3))
  np.testing.assert_allclose(out[0, :, :, 0], [[0, 2, 4]] * 2)


def test_enlarging_with_aligned_corners():
  out = resize_bilinear(picture([[0, 4]]), (1, 5), align_corners=True)
  np.testing.assert_allclose(out[0, 0, :, 0], [0, 1, 2, 3, 4])
  out = resize_bilinear(picture([[1, 2], [3, 4]]), (1, 1), align_corners=True)
  np.testing.assert_array_equal(out[0, :, :, 0], [[1]])


def test_shrinking_does_not_smooth():
  # A quarter of eight pixels samples at 1.5 and 5.5 only.
  out = resize_bilinear(picture([[9, 2, 4, 9, 9, 6, 8, 9]]), (1, 2))
  np.testing.assert_array_equal(out[0, 0, :, 0], [3, 7])


def test_halving_is_the_mean_of_blocks():
  x = np.random.default_rng(0).random((2, 4, 6, 3), np.float32)
  by_hand = (x[:, ::2] + x[:, 1::2]) / 2
  by_hand = (by_hand[:, :, ::2] + by_hand[:, :, 1::2]) / 2
  np.testing.assert_allclose(resize_bilinear(x, (2, 3)), by_hand, atol=1e-6)
  np.testing.assert_allclose(average_pool(x, 2), by_hand, atol=1e-6)


def test_average_pool_drops_the_remainder():
  out = average_pool(picture([[1, 3, 9], [5, 7, 9], [9, 9, 9]]), 2)
  np.testing.assert_array_equal(out[0, :, :, 0], [[4]])


def test_nearest_repeats_pixels():
  out = upsample_nearest(picture([[1, 2], [3, 4]]), 2)[0, :, :, 0]
  np.testing.assert_array_equal(
    out, [[1, 1, 2, 2], [1, 1, 2, 2], [3, 3, 4, 4], [3, 3, 4, 4]]
  )


def test_same_size_is_the_same_array():
  x = picture([[1, 2]])
  assert resize_bilinear(x, (1, 2)) is x


def direct_convolution(x, kernel, stride, padding):
  """Plain loops: [h, w, C] by [k, k, C, F]."""
  x = np.pad(x, ((padding, padding), (padding, padding), (0, 0)))
  k = kernel.shape[0]
  rows = range(0, x.shape[0] - k + 1, stride)
  columns = range(0, x.shape[1] - k + 1, stride)
  return np.array(
    [
      [np.tensordot(x[r : r + k, c : c + k], kernel, 3) for c in columns]
      for r in rows
    ]
  )


@pytest.mark.parametrize(
  ('size', 'stride', 'padding', 'shape'),
  [(3, 1, 1, (4, 5)), (4, 2, 1, (7, 8)), (7, 1, 3, (3, 2)), (1, 1, 0, (2, 2))],
)
def test_convolution_pads_both_sides_alike(size, stride, padding, shape):
  x = np.random.default_rng(0).normal(size=(1, *shape, 2)).astype(np.float32)
  layer = Conv2d(3, size, stride=stride, padding=padding)
  params = layer.init(KEY, x)['params']
  params['bias'] = jnp.float32([1, 2, 3])
  expected = direct_convolution(
    x[0], np.asarray(params['kernel']), stride, padding
  )
  out = layer.apply({'params': params}, x)[0]
  np.testing.assert_allclose(out, expected + np.arange(1, 4), atol=1e-5)


def direct_transposed(x, kernel, stride, padding, output_padding):
  """Every input pixel stamps the (unturned) kernel: [h, w, C] -> [H, W, F]."""
  height, width, _ = x.shape
  k = kernel.shape[0]
  size = ((n - 1) * stride + k + output_padding for n in (height, width))
  out = np.zeros((*size, kernel.shape[-1]))
  for r in range(height):
    for c in range(width):
      place = np.s_[r * stride : r * stride + k, c * stride : c * stride + k]
      out[place] += np.tensordot(x[r, c], kernel, (0, 2))
  end = [s - padding for s in out.shape[:2]]
  return out[padding : end[0], padding : end[1]]


@pytest.mark.parametrize(
  ('size', 'stride', 'padding', 'output_padding'),
  [
    (3, 2, 1, 1),
    (4, 2, 1, 0),
    (3, 1, 1, 0),
    (2, 2, 0, 0),
    (5, 3, 1, 2),
    (2, 3, 0, 0),
  ],
)
def test_transposed_convolution_stamps_its_kernel(
  size, stride, padding, output_padding
):
  x = np.random.default_rng(0).normal(size=(1, 3, 4, 2)).astype(np.float32)
  layer = ConvTranspose2d(3, size, stride, padding, output_padding)
  params = layer.init(KEY, x)['params']
  kernel = np.asarray(params['kernel'])[::-1, ::-1]
  expected = direct_transposed(x[0], kernel, stride, padding, output_padding)
  out = layer.apply({'params': params}, x)[0]
  np.testing.assert_allclose(out, expected, atol=1e-5)


@pytest.mark.parametrize('shape', [(1, 1), (2, 3)])
def test_doubling_convolution_is_repeat_then_convolve(shape):
  x = np.random.default_rng(0).normal(size=(2, *shape, 3)).astype(np.float32)
  layer = UpConv2d(2)
  params = layer.init(KEY, x)['params']
  params['bias'] = jnp.float32([1, 2])
  plain = Conv2d(2, 3, padding=1)
  expected = plain.apply({'params': params}, upsample_nearest(x, 2))
  out = layer.apply({'params': params}, x)
  np.testing.assert_allclose(out, expected, atol=1e-6)


def test_weights_are_normal_and_biases_zero():
  params = Conv2d(64, 3).init(KEY, np.zeros((1, 3, 3, 64)))['params']
  np.testing.assert_allclose(params['kernel'].std(), 0.02, rtol=0.05)
  np.testing.assert_array_equal(params['bias'], 0)


def test_spectral_norm_finds_the_largest_singular_value():
  layer = Conv2d(3, 1, use_bias=False, spectral_norm=True)
  x = np.eye(3, dtype=np.float32)[None, :, None]
  variables = layer.init(KEY, x)
  variables['params']['kernel'] = jnp.diag(jnp.float32([1, 4, 2]))[None, None]
  for _ in range(20):
    out, spectral = layer.apply(variables, x, mutable=['spectral'])
    variables = {**variables, **spectral}
  np.testing.assert_allclose(
    out[0, :, 0], np.diag([0.25, 1, 0.5]), rtol=1e-4, atol=1e-6
  )
  # Without permission to change it, the estimate stays.
  fixed = layer.apply(variables, x)
  np.testing.assert_allclose(fixed, out, rtol=1e-4, atol=1e-6)


def test_instance_norm_by_hand():
  x = picture([[1, 3], [1, 3]])
  out = normalize(x, (1, 2), 2.0, 10.0, eps=0)
  np.testing.assert_allclose(out[0, :, :, 0], [[8, 12]] * 2, atol=1e-5)


def test_large_means_do_not_cancel():
  x = picture([[4001, 4003]])
  out = normalize(x, (1, 2), 1.0, 0.0, eps=0)
  np.testing.assert_allclose(out[0, 0, :, 0], [-1, 1], atol=1e-3)


def test_adain_takes_scale_and_shift_from_the_descriptor():
  x = np.random.default_rng(0).normal(size=(2, 4, 4, 3)).astype(np.float32)
  z = np.float32([[1, 0], [-1, 0]])
  layer = AdaIN(hidden=1)
  params = layer.init(KEY, x, z)['params']
  params['shared'] = {'kernel': jnp.float32([[1], [0]]), 'bias': jnp.zeros(1)}
  params['gamma'] = {
    'kernel': jnp.float32([[1, 2, 3]]),
    'bias': jnp.zeros(3),
  }
  params['beta'] = {'kernel': jnp.float32([[4, 5, 6]]), 'bias': jnp.ones(3)}
  out = np.asarray(layer.apply({'params': params}, x, z))
  # h is 1 for the first sample and, after the ReLU, 0 for the second.
  np.testing.assert_allclose(out[0].mean((0, 1)), [5, 6, 7], atol=1e-5)
  np.testing.assert_allclose(out[0].std((0, 1)), [2, 3, 4], rtol=1e-4)
  np.testing.assert_allclose(out[1].mean((0, 1)), [1, 1, 1], atol=1e-5)
  np.testing.assert_allclose(out[1].std((0, 1)), [1, 1, 1], rtol=1e-4)


def test_layer_norm_is_over_a_whole_sample():
  x = np.random.default_rng(0).normal(3, 2, (2, 4, 4, 3)).astype(np.float32)
  x[1] *= 5
  layer = LayerNorm2d()
  params = layer.init(KEY, x)['params']
  out = np.asarray(layer.apply({'params': params}, x))
  np.testing.assert_allclose(out.mean((1, 2, 3)), 0, atol=1e-5)
  np.testing.assert_allclose(out.std((1, 2, 3)), 1, rtol=1e-4)
  params = {'scale': jnp.float32([1, 2, 3]), 'bias': jnp.float32([0, 1, 0])}
  scaled = layer.apply({'params': params}, x)
  np.testing.assert_allclose(scaled, out * [1, 2, 3] + [0, 1, 0], atol=1e-5)


@pytest.mark.parametrize('layer', [Conv2d, ConvTranspose2d])
def test_compute_type_does_not_change_parameters(layer):
  layer = layer(2, 3, dtype=jnp.bfloat16)
  x = np.ones((1, 3, 3, 1), np.float32)
  params = layer.init(KEY, x)['params']
  assert {p.dtype for p in jax.tree.leaves(params)} == {jnp.dtype('float32')}
  assert layer.apply({'params': params}, x).dtype == jnp.bfloat16


def test_statistics_of_bfloat16_are_float32():
  # 256 + 1 is not a bfloat16; sums in that type would stop growing.
  x = jnp.concatenate(
    [jnp.zeros((1, 32, 32, 1)), jnp.ones((1, 32, 32, 1))], axis=1
  ).astype(jnp.bfloat16)
  out = normalize(x, (1, 2), 1.0, 0.0)
  assert out.dtype == jnp.bfloat16
  np.testing.assert_array_equal(out[0, [0, 63], 0, 0], [-1, 1])
