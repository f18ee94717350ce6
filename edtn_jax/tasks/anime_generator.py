"""Task: learn to move a picture into a pose (EDTN paper, section 2.3)."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import jax
import jax.numpy as jnp
import ml_collections
import numpy as np
from jax.sharding import Mesh

from data.pose_vector import NUM_POSE
from edtn_jax.animation.network import build_generator, network_config
from edtn_jax.config import Checker
from edtn_jax.evaluation.metrics import Means
from edtn_jax.losses import pictures as distances
from edtn_jax.tasks import anime_generator_data
from edtn_jax.tasks.anime_generator_init import (
  draw_parameters,
  scale_by_inputs,
)
from edtn_jax.tasks.anime_generator_jitter import color_jitter
from edtn_jax.tasks.anime_generator_metrics import pair_metrics, summary
from edtn_jax.tasks.anime_generator_objectives import (
  DTYPES,
  Objective,
  build_objective,
  validate_objective,
)
from edtn_jax.tasks.anime_generator_pictures import sample_sheets
from edtn_jax.tasks.base import Batch, Params, Task, TrainData
from generator.pirenderer.config import PRESETS
from generator.pirenderer.face_generator import FaceGenerator

INITS = ('paper', 'fan_in')
# `losses.pictures.multi_scale_l1` halves pictures three times.
_SCALES_MULTIPLE = 8
# Weights, and terms, of networks that blend.
_BLEND_TERMS = ('painted', 'share')
_WARP_NETWORKS = ('mapping', 'warping')


@dataclasses.dataclass(frozen=True)
class StageWeights:
  """What counts in both stages; the defaults are the paper's.

  Attributes:
    warped: of the warped picture.
    image: of the edited picture, from `edit_from_step` on.
    painted: of what a blending network paints where the warped picture is
      not the target, likewise; not in the paper. By the blend alone it would
      learn nothing where it is not shown yet.
    share: of the blend's mask against those places, likewise.
    flow: of the true flow before that step; not in the paper.
    flow_editing: and from it on.
    edit_from_step: first step of the second stage.
    freeze_warp: whether the second stage trains the editing network alone.
  """

  warped: float = 2.5
  image: float = 4.0
  painted: float = 0.0
  share: float = 0.0
  flow: float = 0.0
  flow_editing: float = 0.0
  edit_from_step: int = 0
  freeze_warp: bool = False


@dataclasses.dataclass(frozen=True)
class AnimeGeneratorTask(Task):
  """PIRenderer on pairs of one identity, both ways.

  Batches are those of `data.pairs`: uint8 pictures go to the device and become
  floats in [0, 1] there.

  Attributes:
    model: the generator.
    size: height and width of the pictures.
    objective: what pictures are compared by.
    weights: of the loss terms, and where stage 2 begins.
    jitter: strength of the colour jitter.
    init_kind: see `configs/anime_generator.py`.
    exchange: whether every pair is used both ways.
    fixed_stage: the stage of `losses`; None where the step decides.
  """

  model: FaceGenerator
  size: int
  objective: Objective
  weights: StageWeights
  jitter: float
  init_kind: str
  exchange: bool = True
  fixed_stage: int | None = None

  best_metric = 'l1_parts'

  @functools.cached_property
  def constants(self) -> Any:
    """Weights of the objective."""
    return {'objective': self.objective.constants()}

  def notes(self) -> dict[str, str]:
    """The objective; see `Task.notes`."""
    return {'objective': self.objective.name, 'about': self.objective.note}

  def init(self, rng: jax.Array) -> Params:
    """Initialises the generator."""
    picture = jnp.zeros((1, self.size, self.size, 3))
    pose = jnp.zeros((1, NUM_POSE))
    shapes = jax.eval_shape(self.model.init, rng, picture, pose)['params']
    params = draw_parameters(shapes, rng)
    if self.init_kind == 'fan_in':
      params = scale_by_inputs(params)
    return {'model': params}

  def stage(self, step: int) -> int:
    """0 while only the warp is trained, then 1."""
    return int(step >= self.weights.edit_from_step)

  def at_stage(self, stage: int) -> AnimeGeneratorTask:
    """The task with the losses of one stage."""
    return dataclasses.replace(self, fixed_stage=stage)

  def losses(self, group, params, constants, batch, rng, step):
    """Mean over pairs, and directions, of the stage's weighted terms."""
    del group
    stage = self._stage_of(step)
    batch = jitter_pair(batch, rng, self.jitter)
    if self.exchange:
      batch = both_directions(batch)
    terms = self._terms(params, constants['objective'], batch, edit=stage > 0)
    terms = {k: _masked_mean(v, batch['_mask']) for k, v in terms.items()}
    weights = self.weights
    loss = weights.warped * terms['warped']
    if stage:
      loss += weights.image * terms['image']
      for name in _BLEND_TERMS:
        if getattr(weights, name):
          loss += getattr(weights, name) * terms[name]
    flow_weight = weights.flow_editing if stage else weights.flow
    if flow_weight:
      # Of an exchanged pair the flow is not known.
      directions = 2 if self.exchange else 1
      loss += flow_weight * directions * terms['flow']
    return loss, terms

  def _stage_of(self, step: Any) -> int:
    if self.fixed_stage is not None:
      return self.fixed_stage
    if isinstance(step, jax.core.Tracer):
      raise ValueError(
        'inside a jitted step the stage must be fixed: use task.at_stage('
        'task.stage(step))'
      )
    return self.stage(step)

  def _terms(self, params, constants, batch, *, edit):
    """Terms of every sample, [B]."""
    target = self.objective.prepare(
      constants, batch['driving_image'], batch['part_boxes']
    )
    if edit and self.weights.freeze_warp:
      params = {'model': with_frozen_warp(params['model'])}
    out = self._generate(params, batch, edit=edit)
    warped = out['warped_image']
    terms = {'warped': self.objective.warped(constants, warped, target)}
    if edit:
      terms['image'] = self.objective.image(constants, out['image'], target)
      if self.weights.painted or self.weights.share:
        terms |= self._blend_terms(out, batch)
    if 'flow' in batch:
      terms['flow'] = distances.flow_distance(
        out['flow'], batch['flow'], batch['flow_mask']
      )
    return terms

  def _blend_terms(self, out, batch):
    """Terms of what is painted, and of the mask that it is blended by."""
    target = batch['driving_image']
    changed = distances.change(
      jax.lax.stop_gradient(out['warped_image']), target
    )
    weight = self.objective.pixel_weight(batch['part_boxes'], target.shape)
    return {
      'painted': distances.painted_distance(
        out['painted_image'], target, changed
      ),
      'share': distances.share_distance(out['share'], changed, weight),
    }

  def predict(self, params, constants, batch):
    """Source pictures in the driving poses.

    Returns:
      `image` and `warped_image` [B, H, W, 3] float32 in [0, 1]; `flow`
      [B, H/4, W/4, 2] float32 in pixels of its own grid.
    """
    del constants
    out = self._generate(params, {**batch, **_as_floats(batch)}, edit=True)
    return {**out, 'image': jnp.clip(out['image'], 0, 1)}

  def _generate(self, params, batch, *, edit):
    return self.model.apply(
      {'params': params['model']},
      batch['source_image'],
      batch['driving_pose'],
      edit=edit,
    )

  def evaluate(
    self, params: Params, constants: Any, batches: Iterator[Batch]
  ) -> Mapping[str, float]:
    """L1, PSNR and SSIM, per part, beside those of copying the source.

    Returns:
      See `anime_generator_metrics`.
    """
    total = Means.empty()
    for batch in batches:
      total = total.merge(_batch_metrics(self, params, constants, batch))
    return summary(total.compute())

  def pictures(self, params, constants, batch):
    """Sheets of samples: self-reenactment, and poses of other identities."""
    floats = {**batch, **_as_floats(batch)}
    out = _predict(self, params, constants, floats)
    # The next one's pose: pictures of another identity that drives.
    other = {k: np.roll(np.asarray(batch[k]), -1, 0) for k in _DRIVING}
    crossed = {**batch, **other}
    return sample_sheets(
      self_batch=floats,
      self_out=out,
      cross_batch={**crossed, **_as_floats(crossed)},
      cross_out=_predict(self, params, constants, crossed),
    )

  # The task is a static argument of jitted functions: identity decides.
  __hash__ = object.__hash__

  def __eq__(self, other):
    return self is other


