"""Changes of size: bilinear, nearest, average."""

from __future__ import annotations

import functools

import jax
import jax.numpy as jnp
import numpy as np


def resize_bilinear(
  x: jax.Array, size: tuple[int, int], *, align_corners: bool = False
) -> jax.Array:
  """Resizes bilinearly without antialiasing (PyTorch's `interpolate`).

  Args:
    x: [B, h, w, C].
    size: (H, W) of the result.
    align_corners: whether the centres of the outermost pixels stay where they
      are (True), or the outer edges (False).

  Returns:
    [B, H, W, C], dtype of x.
  """
  height, width = x.shape[1:3]
  if size == (height, width):
    return x
  if not align_corners and (height, width) == (2 * size[0], 2 * size[1]):
    return average_pool(x, 2)  # the same numbers
  # Products with constant matrices: exact on every device, and the one form
  # that converts to ONNX with a symbolic batch.
  rows = _matrix(height, size[0], align_corners).astype(x.dtype)
  columns = _matrix(width, size[1], align_corners).astype(x.dtype)
  highest = jax.lax.Precision.HIGHEST
  x = jnp.einsum('bhwc,Hh->bHwc', x, rows, precision=highest)
  return jnp.einsum('bHwc,Ww->bHWc', x, columns, precision=highest)


def upsample_nearest(x: jax.Array, factor: int) -> jax.Array:
  """Repeats every pixel: [B, h, w, C] -> [B, h * factor, w * factor, C]."""
  return jnp.repeat(jnp.repeat(x, factor, axis=1), factor, axis=2)


def average_pool(x: jax.Array, factor: int) -> jax.Array:
  """Mean of blocks of pixels; a remainder at the end is dropped.

  Args:
    x: [B, H, W, C].
    factor: side of a block, which is also the stride.

  Returns:
    [B, H // factor, W // factor, C], dtype of x.
  """
  height, width = (size // factor for size in x.shape[1:3])
  x = x[:, : height * factor, : width * factor]
  x = x.reshape(-1, height, factor, width, factor, x.shape[-1])
  return x.mean((2, 4))


@functools.cache
def _matrix(source: int, target: int, align_corners: bool) -> np.ndarray:
  """[target, source] weights of a bilinear resize along one axis."""
  index = np.arange(target)
  if align_corners:
    position = index * (source - 1) / max(target - 1, 1)
  else:
    position = (index + 0.5) * source / target - 0.5
  position = np.clip(position, 0, source - 1)
  distance = np.abs(position[:, None] - np.arange(source))
  return np.maximum(1 - distance, 0).astype(np.float32)
