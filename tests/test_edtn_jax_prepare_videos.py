"""From videos to a data set of codes that training reads."""

import errno
import json
import os
import pathlib
import signal
import subprocess
import sys

import numpy as np
import pytest

from configs import edtn
from data import dataset, layout
from data.codes import PROCEDURAL_SPACE
from data.dataset_writer import TIME_KEYS
from data.facemesh import FaceMesh, models
from data.video import VideoError
from edtn_jax import prepare_videos
from edtn_jax.config import ConfigError
from edtn_jax.encoders.choice import EncoderChoice
from edtn_jax.encoders.landmark_fit import CalibrationError
from edtn_jax.prepare_run import prepare_run
from edtn_jax.tasks.code_data import DataError
from edtn_jax.training import train_and_evaluate
from tests.grey_faces import GreyEncoder, GreyTracker, spread
from tests.picture_files import write_frames

ROOT = pathlib.Path(__file__).resolve().parents[1]
SIZE = 16


class Encoder(GreyEncoder):
  """The code is the grey value; 200 is a face that never rests."""

  def codes(self, rows, size, resting=()):
    assert (size, resting) == ((SIZE, SIZE), ())
    if rows.take([0])[0, 0] == 200:
      raise CalibrationError('no resting face')
    for chunk in rows.chunks():
      yield spread(np.nan_to_num(chunk, nan=77) / 100)


def write_clip(folder, values):
  return write_frames(folder, values, SIZE)


def make_tree(root):
  write_clip(root / 'anna' / 'one', range(1, 13))
  write_clip(root / 'anna' / 'two', [0, 5, 6, 0, *range(7, 17)])
  write_clip(root / 'ben#clip', range(30, 42))
  write_clip(root / 'cleo', range(50, 61))
  write_clip(root / 'short', [0, *range(1, 10)])
  write_clip(root / 'restless', [200] * 12)
  (root / 'torn').mkdir()
  (root / 'torn' / '0.png').write_bytes(b'no picture')
  (root / 'list.txt').touch()
  return root


@pytest.fixture
def tree(tmp_path, monkeypatch):
  monkeypatch.setattr(
    prepare_videos, '_tools', lambda choice: (Encoder(), GreyTracker())
  )
  return make_tree(tmp_path / 'in')


def dataset_files(output):
  """Every file's bytes; the manifest without its times."""
  folder = layout.final_dir(output)
  contents = {p.name: p.read_bytes() for p in folder.iterdir()}
  manifest = json.loads(contents.pop('manifest.json'))
  for key in TIME_KEYS:
    del manifest[key]
  return {**contents, 'manifest.json': manifest}


def test_usable_frames_of_usable_videos(tree, tmp_path):
  calls = []
  manifest = prepare_videos.prepare_videos(
    tree,
    tmp_path / 'out',
    validation_fraction=0.4,
    progress=lambda *args: calls.append(args),
  )
  assert manifest['splits']['validation']['identities'] == 1
  assert manifest['splits']['train']['identities'] == 2
  assert manifest['expression_space'] == PROCEDURAL_SPACE
  assert manifest['source'] == {
    'name': 'in',
    'kind': 'videos',
    'splits_given': False,
    'encoder': 'of a test',
    'min_frames': 10,
    'frames_without_face': 'left out',
    'validation_fraction': 0.4,
  }
  assert manifest['notes'] == [
    'files that are no videos by their names: 1 .txt'
  ]
  assert calls[0] == ('encode', 1, 7)
  assert calls[-1] == ('write', 4, 4)
  skipped = manifest['skipped']
  assert skipped['frames'] == [
    {'clip': 'anna/two', 'reason': 'no face', 'frame': f'000000{i}'}
    for i in (0, 3)
  ]
  reasons = {clip['clip']: clip['reason'] for clip in skipped['clips']}
  assert reasons['short'].startswith('too short: 9 of 10 frames show a face')
  assert reasons['restless'] == 'no resting face'
  assert reasons['torn'].startswith('not one frame can be decoded')
  assert len(reasons) == 3
  info = dataset.open_dataset(tmp_path / 'out')
  clips = {
    clip.name: clip
    for split, counts in info.splits.items()
    for record in range(counts.num_clips)
    for clip in [dataset.read_clip(info, split, record)]
  }
  assert set(clips) == {'anna/one', 'anna/two', 'ben#clip', 'cleo'}
  assert clips['ben#clip'].identity == 'ben'
  clip = clips['anna/two']
  assert clip.identity == 'anna'
  assert clip.frames == tuple(f'{i:07d}' for i in (1, 2, *range(4, 14)))
  np.testing.assert_allclose(
    clip.jaw_pose[:, 2], np.array([5, 6, *range(7, 17)]) / 100
  )