_DRIVING = ('driving_image', 'driving_pose')


def _as_floats(batch: Batch) -> Batch:
  """Pictures as float32 in [0, 1], from uint8; floats stay as they are."""
  floats = {}
  for name in ('source_image', 'driving_image'):
    if name in batch:
      x = jnp.asarray(batch[name])
      is_byte = x.dtype == jnp.uint8
      floats[name] = x.astype(jnp.float32) / 255 if is_byte else x
  return floats


def jitter_pair(batch: Batch, rng: jax.Array, strength: float) -> Batch:
  """Pictures as floats, colours of both changed by one draw a pair."""
  batch = {**batch, **_as_floats(batch)}
  if not strength:
    return batch
  both = jnp.stack([batch['source_image'], batch['driving_image']], 1)
  both = color_jitter(rng, both, strength)
  return {**batch, 'source_image': both[:, 0], 'driving_image': both[:, 1]}


def both_directions(batch: Batch) -> Batch:
  """Every pair twice, the second time with the roles exchanged.

  The true flow is known of the first direction only; the other gets a mask
  of zeros. The parts' boxes are those of the driving frame in both: they only
  weigh pixels, and hold the parts in every expression.

  Args:
    batch: B pairs.

  Returns:
    2 B pairs; a pair is followed by its exchange, so that a batch that is
    split over devices stays where it is.
  """

  def joined(one, other):
    return jnp.stack([one, other], 1).reshape(-1, *one.shape[1:])

  twice = {}
  for name in ('image', 'pose'):
    source, driving = batch[f'source_{name}'], batch[f'driving_{name}']
    twice[f'source_{name}'] = joined(source, driving)
    twice[f'driving_{name}'] = joined(driving, source)
  mask = batch.get('_mask', jnp.ones(len(batch['source_pose'])))
  twice['_mask'] = joined(mask, mask)
  twice['part_boxes'] = joined(batch['part_boxes'], batch['part_boxes'])
  for name in ('flow', 'flow_mask'):
    if name in batch:
      twice[name] = joined(batch[name], jnp.zeros_like(batch[name]))
  return twice


