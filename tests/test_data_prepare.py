import json
import os
import signal
import subprocess
import sys

import numpy as np
import pytest
import scipy.io

from data import (
  codes,
  dataset,
  dataset_writer,
  layout,
  prepare,
  voxceleb,
)


def save_mat(path, value, **changes):
  path.parent.mkdir(parents=True, exist_ok=True)
  fields = {
    'shape': np.full((1, 100), value, np.float32),
    'exp': np.full((1, 50), value + 1, np.float32),
    'pose': np.full((1, 6), value / 100, np.float32),
    'cam': np.full((1, 3), 9, np.float32),
    **changes,
  }
  scipy.io.savemat(path, fields)


def make_tree(root):
  """Five training and one test identity, with every fault once."""
  value = 0
  for identity in range(5):
    for video in range(2):
      clip = root / f'deca/train/id{identity}#v{video}#0#9.mp4'
      for frame in range(3):
        value += 1
        save_mat(clip / f'{frame:07d}.mat', value)
  save_mat(root / 'deca/test/id9#v#0#9.mp4/0000000.mat', 99)
  clip = root / 'deca/train/id2#v0#0#9.mp4'
  whole = (clip / '0000000.mat').read_bytes()
  (clip / '0000000.mat').write_bytes(whole[:700])
  save_mat(clip / '0000001.mat', 1, exp=np.full((1, 50), np.nan))
  save_mat(clip / '0000007.mat', 1, exp=np.zeros((1, 64)))
  (root / 'deca/train/id7#empty#0#1.mp4').mkdir()
  broken = root / 'deca/train/id8#broken#0#1.mp4'
  broken.mkdir()
  (broken / '0000000.mat').touch()
  return root


@pytest.fixture
def tree(tmp_path):
  return make_tree(tmp_path / 'voxceleb')


def without_times(manifest):
  return {
    key: value
    for key, value in manifest.items()
    if key not in dataset_writer.TIME_KEYS
  }


def dataset_files(output):
  """Every file's bytes; the manifest without its times."""
  folder = layout.final_dir(output)
  contents = {p.name: p.read_bytes() for p in folder.iterdir()}
  manifest = json.loads(contents.pop('manifest.json'))
  return {**contents, 'manifest.json': without_times(manifest)}


def test_faults_are_listed_and_lose_nothing_else(tree, tmp_path):
  calls = []
  manifest = prepare.prepare_codes(
    tree, tmp_path / 'out', progress=lambda *args: calls.append(args)
  )
  splits = manifest['splits']
  assert list(splits) == ['train', 'validation', 'test']
  assert splits['test'] == {'identities': 1, 'clips': 1, 'frames': 1}
  assert splits['validation']['identities'] == 1
  learnt = [
    splits['train'][k] + splits['validation'][k] for k in splits['test']
  ]
  # 30 frames of 5 people; of one clip only the third frame is good.
  assert learnt == [5, 10, 28]
  skipped = manifest['skipped']
  assert (skipped['num_frames'], skipped['num_clips']) == (4, 2)
  found = {(s['clip'], s['frame']): s['reason'] for s in skipped['frames']}
  clip = 'id2#v0#0#9.mp4'
  assert found.pop((clip, '0000000.mat')).startswith('truncated')
  assert found.pop((clip, '0000001.mat')) == 'NaN or inf in exp'
  assert found.pop((clip, '0000007.mat')).startswith('wrong shape: exp')
  assert list(found) == [('id8#broken#0#1.mp4', '0000000.mat')]
  assert skipped['clips'] == [
    {
      'split': 'train',
      'clip': 'id8#broken#0#1.mp4',
      'reason': 'no usable frame',
    },
    {'split': 'train', 'clip': 'id7#empty#0#1.mp4', 'reason': 'no .mat file'},
  ]
  assert manifest['source'] == {
    'kind': 'deca',
    'name': 'voxceleb',
    'splits_given': True,
    'validation_fraction': 0.02,
  }
  assert manifest['expression_space'] == 'flame'
  assert calls[-1] == ('write', 11, 11)
  assert calls[0] == ('read', 1, 12)
  stored = layout.final_dir(tmp_path / 'out') / 'manifest.json'
  assert json.loads(stored.read_text()) == manifest
  assert [p.name for p in (tmp_path / 'out').iterdir()] == ['deca_codes']


