"""Reads moving pictures of any format by PyAV, frame by frame."""

from __future__ import annotations

import fractions
import os
import pathlib
from collections.abc import Iterator
from typing import Any

import numpy as np

from data.video.base import VideoError, exact_fps
from data.video.frames import (
  DEFAULT_FPS,
  FrameClock,
  VideoFrame,
  VideoReader,
  nothing_decoded,
)
from data.video.pyav import require_av

_RE_ENCODE = 'convert it to H.264 in MP4'


class FileReader(VideoReader):
  """Every frame of a file, at the time its stamp says.

  Frames come upright (the display matrix of phones is applied) and with
  square pixels. A damaged frame is skipped, and with it those up to the next
  key frame, because they are made from it.
  """

  def __init__(self, path: str | os.PathLike):
    """Decodes the first frame; see `open_video`."""
    self._path = pathlib.Path(path)
    self._av = require_av(f'{self._path}: reading a video')
    with open_container(self._av, self._path) as container:
      stream = video_stream(container, self._path)
      name = str(self._path)
      super().__init__(
        name,
        fps=mean_fps(stream),
        size=(0, 0),
        num_frames=_count(stream),
        has_audio=any(s.codec_context for s in container.streams.audio),
      )
      self._aspect = stream.sample_aspect_ratio or fractions.Fraction(1)
      decoder = _Decoder(self._av, stream)
      first = next(decoder.frames(), None)
      if first is None:
        raise nothing_decoded(name, decoder.faults)
      # The coded size: what comes in another is scaled to it.
      self._coded = max(1, round(first.width * self._aspect)), first.height
      self.size = self._picture(first).shape[1::-1]

  def _frames(self) -> Iterator[VideoFrame]:
    with open_container(self._av, self._path) as container:
      stream = video_stream(container, self._path)
      decoder = _Decoder(self._av, stream)
      clock = FrameClock(self.fps)
      for index, frame in enumerate(decoder.frames()):
        self._note(decoder)
        yield VideoFrame(
          index, clock.time_s(stamp_of(frame)), self._picture(frame)
        )
      self._note(decoder)

  def _note(self, decoder: _Decoder) -> None:
    for fault in decoder.faults[len(self.skipped) :]:
      self._skip(fault)

  def _picture(self, frame: Any) -> np.ndarray:
    width, height = self._coded
    turned = upright(
      frame.to_ndarray(format='rgb24', width=width, height=height),
      display_matrix(frame),
    )
    return np.ascontiguousarray(turned)


class _Decoder:
  """Frames of a stream in order of time, without the damaged ones.

  Attributes:
    faults: a line for each frame that is missing.
  """

  def __init__(self, av: Any, stream: Any):
    self.faults: list[str] = []
    self._av = av
    self._stream = stream
    # Whether what comes refers to something that is lost.
    self._broken = False

  def frames(self) -> Iterator[Any]:
    """Decoded frames."""
    packets = 0
    try:
      for packet in self._stream.container.demux(self._stream):
        packets += packet.size > 0
        yield from self._decode(packet)
    except self._av.error.FFmpegError as error:
      self.faults.append(f'after packet {packets}: cannot be read on ({error})')
    missing = len(_index(self._stream)) - packets
    if missing > 0:
      self.faults += [
        f'packet {packets + i}: is missing, the file ends early'
        for i in range(missing)
      ]

  def _decode(self, packet: Any) -> Iterator[Any]:
    try:
      frames = packet.decode()
    except self._av.error.FFmpegError as error:
      self._broken |= not packet.is_disposable
      self.faults.append(
        f'frame at {_seconds(packet)}: cannot be decoded ({error.strerror})'
      )
      return
    for frame in frames:
      if frame.is_corrupt:
        self._broken = True
        self.faults.append(f'frame at {_seconds(frame)}: is damaged')
      elif self._broken and not frame.key_frame:
        self.faults.append(
          f'frame at {_seconds(frame)}: is made from one that is damaged'
        )
      else:
        self._broken = False
        yield frame


def open_container(av: Any, path: pathlib.Path) -> Any:
  """Opens a file for reading.

  Args:
    av: PyAV.
    path: the file.

  Returns:
    PyAV's container, a context manager.

  Raises:
    VideoError: if there is no such file, or it is not what it should be.
  """
  if not path.exists():
    raise VideoError(
      f'{path}: there is no such file; wanted a video, a folder of pictures '
      "or 'webcam:N'"
    )
  if path.is_file() and not path.stat().st_size:
    raise VideoError(f'{path}: is empty; get or record it again')
  try:
    # Tags that are no UTF-8 are no reason to refuse a film.
    return av.open(str(path), metadata_errors='replace')
  except av.error.InvalidDataError as error:
    raise VideoError(
      f'{path}: is no video, or one that was never finished ({error.strerror}) '
      f'and has lost its index; record it again, or {_RE_ENCODE}'
    ) from error
  except (OSError, av.error.FFmpegError) as error:
    raise VideoError(
      f'{path}: cannot be read ({error}); check the file and the rights to it'
    ) from error


