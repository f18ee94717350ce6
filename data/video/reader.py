"""One function that opens anything that can drive a face."""

from __future__ import annotations

import fractions
import os
import pathlib
import re

from data.video import camera
from data.video.base import VideoError
from data.video.file_reader import FileReader
from data.video.frames import VideoFrame, VideoReader
from data.video.picture_reader import PictureFolderReader
from data.video.webp_reader import WebpReader

__all__ = ['VideoFrame', 'VideoReader', 'open_video']

_CAMERA = re.compile(r'webcam:(\d+)')


def open_video(
  source: str | os.PathLike,
  *,
  fps: float | fractions.Fraction | None = None,
) -> VideoReader:
  """Opens a video file, a folder of pictures or a camera for reading.

  Files and cameras need the extra `[video]`.

  Example:
    >>> with open_video('clip.mp4') as reader:
    ...   for frame in reader:
    ...     show(frame.image, at=frame.time_s)  # uint8 [H, W, 3] RGB

  Args:
    source: path of a file in any format that FFmpeg reads; of a folder of
      *.png, *.jpg, *.webp or *.bmp, taken in counting order; or `webcam:N`,
      the N-th camera from 0.
    fps: pictures a second of a folder, which has no rate of its own; None
      takes that of the manifest our writer leaves, else 25.

  Returns:
    The reader, a context manager; see `VideoReader`.

  Raises:
    VideoError: if the source is not there, is no moving picture, has not one
      frame that can be decoded, or the extra is missing.
  """
  found = _CAMERA.fullmatch(os.fspath(source))
  path = pathlib.Path(source)
  is_folder = not found and path.is_dir()
  if fps is not None and not is_folder:
    raise VideoError(
      f'{source}: has a rate of its own, so fps={fps} cannot be given; leave '
      'it out. Only a folder of pictures takes one'
    )
  if found:
    return camera.CameraReader(int(found[1]))
  if is_folder:
    return PictureFolderReader(path, fps)
  if path.suffix.lower() == '.webp' and path.is_file():
    return WebpReader(path)
  return FileReader(path)
