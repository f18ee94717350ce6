"""Multi-scale structural similarity."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np

from edtn_jax.losses.pictures import SSIM_WINDOW, ssim_terms
from generator.ops.resize import average_pool

# Wang, Simoncelli, Bovik: "Multiscale structural similarity for image quality
# assessment", Asilomar 2003, section 3.2; the finest scale first.
WEIGHTS = (0.0448, 0.2856, 0.3001, 0.2363, 0.1333)


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
    luminance, contrast = ssim_terms(prediction, target)
    # The luminance counts at the coarsest scale alone.
    term = contrast * luminance if i == count - 1 else contrast
    mean = jnp.maximum(term.mean((1, 2)), 0.0)
    result *= mean**weight
  return result.mean(-1)
