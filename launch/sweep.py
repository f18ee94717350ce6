r"""Runs the `sweep()` of a config and tabulates the result.

    python -m launch.sweep --config=configs/edtn.py --workdir=runs/lambda_ver
    python -m launch.sweep --config=configs/edtn.py --workdir=runs/lambda_ver \
        --config.train.num_epochs=5 --jobs=2
    python -m launch.sweep --config=configs/edtn.py --workdir=runs/table2 \
        --sweep=table2 --seeds=0,1,2

Each trial is one `main.py train` in `<workdir>/<its overrides>`, so a trial
can be looked at, resumed and evaluated like any run. Killed and started
again, finished trials are left alone and the others continue; with other
arguments every trial continues, or says why it cannot. Arguments
`--config.*` go to every trial.

Elsewhere: `--mode=list` prints one command a trial; `--mode=slurm` writes an
array job, whose tasks run this program with `--trial=N`; `--collect` makes
table and plot of what is finished, and says what is not.

Results: `table.csv` (every trial), `table.md` (mean over seeds), `plot.png`.
"""

from __future__ import annotations

import concurrent.futures
import re
import shlex
import sys
from collections.abc import Callable
from typing import Any

from absl import app, flags

from edtn_jax import command_help
from edtn_jax import workdir as workdir_lib
from launch import sweep_results, trials
from launch.trials import Sweep, SweepError

ARRAY = 'array.sbatch'
_PROGRAM = 'launch.sweep'


def run_sweep(
  sweep: Sweep,
  *,
  jobs: int = 1,
  metric: str = '',
  run: Callable[[list[str], int], int] | None = None,
) -> list[dict[str, Any]]:
  """Runs what is left of a sweep here, and writes its table.

  Args:
    sweep: see `trials.read_sweep`.
    jobs: trials at a time.
    metric: what the plot shows; '' takes the config's choice.
    run: runs one command line; None runs processes, and ends them at SIGTERM
      or Ctrl-C.

  Returns:
    One row a trial, see `sweep_results.collect`.

  Raises:
    SweepError: if trials failed; the table of the others is written first.
  """
  if run is None:
    runner = trials.Runner()
    with runner.heeding_signals():
      return run_sweep(sweep, jobs=jobs, metric=metric, run=runner)
  with concurrent.futures.ThreadPoolExecutor(jobs) as pool:
    told = pool.map(lambda t: trials.run_trial(sweep, t, run), sweep.trials)
    failures = [text for text in told if text]
  rows = sweep_results.collect(sweep, metric)
  if failures:
    raise SweepError(
      f'{len(failures)} of {len(sweep.trials)} trials are not finished; the '
      'same command continues them:\n  ' + '\n  '.join(failures)
    )
  return rows


def run_one(sweep: Sweep, number: int) -> None:
  """Runs one trial, as a task of an array job does.

  Args:
    sweep: that it belongs to.
    number: which, from 0.

  Raises:
    SweepError: if there is no such trial, or it does not finish.
  """
  if not 0 <= number < len(sweep.trials):
    raise SweepError(
      f'--trial={number}: the sweep has trials 0 to {len(sweep.trials) - 1}'
    )
  runner = trials.Runner()
  with runner.heeding_signals():
    failure = trials.run_trial(sweep, sweep.trials[number], runner)
  if failure:
    raise SweepError(f'{failure}; the same command continues it')


def unfinished(sweep: Sweep) -> list[int]:
  """Numbers of the trials that are not finished."""
  return [i for i, t in enumerate(sweep.trials) if not sweep.finished(t)]


def command_list(sweep: Sweep) -> str:
  """Commands of the trials that are not finished, one a line."""
  lines = []
  for number in unfinished(sweep):
    lines.append(shlex.join(sweep.command(sweep.trials[number])))
  return '\n'.join(lines)


def array_script(
  sweep: Sweep, words: list[str], *, jobs: int, options: list[str]
) -> str:
  """A SLURM script whose tasks run the trials that are not finished.

  Args:
    sweep: what to run.
    words: arguments by which this program reads the same sweep.
    jobs: tasks at a time.
    options: more options of sbatch, such as `--gpus=1`.

  Returns:
    The script.
  """
  numbers = ','.join(map(str, unfinished(sweep)))
  workdir = sweep.workdir.resolve()
  log = workdir / 'slurm-%A_%a.out'
  # The training saves at SIGTERM, which comes so long before the end.
  lines = [
    '#!/bin/bash',
    f'#SBATCH --job-name={workdir.name}',
    f'#SBATCH --array={numbers}%{jobs}',
    f'#SBATCH --output={log}',
    '#SBATCH --signal=B:TERM@120',
    '#SBATCH --requeue',
    *(f'#SBATCH {option}' for option in options),
    'set -euo pipefail',
    f'cd {shlex.quote(str(trials.ROOT))}',
    # Not the batch shell but the program must get the signal.
    f'exec {shlex.join([sys.executable, "-m", _PROGRAM, *words])} \\',
    '  --trial="$SLURM_ARRAY_TASK_ID"',
  ]
  return '\n'.join(lines) + '\n'


