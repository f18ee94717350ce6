"""Writes animated WebP: many colours, soft transparency, small files."""

from __future__ import annotations

import fractions
import itertools
import os
from collections.abc import Iterator
from typing import Any

import numpy as np
from PIL import Image

from data import files
from data.video.base import Color, VideoWriter
from data.video.spool import FrameSpool

_QUALITY = 88
# 0 is fast, 6 is small.
_METHOD = 3


def frame_durations_ms(count: int, fps: fractions.Fraction) -> list[int]:
  """Whole milliseconds that add up to the true time within half of one."""
  edges = [round(1000 * i / fps) for i in range(count + 1)]
  return [max(1, end - start) for start, end in itertools.pairwise(edges)]


class WebpWriter(VideoWriter):
  """Collects frames on disk and hands them to the encoder one by one.

  Memory holds one frame and, while encoding, the compressed file.
  """

  keeps_alpha = True

  def __init__(
    self,
    path: str | os.PathLike,
    fps: float | fractions.Fraction,
    size: tuple[int, int] | None = None,
    *,
    background: Color = (255, 255, 255),
  ):
    """Opens the temporary file; see `open_video_writer`."""
    super().__init__(path, fps, size, background=background)
    self._spool = FrameSpool()

  def _write(self, frame: np.ndarray) -> None:
    self._spool.add(frame)

  def _discard(self, error: BaseException) -> None:
    self._spool.close()

  def _finish(self) -> None:
    try:
      if self.frame_count:
        self._save()
    finally:
      self._spool.close()

  def _save(self) -> None:
    pictures = (Image.fromarray(frame) for frame in self._spool)
    first = next(pictures)
    rest = _Sequence(pictures, self.frame_count - 1)
    with files.atomic_writer(self.path) as file:
      first.save(
        file,
        format='WEBP',
        save_all=True,
        append_images=[rest] if rest.n_frames else [],
        duration=frame_durations_ms(self.frame_count, self.fps),
        loop=0,
        quality=_QUALITY,
        method=_METHOD,
      )


class _Sequence:
  """Pictures that are made one by one, as one picture of many frames.

  Pillow makes a list of the pictures that it is to append, but seeks through
  the frames of each: so only one of ours is alive.
  """

  def __init__(self, pictures: Iterator[Image.Image], count: int):
    self.n_frames = count
    self._pictures = pictures
    self._current: Image.Image | None = None
    self._at = -1

  def seek(self, index: int) -> None:
    """Goes to a frame; only forwards, as the encoder does."""
    while self._at < index:
      self._current = next(self._pictures)
      self._at += 1

  def __getattr__(self, name: str) -> Any:
    return getattr(self._current, name)