def with_frozen_warp(params: Params) -> Params:
  """The generator's parameters, those before editing without a gradient."""
  return {
    name: jax.lax.stop_gradient(value) if name in _WARP_NETWORKS else value
    for name, value in params.items()
  }


def _masked_mean(values: jax.Array, mask: jax.Array) -> jax.Array:
  return (values * mask).sum() / jnp.maximum(mask.sum(), 1.0)


@jax.jit(static_argnums=0)
def _predict(task, params, constants, batch):
  return task.predict(params, constants, batch)


@jax.jit(static_argnums=0)
def _batch_metrics(task, params, constants, batch) -> Means:
  """Metric state of one padded batch."""
  batch = {**batch, **_as_floats(batch)}
  return pair_metrics(task.predict(params, constants, batch), batch)


def build(
  config: ml_collections.ConfigDict, constants: Mapping[str, np.ndarray]
) -> AnimeGeneratorTask:
  """Builds the task from a config."""
  del constants
  loss = config.loss
  return AnimeGeneratorTask(
    model=build_generator(config.model),
    size=config.data.size,
    objective=build_objective(config),
    weights=StageWeights(
      warped=loss.warped_weight,
      image=loss.image_weight,
      painted=loss.painted_weight,
      share=loss.share_weight,
      flow=loss.flow_weight,
      flow_editing=loss.flow_weight_editing,
      edit_from_step=loss.edit_from_step,
      freeze_warp=loss.freeze_warp,
    ),
    jitter=config.data.color_jitter,
    init_kind=config.model.init,
    exchange=config.loss.exchange,
  )


def build_data(
  config: ml_collections.ConfigDict, task: AnimeGeneratorTask, mesh: Mesh
) -> TrainData:
  """Builds the source of pairs from `config.data`."""
  del task
  return anime_generator_data.build_pair_data(config, mesh)


def build_validation(
  config: ml_collections.ConfigDict, task: AnimeGeneratorTask
) -> Iterable[Batch]:
  """The validation pairs alone."""
  del task
  return anime_generator_data.ValidationPairs(config)


def validate(check: Checker) -> None:
  """Checks the sections `model`, `loss` and `data` of a config."""
  check.one_of('model.preset', tuple(PRESETS))
  check.one_of('model.dtype', DTYPES)
  check.one_of('model.init', INITS)
  for key in (
    'warped_weight',
    'image_weight',
    'painted_weight',
    'share_weight',
    'flow_weight',
    'flow_weight_editing',
    'edit_from_step',
  ):
    check.at_least(f'loss.{key}', 0)
  if check.get('loss.image_weight') == 0:
    check.add(
      'loss.image_weight',
      0,
      'must be above 0: the result would never be trained',
      'Set --config.loss.image_weight=4.',
    )
  if check.get('model.preset') in PRESETS:
    _validate_sizes(check)
  validate_objective(check)
  anime_generator_data.validate_data(check)


def _validate_sizes(check: Checker) -> None:
  try:
    network = network_config(check.config.model)
  except (TypeError, ValueError) as error:
    check.add(
      'model.sizes',
      check.get('model.sizes'),
      str(error),
      'See PIRendererConfig in generator/pirenderer/config.py.',
    )
    return
  for key in (f'loss.{term}_weight' for term in _BLEND_TERMS):
    if check.get(key) and not network.blend:
      check.add(
        key,
        check.get(key),
        'is of networks that blend what they paint with the warped picture',
        f'Set --config.{key}=0, or model.sizes.blend=True.',
      )
  size, multiple = check.get('data.size'), network.size_multiple
  reason = 'for this network'
  compares_scales = check.get('loss.objective') == 'structural' and check.get(
    'loss.l1_weight'
  )
  if compares_scales and multiple < _SCALES_MULTIPLE:
    multiple = _SCALES_MULTIPLE
    reason = 'for multi-scale L1, of the objective "structural", to halve it'
  if size and size % multiple:
    check.add(
      'data.size',
      size,
      f'must be a multiple of {multiple} {reason}',
      f'Set --config.data.size={-(-size // multiple) * multiple}.',
    )
