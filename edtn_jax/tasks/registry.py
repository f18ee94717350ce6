"""Names of the tasks and how each is built from a config."""

from __future__ import annotations

import importlib
import types
from collections.abc import Iterable, Mapping

import ml_collections
import numpy as np
from jax.sharding import Mesh

from edtn_jax.tasks.base import Batch, Task, TrainData

# name -> module with `build`, `build_data`, `build_validation` (signatures of
# the functions below) and `validate(checker)`; imported only when asked for.
_MODULES = {
  'anime_generator': 'edtn_jax.tasks.anime_generator',
  'expression_translation': 'edtn_jax.tasks.expression_translation',
}


def task_names() -> tuple[str, ...]:
  """Names that `config.task` may have."""
  return tuple(_MODULES)


def build_task(
  config: ml_collections.ConfigDict,
  constants: Mapping[str, np.ndarray] | None = None,
) -> Task:
  """Builds the task that `config.task` names.

  Args:
    config: the whole config.
    constants: `Task.portable_constants` of a checkpoint, to use instead of
      loading or fitting them as the config says.

  Raises:
    ValueError: for an unknown name.
  """
  return task_module(config).build(config, constants or {})


def build_data(
  config: ml_collections.ConfigDict, task: Task, mesh: Mesh
) -> TrainData:
  """Builds the input that `config.data` describes for a task.

  Raises:
    ValueError: for an unknown task name, or data that cannot be used.
  """
  return task_module(config).build_data(config, task, mesh)


def build_validation(
  config: ml_collections.ConfigDict, task: Task
) -> Iterable[Batch]:
  """The validation split that `config.data` describes, in padded batches.

  Raises:
    ValueError: for an unknown task name, or data that cannot be used.
  """
  return task_module(config).build_validation(config, task)


def task_module(config: ml_collections.ConfigDict) -> types.ModuleType:
  """The module of `config.task`.

  Raises:
    ValueError: for an unknown name.
  """
  if config.task not in _MODULES:
    raise ValueError(
      f'config.task is {config.task!r}; known: {", ".join(_MODULES)}'
    )
  return importlib.import_module(_MODULES[config.task])
