"""Writes a folder of numbered PNG, transparency and all."""

from __future__ import annotations

import contextlib
import fractions
import json
import os
import pathlib
import re
import shutil

import numpy as np
from absl import logging
from PIL import Image

from data import files
from data.layout import MANIFEST_NAME
from data.video.base import Color, VideoError, VideoWriter, temporary_path

_FORMAT = 'png_frames'
_FRAME_NAME = re.compile(r'\d{6,}\.png')


def check_png_folder(path: str | os.PathLike) -> None:
  """Checks, before any work, that a folder of PNG may stand here.

  Args:
    path: the folder; absent, empty, or written by `PngFolderWriter`.

  Raises:
    VideoError: if something is there that would be lost.
  """
  path = pathlib.Path(path)
  if not path.exists():
    return
  if not path.is_dir():
    raise VideoError(f'{path}: a file is in the way of this folder of pictures')
  names = sorted(entry.name for entry in path.iterdir())
  strangers = [
    name
    for name in names
    if name != MANIFEST_NAME and not _FRAME_NAME.fullmatch(name)
  ]
  if strangers or (names and not _is_ours(path)):
    raise VideoError(
      f'{path}: holds other data ({(strangers or names)[0]}) and is left '
      'alone; choose another output folder'
    )


def _is_ours(path: pathlib.Path) -> bool:
  try:
    manifest = json.loads((path / MANIFEST_NAME).read_bytes())
  except (OSError, ValueError):
    return False
  return isinstance(manifest, dict) and manifest.get('format') == _FORMAT


class PngFolderWriter(VideoWriter):
  """Writes `000000.png`, `000001.png` ... and a `manifest.json`.

  The manifest holds the frame rate, which PNG cannot. An earlier folder of
  this writer is replaced when the new one is complete; a folder that holds
  anything else is refused. Memory holds one frame.

  A sequence that ends early is kept as `<folder>.partial`, which the error's
  notes and the log name.
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
    """Claims the folder; see `open_video_writer`."""
    super().__init__(path, fps, size, background=background)
    check_png_folder(self.path)
    self._built = self.path.with_name(f'{self.path.name}.partial')
    check_png_folder(self._built)
    # What an earlier failure has left.
    shutil.rmtree(self._built, ignore_errors=True)
    try:
      self._built.mkdir()
      self._write_manifest()
    except OSError as error:
      raise VideoError(f'{self.path}: cannot be written ({error})') from error

  def _write(self, frame: np.ndarray) -> None:
    path = self._built / f'{self.frame_count:06d}.png'
    # Sequences are read once and thrown away: speed before size.
    try:
      Image.fromarray(frame).save(path, 'PNG', compress_level=3)
    except OSError as error:
      raise VideoError(
        f'{self.path}: frame {self.frame_count} cannot be written ({error}); '
        'see whether the disk is full'
      ) from error

  def _write_manifest(self) -> None:
    # From the start, so that what a failure leaves is known to be ours.
    width, height = self._size or (None, None)
    manifest = {
      'format': _FORMAT,
      'frames': self.frame_count,
      'fps': str(self.fps),
      'width': width,
      'height': height,
    }
    files.write_json(self._built / MANIFEST_NAME, manifest)

  def _finish(self) -> None:
    if not self.frame_count:
      shutil.rmtree(self._built)
      return
    try:
      self._write_manifest()
      files.put_folder(self._built, self.path, temporary_path(self.path))
    except OSError as error:
      raise VideoError(
        f'{self.path}: cannot be put in its place ({error}); its frames are '
        f'in {self._built}'
      ) from error

  def _discard(self, error: BaseException) -> None:
    if not self.frame_count:
      shutil.rmtree(self._built, ignore_errors=True)
      return
    # Where the disk is full, what the manifest said before stays.
    with contextlib.suppress(OSError):
      self._write_manifest()
    text = f'{self.frame_count} finished frames are kept in {self._built}'
    logging.warning('%s', text)
    error.add_note(text)
