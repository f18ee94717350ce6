"""Runs in `s3://`: written here, copied there, never half."""

import json
import pathlib
import re
import shutil
import threading

import jax
import numpy as np
import pytest

from data import remote
from edtn_jax import agreement, checkpoints, mirror, workdir
from edtn_jax.convert import store
from edtn_jax.tasks import registry
from edtn_jax.training import train_and_evaluate, writer
from launch import finished
from tests import bucket
from tests.toy_task import toy_config

PLACE = 's3://runs/one'


class Killed(BaseException):
  """As if the process were gone: nothing after it is done."""


@pytest.fixture
def run(monkeypatch, tmp_path):
  """Folder that stands for the run in its bucket."""
  monkeypatch.setattr(mirror, '_PAUSE_S', 0.0)
  monkeypatch.setitem(registry._MODULES, 'toy', 'tests.toy_task')
  places = bucket.make_buckets(monkeypatch, tmp_path / 'buckets')
  return places['s3'] / 'runs' / 'one'


def train(place, **overrides):
  return train_and_evaluate(toy_config(**overrides), place, num_devices=1)


def steps(folder):
  # A bucket has no empty folders, which the one of these tests may have.
  files = [p for p in (folder / 'checkpoints').rglob('*') if p.is_file()]
  first = {p.relative_to(folder).parts[1] for p in files}
  return sorted(int(name) for name in first if name.isdigit())


def left_here():
  return [p for p in mirror.cache().rglob('*') if p.name == 'one']


def assert_same(one, other):
  for name in ('params', 'opt_state'):
    jax.tree.map(
      np.testing.assert_array_equal,
      getattr(one.state, name),
      getattr(other.state, name),
    )


def failing(monkeypatch, name, failures, error=None):
  """Lets a function of `remote` fail where `failures` says so of its path."""
  real = getattr(remote, name)

  def replaced(*arguments):
    if failures(arguments[-1]):
      raise error or remote.RemotePathError(f'{arguments[-1]}: gone')
    return real(*arguments)

  monkeypatch.setattr(remote, name, replaced)


def test_a_run_is_written_and_resumed(run, tmp_path, monkeypatch):
  monkeypatch.chdir(tmp_path)
  train(PLACE, **{'train.num_steps': 4})
  assert left_here() == []  # What is in the bucket is not kept twice.
  resumed = train(PLACE)
  straight = train(tmp_path / 'straight')
  assert_same(resumed, straight)
  assert steps(run) == steps(tmp_path / 'straight')
  assert [row['step'] for row in writer.read_metrics(PLACE)] == [
    row['step'] for row in writer.read_metrics(tmp_path / 'straight')
  ]
  names = {p.name for p in run.iterdir()}
  assert {'config.json', 'provenance.json', 'result.json'} < names
  assert not [p for p in run.rglob('.*')]
  assert len(json.loads((run / 'provenance.json').read_text())['runs']) == 2
  assert finished.is_finished(PLACE)
  assert not finished.is_finished('s3://runs/other')
  assert sorted(p.name for p in tmp_path.iterdir()) == ['buckets', 'straight']


def test_other_commands_and_runs_start_from_it(run, tmp_path):
  first = train(PLACE, **{'train.num_steps': 4})
  found = checkpoints.load_checkpoint(f'{PLACE}/checkpoints/4')
  assert found.step == 4
  np.testing.assert_array_equal(
    found.params['model']['w'], first.state.params['model']['w']
  )
  straight = train(tmp_path / 'straight')
  for given in (PLACE, f'{PLACE}/checkpoints/4'):
    other = train('s3://runs/two', resume_from=given)
    assert_same(other, straight)
    shutil.rmtree(run.parent / 'two')
  other = train(tmp_path / 'c', **{'init_from': PLACE, 'train.num_steps': 1})
  assert other.step == 1


def test_old_steps_go_while_it_trains(run, monkeypatch):
  monkeypatch.setattr(mirror, '_COPY_EVERY_S', 0.0)
  seen, copied = [], threading.Event()
  copy = mirror._Copier.copy

  def noticing(self, **last):
    copy(self, **last)
    seen.append(steps(run))
    copied.set()

  save = checkpoints.CheckpointManager.save

  def waiting(self, *arguments, **named):
    save(self, *arguments, **named)
    self.wait()
    # One that has begun may be of before.
    for _ in range(2):
      copied.clear()
      assert copied.wait(30)

  monkeypatch.setattr(mirror._Copier, 'copy', noticing)
  monkeypatch.setattr(checkpoints.CheckpointManager, 'save', waiting)
  train(PLACE, **{'train.num_steps': 5, 'train.checkpoint_every': 1})
  assert [1] in seen
  assert max(map(len, seen)) <= 5
  assert steps(run) == [4, 5]
  assert not list(run.rglob(remote.INCOMPLETE))


