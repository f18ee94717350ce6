"""Bilinear warps, with the corner convention and the padding spelled out.

A position is in pixels (0 is the centre of the first pixel) or normalised to
[-1, 1]. `align_corners` says what -1 and 1 are: the centres of the outermost
pixels (True) or their outer edges (False). Mixing the two moves the picture,
which is why every function asks.

A sample is four gathers from flattened pixels, blended in float32, with JAX's
own gradient. `python -m launch.benchmark --only=warp` compares forms; time of
one CPU core in ms, forward / gradient of the positions / of both:

| batch x size        | four gathers     | one of 4 C channels | products      |
| ------------------- | ---------------- | ------------------- | ------------- |
| 1 x  64 x  64 x 64  | 0.1 / 2.8 / 3.8  | 0.4 / 5.0 / 6.3     | 69/156/249    |
| 8 x  64 x  64 x 64  | 0.5 / 33 / 89    | 40 / 81 / 117       | 607/1249/1959 |
| 1 x 128 x 128 x 32  | 0.3 / 6.4 / 9.5  | 1.2 / 13 / 17       | 421/839/1356  |
| 8 x 128 x 128 x 32  | 2.4 / 66 / 167   | 81 / 168 / 258      | -             |
| 1 x 256 x 256 x  3  | 0.9 / 9.6 / 13   | 0.7 / 15 / 16       | -             |
| 8 x 256 x 256 x  3  | 7.4 / 47 / 107   | 29 / 93 / 115       | -             |

Gradients written by hand (gathering again instead of keeping the neighbours,
or one scatter for all four) differed by less than two equal runs.
"""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np

from generator.ops.resize import resize_bilinear

PADDINGS = ('border', 'zeros')


def identity_grid(
  height: int, width: int, *, align_corners: bool
) -> np.ndarray:
  """Normalised position of every pixel.

  Args:
    height: rows.
    width: columns.
    align_corners: whether -1 and 1 are centres or edges of the outermost
      pixels. A single pixel lies at -1 with aligned corners (as PyTorch's
      `linspace` has it) and at 0 without.

  Returns:
    [height, width, 2] float32 in [-1, 1], (x, y).
  """

  def axis(size):
    if align_corners:
      return np.linspace(-1, 1, size)
    return (2 * np.arange(size) + 1) / size - 1

  grid = np.meshgrid(axis(width), axis(height))
  return np.stack(grid, -1).astype(np.float32)


def flow_to_deformation(flow: jax.Array, *, align_corners: bool) -> jax.Array:
  """Adds a flow to the identity grid.

  Args:
    flow: [..., h, w, 2] in pixels of its own grid, (x, y), backward: where
      each pixel of the result comes from, relative to itself.
    align_corners: convention of the result.

  Returns:
    [..., h, w, 2] normalised positions, for `grid_sample`.
  """
  height, width = _check_last_axis(flow, 'flow')
  scale = _pixels_per_unit(height, width, align_corners)
  grid = identity_grid(height, width, align_corners=align_corners)
  return grid + flow / scale


def deformation_to_flow(
  deformation: jax.Array, *, align_corners: bool
) -> jax.Array:
  """Inverse of `flow_to_deformation`: [..., h, w, 2] in pixels."""
  height, width = _check_last_axis(deformation, 'deformation')
  scale = _pixels_per_unit(height, width, align_corners)
  grid = identity_grid(height, width, align_corners=align_corners)
  return (deformation - grid) * scale


def grid_sample(
  image: jax.Array,
  grid: jax.Array,
  *,
  align_corners: bool,
  padding: str = 'border',
) -> jax.Array:
  """Samples an image at normalised positions, bilinearly.

  Args:
    image: [B, H, W, C].
    grid: [B, h, w, 2], (x, y); [-1, 1] is inside.
    align_corners: what -1 and 1 are, see above.
    padding: what lies outside, `'border'` (the nearest pixel) or `'zeros'`.

  Returns:
    [B, h, w, C], dtype of the image. Positions are computed in float32.

  Raises:
    ValueError: if the padding is unknown or the grid does not end in 2.

  Example:
    The left half, twice as wide:
    `grid_sample(x, identity_grid(h, w, align_corners=False)[None]
    * (.5, 1) - (.5, 0), align_corners=False)`.
  """
  _check_last_axis(grid, 'grid')
  height, width = image.shape[1:3]
  size = np.array([width, height], np.float32)
  grid = grid.astype(jnp.float32)
  if align_corners:
    position = (grid + 1) * ((size - 1) / 2)
  else:
    position = ((grid + 1) * size - 1) / 2
  return sample_pixels(image, position, padding=padding)


