"""Varying rates become constant: which frame is shown when."""

import numpy as np
import pytest

from data.video import VideoError, VideoFrame
from data.video.timing import at_rate


def _frames(times_s):
  for index, time_s in enumerate(times_s):
    yield VideoFrame(index, time_s, np.full((1, 1, 3), index, np.uint8))


def _shown(times_s, fps):
  frames = list(at_rate(_frames(times_s), fps))
  assert [f.index for f in frames] == list(range(len(frames)))
  np.testing.assert_allclose(
    [f.time_s for f in frames], np.arange(len(frames)) / fps
  )
  return [int(f.image[0, 0, 0]) for f in frames]


def test_a_gap_is_filled_and_a_crowd_thinned():
  assert _shown([0, 0.1, 0.5, 0.6], 10) == [0, 1, 1, 1, 1, 2, 3]
  assert _shown([0, 0.01, 0.02, 0.1, 0.11, 0.2], 10) == [2, 4, 5]


def test_rounded_stamps_neither_double_nor_lose_a_frame():
  times = np.round(np.arange(200) / 29.97, 2)
  assert _shown(times, 30000 / 1001) == list(range(200))


def test_other_rates():
  times = np.arange(10) / 25
  assert _shown(times, 50) == [*np.repeat(np.arange(9), 2), 9]
  assert _shown(times, 12.5) == [0, 2, 4, 6, 8]


def test_nothing_gives_nothing():
  assert _shown([], 25) == []
  assert _shown([0.0], 25) == [0]
  with pytest.raises(VideoError, match=r'must be 0\.001 to 1000'):
    list(at_rate(_frames([0.0]), 0))
