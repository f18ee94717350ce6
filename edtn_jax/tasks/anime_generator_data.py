"""Input of the generator's training: pairs from records, or drawn."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import jax
import jax.numpy as jnp
import ml_collections
import numpy as np
from absl import logging
from jax.sharding import Mesh

from data import pairs, remote, sampling, streams
from data.anime_pairs import AnimePairs
from data.character_pair_cache import draw_pairs
from data.character_pairs import CharacterPairs
from data.characters.style import check_styles
from edtn_jax import devices
from edtn_jax.config import Checker
from edtn_jax.tasks.base import Batch, TrainData

SOURCES = ('dataset', 'characters')
PIPELINES = ('stream', 'memory')
_THREADS_OF_VALIDATION = 4


class ValidationPairs:
  """The first pairs of a split, in padded batches; always the same.

  Of several processes each gets its own rows of every batch.
  """

  def __init__(self, config: ml_collections.ConfigDict):
    self._source = _source(config, training=False)
    self._num_pairs = config.data.validation_pairs
    self._batch_size = config.train.eval_batch_size
    self._kept: list[Batch] | None = None

  def __iter__(self) -> Iterator[Batch]:
    # Decoded or drawn once: a few hundred pairs.
    if self._kept is None:
      self._kept = list(
        pairs.padded_pairs(
          self._source,
          self._num_pairs,
          self._batch_size,
          num_threads=_THREADS_OF_VALIDATION,
          shard_index=jax.process_index(),
          shard_count=jax.process_count(),
        )
      )
    return iter(self._kept)


class StreamPairData(TrainData):
  """Pairs that are read or drawn while training."""

  def __init__(self, config: ml_collections.ConfigDict):
    self._config = config
    self._source = _source(config, training=True)
    self._validation = ValidationPairs(config)
    self.examples_per_pass = self._source.pairs_per_epoch

  def batches(self, step: int) -> Iterator[Batch]:
    """This process's rows, starting where `step` steps left off."""
    settings = self._config.data
    options = streams.StreamOptions(
      self._config.train.batch_size,
      jax.process_index(),
      jax.process_count(),
      settings.num_workers,
      settings.num_threads,
      self.position(step),
    )
    return streams.open_stream(self._source, options)

  def position(self, step: int) -> dict[str, int]:
    """Index of the next pair."""
    return {streams.STATE_KEY: step * self._config.train.batch_size}

  def validation(self) -> Iterator[Batch]:
    """Padded batches of the validation pairs."""
    return iter(self._validation)


class MemoryPairData(TrainData):
  """Drawn pairs that live on every device; a step receives row numbers.

  A small net on a CPU learns faster than the same CPU can draw.
  """

  def __init__(self, config: ml_collections.ConfigDict, mesh: Mesh):
    settings = config.data
    drawn = draw_pairs(
      _seeds(config, training=True),
      settings.pairs_per_identity,
      _options(config),
      rotated_fraction=settings.rotated_fraction,
      source_rotated_fraction=settings.source_rotated_fraction,
      styles=settings.styles,
      with_flow=_wants_flow(config),
      num_processes=settings.num_workers,
    )
    drawn['identity'] = drawn['identity'].astype(np.int32)
    count = len(drawn['identity'])
    logging.info(
      'Pairs on each device: %d, %.1f MB',
      count,
      sum(x.nbytes for x in drawn.values()) / 1e6,
    )
    self.resident = jax.tree.map(jnp.asarray, devices.replicate(drawn, mesh))
    self.examples_per_pass = count
    # With one frame an identity, an identity is a pair.
    self._order = sampling.IdentitySampler(np.arange(count + 1), config.seed)
    self._batch_size = config.train.batch_size
    self._validation = ValidationPairs(config)

  def batches(self, step: int) -> Iterator[Batch]:
    """Row numbers of this process's part, from `step` on."""
    per_process = self._batch_size // jax.process_count()
    begin = per_process * jax.process_index()
    while True:
      first = step * self._batch_size + begin
      rows = self._order.frame_index(np.arange(first, first + per_process))
      yield {'row': rows.astype(np.int32)}
      step += 1

  def gather(self, resident: Any, batch: Batch) -> Batch:
    """Picks the rows out of the resident pairs."""
    return jax.tree.map(lambda x: x[batch['row']], resident)

  def position(self, step: int) -> dict[str, int]:
    """Index of the next pair."""
    return {streams.STATE_KEY: step * self._batch_size}

  def validation(self) -> Iterator[Batch]:
    """Padded batches of the validation pairs."""
    return iter(self._validation)