def test_a_finished_video_is_not_encoded_again(tree, tmp_path, monkeypatch):
  whole, output = tmp_path / 'whole', tmp_path / 'out'
  prepare_videos.prepare_videos(tree, whole)
  encoded = []
  original = prepare_videos.encode_clip

  def noted(reader, source, *others):
    encoded.append(source.name)
    return original(reader, source, *others)

  monkeypatch.setattr(prepare_videos, 'encode_clip', noted)

  def stop(phase, done, total):
    if (phase, done) == ('encode', 4):
      raise KeyboardInterrupt

  with pytest.raises(KeyboardInterrupt):
    prepare_videos.prepare_videos(tree, output, progress=stop)
  assert encoded == ['anna/one', 'anna/two', 'ben#clip', 'cleo']
  assert not layout.final_dir(output).exists()
  encoded.clear()
  # One that has changed is.
  os.utime(tree / 'ben#clip' / '003.png', ns=(1, 1))
  prepare_videos.prepare_videos(tree, output)
  assert encoded == ['ben#clip', 'restless', 'short']
  assert dataset_files(output) == dataset_files(whole)


@pytest.mark.parametrize('wrapped', [False, True])
def test_what_the_system_refused_is_tried_again(
  tree, tmp_path, monkeypatch, wrapped
):
  original = prepare_videos.open_video
  fault = OSError(errno.EIO, 'Input/output error')

  def failing(path):
    if path.name != 'cleo':
      return original(path)
    if not wrapped:
      raise fault
    raise VideoError('cannot be read') from fault

  whole, output = tmp_path / 'whole', tmp_path / 'out'
  prepare_videos.prepare_videos(tree, whole)

  def stop(phase, done, total):
    if phase == 'write':
      raise KeyboardInterrupt

  with monkeypatch.context() as patch:
    patch.setattr(prepare_videos, 'open_video', failing)
    with pytest.raises(KeyboardInterrupt):
      prepare_videos.prepare_videos(tree, output, progress=stop)
  prepare_videos.prepare_videos(tree, output)
  assert dataset_files(output) == dataset_files(whole)


def test_a_full_disk_is_no_fault_of_a_video(tree, tmp_path, monkeypatch):
  def full(*arguments):
    raise OSError(errno.ENOSPC, 'No space left on device')

  monkeypatch.setattr(prepare_videos, 'encode_clip', full)
  with pytest.raises(OSError, match='No space left'):
    prepare_videos.prepare_videos(tree, tmp_path / 'out')


def test_another_encoder_encodes_again(tmp_path):
  def stamp(**options):
    return list(EncoderChoice(**options).stamp())

  weights = tmp_path / 'weights'
  weights.mkdir()
  (weights / 'config.json').write_text('1')
  before = stamp(kind='deca', weights=str(weights))
  assert before == stamp(kind='deca', weights=str(weights))
  assert before != stamp()
  (weights / 'config.json').write_text('12')
  assert before != stamp(kind='deca', weights=str(weights))


def test_nothing_usable_names_the_first_reason(tree, tmp_path):
  with pytest.raises(ValueError, match=r'none of 1 clips is usable.*too short'):
    prepare_videos.prepare_videos(tree / 'short', tmp_path / 'out')
  assert not layout.final_dir(tmp_path / 'out').exists()


def test_without_pyav_no_video_is_blamed(tree, tmp_path, monkeypatch):
  monkeypatch.setitem(sys.modules, 'av', None)
  (tree / 'clip.mp4').touch()
  with pytest.raises(VideoError, match=r'edtn-jax\[video\]'):
    prepare_videos.prepare_videos(tree, tmp_path / 'out')
  assert not (tmp_path / 'out').exists()


