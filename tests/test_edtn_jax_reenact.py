"""Reenactment end to end: files, calibration, streaming, refusals."""

import csv
import dataclasses
import json
import sys
import weakref
from typing import ClassVar

import av
import numpy as np
import pytest
from PIL import Image

from data import codes, deca, pose_vector
from data.video import VideoError
from edtn_jax import pose_files, reenact_summary
from edtn_jax.config import ConfigError
from edtn_jax.reenact import ReenactError, reenact
from edtn_jax.reenact_options import ReenactOptions
from edtn_jax.signal.neutral import NeutralError, NeutralFinder
from edtn_jax.signal.statistics import StreamStatistics

PLAIN = ReenactOptions(
  neutral='none', smoothing=False, angle_limit_deg=180.0, media=()
)


def _clip(expression, global_pose=None, start=0, name='video'):
  count = len(expression)
  zeros = np.zeros((count, 3))
  return codes.CodeClip(
    identity='person',
    name=name,
    frames=tuple(f'{start + i:05d}' for i in range(count)),
    expression=expression,
    jaw_pose=zeros,
    global_pose=zeros if global_pose is None else global_pose,
    shape=np.zeros((count, 100)),
    camera=zeros,
  )


class _Driver:
  """A clip in chunks, read as often as wanted."""

  skipped = (
    deca.SkippedFrame('a/00007.mat', 'cut short'),
    deca.SkippedFrame('a/00008.mat', 'not finite'),
  )

  def __init__(self, expression, global_pose=None, chunk=8):
    self.expression = np.asarray(expression, np.float32)
    self.global_pose = np.zeros((len(expression), 3))
    if global_pose is not None:
      self.global_pose = np.asarray(global_pose)
    self.chunk = chunk

  def __iter__(self):
    for i in range(0, len(self.expression), self.chunk):
      rows = slice(i, i + self.chunk)
      yield _clip(self.expression[rows], self.global_pose[rows], i)


def _codes(count=30, seed=0):
  return np.random.default_rng(seed).uniform(0, 1, (count, 50))


def _first_numbers(expression, jaw_pose):
  """A stand-in network whose output can be told by hand."""
  assert jaw_pose.shape == (len(expression), 3)
  return np.clip(expression[:, :17], 0, 1).astype(np.float32)


def _read_csv(path):
  with open(path, newline='', encoding='utf-8') as file:
    header, *rows = csv.reader(file)
  names = [row[0] for row in rows]
  return header, names, np.array([row[1:] for row in rows], np.float64)


def test_csv_and_npz_hold_the_same_named_numbers(tmp_path):
  expression = _codes()
  head = np.random.default_rng(1).uniform(-0.5, 0.5, (30, 3))
  summary = reenact(
    _Driver(expression, head), _first_numbers, tmp_path, options=PLAIN
  )
  wanted = np.concatenate(
    [expression[:, :17], np.rad2deg(head[:, [0, 2, 1]])], axis=1
  )
  header, names, values = _read_csv(tmp_path / 'pose_vectors.csv')
  assert header == ['frame', *pose_vector.POSE_NAMES]
  assert names == [f'{i:05d}' for i in range(30)]
  np.testing.assert_allclose(values, wanted, atol=2e-6)
  with np.load(tmp_path / 'pose_vectors.npz', allow_pickle=False) as stored:
    assert stored['columns'].tolist() == list(pose_vector.POSE_NAMES)
    assert stored['frame'].tolist() == names
    assert stored['pose_vector'].dtype == np.float32
    np.testing.assert_allclose(stored['pose_vector'], wanted, rtol=1e-5)
    np.testing.assert_array_equal(
      stored['network_output'], expression[:, :17].astype(np.float32)
    )
  assert summary == json.loads((tmp_path / 'summary.json').read_text())
  assert summary['frames'] == 30
  assert summary['skipped_frames'] == 2
  assert summary['skipped'] == [
    'a/00007.mat: cut short',
    'a/00008.mat: not finite',
  ]
  assert summary['files'] == ['pose_vectors.csv', 'pose_vectors.npz']
  np.testing.assert_allclose(
    summary['pose']['mouth_a']['mean'], wanted[:, 12].mean(), atol=1e-4
  )


