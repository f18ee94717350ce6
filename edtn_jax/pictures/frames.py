"""The driving frames that belong to the codes, where there are any."""

from __future__ import annotations

import os
import pathlib

from absl import logging
from PIL import Image

_SUFFIXES = ('.png', '.jpg', '.jpeg', '.webp', '.bmp')


class FrameFolder:
  """Finds the picture of a frame by its name, whatever its suffix.

  Example:
    >>> FrameFolder('images/some_clip.mp4')('0000012.mat').size
    (256, 256)

  Attributes:
    folder: where the pictures are.
  """

  def __init__(self, folder: str | os.PathLike):
    """Lists the folder.

    Args:
      folder: holds pictures named like the frames.

    Raises:
      FileNotFoundError: if there is no such folder.
      ValueError: if it holds no picture.
    """
    self.folder = pathlib.Path(folder)
    if not self.folder.is_dir():
      raise FileNotFoundError(f'no folder of driving frames at {folder}')
    self._paths = {
      path.stem: path
      for path in sorted(self.folder.iterdir())
      if path.suffix.lower() in _SUFFIXES
    }
    if not self._paths:
      raise ValueError(
        f'{folder} holds no picture ({", ".join(_SUFFIXES)}); give the folder '
        'that holds the frames themselves'
      )

  def __call__(self, frame: str) -> Image.Image | None:
    """The picture of a frame.

    Args:
      frame: frame name, with or without a suffix.

    Returns:
      An RGB picture, or None when the folder has none of that name or the
      file is broken (which is logged).
    """
    path = self._paths.get(frame) or self._paths.get(pathlib.Path(frame).stem)
    if path is None:
      return None
    try:
      with Image.open(path) as image:
        return image.convert('RGB')
    except OSError as error:
      # A picture only illustrates; the codes are what counts.
      logging.warning('driving frame %s cannot be read: %s', path, error)
      return None
