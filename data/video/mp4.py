"""Writes H.264 in MP4 by PyAV, an extra of the installation."""

from __future__ import annotations

import contextlib
import fractions
import os

import numpy as np

from data.video.audio import AudioTrack
from data.video.base import Color, VideoError, VideoWriter, temporary_path
from data.video.pyav import require_av

_CODEC = 'libx264'
# Visually lossless for drawn pictures, at a speed no slower than the drawing.
_OPTIONS = {'crf': '17', 'preset': 'veryfast'}
# ITU-T H.273: 1 is BT.709 for primaries, transfer and matrix alike, and
# "limited" for the range in libav's own count. Without these a player guesses
# from the height, and small pictures change their colours.
_BT709, _LIMITED = 1, 1


class Mp4Writer(VideoWriter):
  """Encodes each frame as it comes; memory does not grow with length.

  Colours are stored as yuv420p, which every player shows. It needs even
  sides: an odd picture gets one more column at the right or row at the bottom,
  a copy of its last. The index stands at the front of the file, so that a
  browser can play it while it loads. The sound of another file can come with
  it, see `AudioTrack`.
  """

  def __init__(
    self,
    path: str | os.PathLike,
    fps: float | fractions.Fraction,
    size: tuple[int, int] | None = None,
    *,
    background: Color = (255, 255, 255),
    audio_from: str | os.PathLike | None = None,
  ):
    """Opens a file under a temporary name; see `open_video_writer`."""
    super().__init__(path, fps, size, background=background)
    self._av = require_av('MP4')
    self._audio = audio_from and AudioTrack(self._av, audio_from)
    self._temporary = temporary_path(self.path)
    self._stream = None
    self._failures = (OSError, ValueError, self._av.error.FFmpegError)
    try:
      self._container = self._av.open(
        str(self._temporary),
        'w',
        format='mp4',
        options={'movflags': 'faststart'},
      )
    except self._failures as error:
      if self._audio:
        self._audio.close()
      raise VideoError(
        f'{self.path}: cannot be written ({error}); see whether the folder '
        'may be written to'
      ) from error

  def _write(self, frame: np.ndarray) -> None:
    height, width = frame.shape[:2]
    even = np.pad(frame, [(0, height % 2), (0, width % 2), (0, 0)], 'edge')
    self._stream = self._stream or self._new_stream(even)
    picture = self._av.VideoFrame.from_ndarray(even, 'rgb24').reformat(
      format='yuv420p', dst_colorspace='ITU709'
    )
    picture.pts = self.frame_count
    picture.time_base = 1 / self.fps
    self._encode(picture)
    self._add_sound(self.frame_count + 1)

  def _new_stream(self, frame: np.ndarray):
    try:
      stream = self._container.add_stream(
        _CODEC, rate=self.fps, options=dict(_OPTIONS)
      )
    except (self._av.error.FFmpegError, ValueError) as error:
      raise VideoError(
        f'{self.path}: this build of PyAV cannot encode H.264 ({error}); '
        "pip install --force-reinstall 'edtn-jax[video]', or choose another "
        'kind of file'
      ) from error
    stream.height, stream.width = frame.shape[:2]
    stream.pix_fmt = 'yuv420p'
    context = stream.codec_context
    context.colorspace = context.color_primaries = context.color_trc = _BT709
    context.color_range = _LIMITED
    if self._audio:
      self._audio.attach(self._container)
    return stream

  def _encode(self, picture) -> None:
    """Encodes a frame, or with None what the encoder still holds."""
    try:
      self._container.mux(self._stream.encode(picture))
    except self._av.error.FFmpegError as error:
      raise self._cannot_write(error) from error

  def _add_sound(self, frames: int) -> None:
    """Writes the sound up to the end of this many frames."""
    if not self._audio:
      return
    for packet in self._audio.until(frames / self.fps):
      try:
        self._container.mux(packet)
      except self._av.error.FFmpegError as error:
        raise self._cannot_write(error) from error

  def _cannot_write(self, error: Exception) -> VideoError:
    return VideoError(
      f'{self.path}: frame {self.frame_count} cannot be written ({error}); '
      'see whether the disk is full'
    )

  def _finish(self) -> None:
    try:
      if self.frame_count:
        self._encode(None)
        try:
          self._container.close()
          os.replace(self._temporary, self.path)
        except self._failures as error:
          raise VideoError(
            f'{self.path}: cannot be completed ({error}); see whether the disk '
            'is full, or a folder is in the way'
          ) from error
    finally:
      self._give_up()

  def _discard(self, error: BaseException) -> None:
    self._give_up()

  def _give_up(self) -> None:
    """Closes all files, and removes the temporary one if it is still there."""
    # What fails here would hide why it is given up.
    with contextlib.suppress(*self._failures):
      self._container.close()
    if self._audio:
      self._audio.close()
    with contextlib.suppress(OSError):
      self._temporary.unlink(missing_ok=True)
