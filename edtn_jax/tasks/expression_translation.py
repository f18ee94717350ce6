"""Task: learn EDTN's translator without pairs (paper, section 2.2)."""

from __future__ import annotations

import dataclasses
import functools
import pathlib
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import jax
import jax.numpy as jnp
import ml_collections
import numpy as np
from jax.sharding import Mesh

from edtn_jax import faces
from edtn_jax.config import Checker
from edtn_jax.losses import (
  Geometry,
  LossWeights,
  Targets,
  loss_terms,
  make_projected_mesh,
  mesh_geometry,
  projected_geometry,
  projected_targets,
  sparsity_term,
  total_loss,
)
from edtn_jax.losses.terms import READINGS, TERMS
from edtn_jax.tasks import code_data
from edtn_jax.tasks.base import Batch, Params, Task, TrainData
from edtn_jax.tasks.expression_metrics import ExpressionMetrics
from edtn_jax.translation.network import (
  ExpressionTranslator,
  build_translator,
)

FORMS = ('projected', 'mesh')
DTYPES = ('float32', 'bfloat16', 'float16')


@dataclasses.dataclass(frozen=True)
class ExpressionTranslationTask(Task):
  """EDTN: 53 human numbers to 17 anime coefficients through a 3D loss.

  Batches hold `human: {expression [B, 50], jaw_pose [B, 3]}` and, where the
  truth is known, `human.true_pose_coeffs [B, 17]`; `_mask [B]` is optional in
  training.

  Attributes:
    model: the translator.
    face: head model and pose adapter.
    reading: `paper` or `code` (see `edtn_jax.losses.terms`).
    form: `projected` (no mesh, exact) or `mesh` (through the FLAME layer).
    weights: loss weights.
  """

  model: ExpressionTranslator
  face: faces.Face
  reading: str
  form: str
  weights: LossWeights

  best_metric = 'loss'

  @functools.cached_property
  def constants(self) -> dict[str, Any]:
    """Pose adapter and either the projection or the head model."""
    adapter = jnp.asarray(self.face.pose_adapter)
    if self.form == 'mesh':
      return {'pose_adapter': adapter, 'assets': self.face.assets}
    return {
      'pose_adapter': adapter,
      'projection': make_projected_mesh(
        self.face.assets, self.face.pose_adapter
      ),
    }

  def portable_constants(self) -> dict[str, np.ndarray]:
    """The pose adapter: what the coefficients mean as expressions."""
    return {'pose_adapter': np.asarray(self.face.pose_adapter, np.float32)}

  def init(self, rng: jax.Array) -> Params:
    """Initialises the translator."""
    variables = self.model.init(rng, jnp.zeros((1, 50)), jnp.zeros((1, 3)))
    return {'model': variables['params']}

  def encode(self, constants: Any, batch: Batch) -> Batch:
    """Adds `targets`: the human side of the projected loss."""
    if self.form == 'mesh' or 'targets' in batch:
      return batch
    human = batch['human']
    targets = projected_targets(
      constants['projection'], human['expression'], human['jaw_pose']
    )
    return {**batch, 'targets': targets}

  def losses(self, group, params, constants, batch, rng, step):
    """Equation 6 and its terms, averaged over the batch."""
    del group, rng, step
    pose_coeffs = self._translate(params, batch)
    terms = self.terms(constants, batch, pose_coeffs)
    terms = {k: _masked_mean(v, batch.get('_mask')) for k, v in terms.items()}
    return total_loss(terms, self.weights), terms

  def predict(self, params, constants, batch):
    """Returns `pose_coeffs` [B, 17]."""
    del constants
    return {'pose_coeffs': self._translate(params, batch)}

  def geometry(
    self, constants: Any, batch: Batch, pose_coeffs: jax.Array
  ) -> Geometry:
    """Target and predicted head of a batch, by the form in use."""
    human = batch['human']
    if self.form == 'mesh':
      return mesh_geometry(
        constants['assets'],
        constants['pose_adapter'],
        human['expression'],
        human['jaw_pose'],
        pose_coeffs,
      )
    targets: Targets = self.encode(constants, batch)['targets']
    return projected_geometry(constants['projection'], targets, pose_coeffs)

  def terms(
    self, constants: Any, batch: Batch, pose_coeffs: jax.Array
  ) -> dict[str, jax.Array]:
    """Every loss term of every sample, [B] each."""
    geometry = self.geometry(constants, batch, pose_coeffs)
    return {
      **loss_terms(geometry, self.reading),
      'sparsity': sparsity_term(pose_coeffs),
    }

  def evaluate(
    self, params: Params, constants: Any, batches: Iterator[Batch]
  ) -> Mapping[str, float]:
    """Loss terms, landmark error, lid and lip error, coefficient ranges."""
    total = ExpressionMetrics.empty()
    for batch in batches:
      total = total.merge(_batch_metrics(self, params, constants, batch))
    return total.compute()

  def pictures(self, params, constants, batch):
    """Target mesh | predicted mesh of some frames."""
    from edtn_jax.pictures.face_scene import target_and_predicted

    pose_coeffs = self.predict(params, constants, batch)['pose_coeffs']
    human = batch['human']
    # Far apart in the batch, so that they show different people.
    rows = np.linspace(0, len(pose_coeffs) - 1, 6).astype(int)
    picture = target_and_predicted(
      self.face,
      np.asarray(human['expression'])[rows],
      np.asarray(human['jaw_pose'])[rows],
      np.asarray(pose_coeffs)[rows],
    )
    return {'target_and_predicted': picture}

  def _translate(self, params: Params, batch: Batch) -> jax.Array:
    human = batch['human']
    return self.model.apply(
      {'params': params['model']}, human['expression'], human['jaw_pose']
    )

  # The task is a static argument of jitted functions: identity decides.
  __hash__ = object.__hash__

  def __eq__(self, other):
    return self is other


