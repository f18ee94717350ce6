"""Folders of frames to read, and animations read back."""

from __future__ import annotations

import numpy as np
from PIL import Image


def write_frames(folder, values, size):
  """Writes square pictures of one grey each; returns the folder."""
  folder.mkdir(parents=True)
  for i, value in enumerate(values):
    picture = Image.new('RGB', (size, size), (value,) * 3)
    picture.save(folder / f'{i:03d}.png')
  return folder


def read_gif(path):
  """Frames, their durations in milliseconds, and how often it loops."""
  with Image.open(path) as image:
    frames, durations = [], []
    for i in range(image.n_frames):
      image.seek(i)
      frames.append(np.asarray(image.convert('RGB')))
      durations.append(image.info['duration'])
    return frames, durations, image.info.get('loop')
