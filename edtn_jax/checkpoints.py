"""Checkpoints: one thin module around Orbax.

A checkpoint is a directory `checkpoints/<step>/` with the items

    params      parameters by group
    ema_params  their moving average, where the run keeps one
    trainer     step, optimizer state, random key
    constants   small arrays that inference needs (the pose adapter)
    data        JSON, position of the input pipeline
    config      JSON, the config of the run

so inference reads `params`, `constants` and `config` and nothing else, and
training restores all of it on any number of devices.
"""

from __future__ import annotations

import contextlib
import dataclasses
import json
import os
from collections.abc import Iterator, Mapping
from typing import Any

import jax
import ml_collections
import numpy as np
import orbax.checkpoint as ocp
from absl import logging
from etils import epath
from orbax.checkpoint.checkpoint_managers import preservation_policy

from data import remote
from edtn_jax import config as config_lib
from edtn_jax import workdir as workdir_lib

# What a checkpoint may lack, and why.
_OPTIONAL = {
  'ema_params': 'no moving average: its run has train.ema_decay = 0',
  'trainer': 'no training state: its weights were converted',
}
# Of a config, what inference looks at.
_CONFIG_KEYS = ('task', 'model')


class CheckpointError(ValueError):
  """A checkpoint that is absent, damaged or does not fit."""


@dataclasses.dataclass(frozen=True)
class Checkpoint:
  """What inference needs.

  Attributes:
    config: config of the run that wrote it.
    params: parameters by group, numpy arrays.
    constants: arrays by name, e.g. `pose_adapter` [17, 50].
    step: training step.
    path: where it was read.
    averaged: whether `params` is the moving average.
  """

  config: ml_collections.ConfigDict
  params: dict[str, Any]
  constants: dict[str, np.ndarray]
  step: int
  path: str
  averaged: bool


class CheckpointManager:
  """Writes a run's checkpoints: asynchronous, latest two and best one.

  Orbax writes to a folder of another name and renames it when all is there,
  so that a save that fails leaves the earlier checkpoints as they are. Of
  several processes each writes what it alone holds.
  """

  def __init__(
    self,
    workdir: str | epath.Path,
    *,
    best_metric: str,
    keep_latest: int = 2,
    read_only: bool = False,
  ):
    """Opens or creates `<workdir>/checkpoints`.

    Args:
      workdir: the run's directory.
      best_metric: name of the metric whose smallest value is kept.
      keep_latest: number of newest checkpoints to keep.
      read_only: whether another run's checkpoints are only looked at.
    """
    directory = workdir_lib.absolute(workdir) / workdir_lib.CHECKPOINTS
    latest = preservation_policy.LatestN(keep_latest)
    best = preservation_policy.BestN(
      get_metric_fn=lambda metrics: metrics[best_metric], reverse=True, n=1
    )
    options = ocp.CheckpointManagerOptions(
      preservation_policy=preservation_policy.AnyPreservationPolicy(
        [latest, best]
      ),
      best_fn=lambda metrics: metrics[best_metric],
      best_mode='min',
      read_only=read_only,
    )
    try:
      self._manager = ocp.CheckpointManager(directory, options=options)
    except ValueError as error:
      raise CheckpointError(
        f'a checkpoint in {directory} is damaged ({error}). Remove its folder '
        'to continue from the one before.'
      ) from error
    self._best_metric = best_metric

  @property
  def directory(self) -> epath.Path:
    """Where the checkpoints are."""
    return epath.Path(self._manager.directory)

  @property
  def steps(self) -> list[int]:
    """Steps of all kept checkpoints."""
    return sorted(self._manager.all_steps())

  def save(
    self,
    step: int,
    trees: Mapping[str, Any],
    *,
    data: Any,
    config: ml_collections.ConfigDict,
    metrics: Mapping[str, float] | None,
  ) -> None:
    """Starts writing one checkpoint; a step already there is left alone.

    Args:
      step: training step.
      trees: pytrees by item name (see the module's docstring); None values
        are left out.
      data: JSON-able position of the input pipeline.
      config: the run's config.
      metrics: validation metrics, with the best metric, or None.

    Raises:
      CheckpointError: if this save, or the one before, failed.
    """
    if step in self._manager.all_steps():
      return
    items = {k: ocp.args.StandardSave(v) for k, v in trees.items() if v}
    items['data'] = ocp.args.JsonSave(data)
    items['config'] = ocp.args.JsonSave(json.loads(config_lib.to_json(config)))
    # A checkpoint without validation must never count as the best one.
    value = (metrics or {}).get(self._best_metric, float('inf'))
    with self._telling_of_failed_saves():
      self._manager.save(
        step,
        args=ocp.args.Composite(**items),
        metrics={self._best_metric: float(value)},
      )

  def restore(
    self, step: int, abstract_trees: Mapping[str, Any]
  ) -> tuple[dict[str, Any], Any]:
    """Reads a checkpoint into given shapes, dtypes and shardings.

    Args:
      step: which one.
      abstract_trees: by item name, trees of `jax.ShapeDtypeStruct`.

    Returns:
      The trees by item name, and the pipeline's position.

    Raises:
      CheckpointError: if it is damaged or holds other shapes.
    """
    items = {
      k: ocp.args.StandardRestore(v) for k, v in abstract_trees.items() if v
    }
    items['data'] = ocp.args.JsonRestore()
    try:
      self._check_shapes(step, abstract_trees)
      restored = self._manager.restore(step, args=ocp.args.Composite(**items))
    except CheckpointError:
      raise
    except (ValueError, KeyError, OSError) as error:
      raise CheckpointError(
        f'checkpoint {step} in {self.directory} is damaged: {error}. Remove '
        'its folder to continue from the one before.'
      ) from error
    trees = {k: restored[k] for k in abstract_trees if abstract_trees[k]}
    return trees, restored['data']

  def _check_shapes(self, step: int, abstract_trees: Mapping[str, Any]):
    """Refuses a checkpoint of another model or optimizer, in our words."""
    directory = self.directory / str(step)
    for item, tree in abstract_trees.items():
      if not tree:
        continue
      if item in _OPTIONAL and not (directory / item).is_dir():
        raise CheckpointError(
          f'{directory} has {_OPTIONAL[item]}. Start a new run from its '
          'parameters: another --workdir and --config.init_from.'
        )
      with ocp.PyTreeCheckpointer() as checkpointer:
        stored = _stored_tree(checkpointer, directory / item)
      check_params(stored, tree, f'{directory / item}')

  def check(self) -> None:
    """Looks at the saves under way.

    Raises:
      CheckpointError: if one failed.
    """
    with self._telling_of_failed_saves():
      self._manager.check_for_errors()

  def wait(self) -> None:
    """Blocks until every started save is on disk.

    Raises:
      CheckpointError: if one failed.
    """
    with self._telling_of_failed_saves():
      self._manager.wait_until_finished()

  def close(self) -> None:
    """Waits for pending saves and releases the directory.

    Raises:
      CheckpointError: if one failed.
    """
    with self._telling_of_failed_saves():
      self._manager.close()

  @contextlib.contextmanager
  def _telling_of_failed_saves(self) -> Iterator[None]:
    try:
      yield
    except (OSError, ValueError, RuntimeError) as error:
      there = finished_steps(self.directory.parent)
      kept = f'those of steps {there} are kept' if there else 'there is none'
      reason = ' '.join(str(error).split())
      raise CheckpointError(
        f'a checkpoint could not be written to {self.directory}: {reason}. Of '
        f'the complete ones {kept}. Make room, or see to the rights; the same '
        'command continues from the newest.'
      ) from error


