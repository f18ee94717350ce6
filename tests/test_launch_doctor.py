"""What stands in the way of a training, found before it starts."""

import json
import os
import pathlib
import socket
import subprocess
import sys
import threading

import pytest

from configs import edtn
from launch import doctor, rendezvous
from launch import doctor_checks as checks
from launch.doctor_checks import Devices, Finding
from launch.processes import Place
from tests import bucket

ROOT = pathlib.Path(__file__).resolve().parents[1]


def problems(findings):
  return [f'{f.subject}: {f.text}' for f in findings if f.remedy]


def write_setup(tmp_path, *lines, python='>=3.11'):
  path = tmp_path / 'setup.cfg'
  wanted = '\n'.join(f'    {line}' for line in lines)
  path.write_text(
    f'[options]\npython_requires = {python}\ninstall_requires =\n{wanted}\n'
  )
  return path


def test_installed_versions_are_compared(tmp_path):
  fine = checks.check_versions(
    write_setup(tmp_path, '# why', 'numpy>=2', 'etils[epath]>=1.12')
  )
  assert [f.text for f in fine] == ['2 packages as setup.cfg asks']
  path = write_setup(
    tmp_path, 'numpy>=99', 'no-such-package', 'jax', python='>=9'
  )
  told = problems(checks.check_versions(path))
  assert len(told) == 3
  assert 'wanted >=9' in told[0]
  assert told[1].startswith('versions: numpy 2')
  assert told[1].endswith('wanted numpy>=99')
  assert told[2] == 'versions: no-such-package is not installed'
  assert problems(checks.check_versions()) == []


def test_devices_are_counted_for_the_whole_run(monkeypatch):
  seen = {'platform': 'gpu', 'kind': 'H', 'local': 8, 'all': 8, 'jax': '0'}
  monkeypatch.setattr(checks, '_PROBE', f'print({json.dumps(seen)!r})')
  alone, _ = checks.probe_devices(None)
  assert (alone.per_process, alone.total) == (8, 8)
  node, found = checks.probe_devices(Place('h:1', 4, 0, False, 1))
  assert (node.per_process, node.total) == (8, 32)
  assert found == [Finding('devices', '32 x H, jax 0 (8 a process)')]
  task, _ = checks.probe_devices(Place('h:1', 4, 0, True, 1))
  assert (task.per_process, task.total) == (1, 4)
  assert problems(checks.check_count(node, 40)) == [
    'devices: 32 devices, expected 40'
  ]
  assert checks.check_count(node, 32) == checks.check_count(node, 0) == []


@pytest.mark.parametrize(
  ('probe', 'told'),
  [
    ('import time; time.sleep(60)', 'within 1 s'),
    ('raise RuntimeError("the driver is too old")', 'driver is too old'),
    ('print("no JSON")', 'finds no devices'),
  ],
)
def test_devices_that_hang_or_crash(monkeypatch, probe, told):
  monkeypatch.setattr(checks, '_PROBE', probe)
  devices, found = checks.probe_devices(None, timeout=1)
  assert devices is None
  assert told in problems(found)[0]


def test_an_accelerator_that_is_not_used(monkeypatch, tmp_path):
  (tmp_path / 'nvidia0').touch()
  files = {'NVIDIA GPU': (f'{tmp_path}/nvidia[0-9]*', 'cuda')}
  monkeypatch.setattr(checks, '_DEVICE_FILES', files)
  (found,) = checks._unused(Devices('cpu', 'cpu', 1, 1))
  assert "'.[cuda]'" in found.remedy
  assert list(checks._unused(Devices('gpu', 'H', 1, 1))) == []


def test_the_batch_must_fit_the_devices():
  config = edtn.get_config('tiny')
  eight = Devices('cpu', 'cpu', 8, 8)
  assert problems(checks.check_config(config, eight, None)) == []
  config.train.batch_size = 20
  config.loss.reading = 'book'
  told = problems(checks.check_config(config, eight, None))
  assert len(told) == 2
  assert any('divisible by the 8 devices' in text for text in told)


def test_the_directory_is_tried_and_left_as_it_was(tmp_path, monkeypatch):
  place = tmp_path / 'runs' / 'one'
  assert problems(checks.check_workdir(str(place))) == []
  assert list(tmp_path.iterdir()) == []
  (tmp_path / 'file').touch()
  told = problems(checks.check_workdir(str(tmp_path / 'file' / 'run')))
  assert 'is a file' in told[0]
  bucket.make_buckets(monkeypatch, tmp_path / 'buckets')
  for scheme in ('gs', 's3'):
    assert problems(checks.check_workdir(f'{scheme}://runs/one')) == []
  assert not [p for p in (tmp_path / 'buckets').rglob('*') if p.is_file()]
  # A run in s3:// is written to this machine first.
  (tmp_path / 'file').chmod(0o444)
  monkeypatch.setenv('EDTN_REMOTE_CACHE', str(tmp_path / 'file'))
  assert problems(checks.check_workdir('gs://runs/one')) == []
  assert 's3://runs/one' in problems(checks.check_workdir('s3://runs/one'))[0]