@pytest.mark.parametrize(
  ('options', 'keys'),
  [
    ({'kind': 'emoca'}, ['encoder']),
    ({'kind': 'deca', 'face': 'x'}, ['encoder_weights', 'face']),
    ({'weights': 'x'}, ['encoder_weights']),
    ({'landmarks': 'x', 'landmark_map': 'y'}, ['landmarks', 'landmark_map']),
  ],
)
def test_encoder_options_that_do_not_fit(tmp_path, options, keys):
  with pytest.raises(ConfigError) as caught:
    prepare_videos.prepare_videos(
      tmp_path, tmp_path / 'out', encoder=EncoderChoice(**options)
    )
  assert [problem.key for problem in caught.value.problems] == keys
  assert not (tmp_path / 'out').exists()


def test_an_encoder_is_for_videos(tmp_path):
  choice = EncoderChoice(kind='deca', weights='w', face='f')
  with pytest.raises(ConfigError, match='is for --videos') as caught:
    prepare_run(tmp_path / 'out', procedural=4, encoder=choice)
  keys = [problem.key for problem in caught.value.problems]
  assert keys == ['encoder', 'encoder_weights', 'face']
  with pytest.raises(ConfigError, match='size') as caught:
    prepare_run(tmp_path / 'out', procedural=4, size=3, encoder=EncoderChoice())
  assert len(caught.value.problems) == 1
  with pytest.raises(ConfigError, match='exactly one must be given'):
    prepare_run(tmp_path / 'out', procedural=4, videos='in')
  assert not (tmp_path / 'out').exists()


def tiny_config(path):
  config = edtn.get_config('tiny,dataset')
  config.data.path = str(path)
  config.train.num_steps = 4
  return config


def test_training_refuses_codes_of_another_head(tree, tmp_path):
  prepare_videos.prepare_videos(tree, tmp_path / 'out', validation_fraction=0.4)
  config = tiny_config(tmp_path / 'out')
  config.face.expression_space = 'flame'
  adapter = tmp_path / 'adapter.npy'
  np.save(adapter, np.eye(17, 50, dtype=np.float32))
  config.face.pose_adapter = str(adapter)
  with pytest.raises(DataError, match="holds 'procedural' codes"):
    train_and_evaluate(config, tmp_path / 'other')


@pytest.mark.slow
def test_training_reads_it(tree, tmp_path):
  prepare_videos.prepare_videos(tree, tmp_path / 'out', validation_fraction=0.4)
  result = train_and_evaluate(tiny_config(tmp_path / 'out'), tmp_path / 'run')
  assert int(result.state.step) == 4


KILL = """
import os, signal, sys
from edtn_jax.prepare_run import prepare_videos
def stop(phase, done, total):
  if (phase, done) == ('encode', 1):
    os.kill(os.getpid(), signal.SIGKILL)
if __name__ == '__main__':
  prepare_videos(*sys.argv[1:], num_processes=2, progress=stop)
"""


@pytest.mark.slow
def test_a_real_face_after_a_kill(shared_dir, tmp_path):
  pytest.importorskip('av', reason='extra [video]')
  pytest.importorskip('ai_edge_litert', reason='extra [facemesh]')
  try:
    FaceMesh()
  except models.ModelError as error:
    pytest.skip(f'no FaceMesh models: {error}')
  tree, output = tmp_path / 'in', tmp_path / 'out'
  frames = sorted((shared_dir / 'real' / 'frames').glob('*.png'))
  for name in ('anna', 'ben'):
    (tree / name).mkdir(parents=True)
    for path in frames:
      (tree / name / path.name).symlink_to(path)
  (tree / 'torn.mp4').write_bytes(b'no video')
  script = tmp_path / 'kill.py'
  script.write_text(KILL)
  done = subprocess.run(
    [sys.executable, script, tree, output],
    capture_output=True,
    env={**os.environ, 'PYTHONPATH': os.fspath(ROOT)},
  )
  assert done.returncode == -signal.SIGKILL, done.stderr.decode()
  manifest = prepare_run(output, videos=str(tree), validation_fraction=0.5)
  assert {s: c['frames'] for s, c in manifest['splits'].items()} == {
    'train': len(frames),
    'validation': len(frames),
  }
  assert manifest['source']['head'] == 'procedural head'
  [torn] = manifest['skipped']['clips']
  assert torn['clip'] == 'torn.mp4'
  table = dataset.load_table(output, 'train')
  assert 0.05 < np.abs(table.expression).max() < 10
