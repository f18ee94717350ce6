"""The newest frame of a source that does not wait."""

from __future__ import annotations

import threading
import time

from data.video.base import VideoError
from data.video.frames import VideoFrame, VideoReader

# How long the end may wait for a camera that gives nothing.
_JOIN_S = 2.0


class FrameTimeoutError(VideoError):
  """No frame came in time; the source may still give one."""


class NewestFrames:
  """Reads in a thread and keeps only the newest frame.

  A camera is read as fast as it gives frames; a file in real time, by its
  time stamps. Who asks too seldom misses frames, but what is got is never old:
  nothing queues.

  Example:
    >>> with open_video('webcam:0') as reader, NewestFrames(reader) as newest:
    ...   while (frame := newest.get()) is not None:
    ...     show(frame.image)

  Attributes:
    dropped: frames that were replaced before anybody asked.
  """

  def __init__(self, reader: VideoReader):
    """Starts nothing yet; the block does.

    Args:
      reader: the source, which stays the caller's to close, after this.
    """
    self.dropped = 0
    self._reader = reader
    self._changed = threading.Condition()
    self._newest: VideoFrame | None = None
    self._ended = False
    self._error: BaseException | None = None
    self._stop = threading.Event()
    # When the frame of time 0 was due, by time.monotonic().
    self._start_s: float | None = None
    # A daemon, because a camera may never come back from a read.
    self._thread = threading.Thread(target=self._read, daemon=True)

  def __enter__(self) -> NewestFrames:
    self._thread.start()
    return self

  def __exit__(self, *error) -> None:
    self._stop.set()
    self._thread.join(_JOIN_S)

  def get(self, timeout_s: float | None = 10.0) -> VideoFrame | None:
    """The newest frame that was not got yet; waits for one.

    Args:
      timeout_s: how long to wait, seconds; None waits for ever.

    Returns:
      The frame; None when the source has ended and its last frame was got.

    Raises:
      FrameTimeoutError: if none came in time. It can be tried again.
      VideoError: what the reader raises.
    """
    with self._changed:
      came = self._changed.wait_for(
        lambda: self._newest is not None or self._ended, timeout_s
      )
      if not came:
        raise FrameTimeoutError(
          f'{self._reader.name}: gave no frame for {timeout_s:g} s; see '
          'whether it is connected and nothing else uses it'
        )
      frame, self._newest = self._newest, None
      if frame is None and self._error is not None:
        raise self._error
      return frame

  def age_s(self, frame: VideoFrame) -> float:
    """Seconds since a frame was due by its time stamp.

    The first frame is due when it arrives, so what a camera needs to hand a
    frame over does not count.
    """
    return time.monotonic() - (self._start_s or 0.0) - frame.time_s

  def _read(self) -> None:
    try:
      for frame in self._reader:
        if self._start_s is None:
          self._start_s = time.monotonic()
        if not self._reader.is_live:
          self._stop.wait(max(0.0, -self.age_s(frame)))
        if self._stop.is_set():
          break
        with self._changed:
          self.dropped += self._newest is not None
          self._newest = frame
          self._changed.notify_all()
    # Whatever it is belongs to who asks for frames, not to this thread.
    except BaseException as error:
      self._error = error
    finally:
      with self._changed:
        self._ended = True
        self._changed.notify_all()
