"""L1, PSNR and SSIM of pictures: whole, eyes, mouth, and the rest.

Eyes and mouth are a few percent of a picture. Whoever ignores expressions and
copies the source has good numbers on the whole picture; the parts tell.
"""

from __future__ import annotations

import jax
import jax.numpy as jnp

from edtn_jax.evaluation.metrics.means import Weighted
from edtn_jax.losses import pictures

PARTS = ('eyes', 'mouth', 'rest')

# Equal pictures would have an infinite PSNR and spoil every mean: 100 dB.
_SMALLEST_ERROR = 1e-10


def picture_values(
  prediction: jax.Array,
  target: jax.Array,
  part_boxes: jax.Array,
  mask: jax.Array,
) -> dict[str, Weighted]:
  """Metrics of every sample, to be given to `Means.update`.

  Args:
    prediction: [B, H, W, 3] float in [0, 1].
    target: [B, H, W, 3] float in [0, 1].
    part_boxes: [B, 2, 4] float, boxes of the eyes and of the mouth in the
      target: x0, y0, x1, y1 as fractions of the picture.
    mask: [B] float, 1 for samples and 0 for filling.

  Returns:
    `l1`, `psnr` (dB) and `ssim`, of the whole picture and, as
    `<metric>_<part>`, of every part; values and weights [B]. A part without
    pixels (a box outside the picture) has no weight.
  """
  height, width = target.shape[1:3]
  masks = pictures.part_masks(part_boxes, height, width)
  masks = {'': jnp.ones_like(masks['rest']), **masks}
  difference = (prediction - target).astype(jnp.float32)
  absolute = jnp.abs(difference).mean(-1)
  square = jnp.square(difference).mean(-1)
  similarity = pictures.ssim_map(prediction, target)
  values = {}
  for part, pixels in masks.items():
    name = f'_{part}' if part else ''
    inner = pictures.window_centres(pixels)
    seen = mask * (pixels.sum((1, 2)) > 0)
    error = pictures.weighted_mean(square, pixels)
    values[f'l1{name}'] = pictures.weighted_mean(absolute, pixels), seen
    values[f'psnr{name}'] = (
      -10 * jnp.log10(jnp.maximum(error, _SMALLEST_ERROR)),
      seen,
    )
    values[f'ssim{name}'] = (
      pictures.weighted_mean(similarity, inner),
      mask * (inner.sum((1, 2)) > 0),
    )
  return values
