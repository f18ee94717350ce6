"""Two processes of two devices each train as one of four does."""

import json
import os
import pathlib
import shutil
import signal
import socket
import subprocess
import sys
import time

import jax
import numpy as np
import pytest

from data.prepare import prepare_procedural
from data.procedural_codes import procedural_clips
from edtn_jax import distributed, faces, process_setting
from edtn_jax.config import ConfigError
from edtn_jax.tasks import build_data, build_task
from edtn_jax.training import train_and_evaluate
from edtn_jax.training.writer import read_metrics
from tests import distributed_worker as worker

ROOT = pathlib.Path(__file__).resolve().parents[1]


def free_port():
  with socket.socket() as probe:
    probe.bind(('127.0.0.1', 0))
    return probe.getsockname()[1]


def start_pair(folder, command, *, heartbeat, cwds=(ROOT, ROOT)):
  """Starts two processes; `{processes}` in the command says which is which."""
  environment = {
    **os.environ,
    'JAX_NUM_CPU_DEVICES': '2',
    'JAX_PLATFORMS': 'cpu',
    'PYTHONPATH': str(ROOT),
  }
  port, pair = free_port(), []
  for number, cwd in enumerate(cwds):
    setting = f'127.0.0.1:{port},2,{number},heartbeat={heartbeat}'
    with (folder / f'{number}.log').open('w') as log:
      pair.append(
        subprocess.Popen(
          [sys.executable, *(w.format(processes=setting) for w in command)],
          env=environment,
          cwd=cwd,
          stdout=log,
          stderr=log,
        )
      )
  return pair


def finish(pair, folder, timeout=240):
  """Exit codes and what was printed."""
  try:
    codes = [process.wait(timeout) for process in pair]
  finally:
    for process in pair:
      process.kill()
  return codes, [(folder / f'{n}.log').read_text() for n in range(2)]


def train_command(workdir, *words):
  return [
    str(ROOT / 'main.py'),
    'train',
    '--config=configs/edtn.py:tiny',
    f'--workdir={workdir}',
    '--processes={processes}',
    *words,
  ]


def prepared(path):
  def clips(count, first):
    return procedural_clips(
      faces.procedural_adapter(),
      seed=0,
      num_identities=count,
      frames_per_identity=4,
      first_identity=first,
    )

  prepare_procedural(path, {'train': clips(24, 0), 'validation': clips(3, 24)})
  return path


@pytest.fixture(scope='module')
def dataset(tmp_path_factory):
  return prepared(tmp_path_factory.mktemp('codes') / 'set')


@pytest.fixture(scope='module')
def together(tmp_path_factory, dataset):
  """Folder of what a pair of processes did."""
  folder = tmp_path_factory.mktemp('together')
  command = ['-m', 'tests.distributed_worker', '{processes}']
  pair = start_pair(folder, [*command, str(folder), str(dataset)], heartbeat=60)
  codes, said = finish(pair, folder)
  assert codes == [0, 0], said[0][-3000:] + said[1][-3000:]
  return folder


def seen(folder, number):
  return json.loads((folder / f'{number}.json').read_text())


def numbers(workdir):
  """Everything that a run logged, but for times."""
  timed = ('time', 'train/steps_per_second', 'train/data_wait', 'train/mfu')
  return [
    {k: v for k, v in row.items() if k not in timed}
    for row in read_metrics(workdir)
  ]


@pytest.mark.slow
@pytest.mark.parametrize('name', ['memory', 'stream', 'pairs'])
def test_losses_and_metrics_are_those_of_one_process(
  together, dataset, tmp_path, name
):
  config = {
    'memory': worker.memory_config,
    'stream': lambda: worker.stream_config(dataset),
    'pairs': worker.pairs_config,
  }[name]()
  config.train.pictures = False
  train_and_evaluate(config, tmp_path, num_devices=4)
  ours, theirs = numbers(tmp_path), numbers(together / name)
  assert len(ours) == len(theirs) >= 3
  for one, other in zip(ours, theirs, strict=True):
    # Sums are taken in another order.
    assert one == pytest.approx(other, rel=2e-4, abs=1e-5)


@pytest.mark.slow
def test_one_process_writes_and_tells(together):
  workdir = together / 'memory'
  (run,) = json.loads((workdir / 'provenance.json').read_text())['runs']
  assert (run['processes'], run['devices']) == (2, 4)
  assert len(list(workdir.glob('events.*'))) == 1
  assert len(list((workdir / 'samples').glob('*.png'))) == 2
  assert json.loads((workdir / 'result.json').read_text())['step'] == 6
  assert not list(workdir.glob('.process*'))
  logs = [(together / f'{n}.log').read_text() for n in range(2)]
  assert 'step 6/6 | loss' in logs[0]
  assert 'loss' not in logs[1]


@pytest.mark.slow
@pytest.mark.parametrize('num_devices', [1, 8])
def test_a_checkpoint_is_the_same_on_other_devices(
  together, dataset, tmp_path, num_devices
):
  """Written in parts, by two processes; nothing is left to train."""
  shutil.copytree(together / 'stream', tmp_path / 'run')
  config = worker.stream_config(dataset)
  result = train_and_evaluate(config, tmp_path / 'run', num_devices=num_devices)
  with np.load(together / '0.npz') as wanted:
    found = worker.flat(result.state)
    assert {*found, 'rows'} == set(wanted)
    for name, value in found.items():
      np.testing.assert_array_equal(np.asarray(value), wanted[name])


