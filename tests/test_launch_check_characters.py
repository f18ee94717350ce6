"""The check's arithmetic by hand; with the models, a few characters."""

import json
import subprocess
import sys

import numpy as np
import pytest
from PIL import Image

from data import pose_vector
from data.characters import Character
from data.facemesh import models
from launch import check_characters as check


def _checked(name, *, presence=1.0, detected=0.0, measured=None):
  truth = np.array(
    [[-10, 5, 0.1, 0.9], [0, -5, 0.5, 0.5], [10, 15, 0.9, 0.1]], np.float64
  )
  return check.CharacterCheck(
    name=name,
    style='cel',
    detected=detected,
    presence=max(presence, detected),
    control=0.6,
    truth=truth,
    measured=truth if measured is None else measured,
    tiles=[Image.new('RGB', (160, 160))] * 3,
  )


@pytest.fixture(scope='module')
def judge():
  pytest.importorskip('ai_edge_litert', reason='extra [facemesh]')
  try:
    return check.Judge()
  except models.ModelError as error:
    pytest.skip(f'no FaceMesh models: {error}')


def test_poses_move_yaw_roll_and_winks_only():
  poses = check.random_poses(3, 5, 50)
  moved = set(np.flatnonzero(np.ptp(poses, axis=0) > 0))
  names = ('yaw', 'roll', 'eye_wink_left', 'eye_wink_right')
  assert moved == {pose_vector.POSE_INDEX[n] for n in names}
  assert 15 < np.abs(poses).max() <= 20
  np.testing.assert_array_equal(poses, check.random_poses(3, 5, 50))
  assert (poses != check.random_poses(3, 6, 50)).any()


def test_truth_is_opening_not_closing():
  pose = np.zeros((1, 20))
  index = pose_vector.POSE_INDEX
  pose[0, index['yaw']], pose[0, index['roll']] = 7, -3
  pose[0, index['eye_wink_left']] = 0.75
  np.testing.assert_allclose(check.truth_of(pose), [[7, -3, 0.25, 1]])


def test_summary_counts_faces_and_pools_pictures():
  first = _checked('0')
  # Half the truth, shifted: perfect within, less than perfect overall.
  second = _checked('1', presence=0.2, measured=first.truth / 2 + 40)
  third = _checked('2', presence=0.1, detected=0.9)
  summary = check.summarize([first, second, third])
  assert summary['characters'] == 3
  assert summary['pictures'] == 9
  assert summary['found'] == pytest.approx(2 / 3)
  assert summary['found_by_detector'] == pytest.approx(1 / 3)
  assert summary['control_found'] == 1
  assert summary['not_found'] == ['1']
  yaw = summary['correlation']['yaw']
  assert yaw['median_within'] == pytest.approx(1)
  x = np.tile([-10.0, 0, 10], 3)
  y = np.array([-10, 0, 10, 35, 40, 45, -10, 0, 10])
  assert yaw['overall'] == pytest.approx(np.corrcoef(x, y)[0, 1])


def test_table_says_what_is_missed():
  constant = np.zeros((3, 4))
  text = check.table(check.summarize([_checked('0', measured=constant)]))
  assert '| face found (1 neutral pictures) | 100.0% | | 90% | yes |' in text
  assert '| yaw, correlation (3 pictures) | none | none | 0.8 | NO |' in text


def test_results_are_plain_json_and_a_sheet(tmp_path):
  checks = [_checked(str(i)) for i in range(5)]
  check.write_results(tmp_path / 'new', check.summarize(checks), checks)
  stored = json.loads((tmp_path / 'new' / 'check.json').read_text())
  assert stored['found'] == 1
  assert stored['per_character'][4]['name'] == '4'
  with Image.open(tmp_path / 'new' / 'check.png') as page:
    assert page.size == (4 * 3 * 160, 2 * 160)


class Generator:
  """Turns the source's colours around; notes what it is given."""

  size = largest = 48

  def __init__(self):
    self.asked = []

  def animate(self, source, poses, batch_size):
    self.asked.append((source, poses, batch_size))
    for _ in poses:
      yield 255 - source