@pytest.mark.parametrize('chunk', [1, 7, 64])
def test_chunk_size_changes_nothing(tmp_path, chunk):
  expression, head = _codes(40), np.full((40, 3), 0.1)
  options = ReenactOptions(media=(), head_pose='relative', mouth_gain=1.3)
  results = []
  for name, size in (('a', 40), ('b', chunk)):
    folder = tmp_path / name
    driver = _Driver(expression, head, size)
    reenact(driver, _first_numbers, folder, options=options)
    results.append((folder / 'pose_vectors.csv').read_bytes())
  assert results[0] == results[1]


def test_output_calibration_sends_named_neutral_frames_to_zero(tmp_path):
  expression = _codes(20)
  expression[5:7] = expression[5]
  options = ReenactOptions(
    neutral_frames=('00005', '00006'), smoothing=False, media=()
  )
  summary = reenact(
    _Driver(expression), _first_numbers, tmp_path, options=options
  )
  _, _, values = _read_csv(tmp_path / 'pose_vectors.csv')
  np.testing.assert_allclose(values[5:7, :17], 0.0, atol=1e-6)
  b0 = expression[5, :17]
  wanted = np.clip((expression[:, :17] - b0) / np.maximum(1 - b0, 0.1), 0, 1)
  np.testing.assert_allclose(values[:, :17], wanted, atol=1e-5)
  assert summary['neutral_frames'] == ['00005', '00006']
  np.testing.assert_allclose(
    list(summary['neutral_pose_coeffs'].values()), b0, atol=1e-4
  )


def test_code_calibration_subtracts_before_the_network(tmp_path):
  expression = _codes(20)
  options = ReenactOptions(
    neutral='code', neutral_frames=('00003',), smoothing=False, media=()
  )
  reenact(_Driver(expression), _first_numbers, tmp_path, options=options)
  _, _, values = _read_csv(tmp_path / 'pose_vectors.csv')
  wanted = np.clip(expression - expression[3], 0, 1)[:, :17]
  np.testing.assert_allclose(values[:, :17], wanted, atol=2e-6)


def test_automatic_neutral_finds_the_calm_frames(tmp_path):
  expression = np.zeros((50, 50))
  expression[:, [0, 1, 12, 13]] = 0.7
  expression[:, 6:8] = 0.83
  expression[20:25, [0, 1, 12, 13]] = 0.1
  options = ReenactOptions(smoothing=False, media=())
  summary = reenact(
    _Driver(expression), _first_numbers, tmp_path, options=options
  )
  assert summary['neutral_frames'] == [f'{i:05d}' for i in range(20, 25)]
  _, _, values = _read_csv(tmp_path / 'pose_vectors.csv')
  np.testing.assert_allclose(values[:, 6:8], 0.0, atol=1e-6)
  np.testing.assert_allclose(values[0, :2], 0.6 / 0.9, atol=1e-5)


def test_relative_head_pose_starts_at_zero_and_angles_are_clamped(tmp_path):
  head = np.zeros((10, 3))
  head[:, 1] = np.linspace(0.5, 1.5, 10)
  options = ReenactOptions(
    neutral='none', smoothing=False, head_pose='relative', media=()
  )
  summary = reenact(
    _Driver(_codes(10), head), _first_numbers, tmp_path, options=options
  )
  _, _, values = _read_csv(tmp_path / 'pose_vectors.csv')
  yaw = np.rad2deg(np.linspace(0, 1, 10))
  np.testing.assert_allclose(
    values[:, pose_vector.POSE_INDEX['yaw']], np.minimum(yaw, 35), atol=1e-4
  )
  assert summary['clamped_frames'] == int((yaw > 35).sum())


