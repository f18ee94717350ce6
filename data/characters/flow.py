"""True optical flow between two poses of one character.

Both poses are painted with numbers instead of colours: every triangle of every
surface's grid has its own. The number at a pixel names the triangle seen there,
and that triangle's corners in both poses say where the pixel comes from.
"""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Sequence

import numpy as np
from PIL import Image

from data.characters import draw
from data.characters.geometry import Op, Patch

_EMPTY = -1


@dataclasses.dataclass(frozen=True, eq=False)
class PosedScene:
  """What is painted in one pose.

  Attributes:
    ops: operations in painting order; the same order in every pose.
    grids: turned [rows, columns, 2] grid of every patch, by its `id`, in
      pixels of the rest size.
    polygons: outline of every patch in canvas pixels, by its `id`.
  """

  ops: Sequence[Op]
  grids: dict[int, np.ndarray]
  polygons: draw.Polygons


@functools.cache
def _grid_triangles(rows: int, columns: int) -> np.ndarray:
  """[2 (rows - 1) (columns - 1), 3] flat indices of a grid's triangles."""
  index = np.arange(rows * columns).reshape(rows, columns)
  a, b = index[:-1, :-1].ravel(), index[:-1, 1:].ravel()
  c, d = index[1:, :-1].ravel(), index[1:, 1:].ravel()
  return np.stack([np.stack([a, b, d], 1), np.stack([a, d, c], 1)], 1).reshape(
    -1, 3
  )


def _surfaces(ops: Sequence[Op]) -> list[Patch]:
  unique = {id(p): p for p in draw.walk(ops) if p.surface}
  return list(unique.values())


def _corners(scene: PosedScene) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
  """Triangles of all surfaces.

  Returns:
    [T, 3, 2] corners, [T] number of the surface, [T] whether it faces away.
  """
  corners, owner, away = [], [], []
  for number, patch in enumerate(_surfaces(scene.ops)):
    index = _grid_triangles(*patch.follow.shape)
    placed = scene.grids[id(patch)].reshape(-1, 2)[index]
    corners.append(placed)
    owner.append(np.full(len(index), number))
    if patch.follow.shape[1] > 2:
      rest = patch.points[..., :2].reshape(-1, 2)[index]
      away.append(_area(placed) * _area(rest) < 0)
    else:
      away.append(np.zeros(len(index), bool))
  return np.concatenate(corners), np.concatenate(owner), np.concatenate(away)


def _area(corners: np.ndarray) -> np.ndarray:
  first = corners[:, 1] - corners[:, 0]
  second = corners[:, 2] - corners[:, 0]
  return first[:, 0] * second[:, 1] - first[:, 1] * second[:, 0]


def _paint_numbers(
  scene: PosedScene, corners: np.ndarray, away: np.ndarray, size: int
) -> np.ndarray:
  """Number of the triangle seen at every canvas pixel, `_EMPTY` for none."""
  side = size * draw.supersampling(size)
  canvas = Image.new('I', (side, side), _EMPTY)
  # Rounded down as `PointPool.polygons` does.
  placed = np.floor(corners * (side / draw.REST_SIZE)).astype(int)
  placed = placed.reshape(-1, 6).tolist()
  spans, start = {}, 0
  for patch in _surfaces(scene.ops):
    rows, columns = patch.follow.shape
    count = 2 * (rows - 1) * (columns - 1)
    spans[id(patch)] = [k for k in range(start, start + count) if not away[k]]
    start += count

  def fill(drawing, patch: Patch, left: int, top: int) -> None:
    for number in spans.get(id(patch), ()):
      a, b, c, d, e, f = placed[number]
      drawing.polygon(
        (a - left, b - top, c - left, d - top, e - left, f - top), fill=number
      )

  draw.paint(canvas, scene.ops, scene.polygons, fill, blend=False)
  return np.asarray(canvas)


def _affine_maps(target: np.ndarray, source: np.ndarray) -> np.ndarray:
  """Maps of triangles onto triangles, [T, 2, 3]; thin ones are shifted."""
  edges = np.stack(
    [target[:, 1] - target[:, 0], target[:, 2] - target[:, 0]], axis=2
  )
  images = np.stack(
    [source[:, 1] - source[:, 0], source[:, 2] - source[:, 0]], axis=2
  )
  thin = np.abs(np.linalg.det(edges)) < 1e-2
  edges[thin] = np.eye(2)
  linear = images @ np.linalg.inv(edges)
  linear[thin] = np.eye(2)
  middle, image = target.mean(axis=1), source.mean(axis=1)
  shift = image - np.einsum('tij,tj->ti', linear, middle)
  return np.concatenate([linear, shift[..., None]], axis=2)


def backward_flow(
  source: PosedScene, target: PosedScene, size: int
) -> tuple[np.ndarray, np.ndarray]:
  """Where every pixel of the target picture comes from in the source picture.

  Args:
    source: the pose that is warped.
    target: the pose that is wanted; painted like `source`.
    size: height and width of the pictures.

  Returns:
    [size, size, 2] float32 flow in pixels (x, y): source position minus target
    position, 0 where nothing is painted; and [size, size] float32 occlusion, 1
    where the same surface is seen in both pictures.
  """
  corners_from, owner, away_from = _corners(source)
  corners_to, _, away_to = _corners(target)
  numbers_from = _paint_numbers(source, corners_from, away_from, size)
  numbers_to = _paint_numbers(target, corners_to, away_to, size)
  factor = draw.supersampling(size)
  seen = numbers_to[factor // 2 :: factor, factor // 2 :: factor]
  unit = draw.REST_SIZE / size
  y, x = (np.mgrid[:size, :size] + 0.5) * unit
  maps = _affine_maps(corners_to, corners_from)[seen]
  position = maps[..., 0] * x[..., None] + maps[..., 1] * y[..., None]
  # A pixel on the rim of a thin triangle must not be carried far beyond it.
  position = np.clip(
    position + maps[..., 2],
    corners_from.min(axis=1)[seen] - 0.5,
    corners_from.max(axis=1)[seen] + 0.5,
  )
  flow = (position - np.stack([x, y], axis=-1)) / unit
  flow[seen == _EMPTY] = 0.0
  owner = np.append(owner, _EMPTY)
  visible = _same_surface(owner[numbers_from], owner[seen], flow, factor)
  return flow.astype(np.float32), visible.astype(np.float32)


def _same_surface(
  owner_from: np.ndarray,
  owner_to: np.ndarray,
  flow: np.ndarray,
  factor: int,
) -> np.ndarray:
  """Whether the surface of each pixel is seen where the flow points to."""
  size = len(owner_to)
  y, x = np.mgrid[:size, :size] + 0.5
  column = np.floor((x + flow[..., 0]) * factor).astype(int)
  row = np.floor((y + flow[..., 1]) * factor).astype(int)
  side = size * factor
  inside = (column >= 0) & (column < side) & (row >= 0) & (row < side)
  same = np.zeros(owner_to.shape, bool)
  # Outlines are rounded to canvas pixels, so a neighbour counts too.
  for down in (-1, 0, 1):
    for right in (-1, 0, 1):
      near_row = np.clip(row + down, 0, side - 1)
      near_column = np.clip(column + right, 0, side - 1)
      same |= owner_from[near_row, near_column] == owner_to
  return same & inside
