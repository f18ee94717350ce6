"""Which process of how many this is, as the environment tells it."""

from __future__ import annotations

import dataclasses
import os

from edtn_jax import process_setting
from edtn_jax.process_setting import Processes


class ClusterError(ValueError):
  """An environment in which no cluster can be found."""


@dataclasses.dataclass(frozen=True)
class Place:
  """Where this process stands.

  Attributes:
    coordinator: `host:port` of process 0.
    count: number of processes.
    number: which of them this is, from 0.
    one_device: whether it may use only one device of its machine.
    join: seconds to wait for the others.
  """

  coordinator: str
  count: int
  number: int
  one_device: bool
  join: int


def find_place(setting: str = '') -> Place | None:
  """Says what `edtn train --processes=...` would join.

  Args:
    setting: see `process_setting.parse`; '' looks at `EDTN_PROCESSES`.

  Returns:
    The place, or None for a process of its own.

  Raises:
    ConfigError: if the setting cannot be read.
    ClusterError: if it is `auto`, and no cluster is there.
  """
  setting = setting or os.environ.get(process_setting.VARIABLE, '')
  chosen = process_setting.parse(setting)
  if chosen is None:
    return None
  if chosen.coordinator:
    return Place(
      chosen.coordinator, chosen.count, chosen.number, False, chosen.join
    )
  return _asked_of_jax(chosen)


def _asked_of_jax(chosen: Processes) -> Place:
  # What jax.distributed.initialize does with no arguments; JAX has no public
  # way to ask without joining.
  from jax._src.clusters import ClusterEnv

  cluster = next(
    (
      known
      for known in ClusterEnv._cluster_types
      if not known.opt_in_only_method and known.is_env_present()
    ),
    None,
  )
  if cluster is None:
    raise ClusterError(
      '--processes=auto finds neither SLURM, nor a TPU slice, nor Open MPI, '
      'nor Kubernetes with its Python package here. Start it there (SLURM: by '
      f'srun), or name the processes: {process_setting.FORM}'
    )
  return Place(
    coordinator=cluster.get_coordinator_address(
      timeout_secs=chosen.join,
      override_coordinator_port=os.environ.get('JAX_COORDINATOR_PORT'),
    ),
    count=cluster.get_process_count(),
    number=cluster.get_process_id(),
    # Where the cluster numbers the processes of a machine, JAX gives each the
    # device of that number, unless it is told otherwise.
    one_device=(
      cluster.get_local_process_id() is not None
      and not os.environ.get('JAX_LOCAL_DEVICE_IDS')
    ),
    join=chosen.join,
  )
