"""From a moving picture to codes: reading ahead, gaps, what is shown."""

import itertools
import threading

import numpy as np
import pytest

from configs import edtn
from data import drivers
from data.video import open_video
from edtn_jax import faces
from edtn_jax.config import ConfigError
from edtn_jax.encoders.ahead import read_ahead
from edtn_jax.encoders.opening import open_encoder, open_video_driver
from edtn_jax.encoders.row_spool import RowSpool
from edtn_jax.encoders.video_driver import VideoDriver, bridge, head_square
from tests.grey_faces import GreyEncoder, GreyTracker
from tests.picture_files import write_frames

SIZE = 24


def test_read_ahead_keeps_order_and_ends():
  assert list(read_ahead(range(50), 3)) == list(range(50))
  assert list(read_ahead([])) == []


def test_read_ahead_passes_errors_on_in_their_place():
  def items():
    yield 1
    raise KeyError('two')

  found = read_ahead(items())
  assert next(found) == 1
  with pytest.raises(KeyError, match='two'):
    next(found)


def test_read_ahead_stops_with_its_user():
  before = threading.active_count()
  found = read_ahead(itertools.count(), 2)
  assert [next(found) for _ in range(3)] == [0, 1, 2]
  found.close()
  assert threading.active_count() == before


def test_spool_gives_back_what_it_got():
  rows = np.arange(1200, dtype=np.float32).reshape(300, 4)
  with RowSpool(4) as spool:
    spool.add(rows[:7])
    spool.add(rows[7:])
    assert len(spool) == 300
    chunks = list(spool.chunks())
    assert len(chunks) > 1
    np.testing.assert_array_equal(np.concatenate(chunks), rows)
    np.testing.assert_array_equal(spool.take([299, 0, 7]), rows[[299, 0, 7]])


def test_bridge_by_hand():
  values = np.array([[9, 9], [1, 10], [9, 9], [9, 9], [4, 40], [9, 9]])
  lost = np.array([True, False, True, True, False, True])
  expected = [[1, 10], [1, 10], [2, 20], [3, 30], [4, 40], [4, 40]]
  np.testing.assert_allclose(bridge(values, lost), expected)
  np.testing.assert_array_equal(bridge(values, lost & False), values)


def test_the_shown_square_holds_the_head_and_stays_inside():
  still = np.array([[40, 30, 60, 60]] * 5, float)
  left, top, right, bottom = head_square(still, (200, 200))
  assert right - left == bottom - top == 51
  assert left < 40 < 60 < right
  assert top < 30 < 60 < bottom
  assert (left + right) / 2 == pytest.approx(50, abs=1)
  moving = still + np.linspace(0, 80, 5)[:, None] * [1, 0, 1, 0]
  assert head_square(moving, (200, 200))[2] > right + 30
  assert head_square(still, (55, 62)) == (24, 16, 55, 62)


class Tracker(GreyTracker):
  """Counts; the left edge of a face is its grey value."""

  def reset(self):
    self.count = 0

  def update(self, image):
    self.count += 1
    frame = super().update(image)
    if frame.points is not None:
      frame.points[0] += 4
    return frame


class Encoder(GreyEncoder):
  """Keeps what it is told of a clip."""

  def codes(self, rows, size, resting=()):
    self.seen = size, list(resting)
    yield from super().codes(rows, size, resting)


def make_driver(folder, **options):
  encoder = Encoder()
  return VideoDriver(open_video(folder), encoder, Tracker(), **options), encoder


