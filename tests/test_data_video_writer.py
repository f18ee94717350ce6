"""Moving pictures on disk, read back: frames, times, failures."""

import fractions
import json
import sys

import av
import numpy as np
import pytest
from PIL import Image

from data.video import VideoError, open_video_writer
from data.video.base import exact_fps
from data.video.webp import frame_durations_ms

KINDS = ['x.mp4', 'x.gif', 'x.webp', 'x']


def _frames(count=6, height=48, width=64, channels=3):
  """A bright square that walks over a coloured ground."""
  frames = np.zeros((count, height, width, channels), np.uint8)
  frames[..., :3] = (40, 90, 160)
  if channels == 4:
    frames[:, : height // 2, :, 3] = 255
  for t, frame in enumerate(frames):
    frame[8:20, 8 * t : 8 * t + 12, :3] = (230, 60, 30)
  return frames


def _write(path, frames, fps=25):
  with open_video_writer(path, fps) as writer:
    for frame in frames:
      writer.add(frame)
  return writer


def _read_mp4(path):
  with av.open(str(path)) as container:
    stream = container.streams.video[0]
    pictures, times = [], []
    for frame in container.decode(stream):
      pictures.append(frame.to_ndarray(format='rgb24'))
      times.append(frame.pts * frame.time_base)
    return stream, pictures, times


@pytest.mark.parametrize('fps', [25, 30000 / 1001, 12.5])
def test_mp4_holds_the_frames_at_their_times(tmp_path, fps):
  frames = _frames()
  writer = _write(tmp_path / 'x.mp4', frames, fps)
  stream, pictures, times = _read_mp4(tmp_path / 'x.mp4')
  assert stream.codec_context.name == 'h264'
  assert stream.codec_context.pix_fmt == 'yuv420p'
  assert stream.average_rate == writer.fps
  assert len(pictures) == len(frames) == writer.frame_count
  for i, (picture, time) in enumerate(zip(pictures, times, strict=True)):
    assert time == i / writer.fps
    difference = np.abs(picture.astype(int) - frames[i])
    assert difference.mean() < 3
    # Plain areas keep their colour: matrix and range are told and used.
    assert difference[30:, :].max() <= 4
  assert [p.name for p in tmp_path.iterdir()] == ['x.mp4']


def test_mp4_starts_with_its_index(tmp_path):
  _write(tmp_path / 'x.mp4', _frames())
  data = (tmp_path / 'x.mp4').read_bytes()
  assert 0 < data.index(b'moov') < data.index(b'mdat')


def test_mp4_pads_odd_sides_with_their_edge(tmp_path):
  frames = np.full((3, 33, 45, 3), (10, 200, 60), np.uint8)
  _write(tmp_path / 'x.mp4', frames)
  _, pictures, _ = _read_mp4(tmp_path / 'x.mp4')
  assert pictures[0].shape == (34, 46, 3)
  assert np.abs(pictures[0].astype(int) - (10, 200, 60)).max() <= 4


@pytest.mark.parametrize('name', ['x.mp4', 'x.gif'])
def test_without_transparency_frames_lie_on_the_background(tmp_path, name):
  path = tmp_path / name
  with open_video_writer(path, 25, background=(250, 240, 0)) as writer:
    for frame in _frames(channels=4):
      writer.add(frame)
  if name == 'x.mp4':
    picture = _read_mp4(path)[1][0]
  else:
    with Image.open(path) as image:
      picture = np.asarray(image.convert('RGB'))
  np.testing.assert_allclose(
    picture[26:].reshape(-1, 3).mean(0), (250, 240, 0), atol=4
  )
  np.testing.assert_allclose(picture[2, 60], (40, 90, 160), atol=6)


def test_webp_keeps_transparency_and_time(tmp_path):
  frames = _frames(channels=4)
  _write(tmp_path / 'x.webp', frames, 24)
  with Image.open(tmp_path / 'x.webp') as image:
    assert image.n_frames == len(frames)
    assert image.info['loop'] == 0
    total = 0
    for i, frame in enumerate(frames):
      image.seek(i)
      image.load()
      total += image.info['duration']
      picture = np.asarray(image.convert('RGBA')).astype(int)
      np.testing.assert_array_equal(picture[..., 3], frame[..., 3])
      assert np.abs(picture[:24] - frame[:24]).mean() < 6
  assert total == 250
  assert frame_durations_ms(3, fractions.Fraction(24)) == [42, 41, 42]


def test_one_webp_frame_is_a_picture(tmp_path):
  _write(tmp_path / 'x.webp', _frames(1))
  with Image.open(tmp_path / 'x.webp') as image:
    assert image.size == (64, 48)


def test_png_frames_are_exact_and_numbered(tmp_path):
  frames = _frames(channels=4)
  _write(tmp_path / 'x', frames, 29.97)
  names = sorted(p.name for p in (tmp_path / 'x').iterdir())
  assert names == [*(f'{i:06d}.png' for i in range(6)), 'manifest.json']
  for i, frame in enumerate(frames):
    with Image.open(tmp_path / 'x' / f'{i:06d}.png') as image:
      assert image.mode == 'RGBA'
      np.testing.assert_array_equal(np.asarray(image), frame)
  manifest = json.loads((tmp_path / 'x' / 'manifest.json').read_text())
  assert manifest == {
    'format': 'png_frames',
    'frames': 6,
    'fps': '30000/1001',
    'width': 64,
    'height': 48,
  }


def test_a_png_folder_of_ours_is_replaced(tmp_path):
  _write(tmp_path / 'x', _frames(6))
  _write(tmp_path / 'x', _frames(2))
  assert len(list((tmp_path / 'x').iterdir())) == 3
  assert [p.name for p in tmp_path.iterdir()] == ['x']


@pytest.mark.parametrize('ours', [False, True])
def test_a_folder_with_other_data_is_left_alone(tmp_path, ours):
  folder = tmp_path / 'x'
  if ours:
    _write(folder, _frames(2))
    (folder / 'notes.txt').write_text('mine')
  else:
    folder.mkdir()
    (folder / '000000.png').write_bytes(b'mine')
  before = {p.name: p.read_bytes() for p in folder.iterdir()}
  with pytest.raises(VideoError, match='other data'):
    open_video_writer(folder, 25)
  assert {p.name: p.read_bytes() for p in folder.iterdir()} == before
  assert [p.name for p in tmp_path.iterdir()] == ['x']


def _fail(path):
  with open_video_writer(path, 25) as writer:
    writer.add(_frames(1)[0])
    raise RuntimeError('stop')


@pytest.mark.parametrize('name', KINDS[:3])
def test_a_failure_leaves_the_earlier_file(tmp_path, name):
  path = tmp_path / name
  path.write_bytes(b'earlier')
  with pytest.raises(RuntimeError, match='stop'):
    _fail(path)
  assert path.read_bytes() == b'earlier'
  assert [p.name for p in tmp_path.iterdir()] == [name]


def test_an_mp4_that_cannot_be_completed_leaves_nothing(tmp_path, monkeypatch):
  path = tmp_path / 'x.mp4'
  path.write_bytes(b'earlier')
  writer = open_video_writer(path, 25)
  writer.add(_frames(1)[0])

  def fail(*paths):
    raise OSError('no space')

  with monkeypatch.context() as patch:
    patch.setattr('data.video.mp4.os.replace', fail)
    with pytest.raises(VideoError, match=r'cannot be completed \(no space\)'):
      writer.close()
  assert path.read_bytes() == b'earlier'
  assert [p.name for p in tmp_path.iterdir()] == ['x.mp4']


def test_a_png_folder_that_cannot_be_put_in_place(tmp_path, monkeypatch):
  _write(tmp_path / 'x', _frames(3))
  writer = open_video_writer(tmp_path / 'x', 25)
  writer.add(_frames(1)[0])

  def fail(*paths):
    raise OSError('busy')

  with monkeypatch.context() as patch:
    patch.setattr('data.files.put_folder', fail)
    with pytest.raises(VideoError, match=r'\(busy\).*x\.partial'):
      writer.close()
  assert len(list((tmp_path / 'x').glob('*.png'))) == 3


def test_a_failed_png_sequence_is_kept_and_named(tmp_path):
  _write(tmp_path / 'x', _frames(4))
  partial = tmp_path / 'x.partial'
  for _ in range(2):
    with pytest.raises(RuntimeError, match='stop') as caught:
      _fail(tmp_path / 'x')
    assert str(partial) in caught.value.__notes__[0]
    assert (partial / '000000.png').exists()
  assert len(list((tmp_path / 'x').iterdir())) == 5
  _write(tmp_path / 'x', _frames(1))
  assert [p.name for p in tmp_path.iterdir()] == ['x']


@pytest.mark.parametrize('name', KINDS)
def test_no_frame_no_file(tmp_path, name):
  _write(tmp_path / name, [])
  assert not list(tmp_path.iterdir())


@pytest.mark.parametrize('name', KINDS)
def test_frames_that_do_not_fit_are_named(tmp_path, name):
  with open_video_writer(tmp_path / name, 25, (64, 48)) as writer:
    writer.add(_frames(1)[0])
    with pytest.raises(VideoError, match=r'frame 1 is 64 x 40 .* 64 x 48'):
      writer.add(_frames(1, height=40)[0])
    with pytest.raises(VideoError, match='float64'):
      writer.add(np.zeros((48, 64, 3)))
    with pytest.raises(VideoError, match=r'\(48, 64\)'):
      writer.add(np.zeros((48, 64), np.uint8))
  with pytest.raises(VideoError, match='after the end'):
    writer.add(_frames(1)[0])


def test_what_cannot_be_written_is_refused(tmp_path):
  for fps in (0, -1, float('nan'), float('inf'), 1e6, 1e-4):
    with pytest.raises(VideoError, match=r'must be 0\.001 to 1000'):
      open_video_writer(tmp_path / 'x.mp4', fps)
  with pytest.raises(VideoError, match=r'x\.avi.*\.mp4'):
    open_video_writer(tmp_path / 'x.avi', 25)
  with pytest.raises(VideoError, match='no folder'):
    open_video_writer(tmp_path / 'none' / 'x.gif', 25)
  (tmp_path / 'x.gif').mkdir()
  with pytest.raises(VideoError, match='in the way'):
    open_video_writer(tmp_path / 'x.gif', 25)
  (tmp_path / 'file').touch()
  with pytest.raises(VideoError, match='in the way'):
    open_video_writer(tmp_path / 'file', 25)


def test_without_the_extra_mp4_says_how_to_get_it(tmp_path, monkeypatch):
  monkeypatch.setitem(sys.modules, 'av', None)
  with pytest.raises(VideoError, match=r'pip install .*edtn-jax\[video\]'):
    open_video_writer(tmp_path / 'x.mp4', 25)
  assert not list(tmp_path.iterdir())
  _write(tmp_path / 'x.webp', _frames(2))


def test_rates_of_television():
  assert exact_fps(29.97) == fractions.Fraction(30000, 1001)
  assert exact_fps(23.976) == fractions.Fraction(24000, 1001)
  assert exact_fps(12.5) == fractions.Fraction(25, 2)
  assert exact_fps(25.0) == 25
  assert exact_fps(fractions.Fraction(1, 3)) == fractions.Fraction(1, 3)
  assert exact_fps(0.001) == fractions.Fraction(1, 1000)
  assert exact_fps(0.0015) > 0
  # Containers hold 31 bits.
  rate = exact_fps(fractions.Fraction(25 * 10**12 + 1, 10**12))
  assert rate == 25