def test_relative_head_pose_can_start_at_named_frames(tmp_path):
  head = np.zeros((4, 3))
  head[:, 0] = [0.0, 0.1, 0.2, 0.3]
  options = ReenactOptions(
    neutral='none',
    neutral_frames=('00002',),
    smoothing=False,
    head_pose='relative',
    media=(),
  )
  reenact(_Driver(_codes(4), head), _first_numbers, tmp_path, options=options)
  _, _, values = _read_csv(tmp_path / 'pose_vectors.csv')
  pitch = values[:, pose_vector.POSE_INDEX['pitch']]
  np.testing.assert_allclose(
    pitch, np.rad2deg([-0.2, -0.1, 0.0, 0.1]), atol=1e-4
  )


def test_smoothing_lowers_jitter_and_keeps_blinks(tmp_path):
  rng = np.random.default_rng(3)
  expression = 0.3 + 0.01 * rng.standard_normal((200, 50))
  expression[50:53, [0, 1]] = 0.95
  options = ReenactOptions(neutral='none', media=())
  summary = reenact(
    _Driver(expression), _first_numbers, tmp_path, options=options
  )
  jitter = summary['jitter']['coefficients']
  assert jitter['after'] < jitter['before'] / 3
  assert summary['closed_eye_frames'] >= 2
  assert summary['pose']['eye_wink_left']['max'] > 0.3 + 0.8 * 0.65


def test_gif_is_drawn_when_asked(tmp_path):
  options = ReenactOptions(gif_every=3, panel_size=128, fps=30.0)
  summary = reenact(
    _Driver(_codes(30)), _first_numbers, tmp_path, options=options
  )
  assert summary['pictures'] == {'reenactment.gif': 10}
  with Image.open(tmp_path / 'reenactment.gif') as image:
    assert image.n_frames == 10
    assert image.size == (128 + 16, 128 + 34)
    assert image.info['duration'] == 100


class _Square:
  """A stand-in character: a square whose colour tells mouth_a."""

  description: ClassVar = {'character': 'square'}

  def __init__(self):
    self.poses = []

  def __call__(self, poses):
    for pose in poses:
      self.poses.append(pose)
      picture = np.zeros((64, 64, 4), np.uint8)
      level = round(200 * float(pose[pose_vector.POSE_INDEX['mouth_a']]))
      picture[8:56, 8:56] = (level, 90, 255 - level, 255)
      yield picture


def test_every_kind_of_moving_picture(tmp_path):
  count, mouth = 21, pose_vector.POSE_INDEX['mouth_a']
  expression = np.zeros((count, 50))
  expression[:, mouth] = np.linspace(0, 1, count)
  options = ReenactOptions(
    neutral='none',
    smoothing=False,
    media=('gif', 'mp4', 'webp', 'png'),
    gif_every=2,
    gif_max_frames=8,
    panel_size=128,
    fps=30.0,
  )
  puppet = _Square()
  summary = reenact(
    _Driver(expression),
    _first_numbers,
    tmp_path,
    options=options,
    puppets={'puppet': puppet},
  )
  short, whole = 8, count
  assert summary['pictures'] == {
    f'{stem}{suffix}': frames
    for stem in ('reenactment', 'puppet')
    for suffix, frames in (
      ('.gif', short),
      ('.mp4', whole),
      ('.webp', short),
      ('', whole),
    )
  }
  assert summary['files'][2:] == list(summary['pictures'])
  assert summary['puppet'] == {'character': 'square'}
  # Each frame is drawn once, whatever is made of it.
  np.testing.assert_allclose(
    np.stack(puppet.poses)[:, mouth], expression[:, mouth], atol=1e-6
  )
  levels = np.rint(200 * expression[:, mouth])
  for i in range(count):
    with Image.open(tmp_path / 'puppet' / f'{i:06d}.png') as image:
      pixels = np.asarray(image)
    assert tuple(pixels[32, 32]) == (levels[i], 90, 255 - levels[i], 255)
    assert pixels[0, 0, 3] == 0
  with av.open(str(tmp_path / 'puppet.mp4')) as container:
    stream = container.streams.video[0]
    assert stream.average_rate == 30
    pictures = [f.to_ndarray(format='rgb24') for f in container.decode(stream)]
  np.testing.assert_allclose([p[32, 32, 0] for p in pictures], levels, atol=6)
  for stem in ('puppet', 'reenactment'):
    for suffix in ('gif', 'webp'):
      with Image.open(tmp_path / f'{stem}.{suffix}') as image:
        assert image.n_frames == short
        total = 0
        for i in range(short):
          image.seek(i)
          image.load()
          total += image.info['duration']
        # 8 pictures at 15 a second.
        assert abs(total - 8000 / 15) <= 10
  with Image.open(tmp_path / 'puppet.webp') as image:
    assert image.convert('RGBA').getpixel((0, 0))[3] == 0


