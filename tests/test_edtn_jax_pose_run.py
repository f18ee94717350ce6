"""A character in a named pose, and as a puppet in the reenactment."""

import numpy as np
import pytest
from PIL import Image

from data.pose_vector import POSE_INDEX
from edtn_jax.config import ConfigError
from edtn_jax.pictures import style
from edtn_jax.pictures.puppet import make_puppet
from edtn_jax.pictures.storyboard import Storyboard
from edtn_jax.pose_run import parse_pose, pose_run, sweep_sheet


def test_pose_by_name():
  pose = parse_pose('mouth_a=0.8,eye_wink_left=1,yaw=-15')
  assert pose[POSE_INDEX['mouth_a']] == pytest.approx(0.8)
  assert pose[POSE_INDEX['eye_wink_left']] == 1
  assert pose[POSE_INDEX['yaw']] == -15
  assert np.count_nonzero(pose) == 3


def test_every_wrong_part_is_named():
  with pytest.raises(ConfigError) as caught:
    parse_pose('mouth_x=1,eye_wink_left=2,yaw=q,pitch=36,mouth_a=nan,roll')
  values = [problem.value for problem in caught.value.problems]
  assert values == [
    'mouth_x=1',
    'eye_wink_left=2',
    'yaw=q',
    'pitch=36',
    'mouth_a=nan',
    'roll',
  ]
  assert 'mouth_u' in caught.value.problems[0].remedy


def test_puppet_shows_the_pose_on_the_panel():
  draw = make_puppet('5', 96)
  neutral = draw(np.zeros(20))
  assert neutral.shape == (96, 96, 3)
  assert tuple(neutral[0, 0]) == style.MESH_BACKGROUND
  moved = np.abs(
    draw(parse_pose('mouth_a=1')).astype(int) - neutral.astype(int)
  ).sum(-1)
  rows = np.argwhere(moved > 60)[:, 0]
  # Only the lower half of the face, where the mouth is.
  assert len(rows) > 20
  assert rows.min() > 48
  for name in ('', 'girl', '-1', '1.5'):
    with pytest.raises(ConfigError, match='seed'):
      make_puppet(name, 96)


def test_pictures_on_disk(tmp_path):
  path = pose_run(tmp_path / 'out', puppet='5', pose='yaw=20')
  assert path.name == 'pose.png'
  with Image.open(path) as image:
    assert image.size == (256, 256)
  with pytest.raises(ConfigError):
    pose_run(tmp_path / 'none', puppet='5', pose='yaw=200')
  assert not (tmp_path / 'none').exists()


def test_sweep_has_a_row_for_each_number():
  poses = []

  def draw(pose):
    poses.append(pose)
    return np.zeros((64, 64, 3), np.uint8)

  sheet = sweep_sheet(draw)
  assert len(poses) == 20 * 5
  stacked = np.stack(poses).reshape(20, 5, 20)
  for i in range(20):
    values = stacked[i, :, i]
    assert (np.diff(values) > 0).all()
    assert np.count_nonzero(np.delete(stacked[i], i, axis=1)) == 0
  assert sheet.height > 20 * 64


def test_storyboard_has_a_panel_for_the_character(tmp_path):
  color = (10, 200, 30)
  seen = []

  def draw(pose):
    seen.append(pose)
    return np.full((128, 128, 3), color, np.uint8)

  path = tmp_path / 'out.gif'
  poses = np.zeros((2, 20), np.float32)
  poses[1, POSE_INDEX['yaw']] = 9
  with Storyboard(path, frame_rate=25, puppet=draw, every=1, size=128) as board:
    board.add(
      ['0', '1'],
      np.zeros((2, 50)),
      np.zeros((2, 3)),
      np.zeros((2, 3)),
      poses,
    )
  assert board.titles == ['anime character', 'anime pose']
  np.testing.assert_array_equal(np.stack(seen), poses)
  with Image.open(path) as gif:
    pixels = np.asarray(gif.convert('RGB'))
  middle = pixels[pixels.shape[0] // 2, 70]
  np.testing.assert_allclose(middle, color, atol=6)
