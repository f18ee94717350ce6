"""What all processes of a run have to agree on before it begins."""

from __future__ import annotations

import secrets
import time

import jax
import ml_collections
import numpy as np
from etils import epath

from edtn_jax import config as config_lib
from edtn_jax import workdir as workdir_lib
from edtn_jax.config import ConfigError, Problem

# Each process may have its own of these.
_OWN = ('compile_cache_dir', 'data.num_workers', 'data.num_threads')
# Seconds in which a shared file system shows a new file to every machine.
_VISIBLE_WITHIN = 30.0
_SHARE = (
  'Choose a --workdir on storage that all machines share, such as NFS or a '
  'bucket.'
)


def check_same_config(config: ml_collections.ConfigDict) -> None:
  """Compares the configs of all processes; every process must call it.

  Raises:
    ConfigError: in all of them, with what differs from process 0.
  """
  texts = _gathered_texts(config_lib.to_json(config))
  first = config_lib.from_json(texts[0])
  problems = []
  for number, text in enumerate(texts[1:], 1):
    found = config_lib.differences(first, config_lib.from_json(text))
    problems += [
      Problem(
        key,
        theirs,
        f'in process {number}, but process 0 has {ours!r}',
        'Start all processes with one config and the same flags.',
      )
      for key, (ours, theirs) in found.items()
      if key not in _OWN
    ]
  if problems:
    raise ConfigError(problems)


def check_shared_directory(workdir: epath.Path, remedy: str = _SHARE) -> None:
  """Whether all processes see one directory; every process must call it.

  Args:
    workdir: exists in process 0.
    remedy: what to do if it is not shared.

  Raises:
    WorkdirError: in all of them, if one has another directory of that name.
  """
  if jax.process_count() == 1:
    return
  from jax.experimental import multihost_utils

  secret = number_of_first(secrets.randbelow(1 << 30))
  marker = workdir / f'.process_0_{secret}'
  if jax.process_index() == 0:
    workdir_lib.write_text(marker, '')
  deadline = time.monotonic() + _VISIBLE_WITHIN
  meet('marker')
  while not (seen := marker.exists()) and time.monotonic() < deadline:
    time.sleep(0.1)
  all_seen = multihost_utils.process_allgather(np.int32(seen))
  if jax.process_index() == 0:
    marker.unlink()
  blind = np.flatnonzero(all_seen == 0).tolist()
  if blind:
    raise workdir_lib.WorkdirError(
      f'{workdir} of process {", ".join(map(str, blind))} is not the directory '
      f'of process 0: all processes write into one. {remedy}'
    )


def meet(name: str) -> None:
  """Waits until every process has come here."""
  if jax.process_count() > 1:
    from jax.experimental import multihost_utils

    multihost_utils.sync_global_devices(name)


def number_of_first(value: int) -> int:
  """A number as process 0 has it; every process must call it."""
  if jax.process_count() == 1:
    return value
  from jax.experimental import multihost_utils

  return int(multihost_utils.broadcast_one_to_all(np.int32(value)))


def _gathered_texts(text: str) -> list[str]:
  """The text of every process, by number."""
  if jax.process_count() == 1:
    return [text]
  from jax.experimental import multihost_utils

  data = np.frombuffer(text.encode(), np.uint8)
  sizes = multihost_utils.process_allgather(np.int32(len(data)))
  padded = np.zeros(sizes.max(), np.uint8)
  padded[: len(data)] = data
  rows = multihost_utils.process_allgather(padded)
  return [
    bytes(row[:size]).decode() for row, size in zip(rows, sizes, strict=True)
  ]
