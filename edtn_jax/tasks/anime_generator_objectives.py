"""What the generator's pictures are compared by."""

from __future__ import annotations

import dataclasses
import pathlib
from collections.abc import Sequence
from typing import Any, Protocol

import jax
import jax.numpy as jnp
import ml_collections

from edtn_jax.config import Checker
from edtn_jax.convert.vgg import FILE_NAME, URL, load_vgg19
from edtn_jax.losses import perceptual, pictures

OBJECTIVES = ('vgg', 'structural')
DTYPES = ('float32', 'bfloat16')


class Objective(Protocol):
  """Distance between pictures, per sample.

  Attributes:
    name: its name in `loss.objective`.
    note: what a reader of a result has to know.
  """

  name: str
  note: str

  def constants(self) -> Any:
    """Arrays that it needs, `()` for none."""

  def prepare(
    self, constants: Any, target: jax.Array, part_boxes: jax.Array
  ) -> Any:
    """What the target contributes: [B, H, W, 3] in [0, 1], [B, 2, 4]."""

  def pixel_weight(
    self, part_boxes: jax.Array, shape: Sequence[int]
  ) -> jax.Array | None:
    """[B, H, W], how much each pixel of targets [B, H, W, 3] counts."""

  def warped(self, constants: Any, picture: jax.Array, target: Any):
    """[B] distance of a warped picture to a prepared target."""

  def image(self, constants: Any, picture: jax.Array, target: Any):
    """[B] distance of an edited picture to a prepared target."""


@dataclasses.dataclass(frozen=True)
class VggObjective:
  """The paper's: perceptual loss, and style loss for the edited picture.

  Attributes:
    weights: the user's torchvision file.
    num_scales: sizes at which features are compared.
    style_weight: of the style term within `image`.
    compat: see `edtn_jax.losses.perceptual.imagenet_normalise`.
    dtype: of the features.
    remat: whether features are computed again in the backward pass.
  """

  weights: str
  num_scales: int
  style_weight: float
  compat: bool
  dtype: str
  remat: bool

  name = 'vgg'
  note = 'perceptual and style loss on VGG19 features'

  def constants(self) -> Any:
    """Parameters of VGG19."""
    return load_vgg19(self.weights)

  def prepare(self, constants, target, part_boxes):
    """Features and Gram matrices; boxes are not looked at."""
    del part_boxes
    return perceptual.perceptual_targets(
      constants,
      target,
      num_scales=self.num_scales,
      style=self.style_weight > 0,
      compat=self.compat,
      dtype=self.dtype,
    )

  def pixel_weight(self, part_boxes, shape):
    """None: all alike."""
    del part_boxes, shape

  def warped(self, constants, picture, target):
    """Perceptual loss."""
    without = dataclasses.replace(target, grams=())
    return self._terms(constants, picture, without)['perceptual']

  def image(self, constants, picture, target):
    """Perceptual loss and weighted style loss."""
    terms = self._terms(constants, picture, target)
    return terms['perceptual'] + self.style_weight * terms.get('style', 0.0)

  def _terms(self, constants, picture, target):
    return perceptual.perceptual_terms(
      constants,
      picture,
      target,
      compat=self.compat,
      dtype=self.dtype,
      rematerialise=self.remat,
    )


