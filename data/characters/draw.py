"""Filling patches on a supersampled canvas."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator, Sequence

import numpy as np
from PIL import Image, ImageDraw

from data.characters.geometry import Clip, Op, Patch
from data.characters.turn import turn_points

# Rest coordinates are pixels of a picture of this size.
REST_SIZE = 256


def supersampling(size: int) -> int:
  """Canvas pixels a picture pixel, fewer for larger pictures."""
  return 4 if size <= 256 else 3 if size <= 512 else 2


def outline_detail(size: int) -> int:
  """Points an outline gets for each that it has, more for larger pictures."""
  return 1 if size <= 256 else 2 if size <= 512 else 4


@functools.cache
def _side_weights(count: int, detail: int) -> tuple[np.ndarray, np.ndarray]:
  """Catmull-Rom curve through one side of a grid, without its last point.

  Args:
    count: points of the side.
    detail: points of the curve for each; a side of two stays straight.

  Returns:
    [m, 4] positions along the side and their [m, 4] weights.
  """
  detail = 1 if count == 2 else detail
  position = np.arange((count - 1) * detail) / detail
  segment = position.astype(int)
  t = (position - segment)[:, None]
  weights = 0.5 * np.concatenate(
    [
      -t + 2 * t**2 - t**3,
      2 - 5 * t**2 + 3 * t**3,
      t + 4 * t**2 - 3 * t**3,
      t**3 - t**2,
    ],
    axis=1,
  )
  index = segment[:, None] + np.arange(-1, 3)
  # Beyond an end the curve goes on as it came: a = 2 b - c.
  for outer, near, far in ((0, 1, 2), (3, 2, 1)):
    beyond = (index[:, outer] < 0) | (index[:, outer] >= count)
    weights[beyond, near] += 2 * weights[beyond, outer]
    weights[beyond, far] -= weights[beyond, outer]
    weights[beyond, outer] = 0
  return np.clip(index, 0, count - 1), weights


@functools.cache
def _outline_weights(
  rows: int, columns: int, detail: int
) -> tuple[np.ndarray, np.ndarray]:
  """[m, 4] flat indices of a grid and weights: its smooth outline."""
  grid = np.arange(rows * columns).reshape(rows, columns)
  sides = (grid[0], grid[:, -1], grid[-1, ::-1], grid[::-1, 0])
  index, weights = [], []
  for side in sides:
    along, share = _side_weights(len(side), detail)
    index.append(side[along])
    weights.append(share)
  return np.concatenate(index), np.concatenate(weights)


def walk(ops: Sequence[Op]) -> Iterator[Patch]:
  """Every patch of the operations, in painting order."""
  for op in ops:
    if isinstance(op, Clip):
      yield op.mask
      yield from op.content
    else:
      yield op


class PointPool:
  """Rest points of many patches in one array, so that one product turns all.

  Args:
    ops: the patches.
    detail: see `outline_detail`.
  """

  def __init__(self, ops: Sequence[Op], detail: int = 1):
    patches = list({id(p): p for p in walk(ops)}.values())
    self._points = np.concatenate([p.points.reshape(-1, 3) for p in patches])
    self._follow = np.concatenate([p.follow.reshape(-1) for p in patches])
    self._starts = {}
    index, weights, self._outline_span = [], [], {}
    start = outline = 0
    for patch in patches:
      rows, columns = patch.follow.shape
      self._starts[id(patch)] = (start, rows, columns)
      boundary, share = _outline_weights(rows, columns, detail)
      index.append(boundary + start)
      weights.append(share)
      self._outline_span[id(patch)] = (outline, outline + len(boundary))
      start += rows * columns
      outline += len(boundary)
    self._outline = np.concatenate(index)
    self._weights = np.concatenate(weights) if detail > 1 else None

  def place(self, angles_deg: np.ndarray) -> np.ndarray:
    """[n, 2] points in rest-size picture pixels, turned."""
    return turn_points(self._points, self._follow, angles_deg)

  def grids(self, placed: np.ndarray) -> dict[int, np.ndarray]:
    """Turned [rows, columns, 2] grid of every patch, by its `id`."""
    return {
      key: placed[start : start + rows * columns].reshape(rows, columns, 2)
      for key, (start, rows, columns) in self._starts.items()
    }

  def polygons(self, placed: np.ndarray, scale: float) -> Polygons:
    """Outline of every patch in canvas pixels, by its `id`."""
    # Pillow cuts fractions off; canvas pixel k covers k..k+1.
    if self._weights is None:
      outline = placed[self._outline[:, 1]]
    else:
      outline = np.einsum('mkc,mk->mc', placed[self._outline], self._weights)
    outline = np.floor(outline * scale).astype(int).tolist()
    outline = list(map(tuple, outline))
    return {
      key: outline[start:stop]
      for key, (start, stop) in self._outline_span.items()
    }


def _bounds(
  polygon: list[tuple[int, int]], side: int
) -> tuple[int, int, int, int] | None:
  xs, ys = zip(*polygon, strict=True)
  left, top = max(min(xs), 0), max(min(ys), 0)
  right, bottom = min(max(xs) + 1, side), min(max(ys) + 1, side)
  return (left, top, right, bottom) if left < right and top < bottom else None


# Fills one patch on a drawing whose origin is at (left, top) of the canvas.
Fill = Callable[[ImageDraw.ImageDraw, Patch, int, int], None]
Polygons = dict[int, list[tuple[int, int]]]


def paint(
  canvas: Image.Image,
  ops: Sequence[Op],
  polygons: Polygons,
  fill: Fill,
  blend: bool = True,
) -> None:
  """Paints operations back to front.

  Args:
    canvas: picture to paint on.
    ops: what to paint.
    polygons: outline of every clipping patch in canvas pixels, by its `id`.
    fill: how one patch is filled.
    blend: whether opacities count; numbers, unlike colours, cannot be mixed.
  """
  draw = ImageDraw.Draw(canvas)
  for op in ops:
    if isinstance(op, Clip):
      opacity = op.opacity if blend else 1.0
      _paint_clip(canvas, op, polygons[id(op.mask)], fill, opacity)
    else:
      fill(draw, op, 0, 0)


def _paint_clip(
  canvas: Image.Image,
  clip: Clip,
  outline: list[tuple[int, int]],
  fill: Fill,
  opacity: float,
) -> None:
  bounds = _bounds(outline, canvas.width)
  if bounds is None:
    return
  left, top = bounds[:2]
  layer = canvas.crop(bounds)
  draw = ImageDraw.Draw(layer)
  for patch in clip.content:
    fill(draw, patch, left, top)
  mask = Image.new('L', layer.size)
  ImageDraw.Draw(mask).polygon(
    [(x - left, y - top) for x, y in outline], fill=round(255 * opacity)
  )
  canvas.paste(layer, bounds, mask)


def color_fill(polygons: Polygons) -> Fill:
  """Fills every patch with its own colour."""

  def fill(draw: ImageDraw.ImageDraw, patch: Patch, left: int, top: int):
    outline = polygons[id(patch)]
    if left or top:
      outline = [(x - left, y - top) for x, y in outline]
    draw.polygon(outline, fill=(*patch.color, 255))

  return fill


def new_canvas(size: int) -> Image.Image:
  """An empty canvas for a picture of the given size."""
  side = size * supersampling(size)
  # Four bands without a meaning for Pillow: RGBA would be weighted by alpha
  # when reduced, but colour and alpha painted here are both "premultiplied".
  return Image.new('CMYK', (side, side), (0, 0, 0, 0))


def finish(canvas: Image.Image, size: int) -> np.ndarray:
  """Reduces a canvas to the picture: uint8 [size, size, 4] RGBA."""
  reduced = np.array(canvas.reduce(supersampling(size)))
  edge = (reduced[..., 3] > 0) & (reduced[..., 3] < 255)
  pixels = reduced[edge].astype(np.float32)
  pixels[:, :3] *= 255.0 / pixels[:, 3:]
  reduced[edge] = np.clip(np.rint(pixels), 0, 255).astype(np.uint8)
  return reduced


def put_on(picture: np.ndarray, background: tuple[int, int, int]) -> np.ndarray:
  """Puts an RGBA picture on a colour: uint8 [h, w, 4] -> the same, opaque."""
  alpha = picture[..., 3:].astype(np.float32) / 255
  mixed = picture[..., :3] * alpha + np.float32(background) * (1 - alpha)
  result = np.full_like(picture, 255)
  result[..., :3] = np.rint(mixed)
  return result
