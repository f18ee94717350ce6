"""Converted weights as a run's directory, which every command reads."""

from __future__ import annotations

import hashlib
import pathlib
from collections.abc import Mapping
from typing import Any

import ml_collections
import numpy as np
from absl import logging
from etils import epath

from edtn_jax import checkpoints, mirror
from edtn_jax import workdir as workdir_lib

_LISTED = 3


def check_new(workdir: str | epath.Path) -> None:
  """Checks, before any work, where a converted run shall be.

  Args:
    workdir: a directory that is absent, or empty but for hidden files.

  Raises:
    WorkdirError: if it holds a run, other files, or is a file.
  """
  workdir_lib.check_directory(workdir)
  workdir = epath.Path(workdir)
  if not workdir.exists():
    return
  held = sorted(p.name for p in workdir.iterdir() if p.name[0] != '.')
  run = [n for n in (workdir_lib.CONFIG, workdir_lib.CHECKPOINTS) if n in held]
  if run:
    raise workdir_lib.WorkdirError(
      f'{workdir} already holds a run, or what is left of one '
      f'({", ".join(run)}); choose another --workdir, or remove it'
    )
  if held:
    more = ', ...' if len(held) > _LISTED else ''
    raise workdir_lib.WorkdirError(
      f'{workdir} holds other files ({", ".join(held[:_LISTED])}{more}); a run '
      'wants a directory of its own: choose another --workdir'
    )


def write_run(
  workdir: str | epath.Path,
  config: ml_collections.ConfigDict,
  params: Mapping[str, Any],
  *,
  source: pathlib.Path,
  weights: str,
  constants: Mapping[str, np.ndarray] | None = None,
) -> None:
  """Writes a run of one checkpoint, step 0.

  Args:
    workdir: directory to make, see `check_new`.
    config: describes the network; gets a section `converted` that tells the
      name and sha256 of the source, and which of its weights were taken.
    params: parameters by group.
    source: the converted file.
    weights: which of its weights: `ema`, `raw` or `bare`.
    constants: arrays that inference needs besides.

  Raises:
    WorkdirError: if `workdir` is not new.
    OSError: if it cannot be written; nothing of it stays behind.
    RemotePathError: if its bucket cannot be reached.
  """
  check_new(workdir)
  config = config.copy_and_resolve_references()
  with config.unlocked():
    config.converted = {
      'file': source.name,
      'sha256': _sha256(source),
      'weights': weights,
    }
  with mirror.opened(workdir, fresh=True) as place:
    _write(place.folder, config, params, constants or {}, source.name)
  logging.info('Converted %s into %s', source, workdir)


def _write(
  workdir: epath.Path,
  config: ml_collections.ConfigDict,
  params: Mapping[str, Any],
  constants: Mapping[str, np.ndarray],
  source: str,
) -> None:
  existed = workdir.exists()
  try:
    manager = checkpoints.CheckpointManager(workdir, best_metric='loss')
    manager.save(
      0,
      {'params': dict(params), 'constants': dict(constants)},
      data={},
      config=config,
      metrics=None,
    )
    manager.close()
    workdir_lib.append_provenance(workdir, converted_from=source)
    workdir_lib.write_config(workdir, config)
  except BaseException:
    _remove(workdir, existed)
    raise


def _remove(workdir: epath.Path, existed: bool) -> None:
  """Leaves nothing of a run that could not be written, a full disk's say."""
  if not existed:
    workdir.rmtree(missing_ok=True)
    return
  (workdir / workdir_lib.CHECKPOINTS).rmtree(missing_ok=True)
  for name in (workdir_lib.CONFIG, workdir_lib.PROVENANCE):
    (workdir / name).unlink(missing_ok=True)


def _sha256(path: pathlib.Path) -> str:
  with open(path, 'rb') as file:
    return hashlib.file_digest(file, 'sha256').hexdigest()
