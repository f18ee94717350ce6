"""Human expression codes as training input: in memory or streamed."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import jax
import jax.numpy as jnp
import ml_collections
import numpy as np
from absl import logging
from jax.sharding import Mesh

from data import dataset, pipelines, procedural_codes, remote
from data.codes import CodeTable
from edtn_jax import devices
from edtn_jax.config import Checker
from edtn_jax.faces import Face
from edtn_jax.tasks.base import Batch, Task, TrainData

# Frames that are encoded at once when a table is put on the devices.
_ENCODE_CHUNK = 8192


class DataError(ValueError):
  """Training data that is absent or cannot be used with the config."""


class ValidationSplit:
  """A table of codes in padded batches of a fixed size.

  Of several processes each gets its own rows of every batch.
  """

  def __init__(self, table: CodeTable, batch_size: int):
    self.table = table
    self.batch_size = batch_size

  def __iter__(self) -> Iterator[Batch]:
    batches = pipelines.padded_batches(self.table, self.batch_size)
    return map(devices.own_rows, batches)


class MemoryCodeData(TrainData):
  """Every code on every device; a step receives only row numbers.

  The whole of VoxCeleb's codes fits in a device's memory: 1.1 kB a frame with
  the encoded targets of the projected loss.
  """

  def __init__(
    self,
    table: CodeTable,
    validation: ValidationSplit,
    task: Task,
    mesh: Mesh,
    *,
    seed: int,
    batch_size: int,
  ):
    self.examples_per_pass = len(table.identity_names)
    self.resident = _encode_table(table, task, mesh)
    self._validation = validation
    self._pipeline = pipelines.MemoryPipeline(table, seed, batch_size)
    self._batch_size = batch_size

  def batches(self, step: int) -> Iterator[Batch]:
    """Row numbers of this process's part, from `step` on."""
    per_process = self._batch_size // jax.process_count()
    begin = per_process * jax.process_index()
    while True:
      rows = self._pipeline.indices(step)[begin : begin + per_process]
      yield {'row': rows.astype(np.int32)}
      step += 1

  def gather(self, resident: Any, batch: Batch) -> Batch:
    """Picks the rows out of the resident table."""
    return jax.tree.map(lambda x: x[batch['row']], resident)

  def position(self, step: int) -> dict[str, int]:
    """Index of the next example."""
    return {'global_next_index': step * self._batch_size}

  def validation(self) -> Iterator[Batch]:
    """Padded batches of the validation table."""
    return iter(self._validation)


class StreamCodeData(TrainData):
  """Codes read from a prepared data set while training (grain)."""

  def __init__(
    self, config: ml_collections.ConfigDict, validation: ValidationSplit
  ):
    self._config = config
    self._validation = validation
    self._batch_size = config.train.batch_size
    split = _split(config.data.path, config.data.train_split)
    self.examples_per_pass = split.num_identities

  def batches(self, step: int) -> Iterator[Batch]:
    """This process's rows, starting where `step` steps left off."""
    settings = self._config.data
    return pipelines.stream_codes(
      settings.path,
      settings.train_split,
      self._config.seed,
      self._batch_size,
      shard_index=jax.process_index(),
      shard_count=jax.process_count(),
      num_workers=settings.num_workers,
      num_threads=settings.num_threads,
      start_state=self.position(step),
    )

  def position(self, step: int) -> dict[str, int]:
    """Grain's elastic iterator state: index of the next example."""
    return {'global_next_index': step * self._batch_size}

  def validation(self) -> Iterator[Batch]:
    """Padded batches of the validation table."""
    return iter(self._validation)


def build_code_data(
  config: ml_collections.ConfigDict, task: Any, mesh: Mesh
) -> TrainData:
  """Builds training and validation input from `config.data`.

  Args:
    config: the whole config.
    task: the task; its `face` makes procedural codes and says which fit.
    mesh: devices for the resident path.

  Returns:
    The input.

  Raises:
    DataError: if the data set has no usable split or foreign codes.
  """
  validation = build_code_validation(config, task)
  if config.data.pipeline == 'stream':
    return StreamCodeData(config, validation)
  if config.data.source == 'procedural':
    table = _procedural_table(config, task.face, config.data.num_identities, 0)
  else:
    table = _dataset_table(config, task.face, config.data.train_split)
  return MemoryCodeData(
    table,
    validation,
    task,
    mesh,
    seed=config.seed,
    batch_size=config.train.batch_size,
  )


