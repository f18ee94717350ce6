"""Sound beside the pictures: the right moment, the right length, no fuss."""

import fractions

import numpy as np
import pytest

from data.video import VideoError, audio, open_video, open_video_writer

av = pytest.importorskip('av', reason='extra [video]')

RATE = 16000
# A short tone on silence; where it lies tells what time it is.
BEEP_S, BEEP_LENGTH_S = 0.6, 0.1


def _samples(seconds):
  time = np.arange(int(RATE * seconds)) / RATE
  beep = (time >= BEEP_S) & (time < BEEP_S + BEEP_LENGTH_S)
  return (0.5 * np.sin(2 * np.pi * 1000 * time) * beep).astype(np.float32)


def _frames(count):
  return np.full((count, 48, 64, 3), 90, np.uint8)


def _write_film(path, codec, seconds=1.6, picture_start_s=0.0):
  """Pictures from a given moment on, sound from 0."""
  with av.open(str(path), 'w') as container:
    picture = container.add_stream('libx264', rate=25)
    picture.width, picture.height, picture.pix_fmt = 64, 48, 'yuv420p'
    picture.codec_context.time_base = fractions.Fraction(1, 1000)
    sound = container.add_stream(codec, rate=RATE, layout='mono')
    for index, image in enumerate(_frames(30)):
      frame = av.VideoFrame.from_ndarray(image, 'rgb24')
      frame.pts = round(1000 * picture_start_s) + 40 * index
      frame.time_base = fractions.Fraction(1, 1000)
      container.mux(picture.encode(frame))
    container.mux(picture.encode(None))
    samples = _samples(seconds)
    for start in range(0, len(samples), 1024):
      frame = av.AudioFrame.from_ndarray(
        samples[None, start : start + 1024], 'fltp', 'mono'
      )
      frame.rate, frame.pts = RATE, start
      frame.time_base = fractions.Fraction(1, RATE)
      container.mux(sound.encode(frame))
    container.mux(sound.encode(None))
  return path


def _read_sound(path):
  """Codec, when the beep begins, and when the sound ends, in seconds."""
  with av.open(str(path)) as container:
    [stream] = container.streams.audio
    resampler = av.AudioResampler('fltp', 'mono', RATE)
    loud, end = [], 0.0
    for frame in container.decode(stream):
      end = max(end, frame.time + frame.samples / frame.rate)
      for part in resampler.resample(frame):
        heard = np.abs(part.to_ndarray()[0]) > 0.1
        loud += [part.time + i / RATE for i in np.nonzero(heard)[0]]
    return stream.codec_context.codec.canonical_name, loud[0], loud[-1], end


def _write_with_sound(path, audio_from, count=30):
  with open_video_writer(path, 25, audio_from=audio_from) as writer:
    for frame in _frames(count):
      writer.add(frame)
  return path


@pytest.mark.parametrize(
  ('name', 'codec', 'wanted'),
  [
    ('film.mp4', 'aac', 'aac'),
    ('film.mkv', 'libmp3lame', 'mp3'),
    ('film.ts', 'aac', 'aac'),
    ('film.mkv', 'pcm_s16le', 'aac'),
    ('film.mkv', 'libopus', 'aac'),
  ],
)
def test_sound_keeps_its_time_and_ends_with_the_pictures(
  tmp_path, name, codec, wanted
):
  film = _write_film(tmp_path / name, codec)
  assert open_video(film).has_audio
  path = _write_with_sound(tmp_path / 'out.mp4', film)
  kind, first, last, end = _read_sound(path)
  assert kind == wanted
  assert first == pytest.approx(BEEP_S, abs=0.01)
  assert last == pytest.approx(BEEP_S + BEEP_LENGTH_S, abs=0.02)
  # 1.6 s of sound, 1.2 s of pictures.
  assert end == pytest.approx(1.2, abs=0.07)
  with open_video(path) as reader:
    assert reader.has_audio
    times = [frame.time_s for frame in reader]
  np.testing.assert_allclose(times, np.arange(30) / 25, atol=1e-9)
  content = path.read_bytes()
  assert 0 < content.index(b'moov') < content.index(b'mdat')


