"""What all readers of moving pictures share: frames, rates, faults."""

from __future__ import annotations

import abc
import dataclasses
import fractions
from collections.abc import Iterator

import numpy as np
from absl import logging

from data.video.base import VideoError

DEFAULT_FPS = fractions.Fraction(25)


@dataclasses.dataclass(frozen=True)
class VideoFrame:
  """A frame and when it is shown.

  Attributes:
    index: how many frames came before it; frames that could not be decoded
      do not count.
    time_s: seconds since the first frame, by the source's own time stamps;
      grows from frame to frame, not always by the same step.
    image: [H, W, 3] uint8 RGB, turned upright.
  """

  index: int
  time_s: float
  image: np.ndarray


class VideoReader(abc.ABC):
  """Frames of a file, a folder or a camera, one by one.

  A file or folder can be iterated again, each time from its start; a camera
  only once. Memory holds one frame. Use as a context manager, or call `close`.

  Attributes:
    name: what the source is called, for messages.
    fps: frames a second, a fraction; the mean where the rate varies.
    size: (width, height) of every frame in pixels, as it is shown.
    num_frames: how many the source says it has, None if it does not say; may
      be off by a few where a film was trimmed without being encoded again.
    is_live: whether frames come as time passes and cannot be had again.
    has_audio: whether there is sound.
    skipped: what could not be decoded in the current or last iteration, a
      line for each frame.
  """

  def __init__(
    self,
    name: str,
    *,
    fps: fractions.Fraction,
    size: tuple[int, int],
    num_frames: int | None = None,
    is_live: bool = False,
    has_audio: bool = False,
  ):
    self.name = name
    self.fps = fps
    self.size = size
    self.num_frames = num_frames
    self.is_live = is_live
    self.has_audio = has_audio
    self.skipped: list[str] = []
    self._started = False
    self._closed = False

  def __iter__(self) -> Iterator[VideoFrame]:
    """Frames from the first on.

    Raises:
      VideoError: if no frame can be decoded, the reader is closed, or a live
        source is iterated a second time.
    """
    if self._closed:
      raise VideoError(f'{self.name}: is closed; open it again')
    if self.is_live and self._started:
      raise VideoError(
        f'{self.name}: is live and gives its frames only once; open it again'
      )
    self._started = True
    self.skipped = []
    return self._checked()

  def _checked(self) -> Iterator[VideoFrame]:
    count = 0
    for frame in self._frames():
      if self._closed:
        break
      count += 1
      yield frame
    if self.skipped:
      logging.warning(
        '%s: %d frames came, %d could not be decoded',
        self.name,
        count,
        len(self.skipped),
      )
    if not count and not self._closed:
      raise nothing_decoded(self.name, self.skipped)

  def _skip(self, what: str) -> None:
    """Notes a frame that cannot be had."""
    if not self.skipped:
      logging.warning('%s: %s', self.name, what)
    self.skipped.append(what)

  def close(self) -> None:
    """Ends iterations and gives the source back."""
    self._closed = True

  def __enter__(self) -> VideoReader:
    return self

  def __exit__(self, *error) -> None:
    self.close()

  @abc.abstractmethod
  def _frames(self) -> Iterator[VideoFrame]:
    """Frames from the first on; what fails goes through `_skip`."""


class FrameClock:
  """Seconds since the first frame, growing whatever the time stamps are.

  Args:
    fps: the step where a stamp is missing or does not grow.
  """

  def __init__(self, fps: fractions.Fraction):
    self._step = 1 / fps
    self._first: fractions.Fraction | None = None
    self._last: fractions.Fraction | None = None

  def time_s(self, stamp: fractions.Fraction | None) -> float:
    """Takes the next frame's stamp in seconds, None if it has none."""
    if self._last is None:
      self._first = stamp or fractions.Fraction(0)
      self._last = fractions.Fraction(0)
    else:
      time = None if stamp is None else stamp - self._first
      grows = time is not None and time > self._last
      self._last = time if grows else self._last + self._step
    return float(self._last)


def nothing_decoded(name: str, skipped: list[str]) -> VideoError:
  """The error of a source without a single good frame."""
  reason = f'; first: {skipped[0]}' if skipped else ''
  return VideoError(
    f'{name}: not one frame can be decoded ({len(skipped)} failed{reason}); '
    'a driver needs at least one. See whether a player shows it, and convert '
    'it to H.264 in MP4'
  )
