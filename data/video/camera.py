"""Reads a camera by PyAV."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from typing import Any

import numpy as np

from data.video.base import VideoError
from data.video.file_reader import mean_fps, stamp_of
from data.video.frames import FrameClock, VideoFrame, VideoReader
from data.video.pyav import require_av

# Between two looks for a frame; a tenth of what a fast camera takes for one.
_PAUSE_S = 0.001
# FFmpeg's name of the system's cameras, and what they are asked for.
# avfoundation takes no rate but one the camera has, and defaults to none of
# them; 30 is what all built-in cameras have.
_SYSTEMS: dict[str, tuple[str, dict[str, str]]] = {
  'linux': ('v4l2', {}),
  'darwin': ('avfoundation', {'framerate': '30', 'pixel_format': 'nv12'}),
  'win32': ('dshow', {}),
}


class CameraReader(VideoReader):
  """Frames of a camera as they come, once.

  What the camera gives while nobody asks waits in the driver's queue or is
  lost; see `data.video.live` for the newest frame.
  """

  def __init__(self, number: int):
    """Opens the camera.

    Args:
      number: which, from 0 in the system's order.

    Raises:
      VideoError: if it is not there, in use or forbidden, or gives nothing.
    """
    name = f'webcam:{number}'
    self._av = require_av(f'{name}: reading a camera')
    device, kind, options = _device(self._av, number)
    try:
      self._container = self._av.open(device, format=kind, options=options)
    except (OSError, ValueError, self._av.error.FFmpegError) as error:
      raise VideoError(
        f'{name}: this camera cannot be opened as {device} by {kind} '
        f'({error}); connect it, close what else uses it, allow this program '
        'to use it, or take another number. A video file drives as well'
      ) from error
    streams = self._container.streams.video
    if not streams:
      self._container.close()
      raise VideoError(
        f'{name}: {device} gives no pictures; take another number'
      )
    stream = self._stream = streams[0]
    self._reading = False
    super().__init__(
      name,
      fps=mean_fps(stream),
      size=(stream.codec_context.width, stream.codec_context.height),
      is_live=True,
    )

  def _frames(self) -> Iterator[VideoFrame]:
    self._reading = True
    clock = FrameClock(self.fps)
    index = 0
    try:
      for packet in self._received():
        for frame in self._decode(packet):
          yield VideoFrame(
            index, clock.time_s(stamp_of(frame)), self._picture(frame)
          )
          index += 1
    except self._av.error.FFmpegError as error:
      raise VideoError(
        f'{self.name}: the camera stopped after {index} frames ({error}); '
        'connect it again'
      ) from error
    finally:
      self._container.close()

  def _received(self) -> Iterator[Any]:
    """Packets; waits where the system says that there is none yet."""
    while not self._closed:
      try:
        yield from self._container.demux(self._stream)
        return
      # macOS does not wait by itself.
      except self._av.error.BlockingIOError:
        time.sleep(_PAUSE_S)

  def _decode(self, packet: Any) -> list[Any]:
    try:
      return packet.decode()
    # Cameras that send JPEG lose part of a frame now and then.
    except self._av.error.InvalidDataError as error:
      self._skip(f'a frame cannot be decoded ({error.strerror})')
      return []

  def _picture(self, frame: Any) -> np.ndarray:
    width, height = self.size
    return frame.to_ndarray(format='rgb24', width=width, height=height)

  def close(self) -> None:
    """Gives the camera back, after the frame that is being read."""
    super().close()
    # Who reads, in whatever thread, closes it: FFmpeg does not survive that
    # its container disappears meanwhile.
    if not self._reading:
      self._container.close()


def _device(av: Any, number: int) -> tuple[str, str, dict[str, str]]:
  """What FFmpeg calls a camera: its name, kind of device and options."""
  if sys.platform not in _SYSTEMS:
    raise VideoError(
      f'webcam:{number}: cameras are read on Linux, macOS and Windows, not on '
      f'{sys.platform}; give a video file'
    )
  kind, options = _SYSTEMS[sys.platform]
  if kind == 'v4l2':
    return f'/dev/video{number}', kind, options
  if kind == 'avfoundation':
    # Without a second part for the microphone there is no sound.
    return f'{number}:none', kind, options
  # DirectShow knows its cameras by name only.
  if not hasattr(av, 'enumerate_input_devices'):
    raise VideoError(
      f'webcam:{number}: PyAV {av.__version__} cannot list the cameras of '
      'Windows; pip install --upgrade av'
    )
  names = [
    found.description or found.name
    for found in av.enumerate_input_devices(kind)
    if 'video' in found.media_types
  ]
  if number >= len(names):
    raise VideoError(
      f'webcam:{number}: there are {len(names)} cameras here ({names}), '
      'counted from 0; connect one, or give a video file'
    )
  return f'video={names[number]}', kind, options
