"""Larger pictures from a blending network's outputs, by hand."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from generator.pirenderer.detail import blend_with_detail

SIZE, LARGE = 8, 32


@pytest.fixture
def source():
  rng = np.random.default_rng(0)
  return rng.random((2, LARGE, LARGE, 3)).astype(np.float32)


def outputs(share, flow=(0.0, 0.0), painted=0.25):
  def full(channels, value):
    return np.full((2, SIZE, SIZE, channels), value, np.float32)

  return {
    'share': full(1, share),
    'painted_image': full(3, painted),
    # A quarter of the network's size, as the warping network gives it.
    'flow': np.tile(np.float32(flow), (2, SIZE // 4, SIZE // 4, 1)),
  }


def test_detail_of_a_blend_by_hand(source):
  # Nothing painted: the source itself, to its last line.
  untouched = blend_with_detail(source, outputs(0.0))
  np.testing.assert_array_equal(untouched, source)
  # Half of it painted in one tone.
  half = blend_with_detail(source, outputs(0.5))
  np.testing.assert_allclose(half, source / 2 + 0.125, atol=1e-6)
  # A quarter of a pixel of the flow's grid is four pixels of the source.
  moved = blend_with_detail(source, outputs(0.0, flow=(0.25, 0.0)))
  np.testing.assert_allclose(moved[:, :, :-4], source[:, :, 4:], atol=1e-5)


def test_of_the_networks_own_size_it_is_its_picture(source):
  small = source[:, :SIZE, :SIZE]
  out = outputs(0.3)
  found = blend_with_detail(small, out)
  np.testing.assert_allclose(found, 0.3 * 0.25 + 0.7 * small, atol=1e-6)


def test_gradients_and_jit(source):
  def loss(share):
    out = {**outputs(0.0), 'share': share}
    return blend_with_detail(source, out).mean()

  share = jnp.full((2, SIZE, SIZE, 1), 0.5)
  assert np.isfinite(jax.jit(jax.grad(loss))(share)).all()
