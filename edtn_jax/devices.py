"""Mesh of devices, shardings and the compile cache."""

from __future__ import annotations

import pathlib
from collections.abc import Sequence
from typing import Any

import jax
import numpy as np
from absl import logging
from jax.sharding import AxisType, Mesh, NamedSharding, PartitionSpec

from data import remote

DATA_AXIS = 'data'
AXES = (DATA_AXIS, 'model')


def data_mesh(num_devices: int | None = None, *, model: int = 1) -> Mesh:
  """A mesh over the first `num_devices` devices (default: all).

  Args:
    num_devices: how many, divisible by `model`.
    model: devices along the second axis, `model`; the rest lie along `data`.

  Returns:
    The mesh, of the axes `AXES`.
  """
  devices = jax.devices()[:num_devices]
  return jax.make_mesh(
    (len(devices) // model, model),
    AXES,
    axis_types=(AxisType.Auto,) * 2,
    devices=devices,
  )


def replicated(mesh: Mesh) -> NamedSharding:
  """Every device holds the whole array."""
  return NamedSharding(mesh, PartitionSpec())


def batch_sharded(
  mesh: Mesh, axes: Sequence[str] = (DATA_AXIS,)
) -> NamedSharding:
  """The leading axis is split over axes of the mesh."""
  return NamedSharding(mesh, PartitionSpec(tuple(axes)))


def replicate(tree: Any, mesh: Mesh) -> Any:
  """Puts a tree of arrays on every device of every process.

  Args:
    tree: pytree of arrays, the same in all processes.
    mesh: devices.

  Returns:
    The tree as global, fully replicated `jax.Array`s of the same shapes.
  """
  sharding = replicated(mesh)
  return jax.tree.map(
    lambda x: jax.make_array_from_process_local_data(sharding, np.asarray(x)),
    tree,
  )


def place(tree: Any, shardings: Any) -> Any:
  """Puts every array where its sharding says.

  Args:
    tree: pytree of arrays on the host, the same in all processes.
    shardings: pytree of shardings, alike.

  Returns:
    The tree as global `jax.Array`s.
  """

  def put(x, sharding):
    x = np.asarray(x)
    return jax.make_array_from_callback(x.shape, sharding, lambda i: x[i])

  return jax.tree.map(put, tree, shardings)


def gathered(tree: Any, mesh: Mesh) -> Any:
  """Makes every array whole on every device; what is so already stays.

  All processes must call it.
  """
  if all(x.is_fully_replicated for x in jax.tree.leaves(tree)):
    return tree
  return jax.jit(lambda x: x, out_shardings=replicated(mesh))(tree)


def shard_batch(
  batch: Any, mesh: Mesh, axes: Sequence[str] = (DATA_AXIS,)
) -> Any:
  """Joins this process's rows with the others' into one global batch.

  Args:
    batch: pytree of arrays [b, ...], b rows of this process; b times the
      number of processes must be divisible by the devices along `axes`.
    mesh: devices.
    axes: of the mesh, that the rows are split over.

  Returns:
    The tree as global `jax.Array`s, the leading axis split over the devices.
  """
  sharding = batch_sharded(mesh, axes)
  return jax.tree.map(
    lambda x: jax.make_array_from_process_local_data(sharding, np.asarray(x)),
    batch,
  )


def own_rows(batch: Any) -> Any:
  """This process's rows of a batch that every process has.

  Args:
    batch: pytree of arrays [B, ...], B divisible by the number of processes.

  Returns:
    The tree with [B / processes, ...].
  """
  count = jax.process_count()

  def cut(x):
    rows = len(x) // count
    return x[rows * jax.process_index() :][:rows]

  return batch if count == 1 else jax.tree.map(cut, batch)


def use_compile_cache(directory: str | pathlib.Path | None) -> None:
  """Keeps compiled programs on disk, so that a second start is quick.

  Args:
    directory: where; None or '' leaves JAX's setting alone.
  """
  if not directory:
    return
  path = directory
  if not remote.is_remote(directory):
    path = pathlib.Path(directory).expanduser()
    path.mkdir(parents=True, exist_ok=True)
  jax.config.update('jax_compilation_cache_dir', str(path))
  # Small networks compile in under JAX's default threshold of a second.
  jax.config.update('jax_persistent_cache_min_compile_time_secs', 0.2)
  logging.info('Compile cache: %s', path)