def warp_by_flow(
  image: jax.Array, flow: jax.Array, *, compat: bool = False
) -> jax.Array:
  """Warps an image by a backward flow that may be coarser than the image.

  Args:
    image: [B, H, W, C].
    flow: [B, h, w, 2], (x, y) in pixels of its own grid: pixel p of the
      result shows the image at p + flow(p), lengths scaled to the image.
    compat: the convention that PIRenderer's and AniMo's released weights were
      trained with. COMPAT: the deformation has aligned corners, its
      resizing and the sampling have not, so that zero flow enlarges the image
      a little. Test: `test_compat_zero_flow_is_not_the_identity`.

  Returns:
    [B, H, W, C], dtype of the image. Zero flow gives the image itself, bit
    for bit, unless `compat`. Outside lies the border's colour.
  """
  _check_last_axis(flow, 'flow')
  height, width = image.shape[1:3]
  flow = flow.astype(jnp.float32)
  if compat:
    deformation = flow_to_deformation(flow, align_corners=True)
    deformation = resize_bilinear(deformation, (height, width))
    return grid_sample(
      image, deformation, align_corners=False, padding='border'
    )
  # The flow is resized, not the positions: at the border a resized ramp is
  # flat, which would make zero flow differ from the identity.
  scale = np.array([width, height], np.float32)
  scale /= np.array([flow.shape[2], flow.shape[1]], np.float32)
  flow = resize_bilinear(flow, (height, width)) * scale
  return sample_pixels(image, _pixel_grid(height, width) + flow)


def sample_pixels(
  image: jax.Array, position: jax.Array, *, padding: str = 'border'
) -> jax.Array:
  """Samples an image at positions in pixels, bilinearly.

  Args:
    image: [B, H, W, C].
    position: [B, h, w, 2], (x, y) in pixels.
    padding: `'border'` or `'zeros'`.

  Returns:
    [B, h, w, C], dtype of the image.

  Raises:
    ValueError: if the padding is unknown or the shapes do not fit.
  """
  if padding not in PADDINGS:
    raise ValueError(f'padding {padding!r} must be one of {PADDINGS}')
  if (
    position.ndim != 4 or image.ndim != 4 or position.shape[0] != image.shape[0]
  ):
    raise ValueError(
      f'image {image.shape} and positions {position.shape} must be '
      '[B, H, W, C] and [B, h, w, 2] with the same B'
    )
  batch, height, width, channels = image.shape
  rows = _neighbours(position[..., 1], height, padding)
  columns = _neighbours(position[..., 0], width, padding)
  pixels = image.reshape(batch, height * width, channels)
  total = 0.0
  for y, weight_y in rows:
    for x, weight_x in columns:
      total += (weight_y * weight_x)[..., None] * _take(pixels, y * width + x)
  return total.astype(image.dtype)


def _neighbours(position, size, padding):
  """Both neighbours along one axis: pixel index and weight of each."""
  position = position.astype(jnp.float32)
  if padding == 'border':
    position = jnp.clip(position, 0, size - 1)
  low = jnp.floor(position)
  share = position - low
  pairs = []
  for index, weight in ((low, 1 - share), (low + 1, share)):
    if padding == 'zeros':
      weight = jnp.where((index >= 0) & (index < size), weight, 0)
    pairs.append((jnp.clip(index, 0, size - 1).astype(jnp.int32), weight))
  return pairs


@jax.vmap
def _take(pixels, index):
  # Batched, so that a batch split over devices is gathered where it lies.
  return pixels.at[index].get(mode='clip')


def _pixel_grid(height: int, width: int) -> np.ndarray:
  grid = np.meshgrid(np.arange(width), np.arange(height))
  return np.stack(grid, -1).astype(np.float32)


def _pixels_per_unit(height, width, align_corners) -> np.ndarray:
  size = np.array([width, height], np.float32)
  # A single pixel has no extent between centres; its flow moves nothing.
  return np.maximum(size - align_corners, 1) / 2


def _check_last_axis(x, name) -> tuple[int, int]:
  if x.ndim < 3 or x.shape[-1] != 2:
    raise ValueError(f'{name} {x.shape} must be [..., h, w, 2]')
  return x.shape[-3], x.shape[-2]
