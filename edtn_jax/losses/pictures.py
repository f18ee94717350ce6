"""How far a picture is from another, and a flow from the true one.

Every distance is per sample, [B], so that a caller can mask samples and so
that a batch may be cut into parts without changing the result. Pictures are
[B, H, W, C] float in [0, 1]. `weight` [B, H, W] says how much each pixel
counts; None counts all alike.
"""

from __future__ import annotations

import functools

import jax
import jax.numpy as jnp
import numpy as np

# Wang et al., "Image quality assessment", IEEE TIP 2004: window and constants
# for pictures of range 1.
SSIM_WINDOW = 11
SSIM_SIGMA = 1.5
_SSIM_C1 = 0.01**2
_SSIM_C2 = 0.03**2
# A difference of 13 grey levels of 255 is a change without any doubt.
CHANGE_SCALE = 0.05
# An unchanged pixel counts so much among what is to be painted, that a sample
# without a change has a distance too.
_UNCHANGED_WEIGHT = 0.02


def weighted_mean(
  values: jax.Array, weight: jax.Array | None = None
) -> jax.Array:
  """Mean over everything but the first axis.

  Args:
    values: [B, ...] float.
    weight: None, or broadcastable to `values`, 0 or more.

  Returns:
    [B] float; 0 for a sample whose weights are all 0.
  """
  axes = tuple(range(1, values.ndim))
  if weight is None:
    return values.mean(axes)
  total = jnp.broadcast_to(weight, values.shape).sum(axes)
  mean = (values * weight).sum(axes) / jnp.where(total > 0, total, 1.0)
  return jnp.where(total > 0, mean, 0.0)


def l1(
  prediction: jax.Array, target: jax.Array, weight: jax.Array | None = None
) -> jax.Array:
  """Mean absolute difference, [B]."""
  return weighted_mean(jnp.abs(prediction - target), _per_channel(weight))


def multi_scale_l1(
  prediction: jax.Array,
  target: jax.Array,
  weight: jax.Array | None = None,
  *,
  num_scales: int = 4,
) -> jax.Array:
  """Mean over scales of the L1 distance, each scale half of the one before.

  A coarse scale pulls a shape that is far from its place, where the finest
  one sees no overlap and gives no direction.

  Args:
    prediction: [B, H, W, C] float.
    target: [B, H, W, C] float.
    weight: [B, H, W] float or None.
    num_scales: number of sizes; H and W must be divisible by
      2**(num_scales - 1).

  Returns:
    [B] float.

  Raises:
    ValueError: if the size cannot be halved so often.
  """
  step = 2 ** (num_scales - 1)
  if prediction.shape[1] % step or prediction.shape[2] % step:
    raise ValueError(
      f'pictures of {prediction.shape[1]}x{prediction.shape[2]} cannot be '
      f'halved {num_scales - 1} times'
    )
  difference, total = prediction - target, 0.0
  for scale in range(num_scales):
    if scale:
      difference = _halve(difference)
      weight = None if weight is None else _halve(weight[..., None])[..., 0]
    total += weighted_mean(jnp.abs(difference), _per_channel(weight))
  return total / num_scales


def gradient_l1(
  prediction: jax.Array, target: jax.Array, weight: jax.Array | None = None
) -> jax.Array:
  """L1 distance of the differences between neighbours: lines, not tones.

  Args:
    prediction: [B, H, W, C] float.
    target: [B, H, W, C] float.
    weight: [B, H, W] float or None; a difference counts as its first pixel.

  Returns:
    [B] float, the sum of the horizontal and the vertical part.
  """
  difference = prediction - target
  across = jnp.abs(difference[:, :, 1:] - difference[:, :, :-1])
  down = jnp.abs(difference[:, 1:] - difference[:, :-1])
  weight = _per_channel(weight)
  if weight is None:
    return weighted_mean(across) + weighted_mean(down)
  return weighted_mean(across, weight[:, :, :-1]) + weighted_mean(
    down, weight[:, :-1]
  )


