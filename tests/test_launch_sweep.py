"""Sweeps: what is run, what is left alone, the table and the plot."""

import csv
import json
import os
import pathlib
import signal
import subprocess
import sys
import threading
import time

import pytest
from PIL import Image

from configs import edtn
from launch import sweep, sweep_results, trials
from tests.waiting import wait_for

CONFIG = """
def get_config(arg=''):
  raise AssertionError('a sweep does not build configs')

def sweep(add):
  for weight in (1.0, 10.0, 100.0):
    add(**{'loss.vertex_weight': weight})

def sweep_named(add):
  add('first row', {'paper': 0.25}, **{'loss.eye_weight': 0.0})
  add('second row', {'paper': 0.5})
"""


@pytest.fixture(autouse=True)
def no_plots(monkeypatch, request):
  """Drawing takes a while; only tests that ask for `plots` look at it."""
  if 'plots' not in request.fixturenames:
    monkeypatch.setattr(sweep_results, 'write_plot', lambda *_: None)


@pytest.fixture
def plots():
  """Says that a test looks at the plot."""


@pytest.fixture
def config_file(tmp_path):
  path = tmp_path / 'experiment.py'
  path.write_text(CONFIG)
  return str(path)


@pytest.fixture
def read(config_file, tmp_path):
  def read_sweep(**settings):
    return trials.read_sweep(config_file, tmp_path / 'out', **settings)

  return read_sweep


def word(command, name):
  (found,) = [w for w in command if w.startswith(f'--{name}=')]
  return found.partition('=')[2]


class FakeTraining:
  """Stands for `main.py train`; `fail` names workdirs that exit with 1."""

  def __init__(self, fail=()):
    self.commands = []
    self.fail = fail

  def __call__(self, command, lock):
    self.commands.append(command)
    workdir = pathlib.Path(word(command, 'workdir'))
    if workdir.name in self.fail:
      return 1
    seed = [float(w.partition('=')[2]) for w in command if 'config.seed' in w]
    values = [w for w in command if 'vertex_weight' in w]
    weight = float(values[-1].partition('=')[2]) if values else 2.0
    loss = 1 / weight + sum(seed)
    result = {'step': 7, 'metrics': {'loss': loss, 'a/b': 3.0}}
    (workdir / 'result.json').write_text(json.dumps(result))
    return 0


def test_every_trial_runs_with_its_overrides(config_file, tmp_path):
  run = FakeTraining()
  one = trials.read_sweep(
    f'{config_file}:tiny',
    tmp_path / 'out',
    arguments=['--config.train.num_epochs=5'],
  )
  rows = sweep.run_sweep(one, run=run)
  assert [command[-1] for command in run.commands] == [
    f'--config.loss.vertex_weight={v}' for v in (1.0, 10.0, 100.0)
  ]
  for command in run.commands:
    assert command[2] == 'train'
    assert word(command, 'config') == f'{config_file}:tiny'
    assert '--config.train.num_epochs=5' in command
  assert [row['loss'] for row in rows] == [1.0, 0.1, 0.01]
  with (tmp_path / 'out' / 'table.csv').open() as file:
    table = list(csv.DictReader(file))
  assert table[1] == {
    'loss.vertex_weight': '10.0',
    'step': '7',
    'loss': '0.1',
  }
  markdown = (tmp_path / 'out' / 'table.md').read_text().splitlines()
  assert markdown[0] == '| loss.vertex_weight | step | loss |'
  assert markdown[4] == '| 100 | 7 | 0.01 |'


def test_a_second_run_only_does_what_is_left(read):
  failing = FakeTraining(fail=('loss.vertex_weight=10.0',))
  with pytest.raises(trials.SweepError, match=r'vertex_weight=10\.0'):
    sweep.run_sweep(read(), run=failing)
  assert len(failing.commands) == 3
  assert sweep.unfinished(read()) == [1]
  again = FakeTraining()
  rows = sweep.run_sweep(read(), run=again)
  assert [c[-1] for c in again.commands] == ['--config.loss.vertex_weight=10.0']
  assert len(rows) == 3
  third = FakeTraining()
  sweep.run_sweep(read(), run=third)
  assert third.commands == []


def test_other_arguments_run_every_trial_again(read):
  sweep.run_sweep(read(), run=FakeTraining())
  longer = FakeTraining()
  nine = read(arguments=['--config.train.num_epochs=9'])
  sweep.run_sweep(nine, run=longer)
  assert len(longer.commands) == 3
  again = FakeTraining()
  sweep.run_sweep(nine, run=again)
  assert again.commands == []


