"""GIFs: one palette, exact flat colours, honest durations."""

import numpy as np
import pytest

from data.video import gif
from tests.picture_files import read_gif

FLAT = (200, 40, 90)


@pytest.mark.parametrize('rate', [12.5, 24.0, 25.0, 30.0])
def test_gif_durations_add_up(rate):
  durations = gif.frame_durations_cs(240, rate)
  assert abs(sum(durations) - 100 * 240 / rate) <= 0.5
  assert max(durations) - min(durations) <= 1
  assert gif.frame_durations_cs(4, 30.0) == [3, 4, 3, 3]
  assert gif.frame_durations_cs(2, 1000.0) == [2, 2]


def _count_color_tables(data):
  """(global, local) colour tables of a GIF (GIF89a specification)."""
  position, local = 13, 0
  flags = data[10]
  if flags & 0x80:
    position += 3 << ((flags & 7) + 1)
  while data[position] != 0x3B:
    if data[position] == 0x21:
      position += 2
    else:
      table = data[position + 9]
      position += 10
      if table & 0x80:
        local += 1
        position += 3 << ((table & 7) + 1)
      position += 1
    while data[position]:
      position += data[position] + 1
    position += 1
  return flags >> 7, local


def _moving_frames(count=8):
  noise = np.random.default_rng(0).integers(0, 256, (40, 30, 3), np.uint8)
  frames = []
  for t in range(count):
    frame = np.zeros((40, 60, 3), np.uint8)
    frame[:, :30] = noise
    frame[4 + t : 9 + t, 35:50] = FLAT
    frames.append(frame)
  return frames


def test_gif_frames_timing_loop_and_exact_flat_colours(tmp_path):
  path = tmp_path / 'out.gif'
  frames = _moving_frames()
  with gif.GifWriter(path, 30.0, flat_colors=(FLAT,)) as writer:
    for frame in frames:
      writer.add(frame)
    assert not path.exists()
  got, durations, loop = read_gif(path)
  assert len(got) == len(frames)
  assert durations == [
    10 * d for d in gif.frame_durations_cs(len(frames), 30.0)
  ]
  assert loop == 0
  for picture, frame in zip(got, frames, strict=True):
    np.testing.assert_array_equal(picture[:, 30:], frame[:, 30:])
  assert _count_color_tables(path.read_bytes()) == (1, 0)
  # No flicker: what stands still has the same colours in every frame.
  for picture in got:
    np.testing.assert_array_equal(picture[:, :30], got[0][:, :30])
  assert [p.name for p in tmp_path.iterdir()] == ['out.gif']


def test_a_rare_photograph_gets_its_share_of_the_palette():
  rng = np.random.default_rng(1)
  plain = np.full((100_000, 3), 240) + rng.integers(0, 8, (100_000, 3))
  photo = rng.integers(0, 128, (2000, 3))
  samples = np.concatenate([plain, photo]).astype(np.uint8)
  colors = np.array(gif.shared_palette(samples, ()).getpalette())
  dark = (colors.reshape(-1, 3) < 140).all(axis=1).sum()
  assert dark > 100