def ssim_terms(
  prediction: jax.Array, target: jax.Array
) -> tuple[jax.Array, jax.Array]:
  """The two factors of SSIM, around every centre of a window.

  Source: Wang et al., "Image quality assessment", IEEE TIP 2004, equations 6
  and 13: a Gaussian window of 11 pixels, constants for pictures of range 1.

  Args:
    prediction: [B, H, W, C] float in [0, 1], H and W at least 11.
    target: [B, H, W, C] float in [0, 1].

  Returns:
    Luminance, and contrast with structure, [B, H - 10, W - 10, C] float32; 1
    where the windows are equal.

  Raises:
    ValueError: if the pictures are smaller than the window.
  """
  height, width = prediction.shape[1:3]
  if min(height, width) < SSIM_WINDOW:
    raise ValueError(
      f'SSIM wants pictures of at least {SSIM_WINDOW} pixels, not '
      f'{height}x{width}'
    )
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
  # Two small matrix products instead of a convolution with one channel, which
  # no backend does well. A variance is a difference of nearly equal numbers:
  # full precision.
  blurred = jnp.einsum(
    'ih,mbhwc,jw->mbijc',
    _blur_matrix(height),
    moments,
    _blur_matrix(width),
    precision=jax.lax.Precision.HIGHEST,
  )
  mean_p, mean_t, square_p, square_t, product = blurred
  covariance = product - mean_p * mean_t
  variances = square_p - mean_p**2 + square_t - mean_t**2
  luminance = (2 * mean_p * mean_t + _SSIM_C1) / (
    mean_p**2 + mean_t**2 + _SSIM_C1
  )
  structure = (2 * covariance + _SSIM_C2) / (variances + _SSIM_C2)
  return luminance, structure


def ssim_map(prediction: jax.Array, target: jax.Array) -> jax.Array:
  """Structural similarity around every pixel that has a whole window.

  Source: Wang et al. 2004, equation 13: 11x11 Gaussian window of sigma 1.5,
  K1 = 0.01, K2 = 0.03, each channel on its own, mean over channels.

  Args:
    prediction: [B, H, W, C] float in [0, 1], H and W at least 11.
    target: [B, H, W, C] float in [0, 1].

  Returns:
    [B, H - 10, W - 10] float in [-1, 1]; 1 where the windows are equal.

  Raises:
    ValueError: if the pictures are smaller than the window.
  """
  luminance, structure = ssim_terms(prediction, target)
  return (luminance * structure).mean(-1)


def ssim(
  prediction: jax.Array, target: jax.Array, weight: jax.Array | None = None
) -> jax.Array:
  """Mean of `ssim_map`, [B]; weights are those of the windows' centres."""
  return weighted_mean(
    ssim_map(prediction, target),
    None if weight is None else window_centres(weight),
  )


def window_centres(values: jax.Array) -> jax.Array:
  """The pixels that are centres of `ssim_map`'s windows.

  Args:
    values: [B, H, W].

  Returns:
    [B, H - 10, W - 10].
  """
  margin = SSIM_WINDOW // 2
  return values[:, margin:-margin, margin:-margin]


def flow_distance(
  flow: jax.Array, true_flow: jax.Array, weight: jax.Array
) -> jax.Array:
  """Mean end-point error.

  Args:
    flow: [B, h, w, 2] float, pixels of its own grid, (x, y).
    true_flow: [B, h, w, 2] float, likewise.
    weight: [B, h, w] float, 0 where the truth is not known.

  Returns:
    [B] float, pixels; 0 for a sample without any known pixel.
  """
  square = jnp.square(flow - true_flow).sum(-1)
  # The root's gradient is infinite at zero, where background starts.
  return weighted_mean(jnp.sqrt(square + 1e-6) - 1e-3, weight)