def test_checkpoints_must_fit_on_the_disk(tmp_path, monkeypatch):
  usage = type('Usage', (), {'free': 39_000_000})
  monkeypatch.setattr(checks.shutil, 'disk_usage', lambda _: usage)
  assert problems(checks.check_disk(str(tmp_path / 'a' / 'b'), 9_000_000)) == []
  for place in (str(tmp_path), 's3://runs/one'):
    (found,) = checks.check_disk(place, 10_000_000)
    assert found.remedy == 'Make 1 MB of room.'
  assert problems(checks.check_disk('gs://runs/one', 10_000_000)) == []


def test_size_of_a_checkpoint():
  config = edtn.get_config('tiny')
  config.train.ema_decay = 0.9
  parameters = 53 * 16 + 16 + 16 * 16 + 16 + 16 * 17 + 17
  # Parameters, their average, Adam's two; two counts, the step and the key.
  assert checks.state_bytes(config) == 4 * (4 * parameters + 2 + 1 + 2)


def test_data_that_is_not_there(tmp_path, monkeypatch):
  config = edtn.get_config('tiny')
  assert problems(checks.check_data(config)) == []
  config.data.source, config.data.path = 'dataset', str(tmp_path / 'none')
  assert 'has no split' in problems(checks.check_data(config))[0]
  splits = {'train': 3, 'validation': 1}
  (tmp_path / 'manifest.json').write_text(json.dumps({'splits': splits}))
  config.data.path = str(tmp_path)
  monkeypatch.setattr(checks, '_read_first', lambda _: None)
  assert problems(checks.check_data(config)) == []
  config.data.train_split = 'all'
  (told,) = problems(checks.check_data(config))
  assert "['all']; there: ['train', 'validation']" in told


def free_port():
  with socket.socket() as probe:
    probe.bind(('127.0.0.1', 0))
    return probe.getsockname()[1]


def meet_all(numbers, count, directory, *, wait=5.0):
  """Runs the rendezvous of some processes; number -> error or None."""
  address, told = f'127.0.0.1:{free_port()}', {}

  def one(number):
    place = Place(address, count, number, False, 1)
    try:
      rendezvous.meet(place, directory, wait)
      told[number] = None
    except rendezvous.RendezvousError as error:
      told[number] = error.problem

  threads = [threading.Thread(target=one, args=(n,)) for n in numbers]
  for thread in threads:
    thread.start()
  for thread in threads:
    thread.join()
  return told


def test_processes_meet(tmp_path):
  assert meet_all(range(3), 3, tmp_path) == {0: None, 1: None, 2: None}
  assert list(tmp_path.iterdir()) == []


def test_a_process_that_does_not_come_is_named(tmp_path):
  told = meet_all([0, 2], 4, tmp_path, wait=0.5)
  for number in (0, 2):
    assert told[number].startswith('process 1, 3 of 4 did not reach')


def test_a_coordinator_that_is_not_there():
  told = meet_all([1], 2, None, wait=0.1)
  assert 'cannot be reached within 0 s' in told[1]


def test_a_directory_that_is_not_shared(tmp_path, monkeypatch):
  # The file of process 0 is gone before the others look for it.
  send = rendezvous._send

  def losing(connection, message):
    if message.get('file'):
      pathlib.Path(message['file']).unlink()
    send(connection, message)

  monkeypatch.setattr(rendezvous, '_send', losing)
  monkeypatch.setattr(rendezvous.time, 'sleep', lambda _: None)
  told = meet_all([0, 1], 2, tmp_path)
  assert all('does not see' in text for text in told.values())


def test_problems_come_last_and_together():
  findings = [
    Finding('disk', 'full', 'Make room.'),
    Finding('data', 'fine'),
    Finding('config', 'odd', 'Make it even.'),
  ]
  assert doctor.report(findings, Place('h:1', 4, 2, False, 1)).splitlines() == [
    '[2/4] ok       data: fine',
    '[2/4] PROBLEM  disk: full',
    '[2/4]          -> Make room.',
    '[2/4] PROBLEM  config: odd',
    '[2/4]          -> Make it even.',
    '[2/4] 2 problems',
  ]
  assert doctor.report(findings[1:2]).endswith('all is well')


@pytest.mark.slow
def test_the_program_tells_by_its_exit_status(tmp_path):
  def run(*words):
    return subprocess.run(
      [sys.executable, '-m', 'launch.doctor', f'--workdir={tmp_path}', *words],
      cwd=ROOT,
      env={**os.environ, 'JAX_NUM_CPU_DEVICES': '2'},
      capture_output=True,
      text=True,
      check=False,
    )

  bad = run(
    '--config=configs/edtn.py:tiny',
    '--config.train.batch_size=15',
    '--devices=3',
  )
  assert bad.returncode == 1
  assert 'divisible by the 2 devices' in bad.stdout
  assert '2 devices, expected 3' in bad.stdout
  assert bad.stdout.endswith('2 problems\n')
  wrong = run('--config=configs/edtn.py:nothing')
  assert wrong.returncode == 2
  assert 'unknown config argument nothing' in wrong.stderr
  assert 'Traceback' not in wrong.stderr
