"""The live loop with stand-ins for the models: states, counts, ends."""

import fractions
import io
import json
import threading
import time
import types
import urllib.request

import jax
import numpy as np
import pytest
from PIL import Image

from configs import edtn as edtn_config
from data.video import VideoError, VideoFrame, VideoReader
from edtn_jax.animation.puppet import CharacterChoice
from edtn_jax.checkpoints import Checkpoint
from edtn_jax.config import ConfigError
from edtn_jax.driver_choice import DriverChoice
from edtn_jax.engines import TranslatorRunner
from edtn_jax.live import run as run_lib
from edtn_jax.live import session as session_lib
from edtn_jax.live.codes import LiveCodes
from edtn_jax.live.driver import CALIBRATING, DRIVING, NO_FACE, LiveDriver
from edtn_jax.live.meter import Meter
from edtn_jax.live.picture import LivePicture
from edtn_jax.live.server import LiveServer
from edtn_jax.live.session import LiveSession
from edtn_jax.network_choice import NetworkChoice
from edtn_jax.reenact_options import ReenactOptions
from edtn_jax.reenact_process import ReenactError
from edtn_jax.translation.inference import make_translate
from edtn_jax.translation.network import build_translator
from tests.grey_faces import GreyEncoder, GreyTracker, spread

PATIENCE_S = 30
# The code as it comes out of the network.
PLAIN = ReenactOptions(smoothing=False)


class Tracker(GreyTracker):
  """Puts a face of grey 200 at 1."""

  scale = 200


class Encoder(GreyEncoder):
  """The code is the grey value less the calibrated one."""

  def codes(self, rows, size, resting=()):
    assert not resting
    self.seen = len(rows), size
    rest = rows.take(range(len(rows))).mean()
    for chunk in rows.chunks():
      yield spread(chunk - rest)


def translate(expression, jaw_pose):
  assert expression.shape == (len(jaw_pose), 50)
  return np.clip(np.repeat(expression[:, :1], 17, axis=1), 0, 1)


def make_driver(options=PLAIN, calibration_s=0.5):
  return LiveDriver(
    Tracker(),
    Encoder(),
    translate,
    options,
    Meter(),
    calibration_s=calibration_s,
  )


def frame(index, value, step_s=0.1):
  image = np.full((6, 8, 3), value, np.uint8)
  return VideoFrame(index, index * step_s, image)


def drive(driver, values, start=0):
  states = []
  for i, value in enumerate(values, start):
    driver.update(frame(i, value))
    states.append(driver.state)
  return states


def test_live_codes_calibrate_then_follow():
  encoder = Encoder()
  codes = LiveCodes(encoder, np.array([[1.0], [3.0]]), (8, 6))
  assert codes(np.array([2.5]))['jaw_pose'].tolist() == [[0.5] * 3]
  assert codes(np.array([5.0]))['expression'].shape == (1, 50)
  assert encoder.seen == (2, (8, 6))


def test_driver_calibrates_on_faces_then_drives():
  driver = make_driver()
  states = drive(driver, [0, 20, 20, 0, *[20] * 8])
  assert states == [NO_FACE] + [CALIBRATING] * 2 + [NO_FACE] + [CALIBRATING] * 8
  assert driver.calibrations == 1
  assert not driver.pose.any()
  assert drive(driver, [120, 0], 12) == [DRIVING, NO_FACE]
  # Without a face the pose stays.
  np.testing.assert_allclose(driver.pose[:17], 0.5, atol=1e-5)
  assert driver.calibration_left_s == 0


def test_slow_frames_are_enough_in_number():
  driver = make_driver(calibration_s=0.1)
  drive(driver, [20] * 9)
  assert driver.state == CALIBRATING
  assert driver.calibrations == 0
  drive(driver, [20], 9)
  assert driver.calibrations == 1


def test_calibrating_again_forgets_the_person():
  driver = make_driver()
  drive(driver, [20] * 10)
  drive(driver, [100], 10)
  np.testing.assert_allclose(driver.pose[:17], 0.4, atol=1e-5)
  driver.calibrate()
  assert not driver.pose.any()
  assert driver.calibration_left_s == 0.5
  assert drive(driver, [100] * 10, 11) == [CALIBRATING] * 10
  drive(driver, [100], 21)
  np.testing.assert_allclose(driver.pose[:17], 0, atol=1e-5)


def test_the_filter_knows_the_time_between_frames():
  """A long pause lets a filtered value arrive, a short one does not."""
  reached = []
  for pause in (0.001, 5.0):
    driver = make_driver(ReenactOptions())
    drive(driver, [20] * 10)
    driver.update(frame(10, 20))
    later = VideoFrame(11, 1.0 + pause, frame(0, 120).image)
    driver.update(later)
    reached.append(driver.pose[0])
  assert reached[0] < 0.35 < 0.45 < reached[1] <= 0.5


def test_large_angles_are_clamped_and_counted():
  driver = make_driver(ReenactOptions(smoothing=False, angle_limit_deg=10))
  drive(driver, [20] * 10)
  drive(driver, [200, 20, 200], 10)
  assert driver.clamped_frames == 2
  assert np.abs(driver.pose[17:]).max() == 10