def _masked_mean(values: jax.Array, mask: jax.Array | None) -> jax.Array:
  if mask is None:
    return values.mean()
  return (values * mask).sum() / jnp.maximum(mask.sum(), 1.0)


@jax.jit(static_argnums=0)
def _batch_metrics(task, params, constants, batch) -> ExpressionMetrics:
  """Metric state of one padded batch."""
  pose_coeffs = task.predict(params, constants, batch)['pose_coeffs']
  geometry = task.geometry(constants, batch, pose_coeffs)
  terms = task.terms(constants, batch, pose_coeffs)
  return ExpressionMetrics.from_batch(
    geometry=geometry,
    terms={**terms, 'loss': total_loss(terms, task.weights)},
    pose_coeffs=pose_coeffs,
    true_pose_coeffs=batch['human'].get('true_pose_coeffs'),
    mask=batch['_mask'],
  )


def build(
  config: ml_collections.ConfigDict, constants: Mapping[str, np.ndarray]
) -> ExpressionTranslationTask:
  """Builds the task from a config, and a checkpoint's pose adapter if given."""
  face = faces.load_face(config.face, constants.get('pose_adapter'))
  return ExpressionTranslationTask(
    model=build_translator(config.model),
    face=face,
    reading=config.loss.reading,
    form=config.loss.form,
    weights=LossWeights(
      vertex=config.loss.vertex_weight,
      landmark=config.loss.landmark_weight,
      eye=config.loss.eye_weight,
      mouth=config.loss.mouth_weight,
      sparsity=config.loss.sparsity_weight,
    ),
  )


def build_data(
  config: ml_collections.ConfigDict,
  task: ExpressionTranslationTask,
  mesh: Mesh,
) -> TrainData:
  """Builds the source of human codes from `config.data`."""
  return code_data.build_code_data(config, task, mesh)


def build_validation(
  config: ml_collections.ConfigDict, task: ExpressionTranslationTask
) -> Iterable[Batch]:
  """The validation split alone."""
  return code_data.build_code_validation(config, task)


def validate(check: Checker) -> None:
  """Checks the sections `face`, `loss`, `model` and `data` of a config."""
  check.one_of('loss.reading', READINGS)
  check.one_of('loss.form', FORMS)
  weights = [f'loss.{term}_weight' for term in TERMS]
  for key in (*weights, 'loss.sparsity_weight'):
    check.at_least(key, 0)
  if all(check.get(key) == 0 for key in weights):
    check.add(
      'loss.*_weight',
      0,
      'one must be above 0',
      'Set --config.loss.vertex_weight=100.',
    )
  check.file('face.model', words=(faces.PROCEDURAL,))
  check.file('face.pose_adapter', words=(faces.FIT,))
  for path in (check.get('face.landmarks') or '').split(','):
    if path and not pathlib.Path(path).is_file():
      check.add(
        'face.landmarks', path, 'is not a file', 'Give an existing path.'
      )
  check.at_least('face.adapter_penalty', 0)
  check.one_of('face.expression_space', faces.EXPRESSION_SPACES)
  check.one_of('model.dtype', DTYPES)
  check.at_least('model.negative_slope', 0, high=1)
  sizes = check.get('model.hidden_sizes') or ()
  if not all(isinstance(size, int) and size > 0 for size in sizes):
    check.add(
      'model.hidden_sizes',
      sizes,
      'must be whole numbers above 0',
      'Set --config.model.hidden_sizes="(512, 512, 512)".',
    )
  code_data.validate(check)
