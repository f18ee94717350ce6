"""Weights of the golden files: every tensor is drawn from its own name."""

from __future__ import annotations

import ast
import zlib
from collections.abc import Iterable

import numpy as np

from generator.fomm.blocks import band_limit_kernel


def draw(name: str, shape: tuple[int, ...]) -> np.ndarray:
  """One tensor in PyTorch's layout; fixed buffers are not drawn here."""
  random = np.random.RandomState(zlib.crc32(name.encode()))
  noise = random.standard_normal(shape).astype(np.float32)
  last = name.rsplit('.', 1)[-1]
  if last == 'num_batches_tracked':
    return np.zeros(shape, np.int64)
  if last == 'running_var':
    return 1 + 0.1 * np.abs(noise)
  if last in ('running_mean', 'bias'):
    return 0.1 * noise
  if len(shape) <= 1 or shape[1:] == (1, 1):
    return 1 + 0.1 * noise
  return noise / np.sqrt(np.prod(shape[1:])).astype(np.float32)


def draw_all(keys: Iterable[str]) -> dict[str, np.ndarray]:
  """A state dict from a golden file's `keys`, lines of `name (shape)`."""
  pairs = (str(key).split(' ', 1) for key in keys)
  return {name: draw(name, ast.literal_eval(shape)) for name, shape in pairs}


def draw_fomm(keys: Iterable[str]) -> dict[str, np.ndarray]:
  """As `draw_all`, with the constants of the first-order motion model."""
  kernel = np.broadcast_to(band_limit_kernel(4), (3, 1, 13, 13))
  arrays = draw_all(keys)
  return {k: kernel if '.down.weight' in k else x for k, x in arrays.items()}


def channels_last(images: np.ndarray) -> np.ndarray:
  """NCHW -> NHWC."""
  return np.moveaxis(images, 1, -1)
