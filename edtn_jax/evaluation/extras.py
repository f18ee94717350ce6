"""What an evaluation measures beside a task's own validation metrics."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import jax
import jax.numpy as jnp
import ml_collections
import numpy as np

from data import anime_tree
from data.character_frames import CharacterFrames
from edtn_jax.evaluation import poses
from edtn_jax.evaluation.metrics import Means
from edtn_jax.evaluation.metrics.ms_ssim import ms_ssim, num_scales
from edtn_jax.tasks.base import Batch, Params, Task

# Codes that the picture of pose vectors shows at most.
_MOST_CODES = 4000
_BYTE = 255


@dataclasses.dataclass(frozen=True)
class Evaluated:
  """What an extra measurement gets.

  Attributes:
    task: of the run.
    config: of the evaluation.
    params: parameters, on every device.
    constants: of the task, likewise.
    batches: this process's rows of the split's batches, numpy.
    spread: makes global arrays of such a batch.
  """

  task: Task
  config: ml_collections.ConfigDict
  params: Params
  constants: Any
  batches: Iterable[Batch]
  spread: Callable[[Batch], Batch]


@dataclasses.dataclass(frozen=True)
class Extra:
  """What it found.

  Attributes:
    metrics: by name.
    protocol: how they were taken.
    plane: of pose vectors, of a translator.
    coefficients: [N, 17] float of a translator, of this process's rows.
    true_coefficients: [N, 17] float or None.
  """

  metrics: dict[str, float]
  protocol: dict[str, Any]
  plane: poses.PosePlane | None = None
  coefficients: np.ndarray | None = None
  true_coefficients: np.ndarray | None = None


def extra(evaluated: Evaluated) -> Extra:
  """Measures what belongs to the task; of an unknown one, nothing."""
  measure = {
    'anime_generator': _generator,
    'expression_translation': _translator,
  }.get(evaluated.config.task)
  return measure(evaluated) if measure else Extra({}, {})


def _generator(evaluated: Evaluated) -> Extra:
  """MS-SSIM, and the picture of one identity in another one's pose."""
  task, total = evaluated.task, Means.empty()
  for batch in map(evaluated.spread, evaluated.batches):
    total = total.merge(
      _ms_ssim_batch(task, evaluated.params, evaluated.constants, batch)
    )
  metrics = total.compute()
  protocol = {'ms_ssim_scales': num_scales(evaluated.config.data.size)}
  settings = evaluated.config.data
  if settings.source != 'characters' or settings.background != 'white':
    protocol['cross_identity'] = (
      'not measured: there is truth of characters drawn on white alone'
    )
    return Extra(metrics, protocol)
  protocol['cross_identity'] = (
    "every source in the next pair's driving pose, against its own drawing"
  )
  crossed = _crossed(evaluated.batches, evaluated.config)
  found = task.evaluate(
    evaluated.params, evaluated.constants, map(evaluated.spread, crossed)
  )
  metrics |= {
    f'cross/{name}': value
    for name, value in found.items()
    if '/' not in name and 'flow' not in name
  }
  return Extra(metrics, protocol)


@jax.jit(static_argnums=0)
def _ms_ssim_batch(task, params, constants, batch) -> Means:
  picture = task.predict(params, constants, batch)['image']
  target = jnp.asarray(batch['driving_image'])
  if target.dtype == jnp.uint8:
    target = target.astype(jnp.float32) / _BYTE
  return Means.empty().update(
    {'ms_ssim': (ms_ssim(picture, target), batch['_mask'])}
  )


def _crossed(
  batches: Iterable[Batch], config: ml_collections.ConfigDict
) -> Iterator[Batch]:
  """Batches of sources in other identities' poses, with their drawings."""
  settings = config.data
  first = settings.first_identity + settings.num_identities
  characters = CharacterFrames(
    range(first, first + settings.validation_identities),
    settings.size,
    max(config.seed, 0),
    styles=settings.styles,
  )
  for batch in batches:
    driving = np.roll(np.asarray(batch['driving_pose']), -1, 0)
    # A row that fills a batch up drives nobody.
    mask = batch['_mask'] * np.roll(batch['_mask'], -1, 0)
    pictures, boxes = np.zeros_like(batch['driving_image']), []
    for i, identity in enumerate(batch['identity']):
      character = characters.character(int(identity))
      pictures[i] = anime_tree.on_white(character.render(driving[i]))
      found = character.part_boxes(driving[i])
      boxes.append([found['eyes'], found['mouth']])
    crossed = {
      **batch,
      'driving_pose': driving,
      'driving_image': pictures,
      'part_boxes': np.array(boxes, np.float32),
      '_mask': mask.astype(np.float32),
    }
    if 'flow_mask' in batch:
      # Of these pairs the flow is not known; without weight it counts nothing.
      crossed['flow_mask'] = np.zeros_like(batch['flow_mask'])
    yield crossed


def _translator(evaluated: Evaluated) -> Extra:
  """How the pose vectors of human codes lie among anime ones."""
  found, true = [], []
  for batch in evaluated.batches:
    out = _coefficients(
      evaluated.task,
      evaluated.params,
      evaluated.constants,
      evaluated.spread(batch),
    )
    real = np.asarray(batch['_mask']) > 0
    found.append(_own(out, len(real))[real])
    if 'true_pose_coeffs' in batch['human']:
      true.append(np.asarray(batch['human']['true_pose_coeffs'])[real])
    if sum(map(len, found)) >= _MOST_CODES:
      break
  coefficients = np.concatenate(found)[:_MOST_CODES]
  plane = poses.pose_plane(coefficients, poses.anime_coefficients())
  return Extra(
    {'anime_distance': plane.distance},
    {'anime_distance': f'of {len(coefficients)} codes, of process 0'},
    plane,
    coefficients,
    np.concatenate(true)[:_MOST_CODES] if true else None,
  )


@jax.jit(static_argnums=0)
def _coefficients(task, params, constants, batch) -> jax.Array:
  return task.predict(params, constants, batch)['pose_coeffs']


def _own(rows: jax.Array, count: int) -> np.ndarray:
  """This process's rows of a global array."""
  shards = {
    shard.index[0].start or 0: np.asarray(shard.data)
    for shard in rows.addressable_shards
  }
  return np.concatenate([shards[start] for start in sorted(shards)])[:count]