def finished_steps(workdir: str | epath.Path) -> list[int]:
  """Steps of the finished checkpoints below a workdir, ascending."""
  root = epath.Path(workdir) / workdir_lib.CHECKPOINTS
  return sorted(
    int(p.name)
    for p in (root.iterdir() if root.is_dir() else ())
    if p.name.isdigit()
  )


def find_checkpoint(path: str | epath.Path, step: int | None = None):
  """Directory of one checkpoint below a workdir.

  Args:
    path: a workdir, or a checkpoint directory `.../checkpoints/<step>`; what
      is in `s3://` is copied here.
    step: which step; None takes the newest.

  Returns:
    epath.Path of the checkpoint.

  Raises:
    CheckpointError: if there is none; says what was found.
  """
  path = _readable(path)
  if not path.exists():
    raise CheckpointError(
      f'{path} does not exist. Give a workdir of "edtn train" or of '
      f'"edtn convert".'
    )
  if (path / 'params').is_dir():
    return path
  root = path / workdir_lib.CHECKPOINTS
  steps = finished_steps(path)
  if not steps:
    raise CheckpointError(
      f'{path} holds no finished checkpoint (looked in {root})'
    )
  if step is not None and step not in steps:
    raise CheckpointError(f'no checkpoint {step} in {root}; there: {steps}')
  return root / str(steps[-1] if step is None else step)


def _readable(path: str | epath.Path) -> epath.Path:
  """A path that Orbax reads, which knows `gs://` but not `s3://`."""
  path = epath.Path(path)
  if not os.fspath(path).startswith('s3://'):
    return path
  if path.name.isdigit() and path.parent.name == workdir_lib.CHECKPOINTS:
    run = epath.Path(remote.local_copy(path.parent.parent))
    return run / workdir_lib.CHECKPOINTS / path.name
  return epath.Path(remote.local_copy(path))


