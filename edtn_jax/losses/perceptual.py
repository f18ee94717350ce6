"""Perceptual and style losses on VGG19 features.

With F_l the features of layer l (relu1_1, 2_1, 3_1, 4_1, 5_1; C, H, W their
sizes), x_s the image halved s times, and the Gram matrix
G_l = F_l F_l^T / (C H W), taken over the H W positions:

    perceptual = sum over s = 0..3, l of  mean |F_l(pred_s) - F_l(target_s)|
    style      = sum over l of            mean |G_l(pred) - G_l(target)|

Every layer and scale has weight 1; style looks at full size only. The EDTN
paper's generator minimises 2.5 perceptual(warped) + 4 (perceptual(image) + 250
style(image)). Johnson et al., "Perceptual Losses for Real-Time Style Transfer
and Super-Resolution", is where both terms come from.
"""

from __future__ import annotations

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp

from generator.features.vgg import STRIDE, VGG19Features
from generator.ops.resize import resize_bilinear

# RGB in [0, 1]; torchvision's models were trained with these.
IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class PerceptualTargets:
  """What the target image contributes; constant for the optimiser.

  Attributes:
    features: by scale, the five maps of `VGG19Features`.
    grams: by layer, [B, C, C] float32 at full size; empty without style.
  """

  features: tuple[tuple[jax.Array, ...], ...]
  grams: tuple[jax.Array, ...]


def perceptual_loss(
  vgg_params: Any,
  pred: jax.Array,
  target: jax.Array,
  *,
  num_scales: int = 4,
  style_weight: float = 0.0,
  compat: bool = False,
  rematerialise: bool = False,
  dtype: Any = jnp.float32,
) -> jax.Array:
  """Perceptual loss plus weighted style loss; see the module's equation.

  Args:
    vgg_params: parameters of `VGG19Features`.
    pred: [B, H, W, 3] float in [0, 1].
    target: [B, H, W, 3] float in [0, 1]; no gradient goes there.
    num_scales: number of image sizes, each half the one before.
    style_weight: weight of the style term, 250 in the paper; 0 leaves it out.
    compat: see `imagenet_normalise`.
    rematerialise: compute pred's features again in the backward pass instead
      of storing what leads to them.
    dtype: of the features; sums are float32.

  Returns:
    float32 scalar, the mean over the batch.

  Raises:
    ValueError: if shapes differ or the images are too small.

  Example:
    >>> loss = perceptual_loss(vgg_params, image, target, style_weight=250.0)
  """
  targets = perceptual_targets(
    vgg_params,
    target,
    num_scales=num_scales,
    style=bool(style_weight),
    compat=compat,
    dtype=dtype,
  )
  terms = perceptual_terms(
    vgg_params,
    pred,
    targets,
    compat=compat,
    rematerialise=rematerialise,
    dtype=dtype,
  )
  loss = terms['perceptual'].mean()
  return loss + style_weight * terms['style'].mean() if style_weight else loss


def perceptual_targets(
  vgg_params: Any,
  target: jax.Array,
  *,
  num_scales: int = 4,
  style: bool = False,
  compat: bool = False,
  dtype: Any = jnp.float32,
) -> PerceptualTargets:
  """Features of the target, computed once for all that is compared with it.

  Args:
    vgg_params: parameters of `VGG19Features`.
    target: [B, H, W, 3] float in [0, 1].
    num_scales: number of image sizes, each half the one before.
    style: whether Gram matrices are wanted.
    compat: see `imagenet_normalise`.
    dtype: of the features.

  Returns:
    Features and Gram matrices; no gradient flows through them.

  Raises:
    ValueError: if the images are too small for so many scales.
  """
  check_image_size(target.shape[1:3], num_scales)
  model = VGG19Features(dtype)
  features = tuple(
    model.apply({'params': vgg_params}, image)
    for image in _scales(imagenet_normalise(target, compat=compat), num_scales)
  )
  grams = tuple(gram_matrix(x) for x in features[0]) if style else ()
  return jax.lax.stop_gradient(PerceptualTargets(features, grams))


