"""Where a run's numbers and pictures go: JSON lines and TensorBoard."""

from __future__ import annotations

import json
import math
import pathlib
import time
from collections.abc import Mapping

import numpy as np
import tensorboardX
from absl import logging
from etils import epath
from PIL import Image

from edtn_jax import workdir as workdir_lib


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
    path = workdir / 'metrics.jsonl'
    _truncate(path, start_step)
    self._lines = path.open('a')
    self._events = tensorboardX.SummaryWriter(
      str(workdir), purge_step=start_step or None
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


def read_metrics(workdir: str | pathlib.Path) -> list[dict[str, float]]:
  """Reads `metrics.jsonl`; a half-written last line is left out."""
  path = epath.Path(workdir) / 'metrics.jsonl'
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
