"""One moving picture in several kinds of file at once."""

from __future__ import annotations

import contextlib
import os
import pathlib
from collections.abc import Sequence

import numpy as np
from PIL import Image

from data.video import open_video_writer
from edtn_jax.pictures import style
from edtn_jax.pictures.writing import BackgroundWriter

MEDIA = ('gif', 'mp4', 'webp', 'png')
# For web pages and messages; the others hold every frame.
_SHORT = ('gif', 'webp')


def media_name(stem: str, kind: str) -> str:
  """File name of a moving picture; PNG frames are a folder of that name."""
  return stem if kind == 'png' else f'{stem}.{kind}'


class MovingPicture:
  """Writes the frames of one stream as any of `MEDIA`.

  MP4 and PNG take every frame. GIF and WebP take one frame in so many, up to a
  limit, and play at the stream's speed all the same. Files are written in
  threads, while the next frames are drawn.

  Use as a context manager around the stream; files appear at its end.
  """

  def __init__(
    self,
    folder: str | os.PathLike,
    stem: str,
    kinds: Sequence[str],
    fps: float,
    *,
    every: int = 1,
    max_frames: int = 120,
    flat_colors: tuple[style.Color, ...] = style.FLAT_COLORS,
    audio_from: str | os.PathLike | None = None,
    overlap: bool = True,
  ):
    """Decides on names; nothing is opened yet.

    Args:
      folder: an existing folder.
      stem: name of the files, less the suffix.
      kinds: of `MEDIA`.
      fps: frames a second of the stream.
      every: GIF and WebP take one frame in so many.
      max_frames: GIF and WebP end after so many pictures.
      flat_colors: colours that the GIF must hold exactly.
      audio_from: file whose sound the MP4 gets.
      overlap: whether writing runs beside the caller's work; without, `add`
        returns when the frame is written.
    """
    self._paths = {
      kind: pathlib.Path(folder) / media_name(stem, kind) for kind in kinds
    }
    self._fps = fps
    self._every = every
    self._max_frames = max_frames
    self._flat_colors = flat_colors
    self._audio_from = audio_from
    self._overlap = overlap
    self._stack = contextlib.ExitStack()
    self._writers = {}

  def __enter__(self) -> MovingPicture:
    with contextlib.ExitStack() as stack:
      for kind, path in self._paths.items():
        writer = open_video_writer(
          path,
          self._fps / (self._every if kind in _SHORT else 1),
          background=style.MESH_BACKGROUND,
          flat_colors=self._flat_colors,
          audio_from=self._audio_from if kind == 'mp4' else None,
        )
        if self._overlap:
          writer = BackgroundWriter(writer)
        self._writers[kind] = stack.enter_context(writer)
      self._stack = stack.pop_all()
    return self

  def __exit__(self, *error) -> None:
    if error == (None, None, None):
      self.finish()
    self._stack.__exit__(*error)

  def finish(self) -> None:
    """Lets all files be completed at once; leaving the block waits for it."""
    if self._overlap:
      for writer in self._writers.values():
        writer.finish()

  def wants(self, index: int) -> bool:
    """Whether any file takes the frame of this number in the stream."""
    return any(self._takes(kind, index) for kind in self._writers)

  def add(self, index: int, picture: Image.Image | np.ndarray) -> None:
    """Gives a frame to the files that take it.

    Args:
      index: number of the frame in the stream; each once, in order.
      picture: RGB or RGBA, all of one size.
    """
    frame = np.asarray(picture)
    for kind, writer in self._writers.items():
      if self._takes(kind, index):
        writer.add(frame)

  def frame_counts(self) -> dict[str, int]:
    """Frames so far by file name."""
    return {
      writer.path.name: writer.frame_count for writer in self._writers.values()
    }

  def _takes(self, kind: str, index: int) -> bool:
    if kind not in _SHORT:
      return True
    left = self._max_frames - self._writers[kind].frame_count
    return left > 0 and index % self._every == 0
