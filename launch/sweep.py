r"""Runs the `sweep()` of a config on this machine and tabulates the result.

    python -m launch.sweep --config=configs/edtn.py --workdir=runs/lambda_ver
    python -m launch.sweep --config=configs/edtn.py --workdir=runs/lambda_ver \
        --config.train.num_epochs=5 --jobs=2

Each trial is one `main.py train` in `<workdir>/<its overrides>`, so a trial
can be looked at, resumed and evaluated like any run. Killed and started
again, finished trials are left alone and the others continue; with other
arguments every trial continues, or says why it cannot. Arguments
`--config.*` go to every trial. Results: `table.csv`, `table.md`.
"""

from __future__ import annotations

import concurrent.futures
import csv
import importlib.util
import io
import json
import pathlib
import re
import subprocess
import sys
from collections.abc import Callable
from typing import Any

from absl import app, flags, logging

from edtn_jax import workdir as workdir_lib

# In a finished trial's directory: the arguments that it finished with.
TRIAL = 'trial.json'

ROOT = pathlib.Path(__file__).resolve().parents[1]
Runner = Callable[[list[str]], int]


class SweepError(ValueError):
  """A config without a sweep, or trials that failed."""


def read_trials(config_file: str) -> list[dict[str, Any]]:
  """Overrides of every trial, in the order of the config's `sweep`.

  Args:
    config_file: path, with or without `:argument`.

  Returns:
    A list of dicts from dotted config key to value.

  Raises:
    SweepError: if the file is absent, or has no or a repeating `sweep`.
  """
  path = pathlib.Path(config_file.partition(':')[0])
  if not path.is_file():
    raise SweepError(f'no config file at {path}')
  spec = importlib.util.spec_from_file_location(path.stem, path)
  module = importlib.util.module_from_spec(spec)
  spec.loader.exec_module(module)
  if not hasattr(module, 'sweep'):
    raise SweepError(
      f'{path} has no sweep(add); add one: '
      'def sweep(add): add(**{"loss.vertex_weight": 10.0})'
    )
  trials: list[dict[str, Any]] = []
  module.sweep(lambda **overrides: trials.append(overrides))
  names = [trial_name(t) for t in trials]
  if len(set(names)) < len(names):
    raise SweepError(f'{path}: sweep() adds the same trial twice: {names}')
  return trials


def trial_name(overrides: dict[str, Any]) -> str:
  """Directory name of a trial, e.g. `loss.vertex_weight=10.0`."""
  words = [f'{k}={v}' for k, v in overrides.items()]
  return re.sub(r'[^\w.,=+-]', '_', ','.join(words)) or 'base'


def trial_command(
  config_file: str, directory: pathlib.Path, words: list[str]
) -> list[str]:
  """Command line of one trial."""
  return [
    sys.executable,
    str(ROOT / 'main.py'),
    'train',
    f'--config={config_file}',
    f'--workdir={directory}',
    *words,
  ]


def _subprocess(command: list[str]) -> int:
  return subprocess.run(command, check=False).returncode


def run_sweep(
  config_file: str,
  workdir: str | pathlib.Path,
  *,
  overrides: list[str] | None = None,
  jobs: int = 1,
  run: Runner = _subprocess,
) -> list[dict[str, Any]]:
  """Runs what is left of a sweep and writes its table.

  Args:
    config_file: config with a `sweep`, with or without `:argument`.
    workdir: directory of the sweep.
    overrides: `--config.*` arguments for every trial.
    jobs: trials at a time.
    run: runs one command line and returns its exit status.

  Returns:
    One row a trial: its overrides, `step`, and the final metrics.

  Raises:
    SweepError: if the config has no sweep, or trials failed; the table of
      those that did not is written first.
  """
  trials, workdir = read_trials(config_file), pathlib.Path(workdir)
  workdir.mkdir(parents=True, exist_ok=True)

  def work(trial: dict[str, Any]) -> str | None:
    directory = workdir / trial_name(trial)
    words = [f'--config.{k}={v}' for k, v in trial.items()]
    words = [*(overrides or []), *words]
    arguments = json.dumps([config_file.partition(':')[2], *words])
    if _finished_with(directory) == arguments:
      logging.info('%s: finished before', directory.name)
      return None
    logging.info('%s: starting', directory.name)
    status = run(trial_command(config_file, directory, words))
    if status == 0 and (directory / workdir_lib.RESULT).exists():
      workdir_lib.write_text(directory / TRIAL, arguments)
      return None
    return f'{directory.name}: exit status {status}, not finished'

  with concurrent.futures.ThreadPoolExecutor(jobs) as pool:
    failures = [text for text in pool.map(work, trials) if text]
  rows = [_row(workdir, trial) for trial in trials]
  rows = [row for row in rows if row]
  write_table(workdir, rows)
  if failures:
    raise SweepError(
      f'{len(failures)} of {len(trials)} trials are not finished; the same '
      'command continues them:\n  ' + '\n  '.join(failures)
    )
  return rows


def _finished_with(directory: pathlib.Path) -> str | None:
  """Arguments that a trial finished with, None if it did not."""
  if not (directory / workdir_lib.RESULT).exists():
    return None
  path = directory / TRIAL
  return path.read_text() if path.exists() else None


def _row(workdir: pathlib.Path, trial: dict[str, Any]) -> dict[str, Any]:
  path = workdir / trial_name(trial) / workdir_lib.RESULT
  if not path.exists():
    return {}
  result = json.loads(path.read_text())
  metrics = {k: v for k, v in result['metrics'].items() if '/' not in k}
  return {**trial, 'step': result['step'], **metrics}


def write_table(workdir: pathlib.Path, rows: list[dict[str, Any]]) -> None:
  """Writes `table.csv` (full precision) and `table.md` (four digits)."""
  columns = list(dict.fromkeys(key for row in rows for key in row))
  text = io.StringIO()
  writer = csv.DictWriter(text, columns, lineterminator='\n')
  writer.writeheader()
  writer.writerows(rows)
  workdir_lib.write_text(workdir / 'table.csv', text.getvalue())
  lines = [columns, ['---'] * len(columns)]
  lines += [[_short(row.get(key, '')) for key in columns] for row in rows]
  markdown = '\n'.join(f'| {" | ".join(line)} |' for line in lines)
  workdir_lib.write_text(workdir / 'table.md', markdown + '\n')


def _short(value: Any) -> str:
  return f'{value:.4g}' if isinstance(value, float) else str(value)


def main(argv: list[str]) -> None:
  """Reads the flags; `--config.*` words were set aside before."""
  words = flags.FLAGS.get_flag_value('trial_arguments', [])
  try:
    run_sweep(
      flags.FLAGS.config,
      flags.FLAGS.workdir,
      overrides=words,
      jobs=flags.FLAGS.jobs,
    )
  except (SweepError, OSError) as error:
    sys.exit(f'launch.sweep: {error}')
  print((pathlib.Path(flags.FLAGS.workdir) / 'table.md').read_text())


if __name__ == '__main__':
  passed = [a for a in sys.argv if re.match(r'--?config\.', a)]
  flags.DEFINE_string('config', 'configs/edtn.py', 'config with a sweep()')
  flags.DEFINE_string('workdir', None, 'directory of the sweep', required=True)
  flags.DEFINE_integer('jobs', 1, 'trials at a time', lower_bound=1)
  flags.DEFINE_list('trial_arguments', passed, 'arguments of every trial')
  app.run(main, argv=[a for a in sys.argv if a not in passed])
