"""What a manifest says of how the parameters came to be."""

from __future__ import annotations

import json
import pathlib
from typing import Any

import ml_collections

from edtn_jax import checkpoints
from edtn_jax import workdir as workdir_lib

# Data that this project makes itself, by `config.data.source`.
_OWN_DATA = {
  'characters': 'characters drawn by its own code',
  'procedural': 'procedural people made by its own code',
}


def origin(found: checkpoints.Checkpoint) -> dict[str, Any]:
  """Entries of a manifest: licence, and what the run's directory tells.

  Args:
    found: the checkpoint; files of its run are read where they are.

  Returns:
    `license`; `metrics`, those of the validation at the checkpoint's step;
    `training`, the processes that worked on the run, without their arguments,
    which hold paths. What is not there is left out.
  """
  entries: dict[str, Any] = {'license': _license(found.config)}
  # <workdir>/checkpoints/<step>
  workdir = pathlib.Path(found.path).parent.parent
  metrics = _metrics(workdir, found.step)
  if metrics:
    entries['metrics'] = metrics
  runs = _json(workdir / workdir_lib.PROVENANCE).get('runs', [])
  if runs:
    entries['training'] = [
      {key: value for key, value in run.items() if key != 'argv'}
      for run in runs
    ]
  return entries


def _license(config: ml_collections.ConfigDict) -> str:
  """Whose terms hold: ours where nothing of others went in."""
  face = config.get('face', {})
  foreign = (
    config.get('converted'),
    config.get('init_from') or config.get('resume_from'),
    config.loss.get('objective') == 'vgg',
    face.get('model', 'procedural') != 'procedural',
    face.get('pose_adapter', 'fit') != 'fit',
  )
  own = _OWN_DATA.get(config.data.source)
  if own and not any(foreign):
    return f'Apache-2.0: trained by edtn-jax on {own}'
  return (
    'not set by edtn-jax: the terms of the data, models or weights that went '
    'into it hold'
  )


def _metrics(workdir: pathlib.Path, step: int) -> dict[str, float]:
  """Validation metrics at a step, from the run's log."""
  path = workdir / 'metrics.jsonl'
  found: dict[str, float] = {}
  for line in path.read_text().splitlines() if path.is_file() else ():
    try:
      row = json.loads(line)
    except ValueError:
      # The last line of a run that was killed.
      continue
    if row.get('step') == step:
      found |= {
        key.removeprefix('validation/'): value
        for key, value in row.items()
        if key.startswith('validation/')
      }
  return found


def _json(path: pathlib.Path) -> dict[str, Any]:
  try:
    content = json.loads(path.read_text())
  except (OSError, ValueError):
    return {}
  return content if isinstance(content, dict) else {}