def _write_array(sweep: Sweep, words: list[str], given: Any) -> str:
  if not unfinished(sweep):
    return 'every trial is finished; --collect makes the table'
  sweep.workdir.mkdir(parents=True, exist_ok=True)
  path = sweep.workdir / ARRAY
  text = array_script(
    sweep, words, jobs=given.jobs, options=shlex.split(given.slurm)
  )
  workdir_lib.write_text(path, text)
  return (
    f'sbatch {shlex.quote(str(path))}\n'
    f'# afterwards: {shlex.join(["python", "-m", _PROGRAM, *words])} --collect'
  )


def _collect(sweep: Sweep, metric: str) -> str:
  sweep_results.collect(sweep, metric)
  text = (sweep.workdir / sweep_results.MARKDOWN).read_text()
  left = unfinished(sweep)
  if left:
    names = ', '.join(f'{i} ({sweep.trials[i].name})' for i in left)
    raise SweepError(
      f'{len(left)} of {len(sweep.trials)} trials are not finished: {names}. '
      f'The table has the others:\n{text}'
    )
  return text


def _read(given: Any, arguments: list[str]) -> Sweep:
  wrong = [word for word in given.seeds if not word.isdecimal()]
  if wrong:
    raise SweepError(f'--seeds: {", ".join(wrong)} must be whole numbers')
  return trials.read_sweep(
    given.config,
    given.workdir,
    name=given.sweep,
    seeds=[int(word) for word in given.seeds],
    arguments=arguments,
  )


def main(argv: list[str], arguments: list[str]) -> None:
  """Does what the flags say; `arguments` go to every trial."""
  given = flags.FLAGS
  if argv[1:]:
    sys.exit(f'launch.sweep: {" ".join(argv[1:])}: no such argument')
  try:
    sweep = _read(given, arguments)
    words = [f'--config={given.config}', f'--workdir={sweep.workdir.resolve()}']
    words += [f'--sweep={given.sweep}'] if given.sweep else []
    words += [f'--seeds={",".join(given.seeds)}'] if given.seeds else []
    words += arguments
    if given.trial is not None:
      run_one(sweep, given.trial)
    elif given.collect:
      print(_collect(sweep, given.metric))
    elif given.mode == 'list':
      print(command_list(sweep))
    elif given.mode == 'slurm':
      print(_write_array(sweep, words, given))
    else:
      run_sweep(sweep, jobs=given.jobs, metric=given.metric)
      print((sweep.workdir / sweep_results.MARKDOWN).read_text())
  except (SweepError, OSError) as error:
    sys.exit(f'launch.sweep: {error}')


def define_flags() -> None:
  """Defines the flags; only of the module that is run."""
  flags.DEFINE_string('config', 'configs/edtn.py', 'config with a sweep()')
  flags.DEFINE_string('workdir', None, 'directory of the sweep', required=True)
  flags.DEFINE_string('sweep', '', 'NAME of a sweep_NAME(); empty: sweep()')
  flags.DEFINE_list('seeds', [], 'run every trial with each of these seeds')
  flags.DEFINE_enum(
    'mode', 'local', ['local', 'slurm', 'list'], 'where the trials are run'
  )
  flags.DEFINE_integer('jobs', 1, 'trials at a time', lower_bound=1)
  flags.DEFINE_string('slurm', '', 'options of sbatch: "--gpus=1 --time=2:00"')
  flags.DEFINE_integer('trial', None, 'run only this one, from 0')
  flags.DEFINE_bool('collect', False, 'only make table and plot')
  flags.DEFINE_string('metric', '', 'what the plot shows; empty: the config')


def is_override(word: str) -> bool:
  """Whether an argument is for the trials."""
  return bool(re.match(r'--?config\.', word))


if __name__ == '__main__':
  define_flags()
  given_words = command_help.joined_config_words(sys.argv)
  passed = [word for word in given_words if is_override(word)]
  app.run(
    lambda argv: main(argv, passed),
    argv=[word for word in given_words if word not in passed],
  )