def build_pair_data(config: ml_collections.ConfigDict, mesh: Mesh) -> TrainData:
  """Builds training and validation input from `config.data`.

  Raises:
    ValueError, FileNotFoundError: if the data set or the options do not fit.
  """
  if config.data.pipeline == 'memory':
    return MemoryPairData(config, mesh)
  return StreamPairData(config)


def _options(config: ml_collections.ConfigDict) -> pairs.PairOptions:
  return pairs.PairOptions(
    size=config.data.size,
    seed=config.seed,
    repeats=config.data.repeats,
    background=config.data.background,
  )


def _seeds(config: ml_collections.ConfigDict, *, training: bool) -> range:
  """Characters to train on, or the ones after them."""
  settings = config.data
  middle = settings.first_identity + settings.num_identities
  if training:
    return range(settings.first_identity, middle)
  return range(middle, middle + settings.validation_identities)


def _wants_flow(config: ml_collections.ConfigDict) -> bool:
  loss = config.loss
  return loss.flow_weight > 0 or loss.flow_weight_editing > 0


def _source(
  config: ml_collections.ConfigDict, *, training: bool
) -> streams.ExampleSource:
  settings = config.data
  if settings.source == 'dataset':
    split = settings.train_split if training else settings.validation_split
    return AnimePairs(settings.path, split, _options(config))
  return CharacterPairs(
    _seeds(config, training=training),
    _options(config),
    rotated_fraction=settings.rotated_fraction,
    source_rotated_fraction=settings.source_rotated_fraction,
    styles=settings.styles,
    # Validation is small, and the flow's error is a metric.
    with_flow=not training or _wants_flow(config),
  )


def validate_data(check: Checker) -> None:
  """Checks the section `data` of a config."""
  check.one_of('data.source', SOURCES)
  check.one_of('data.pipeline', PIPELINES)
  check.one_of('data.background', pairs.BACKGROUNDS)
  for key, least in (
    ('size', 1),
    ('repeats', 1),
    ('validation_pairs', 1),
    ('num_workers', 0),
    ('num_threads', 0),
  ):
    check.at_least(f'data.{key}', least)
  check.at_least('data.color_jitter', 0, high=0.5)
  if check.get('data.source') == 'dataset':
    _validate_dataset(check)
  else:
    _validate_characters(check)


def _validate_dataset(check: Checker) -> None:
  path = check.get('data.path')
  if not path or not remote.is_folder(path):
    check.add(
      'data.path',
      path,
      'must be a prepared data set when data.source is "dataset"',
      'Make one with edtn prepare, or train on characters drawn by code: '
      '--config.data.source=characters.',
    )
  if check.get('data.pipeline') == 'memory':
    check.add(
      'data.pipeline',
      'memory',
      'is for characters drawn by code',
      'Set --config.data.pipeline=stream.',
    )
  for key in ('flow_weight', 'flow_weight_editing'):
    if check.get(f'loss.{key}'):
      check.add(
        f'loss.{key}',
        check.get(f'loss.{key}'),
        'the true flow is known of characters drawn by code only',
        f'Set --config.loss.{key}=0.',
      )


def _validate_characters(check: Checker) -> None:
  for key, least in (
    ('num_identities', 1),
    ('validation_identities', 1),
    ('first_identity', 0),
    ('pairs_per_identity', 1),
  ):
    check.at_least(f'data.{key}', least)
  for key in ('rotated_fraction', 'source_rotated_fraction'):
    check.at_least(f'data.{key}', 0, high=1)
  try:
    check_styles(check.get('data.styles') or ())
  except ValueError as error:
    check.add(
      'data.styles',
      check.get('data.styles'),
      str(error),
      'Set --config.data.styles="(\'cel\',)".',
    )