def change(before: jax.Array, after: jax.Array) -> jax.Array:
  """How surely a pixel differs between two pictures, [B, H, W] in [0, 1]."""
  difference = jnp.abs(after - before).mean(-1)
  return jnp.clip(difference / CHANGE_SCALE, 0, 1)


def painted_distance(
  painted: jax.Array, target: jax.Array, changed: jax.Array
) -> jax.Array:
  """L1 distance where something has to be painted at all.

  Args:
    painted: [B, H, W, C] float, before it is blended.
    target: [B, H, W, C] float.
    changed: [B, H, W] float in [0, 1], where the target differs from what is
      there already.

  Returns:
    [B] float.
  """
  return l1(painted, target, changed + _UNCHANGED_WEIGHT)


def share_distance(
  share: jax.Array, changed: jax.Array, weight: jax.Array | None = None
) -> jax.Array:
  """Cross entropy of a blend's mask against where something changes.

  Args:
    share: [B, H, W, 1] float in (0, 1), of the painted picture in the result.
    changed: [B, H, W] float in [0, 1].
    weight: [B, H, W] float or None.

  Returns:
    [B] float in nats.
  """
  # Sigmoids reach 0 and 1 in float32.
  share = jnp.clip(share[..., 0], 1e-6, 1 - 1e-6)
  entropy = changed * jnp.log(share) + (1 - changed) * jnp.log1p(-share)
  return -weighted_mean(entropy, weight)


def box_mask(boxes: jax.Array, height: int, width: int) -> jax.Array:
  """Which pixels have their centre in a box.

  Args:
    boxes: [..., 4] float, x0, y0, x1, y1 as fractions of the picture.
    height: of the picture, pixels.
    width: of the picture, pixels.

  Returns:
    [..., height, width] float32, 1 inside and 0 outside.
  """
  x = (np.arange(width, dtype=np.float32) + 0.5) / width
  y = (np.arange(height, dtype=np.float32) + 0.5) / height
  x0, y0, x1, y1 = (boxes[..., i, None] for i in range(4))
  columns = (x >= x0) & (x < x1)
  rows = (y >= y0) & (y < y1)
  return (rows[..., :, None] & columns[..., None, :]).astype(jnp.float32)


def part_masks(
  part_boxes: jax.Array, height: int, width: int
) -> dict[str, jax.Array]:
  """Pixels of every part.

  Args:
    part_boxes: [B, 2, 4] float, boxes of the eyes and of the mouth:
      x0, y0, x1, y1 as fractions of the picture.
    height: of the picture, pixels.
    width: of the picture, pixels.

  Returns:
    By part, [B, height, width] float32 of 0 and 1; `rest` is what is in
    neither box.
  """
  boxes = box_mask(part_boxes, height, width)
  eyes, mouth = boxes[:, 0], boxes[:, 1]
  return {'eyes': eyes, 'mouth': mouth, 'rest': 1 - jnp.maximum(eyes, mouth)}


def _per_channel(weight: jax.Array | None) -> jax.Array | None:
  return None if weight is None else weight[..., None]


def _halve(x: jax.Array) -> jax.Array:
  """Means of 2x2 pixels, [B, H, W, C] -> [B, H/2, W/2, C]."""
  batch, height, width, channels = x.shape
  cells = x.reshape(batch, height // 2, 2, width // 2, 2, channels)
  return cells.mean((2, 4))


@functools.cache
def _blur_matrix(size: int) -> np.ndarray:
  """[size - 10, size] float32: row i weighs the window that starts at i."""
  offsets = np.arange(SSIM_WINDOW) - SSIM_WINDOW // 2
  window = np.exp(-0.5 * (offsets / SSIM_SIGMA) ** 2)
  matrix = np.zeros((size - SSIM_WINDOW + 1, size))
  for start, row in enumerate(matrix):
    row[start : start + SSIM_WINDOW] = window / window.sum()
  return matrix.astype(np.float32)
