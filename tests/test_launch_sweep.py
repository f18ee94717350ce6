"""Sweeps: what is run, what is left alone, and the table."""

import csv
import json
import pathlib

import pytest

from launch import sweep

CONFIG = """
def get_config(arg=''):
  raise AssertionError('a sweep does not build configs')

def sweep(add):
  for weight in (1.0, 10.0, 100.0):
    add(**{'loss.vertex_weight': weight})
"""


@pytest.fixture
def config_file(tmp_path):
  path = tmp_path / 'experiment.py'
  path.write_text(CONFIG)
  return str(path)


class FakeTraining:
  """Stands for `main.py train`; `fail` names workdirs that exit with 1."""

  def __init__(self, fail=()):
    self.commands = []
    self.fail = fail

  def __call__(self, command):
    self.commands.append(command)
    workdir = pathlib.Path(
      next(w for w in command if w.startswith('--workdir=')).partition('=')[2]
    )
    if workdir.name in self.fail:
      return 1
    workdir.mkdir(parents=True, exist_ok=True)
    weight = float(command[-1].partition('=')[2])
    result = {'step': 7, 'metrics': {'loss': 1 / weight, 'a/b': 3.0}}
    (workdir / 'result.json').write_text(json.dumps(result))
    return 0


def test_every_trial_runs_with_its_overrides(config_file, tmp_path):
  run = FakeTraining()
  rows = sweep.run_sweep(
    f'{config_file}:tiny',
    tmp_path / 'out',
    overrides=['--config.train.num_epochs=5'],
    run=run,
  )
  words = [command[2:] for command in run.commands]
  assert [w[-1] for w in words] == [
    f'--config.loss.vertex_weight={v}' for v in (1.0, 10.0, 100.0)
  ]
  assert all(w[0] == 'train' for w in words)
  assert all(f'--config={config_file}:tiny' in w for w in words)
  assert all('--config.train.num_epochs=5' in w for w in words)
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


def test_a_second_run_only_does_what_is_left(config_file, tmp_path):
  failing = FakeTraining(fail=('loss.vertex_weight=10.0',))
  with pytest.raises(sweep.SweepError, match=r'vertex_weight=10\.0'):
    sweep.run_sweep(config_file, tmp_path / 'out', run=failing)
  assert len(failing.commands) == 3
  again = FakeTraining()
  rows = sweep.run_sweep(config_file, tmp_path / 'out', run=again)
  assert [c[-1] for c in again.commands] == ['--config.loss.vertex_weight=10.0']
  assert len(rows) == 3
  third = FakeTraining()
  sweep.run_sweep(config_file, tmp_path / 'out', run=third)
  assert third.commands == []


def test_other_arguments_run_every_trial_again(config_file, tmp_path):
  sweep.run_sweep(config_file, tmp_path / 'out', run=FakeTraining())
  longer = FakeTraining()
  words = ['--config.train.num_epochs=9']
  sweep.run_sweep(config_file, tmp_path / 'out', overrides=words, run=longer)
  assert len(longer.commands) == 3
  again = FakeTraining()
  sweep.run_sweep(config_file, tmp_path / 'out', overrides=words, run=again)
  assert again.commands == []


def test_the_projects_sweep_is_over_lambda_ver():
  trials = sweep.read_trials('configs/edtn.py:code')
  assert all(list(t) == ['loss.vertex_weight'] for t in trials)
  assert {'loss.vertex_weight': 100.0} in trials


def test_config_without_a_sweep(tmp_path):
  path = tmp_path / 'plain.py'
  path.write_text('')
  with pytest.raises(sweep.SweepError, match='no sweep'):
    sweep.read_trials(str(path))
  with pytest.raises(sweep.SweepError, match='no config file'):
    sweep.read_trials(str(tmp_path / 'absent.py'))


def test_a_trial_added_twice_is_refused(tmp_path):
  path = tmp_path / 'twice.py'
  path.write_text('def sweep(add):\n  add(a=1)\n  add(a=1)\n')
  with pytest.raises(sweep.SweepError, match='twice'):
    sweep.read_trials(str(path))