@pytest.mark.parametrize('codec', ['aac', 'pcm_s16le'])
def test_sound_from_before_the_first_picture_is_left_out(tmp_path, codec):
  film = _write_film(tmp_path / 'film.mkv', codec, picture_start_s=0.4)
  path = _write_with_sound(tmp_path / 'out.mp4', film)
  assert _read_sound(path)[1] == pytest.approx(BEEP_S - 0.4, abs=0.01)


def test_short_sound_ends_before_the_pictures(tmp_path):
  film = _write_film(tmp_path / 'film.mp4', 'aac', seconds=0.8)
  path = _write_with_sound(tmp_path / 'out.mp4', film)
  assert _read_sound(path)[3] == pytest.approx(0.8, abs=0.07)
  assert len(list(open_video(path))) == 30


def test_a_film_without_sound_gives_one_without_sound(tmp_path):
  silent = _write_with_sound(tmp_path / 'silent.mp4', None)
  path = _write_with_sound(tmp_path / 'out.mp4', silent)
  assert not open_video(path).has_audio
  assert path.read_bytes() == silent.read_bytes()


def test_sound_that_is_cut_leaves_the_pictures_whole(tmp_path):
  film = _write_film(tmp_path / 'film.mkv', 'pcm_s16le')
  content = film.read_bytes()
  film.write_bytes(content[: int(len(content) * 0.7)])
  path = _write_with_sound(tmp_path / 'out.mp4', film)
  assert len(list(open_video(path))) == 30
  assert _read_sound(path)[3] < 1.2


def test_sound_where_it_cannot_be_is_refused(tmp_path):
  film = _write_film(tmp_path / 'film.mp4', 'aac')
  for name in ('x.gif', 'x.webp', 'x'):
    with pytest.raises(VideoError, match=r'only \*\.mp4 holds sound.*film'):
      open_video_writer(tmp_path / name, 25, audio_from=film)
  for source in (tmp_path / 'none.mp4', tmp_path):
    with pytest.raises(VideoError, match=r'no such file|cannot be read'):
      open_video_writer(tmp_path / 'x.mp4', 25, audio_from=source)
  assert [p.name for p in tmp_path.iterdir()] == ['film.mp4']


def _write_record(path):
  """Sound with a cover, as music players write it."""
  with av.open(str(path), 'w') as container:
    sound = container.add_stream('aac', rate=RATE, layout='mono')
    cover = container.add_stream('mjpeg', rate=1)
    cover.width, cover.height, cover.pix_fmt = 64, 48, 'yuvj420p'
    cover.disposition = av.stream.Disposition.attached_pic
    picture = av.VideoFrame.from_ndarray(_frames(1)[0], 'rgb24')
    samples = _samples(1.6)
    for start in range(0, len(samples), 1024):
      frame = av.AudioFrame.from_ndarray(
        samples[None, start : start + 1024], 'fltp', 'mono'
      )
      frame.rate, frame.pts = RATE, start
      frame.time_base = fractions.Fraction(1, RATE)
      container.mux(sound.encode(frame))
    container.mux(sound.encode(None))
    container.mux(cover.encode(picture.reformat(format='yuvj420p')))
    container.mux(cover.encode(None))
  return path


def test_a_cover_is_no_first_picture(tmp_path):
  record = _write_record(tmp_path / 'record.mp4')
  with pytest.raises(VideoError, match='only sound'):
    open_video(record)
  path = _write_with_sound(tmp_path / 'out.mp4', record)
  assert _read_sound(path)[1] == pytest.approx(BEEP_S, abs=0.01)


def test_sound_that_changes_its_kind_ends_there(tmp_path, monkeypatch, caplog):
  """PyAV's resampler says so by a ValueError, not by one of FFmpeg's."""
  film = _write_film(tmp_path / 'film.mkv', 'pcm_s16le')
  encoded = audio.AudioTrack._encoded

  def changing(self, stream):
    for number, packet in enumerate(encoded(self, stream)):
      if number == 5:
        raise ValueError('Frame does not match AudioResampler setup.')
      yield packet

  monkeypatch.setattr(audio.AudioTrack, '_encoded', changing)
  with caplog.at_level('WARNING', 'absl'):
    path = _write_with_sound(tmp_path / 'out.mp4', film)
  assert 'cannot be read to the end (Frame does not match' in caplog.text
  assert len(list(open_video(path))) == 30
  with av.open(str(path)) as container:
    assert container.streams.audio
