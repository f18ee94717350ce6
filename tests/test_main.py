"""The command line: help, wrong input, and a whole session."""

import inspect
import json
import pathlib
import subprocess
import sys

import numpy as np
import pytest

from edtn_jax import command_help
from edtn_jax.commands import COMMANDS

ROOT = pathlib.Path(__file__).resolve().parents[1]


def edtn(*words, cwd=ROOT):
  return subprocess.run(
    [sys.executable, str(ROOT / 'main.py'), *map(str, words)],
    capture_output=True,
    text=True,
    cwd=cwd,
    timeout=300,
  )


def test_commands_of_the_design():
  assert list(COMMANDS) == [
    'train',
    'evaluate',
    'export',
    'reenact',
    'prepare',
    'convert',
    'demo',
  ]


@pytest.mark.parametrize('name', COMMANDS)
def test_every_flag_has_a_type_and_a_text(name):
  function = COMMANDS[name]
  texts = command_help.argument_texts(function)
  parameters = inspect.signature(function).parameters
  assert list(texts) == list(parameters)
  assert all(texts.values())
  for parameter in parameters.values():
    known = parameter.annotation in ('bool', 'float', 'int', 'str')
    assert known or parameter.name == 'config'
  text = command_help.command_help(name, function, {'config': 'x.py'})
  assert all(f'--{flag} ' in text for flag in parameters)


def test_help_imports_nothing_heavy():
  code = (
    'import sys; sys.argv = ["edtn", "train", "--help"]; import main; '
    'main.console_main(); '
    'heavy = {"jax", "flax", "grain", "tensorflow_datasets", "orbax"}; '
    'print("HEAVY", sorted(heavy & set(sys.modules)))'
  )
  done = subprocess.run(
    [sys.executable, '-c', code], capture_output=True, text=True, cwd=ROOT
  )
  assert done.returncode == 0, done.stderr
  assert '--workdir  (required)' in done.stdout
  assert done.stdout.splitlines()[-1] == 'HEAVY []'


@pytest.mark.parametrize(
  ('words', 'said'),
  [
    (['fly'], ["no command 'fly'", 'reenact']),
    (['train'], ['--workdir=... is required']),
    (['train', '--workdir='], ['--workdir=... is required']),
    (
      ['train', '--workdir', 'x', '--config.los', '3', '--config.a.b=4'],
      ['--config.los=3: no such key', '--config.a.b=4: no such key'],
    ),
    (['train', '--workdri=x'], ['workdri', 'workdir']),
    (['evaluate', '--workdir=x', 'y'], ["'y' is no flag"]),
    (
      [
        'train',
        '--workdir=x',
        '--config.loss.vertx_weight=3',
        '--config.train.batch_size=3.5',
      ],
      ['vertx_weight', 'vertex_weight', 'batch_size=3.5'],
    ),
    (
      ['train', '--workdir=x', '--config=configs/edtn.py:fast'],
      ['unknown config argument fast', 'tiny'],
    ),
    (['train', '--workdir=x', '--config=no.py'], ['no.py', 'No such file']),
  ],
)
def test_wrong_words_end_with_two_and_say_why(tmp_path, words, said):
  done = edtn(*words, cwd=tmp_path)
  assert done.returncode == 2
  assert 'Traceback' not in done.stderr
  for text in said:
    assert text in done.stderr
  assert list(tmp_path.iterdir()) == []


@pytest.mark.slow
def test_absent_files_end_with_two_and_leave_nothing(tmp_path):
  for words in (
    ['evaluate', '--workdir=none'],
    ['export', '--workdir=none', '--output=bundle'],
    ['convert', '--input=none.pt', '--workdir=run'],
    ['prepare', '--input=none', '--output=set'],
    ['prepare', '--output=set'],
    ['reenact', '--driving=none', '--workdir=none', '--output=out'],
    ['demo', '--driving=none', '--output=out'],
  ):
    done = edtn(*words, cwd=tmp_path)
    assert done.returncode == 2, (words, done.stderr)
    assert 'Traceback' not in done.stderr, words
    assert f'edtn {words[0]}:' in done.stderr
    assert list(tmp_path.iterdir()) == [], words


@pytest.mark.slow
def test_a_whole_session(tmp_path):
  """Make a data set, train from it, resume, evaluate, export, reenact."""

  def run(*words):
    done = edtn(*words, cwd=tmp_path)
    assert done.returncode == 0, done.stderr[-3000:]
    return done

  run('prepare', '--procedural=40', '--frames_per_identity=6', '--output=set')
  train = [
    'train',
    '--config=configs/edtn.py:tiny,dataset',
    '--config.data.path=set',
    '--config.data.pipeline=stream',
    '--workdir=run',
  ]
  run(*train)
  run(*train, '--config.train.num_steps=12')
  assert (
    json.loads((tmp_path / 'run' / 'result.json').read_text())['step'] == 12
  )
  done = run('evaluate', '--workdir=run', '--output=evaluation.json')
  result = json.loads((tmp_path / 'evaluation.json').read_text())
  assert result['protocol']['step'] == 12
  assert np.isfinite(result['metrics']['coefficient_error'])
  assert done.stdout.splitlines()[-1].startswith('| 12 |')
  run('export', '--workdir=run', '--output=bundle')
  bundle = tmp_path / 'bundle'
  assert (bundle / 'stablehlo' / 'translator.stablehlo').stat().st_size
  assert (bundle / 'onnx' / 'translator.onnx').stat().st_size
  run(
    'reenact',
    '--driving=set',
    '--split=validation',
    '--workdir=run',
    '--output=out',
    '--gif_max_frames=2',
  )
  with np.load(tmp_path / 'out' / 'pose_vectors.npz') as stored:
    assert stored['pose_vector'].shape == (6, 20)
  assert (tmp_path / 'out' / 'reenactment.gif').stat().st_size