def test_warm_up_leaves_nothing_behind(monkeypatch):
  observed = []
  observe = Encoder.observe
  monkeypatch.setattr(
    Encoder,
    'observe',
    lambda *arguments: (observed.append(1), observe(*arguments))[1],
  )
  driver = make_driver()
  driver.warm_up()
  assert observed == [1]
  assert (driver.state, driver.calibrations) == (CALIBRATING, 0)
  assert not driver.pose.any()
  assert drive(driver, [20] * 10) == [CALIBRATING] * 10


class Puppet:
  """A square whose grey level is the first pose number."""

  size = 40
  description = types.MappingProxyType({'character': 'square'})

  def __init__(self):
    self.drawn = 0

  def __call__(self, poses):
    for pose in poses:
      self.drawn += 1
      picture = np.full((40, 40, 4), round(255 * pose[0]), np.uint8)
      picture[..., 3] = 255
      yield picture


def read_jpeg(data):
  return np.asarray(Image.open(io.BytesIO(data))).astype(int)


def test_picture_holds_characters_and_the_driver_in_a_corner():
  puppet = Puppet()
  picture = LivePicture({'a': puppet, 'b': puppet})
  pose = np.zeros(20, np.float32)
  pose[0] = 1
  frame_image = np.zeros((48, 96, 3), np.uint8)
  frame_image[..., 0] = 250
  found = read_jpeg(picture.draw(pose, frame_image))
  assert found.shape == (40, 80, 3)
  assert found[5, 5].min() > 240
  assert found[20, 60].min() > 240
  # A quarter of the height, as wide as the frame is.
  red = (found[..., 0] > 200) & (found[..., 1] < 90)
  rows, columns = np.nonzero(red)
  assert abs(np.ptp(rows) + 1 - 10) <= 2
  assert abs(np.ptp(columns) + 1 - 20) <= 2
  assert rows.min() > 25
  assert columns.max() < 30
  drawn = puppet.drawn
  picture.draw(pose, frame_image)
  assert puppet.drawn == drawn


class Reader(VideoReader):
  """Frames of given grey values at 200 a second; waits for nobody."""

  def __init__(self, values, error=None):
    super().__init__(
      'a clip', fps=fractions.Fraction(200), size=(8, 6), num_frames=None
    )
    self._values = values
    self._error = error

  def _frames(self):
    for i, value in enumerate(self._values):
      yield frame(i, value, 0.005)
    if self._error:
      raise self._error


def make_session(reader, calibration_s=0.05):
  driver = make_driver(calibration_s=calibration_s)
  return LiveSession(
    reader, driver, LivePicture({'puppet': Puppet()}), driver._meter
  )


@pytest.fixture
def page():
  with LiveServer('127.0.0.1', 0) as server:
    yield server


def test_session_runs_to_the_end_and_counts(page):
  session = make_session(Reader([20] * 60 + [0] * 20 + [100] * 120))
  session.run(page)
  summary = session.summary()
  assert summary['ended_by'] == session_lib.END
  assert summary['calibrations'] == 1
  assert summary['frames'] + summary['dropped'] == 200
  parts = ('driven', 'calibrating', 'without_face')
  assert sum(summary[f'frames_{part}'] for part in parts) == summary['frames']
  assert summary['frames_driven'] > 0
  assert summary['latency_ms']['p50'] > 0
  assert {'landmarks', 'fit', 'translate', 'draw'} <= set(summary['stage_ms'])
  json.dumps(summary)


def ask(url, method='GET'):
  with urllib.request.urlopen(
    urllib.request.Request(url, method=method), timeout=PATIENCE_S
  ) as answer:
    return answer.read()


def wait_for(condition):
  until = time.monotonic() + PATIENCE_S
  while not condition():
    assert time.monotonic() < until
    time.sleep(0.01)


def test_page_shows_a_running_session_that_can_be_stopped(page):
  session = make_session(Reader([20] * 100_000))
  running = threading.Thread(target=session.run, args=(page,))
  running.start()
  wait_for(lambda: session.status()['state'] == DRIVING)
  status = json.loads(ask(page.url + 'status'))
  assert status['source'] == 'a clip'
  assert status['source_frames_per_second'] == 200
  ask(page.url + 'calibrate', 'POST')
  wait_for(lambda: session._driver.calibrations == 2)
  session.stop.set()
  running.join(PATIENCE_S)
  assert not running.is_alive()
  assert session.summary()['ended_by'] == session_lib.SIGNAL


def test_a_source_that_fails_is_told_with_its_counts(page):
  error = VideoError('the camera stopped')
  session = make_session(Reader([20] * 60, error))
  with pytest.raises(VideoError, match='camera stopped'):
    session.run(page)
  assert session.summary()['ended_by'] == 'the camera stopped'
  assert session.summary()['frames'] > 0