@pytest.mark.slow
def test_each_process_reads_its_own_rows(together, dataset):
  config = worker.stream_config(dataset)
  data = build_data(config, build_task(config), None)
  with data.batches(0) as stream:
    whole = next(stream)['human']['expression']
  parts = [np.load(together / f'{n}.npz')['rows'] for n in range(2)]
  assert [len(part) for part in parts] == [8, 8]
  np.testing.assert_array_equal(np.concatenate(parts), whole)


@pytest.mark.slow
def test_what_cannot_be_trained_is_told_by_both(together):
  for number in range(2):
    found = seen(together, number)
    assert 'batch_size = 6: must be divisible by the 4' in found['uneven']
    assert (
      'loss.vertex_weight = 2.0: in process 1, but process 0 has 1.0'
      in found['other']
    )
  assert not (together / 'never').exists()


@pytest.mark.slow
def test_a_signal_to_one_saves_in_both_at_one_step(together):
  one, other = seen(together, 0), seen(together, 1)
  assert one['preempted']
  assert other['preempted']
  assert one['step'] == other['step'] > worker.PREEMPTED_AT
  kept = [p.name for p in (together / 'preempted' / 'checkpoints').iterdir()]
  assert kept == [str(one['step'])]


@pytest.mark.slow
def test_a_killed_process_ends_the_other(tmp_path):
  command = train_command(tmp_path / 'run', '--config.train.num_steps=1000000')
  pair = start_pair(tmp_path, command, heartbeat=4)
  deadline = time.monotonic() + 200
  while not read_metrics(tmp_path / 'run') and time.monotonic() < deadline:
    assert pair[0].poll() is None, (tmp_path / '0.log').read_text()[-3000:]
    time.sleep(0.2)
  pair[1].send_signal(signal.SIGKILL)
  codes, said = finish(pair, tmp_path)
  assert codes == [distributed.EXIT_CODE, -signal.SIGKILL]
  assert 'process 0 of 2 stops: process 1 on ' in said[0]
  assert 'not heard of for 4 s: killed' in said[0]
  assert 'Traceback' not in said[0]


@pytest.mark.slow
def test_a_damaged_file_of_one_ends_both_with_its_name(tmp_path, dataset):
  """Each process has a copy of the data; that of process 1 is damaged."""
  cwds = [tmp_path / 'a', tmp_path / 'b']
  for cwd in cwds:
    shutil.copytree(dataset, cwd / 'codes')
  (record,) = cwds[1].rglob('*train*.array_record*')
  content = bytearray(record.read_bytes())
  middle = slice(len(content) // 4, 3 * len(content) // 4)
  content[middle] = bytes(len(content[middle]))
  record.write_bytes(content)
  command = train_command(
    tmp_path / 'run',
    '--config.data.source=dataset',
    '--config.data.path=codes',
    '--config.data.pipeline=stream',
  )
  pair = start_pair(tmp_path, command, heartbeat=60, cwds=cwds)
  codes, said = finish(pair, tmp_path)
  assert codes == [distributed.EXIT_CODE, 2]
  assert 'edtn train: ' in said[1]
  assert record.name in said[1]
  assert 'process 1 on ' in said[0]
  assert f'{record.name}' in said[0].partition('failed: ')[2]
  assert 'Traceback' not in ''.join(said)


def test_the_setting_is_read():
  found = process_setting.parse('[::1]:1234, 8, 3,heartbeat=9,join=7')
  assert found == process_setting.Processes('[::1]:1234', 8, 3, 9, 7)
  assert process_setting.parse('auto') == process_setting.Processes()
  assert process_setting.parse('') is None


def test_everything_wrong_with_a_setting_is_told():
  with pytest.raises(ConfigError) as caught:
    process_setting.parse('node1,2,2,heartbeat=0')
  assert [p.value for p in caught.value.problems] == [
    'heartbeat=0',
    'node1',
    '2',
  ]
  with pytest.raises(ConfigError, match='three parts'):
    process_setting.parse('node1:1234,2')


def test_an_unreachable_coordinator_is_named():
  address = f'127.0.0.1:{free_port()}'
  with (
    pytest.raises(distributed.JoinError, match=f'{address} cannot be reached'),
    distributed.joined(f'{address},2,1,join=1'),
  ):
    pass
  assert not jax.distributed.is_initialized()


def test_a_taken_port_is_named():
  with socket.socket() as taken:
    taken.bind(('', 0))
    taken.listen()
    port = taken.getsockname()[1]
    with (
      pytest.raises(distributed.JoinError, match=f'cannot open port {port}'),
      distributed.joined(f'127.0.0.1:{port},2,0,join=1'),
    ):
      pass


def test_without_a_setting_a_process_is_alone(monkeypatch):
  monkeypatch.delenv(process_setting.VARIABLE, raising=False)
  with distributed.joined(''):
    assert not jax.distributed.is_initialized()
  monkeypatch.setenv(process_setting.VARIABLE, 'nonsense')
  with pytest.raises(ConfigError, match='nonsense'), distributed.joined(''):
    pass
