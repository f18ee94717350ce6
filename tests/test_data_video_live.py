"""Only the newest frame is kept, files play in real time, ends are seen."""

import fractions
import threading
import time

import numpy as np
import pytest

from data.video import VideoError, VideoFrame, VideoReader
from data.video.live import FrameTimeoutError, NewestFrames


class _Source(VideoReader):
  """Frames whose numbers are their colours, let out by the test."""

  def __init__(self, count, fps=25, is_live=True, gate=None, error=None):
    super().__init__(
      'source', fps=fractions.Fraction(fps), size=(2, 2), is_live=is_live
    )
    self.read = 0
    self._count = count
    self._gate = gate
    self._error = error

  def _frames(self):
    for index in range(self._count):
      if self._gate is not None:
        self._gate.acquire()
      self.read += 1
      image = np.full((2, 2, 3), index, np.uint8)
      yield VideoFrame(index, float(index / self.fps), image)
    if self._error is not None:
      raise self._error


def _wait_for(condition):
  deadline = time.monotonic() + 20
  while not condition():
    assert time.monotonic() < deadline
    time.sleep(0.001)


def test_who_asks_late_gets_the_newest_and_the_end():
  gate = threading.Semaphore(0)
  source = _Source(6, gate=gate)
  with NewestFrames(source) as newest:
    gate.release()
    assert newest.get().index == 0
    gate.release(4)
    _wait_for(lambda: newest.dropped == 3)
    frame = newest.get()
    assert frame.index == 4
    assert (frame.image == 4).all()
    with pytest.raises(FrameTimeoutError, match=r'source: gave no frame'):
      newest.get(timeout_s=0.01)
    gate.release()
    # The last frame is not lost behind the end.
    assert newest.get().index == 5
    assert newest.get() is None
    assert newest.get() is None
    assert newest.dropped == 3


def test_a_file_plays_in_real_time():
  source = _Source(5, fps=50, is_live=False)
  start = time.monotonic()
  with NewestFrames(source) as newest:
    while (frame := newest.get()) is not None:
      # Never before its time; how late depends on the machine.
      assert time.monotonic() - start >= frame.time_s
      assert newest.age_s(frame) >= 0
  assert time.monotonic() - start >= 0.08


def test_a_file_is_left_at_once():
  source = _Source(3, fps=fractions.Fraction(1, 1000), is_live=False)
  with NewestFrames(source) as newest:
    assert newest.get().index == 0
  assert not newest._thread.is_alive()
  assert source.read <= 2


def test_errors_reach_who_asks_after_the_good_frames():
  source = _Source(1, error=VideoError('the camera stopped'))
  with NewestFrames(source) as newest:
    assert newest.get().index == 0
    with pytest.raises(VideoError, match='the camera stopped'):
      newest.get()
