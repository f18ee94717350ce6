"""The loop: learning, resuming, devices, bad numbers, signals."""

import json
import os
import shutil
import signal

import jax
import numpy as np
import pytest

from configs import edtn
from edtn_jax import checkpoints, workdir
from edtn_jax.config import ConfigError
from edtn_jax.tasks import registry
from edtn_jax.training import loop, train_and_evaluate
from edtn_jax.training.loop import NonFiniteError
from edtn_jax.training.writer import read_metrics
from edtn_jax.workdir import WorkdirError
from tests import toy_task


@pytest.fixture(autouse=True)
def toy(monkeypatch):
  monkeypatch.setitem(registry._MODULES, 'toy', 'tests.toy_task')


def toy_config(**overrides):
  return toy_task.toy_config(**{'optimizer.learning_rate': 0.1, **overrides})


def leaves(tree):
  return [np.asarray(x) for x in jax.tree.leaves(tree)]


def assert_same_state(one, other):
  for a, b in zip(leaves(one), leaves(other), strict=True):
    np.testing.assert_array_equal(a, b)


def test_the_weights_are_learnt(tmp_path):
  config = toy_config(**{'train.num_steps': 200, 'train.ema_decay': 0.5})
  result = train_and_evaluate(config, tmp_path)
  weights = np.asarray(result.state.params['model']['w'])
  np.testing.assert_allclose(weights, toy_task.WEIGHTS, atol=0.01)
  assert result.step == int(result.state.step) == 200
  first, *_, last = [
    row['validation/loss']
    for row in read_metrics(tmp_path)
    if 'validation/loss' in row
  ]
  assert last < first / 100
  stored = json.loads((tmp_path / 'result.json').read_text())
  assert stored == {'step': 200, 'metrics': result.metrics}


@pytest.mark.parametrize('ema_decay', [0.0, 0.9])
def test_interrupted_equals_uninterrupted(tmp_path, ema_decay):
  whole = toy_config(**{'train.num_steps': 12, 'train.ema_decay': ema_decay})
  straight = train_and_evaluate(whole, tmp_path / 'straight')
  part = toy_config(**{'train.num_steps': 5, 'train.ema_decay': ema_decay})
  train_and_evaluate(part, tmp_path / 'resumed')
  resumed = train_and_evaluate(whole, tmp_path / 'resumed')
  assert_same_state(straight.state, resumed.state)
  assert straight.metrics == resumed.metrics
  runs = json.loads((tmp_path / 'resumed' / 'provenance.json').read_text())
  assert [r['start_step'] for r in runs['runs']] == [0, 5]
  steps = [
    row['step']
    for row in read_metrics(tmp_path / 'resumed')
    if 'train/loss' in row
  ]
  assert steps == sorted(set(steps))


def test_inference_reads_the_average_or_the_raw_parameters(tmp_path):
  result = train_and_evaluate(toy_config(**{'train.ema_decay': 0.9}), tmp_path)
  raw, average = result.state.params, result.state.ema_params
  assert not np.array_equal(raw['model']['w'], average['model']['w'])
  for wanted, averaged in ((average, None), (average, True), (raw, False)):
    found = checkpoints.load_checkpoint(tmp_path, averaged=averaged)
    assert found.averaged is (averaged is not False)
    np.testing.assert_array_equal(
      found.params['model']['w'], wanted['model']['w']
    )


def test_input_is_closed_also_after_an_error(tmp_path, monkeypatch):
  closed = []
  batches = toy_task.ToyData.batches

  def watched(self, step):
    try:
      yield from batches(self, step)
    finally:
      closed.append(step)

  monkeypatch.setattr(toy_task.ToyData, 'batches', watched)
  train_and_evaluate(toy_config(), tmp_path / 'good')
  with pytest.raises(NonFiniteError):
    train_and_evaluate(toy_config(**{'data.bad_step': 1}), tmp_path / 'bad')
  assert closed == [0, 0]


def test_one_device_equals_eight(tmp_path):
  config = toy_config()
  one = train_and_evaluate(config, tmp_path / 'one', num_devices=1)
  eight = train_and_evaluate(config, tmp_path / 'eight', num_devices=8)
  assert len(eight.state.step.sharding.device_set) == 8
  for a, b in zip(leaves(one.state), leaves(eight.state), strict=True):
    np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-6)