def perceptual_terms(
  vgg_params: Any,
  pred: jax.Array,
  targets: PerceptualTargets,
  *,
  compat: bool = False,
  rematerialise: bool = False,
  dtype: Any = jnp.float32,
) -> dict[str, jax.Array]:
  """Both terms for every sample; see the module's equation.

  Args:
    vgg_params: parameters of `VGG19Features`; a frozen net, give the gradient
      of nothing but `pred`.
    pred: [B, H, W, 3] float in [0, 1], of the target's size.
    targets: of `perceptual_targets`, with the same `compat` and `dtype`.
    compat: see `imagenet_normalise`.
    rematerialise: compute pred's features again in the backward pass instead
      of storing what leads to them.
    dtype: of the features; sums are float32.

  Returns:
    `perceptual` [B] float32, and `style` [B] float32 if the targets hold Gram
    matrices. The mean over the batch is the reference's batch value.

  Raises:
    ValueError: if pred's shape differs from the target's.
  """
  wanted = targets.features[0][0].shape[:3]
  if pred.shape != (*wanted, 3):
    raise ValueError(
      f'pred has the shape {pred.shape}, the target {(*wanted, 3)}'
    )
  images = _scales(
    imagenet_normalise(pred, compat=compat), len(targets.features)
  )
  apply = VGG19Features(dtype).apply
  if rematerialise:
    apply = jax.checkpoint(apply)
  terms = {'perceptual': jnp.zeros(pred.shape[0], jnp.float32)}
  for scale, (image, of_target) in enumerate(
    zip(images, targets.features, strict=True)
  ):
    of_pred = apply({'params': vgg_params}, image)
    terms['perceptual'] += _sum_of_distances(of_pred, of_target)
    if scale == 0 and targets.grams:
      terms['style'] = _sum_of_distances(
        [gram_matrix(x) for x in of_pred], targets.grams
      )
  return terms


def imagenet_normalise(image: jax.Array, *, compat: bool = False) -> jax.Array:
  """Prepares an image for VGG19.

  Args:
    image: [..., 3] float in [0, 1].
    compat: COMPAT: first map x to (x + 1) / 2, as for images in [-1, 1]; the
      authors' code does so although its images are in [0, 1], which halves
      their contrast. Covered by `test_perceptual_golden`.

  Returns:
    [..., 3] float32, zero mean and unit variance over ImageNet.
  """
  image = image.astype(jnp.float32)
  if compat:
    image = (image + 1) / 2
  mean, std = (jnp.array(x, jnp.float32) for x in (IMAGENET_MEAN, IMAGENET_STD))
  return (image - mean) / std


def gram_matrix(features: jax.Array) -> jax.Array:
  """Which channels are active together, wherever that is.

  Args:
    features: [B, H, W, C] float.

  Returns:
    [B, C, C] float32, F F^T / (C H W).
  """
  _, height, width, channels = features.shape
  product = jnp.einsum(
    'bhwc,bhwd->bcd',
    features,
    features,
    preferred_element_type=jnp.float32,
  )
  return product / (channels * height * width)


def check_image_size(size: tuple[int, int], num_scales: int) -> None:
  """Raises ValueError if relu5_1 of the smallest scale would be empty.

  Args:
    size: height and width in pixels.
    num_scales: number of image sizes, each half the one before.
  """
  smallest = STRIDE * 2 ** (num_scales - 1)
  if num_scales < 1 or min(size) < smallest:
    raise ValueError(
      f'a perceptual loss of {num_scales} scale(s) needs images of '
      f'{smallest}x{smallest} pixels or more, got {size[0]}x{size[1]}; use '
      'fewer scales or larger images'
    )


def _scales(image: jax.Array, num_scales: int) -> list[jax.Array]:
  """The image and its halves, bilinear without antialiasing."""
  images = [image]
  for _ in range(num_scales - 1):
    height, width = images[-1].shape[1:3]
    images.append(resize_bilinear(images[-1], (height // 2, width // 2)))
  return images


def _sum_of_distances(first, second) -> jax.Array:
  """Sum over pairs of the mean absolute difference of each sample, [B]."""
  return sum(
    jnp.abs(x.astype(jnp.float32) - y.astype(jnp.float32)).mean(
      axis=tuple(range(1, x.ndim))
    )
    for x, y in zip(first, second, strict=True)
  )
