"""Perceptual and style losses: by hand and against the reference."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from edtn_jax.convert.vgg import convert_vgg19
from edtn_jax.losses.perceptual import (
  gram_matrix,
  imagenet_normalise,
  perceptual_loss,
  perceptual_targets,
  perceptual_terms,
)
from generator.features.vgg import STAGES, VGG19Features
from tests.golden_weights import channels_last, draw

CONVOLUTIONS = (0, 2, 5, 7, 10, 12, 14, 16, 19, 21, 23, 25, 28)


@pytest.fixture(scope='module')
def vgg_params():
  arrays, before = {}, 3
  widths = [width for stage in STAGES for _, width in stage]
  for index, width in zip(CONVOLUTIONS, widths, strict=True):
    weight, bias = (f'vgg19.features.{index}.{x}' for x in ('weight', 'bias'))
    arrays[weight] = draw(weight, (width, before, 3, 3)) * np.float32(2**0.5)
    arrays[bias] = draw(bias, (width,))
    before = width
  return convert_vgg19(arrays)


@pytest.fixture(scope='module')
def images():
  random = np.random.default_rng(0)
  return tuple(random.random((2, 2, 32, 32, 3)).astype(np.float32))


def test_gram_of_constants_by_hand():
  # Every channel at its own constant: G_cd = c d H W / (C H W).
  constants = np.array([1.0, 2.0, -3.0, 0.0])
  features = np.broadcast_to(constants, (2, 3, 5, 4))
  np.testing.assert_allclose(
    gram_matrix(jnp.asarray(features))[1],
    np.outer(constants, constants) / 4,
    rtol=1e-6,
  )


def test_normalisation_by_hand():
  mean, std = np.array([0.485, 0.456, 0.406]), np.array([0.229, 0.224, 0.225])
  white = jnp.ones((1, 1, 1, 3))
  np.testing.assert_allclose(
    imagenet_normalise(white)[0, 0, 0], (1 - mean) / std, rtol=1e-6
  )
  # COMPAT: black becomes middle grey, white stays.
  np.testing.assert_allclose(
    imagenet_normalise(0 * white, compat=True)[0, 0, 0],
    (0.5 - mean) / std,
    rtol=1e-5,
  )
  np.testing.assert_array_equal(
    imagenet_normalise(white, compat=True), imagenet_normalise(white)
  )


def test_terms_are_sums_over_layers_and_scales(vgg_params, images):
  pred, target = images
  targets = perceptual_targets(vgg_params, target, num_scales=2, style=True)
  terms = perceptual_terms(vgg_params, pred, targets)

  def features(image):
    return VGG19Features().apply(
      {'params': vgg_params}, imagenet_normalise(image)
    )

  def halved(image):
    return image.reshape(2, 16, 2, 16, 2, 3).mean((2, 4))

  wanted = sum(
    np.abs(np.asarray(x) - y).mean((1, 2, 3))
    for scale in (lambda image: image, halved)
    for x, y in zip(features(scale(pred)), features(scale(target)), strict=True)
  )
  np.testing.assert_allclose(terms['perceptual'], wanted, rtol=1e-5)
  style = sum(
    np.abs(np.asarray(gram_matrix(x)) - gram_matrix(y)).mean((1, 2))
    for x, y in zip(features(pred), features(target), strict=True)
  )
  np.testing.assert_allclose(terms['style'], style, rtol=1e-5)
  loss = perceptual_loss(
    vgg_params, pred, target, num_scales=2, style_weight=3.0
  )
  np.testing.assert_allclose(loss, np.mean(wanted + 3 * style), rtol=1e-5)


def test_equal_images_cost_nothing(vgg_params, images):
  loss = perceptual_loss(
    vgg_params, images[0], images[0], num_scales=2, style_weight=250.0
  )
  assert loss == 0


@pytest.mark.slow
def test_gradient_reaches_pred_only_and_survives_rematerialisation(
  vgg_params, images
):
  def loss(pred, target, rematerialise):
    return perceptual_loss(
      vgg_params,
      pred,
      target,
      num_scales=1,
      style_weight=250.0,
      rematerialise=rematerialise,
    )

  pred, target = images[0][:1, :16, :16], images[1][:1, :16, :16]
  gradient = jax.grad(loss, argnums=(0, 1))
  stored, of_target = gradient(pred, target, False)
  assert not of_target.any()
  assert np.abs(stored).max() > 1e-3
  again, _ = gradient(pred, target, True)
  np.testing.assert_allclose(again, stored, atol=1e-6 * np.abs(stored).max())


def test_bfloat16_features_stay_close(vgg_params, images):
  pred, target = images
  loss = [
    perceptual_loss(vgg_params, pred, target, num_scales=1, dtype=dtype)
    for dtype in (jnp.float32, jnp.bfloat16)
  ]
  assert loss[1].dtype == jnp.float32
  assert loss[1] == pytest.approx(float(loss[0]), rel=0.02)


def test_wrong_sizes_are_refused(vgg_params, images):
  with pytest.raises(ValueError, match='128x128 pixels or more, got 32x32'):
    perceptual_loss(vgg_params, *images)
  targets = perceptual_targets(vgg_params, images[0][:, :16, :16], num_scales=1)
  with pytest.raises(ValueError, match=r'\(2, 16, 16, 3\)'):
    perceptual_terms(vgg_params, images[1], targets)


@pytest.mark.slow
def test_perceptual_golden(shared_dir, vgg_params):
  golden = np.load(shared_dir / 'golden' / 'perceptual.npz')
  pred, target = (channels_last(golden[x]) for x in ('pred', 'target'))
  targets = perceptual_targets(vgg_params, target, style=True, compat=True)
  terms = perceptual_terms(vgg_params, pred, targets, compat=True)
  value = float(terms['perceptual'][0])
  assert value == pytest.approx(float(golden['perceptual']), rel=1e-5)
  assert value + 250 * float(terms['style'][0]) == pytest.approx(
    float(golden['perceptual_plus_style']), rel=1e-5
  )
  maps = VGG19Features().apply(
    {'params': vgg_params}, imagenet_normalise(pred, compat=True)
  )
  np.testing.assert_allclose(
    [x.mean() for x in maps], golden['feature_mean'], rtol=1e-5
  )
  np.testing.assert_allclose(
    [x.std() for x in maps], golden['feature_std'], rtol=2e-5
  )