def test_checkpoint_of_eight_devices_continues_on_one(tmp_path):
  train_and_evaluate(toy_config(), tmp_path, num_devices=8)
  longer = toy_config(**{'train.num_steps': 12})
  result = train_and_evaluate(longer, tmp_path, num_devices=1)
  assert result.step == 12
  straight = train_and_evaluate(longer, tmp_path / 'x', num_devices=1)
  for a, b in zip(leaves(result.state), leaves(straight.state), strict=True):
    np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-6)


def test_bad_number_stops_and_keeps_the_last_good_state(tmp_path):
  config = toy_config(**{'data.bad_step': 3})
  with pytest.raises(NonFiniteError, match=r'step 4: .*loss = nan'):
    train_and_evaluate(config, tmp_path)
  good = train_and_evaluate(
    toy_config(**{'train.num_steps': 3}), tmp_path / 'good'
  )
  stored = checkpoints.load_checkpoint(tmp_path)
  assert stored.step == 3
  np.testing.assert_array_equal(
    stored.params['model']['w'], good.state.params['model']['w']
  )
  assert not (tmp_path / 'result.json').exists()


@pytest.mark.parametrize('number', [signal.SIGTERM, signal.SIGINT])
def test_a_signal_saves_and_the_next_call_finishes(
  tmp_path, monkeypatch, number
):
  batches = toy_task.ToyData.batches

  def interrupting(self, step):
    for i, batch in enumerate(batches(self, step), step):
      if i == 5:
        os.kill(os.getpid(), number)
      yield batch

  if signal.getsignal(number) is signal.SIG_IGN:
    # A shell's background jobs ignore SIGINT, and the loop leaves it at that.
    signal.signal(number, signal.default_int_handler)
  before = signal.getsignal(number)
  monkeypatch.setattr(toy_task.ToyData, 'batches', interrupting)
  config = toy_config(**{'train.num_steps': 12})
  result = train_and_evaluate(config, tmp_path / 'run')
  assert result.preempted
  assert result.step == 6
  assert checkpoints.load_checkpoint(tmp_path / 'run').step == 6
  assert signal.getsignal(number) is before
  monkeypatch.setattr(toy_task.ToyData, 'batches', batches)
  finished = train_and_evaluate(config, tmp_path / 'run')
  straight = train_and_evaluate(config, tmp_path / 'straight')
  assert_same_state(finished.state, straight.state)


def test_sigterm_during_the_start_saves_the_first_step(tmp_path, monkeypatch):
  build_data = toy_task.build_data

  def interrupting(*args):
    os.kill(os.getpid(), signal.SIGTERM)
    return build_data(*args)

  monkeypatch.setattr(toy_task, 'build_data', interrupting)
  result = train_and_evaluate(toy_config(), tmp_path)
  assert result.preempted
  assert checkpoints.load_checkpoint(tmp_path).step == result.step == 1


def test_latest_two_and_the_best_checkpoint_stay(tmp_path, monkeypatch):
  # Validation gets worse from step 4 on: 4 stays as the best, 12 and 16 as
  # the latest.
  losses = iter([0.1, 0.5, 0.6, 0.7])
  monkeypatch.setattr(
    toy_task.ToyTask, 'evaluate', lambda *_: {'loss': next(losses)}
  )
  train_and_evaluate(toy_config(**{'train.num_steps': 16}), tmp_path)
  kept = sorted(int(p.name) for p in (tmp_path / 'checkpoints').iterdir())
  assert kept == [4, 12, 16]


def test_resume_from_and_init_from(tmp_path):
  first = train_and_evaluate(toy_config(), tmp_path / 'a')
  again = toy_config(resume_from=str(tmp_path / 'a'))
  resumed = train_and_evaluate(again, tmp_path / 'b')
  assert_same_state(first.state, resumed.state)
  fresh = toy_config(**{'init_from': str(tmp_path / 'a'), 'train.num_steps': 1})
  started = train_and_evaluate(fresh, tmp_path / 'c')
  assert int(started.state.step) == 1
  difference = np.abs(
    np.asarray(started.state.params['model']['w'])
    - np.asarray(first.state.params['model']['w'])
  ).max()
  # Adam's first step is the learning rate.
  assert 0 < difference <= 0.1001


