"""Writes a moving picture beside the work that draws it."""

from __future__ import annotations

import queue
import threading

import numpy as np

from data.video import VideoWriter

# Frames that may wait for their encoder. More would only cost memory: over a
# whole film drawing and encoding take what they take.
_WAITING = 8
_END = object()


class BackgroundWriter:
  """Gives frames to a writer in a thread of its own, in their order.

  Encoders leave the interpreter free, so drawing goes on meanwhile. At most a
  few frames wait; then `add` does. What goes wrong in the thread is raised by
  the next call.

  Use as a context manager, as the writer itself.

  Attributes:
    path: where the result goes.
    frame_count: frames taken so far.
  """

  def __init__(self, writer: VideoWriter, waiting: int = _WAITING):
    """Starts nothing yet; the block does.

    Args:
      writer: not entered yet; only the thread touches it from then on.
      waiting: frames that may wait, at least 1.
    """
    self.path = writer.path
    self.frame_count = 0
    self._writer = writer
    self._frames: queue.Queue = queue.Queue(waiting)
    self._error: BaseException | None = None
    self._abandoned = False
    self._finishing = False
    self._thread = threading.Thread(target=self._work, daemon=True)

  def add(self, frame: np.ndarray) -> None:
    """Hands a frame over; it must not be changed afterwards.

    Args:
      frame: see `VideoWriter.add`.

    Raises:
      VideoError: what the writer raised at an earlier frame.
    """
    self._check()
    self._frames.put(frame)
    self.frame_count += 1

  def finish(self) -> None:
    """Lets the thread complete the result; leaving the block waits for it."""
    if not self._finishing:
      self._finishing = True
      self._frames.put(_END)

  def __enter__(self) -> BackgroundWriter:
    self._writer.__enter__()
    self._thread.start()
    return self

  def __exit__(self, error_type, error, traceback) -> None:
    self._abandoned = error is not None
    self.finish()
    self._thread.join()
    if error is None:
      self._check()
    else:
      self._writer.__exit__(error_type, error, traceback)

  def _check(self) -> None:
    if self._error is not None:
      raise self._error

  def _work(self) -> None:
    # Frames are taken to the end whatever happens, so that `add` never waits
    # for a thread that has given up.
    while (frame := self._frames.get()) is not _END:
      if self._error is None and not self._abandoned:
        self._try(self._writer.add, frame)
    if self._abandoned:
      return
    error = self._error
    if error is None:
      self._try(self._writer.close)
    else:
      self._writer.__exit__(type(error), error, error.__traceback__)

  def _try(self, call, *arguments) -> None:
    try:
      call(*arguments)
    # It belongs to whoever gives the frames.
    except BaseException as error:
      self._error = error