def test_other_data_is_never_replaced(tmp_path):
  driver, options = _Driver(_codes(4)), PLAIN
  (tmp_path / 'pose_vectors.csv').write_text('mine')
  with pytest.raises(ReenactError, match=r'other data \(pose_vectors\.csv\)'):
    reenact(driver, _first_numbers, tmp_path, options=options)
  (tmp_path / 'pose_vectors.csv').unlink()
  (tmp_path / 'summary.json').write_text('{"mine": 1}')
  with pytest.raises(ReenactError, match='summary'):
    reenact(driver, _first_numbers, tmp_path, options=options)
  (tmp_path / 'summary.json').unlink()
  (tmp_path / 'reenactment').mkdir()
  (tmp_path / 'reenactment' / 'notes.txt').write_text('mine')
  options = dataclasses.replace(PLAIN, media=('png',))
  with pytest.raises(VideoError, match=r'notes\.txt'):
    reenact(driver, _first_numbers, tmp_path, options=options)
  assert [p.name for p in tmp_path.rglob('*')] == ['reenactment', 'notes.txt']


def test_media_that_cannot_be_made_are_named(monkeypatch):
  with pytest.raises(ConfigError, match=r"'avi'.*gif, mp4, webp, png"):
    ReenactOptions(media=('gif', 'avi')).validate()
  monkeypatch.setitem(sys.modules, 'av', None)
  with pytest.raises(ConfigError, match=r'edtn-jax\[video\]'):
    ReenactOptions(media=('mp4',)).validate()
  ReenactOptions(media=('gif', 'png')).validate()


def test_progress_tells_rate_and_rest(monkeypatch):
  now, lines = [0.0], []
  monkeypatch.setattr(reenact_summary.time, 'perf_counter', lambda: now[0])
  monkeypatch.setattr(
    reenact_summary.logging, 'info', lambda text, *a: lines.append(text % a)
  )
  progress = reenact_summary.ProgressLine(100)
  for _ in range(4):
    now[0] += 4.0
    progress.add(10)
  assert lines == [
    'frame 20/100 | 2.5 frames/s | 32 s left',
    'frame 40/100 | 2.5 frames/s | 24 s left',
  ]


class _RecordingScene:
  """Keeps what the driving mesh was asked to show."""

  def __init__(self, is_approximate):
    self.is_approximate = is_approximate
    self.shown = []

  def driving(self, expression, jaw_pose, global_pose):
    del jaw_pose, global_pose
    self.shown.extend(expression)
    return [np.zeros((128, 128, 3), np.uint8)] * len(expression)

  def predicted(self, pose_coeffs, angles_deg):
    del angles_deg
    return [np.zeros((128, 128, 3), np.uint8)] * len(pose_coeffs)


@pytest.mark.parametrize('is_approximate', [False, True])
def test_an_approximate_head_shows_codes_relative_to_neutral(
  tmp_path, is_approximate
):
  expression = _codes(6)
  scene = _RecordingScene(is_approximate)
  options = ReenactOptions(
    neutral_frames=('00002',), gif_every=1, panel_size=128
  )
  reenact(
    _Driver(expression), _first_numbers, tmp_path, options=options, scene=scene
  )
  wanted = expression - expression[2] * is_approximate
  np.testing.assert_allclose(np.stack(scene.shown), wanted, atol=1e-6)