def test_another_meaning_of_the_state_is_refused(tmp_path):
  train_and_evaluate(toy_config(), tmp_path)
  other = toy_config(**{'seed': 1, 'train.batch_size': 32})
  with pytest.raises(ConfigError) as caught:
    train_and_evaluate(other, tmp_path)
  assert {p.key for p in caught.value.problems} == {'seed', 'train.batch_size'}
  rate = toy_config(**{'optimizer.learning_rate': 0.01, 'train.num_steps': 9})
  assert train_and_evaluate(rate, tmp_path).step == 9


def test_every_regular_checkpoint_can_be_the_best(tmp_path):
  config = toy_config(
    **{
      'train.num_steps': 20,
      'train.eval_every': 7,
      'train.checkpoint_every': 5,
    }
  )
  train_and_evaluate(config, tmp_path)
  evaluated = [
    row['step'] for row in read_metrics(tmp_path) if 'validation/loss' in row
  ]
  assert evaluated == [5, 7, 10, 14, 15, 20]


def test_a_run_killed_before_its_result_still_writes_it(tmp_path):
  whole = train_and_evaluate(toy_config(), tmp_path)
  stored = (tmp_path / 'result.json').read_text()
  (tmp_path / 'result.json').unlink()
  assert train_and_evaluate(toy_config(), tmp_path).metrics == whole.metrics
  assert (tmp_path / 'result.json').read_text() == stored


def test_clipping_can_be_switched_on_when_a_run_continues(tmp_path):
  """As the message about a bad number advises."""
  train_and_evaluate(toy_config(), tmp_path)
  clipped = toy_config(**{'train.num_steps': 9, 'optimizer.clip_norm': 1.0})
  assert train_and_evaluate(clipped, tmp_path).step == 9


def test_who_reads_the_data_may_change_when_a_run_continues(tmp_path):
  train_and_evaluate(toy_config(), tmp_path)
  config = toy_config(
    **{'train.num_steps': 9, 'data.num_workers': 1, 'data.num_threads': 4}
  )
  assert train_and_evaluate(config, tmp_path).step == 9


@pytest.mark.parametrize('key', ['resume_from', 'init_from'])
def test_a_foreign_checkpoint_lists_its_shapes_and_leaves_no_run(
  tmp_path, monkeypatch, key
):
  train_and_evaluate(toy_config(), tmp_path / 'a')
  monkeypatch.setattr(toy_task, 'SIZE', 4)
  other = toy_config(**{key: str(tmp_path / 'a')})
  with pytest.raises(
    checkpoints.CheckpointError, match=r'model/w is \(3,\), .* wants \(4,\)'
  ):
    train_and_evaluate(other, tmp_path / 'b')
  assert not (tmp_path / 'b').exists()


def test_resume_from_one_checkpoint_leaves_it_as_it_is(tmp_path):
  train_and_evaluate(toy_config(), tmp_path / 'a')
  given = tmp_path / 'a' / 'checkpoints' / '4'
  before = sorted(given.rglob('*'))
  config = toy_config(resume_from=str(given))
  resumed = train_and_evaluate(config, tmp_path / 'b')
  straight = train_and_evaluate(toy_config(), tmp_path / 'c')
  assert_same_state(resumed.state, straight.state)
  assert sorted(given.rglob('*')) == before


def test_a_moving_average_cannot_be_switched_on_in_a_run(tmp_path):
  train_and_evaluate(toy_config(), tmp_path)
  averaging = toy_config(**{'train.num_steps': 9, 'train.ema_decay': 0.9})
  with pytest.raises(checkpoints.CheckpointError, match=r'train\.ema_decay'):
    train_and_evaluate(averaging, tmp_path)


@pytest.mark.parametrize('count', [-1, 9])
def test_more_devices_than_there_are_is_refused(tmp_path, count):
  with pytest.raises(ConfigError, match='must be 1 to 8'):
    train_and_evaluate(toy_config(), tmp_path / 'run', num_devices=count)
  assert not (tmp_path / 'run').exists()


@pytest.mark.parametrize('name', ['file', 'file/run'])
def test_a_file_in_the_way_is_named(tmp_path, name):
  (tmp_path / 'file').touch()
  with pytest.raises(WorkdirError, match=r'file is a file; choose another'):
    train_and_evaluate(toy_config(), tmp_path / name)