def test_codes_arrive_unchanged_in_disjoint_splits(tree, tmp_path):
  prepare.prepare_codes(tree, tmp_path / 'out', validation_fraction=0.3)
  tables = {
    split: dataset.load_table(tmp_path / 'out', split)
    for split in layout.SPLITS
  }
  names = [set(table.identity_names) for table in tables.values()]
  assert set.union(*names) == {'id0', 'id1', 'id2', 'id3', 'id4', 'id9'}
  assert sum(map(len, names)) == 6
  for table in tables.values():
    for i, name in enumerate(table.identity_names):
      start, end = table.identity_offsets[i : i + 2]
      number = int(name[2:])
      values = np.arange(6.0) + 6 * number + 1
      if number == 2:
        values = values[2:]
      if number == 9:
        values = np.array([99.0])
      np.testing.assert_array_equal(
        table.expression[start:end], np.repeat(values[:, None] + 1, 50, 1)
      )
      np.testing.assert_allclose(
        table.jaw_pose[start:end, 2], values / 100, rtol=1e-6
      )


KILL = """
import os, signal, sys
from data import prepare
source, output, phase, at = sys.argv[1:]
def progress(name, done, total):
  if name == phase and done == int(at):
    os.kill(os.getpid(), signal.SIGKILL)
prepare.prepare_codes(source, output, progress=progress)
"""


@pytest.mark.parametrize(('phase', 'at'), [('read', 5), ('write', 4)])
def test_killed_and_run_again_gives_the_same(tree, tmp_path, phase, at):
  prepare.prepare_codes(tree, tmp_path / 'whole')
  output = tmp_path / 'killed'
  arguments = [sys.executable, '-c', KILL, tree, output, phase, str(at)]
  done = subprocess.run(arguments, capture_output=True)
  assert done.returncode == -signal.SIGKILL, done.stderr.decode()
  assert not layout.final_dir(output).exists()
  with pytest.raises(ValueError, match='interrupted; run the same command'):
    dataset.open_dataset(output)
  prepare.prepare_codes(tree, output)
  assert dataset_files(output) == dataset_files(tmp_path / 'whole')


def test_interrupted_at_every_clip(tree, tmp_path):
  """Each run dies one clip further on; none reads a clip twice."""
  read = []

  def stop_after_one(phase, done, total):
    read.append((phase, done))
    if len(read) > len(seen):
      seen.append(read[-1])
      raise KeyboardInterrupt

  seen = []
  output = tmp_path / 'out'
  for _ in range(40):
    read.clear()
    try:
      prepare.prepare_codes(tree, output, progress=stop_after_one)
      break
    except KeyboardInterrupt:
      assert not layout.final_dir(output).exists()
  prepare.prepare_codes(tree, tmp_path / 'whole')
  assert dataset_files(output) == dataset_files(tmp_path / 'whole')


def test_second_run_reads_only_what_changed(tree, tmp_path, monkeypatch):
  output = tmp_path / 'out'

  def stop(phase, done, total):
    if phase == 'write':
      raise KeyboardInterrupt

  with pytest.raises(KeyboardInterrupt):
    prepare.prepare_codes(tree, output, progress=stop)
  save_mat(tree / 'deca/train/id3#v1#0#9.mp4/0000003.mat', 50)
  cached = sorted((output / '.partial' / 'clips').iterdir())
  cached[0].write_bytes(b'damaged')
  read = []
  original = prepare.deca.read_clip
  monkeypatch.setattr(
    prepare.deca,
    'read_clip',
    lambda folder, **names: (
      read.append(folder.name) or original(folder, **names)
    ),
  )
  prepare.prepare_codes(tree, output)
  assert 'id3#v1#0#9.mp4' in read
  assert len(read) in (1, 2)  # The damaged one may be that same clip.
  prepare.prepare_codes(tree, tmp_path / 'whole')
  assert dataset_files(output) == dataset_files(tmp_path / 'whole')


def test_finished_set_is_replaced_only_on_demand(tree, tmp_path):
  output = tmp_path / 'out'
  prepare.prepare_codes(tree, output)
  before = dataset_files(output)
  with pytest.raises(FileExistsError, match='use --overwrite'):
    prepare.prepare_codes(tree, output)
  assert dataset_files(output) == before
  assert [p.name for p in output.iterdir()] == ['deca_codes']
  one = tree / 'deca/train/id0#v0#0#9.mp4'

  def stop(phase, done, total):
    raise KeyboardInterrupt

  with pytest.raises(KeyboardInterrupt):
    prepare.prepare_codes(one, output, overwrite=True, progress=stop)
  assert dataset_files(output) == before
  manifest = prepare.prepare_codes(one, output, overwrite=True)
  assert manifest['splits'] == {
    'train': {'identities': 1, 'clips': 1, 'frames': 3}
  }
  assert manifest['notes'] == [
    'no validation split: there is only one identity'
  ]
  assert dataset.open_dataset(output).manifest == manifest


def test_other_data_in_the_way_is_left_alone(tree, tmp_path):
  final = tmp_path / 'out' / 'deca_codes' / '1.0.0'
  final.mkdir(parents=True)
  (final / 'thesis.txt').write_text('mine')
  with pytest.raises(FileExistsError, match='something else is here'):
    prepare.prepare_codes(tree, tmp_path / 'out', overwrite=True)
  assert (final / 'thesis.txt').read_text() == 'mine'