def test_a_source_that_gives_nothing_is_not_waited_for(page, monkeypatch):
  monkeypatch.setattr(session_lib, '_PATIENCE_S', 0.1)
  monkeypatch.setattr(session_lib, '_LOOK_S', 0.05)
  free = threading.Event()

  class Stuck(Reader):
    def _frames(self):
      assert free.wait(PATIENCE_S)
      yield frame(0, 20)

  session = make_session(Stuck([]))
  threading.Timer(1.0, free.set).start()
  with pytest.raises(VideoError, match=r'gave no frame for 0\.1 s'):
    session.run(page)


@pytest.mark.parametrize(
  ('values', 'text'),
  [([0] * 5, 'no face in any of'), ([20] * 5, 'ended while the resting')],
)
def test_a_source_without_a_resting_face_is_refused(page, values, text):
  session = make_session(Reader(values), calibration_s=9)
  with pytest.raises(ReenactError, match=text):
    session.run(page)


@pytest.fixture
def fake_models(monkeypatch):
  """Everything that `live_run` opens but the source and the page."""
  network = types.SimpleNamespace(
    check_codes=lambda *a: None,
    translator=lambda: TranslatorRunner(
      {'translator_engine': 'jax'}, translate
    ),
  )
  for owner, name, value in (
    (NetworkChoice, 'open', lambda self: network),
    (DriverChoice, 'open_encoder', lambda *a, **k: Encoder()),
    (CharacterChoice, 'open', lambda self, size: {'puppet': Puppet()}),
    (run_lib, 'FaceTracker', Tracker),
    (run_lib, '_use_compile_cache', lambda: None),
  ):
    monkeypatch.setattr(owner, name, value)


def run_live(driving, output, **options):
  choice = CharacterChoice(puppet='7')
  return run_lib.live_run(
    DriverChoice(str(driving)),
    NetworkChoice('runs/none'),
    output,
    options=ReenactOptions(fps=options.pop('fps', 0.0)),
    characters=options.pop('characters', choice),
    port=options.pop('port', 0),
    **options,
  )


def test_live_run_writes_a_summary_also_when_it_fails(tmp_path, fake_models):
  folder = tmp_path / 'frames'
  folder.mkdir()
  for i in range(12):
    Image.new('RGB', (8, 6), (20,) * 3).save(folder / f'{i}.png')
  output = tmp_path / 'out'
  # Twelve frames a second end before 2.5 s have passed.
  with pytest.raises(ReenactError, match='ended while the resting face'):
    run_live(folder, output, fps=12.0)
  summary = json.loads((output / 'summary.json').read_text())
  assert summary['format'] == 'edtn_live'
  assert 'ended while' in summary['ended_by']
  assert summary['frames_calibrating'] > 0
  assert summary['puppet'] == {'character': 'square'}
  assert summary['encoder'] == 'of a test'
  assert summary['translator_engine'] == 'jax'
  assert summary['options']['head_pose'] == 'absolute'
  run_with_it = output / 'summary.json'
  run_with_it.write_text('{"format": "edtn_reenactment"}')
  with pytest.raises(ReenactError, match='something else'):
    run_live(folder, output)
  assert run_with_it.read_text() == '{"format": "edtn_reenactment"}'


def test_source_and_port_are_checked_before_the_models(tmp_path, monkeypatch):
  def refuse(*arguments, **options):
    raise AssertionError('models were loaded')

  monkeypatch.setattr(CharacterChoice, 'open', refuse)
  monkeypatch.setattr(NetworkChoice, 'open', refuse)
  monkeypatch.setattr(run_lib, '_use_compile_cache', refuse)
  output = tmp_path / 'out'
  with pytest.raises(VideoError, match='no such file'):
    run_live(tmp_path / 'none.gif', output)
  folder = tmp_path / 'frames'
  folder.mkdir()
  Image.new('RGB', (8, 6)).save(folder / '0.png')
  with pytest.raises(ConfigError, match='free port'):
    run_live(folder, output, port=70000)
  assert not output.exists()


def test_a_camera_that_is_not_there(tmp_path, fake_models):
  pytest.importorskip('av')
  with pytest.raises(VideoError, match='webcam:97'):
    run_live('webcam:97', tmp_path / 'out')
  assert not (tmp_path / 'out').exists()


def test_wrong_options_come_at_once(tmp_path):
  (tmp_path / 'codes.npz').touch()
  with pytest.raises(ConfigError, match='2 problems') as error:
    run_live(tmp_path / 'codes.npz', tmp_path, characters=CharacterChoice())
  assert '--puppet=7' in str(error.value)
  assert 'driving' in str(error.value)


def test_single_frames_translate_as_batches_do():
  config = edtn_config.get_config()
  rng = np.random.default_rng(0)
  codes = (
    rng.normal(size=(3, 50)).astype(np.float32),
    rng.normal(0, 0.1, (3, 3)).astype(np.float32),
  )
  params = build_translator(config.model).init(jax.random.key(0), *codes)
  network = make_translate(
    Checkpoint(config, {'model': params['params']}, {}, 0, 'x', False)
  )
  together = network(*codes)
  alone = [network(*(array[i : i + 1] for array in codes)) for i in range(3)]
  np.testing.assert_allclose(np.concatenate(alone), together, atol=1e-6)