class _LongDriver:
  """Chunks made on demand; counts how many are alive at once."""

  skipped = ()

  def __init__(self, chunks):
    self.chunks = chunks
    self.most_alive = 0

  def __iter__(self):
    alive = weakref.WeakSet()
    for i in range(self.chunks):
      clip = _clip(_codes(100, seed=i), start=100 * i)
      alive.add(clip)
      self.most_alive = max(self.most_alive, len(alive))
      yield clip
      del clip


def test_a_long_driver_streams(tmp_path):
  driver = _LongDriver(80)
  options = ReenactOptions(gif_max_frames=2, panel_size=128)
  summary = reenact(driver, _first_numbers, tmp_path, options=options)
  assert summary['frames'] == 8000
  assert summary['pictures'] == {'reenactment.gif': 2}
  # The one in use and the one just made.
  assert driver.most_alive <= 2
  with np.load(tmp_path / 'pose_vectors.npz', allow_pickle=False) as stored:
    assert stored['pose_vector'].shape == (8000, 20)
    assert stored['frame'][-1] == '07999'


def test_neutral_finder_keeps_a_bounded_even_sample():
  finder = NeutralFinder()
  for i in range(100):
    finder.add(
      [f'{100 * i + j}' for j in range(100)],
      np.zeros((100, 50)),
      np.zeros((100, 3)),
      np.full((100, 17), 0.5),
    )
  kept = [int(name) for name, _ in finder._kept]
  assert 2048 <= len(kept) <= 4096
  assert set(np.diff(kept)) == {4}
  np.testing.assert_array_equal(finder.find().pose_coeffs, 0.5)


def test_released_network_output_is_kept_exactly(tmp_path, shared_dir):
  golden = np.load(shared_dir / 'golden' / 'edtn_outputs.npz')
  coeffs, vectors = golden['pose_coefficients'], golden['pose_vector']
  count = len(coeffs)
  head = np.deg2rad(vectors[:, [17, 19, 18]])
  # The code carries the frame number, the network looks it up.
  expression = np.zeros((count, 50))
  expression[:, 0] = np.arange(count)

  def look_up(code, jaw_pose):
    del jaw_pose
    return coeffs[np.rint(code[:, 0]).astype(int)]

  summary = reenact(
    _Driver(expression, head), look_up, tmp_path / 'plain', options=PLAIN
  )
  with np.load(tmp_path / 'plain' / 'pose_vectors.npz') as stored:
    np.testing.assert_allclose(stored['pose_vector'], vectors, atol=1e-5)
  assert summary['pose']['eyebrow_raised_left']['mean'] > 0.8
  options = ReenactOptions(media=())
  summary = reenact(
    _Driver(expression, head), look_up, tmp_path / 'used', options=options
  )
  with np.load(tmp_path / 'used' / 'pose_vectors.npz') as stored:
    np.testing.assert_array_equal(stored['network_output'], coeffs)
  assert summary['pose']['eyebrow_raised_left']['mean'] < 0.25
  assert (
    summary['jitter']['coefficients']['after']
    < 0.7 * (summary['jitter']['coefficients']['before'])
  )
  assert summary['closed_eye_frames'] > 10


def test_all_wrong_options_at_once(tmp_path):
  options = ReenactOptions(
    neutral='maybe', head_pose='up', mouth_gain=-1, fps=0.5, gif_every=0
  )
  with pytest.raises(ConfigError, match='5 problems') as error:
    reenact(_Driver(_codes(3)), _first_numbers, tmp_path, options=options)
  for key in ('neutral', 'head_pose', 'mouth_gain', 'fps', 'gif_every'):
    assert key in str(error.value)
  with pytest.raises(ConfigError, match='no effect'):
    ReenactOptions(neutral='none', neutral_frames=('a',)).validate()