def test_bad_input_is_refused_before_anything_is_written(tree, tmp_path):
  output = tmp_path / 'out'
  with pytest.raises(FileNotFoundError, match='no such folder'):
    prepare.prepare_codes(tmp_path / 'absent', output)
  (tmp_path / 'bare').mkdir()
  with pytest.raises(ValueError, match=r'no \.mat file'):
    prepare.prepare_codes(tmp_path / 'bare', output)
  with pytest.raises(ValueError) as error:
    prepare.prepare_codes(tree, output, validation_fraction=1, num_processes=0)
  assert 'validation_fraction is 1' in str(error.value)
  assert 'num_processes is 0' in str(error.value)
  assert not output.exists()
  (tmp_path / 'file').touch()
  for taken in (tmp_path / 'file', tmp_path / 'file' / 'out'):
    with pytest.raises(NotADirectoryError, match='a file is in the way'):
      prepare.prepare_codes(tree, taken)


@pytest.mark.skipif(os.geteuid() == 0, reason='root may write anywhere')
def test_unwritable_output(tree, tmp_path):
  locked = tmp_path / 'locked'
  locked.mkdir(mode=0o500)
  with pytest.raises(PermissionError, match='cannot write here'):
    prepare.prepare_codes(tree, locked / 'out')


def test_nothing_usable(tmp_path):
  clip = tmp_path / 'in' / 'a#1'
  clip.mkdir(parents=True)
  (clip / '0.mat').write_bytes(b'short')
  with pytest.raises(ValueError, match=r'none of 1 frames is usable.*0\.mat'):
    prepare.prepare_codes(tmp_path / 'in', tmp_path / 'out')
  assert not layout.final_dir(tmp_path / 'out').exists()


def make_clip(identity, name='clip', space='procedural', known=True):
  fields = {
    key: np.full((2, width), 0.5, np.float32)
    for key, width in codes.CLIP_FIELDS.items()
  }
  if not known:
    fields['true_pose_coeffs'] = None
  return codes.CodeClip(
    identity, name, ('0', '1'), **fields, expression_space=space
  )


def test_procedural_clips_in_the_same_format(tmp_path):
  manifest = prepare.prepare_procedural(
    tmp_path,
    {'validation': iter([make_clip('c')]), 'train': map(make_clip, 'ab')},
    source={'seed': 3},
  )
  assert list(manifest['splits']) == ['train', 'validation']
  assert manifest['source'] == {'kind': 'procedural', 'seed': 3}
  assert manifest['has_true_pose_coeffs']
  table = dataset.load_table(tmp_path, 'train')
  assert table.expression_space == 'procedural'
  np.testing.assert_array_equal(table.true_pose_coeffs, np.full((4, 17), 0.5))


@pytest.mark.parametrize(
  ('splits', 'message'),
  [
    ({'train': [make_clip('b'), make_clip('a')]}, 'sorted by identity'),
    ({'train': [make_clip('a'), make_clip('a')]}, 'none twice'),
    (
      {'train': [make_clip('a')], 'test': [make_clip('a')]},
      'is in train and in test',
    ),
    (
      {'train': [make_clip('a')], 'test': [make_clip('b', space='flame')]},
      'share the expression space',
    ),
    (
      {'train': [make_clip('a'), make_clip('b', known=False)]},
      'all or none know',
    ),
    ({'train': []}, 'train: there are no clips'),
    ({'dev': [make_clip('a')]}, r"splits are \['dev'\]"),
    ({}, r'splits are \[\]'),
  ],
)
def test_clips_that_do_not_belong_together(tmp_path, splits, message):
  with pytest.raises(codes.CodesError, match=message):
    prepare.prepare_procedural(tmp_path, splits)
  assert not layout.final_dir(tmp_path).exists()


def test_real_codes(shared_dir, tmp_path):
  source = shared_dir / 'real' / 'deca'
  manifest = prepare.prepare_codes(source, tmp_path)
  assert manifest['splits'] == {
    'train': {'identities': 1, 'clips': 1, 'frames': 200}
  }
  assert manifest['skipped']['num_frames'] == 0
  table = dataset.load_table(tmp_path, 'train')
  clip, _ = voxceleb.deca.read_clip(source)
  np.testing.assert_array_equal(table.expression, clip.expression)
  np.testing.assert_array_equal(table.jaw_pose, clip.jaw_pose)


def test_several_processes_give_the_same(tree, tmp_path):
  prepare.prepare_codes(tree, tmp_path / 'one')
  prepare.prepare_codes(tree, tmp_path / 'two', num_processes=2)
  assert dataset_files(tmp_path / 'one') == dataset_files(tmp_path / 'two')
