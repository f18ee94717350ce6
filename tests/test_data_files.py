import json

import numpy as np
import pytest

from data import files


def test_natural_key_counts():
  names = ['10.mat', '2.mat', '1.mat', '0000003.mat', 'a9', 'a10', 'b']
  wanted = ['1.mat', '2.mat', '0000003.mat', '10.mat', 'a9', 'a10', 'b']
  assert sorted(names, key=files.natural_key) == wanted
  assert sorted(['01', '1'], key=files.natural_key) == ['01', '1']


def test_failed_write_keeps_the_old_file(tmp_path):
  path = tmp_path / 'x.json'
  files.write_json(path, {'a': 1})

  def write_half():
    with files.atomic_writer(path) as file:
      file.write(b'half')
      raise RuntimeError('stop')

  with pytest.raises(RuntimeError, match='stop'):
    write_half()
  assert json.loads(path.read_text()) == {'a': 1}
  assert [p.name for p in tmp_path.iterdir()] == ['x.json']


def test_json_refuses_nan(tmp_path):
  with pytest.raises(ValueError, match='JSON compliant'):
    files.write_json(tmp_path / 'x.json', [float('nan')])


def test_npz_refuses_objects(tmp_path):
  with pytest.raises(TypeError, match='Python objects: b'):
    files.write_npz(tmp_path / 'x.npz', {'a': np.zeros(2), 'b': np.array([{}])})


def test_unreadable_npz_is_named(tmp_path):
  files.write_npz(tmp_path / 'good.npz', {'a': np.arange(1000)})
  np.testing.assert_array_equal(
    files.read_npz(tmp_path / 'good.npz')['a'], np.arange(1000)
  )
  whole = (tmp_path / 'good.npz').read_bytes()
  (tmp_path / 'cut.npz').write_bytes(whole[: len(whole) // 2])
  (tmp_path / 'text.npz').write_text('hello')
  (tmp_path / 'empty.npz').touch()
  np.save(tmp_path / 'single.npy', np.zeros(3))
  np.savez(tmp_path / 'evil.npz', a=np.array([{'x': 1}], dtype=object))
  for name in ('cut.npz', 'text.npz', 'empty.npz', 'single.npy', 'evil.npz'):
    with pytest.raises(files.BrokenFileError, match=f'{name}: not a readable'):
      files.read_npz(tmp_path / name)
  with pytest.raises(FileNotFoundError, match='no such file'):
    files.read_npz(tmp_path / 'absent.npz')


def test_a_folder_replaces_another_or_leaves_it(tmp_path, monkeypatch):
  built, final = tmp_path / 'built', tmp_path / 'final'
  aside = tmp_path / 'aside'
  for folder, text in ((built, 'new'), (final, 'old')):
    folder.mkdir()
    (folder / 'x').write_text(text)
  rename = files.os.rename

  def fail(source, target):
    if source == built:
      raise OSError('disk full')
    rename(source, target)

  with monkeypatch.context() as patch:
    patch.setattr(files.os, 'rename', fail)
    with pytest.raises(OSError, match='disk full'):
      files.put_folder(built, final, aside)
  assert (final / 'x').read_text() == 'old'
  files.put_folder(built, final, aside)
  assert (final / 'x').read_text() == 'new'
  assert [p.name for p in tmp_path.iterdir()] == ['final']
