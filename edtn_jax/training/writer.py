"""Where a run's numbers and pictures go: JSON lines and TensorBoard."""

from __future__ import annotations

import json
import math
import pathlib
import tempfile
import time
from collections.abc import Mapping

import numpy as np
import tensorboardX
from absl import logging
from etils import epath
from PIL import Image

from data import remote
from edtn_jax import workdir as workdir_lib

METRICS = 'metrics.jsonl'
# How often what a run logs is copied to its bucket.
_COPY_EVERY_S = 60.0


class MetricWriter:
  """Appends scalars and pictures; does nothing unless `active`.

  Only process 0 of a multi-process run is active, so every call site is the
  same everywhere.
  """

  def __init__(self, workdir: epath.Path, *, active: bool, start_step: int = 0):
    """Opens the files and drops lines at or after `start_step`.

    A run that was killed may have logged steps past its last checkpoint;
    they will be logged again.

    Args:
      workdir: the run's directory.
      active: whether to write at all.
      start_step: step the run continues from.
    """
    self._active = active
    if not active:
      return
    self._samples = workdir / workdir_lib.SAMPLES
    path = workdir / METRICS
    _truncate(path, start_step)
    self._spool = _Spool(workdir) if remote.is_remote(workdir) else None
    folder = self._spool.folder if self._spool else workdir
    self._lines = (folder / METRICS).open('a')
    # The name has a second in it: a run that goes on within one would write
    # over what it has.
    self._events = tensorboardX.SummaryWriter(
      str(folder),
      purge_step=start_step or None,
      filename_suffix=f'.{start_step}',
    )

  def scalars(
    self, step: int, values: Mapping[str, float], *, prefix: str
  ) -> None:
    """Writes one line `{step, time, prefix/name: value}`."""
    if not self._active:
      return
    named = {f'{prefix}/{k}': float(v) for k, v in values.items()}
    for name, value in named.items():
      self._events.add_scalar(name, value, step)
    # JSON knows no NaN; null says the same to every reader.
    clean = {k: v if math.isfinite(v) else None for k, v in named.items()}
    line = {'step': step, 'time': round(time.time(), 3), **clean}
    self._lines.write(json.dumps(line) + '\n')
    self._lines.flush()
    if self._spool:
      self._spool.copy_if_due()

  def pictures(self, step: int, pictures: Mapping[str, np.ndarray]) -> None:
    """Writes [H, W, 3] uint8 pictures to the events and to `samples/`."""
    if not self._active:
      return
    for name, picture in pictures.items():
      self._events.add_image(name, picture, step, dataformats='HWC')
      self._samples.mkdir(parents=True, exist_ok=True)
      with (self._samples / f'{name}_{step:08d}.png').open('wb') as file:
        Image.fromarray(picture).save(file, 'PNG')

  def close(self) -> None:
    """Flushes and closes everything."""
    if self._active:
      self._lines.close()
      self._events.close()
      if self._spool:
        self._spool.close()


class _Spool:
  """Files that grow, on this machine; a bucket only takes whole ones."""

  def __init__(self, workdir: epath.Path):
    self._workdir = workdir
    self._temporary = tempfile.TemporaryDirectory(prefix='edtn_metrics_')
    self.folder = pathlib.Path(self._temporary.name)
    stored = workdir / METRICS
    if stored.exists():
      (self.folder / METRICS).write_text(stored.read_text())
    self._copied = time.monotonic()

  def copy_if_due(self) -> None:
    """Copies all to the bucket, unless that was a moment ago."""
    if time.monotonic() - self._copied <= _COPY_EVERY_S:
      return
    self._copied = time.monotonic()
    try:
      remote.copy_out(self.folder, self._workdir)
    except remote.RemotePathError as error:
      # Nothing is lost: the next copy has it.
      logging.warning('What is logged does not reach its bucket: %s', error)

  def close(self) -> None:
    """Copies all to the bucket for the last time."""
    remote.copy_out(self.folder, self._workdir)
    self._temporary.cleanup()


def read_metrics(workdir: str | pathlib.Path) -> list[dict[str, float]]:
  """Reads `metrics.jsonl`; a half-written last line is left out."""
  path = epath.Path(workdir) / METRICS
  if not path.exists():
    return []
  rows = []
  for number, line in enumerate(path.read_text().splitlines(), 1):
    try:
      rows.append(json.loads(line))
    except ValueError:
      logging.warning('%s: line %d is not JSON, left out', path, number)
  return rows


def _truncate(path: epath.Path, start_step: int) -> None:
  if not path.exists():
    return
  rows = [r for r in read_metrics(path.parent) if r['step'] <= start_step]
  text = ''.join(json.dumps(row) + '\n' for row in rows)
  workdir_lib.write_text(path, text if start_step else '')
