"""The loop: newest frame, pose, picture, viewers; what is late is dropped."""

from __future__ import annotations

import contextlib
import signal
import threading
import time
from collections.abc import Iterator
from typing import Any

from absl import logging

from data.video import VideoError, VideoFrame, VideoReader
from data.video.live import FrameTimeoutError, NewestFrames
from edtn_jax.live import driver as driver_lib
from edtn_jax.live.meter import Meter
from edtn_jax.live.picture import LivePicture
from edtn_jax.live.server import LiveServer
from edtn_jax.reenact_process import ReenactError

_LOG_S = 5.0
# How soon a signal is heeded while no frame comes.
_LOOK_S = 0.25
# How long a source may give nothing.
_PATIENCE_S = 10.0

STARTING = 'starting'
END, SIGNAL = 'end of the source', 'signal'


class LiveSession:
  """Drives characters by a source until it ends or somebody ends it."""

  def __init__(
    self,
    reader: VideoReader,
    driver: driver_lib.LiveDriver,
    picture: LivePicture,
    meter: Meter,
  ):
    """Starts nothing yet.

    Args:
      reader: the source, which stays the caller's to close.
      driver: turns frames into poses.
      picture: draws what viewers see.
      meter: the one that `driver` has.
    """
    self.stop = threading.Event()
    self._reader = reader
    self._driver = driver
    self._picture = picture
    self._meter = meter
    self._newest = NewestFrames(reader)
    self._wants_calibration = threading.Event()
    self._state = STARTING
    self._counts = dict.fromkeys(
      (driver_lib.CALIBRATING, driver_lib.DRIVING, driver_lib.NO_FACE), 0
    )
    self._seconds = 0.0
    self._ended_by = ''

  def run(self, server: LiveServer) -> None:
    """Starts the page and drives; returns at the end of the source.

    SIGINT (Ctrl-C), SIGTERM and `stop` end it as well.

    Args:
      server: the page, which stays the caller's to close.

    Raises:
      VideoError: if the source fails or gives nothing for ten seconds.
      ReenactError: if the source ends before the person is calibrated, or the
        network's output is wrong.
    """
    began = time.monotonic()
    server.start(status=self.status, calibrate=self._wants_calibration.set)
    with _stops_on_signals(self.stop), self._newest:
      logging.info('Watch it at %s; Ctrl-C ends it', server.url)
      logging.info(
        'Calibrating: look at the camera with a resting face for %.1f s',
        self._driver.calibration_left_s,
      )
      try:
        self._loop(server)
      except Exception as error:
        self._ended_by = str(error)
        raise
      finally:
        self._seconds = time.monotonic() - began

  def status(self) -> dict[str, Any]:
    """Numbers for the page; may be called from any thread."""
    return {
      'state': self._state,
      'source': self._reader.name,
      'source_frames_per_second': round(float(self._reader.fps), 2),
      'calibration_left_s': round(self._driver.calibration_left_s, 1),
      'frames_driven': self._counts[driver_lib.DRIVING],
      'dropped': self._newest.dropped,
      **self._meter.recent(),
    }

  def summary(self) -> dict[str, Any]:
    """What happened, for `summary.json`.

    `latency_ms` is from the time at which a frame was due to the moment its
    picture is ready for viewers; rate and latency are of driven frames.
    """
    counts = self._counts
    return {
      'source': self._reader.name,
      'source_frames_per_second': round(float(self._reader.fps), 4),
      'ended_by': self._ended_by,
      'seconds': round(self._seconds, 3),
      'calibrations': self._driver.calibrations,
      'frames': sum(counts.values()),
      'frames_driven': counts[driver_lib.DRIVING],
      'frames_calibrating': counts[driver_lib.CALIBRATING],
      'frames_without_face': counts[driver_lib.NO_FACE],
      'dropped': self._newest.dropped,
      'clamped_frames': self._driver.clamped_frames,
      **self._meter.summary(),
    }

  def _loop(self, server: LiveServer) -> None:
    logged = time.monotonic()
    while (frame := self._next()) is not None:
      if self._wants_calibration.is_set():
        self._wants_calibration.clear()
        self._driver.calibrate()
        logging.info('Calibrating again, as asked for')
      self._driver.update(frame)
      with self._meter.stage('draw'):
        picture = self._picture.draw(self._driver.pose, frame.image)
      server.show(picture)
      self._state = self._driver.state
      self._counts[self._state] += 1
      if self._state == driver_lib.DRIVING:
        self._meter.add(self._newest.age_s(frame))
      if time.monotonic() - logged > _LOG_S:
        logged = time.monotonic()
        self._log()
    self._ended_by = SIGNAL if self.stop.is_set() else END
    if not self._driver.calibrations and self._ended_by == END:
      raise ReenactError(self._too_short())

  def _next(self) -> VideoFrame | None:
    """The newest frame, None when it is time to end."""
    waited_since = time.monotonic()
    while not self.stop.is_set():
      try:
        return self._newest.get(_LOOK_S)
      except FrameTimeoutError:
        if time.monotonic() - waited_since > _PATIENCE_S:
          raise VideoError(
            f'{self._reader.name}: gave no frame for {_PATIENCE_S:g} s; see '
            'whether it is connected and nothing else uses it'
          ) from None
    return None

  def _log(self) -> None:
    now = self._meter.recent()
    latency = now['latency_ms']
    logging.info(
      '%s | %.1f frames/s | latency %s ms, 95 %% within %s ms | %d dropped',
      self._state,
      now['frames_per_second'],
      latency['p50'],
      latency['p95'],
      self._newest.dropped,
    )

  def _too_short(self) -> str:
    seen = self._counts[driver_lib.CALIBRATING]
    if not seen:
      return (
        f'{self._reader.name}: no face in any of '
        f'{sum(self._counts.values())} frames; a face must be upright, seen '
        'from the front half, and not much smaller than a tenth of the picture'
      )
    return (
      f'{self._reader.name}: ended while the resting face was watched, after '
      f'{seen} frames that show it; {driver_lib.CALIBRATION_S:g} s and more '
      'are needed. Drive without --live by a shorter clip'
    )


@contextlib.contextmanager
def _stops_on_signals(stop: threading.Event) -> Iterator[None]:
  """Sets an event at the first SIGINT or SIGTERM; a second one interrupts."""
  # Python lets only the main thread decide about signals.
  if threading.current_thread() is not threading.main_thread():
    yield
    return
  before = {}

  def restore() -> None:
    for number, handler in before.items():
      signal.signal(number, handler)

  def heed(number, frame) -> None:
    del number, frame
    stop.set()
    restore()

  for number in (signal.SIGINT, signal.SIGTERM):
    before[number] = signal.signal(number, heed)
  try:
    yield
  finally:
    restore()
