"""One function that opens a writer for any kind of moving picture."""

from __future__ import annotations

import fractions
import os
import pathlib

from data.video.base import Color, VideoError, VideoWriter
from data.video.gif import GifWriter
from data.video.mp4 import Mp4Writer
from data.video.png_folder import PngFolderWriter
from data.video.webp import WebpWriter

_KINDS = {
  '.gif': GifWriter,
  '.mp4': Mp4Writer,
  '.webp': WebpWriter,
  '': PngFolderWriter,
}


def open_video_writer(
  path: str | os.PathLike,
  fps: float | fractions.Fraction,
  size: tuple[int, int] | None = None,
  *,
  background: Color = (255, 255, 255),
  flat_colors: tuple[Color, ...] = (),
  audio_from: str | os.PathLike | None = None,
) -> VideoWriter:
  """Opens a moving picture for writing; its name says the kind.

  - `x.mp4`: H.264, needs the extra `[video]`. No transparency: frames are laid
    on the background. Memory is bounded.
  - `x.gif`: 255 colours for the whole. No transparency. Frames wait on disk;
    encoding holds all of them at a byte a pixel.
  - `x.webp`: lossy, transparency kept. Frames wait on disk; encoding holds one
    and the compressed file.
  - `x`: a folder of `000000.png`, `000001.png` ... with transparency. Memory is
    bounded.

  Example:
    >>> with open_video_writer('out.mp4', 25) as writer:
    ...   for frame in frames:  # uint8 [H, W, 3] or [H, W, 4]
    ...     writer.add(frame)

  Args:
    path: `.mp4`, `.gif`, `.webp`, or a folder without a suffix; the folder
      around it must exist.
    fps: frames a second, 0.001 to 1000.
    size: (width, height) that every frame must have; None takes that of the
      first frame.
    background: colour under transparent frames where transparency is lost.
    flat_colors: colours that a GIF must hold exactly; the other kinds hold
      every colour.
    audio_from: a file whose sound comes into an MP4, from that file's first
      picture on and as long as the frames last; nothing if it has none.

  Returns:
    The writer, a context manager; see `VideoWriter`.

  Raises:
    VideoError: if the name, the rate or the folder cannot be used, the extra
      is missing, or sound is asked for where there is none.
  """
  path = pathlib.Path(path)
  kind = _KINDS.get(path.suffix.lower())
  if kind is None:
    known = ', '.join(suffix for suffix in _KINDS if suffix)
    raise VideoError(
      f'{path}: no moving picture is called *{path.suffix}; use one of '
      f'{known}, or a folder without a suffix for numbered PNG'
    )
  if not path.parent.is_dir():
    raise VideoError(f'{path}: there is no folder {path.parent}')
  if kind is not PngFolderWriter and path.is_dir():
    raise VideoError(f'{path}: a folder is in the way of this file')
  if kind is Mp4Writer:
    return Mp4Writer(
      path, fps, size, background=background, audio_from=audio_from
    )
  if audio_from is not None:
    raise VideoError(
      f'{path}: of moving pictures only *.mp4 holds sound; leave out '
      f'audio_from={os.fspath(audio_from)!r}, or write an MP4'
    )
  if kind is GifWriter:
    return GifWriter(
      path, fps, size, background=background, flat_colors=flat_colors
    )
  return kind(path, fps, size, background=background)