def test_driver_encodes_once_and_bridges(tmp_path):
  values = [0, 2, 4, 0, 0, 10, *range(11, 25)]
  folder = write_frames(tmp_path / 'frames', values, SIZE)
  driver, encoder = make_driver(folder, resting=('0000002',), chunk_frames=8)
  with driver:
    chunks = list(driver)
    assert [chunk.num_frames for chunk in chunks] == [8, 8, 4]
    found = np.concatenate([chunk.expression for chunk in chunks])
    expected = [2, 2, 4, 6, 8, 10, *range(11, 25)]
    np.testing.assert_allclose(found[:, 0], expected)
    assert found.shape == (20, 50)
    names = [name for chunk in chunks for name in chunk.frames]
    assert names[:2] == ['0000000', '0000001']
    assert encoder.seen == ((SIZE, SIZE), [2])
    again = list(driver)
    assert driver._tracker.count == 20
    np.testing.assert_array_equal(again[1].jaw_pose, chunks[1].jaw_pose)
  assert (driver.fps, driver.num_frames) == (25, 20)
  assert [frame.reason[:7] for frame in driver.skipped] == ['no face'] * 3
  summary = driver.summary()['driver']
  assert summary['encoder'] == 'of a test'
  assert summary['frames_without_face'] == 3
  assert {'decode', 'landmarks', 'codes'} <= set(summary['seconds'])


def test_driver_shows_frames_in_any_order(tmp_path):
  folder = write_frames(tmp_path / 'frames', range(5, 15), SIZE)
  driver, _ = make_driver(folder)
  with driver:
    list(driver)
    for index in (0, 0, 7, 3, 9):
      picture = driver.frame_picture(f'{index:07d}')
      assert picture.getpixel((0, 0)) == (5 + index,) * 3


def test_a_clip_without_a_face_is_refused(tmp_path):
  driver, _ = make_driver(write_frames(tmp_path / 'frames', [0, 0], SIZE))
  with driver, pytest.raises(drivers.DriverError, match='no face in any of 2'):
    list(driver)


def test_a_resting_frame_that_is_not_there_is_refused(tmp_path):
  folder = write_frames(tmp_path / 'frames', [3, 4], SIZE)
  # The driver's own names alone: the network's neutral is found by them.
  driver, _ = make_driver(folder, resting=('0000002', '1', 'x'))
  with (
    driver,
    pytest.raises(
      drivers.DriverError,
      match='no frame 0000002, 1, x; its frames are called 0000000 to 0000001',
    ),
  ):
    list(driver)


def test_a_resting_frame_without_a_face_is_refused(tmp_path):
  folder = write_frames(tmp_path / 'frames', [3, 0, 4], SIZE)
  driver, _ = make_driver(folder, resting=('0000001', '0000002'))
  with driver, pytest.raises(drivers.DriverError, match=r'no face .* 0000001;'):
    list(driver)


def test_codes_are_told_from_pictures(tmp_path):
  folder = write_frames(tmp_path / 'frames', [1], SIZE)
  assert not drivers.holds_codes(folder)
  assert not drivers.holds_codes(tmp_path / 'clip.mp4')
  assert not drivers.holds_codes('webcam:0')
  assert drivers.holds_codes(tmp_path / 'codes.npz')
  (tmp_path / 'empty').mkdir()
  assert drivers.holds_codes(tmp_path / 'empty')
  (folder / '0000000.mat').write_bytes(b'')
  assert drivers.holds_codes(folder)


@pytest.fixture(scope='module')
def face():
  return faces.load_face(edtn.get_config('').face)


@pytest.mark.parametrize(
  ('kind', 'options', 'text'),
  [
    ('emoca', {}, 'must be one of landmarks, deca'),
    ('deca', {}, 'encoder_weights'),
    ('deca', {'encoder_weights': 'x'}, 'not trained on'),
    ('landmarks', {'encoder_weights': 'x'}, 'is for --encoder=deca'),
    ('deca', {'landmark_map': 'x'}, 'is for --encoder=landmarks'),
  ],
)
def test_encoder_options_that_do_not_fit(face, kind, options, text):
  with pytest.raises(ConfigError, match=text):
    open_encoder(kind, face, **options)


def test_a_camera_is_not_a_clip(monkeypatch):
  class Camera:
    is_live = True

    def close(self):
      self.closed = True

  camera = Camera()
  monkeypatch.setattr(
    'edtn_jax.encoders.opening.open_video', lambda *a, **k: camera
  )
  with pytest.raises(ConfigError, match='must have an end'):
    open_video_driver('webcam:0', Encoder())
  assert camera.closed
