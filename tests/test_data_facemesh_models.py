"""Model files: pinned, cached, never kept when wrong; no network here."""

import builtins
import hashlib
import pathlib
import subprocess
import types
import zipfile

import pytest

from data.facemesh import models

_CONTENT = {name: name.encode() for name in models.MODELS}


@pytest.fixture
def small_models(monkeypatch):
  """Stands in for the real files by ones of a few bytes."""
  table = {
    name: models.ModelFile(
      model.member, hashlib.sha256(_CONTENT[name]).hexdigest()
    )
    for name, model in models.MODELS.items()
  }
  monkeypatch.setattr(models, 'MODELS', table)
  return table


def _fake_pip(monkeypatch, table, contents, commands=None):
  def run(command, **unused):
    if commands is not None:
      commands.append(command)
    [folder] = [a[7:] for a in command if a.startswith('--dest=')]
    with zipfile.ZipFile(pathlib.Path(folder, 'm-0-any.whl'), 'w') as wheel:
      for name, content in contents.items():
        wheel.writestr(table[name].member, content)
    return types.SimpleNamespace(returncode=0, stdout='', stderr='')

  monkeypatch.setattr(subprocess, 'run', run)


def test_downloads_once_then_works_offline(small_models, monkeypatch, tmp_path):
  commands = []
  _fake_pip(monkeypatch, small_models, _CONTENT, commands)
  paths = models.fetch_models(tmp_path / 'cache')
  assert {n: p.read_bytes() for n, p in paths.items()} == _CONTENT
  assert 'mediapipe==0.10.21' in commands[0]
  assert '--no-deps' in commands[0]

  def no_network(*unused, **unused_too):
    raise AssertionError('downloaded again')

  monkeypatch.setattr(subprocess, 'run', no_network)
  assert models.fetch_models(tmp_path / 'cache') == paths


def test_damaged_cache_is_repaired(small_models, monkeypatch, tmp_path):
  _fake_pip(monkeypatch, small_models, _CONTENT)
  path = models.fetch_models(tmp_path)['face_landmark']
  path.write_bytes(b'cut')
  models.fetch_models(tmp_path)
  assert path.read_bytes() == _CONTENT['face_landmark']


def test_wrong_sum_and_missing_file_keep_nothing(
  small_models, monkeypatch, tmp_path
):
  wrong = {**_CONTENT, 'face_landmark': b'something else'}
  del wrong['iris_landmark']
  _fake_pip(monkeypatch, small_models, wrong)
  with pytest.raises(models.ModelError) as caught:
    models.fetch_models(tmp_path)
  assert 'face_landmark.tflite has sha256' in str(caught.value)
  assert 'iris_landmark.tflite is missing' in str(caught.value)
  assert list(tmp_path.iterdir()) == []


def test_no_network_says_what_to_do(monkeypatch, tmp_path):
  monkeypatch.setattr(
    subprocess,
    'run',
    lambda *unused, **unused_too: types.SimpleNamespace(
      returncode=1, stdout='', stderr='a warning\nERROR: no connection\n'
    ),
  )
  with pytest.raises(models.ModelError, match=r'ERROR: no connection.*again'):
    models.fetch_models(tmp_path)
  assert list(tmp_path.iterdir()) == []


def test_cache_folder_follows_the_environment(monkeypatch, tmp_path):
  monkeypatch.setenv('EDTN_CACHE', str(tmp_path))
  assert models.default_cache_dir() == tmp_path / 'facemesh'
  monkeypatch.delenv('EDTN_CACHE')
  monkeypatch.setenv('HOME', str(tmp_path))
  assert models.default_cache_dir() == tmp_path / '.cache/edtn_jax/facemesh'


def test_cache_that_cannot_be_written_is_named(tmp_path):
  blocked = tmp_path / 'file'
  blocked.write_text('')
  with pytest.raises(models.ModelError, match='set EDTN_CACHE'):
    models.fetch_models(blocked / 'cache')


def test_missing_library_names_the_extra(monkeypatch, tmp_path):
  real_import = builtins.__import__

  def refuse(name, *rest, **named):
    if name.startswith('ai_edge_litert'):
      raise ImportError(name)
    return real_import(name, *rest, **named)

  monkeypatch.setattr(builtins, '__import__', refuse)
  with pytest.raises(models.ModelError, match=r'edtn-jax\[facemesh\]'):
    models.Model(tmp_path / 'any.tflite')


def test_file_that_is_no_model_is_named(tmp_path):
  pytest.importorskip('ai_edge_litert', reason='extra [facemesh]')
  path = tmp_path / 'junk.tflite'
  path.write_bytes(b'junk' * 10)
  with pytest.raises(models.ModelError, match=r'junk\.tflite: not a usable'):
    models.Model(path)