def test_a_copy_that_is_cut_is_not_taken_for_a_checkpoint(
  run, tmp_path, monkeypatch
):
  train(PLACE, **{'train.num_steps': 4})
  puts = []

  def cut(path):
    puts.append(path)
    return sum('/checkpoints/8/' in p for p in puts) > 3

  with monkeypatch.context() as patch:
    failing(patch, 'put', cut, Killed())
    # Nothing is done after a kill.
    patch.setattr(mirror._Copier, 'abandon', lambda *_, **__: None)
    with pytest.raises(Killed):
      train(PLACE)
  assert steps(run) == [4, 8]
  assert len(list((run / 'checkpoints' / '8').rglob('*'))) > 2
  copy = remote.local_copy(PLACE)
  assert checkpoints.finished_steps(copy) == [4]
  with pytest.raises(FileNotFoundError, match='nothing is there'):
    remote.local_copy(f'{PLACE}/checkpoints/8')
  assert json.loads((run / 'result.json').read_text())['step'] == 4
  # On another machine.
  shutil.rmtree(mirror.cache())
  began = []
  compare = mirror._Copier._compare
  monkeypatch.setattr(
    mirror._Copier,
    '_compare',
    lambda self, *a: (
      began.append(checkpoints.finished_steps(self._folder)),
      compare(self, *a),
    ),
  )
  assert_same(train(PLACE), train(tmp_path / 'straight'))
  assert began == [[4]]
  assert not list(run.rglob(remote.INCOMPLETE))
  copied, straight = (
    checkpoints.load_checkpoint(path) for path in (PLACE, tmp_path / 'straight')
  )
  assert copied.step == straight.step == 8
  jax.tree.map(np.testing.assert_array_equal, copied.params, straight.params)


def test_a_removal_that_is_cut_leaves_no_checkpoint(run, monkeypatch):
  train(PLACE, **{'train.num_steps': 4})
  train(PLACE)
  copier = mirror._Copier(PLACE)
  objects = [0]

  def cut(path):
    objects[0] += '/checkpoints/4/' in path
    return objects[0] > 2

  failing(monkeypatch, 'remove', cut, Killed())
  with pytest.raises(Killed):
    copier._remove_step(4)
  assert steps(run) == [4, 8]
  assert checkpoints.finished_steps(remote.local_copy(PLACE)) == [8]


def test_a_bucket_that_fails_for_a_moment(run, monkeypatch, caplog):
  failures = [1, 1]
  failing(
    monkeypatch,
    'put',
    lambda path: '/4/' in path and failures and failures.pop(),
  )
  train(PLACE, **{'train.num_steps': 4})
  assert 'tries again: s3://runs/one/checkpoints/4' in caplog.text
  assert checkpoints.load_checkpoint(PLACE).step == 4
  assert not list(run.rglob(remote.INCOMPLETE))


def test_a_bucket_that_fails_for_good_loses_nothing(run, tmp_path, monkeypatch):
  with monkeypatch.context() as patch:
    failing(patch, 'put', lambda _: True)
    with pytest.raises(remote.RemotePathError, match='Nothing is lost') as told:
      train(PLACE, **{'train.num_steps': 4})
  folder = pathlib.Path(re.search(r'all is in (\S+)\. ', str(told.value))[1])
  assert steps(folder) == [4]
  assert remote.origin(folder) == PLACE
  assert not run.exists() or not any(run.iterdir())
  calls = []
  restore = checkpoints.CheckpointManager.restore
  monkeypatch.setattr(
    checkpoints.CheckpointManager,
    'restore',
    lambda self, step, trees: (calls.append(step), restore(self, step, trees))[
      1
    ],
  )
  resumed = train(PLACE)
  assert calls == [4]
  assert_same(resumed, train(tmp_path / 'straight'))
  assert steps(run) == steps(tmp_path / 'straight')
  assert left_here() == []