def load_checkpoint(
  path: str | epath.Path,
  *,
  step: int | None = None,
  averaged: bool | None = None,
) -> Checkpoint:
  """Reads what inference needs, onto the host, whatever wrote it.

  Args:
    path: workdir or checkpoint directory.
    step: which step of a workdir; None takes the newest.
    averaged: True takes the moving average, False the raw parameters, None
      the average where the run kept one.

  Returns:
    The checkpoint.

  Raises:
    CheckpointError: if it is absent or damaged.
  """
  directory = workdir_lib.absolute(find_checkpoint(path, step))
  has_average = (directory / 'ema_params').is_dir()
  if averaged and not has_average:
    raise CheckpointError(
      f'{directory} has no moving average; the run has train.ema_decay = 0'
    )
  averaged = has_average if averaged is None else averaged
  try:
    config = _read_config(directory / 'config')
    params = _read_tree(directory / ('ema_params' if averaged else 'params'))
    constants = (
      _read_tree(directory / 'constants')
      if (directory / 'constants').is_dir()
      else {}
    )
  except (ValueError, KeyError, OSError) as error:
    raise CheckpointError(
      f'checkpoint {directory} is damaged: {error}'
    ) from error
  logging.info('Read %s from %s', 'ema' if averaged else 'params', directory)
  return Checkpoint(
    config=config,
    params=params,
    constants=constants,
    step=int(directory.name) if directory.name.isdigit() else 0,
    path=str(directory),
    averaged=averaged,
  )


def _read_config(directory: epath.Path) -> ml_collections.ConfigDict:
  with ocp.Checkpointer(ocp.JsonCheckpointHandler()) as checkpointer:
    text = json.dumps(checkpointer.restore(directory))
  return parse_config(text)


def parse_config(text: str) -> ml_collections.ConfigDict:
  """Reads the config of a checkpoint.

  Args:
    text: what `config.to_json` wrote.

  Returns:
    The config.

  Raises:
    ValueError: if it is none, or lacks what every reader looks at.
  """
  config = config_lib.from_json(text)
  missing = [key for key in _CONFIG_KEYS if key not in config]
  if missing:
    raise ValueError(f'its config lacks {", ".join(missing)}')
  return config


@contextlib.contextmanager
def reading_config(path: str) -> Iterator[None]:
  """Says of which checkpoint a config is that describes no model.

  Args:
    path: of the checkpoint.

  Raises:
    CheckpointError: instead of what a config without a key, or with a value
      that nothing knows, leads to.
  """
  try:
    yield
  except CheckpointError:
    raise
  except (AttributeError, KeyError, TypeError, ValueError) as error:
    reason = str(error).strip().splitlines()[0] if str(error) else repr(error)
    raise CheckpointError(
      f'{path}: its config describes no model that this version knows '
      f'({type(error).__name__}: {reason}). Export or convert it again, with '
      'this version.'
    ) from error


def _read_tree(directory: epath.Path) -> Any:
  """Restores a tree as numpy, without knowing its shapes or devices."""
  with ocp.PyTreeCheckpointer() as checkpointer:
    as_numpy = jax.tree.map(
      lambda _: ocp.RestoreArgs(restore_type=np.ndarray),
      _stored_tree(checkpointer, directory),
    )
    return checkpointer.restore(directory, restore_args=as_numpy)


def _stored_tree(checkpointer, directory: epath.Path) -> Any:
  """Shapes and dtypes of what is stored, without the values."""
  metadata = checkpointer.metadata(directory).item_metadata
  if metadata is None:
    raise ValueError(f'the metadata of {directory.name} cannot be read')
  return metadata.tree


def check_params(params: Any, expected: Any, name: str) -> None:
  """Compares parameters with what a model wants, both ways.

  Args:
    params: tree of arrays.
    expected: tree of arrays or `jax.ShapeDtypeStruct`.
    name: how to call `params` in the error.

  Raises:
    CheckpointError: with every missing, unexpected and misshapen leaf.
  """
  have, want = _leaf_shapes(params), _leaf_shapes(expected)
  problems = [f'missing: {k} {want[k]}' for k in want if k not in have]
  problems += [f'unexpected: {k} {have[k]}' for k in have if k not in want]
  problems += [
    f'{k} is {have[k]}, the model wants {want[k]}'
    for k in want
    if k in have and have[k] != want[k]
  ]
  if problems:
    raise CheckpointError(
      f'{name} does not fit the configured model:\n  '
      + '\n  '.join(sorted(problems))
    )


def _leaf_shapes(tree: Any) -> dict[str, tuple[int, ...]]:
  leaves, _ = jax.tree_util.tree_flatten_with_path(tree)
  return {
    jax.tree_util.keystr(path, simple=True, separator='/'): tuple(leaf.shape)
    for path, leaf in leaves
  }
