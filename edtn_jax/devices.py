"""Mesh of devices, shardings and the compile cache."""

from __future__ import annotations

import pathlib
from typing import Any

import jax
import numpy as np
from absl import logging
from jax.sharding import AxisType, Mesh, NamedSharding, PartitionSpec

DATA_AXIS = 'data'


def data_mesh(num_devices: int | None = None) -> Mesh:
  """A one-axis mesh over the first `num_devices` devices (default: all)."""
  devices = jax.devices()[:num_devices]
  return jax.make_mesh(
    (len(devices),), (DATA_AXIS,), axis_types=(AxisType.Auto,), devices=devices
  )


def replicated(mesh: Mesh) -> NamedSharding:
  """Every device holds the whole array."""
  return NamedSharding(mesh, PartitionSpec())


def batch_sharded(mesh: Mesh) -> NamedSharding:
  """The leading axis is split over the devices."""
  return NamedSharding(mesh, PartitionSpec(DATA_AXIS))


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


def shard_batch(batch: Any, mesh: Mesh) -> Any:
  """Joins this process's rows with the others' into one global batch.

  Args:
    batch: pytree of arrays [b, ...], b rows of this process; b times the
      number of processes must be divisible by the mesh's devices.
    mesh: devices.

  Returns:
    The tree as global `jax.Array`s, the leading axis split over the devices.
  """
  sharding = batch_sharded(mesh)
  return jax.tree.map(
    lambda x: jax.make_array_from_process_local_data(sharding, np.asarray(x)),
    batch,
  )


def use_compile_cache(directory: str | pathlib.Path | None) -> None:
  """Keeps compiled programs on disk, so that a second start is quick.

  Args:
    directory: where; None or '' leaves JAX's setting alone.
  """
  if not directory:
    return
  path = pathlib.Path(directory).expanduser()
  path.mkdir(parents=True, exist_ok=True)
  jax.config.update('jax_compilation_cache_dir', str(path))
  # Small networks compile in under JAX's default threshold of a second.
  jax.config.update('jax_persistent_cache_min_compile_time_secs', 0.2)
  logging.info('Compile cache: %s', path)
