"""Files, folders and cameras: the right frames at the right times."""

import fractions
import struct
import sys
import types

import numpy as np
import pytest
from PIL import Image

from data.video import VideoError, camera, open_video, open_video_writer
from data.video.file_reader import upright
from data.video.frames import FrameClock

av = pytest.importorskip('av', reason='extra [video]')

SIZE = (64, 48)


def _picture(index, size=SIZE):
  """Colours that tell the frame's number and its corners."""
  width, height = size
  picture = np.full((height, width, 3), (40, 90, 160), np.uint8)
  picture[: height // 3, : width // 4] = (250, 30, 30)
  picture[-(height // 3) :, -(width // 2) :] = (4 * index, 255 - 4 * index, 60)
  return picture


def _number(image):
  """The frame's number, read from its corner."""
  corner = image[-12:-4, -24:-8].reshape(-1, 3).mean(axis=0)
  return round((corner[0] + 255 - corner[1]) / 8)


def _write_stamped(path, times_ms, options=None):
  """A video whose frames have these time stamps."""
  with av.open(str(path), 'w') as container:
    stream = container.add_stream('libx264', rate=25, options=options or {})
    stream.width, stream.height = SIZE
    stream.pix_fmt = 'yuv420p'
    stream.codec_context.time_base = fractions.Fraction(1, 1000)
    for index, time in enumerate(times_ms):
      frame = av.VideoFrame.from_ndarray(_picture(index), 'rgb24')
      frame.pts, frame.time_base = time, fractions.Fraction(1, 1000)
      container.mux(stream.encode(frame))
    container.mux(stream.encode(None))
  return path


def _write_sound(path):
  with av.open(str(path), 'w') as container:
    stream = container.add_stream('aac', rate=16000, layout='mono')
    for start in range(0, 16000, 1024):
      samples = np.zeros((1, 1024), np.float32)
      frame = av.AudioFrame.from_ndarray(samples, 'fltp', 'mono')
      frame.rate, frame.pts = 16000, start
      container.mux(stream.encode(frame))
    container.mux(stream.encode(None))
  return path


def test_a_file_gives_every_frame_at_its_time_and_again(tmp_path):
  path = tmp_path / 'x.mp4'
  with open_video_writer(path, 29.97) as writer:
    for index in range(30):
      writer.add(_picture(index))
  with open_video(path) as reader:
    assert reader.fps == fractions.Fraction(30000, 1001)
    assert reader.size == SIZE
    assert reader.num_frames == 30
    assert not reader.is_live
    assert not reader.has_audio
    for _ in range(2):
      frames = list(reader)
      assert [f.index for f in frames] == list(range(30))
      for index, frame in enumerate(frames):
        assert frame.time_s == pytest.approx(index * 1001 / 30000, abs=1e-9)
        assert frame.image.dtype == np.uint8
        assert frame.image.flags.c_contiguous
        assert np.abs(frame.image - _picture(index).astype(int)).mean() < 3
      assert [_number(f.image) for f in frames] == list(range(30))
    assert reader.skipped == []
  with pytest.raises(VideoError, match='closed'):
    iter(reader)


@pytest.mark.parametrize('suffix', ['mp4', 'mkv'])
def test_variable_rate_goes_by_the_time_stamps(tmp_path, suffix):
  times = [200, 240, 300, 1000, 1010, 1500]
  reader = open_video(_write_stamped(tmp_path / f'x.{suffix}', times))
  frames = list(reader)
  np.testing.assert_allclose(
    [f.time_s for f in frames], (np.array(times) - 200) / 1000, atol=1e-3
  )
  assert [_number(f.image) for f in frames] == list(range(6))
  assert reader.num_frames == (6 if suffix == 'mp4' else None)


def _set_display_matrix(path, a, b, c, d):
  """Writes the turn into the track header (ISO/IEC 14496-12, 8.3.2)."""
  content = bytearray(path.read_bytes())
  start = content.index(b'tkhd') + 4 + 4 + 20 + 16
  values = (a << 16, b << 16, 0, c << 16, d << 16, 0, 0, 0, 1 << 30)
  content[start : start + 36] = struct.pack('>9i', *values)
  path.write_bytes(content)


@pytest.mark.parametrize(
  ('matrix', 'turn'),
  [
    # A quarter clockwise, a half, a quarter back, and a mirror.
    ((0, 1, -1, 0), lambda x: np.rot90(x, -1)),
    ((-1, 0, 0, -1), lambda x: np.rot90(x, 2)),
    ((0, -1, 1, 0), lambda x: np.rot90(x, 1)),
    ((-1, 0, 0, 1), lambda x: x[:, ::-1]),
  ],
)
def test_frames_come_upright(tmp_path, matrix, turn):
  path = _write_stamped(tmp_path / 'x.mp4', [0, 40])
  flat = [frame.image for frame in open_video(path)]
  _set_display_matrix(path, *matrix)
  reader = open_video(path)
  frames = list(reader)
  for before, frame in zip(flat, frames, strict=True):
    np.testing.assert_array_equal(frame.image, turn(before))
    assert frame.image.shape[1::-1] == reader.size


def test_all_eight_turns_by_hand():
  image = np.arange(6).reshape(2, 3, 1).repeat(3, axis=2)
  for matrix, wanted in (
    ([[1, 0], [0, 1]], [[0, 1, 2], [3, 4, 5]]),
    ([[1, 0], [0, -1]], [[3, 4, 5], [0, 1, 2]]),
    ([[0, 1], [1, 0]], [[0, 3], [1, 4], [2, 5]]),
    ([[0, -1], [-1, 0]], [[5, 2], [4, 1], [3, 0]]),
    ([[0, 1], [-1, 0]], [[3, 0], [4, 1], [5, 2]]),
  ):
    turned = upright(image, np.array(matrix, float))
    np.testing.assert_array_equal(turned[..., 0], wanted)


def test_a_film_that_was_trimmed_misses_nothing(tmp_path):
  path = _write_stamped(
    tmp_path / 'x.mp4', range(0, 2400, 40), options={'g': '5', 'bf': '0'}
  )
  content = bytearray(path.read_bytes())
  # The edit list shows 0.4 s from 0.8 s on (ISO/IEC 14496-12, 8.6.6), as phones
  # trim: what is cut off stays in the file.
  start = content.index(b'elst') + 12
  with av.open(str(path)) as container:
    ticks = int(0.8 / container.streams.video[0].time_base)
  content[start : start + 8] = struct.pack('>Ii', 400, ticks)
  path.write_bytes(content)
  with open_video(path) as reader:
    frames = list(reader)
    assert [_number(f.image) for f in frames] == list(range(20, 30))
    assert frames[-1].time_s == pytest.approx(0.36)
    assert abs(reader.num_frames - 10) <= 3
    assert reader.skipped == []


def test_pixels_become_square(tmp_path):
  path = tmp_path / 'x.mkv'
  with av.open(str(path), 'w') as container:
    stream = container.add_stream('libx264', rate=25)
    stream.width, stream.height = SIZE
    stream.pix_fmt = 'yuv420p'
    stream.codec_context.sample_aspect_ratio = fractions.Fraction(3, 2)
    frame = av.VideoFrame.from_ndarray(_picture(0), 'rgb24')
    container.mux(stream.encode(frame))
    container.mux(stream.encode(None))
  reader = open_video(path)
  assert reader.size == (96, 48)
  assert next(iter(reader)).image.shape == (48, 96, 3)


def test_moving_pictures_of_ours_are_read(tmp_path):
  for name in ('x.gif', 'x.webp', 'x'):
    with open_video_writer(tmp_path / name, 12.5) as writer:
      for index in range(5):
        writer.add(_picture(10 * index))
    reader = open_video(tmp_path / name)
    frames = list(reader)
    np.testing.assert_allclose(
      [f.time_s for f in frames], np.arange(5) / 12.5, atol=1e-9
    )
    assert [round(_number(f.image) / 10) for f in frames] == list(range(5))
    assert reader.size == SIZE
    assert reader.fps == 12.5


def test_a_file_that_was_cut_gives_what_is_there(tmp_path):
  path = tmp_path / 'x.mp4'
  with open_video_writer(path, 25) as writer:
    for index in range(40):
      noise = np.random.default_rng(index).integers(0, 40, (48, 64, 3))
      writer.add((_picture(index) // 2 + noise).astype(np.uint8))
  whole = [f.image for f in open_video(path)]
  content = path.read_bytes()
  path.write_bytes(content[: len(content) // 2])
  with open_video(path) as reader:
    frames = list(reader)
    assert 5 < len(frames) < 35
    for frame in frames:
      index = round(frame.time_s * 25)
      np.testing.assert_array_equal(frame.image, whole[index])
    assert len(frames) + len(reader.skipped) == 40
    assert 'ends early' in reader.skipped[-1]


def test_damage_in_the_middle_lasts_to_the_next_key_frame(tmp_path):
  path = _write_stamped(
    tmp_path / 'x.mp4',
    range(0, 1600, 40),
    options={'g': '10', 'bf': '0', 'sc_threshold': '0', 'qp': '0'},
  )
  whole = [f.image for f in open_video(path)]
  with av.open(str(path)) as container:
    packets = [p for p in container.demux(video=0) if p.size]
    starts = [(p.pos, p.size) for p in packets]
  content = bytearray(path.read_bytes())
  # Behind the length of the unit: its header and what follows.
  start, size = starts[13]
  content[start + 4 : start + size] = b'\xff' * (size - 4)
  path.write_bytes(content)
  with open_video(path) as reader:
    for _ in range(2):
      frames = list(reader)
      times = [round(f.time_s * 25) for f in frames]
      assert times == [*range(13), *range(20, 40)]
      assert [f.index for f in frames] == list(range(33))
      for time, frame in zip(times, frames, strict=True):
        np.testing.assert_array_equal(frame.image, whole[time])
      assert len(reader.skipped) == 7
      assert '0.520 s' in reader.skipped[0]


def test_what_is_no_video_is_refused(tmp_path):
  whole = _write_stamped(tmp_path / 'whole.mp4', range(0, 400, 40))
  content = whole.read_bytes()
  (tmp_path / 'empty.mp4').touch()
  (tmp_path / 'text.webp').write_text('not a video')
  (tmp_path / 'text.mp4').write_text('not a video ' * 50)
  # This one has its index at the end.
  (tmp_path / 'cut.mp4').write_bytes(content[: len(content) // 2])
  codec = content.replace(b'avc1', b'zzzz').replace(b'avcC', b'zzzC')
  (tmp_path / 'codec.mp4').write_bytes(codec)
  _write_sound(tmp_path / 'sound.m4a')
  (tmp_path / 'folder').mkdir()
  (tmp_path / 'folder' / 'notes.txt').touch()
  for name, message in (
    ('none.mp4', r'no such file.*wanted a video'),
    ('empty.mp4', r'is empty.*again'),
    ('text.mp4', r'is no video.*convert'),
    ('cut.mp4', r'never finished.*record it again'),
    ('codec.mp4', r'codec is not known.*convert it to H\.264'),
    ('sound.m4a', r'holds only sound.*needs pictures'),
    ('text.webp', r'is no WebP.*get it again'),
    ('folder', r'holds no pictures.*\*\.png'),
    ('webcam:93', r'webcam:93.*(connect|not on)'),
  ):
    source = name if name.startswith('webcam') else tmp_path / name
    with pytest.raises(VideoError, match=message) as caught:
      open_video(source)
    assert name in str(caught.value)


def test_a_webp_that_may_not_be_read_is_told(tmp_path, monkeypatch):
  (tmp_path / 'x.webp').touch()

  def refuse(*args, **options):
    raise PermissionError(13, 'Permission denied')

  # Not by the file's mode: to the superuser it means nothing.
  monkeypatch.setattr('builtins.open', refuse)
  with pytest.raises(VideoError, match=r'x\.webp: cannot be read.*rights'):
    open_video(tmp_path / 'x.webp')


def test_a_file_without_one_good_frame_is_refused(tmp_path):
  path = _write_stamped(tmp_path / 'x.mp4', range(0, 400, 40))
  with av.open(str(path)) as container:
    places = [(p.pos, p.size) for p in container.demux(video=0) if p.size]
  content = bytearray(path.read_bytes())
  for start, size in places:
    content[start + 4 : start + size] = b'\xff' * (size - 4)
  path.write_bytes(content)
  with pytest.raises(VideoError, match=r'not one frame.*convert'):
    open_video(path)


def test_without_the_extra_folders_are_still_read(tmp_path, monkeypatch):
  Image.fromarray(_picture(0)).save(tmp_path / '0.png')
  (tmp_path / 'x.mp4').write_bytes(b'any')
  monkeypatch.setitem(sys.modules, 'av', None)
  assert len(list(open_video(tmp_path))) == 1
  for source in (tmp_path / 'x.mp4', 'webcam:0'):
    with pytest.raises(VideoError, match=r'pip install .*edtn-jax\[video\]'):
      open_video(source)


def test_a_folder_is_read_in_counting_order(tmp_path):
  for index, name in enumerate(['f2.png', 'f10.BMP', 'f11.jpg', 'f100.webp']):
    Image.fromarray(_picture(10 * index)).save(tmp_path / name)
  (tmp_path / '.f3.png').touch()
  (tmp_path / 'notes.txt').touch()
  with open_video(tmp_path) as reader:
    assert (reader.fps, reader.num_frames) == (25, 4)
    frames = list(reader)
  assert [round(_number(f.image) / 10) for f in frames] == list(range(4))
  assert [f.time_s for f in frames] == [0, 0.04, 0.08, 0.12]
  np.testing.assert_array_equal(frames[0].image, _picture(0))
  half = list(open_video(tmp_path, fps=12.5))
  assert [f.time_s for f in half] == [0, 0.08, 0.16, 0.24]


def test_bad_pictures_are_skipped_and_named(tmp_path):
  for index in (1, 4):
    Image.fromarray(_picture(index)).save(tmp_path / f'{index}.png')
  (tmp_path / '0.png').write_bytes(b'no picture')
  content = (tmp_path / '1.png').read_bytes()
  (tmp_path / '2.png').write_bytes(content[: len(content) // 2])
  Image.new('RGB', (30, 20)).save(tmp_path / '3.png')
  with open_video(tmp_path) as reader:
    frames = list(reader)
  assert [(f.index, f.time_s) for f in frames] == [(0, 0.04), (1, 0.16)]
  assert [line.split(':')[0] for line in reader.skipped] == [
    '0.png',
    '2.png',
    '3.png',
  ]
  assert '30 x 20 pixels, the first is 64 x 48' in reader.skipped[2]
  for index in (1, 3, 4):
    (tmp_path / f'{index}.png').unlink()
  with pytest.raises(VideoError, match=r'not one frame.*2 failed.*0\.png'):
    open_video(tmp_path)


def test_transparent_and_turned_pictures(tmp_path):
  clear = np.zeros((*SIZE[::-1], 4), np.uint8)
  clear[:10, :, :] = (10, 20, 30, 255)
  Image.fromarray(clear).save(tmp_path / '0.png')
  turned = Image.fromarray(np.rot90(_picture(3)))
  exif = Image.Exif()
  exif[0x0112] = 6  # To be turned by a quarter clockwise.
  turned.save(tmp_path / '1.png', exif=exif)
  first, second = open_video(tmp_path)
  assert (first.image[:10] == (10, 20, 30)).all()
  assert (first.image[10:] == 255).all()
  np.testing.assert_array_equal(second.image, _picture(3))


def test_rates_that_make_no_sense_are_refused(tmp_path):
  Image.fromarray(_picture(0)).save(tmp_path / '0.png')
  with pytest.raises(VideoError, match=r'must be 0\.001 to 1000'):
    open_video(tmp_path, fps=0)
  path = _write_stamped(tmp_path / 'x.mp4', [0, 40])
  with pytest.raises(VideoError, match='a rate of its own'):
    open_video(path, fps=25)
  for content in (b'{"fps": "many"}', b'[]', b'{'):
    (tmp_path / 'manifest.json').write_bytes(content)
    with pytest.raises(VideoError, match='names no frame rate'):
      open_video(tmp_path)


def test_clock_fills_what_the_stamps_leave_open():
  clock = FrameClock(fractions.Fraction(10))
  second = fractions.Fraction(1)
  stamps = [5 * second, 5 * second, None, 5 * second + second / 2, 4 * second]
  times = [clock.time_s(stamp) for stamp in stamps]
  np.testing.assert_allclose(times, [0, 0.1, 0.2, 0.5, 0.6])
  assert FrameClock(fractions.Fraction(10)).time_s(None) == 0


def test_a_camera_gives_its_frames_once(monkeypatch):
  # FFmpeg's own test picture stands in for a camera.
  source = 'testsrc=size=64x48:rate=10:duration=0.5'
  monkeypatch.setattr(
    camera, '_device', lambda av, number: (source, 'lavfi', {})
  )
  with open_video('webcam:0') as reader:
    assert reader.is_live
    assert reader.num_frames is None
    assert reader.size == SIZE
    assert reader.fps == 10
    frames = list(reader)
    np.testing.assert_allclose(
      [f.time_s for f in frames], [0, 0.1, 0.2, 0.3, 0.4]
    )
    assert frames[0].image.shape == (48, 64, 3)
    with pytest.raises(VideoError, match='only once'):
      iter(reader)


class _Hesitant:
  """A container that has nothing the first two times it is asked."""

  def __init__(self, container):
    self._container = container
    self._refusals = 2

  def demux(self, stream):
    if self._refusals:
      self._refusals -= 1
      raise av.error.BlockingIOError(11, 'not yet')
    yield from self._container.demux(stream)

  def close(self):
    self._container.close()


def test_a_camera_that_does_not_wait_is_waited_for(monkeypatch):
  source = 'testsrc=size=64x48:rate=10:duration=0.3'
  monkeypatch.setattr(
    camera, '_device', lambda av, number: (source, 'lavfi', {})
  )
  with open_video('webcam:0') as reader:
    reader._container = _Hesitant(reader._container)
    assert len(list(reader)) == 3


@pytest.mark.parametrize(
  ('platform', 'wanted'),
  [
    ('linux', ('/dev/video2', 'v4l2')),
    ('darwin', ('2:none', 'avfoundation')),
    ('win32', ('video=third', 'dshow')),
  ],
)
def test_cameras_by_system(monkeypatch, platform, wanted):
  def device(name, medium='video'):
    return types.SimpleNamespace(
      name=f'@{name}', description=name, media_types=[medium]
    )

  listing = types.SimpleNamespace(
    enumerate_input_devices=lambda kind: [
      device('first'),
      device('microphone', 'audio'),
      device('second'),
      device('third'),
    ]
  )
  monkeypatch.setattr(sys, 'platform', platform)
  assert camera._device(listing, 2)[:2] == wanted
  if platform == 'win32':
    with pytest.raises(VideoError, match=r'there are 3 cameras here'):
      camera._device(listing, 3)