def test_a_second_run_in_one_workdir_is_refused(tmp_path):
  with (
    workdir.claim(tmp_path),
    pytest.raises(WorkdirError, match='another process trains'),
  ):
    train_and_evaluate(toy_config(), tmp_path)
  assert list(tmp_path.iterdir()) == []
  assert train_and_evaluate(toy_config(), tmp_path).step == 8


def test_weights_without_training_state_are_for_init_from(tmp_path):
  train_and_evaluate(toy_config(), tmp_path / 'a')
  shutil.rmtree(tmp_path / 'a' / 'checkpoints' / '8' / 'trainer')
  resuming = toy_config(resume_from=str(tmp_path / 'a'))
  with pytest.raises(checkpoints.CheckpointError, match=r'config\.init_from'):
    train_and_evaluate(resuming, tmp_path / 'b')


def test_fewer_steps_than_were_done_are_refused(tmp_path):
  train_and_evaluate(toy_config(), tmp_path)
  with pytest.raises(ConfigError, match=r'num_steps = 5: .* done 8 steps'):
    train_and_evaluate(toy_config(**{'train.num_steps': 5}), tmp_path)
  assert (
    json.loads((tmp_path / 'config.json').read_text())['train']['num_steps']
    == toy_config().train.num_steps
  )


def test_damaged_provenance_is_named(tmp_path):
  train_and_evaluate(toy_config(), tmp_path)
  (tmp_path / 'provenance.json').write_text('{"runs"')
  with pytest.raises(WorkdirError, match=r'provenance\.json is damaged'):
    train_and_evaluate(toy_config(**{'train.num_steps': 9}), tmp_path)


@pytest.mark.parametrize('pattern', ['.', 'params', 'trainer', 'data'])
def test_damaged_checkpoint_is_named(tmp_path, pattern):
  train_and_evaluate(toy_config(), tmp_path)
  for path in (tmp_path / 'checkpoints' / '8' / pattern).rglob('*'):
    if path.is_file() and path.stat().st_size:
      path.write_bytes(b'x')
  with pytest.raises(checkpoints.CheckpointError, match='damaged'):
    train_and_evaluate(toy_config(**{'train.num_steps': 9}), tmp_path)
  if pattern == 'params':
    with pytest.raises(checkpoints.CheckpointError, match='damaged'):
      checkpoints.load_checkpoint(tmp_path)


def test_all_config_problems_at_once_and_nothing_written(tmp_path):
  config = edtn.get_config('tiny')
  config.train.batch_size = 12
  config.loss.reading = 'magic'
  config.face.pose_adapter = 'nowhere.npy'
  config.optimizer.b1 = 2.0
  with pytest.raises(ConfigError) as caught:
    train_and_evaluate(config, tmp_path / 'run')
  assert {p.key for p in caught.value.problems} == {
    'train.batch_size',
    'loss.reading',
    'face.pose_adapter',
    'optimizer.b1',
  }
  text = str(caught.value)
  assert '--config.train.batch_size=16' in text
  assert 'paper, code' in text
  assert not (tmp_path / 'run').exists()


def test_profile_switch_writes_a_trace(tmp_path):
  config = toy_config(**{'train.profile_steps': (2, 4)})
  train_and_evaluate(config, tmp_path)
  assert list((tmp_path / 'profile').rglob('*.xplane.pb'))


def test_progress_line_names_rate_and_waiting():
  progress = loop.Progress(num_steps=100, batch_size=16)
  progress.add({'loss': 2.0})
  progress.add({'loss': 4.0})
  values, line = progress.flush(10)
  assert values['loss'] == 3.0
  assert line.startswith('step 10/100 | loss 3 | ')
  assert 'data_wait' in line
  assert line.endswith('left')


@pytest.mark.parametrize('num_devices', [1, 2])
def test_a_batch_in_parts_gives_the_same_step(tmp_path, num_devices):
  whole = train_and_evaluate(toy_config(), tmp_path / 'whole')
  parts = train_and_evaluate(
    toy_config(**{'train.accumulation': 4}),
    tmp_path / 'parts',
    num_devices=num_devices,
  )
  for a, b in zip(leaves(whole.state), leaves(parts.state), strict=True):
    np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-6)


def test_a_batch_that_cannot_be_cut_is_refused(tmp_path):
  config = toy_config(**{'train.accumulation': 3})
  with pytest.raises(ConfigError, match=r'8 devices times 3.*batch_size=24'):
    train_and_evaluate(config, tmp_path / 'run')