def video_stream(container: Any, path: pathlib.Path) -> Any:
  """The stream of moving pictures of a container.

  Args:
    container: of `open_container`.
    path: its name in errors.

  Returns:
    PyAV's stream.

  Raises:
    VideoError: if there is none that can be decoded.
  """
  streams = _films(container)
  if not streams:
    held = 'only sound' if container.streams.audio else 'no moving picture'
    raise VideoError(f'{path}: holds {held}; a driver needs pictures')
  for stream in streams:
    if stream.codec_context is not None:
      return stream
  raise VideoError(
    f'{path}: its codec is not known to this build of FFmpeg; {_RE_ENCODE}'
  )


def _films(container: Any) -> list[Any]:
  """Streams of moving pictures: the cover of a record is none."""
  return [
    stream
    for stream in container.streams.video
    if 'attached_pic' not in str(stream.disposition.name)
  ]


def first_picture_s(av: Any, path: pathlib.Path) -> fractions.Fraction:
  """When the first good picture of a file is shown, by the file's own clock.

  Args:
    av: PyAV.
    path: the file.

  Returns:
    Seconds; 0 if there are no pictures.

  Raises:
    VideoError: if the file cannot be read.
  """
  with open_container(av, path) as container:
    if not any(stream.codec_context for stream in _films(container)):
      return fractions.Fraction(0)
    stream = video_stream(container, path)
    frame = next(_Decoder(av, stream).frames(), None)
    stamp = None if frame is None else stamp_of(frame)
    return stamp or fractions.Fraction(0)


def mean_fps(stream: Any) -> fractions.Fraction:
  """Frames a second of a stream; 25 where it says nothing sensible."""
  for rate in (stream.average_rate, stream.guessed_rate, stream.base_rate):
    try:
      return exact_fps(rate or 0)
    except VideoError:
      continue
  return DEFAULT_FPS


def _index(stream: Any) -> list[Any]:
  """Entries of the index for every frame; empty if there is none.

  Where a film was trimmed without being encoded again, its header still
  counts the frames that were cut off. The index does not.
  """
  # Some kinds of file index key frames only, and have no count of frames.
  return list(getattr(stream, 'index_entries', ())) if stream.frames else []


def _count(stream: Any) -> int | None:
  """How many frames are shown, as far as the file tells."""
  shown = sum(not entry.is_discard for entry in _index(stream))
  return shown or stream.frames or None


def display_matrix(frame: Any) -> np.ndarray:
  """How a frame is to be turned: [2, 2] float64, identity if it says nothing.

  Args:
    frame: decoded by PyAV.

  Returns:
    Rows are the coded picture's x and y direction as they are shown, x right
    and y down (ISO/IEC 14496-12, 8.3.2: (p, q) shown at (p, q) @ matrix).
  """
  for data in frame.side_data:
    if data.type.name == 'DISPLAYMATRIX':
      fixed = np.frombuffer(bytes(data), np.int32).reshape(3, 3)
      return fixed[:2, :2] / 2.0**16
  return np.eye(2)


def upright(image: np.ndarray, matrix: np.ndarray) -> np.ndarray:
  """Turns and mirrors a picture by the nearest of the eight ways.

  Args:
    image: [H, W, 3].
    matrix: [2, 2] of `display_matrix`.

  Returns:
    A view, [H, W, 3] or [W, H, 3].
  """
  x_shown, y_shown = matrix
  if abs(x_shown[1]) > abs(x_shown[0]):
    image = image.transpose(1, 0, 2)
    x_shown, y_shown = y_shown, x_shown
  return image[:: -1 if y_shown[1] < 0 else 1, :: -1 if x_shown[0] < 0 else 1]


def stamp_of(frame: Any) -> fractions.Fraction | None:
  """When PyAV's frame or packet is shown, seconds; None if it does not say."""
  if frame.pts is None or frame.time_base is None:
    return None
  return frame.pts * frame.time_base


def _seconds(item: Any) -> str:
  """When a frame or packet is shown, in words."""
  stamp = stamp_of(item)
  return 'an unknown time' if stamp is None else f'{float(stamp):.3f} s'