def test_a_failed_run_leaves_earlier_files_alone(tmp_path):
  driver = _Driver(_codes(20))
  reenact(driver, _first_numbers, tmp_path, options=PLAIN)
  before = {p.name: p.read_bytes() for p in tmp_path.iterdir()}

  def breaks_late(expression, jaw_pose):
    output = _first_numbers(expression, jaw_pose)
    if len(expression) < driver.chunk:
      output[1, 3] = np.nan
    return output

  options = ReenactOptions(neutral='none', panel_size=128)
  with pytest.raises(ReenactError, match=r'first in 00017'):
    reenact(driver, breaks_late, tmp_path, options=options)
  assert {p.name: p.read_bytes() for p in tmp_path.iterdir()} == before


def test_what_cannot_work_is_refused(tmp_path):
  clip = _clip(_codes(4))
  with pytest.raises(ReenactError, match='read only once'):
    reenact(iter([clip]), _first_numbers, tmp_path)
  with pytest.raises(ReenactError, match='no frames'):
    reenact([], _first_numbers, tmp_path, options=PLAIN)
  with pytest.raises(NeutralError, match='no frames'):
    reenact([], _first_numbers, tmp_path)
  other = _clip(_codes(4), name='other')
  with pytest.raises(ReenactError, match=r'several clips \(video, other\)'):
    reenact([clip, other], _first_numbers, tmp_path, options=PLAIN)
  with pytest.raises(ReenactError, match=r'\(4, 17\)'):
    reenact([clip], lambda e, j: np.zeros((4, 20)), tmp_path, options=PLAIN)
  options = ReenactOptions(neutral_frames=('00001', 'absent'), media=())
  with pytest.raises(NeutralError, match='absent'):
    reenact([clip], _first_numbers, tmp_path, options=options)
  assert not list(tmp_path.iterdir())
  taken = tmp_path / 'file'
  taken.write_text('mine')
  with pytest.raises(ReenactError, match='is a file'):
    reenact([clip], _first_numbers, taken)
  assert taken.read_text() == 'mine'


def test_frame_names_may_hold_anything(tmp_path):
  names = ['a,b', 'line\nbreak', 'ü"x"', '']
  with pose_files.open_pose_files(tmp_path) as writer:
    writer.add(names, np.zeros((4, 20)), np.zeros((4, 17)))
    with pytest.raises(ValueError, match=r'wanted \(1, 20\)'):
      writer.add(['x'], np.zeros((2, 20)), np.zeros((2, 17)))
  assert _read_csv(tmp_path / 'pose_vectors.csv')[1] == names
  with np.load(tmp_path / 'pose_vectors.npz', allow_pickle=False) as stored:
    assert stored['frame'].tolist() == names


def test_statistics_equal_those_of_the_whole():
  signal = np.random.default_rng(4).normal(5, 2, (50, 3))
  statistics = StreamStatistics()
  for chunk in np.split(signal, [1, 2, 10, 10]):
    statistics.add(chunk)
  assert statistics.count == 50
  np.testing.assert_allclose(statistics.mean, signal.mean(0))
  np.testing.assert_allclose(statistics.std, signal.std(0))
  np.testing.assert_array_equal(statistics.minimum, signal.min(0))
  np.testing.assert_array_equal(statistics.maximum, signal.max(0))
  np.testing.assert_allclose(
    statistics.jitter, np.abs(np.diff(signal, 2, axis=0)).mean(0)
  )


def test_closed_eyes_need_both_sides():
  poses = np.zeros((4, 20))
  index = pose_vector.POSE_INDEX
  poses[0, index['eye_wink_left']] = 0.9
  poses[1, [index['eye_wink_left'], index['eye_happy_wink_right']]] = 0.6
  poses[2, [index['eye_wink_left'], index['eye_wink_right']]] = 0.4
  poses[3, [index['eye_happy_wink_left'], index['eye_wink_right']]] = 0.8
  np.testing.assert_array_equal(
    reenact_summary.closed_eyes(poses), [False, True, False, True]
  )
