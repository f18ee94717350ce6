"""A character in a named pose, and in all of them."""

import re
from typing import ClassVar

import numpy as np
import pytest
from PIL import Image

from data.pose_vector import POSE_INDEX
from edtn_jax import pose_run as pose_run_lib
from edtn_jax.animation.puppet import CharacterChoice
from edtn_jax.config import ConfigError
from edtn_jax.pictures import puppet as puppet_lib
from edtn_jax.pictures.puppet import CharacterPuppet
from edtn_jax.pose_run import parse_pose, pose_run, sweep_sheet

FIVE = CharacterChoice(puppet='5')


def test_pose_by_name():
  pose = parse_pose('mouth_a=0.8,eye_wink_left=1,yaw=-15')
  assert pose[POSE_INDEX['mouth_a']] == pytest.approx(0.8)
  assert pose[POSE_INDEX['eye_wink_left']] == 1
  assert pose[POSE_INDEX['yaw']] == -15
  assert np.count_nonzero(pose) == 3


def test_every_wrong_part_is_named():
  with pytest.raises(ConfigError) as caught:
    parse_pose('mouht_a=1,zzz=1,yaw=q,mouth_a=nan,pitch=inf,roll,yaw=2,yaw=3')
  values = [problem.value for problem in caught.value.problems]
  assert values == [
    'mouht_a=1',
    'zzz=1',
    'yaw=q',
    'mouth_a=nan',
    'pitch=inf',
    'roll',
    'yaw=2',
    'yaw=3',
  ]
  remedies = [problem.remedy for problem in caught.value.problems]
  assert remedies[0].startswith('Did you mean mouth_a')
  assert 'mouth_u' in remedies[1]
  assert 'Name it once' in remedies[7]


def test_out_of_range_is_clamped_with_one_warning(monkeypatch):
  lines = []
  monkeypatch.setattr(
    pose_run_lib.logging, 'warning', lambda text, *a: lines.append(text % a)
  )
  pose = parse_pose(
    'mouth_a=1.5, eye_wink_left=-1, yaw=200, pitch=-36, roll=35'
  )
  named = [POSE_INDEX[n] for n in ('mouth_a', 'eye_wink_left', 'yaw', 'pitch')]
  np.testing.assert_array_equal(pose[named], [1, 0, 35, -35])
  assert len(lines) == 1
  for word in ('mouth_a=1.5 to 1', 'eye_wink_left=-1 to 0', 'yaw=200 to 35'):
    assert word in lines[0]
  assert 'roll' not in lines[0]


def test_puppet_moves_and_is_transparent_around():
  puppet = CharacterPuppet('5', 96)
  neutral, moved = puppet(np.stack([np.zeros(20), parse_pose('mouth_a=1')]))
  assert neutral.shape == (96, 96, 4)
  assert neutral[0, 0, 3] == 0
  assert neutral[60, 48, 3] == 255
  difference = np.abs(moved.astype(int) - neutral.astype(int)).sum(-1)
  rows = np.argwhere(difference > 60)[:, 0]
  # Only the lower half of the face, where the mouth is.
  assert len(rows) > 10
  assert rows.min() > 48
  assert puppet.description == {
    'character': '5',
    'renderer': 'drawn by code',
  }


def test_what_a_file_lacks_is_told(monkeypatch):
  class Model:
    renderer_name = 'software'
    filled: ClassVar = {'eye_surprised_left': 'the wink, reversed'}
    missing: ClassVar = {'mouth_e': 'no morph target'}

  monkeypatch.setattr(puppet_lib, 'open_character', lambda *_: Model())
  assert CharacterPuppet('a.vrm', 96).description == {
    'character': 'a.vrm',
    'renderer': 'software',
    'filled': Model.filled,
    'missing': Model.missing,
  }


@pytest.mark.parametrize('name', ['girl', '-1', '1.5', 'nofile.vrm'])
def test_what_is_no_character_is_refused(name):
  with pytest.raises(ValueError, match=re.escape(name)):
    CharacterPuppet(name, 96)


def test_pictures_on_disk(tmp_path):
  folder = tmp_path / 'out'
  path = pose_run(folder, characters=FIVE, pose='yaw=20', size=128)
  assert path.name == 'pose.png'
  with Image.open(path) as image:
    assert (image.size, image.mode) == ((128, 128), 'RGBA')
    first = np.asarray(image)
  pose_run(folder, characters=FIVE, pose='yaw=-20', size=128)
  with Image.open(path) as image:
    assert (np.asarray(image) != first).any()
  for words in ({'pose': 'yaw=nan'}, {'pose': 'yaw=1', 'size': 4000}):
    with pytest.raises(ConfigError):
      pose_run(tmp_path / 'none', characters=FIVE, **words)
  assert not (tmp_path / 'none').exists()


def test_other_pictures_are_left_alone(tmp_path):
  taken = tmp_path / 'pose.png'
  Image.new('RGB', (3, 3)).save(taken)
  before = taken.read_bytes()
  with pytest.raises(ConfigError, match='left alone'):
    pose_run(tmp_path, characters=FIVE, pose='yaw=20')
  with pytest.raises(ConfigError, match='is a file'):
    pose_run(taken, characters=FIVE, pose='yaw=20')
  assert taken.read_bytes() == before
  assert [p.name for p in tmp_path.iterdir()] == ['pose.png']


def test_sweep_has_a_row_for_each_number():
  poses = []

  def draw(batch):
    for pose in batch:
      poses.append(pose)
      yield np.zeros((64, 64, 4), np.uint8)

  sheet = sweep_sheet(draw)
  assert len(poses) == 20 * 5
  stacked = np.stack(poses).reshape(20, 5, 20)
  for i in range(20):
    values = stacked[i, :, i]
    assert (np.diff(values) > 0).all()
    assert np.count_nonzero(np.delete(stacked[i], i, axis=1)) == 0
  assert sheet.height > 20 * 64