@dataclasses.dataclass(frozen=True)
class StructuralObjective:
  """Without any weights: tones at several sizes, lines, and SSIM.

  DEVIATION: the paper's objective needs VGG19. Test:
  `test_the_objective_is_named_in_the_result`.

  Attributes:
    l1_weight: of the L1 distance over four sizes.
    gradient_weight: of the L1 distance of neighbours' differences.
    ssim_weight: of 1 - SSIM.
    part_weight: how much more a pixel of the eyes or the mouth counts, 0 for
      not at all.
  """

  l1_weight: float
  gradient_weight: float
  ssim_weight: float
  part_weight: float

  name = 'structural'
  note = (
    'DEVIATION: multi-scale L1, gradient and SSIM terms instead of the '
    "paper's perceptual and style losses"
  )

  def constants(self) -> Any:
    """None."""
    return ()

  def prepare(self, constants, target, part_boxes):
    """The target and the weight of its pixels, or None."""
    del constants
    return target, self.pixel_weight(part_boxes, target.shape)

  def pixel_weight(self, part_boxes, shape):
    """1, and more in eyes and mouth; or None."""
    if not self.part_weight:
      return None
    masks = pictures.part_masks(part_boxes, *shape[1:3])
    return 1 + self.part_weight * (1 - masks['rest'])

  def warped(self, constants, picture, target):
    """The weighted sum of the three terms."""
    del constants
    loss = jnp.zeros(len(picture), jnp.float32)
    for weight, distance in (
      (self.l1_weight, pictures.multi_scale_l1),
      (self.gradient_weight, pictures.gradient_l1),
      (self.ssim_weight, _dissimilarity),
    ):
      if weight:
        loss += weight * distance(picture, *target)
    return loss

  image = warped


def _dissimilarity(prediction, target, weight):
  return 1 - pictures.ssim(prediction, target, weight)


def build_objective(config: ml_collections.ConfigDict) -> Objective:
  """The objective that a whole config names."""
  loss = config.loss
  if loss.objective == 'vgg':
    return VggObjective(
      weights=loss.vgg_weights,
      num_scales=loss.vgg_scales,
      style_weight=loss.style_weight,
      compat=loss.vgg_compat,
      dtype=config.model.dtype,
      remat=config.model.remat,
    )
  return StructuralObjective(
    l1_weight=loss.l1_weight,
    gradient_weight=loss.gradient_weight,
    ssim_weight=loss.ssim_weight,
    part_weight=loss.part_weight,
  )


def validate_objective(check: Checker) -> None:
  """Checks the parts of `loss` that belong to the objective."""
  check.one_of('loss.objective', OBJECTIVES)
  weights = ('l1_weight', 'gradient_weight', 'ssim_weight')
  for key in (*weights, 'style_weight', 'part_weight'):
    check.at_least(f'loss.{key}', 0)
  objective, size = check.get('loss.objective'), check.get('data.size')
  if objective == 'vgg':
    _validate_vgg(check, size)
  elif objective == 'structural':
    if not any(check.get(f'loss.{key}') for key in weights):
      check.add(
        'loss.*_weight',
        0,
        'one of l1, gradient, ssim must be above 0',
        'Set --config.loss.l1_weight=1.',
      )
    if size and size < pictures.SSIM_WINDOW:
      check.add(
        'data.size',
        size,
        f'SSIM needs at least {pictures.SSIM_WINDOW} pixels',
        'Set --config.data.size=96.',
      )


def _validate_vgg(check: Checker, size: int | None) -> None:
  path = check.get('loss.vgg_weights')
  if not path or not pathlib.Path(path).is_file():
    check.add(
      'loss.vgg_weights',
      path,
      f'is not a file; the objective "vgg" needs {FILE_NAME} (torchvision, '
      'BSD-3-Clause, 548 MB)',
      f'curl -L -o {FILE_NAME} {URL} and set --config.loss.vgg_weights='
      f'{FILE_NAME}, or train without it by --config.loss.objective=structural',
    )
  if check.get('loss.part_weight'):
    check.add(
      'loss.part_weight',
      check.get('loss.part_weight'),
      'belongs to the objective "structural"',
      'Set --config.loss.part_weight=0.',
    )
  try:
    perceptual.check_image_size((size, size), check.get('loss.vgg_scales'))
  except (TypeError, ValueError) as error:
    check.add(
      'loss.vgg_scales',
      check.get('loss.vgg_scales'),
      str(error),
      'Set --config.loss.vgg_scales=1, or a larger --config.data.size.',
    )
