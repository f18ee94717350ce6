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
    `license`; `assets`, what went into the parameters, see `assets`;
    `metrics`, those of the validation at the checkpoint's step;
    `training`, the processes that worked on the run, without their arguments,
    which hold paths. What is not there is left out.
  """
  entries: dict[str, Any] = {
    'license': _license(found.config),
    'assets': assets(found.config),
  }
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


_OURS = 'Apache-2.0, part of edtn-jax'


def assets(config: ml_collections.ConfigDict) -> list[dict[str, str]]:
  """Everything that went into a run's parameters, and whose terms it has.

  Args:
    config: of the run.

  Returns:
    `role`, `name` (of files the last part of their path) and `license`.
  """
  face, loss = config.get('face', {}), config.get('loss', {})
  found = [('code', 'edtn-jax', 'Apache-2.0')]
  data = config.data
  if data.source in _OWN_DATA:
    found.append(('data', _OWN_DATA[data.source], _OURS))
  else:
    found.append(('data', data.get('path') or data.source, _terms('data set')))
  if 'model' in face:
    own = face.model == 'procedural'
    name = 'procedural head' if own else face.model
    flame = "the FLAME model's, if it is one: see flame.is.tue.mpg.de"
    found.append(('face model', name, _OURS if own else flame))
  if 'pose_adapter' in face:
    own = face.pose_adapter == 'fit'
    name = 'fitted to the face model' if own else face.pose_adapter
    found.append(
      ('pose adapter', name, _OURS if own else _terms('pose adapter'))
    )
  if loss.get('objective') == 'vgg':
    weights = (
      "BSD-3-Clause if they are torchvision's; trained on ImageNet, whose "
      'pictures have terms of their own'
    )
    found.append(
      ('loss', f'VGG19 weights {_last(loss.get("vgg_weights"))}', weights)
    )
  if config.get('converted'):
    found.append(('weights', 'converted', _terms('weights')))
  before = config.get('init_from') or config.get('resume_from')
  if before:
    found.append(('first parameters', before, _terms('run')))
  return [
    {'role': role, 'name': _last(name), 'license': terms}
    for role, name, terms in found
  ]


def _terms(of: str) -> str:
  return f"that {of}'s own terms"


def _last(path: str | None) -> str:
  """Last part of a path, which may be of the machine that trained."""
  return (path or '').rstrip('/').rsplit('/', 1)[-1]


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
