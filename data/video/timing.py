"""Brings frames of a varying rate to a constant one."""

from __future__ import annotations

import fractions
from collections.abc import Iterable, Iterator

from data.video.base import exact_fps
from data.video.frames import VideoFrame

# Of a step.
_TOLERANCE = 0.25


def at_rate(
  frames: Iterable[VideoFrame], fps: float | fractions.Fraction
) -> Iterator[VideoFrame]:
  """Repeats and leaves out frames so that they come at a constant rate.

  Writers store a constant rate; without this a film of varying rate loses
  step with its sound. Memory holds two frames.

  Args:
    frames: in order of time, as a `VideoReader` gives them.
    fps: frames a second.

  Yields:
    Frames k = 0, 1, 2 ... at k / fps seconds, each the newest of `frames` that
    is due by a quarter of a step later: time stamps that are rounded neither
    double a frame nor lose one.

  Raises:
    VideoError: if the rate is no such number.
  """
  step = float(1 / exact_fps(fps))
  held, count = None, 0
  for frame in frames:
    while held is not None and frame.time_s > (count + _TOLERANCE) * step:
      yield VideoFrame(count, count * step, held.image)
      count += 1
    held = frame
  # The last is shown once at its time, not at the step after it.
  if held is not None and (count - _TOLERANCE) * step <= held.time_s:
    yield VideoFrame(count, count * step, held.image)
