r"""Collects measured numbers into one page, docs/results.md.

    python -m launch.sweep --config=configs/edtn.py --sweep=table2 \
        --seeds=0,1,2 --workdir=runs/table2
    edtn evaluate --workdir=RUN_OR_BUNDLE --output=lite.json
    python -m launch.benchmark --only=step,flame,generator --json=speed.json
    python -m launch.results --sweep=runs/table2 --evaluation=lite.json \
        --benchmark=speed.json --output=docs/results.md

Nothing is measured here. Every table stands beside what made it: command or
config, commit, hardware and wall time, as the files themselves tell them.
"""

from __future__ import annotations

import datetime
import json
import pathlib
import statistics
from collections.abc import Iterable, Sequence
from typing import Any

from absl import app, flags

from edtn_jax import workdir as workdir_lib
from edtn_jax.evaluation.run import run_name
from launch.benchmark_table import table

_HEADER = """# Results

Made by `python -m launch.results` from the files that the runs themselves
wrote; see there for the commands.
"""
# Of a sweep's metrics, what the paper's Table 2 is about.
_ABLATION_METRICS = (
  'lid_error_mm',
  'lip_error_mm',
  'landmark_error_mm',
  'vertex_error_mm',
  'coefficient_error',
)
_PARTS = ('', '_eyes', '_mouth', '_rest')
# What a table of generators tells of each.
_PROTOCOL = ('num_parameters', 'image_size', 'wall_time_s')


class ResultsError(ValueError):
  """A file that is not what it should be."""


def sweep_section(folder: pathlib.Path) -> str:
  """The trials of a sweep, mean and standard deviation over seeds.

  Args:
    folder: working directory of `launch.sweep`, with finished trials.

  Returns:
    Markdown.

  Raises:
    ResultsError: if there is no finished trial.
  """
  runs = [path.parent for path in folder.glob('*/' + workdir_lib.RESULT)]
  runs.sort(key=lambda run: _first_run(run)['started'])  # as the sweep has them
  if not runs:
    raise ResultsError(f'{folder}: no finished trial; run launch.sweep first')
  groups: dict[str, list[pathlib.Path]] = {}
  for run in runs:
    name = ','.join(w for w in run.name.split(',') if 'seed=' not in w)
    groups.setdefault(name or 'base', []).append(run)
  metrics = [_read(run / workdir_lib.RESULT)['metrics'] for run in runs]
  shown = [m for m in _ABLATION_METRICS if all(m in row for row in metrics)]
  rows = [
    [
      name,
      str(len(members)),
      *(
        _spread(_final(member, metric) for member in members)
        for metric in shown
      ),
      _minutes(members),
    ]
    for name, members in groups.items()
  ]
  head = ['trial', 'seeds', *shown, 'wall time']
  origin = [_first_run(run) for run in runs]
  return '\n'.join(
    [
      f'## Sweep: {folder.name}',
      '',
      _origin(origin),
      '',
      _table(head, rows),
      '',
    ]
  )


def evaluation_section(paths: Sequence[pathlib.Path]) -> str:
  """Generators by size: distances to the truth, per part of the face.

  Args:
    paths: of what `edtn evaluate --output` wrote for generators.

  Returns:
    Markdown.

  Raises:
    ResultsError: if one of them is of another task, or by an older version.
  """
  found = [_read(path) for path in paths]
  for path, result in zip(paths, found, strict=True):
    if result['protocol'].get('task') != 'anime_generator':
      raise ResultsError(f'{path}: is no evaluation of a generator')
    missing = [n for n in _PROTOCOL if n not in result['protocol']]
    if missing:
      raise ResultsError(
        f'{path}: does not say {", ".join(missing)}; an older version wrote '
        'it, run "edtn evaluate" again'
      )
  head = ['generator', 'picture', 'L1', 'eyes', 'mouth', 'rest', 'SSIM', 'PSNR']
  rows = []
  for result in found:
    metrics, protocol = result['metrics'], result['protocol']
    name = (
      f'{run_name(protocol["checkpoint"])}: '
      f'{protocol["num_parameters"] / 1e6:.2f} M parameters, '
      f'{protocol["image_size"]} pixels, step {protocol["step"]:,}'
    )
    for prefix, what in (
      ('', 'result'),
      ('warped/', 'warp'),
      ('copy/', 'source'),
    ):
      values = [f'{metrics[f"{prefix}l1{part}"]:.4f}' for part in _PARTS]
      values += [f'{metrics[f"{prefix}{key}"]:.3g}' for key in ('ssim', 'psnr')]
      rows.append([name, what, *values])
  origin = sorted(
    {
      f'{p["devices"]}, commit {p["commit"]}, data {p["data"]} ({p["split"]})'
      for p in (result['protocol'] for result in found)
    }
  )
  took = max(result['protocol']['wall_time_s'] for result in found)
  said = f'Evaluated on {"; ".join(origin)}, in {took:.0f} s at most.'
  return '\n'.join(['## Generators', '', said, '', _table(head, rows), ''])


