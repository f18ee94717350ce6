"""Distances between pictures: exact small cases by hand, invariants."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from edtn_jax.losses import pictures


def picture(seed, size=16, count=2):
  rng = np.random.default_rng(seed)
  return jnp.asarray(rng.random((count, size, size, 3)), jnp.float32)


DISTANCES = {
  'l1': pictures.l1,
  'multi_scale_l1': pictures.multi_scale_l1,
  'gradient_l1': pictures.gradient_l1,
  'ssim': lambda *args: 1 - pictures.ssim(*args),
}


@pytest.mark.parametrize('name', DISTANCES)
@pytest.mark.parametrize('weighted', [False, True])
def test_equal_pictures_have_no_distance(name, weighted):
  one = picture(0)
  weight = [one[..., 0]] if weighted else []
  found = DISTANCES[name](one, one, *weight)
  assert found.shape == (2,)
  np.testing.assert_allclose(found, 0, atol=1e-6)


@pytest.mark.parametrize('name', DISTANCES)
def test_equal_weights_are_no_weights(name):
  one, other = picture(0), picture(1)
  plain = DISTANCES[name](one, other)
  weighted = DISTANCES[name](one, other, jnp.full((2, 16, 16), 0.5))
  np.testing.assert_allclose(plain, weighted, rtol=1e-5)
  assert float(plain.min()) > 0.01


@pytest.mark.parametrize('name', DISTANCES)
def test_a_sample_does_not_see_the_others(name):
  one, other = picture(0), picture(1)
  both = DISTANCES[name](one, other)
  alone = DISTANCES[name](one[1:], other[1:])
  np.testing.assert_allclose(both[1:], alone, rtol=1e-5)


def test_l1_by_hand():
  one = jnp.zeros((1, 1, 2, 1))
  other = jnp.asarray([0.2, 0.6]).reshape(1, 1, 2, 1)
  np.testing.assert_allclose(pictures.l1(one, other), [0.4], rtol=1e-6)
  weight = jnp.asarray([3.0, 1.0]).reshape(1, 1, 2)
  np.testing.assert_allclose(pictures.l1(one, other, weight), [0.3], rtol=1e-6)
  assert float(pictures.l1(one, other, 0 * weight)[0]) == 0


def test_scales_by_hand():
  """A checkerboard is gone at half the size, a tone is not."""
  board = jnp.asarray(np.indices((4, 4)).sum(0) % 2, jnp.float32)
  board = board[None, :, :, None]
  black, grey = jnp.zeros_like(board), jnp.full_like(board, 0.5)
  found = pictures.multi_scale_l1(board, black, num_scales=3)
  np.testing.assert_allclose(found, [0.5], rtol=1e-6)
  found = pictures.multi_scale_l1(board, grey, num_scales=2)
  np.testing.assert_allclose(found, [0.25], rtol=1e-6)


def test_a_size_that_cannot_be_halved_is_refused():
  with pytest.raises(ValueError, match='12x12 cannot be halved 3 times'):
    pictures.multi_scale_l1(picture(0, 12), picture(1, 12))


def test_gradient_sees_a_step_and_no_tone():
  step = jnp.asarray([0.0, 1.0, 1.0]).reshape(1, 1, 3, 1)
  step = jnp.repeat(step, 3, 1)
  flat = jnp.full_like(step, 0.3)
  np.testing.assert_allclose(pictures.gradient_l1(step, flat), [0.5], rtol=1e-6)
  np.testing.assert_allclose(
    pictures.gradient_l1(step, step + 0.2), [0], atol=1e-6
  )


def test_ssim_of_two_tones_by_hand():
  """No structure: only the luminance term is left."""
  dark, light = jnp.full((1, 11, 11, 1), 0.2), jnp.full((1, 11, 11, 1), 0.6)
  c1 = 0.01**2
  wanted = (2 * 0.2 * 0.6 + c1) / (0.2**2 + 0.6**2 + c1)
  found = pictures.ssim_map(dark, light)
  assert found.shape == (1, 1, 1)
  np.testing.assert_allclose(found, wanted, rtol=1e-4)


def test_ssim_equals_its_definition_on_one_window():
  one, other = np.asarray(picture(0, 11)), np.asarray(picture(1, 11))
  y, x = np.mgrid[-5:6, -5:6]
  window = np.exp(-(x**2 + y**2) / (2 * 1.5**2))
  window = (window / window.sum())[None, :, :, None]

  def mean(values):
    return (values * window).sum((1, 2))

  mp, mt = mean(one), mean(other)
  vp, vt = mean(one**2) - mp**2, mean(other**2) - mt**2
  cov = mean(one * other) - mp * mt
  c1, c2 = 0.01**2, 0.03**2
  wanted = (2 * mp * mt + c1) * (2 * cov + c2)
  wanted /= (mp**2 + mt**2 + c1) * (vp + vt + c2)
  np.testing.assert_allclose(
    pictures.ssim(one, other), wanted.mean(-1), rtol=1e-4
  )


def test_ssim_of_a_negative_is_negative():
  one = picture(0)
  assert float(pictures.ssim(one, 1 - one).max()) < 0


def test_ssim_wants_a_window():
  with pytest.raises(ValueError, match='at least 11 pixels, not 8x8'):
    pictures.ssim_map(picture(0, 8), picture(1, 8))


def test_flow_error_by_hand():
  flow = jnp.zeros((2, 1, 2, 2))
  true = jnp.asarray([[3.0, 4.0], [100.0, 0.0]]).reshape(1, 1, 2, 2)
  true = jnp.concatenate([true, true])
  weight = jnp.asarray([[1.0, 0.0], [0.0, 0.0]]).reshape(2, 1, 2)
  found = pictures.flow_distance(flow, true, weight)
  np.testing.assert_allclose(found, [5.0, 0.0], atol=2e-3)


@pytest.mark.parametrize('name', [*DISTANCES, 'flow'])
def test_gradient_at_equality_is_finite(name):
  def loss(x):
    if name == 'flow':
      return pictures.flow_distance(x[..., :2], one[..., :2], one[..., 2]).sum()
    return DISTANCES[name](x, one).sum()

  one = picture(0)
  assert np.isfinite(jax.grad(loss)(one)).all()


def test_change_by_hand():
  before = np.zeros((1, 1, 3, 3), np.float32)
  after = before.copy()
  after[0, 0, 1] = 0.025
  after[0, 0, 2] = (0.9, 0, 0)
  np.testing.assert_allclose(
    pictures.change(before, after), [[[0, 0.5, 1]]], atol=1e-6
  )


def test_what_is_painted_counts_where_something_changes():
  target = np.full((1, 1, 2, 3), 0.5, np.float32)
  changed = np.array([[[0.98, 0.0]]], np.float32)
  painted = target.copy()
  painted[0, 0, 0] += 0.1
  # Weights are 1 and 0.02.
  found = pictures.painted_distance(painted, target, changed)
  np.testing.assert_allclose(found, [0.1 / 1.02], rtol=1e-5)
  # A sample that does not change is compared everywhere alike.
  found = pictures.painted_distance(painted, target, 0 * changed)
  np.testing.assert_allclose(found, [0.05], rtol=1e-5)


def test_share_by_hand():
  share = np.array([0.5, 0.25], np.float32).reshape(1, 1, 2, 1)
  changed = np.array([[[1.0, 0.0]]], np.float32)
  one, other = -np.log(0.5), -np.log(0.75)
  np.testing.assert_allclose(
    pictures.share_distance(share, changed), [(one + other) / 2], rtol=1e-5
  )
  weight = np.array([[[3.0, 1.0]]], np.float32)
  np.testing.assert_allclose(
    pictures.share_distance(share, changed, weight),
    [(3 * one + other) / 4],
    rtol=1e-5,
  )
  sure = np.array([0.0, 1.0], np.float32).reshape(1, 1, 2, 1)
  assert np.isfinite(pictures.share_distance(sure, changed)).all()


def test_box_by_hand():
  box = jnp.asarray([[0.25, 0.0, 0.75, 0.5], [0.0, 0.0, 0.0, 0.0]])
  wanted = np.zeros((2, 4, 4))
  wanted[0, :2, 1:3] = 1
  np.testing.assert_array_equal(pictures.box_mask(box, 4, 4), wanted)
