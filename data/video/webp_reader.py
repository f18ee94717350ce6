"""Reads animated WebP by Pillow: FFmpeg does not decode it everywhere."""

from __future__ import annotations

import fractions
import itertools
import os
import pathlib
import struct
from collections.abc import Iterator

import numpy as np
from PIL import Image

from data import picture_codec
from data.video.base import VideoError
from data.video.frames import DEFAULT_FPS, VideoFrame, VideoReader

# Where a frame's duration stands behind its position and size, and how long it
# is (WebP container specification, "ANMF chunk").
_DURATION = slice(12, 15)
# For a frame that names no time, so that time goes on. Browsers choose longer:
# they show anything up to 10 ms for 100.
_LEAST_MS = 10


class WebpReader(VideoReader):
  """Frames of a WebP file, laid on white where they are transparent."""

  def __init__(self, path: str | os.PathLike):
    """Reads the durations; see `open_video`."""
    self._path = pathlib.Path(path)
    try:
      durations = _durations_ms(self._path)
    except OSError as error:
      raise VideoError(
        f'{path}: cannot be read ({error}); check the file and the rights to it'
      ) from error
    total = sum(durations)
    try:
      with Image.open(self._path, formats=['WEBP']) as picture:
        size = picture.size
        picture.load()
    except Exception as error:
      raise _broken(self._path, error) from error
    super().__init__(
      str(self._path),
      fps=fractions.Fraction(1000 * len(durations), total)
      if len(durations) > 1
      else DEFAULT_FPS,
      size=size,
      num_frames=len(durations),
    )
    starts = itertools.accumulate(durations[:-1], initial=0)
    self._times = [start / 1000 for start in starts]

  def _frames(self) -> Iterator[VideoFrame]:
    try:
      opened = Image.open(self._path, formats=['WEBP'])
    except Exception as error:
      raise _broken(self._path, error) from error
    with opened as picture:
      for index, time_s in enumerate(self._times):
        try:
          picture.seek(index)
          image = np.asarray(picture_codec.put_on(picture))
        # Every frame is made from the one before: none can follow.
        except Exception as error:
          for lost in range(index, len(self._times)):
            self._skip(f'frame {lost}: cannot be decoded ({error})')
          return
        yield VideoFrame(index, time_s, image)


def is_animated(path: str | os.PathLike) -> bool:
  """Whether a file is a WebP of several frames; reads its headers only."""
  try:
    return len(_durations_ms(pathlib.Path(path))) > 1
  except (VideoError, OSError):
    return False


def _durations_ms(path: pathlib.Path) -> list[int]:
  """How long each frame is shown; one entry for a still picture."""
  durations = []
  with open(path, 'rb') as file:
    if file.read(4) != b'RIFF' or file.read(8)[4:] != b'WEBP':
      raise _broken(path, 'it does not begin as one')
    while len(header := file.read(8)) == 8:
      name, length = struct.unpack('<4sI', header)
      content = file.read(16) if name == b'ANMF' else b''
      if name == b'ANMF':
        duration = int.from_bytes(content[_DURATION], 'little')
        durations.append(max(_LEAST_MS, duration))
      # Chunks are padded to even length.
      file.seek(length + length % 2 - len(content), os.SEEK_CUR)
  return durations or [_LEAST_MS]


def _broken(path: pathlib.Path, reason: object) -> VideoError:
  return VideoError(
    f'{path}: is no WebP picture, or a damaged one ({reason}); get it again, '
    'or convert it to H.264 in MP4'
  )