def test_a_refused_change_leaves_the_old_result(read):
  sweep.run_sweep(read(), run=FakeTraining())
  other = read(arguments=['--config.seed=3'])
  with pytest.raises(trials.SweepError, match='3 of 3'):
    sweep.run_sweep(other, run=lambda command, lock: 2)
  again = FakeTraining()
  assert len(sweep.run_sweep(read(), run=again)) == 3
  assert again.commands == []


# A training that counts its starts and ends, and needs a moment.
TRAINING = """
import pathlib, sys, time
workdir = pathlib.Path(next(
  w for w in sys.argv if w.startswith('--workdir='))[10:])
log = workdir.parent / 'log'
with log.open('a') as file:
  file.write(f'start {workdir.name}\\n')
while (workdir.parent / 'hold').exists() and '10.0' in workdir.name:
  time.sleep(0.02)
(workdir / 'result.json').write_text('{"step": 1, "metrics": {"loss": 1.0}}')
with log.open('a') as file:
  file.write(f'end {workdir.name}\\n')
"""
SWEEP = """
import sys
from launch import sweep, trials
trials.Sweep.command = lambda self, trial: [
  sys.executable, sys.argv[3], f'--workdir={self.directory(trial)}']
sweep.run_sweep(trials.read_sweep(*sys.argv[1:3]))
"""


@pytest.mark.slow
def test_killed_in_the_middle_each_trial_runs_once(
  config_file, tmp_path, monkeypatch
):
  training, out = tmp_path / 'training.py', tmp_path / 'out'
  training.write_text(TRAINING)
  out.mkdir()
  (out / 'hold').touch()
  command = [sys.executable, '-c', SWEEP, config_file, str(out), str(training)]
  root = str(trials.ROOT)

  def log():
    return (out / 'log').read_text().splitlines()

  first = subprocess.Popen(command, cwd=root)
  try:
    wait_for(lambda: (out / 'log').exists() and len(log()) == 3)
  finally:
    first.kill()  # The sweep alone: its trial goes on without it.
    first.wait()
  second = subprocess.Popen(command, cwd=root)
  try:
    time.sleep(0.5)
    assert log()[2:] == ['start loss.vertex_weight=10.0']
    (out / 'hold').unlink()
    assert second.wait(timeout=60) == 0
  finally:
    second.kill()
  names = [f'loss.vertex_weight={v}' for v in (1.0, 10.0, 100.0)]
  assert log() == [f'{what} {n}' for n in names for what in ('start', 'end')]
  assert len((out / 'table.csv').read_text().splitlines()) == 4


def test_a_signal_ends_the_trials_and_starts_no_other(read, tmp_path):
  one, runner = read(), trials.Runner()
  sleeper = [sys.executable, '-c', 'import time; time.sleep(60)']

  def run(command, lock):
    return runner(sleeper, lock)

  with runner.heeding_signals():
    ending = threading.Timer(0.5, os.kill, (os.getpid(), signal.SIGTERM))
    ending.start()
    told = [trials.run_trial(one, trial, run) for trial in one.trials]
    ending.join()
  assert len(told) == 3
  assert all('exit status -15' in text for text in told)


def test_seeds_are_averaged_in_the_table(read):
  rows = sweep.run_sweep(read(seeds=[0, 1, 2]), run=FakeTraining())
  assert [row['seed'] for row in rows] == [0, 1, 2] * 3
  out = read().workdir
  markdown = (out / 'table.md').read_text().splitlines()
  assert markdown[0] == '| loss.vertex_weight | step | loss |'
  # 1/10 + 0, 1, 2
  assert markdown[3] == '| 10 | 7 | 1.1 ± 1 |'
  assert '3 seeds' in markdown[-1]
  assert len((out / 'table.csv').read_text().splitlines()) == 10


def test_a_named_sweep_has_rows_of_its_own(read, plots):
  rows = sweep.run_sweep(read(name='named'), run=FakeTraining())
  assert [row['trial'] for row in rows] == ['first row', 'second row']
  assert [row['paper'] for row in rows] == [0.25, 0.5]
  markdown = (read().workdir / 'table.md').read_text().splitlines()
  assert markdown[0] == '| trial | step | loss | paper |'
  assert markdown[2] == '| first row | 7 | 0.5 | 0.25 |'
  with Image.open(read().workdir / 'plot.png') as picture:
    assert picture.format == 'PNG'


