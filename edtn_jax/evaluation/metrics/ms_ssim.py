"""Multi-scale structural similarity."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np

from edtn_jax.losses.pictures import SSIM_SIGMA, SSIM_WINDOW
from generator.ops.resize import average_pool

# Wang, Simoncelli, Bovik: "Multiscale structural similarity for image quality
# assessment", Asilomar 2003, section 3.2; the finest scale first.
WEIGHTS = (0.0448, 0.2856, 0.3001, 0.2363, 0.1333)
_C1, _C2 = 0.01**2, 0.03**2


def num_scales(size: int) -> int:
  """How many scales hold a whole window: 5 from 176 pixels on, 4 from 88."""
  return sum(size >> i >= SSIM_WINDOW for i in range(len(WEIGHTS)))


def ms_ssim(prediction: jax.Array, target: jax.Array) -> jax.Array:
  """MS-SSIM of every sample.

  DEVIATION: a picture that is too small for five scales has as many as hold a
  window, their weights scaled to the sum 1; contrast terms below 0 count as 0,
  as everywhere. Test: `test_ms_ssim_of_one_scale_is_ssim`.

  Args:
    prediction: [B, H, W, C] float in [0, 1].
    target: [B, H, W, C] float in [0, 1].

  Returns:
    [B] float, 1 where the pictures are equal.

  Raises:
    ValueError: if the pictures are smaller than a window.
  """
  height, width = target.shape[1:3]
  count = num_scales(min(height, width))
  if not count:
    raise ValueError(
      f'MS-SSIM wants pictures of at least {SSIM_WINDOW} pixels, not '
      f'{height}x{width}'
    )
  weights = np.array(WEIGHTS[:count]) / sum(WEIGHTS[:count])
  result = 1.0
  for i, weight in enumerate(weights):
    if i:
      prediction, target = (average_pool(x, 2) for x in (prediction, target))
    luminance, contrast = _terms(prediction, target)
    # The luminance counts at the coarsest scale alone.
    term = contrast * luminance if i == count - 1 else contrast
    mean = jnp.maximum(term.mean((1, 2)), 0.0)
    result *= mean**weight
  return result.mean(-1)


def _terms(prediction, target) -> tuple[jax.Array, jax.Array]:
  """Luminance, and contrast with structure, [B, H - 10, W - 10, C]."""
  prediction, target = (x.astype(jnp.float32) for x in (prediction, target))
  moments = jnp.stack(
    [
      prediction,
      target,
      prediction * prediction,
      target * target,
      prediction * target,
    ]
  )
  height, width = prediction.shape[1:3]
  mean_p, mean_t, square_p, square_t, product = jnp.einsum(
    'ih,mbhwc,jw->mbijc',
    _window_matrix(height),
    moments,
    _window_matrix(width),
    # A variance is a difference of nearly equal numbers.
    precision=jax.lax.Precision.HIGHEST,
  )
  luminance = (2 * mean_p * mean_t + _C1) / (mean_p**2 + mean_t**2 + _C1)
  variances = square_p - mean_p**2 + square_t - mean_t**2
  contrast = (2 * (product - mean_p * mean_t) + _C2) / (variances + _C2)
  return luminance, contrast


def _window_matrix(size: int) -> np.ndarray:
  """[size - 10, size]: a Gaussian window for each centre."""
  distance = np.arange(SSIM_WINDOW) - SSIM_WINDOW // 2
  window = np.exp(-0.5 * (distance / SSIM_SIGMA) ** 2)
  count = size - SSIM_WINDOW + 1
  matrix = np.zeros((count, size))
  for i in range(count):
    matrix[i, i : i + SSIM_WINDOW] = window / window.sum()
  return matrix.astype(np.float32)