class SureJudge:
  """Sees a face in everything."""

  def presence(self, picture, *, upside_down=False):
    assert picture.shape == (384, 384, 3)
    return 0.0, 0.1 if upside_down else 0.9

  def measure(self, picture):
    return np.full(4, picture[0, 0, 0]), np.zeros((3, 2))


def test_generated_characters_are_neutral_pictures_that_move():
  generator = Generator()
  character = check.GeneratedCharacter(generator, Character.from_seed(3, 384))
  pose = np.arange(20.0)
  picture = character.render(pose, background=(1, 2, 3))
  assert picture.shape == (384, 384, 3)
  [(source, poses, batch_size)] = generator.asked
  assert (source.shape, source.dtype) == ((48, 48, 3), np.uint8)
  # Laid on white, which the generator turned into black.
  assert (source[0, 0] == 255).all()
  assert not picture[0, 0].any()
  np.testing.assert_array_equal(poses, pose[None])
  assert batch_size == 1


def test_a_generators_characters_are_checked_like_drawn_ones():
  generator = Generator()
  checks = check.check_seeds(SureJudge(), [7, 9], 2, 'cel', 0, generator)
  assert [c.name for c in checks] == ['7', '9']
  # Neutral for three questions, then the poses.
  assert len(generator.asked) == 2 * (1 + 2)
  for checked in checks:
    assert (checked.presence, checked.control) == (0.9, 0.1)
    assert not checked.measured.any()
    assert checked.truth.shape == (2, 4)
  drawn = check.check_seeds(SureJudge(), [7], 2, 'cel', 0)
  assert (drawn[0].measured == 255).all()


def test_bad_flags_are_refused():
  done = subprocess.run(
    [sys.executable, '-m', 'launch.check_characters', '--count=0'],
    capture_output=True,
    text=True,
    check=False,
  )
  assert done.returncode != 0
  assert '--count must be 1 or more' in done.stdout + done.stderr


def test_drawn_characters_are_judged(judge):
  checks = check.check_seeds(judge, range(4), 3, 'soft', seed=0)
  assert [c.name for c in checks] == ['0', '1', '2', '3']
  assert sum(c.found for c in checks) >= 3
  for checked in checks:
    assert checked.measured.shape == (3, 4)
    assert len(checked.tiles) == 3


def test_a_turn_and_a_wink_are_seen(judge):
  character = Character.from_seed(1, 384)
  index = pose_vector.POSE_INDEX

  def measured(**numbers):
    pose = np.zeros(20)
    for name, value in numbers.items():
      pose[index[name]] = value
    values, _ = judge.measure(check._draw(character, pose))
    return dict(zip(check._QUANTITIES, values, strict=True))

  neutral = measured()
  assert measured(yaw=15)['yaw'] > neutral['yaw'] + 3
  assert measured(yaw=-15)['yaw'] < neutral['yaw'] - 3
  assert measured(roll=15)['roll'] > neutral['roll'] + 6
  assert measured(roll=-15)['roll'] < neutral['roll'] - 6
  wink = measured(eye_wink_left=1)
  assert wink['lid_left'] < 0.6 * neutral['lid_left']
  assert wink['lid_right'] > 0.6 * neutral['lid_right']


def test_a_picture_without_a_face_is_not_found(judge):
  class Wall:
    def render(self, pose, *, background):
      del pose
      return np.full((384, 384, 4), (*background, 255), np.uint8)

  poses = check.random_poses(0, 0, 2)
  checked = check.check_character(judge, Wall(), poses, name='wall')
  assert not checked.found
  assert checked.tiles[0].getpixel((0, 80)) == (255, 0, 0)


@pytest.mark.slow
def test_specified_shares_on_sixteen_characters(judge):
  summary = check.summarize(
    check.check_seeds(judge, range(16), 8, None, seed=0)
  )
  # The specification's numbers hold on 64; a quarter of them scatters more.
  assert summary['found'] >= 0.85
  assert summary['control_found'] <= 0.2
  for found in summary['correlation'].values():
    assert found['overall'] > 0.7
    assert found['median_within'] > 0.8