def benchmark_section(path: pathlib.Path) -> str:
  """What `launch.benchmark --json` measured.

  Args:
    path: of its file.

  Returns:
    Markdown.
  """
  content = _read(path)
  machine = content['machine']
  return '\n'.join(
    [
      f'## Speed: {path.stem}',
      '',
      f'{machine["devices"]} x {machine["device_kind"]}, '
      f'{machine["cpu_count"]} CPU cores, Python {machine["python"]}, jax '
      f'{machine["versions"]["jax"]}, commit {machine["commit"]}.',
      '',
      table(content['rows']),
      '',
    ]
  )


def _read(path: pathlib.Path) -> dict[str, Any]:
  try:
    return json.loads(path.read_text())
  except OSError as error:
    raise ResultsError(f'{path}: {error.strerror}') from error
  except json.JSONDecodeError as error:
    raise ResultsError(f'{path}: is no JSON ({error})') from error


def _first_run(run: pathlib.Path) -> dict[str, Any]:
  return _read(run / workdir_lib.PROVENANCE)['runs'][0]


def _final(run: pathlib.Path, metric: str) -> float:
  return _read(run / workdir_lib.RESULT)['metrics'][metric]


def _spread(values: Iterable[float]) -> str:
  values = list(values)
  mean = f'{statistics.mean(values):.4g}'
  if len(values) == 1:
    return mean
  return f'{mean} ± {statistics.stdev(values):.1g}'


def _minutes(runs: Sequence[pathlib.Path]) -> str:
  """From the start of each run to its last line of metrics."""
  times = []
  for run in runs:
    began = _first_run(run)['started']
    last = (run / 'metrics.jsonl').read_text().splitlines()[-1]
    times.append((json.loads(last)['time'] - _timestamp(began)) / 60)
  return f'{statistics.mean(times):.1f} min'


def _timestamp(text: str) -> float:
  return datetime.datetime.fromisoformat(text).timestamp()


def _origin(runs: Sequence[dict[str, Any]]) -> str:
  """Hardware, versions and commit of some runs, each said once."""
  said = sorted(
    {
      f'{run["devices"]} x {run["device_kind"]}, Python {run["python"]}, jax '
      f'{run["versions"]["jax"]}, commit {run["commit"]}, '
      + ' '.join(w for w in run['argv'] if w.startswith('--config='))
      for run in runs
    }
  )
  return f'{len(runs)} runs on {"; ".join(said)}.'


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
  lines = [head, ['---'] * len(head), *rows]
  return '\n'.join(f'| {" | ".join(line)} |' for line in lines)


def main(argv: list[str]) -> None:
  """Writes the page."""
  given = flags.FLAGS
  if len(argv) > 1:
    raise app.UsageError(f'unknown arguments: {argv[1:]}')
  if not (given.sweep or given.evaluation or given.benchmark):
    raise app.UsageError('name --sweep, --evaluation or --benchmark')
  try:
    sections = [sweep_section(pathlib.Path(path)) for path in given.sweep]
    if given.evaluation:
      paths = [pathlib.Path(path) for path in given.evaluation]
      sections.append(evaluation_section(paths))
    sections += [benchmark_section(pathlib.Path(p)) for p in given.benchmark]
  except ResultsError as error:
    raise app.UsageError(str(error)) from error
  output = pathlib.Path(given.output)
  workdir_lib.write_text(output, '\n'.join([_HEADER, *sections]))
  print(output)


def define_flags() -> None:
  """Defines the flags; only of the module that is run."""
  flags.DEFINE_list('sweep', [], 'working directories of launch.sweep')
  flags.DEFINE_list('evaluation', [], 'files of "edtn evaluate --output"')
  flags.DEFINE_list('benchmark', [], 'files of "launch.benchmark --json"')
  flags.DEFINE_string('output', 'docs/results.md', 'page to write')


if __name__ == '__main__':
  define_flags()
  app.run(main)