def test_what_is_left_here_does_not_bring_back_a_run_that_was_removed(
  run, monkeypatch
):
  train(PLACE, **{'train.num_steps': 4})
  with monkeypatch.context() as patch:
    failing(patch, 'put', lambda path: '/8/' in path)
    with pytest.raises(remote.RemotePathError):
      train(PLACE)
  assert left_here()
  shutil.rmtree(run)
  train(PLACE, **{'seed': 3, 'train.num_steps': 2})
  assert steps(run) == [2]
  assert json.loads((run / 'config.json').read_text())['seed'] == 3


def test_a_run_that_goes_on_elsewhere_is_the_one(run, monkeypatch):
  with monkeypatch.context() as patch:
    failing(patch, 'put', lambda path: '/4/' in path)
    with pytest.raises(remote.RemotePathError):
      train(PLACE, **{'train.num_steps': 4})
  with monkeypatch.context() as patch:
    patch.setenv('EDTN_REMOTE_CACHE', str(run.parent.parent / 'elsewhere'))
    train(PLACE, **{'train.num_steps': 6})
  train(PLACE, **{'train.num_steps': 6})
  runs = json.loads((run / 'provenance.json').read_text())['runs']
  assert [r['start_step'] for r in runs] == [0, 0, 6]


def test_a_bucket_that_cannot_be_written_is_told_before_training(
  run, monkeypatch
):
  failing(monkeypatch, 'put_bytes', lambda _: True)
  with pytest.raises(remote.RemotePathError, match=PLACE):
    train(PLACE)
  assert left_here() == []


def test_a_run_that_fails_is_copied(run):
  config = {'data.bad_step': 5, 'train.num_steps': 8}
  with pytest.raises(RuntimeError, match=f'saved in {PLACE}'):
    train(PLACE, **config)
  assert 5 in steps(run)
  assert left_here() == []


def test_a_run_that_is_refused_writes_nothing(run):
  train(PLACE, **{'train.num_steps': 2})
  before = {p: p.stat().st_mtime_ns for p in run.rglob('*') if p.is_file()}
  with pytest.raises(ValueError, match='another --workdir'):
    train(PLACE, seed=5)
  assert {
    p: p.stat().st_mtime_ns for p in run.rglob('*') if p.is_file()
  } == before
  assert left_here() == []


def test_only_one_process_of_a_machine_trains_in_it(run):
  with (
    mirror.opened(PLACE),
    pytest.raises(workdir.WorkdirError, match=f'trains in {PLACE}'),
  ):
    train(PLACE)


def test_several_machines_are_refused(run, monkeypatch):
  def blind(place, remedy):
    raise workdir.WorkdirError(f'{place} of process 1. {remedy}')

  monkeypatch.setattr(agreement, 'check_shared_directory', blind)
  with pytest.raises(workdir.WorkdirError, match='in gs://, or in a shared'):
    train(PLACE)
  assert not run.exists()
  assert left_here() == []


def test_a_checkpoint_that_is_being_removed_is_not_copied(run, tmp_path):
  copier = mirror._Copier(PLACE)
  place = tmp_path / 'place'
  place.mkdir()
  copier.begin(place, fresh=False)
  for step in (1, 2):
    folder = place / 'one' / 'checkpoints' / str(step)
    folder.mkdir(parents=True)
    (folder / 'half').write_text('of it')
  (place / 'one' / 'checkpoints' / '3.orbax-checkpoint-tmp').mkdir()
  (place / 'one' / 'result.json').write_text('{}')
  copier._kept = lambda: [2]
  copier.copy()
  assert steps(run) == [2]
  # The checkpoint of its step may not be there yet.
  assert not finished.is_finished(PLACE)
  copier.copy(last=True)
  assert finished.is_finished(PLACE)


def test_converted_weights_are_whole_or_not_there(run, tmp_path, monkeypatch):
  source = tmp_path / 'weights.pt'
  source.write_bytes(b'1')

  def write():
    store.write_run(
      PLACE,
      toy_config(),
      {'model': {'w': np.ones(3, np.float32)}},
      source=source,
      weights='raw',
    )

  with monkeypatch.context() as patch:
    patch.setattr(workdir, 'write_config', lambda *_: 1 / 0)
    with pytest.raises(ZeroDivisionError):
      write()
  assert not run.exists() or not any(run.iterdir())
  assert left_here() == []
  write()
  found = checkpoints.load_checkpoint(PLACE)
  assert (found.step, found.config.converted.file) == (0, 'weights.pt')
  with pytest.raises(workdir.WorkdirError, match='already holds a run'):
    write()