def build_code_validation(
  config: ml_collections.ConfigDict, task: Any
) -> ValidationSplit:
  """The validation split alone; see `build_code_data`."""
  settings = config.data
  if settings.source == 'procedural':
    table = _procedural_table(
      config,
      task.face,
      settings.validation_identities,
      settings.num_identities,
    )
  else:
    table = _dataset_table(config, task.face, settings.validation_split)
  return ValidationSplit(table, config.train.eval_batch_size)


def _procedural_table(
  config: ml_collections.ConfigDict, face: Face, count: int, first: int
) -> CodeTable:
  """Codes of procedural identities `first` to `first + count`."""
  settings = config.data
  clips = procedural_codes.procedural_clips(
    face.pose_adapter,
    seed=settings.procedural_seed,
    num_identities=count,
    frames_per_identity=settings.frames_per_identity,
    first_identity=first,
    offset_scale=settings.offset_scale,
    noise_scale=settings.noise_scale,
  )
  return CodeTable.from_clips(clips)


def _split(path: str, name: str) -> dataset.SplitInfo:
  """What a prepared data set says of one split."""
  known = dataset.open_dataset(path).splits
  if name not in known:
    raise DataError(
      f'{path} has no split {name!r}; there: {sorted(known)}. Prepare more '
      'identities, or name one that is there (train: '
      '--config.data.train_split=... and validation_split=..., evaluate: '
      '--split=...).'
    )
  return known[name]


def _dataset_table(
  config: ml_collections.ConfigDict, face: Face, split: str
) -> CodeTable:
  """One split of a prepared data set, checked against the head model."""
  path = config.data.path
  _split(path, split)
  table = dataset.load_table(path, split)
  if table.expression_space != face.expression_space:
    raise DataError(
      f'{path} holds {table.expression_space!r} codes, the face model '
      f'understands {face.expression_space!r}. For FLAME codes set '
      '--config.face.model=FLAME_FILE, or --config.face.expression_space='
      'flame with --config.face.pose_adapter=MATRIX.npy.'
    )
  return table


def _encode_table(table: CodeTable, task: Task, mesh: Mesh) -> Batch:
  """Puts a table on every device with the task's targets added."""
  human = {'expression': table.expression, 'jaw_pose': table.jaw_pose}
  if table.true_pose_coeffs is not None:
    human['true_pose_coeffs'] = table.true_pose_coeffs
  encode = jax.jit(task.encode)
  pieces = []
  for begin in range(0, len(table.expression), _ENCODE_CHUNK):
    piece = {k: v[begin : begin + _ENCODE_CHUNK] for k, v in human.items()}
    pieces.append(jax.device_get(encode(task.constants, {'human': piece})))
  whole = jax.tree.map(lambda *x: np.concatenate(x), *pieces)
  size = sum(x.nbytes for x in jax.tree.leaves(whole))
  logging.info(
    'Codes on each device: %d frames of %d identities, %.1f MB',
    len(table.expression),
    len(table.identity_names),
    size / 1e6,
  )
  return jax.tree.map(jnp.asarray, devices.replicate(whole, mesh))


def validate(check: Checker) -> None:
  """Checks the section `data` of a config."""
  check.one_of('data.source', ('procedural', 'dataset'))
  check.one_of('data.pipeline', ('memory', 'stream'))
  check.at_least('data.num_workers', 0)
  check.at_least('data.num_threads', 0)
  if check.get('data.source') == 'dataset':
    path = check.get('data.path')
    if not path or not remote.is_folder(path):
      check.add(
        'data.path',
        path,
        'must be a prepared data set when data.source is "dataset"',
        'Make one: edtn prepare --input=DIR --output=DATASET.',
      )
    return
  check.at_least('data.num_identities', 2)
  check.at_least('data.frames_per_identity', 1)
  check.at_least('data.validation_identities', 1)
  for key in ('procedural_seed', 'offset_scale', 'noise_scale'):
    check.at_least(f'data.{key}', 0)
  if check.get('data.pipeline') == 'stream':
    check.add(
      'data.pipeline',
      'stream',
      'needs a data set on disk',
      'Write one with edtn prepare --procedural=N, or set '
      '--config.data.pipeline=memory.',
    )