def test_the_plot_has_a_point_for_every_trial(read, monkeypatch, plots):
  drawn = []
  from matplotlib.axes import Axes

  plot = Axes.plot
  monkeypatch.setattr(
    Axes,
    'plot',
    lambda self, x, y, *rest, **more: (
      drawn.append((list(x), list(y), self)),
      plot(self, x, y, *rest, **more),
    )[1],
  )
  sweep.run_sweep(read(), run=FakeTraining())
  line, dots = drawn
  assert line[:2] == dots[:2] == ([1.0, 10.0, 100.0], [1.0, 0.1, 0.01])
  axes = line[2]
  assert axes.get_xscale() == 'log'
  assert (axes.get_xlabel(), axes.get_ylabel()) == (
    'loss.vertex_weight',
    'loss',
  )


def test_an_unknown_metric_is_told_after_the_table(read):
  with pytest.raises(trials.SweepError, match=r'--metric=step\|loss'):
    sweep.run_sweep(read(), metric='speed', run=FakeTraining())
  assert (read().workdir / 'table.md').exists()


def test_a_list_has_the_commands_that_are_left(read):
  run = FakeTraining(fail=('loss.vertex_weight=10.0',))
  with pytest.raises(trials.SweepError):
    sweep.run_sweep(read(), run=run)
  (line,) = sweep.command_list(read()).splitlines()
  assert line.split() == run.commands[1]


def test_an_array_job_runs_what_is_left(read, config_file, tmp_path):
  run = FakeTraining(fail=('loss.vertex_weight=10.0',))
  with pytest.raises(trials.SweepError):
    sweep.run_sweep(read(), run=run)
  words = [f'--config={config_file}', f'--workdir={tmp_path / "out"}']
  text = sweep.array_script(read(), words, jobs=2, options=['--gpus=1'])
  lines = text.splitlines()
  assert '#SBATCH --array=1%2' in lines
  assert '#SBATCH --gpus=1' in lines
  done = subprocess.run(['bash', '-n'], input=text, text=True, check=False)
  assert done.returncode == 0
  # What a task would be started as: `exec` of the last two lines.
  told = subprocess.run(
    ['bash', '-c', text.replace('exec ', 'printf "%s\\n" ')],
    env={**os.environ, 'SLURM_ARRAY_TASK_ID': '1'},
    capture_output=True,
    text=True,
    check=True,
  ).stdout.split()
  assert told == [sys.executable, '-m', 'launch.sweep', *words, '--trial=1']


def test_one_trial_by_its_number(read, monkeypatch):
  run = FakeTraining()
  monkeypatch.setattr(trials.Runner, '__call__', lambda _, *a: run(*a))
  sweep.run_one(read(), 2)
  assert sweep.unfinished(read()) == [0, 1]
  with pytest.raises(trials.SweepError, match='0 to 2'):
    sweep.run_one(read(), 3)
  rows = sweep_results.collect(read())
  assert [row['loss.vertex_weight'] for row in rows] == [100.0]


def test_the_projects_sweeps_are_the_papers():
  one = trials.read_sweep('configs/edtn.py:code', 'out')
  assert all(list(t.overrides) == ['loss.vertex_weight'] for t in one.trials)
  assert {'loss.vertex_weight': 100.0} in [t.overrides for t in one.trials]
  assert one.metric == 'lid_error_mm'
  rows = trials.read_sweep('configs/edtn.py', 'out', name='table2').trials
  assert [(t.label, t.beside['KDR in the paper']) for t in rows] == [
    ('vertex', 0.2431),
    ('landmark', 0.2394),
    ('vertex, landmark', 0.2390),
    ('all', 0.2360),
  ]
  arguments = ('vertex', 'landmark', 'vertex_landmark', 'all')
  for trial, argument in zip(rows, arguments, strict=True):
    config = edtn.get_config()
    config.update_from_flattened_dict(trial.overrides)
    assert config.loss == edtn.get_config(argument).loss


def test_config_without_a_sweep(tmp_path, read):
  path = tmp_path / 'plain.py'
  path.write_text('')
  with pytest.raises(trials.SweepError, match='no sweep'):
    trials.read_sweep(str(path), 'out')
  with pytest.raises(trials.SweepError, match='no config file'):
    trials.read_sweep(str(tmp_path / 'absent.py'), 'out')
  with pytest.raises(trials.SweepError, match='local or shared'):
    trials.read_sweep(str(path), 'gs://runs/x')
  with pytest.raises(trials.SweepError, match='--sweep=named'):
    read(name='other')


def test_a_trial_added_twice_is_refused(tmp_path):
  path = tmp_path / 'twice.py'
  path.write_text('def sweep(add):\n  add(a=1)\n  add(a=1)\n')
  with pytest.raises(trials.SweepError, match='twice'):
    trials.read_sweep(str(path), 'out')
