"""Which vertices the head has and how triangles join them.

Everything is made for the left half (x >= 0) and mirrored, so the mesh is
symmetric to the last bit. A loop is a closed run of vertices; strips of quads
between loops continue the skin into the mouth, behind the lids and over the
ears, so the head is one closed surface but for the end of the neck. Eyeballs
and rows of teeth are closed surfaces of their own.
"""

from __future__ import annotations

import dataclasses
import functools
import itertools

import numpy as np

from flame_jax.procedural import layout

CAP_SIDE = 9
CAP_DEPTH = layout.COLUMNS - 2 * CAP_SIDE
EYE_LOOPS = ('margin', 'under', 'behind')
MOUTH_LOOPS = ('inner_lip', 'vestibule', 'pocket', 'palate', 'throat')
EAR_LOOPS = (
  'back',
  'edge',
  'helix',
  'helix_inner',
  'scapha',
  'antihelix',
  'concha',
)
# Polar angles in degrees of the loops of an eyeball, from the pupil; pairs of
# narrow loops make the edges of pupil and iris sharp.
EYEBALL_POLAR_DEG = (
  5.0, 9.2, 10.8, 18.0, 25.0, 27.2, 36.0, 50.0, 68.0, 90.0, 115.0, 145.0,
)  # fmt: skip
EYEBALL_SEGMENTS = 16
TOOTH_STATIONS = 9


@dataclasses.dataclass(frozen=True)
class HalfTopology:
  """The left half of the mesh.

  Attributes:
    count: number of vertices.
    quads: [Q, 4] corners, counter-clockwise from outside.
    triangles: [T, 3] the fans that close loops.
    midline: [count] bool, vertices that lie on the plane x = 0.
    grid: [37, 55] vertex of each grid point, -1 where there is none.
    cap: [10, 19] vertices of the crown; its rim is the grid's last row.
    loops: vertex indices of the named loops and parts.
  """

  count: int
  quads: np.ndarray
  triangles: np.ndarray
  midline: np.ndarray
  grid: np.ndarray
  cap: np.ndarray
  loops: dict[str, np.ndarray]


@dataclasses.dataclass(frozen=True)
class Mirror:
  """How the half mesh becomes the whole one.

  Attributes:
    source: [V] half-mesh vertex of each vertex; the half itself comes first.
    is_copy: [V] bool, True for the mirrored vertices (x < 0).
    opposite: [V] vertex on the other side; itself on the midline.
  """

  source: np.ndarray
  is_copy: np.ndarray
  opposite: np.ndarray

  def spread(self, half: np.ndarray) -> np.ndarray:
    """[H, ...] values without direction -> [V, ...]."""
    return half[self.source]

  def spread_points(self, half: np.ndarray) -> np.ndarray:
    """[H, 3] points or displacements -> [V, 3], x negated on copies."""
    sign = np.where(self.is_copy, -1.0, 1.0)
    return half[self.source] * np.stack([sign, sign**2, sign**2], axis=1)

  def flip(self, field: np.ndarray) -> np.ndarray:
    """[V, 3] field seen in the mirror."""
    return field[self.opposite] * np.array([-1.0, 1.0, 1.0])


class _Builder:
  """Hands out vertex numbers and collects quads."""

  def __init__(self):
    self.count = 0
    self.quads, self.triangles, self.midline = [], [], []
    self.loops = {}

  def add(self, number, on_midline=()):
    first = self.count
    self.count += number
    self.midline += [first + k for k in on_midline]
    return np.arange(first, self.count)

  def strip(self, outer, inner, closed):
    """Quads from a clockwise loop to the loop inside of it."""
    if closed:
      outer, inner = np.append(outer, outer[0]), np.append(inner, inner[0])
    self.quads.append(
      np.stack([outer[:-1], inner[:-1], inner[1:], outer[1:]], axis=1)
    )

  def fan(self, loop, center):
    """Closes a clockwise loop with triangles around one vertex."""
    after = np.roll(loop, -1)
    self.triangles.append(
      np.stack([loop, np.full_like(loop, center), after], axis=1)
    )


@functools.lru_cache(maxsize=1)
def half_topology() -> HalfTopology:
  """Builds the left half of the mesh."""
  builder = _Builder()
  _, exists = layout.grid_coordinates()
  grid = _add_grid(builder, exists)
  cap = _add_cap(builder, grid)
  _add_eye_socket(builder, grid)
  _add_mouth(builder, grid)
  _add_ear(builder, grid)
  _add_eyeball(builder)
  for name in ('upper_teeth', 'lower_teeth'):
    _add_teeth(builder, name)
  midline = np.zeros(builder.count, bool)
  midline[builder.midline] = True
  return HalfTopology(
    count=builder.count,
    quads=np.concatenate(builder.quads),
    triangles=np.concatenate(builder.triangles),
    midline=midline,
    grid=grid,
    cap=cap,
    loops=builder.loops,
  )


@functools.lru_cache(maxsize=1)
def mirror_map() -> Mirror:
  """The map from the half mesh to the whole one."""
  half = half_topology()
  sides = np.flatnonzero(~half.midline)
  copy_of = np.arange(half.count)
  copy_of[sides] = half.count + np.arange(len(sides))
  source = np.concatenate([np.arange(half.count), sides])
  opposite = np.concatenate([copy_of, sides])
  return Mirror(source, np.arange(len(source)) >= half.count, opposite)


def whole_faces(half_points: np.ndarray) -> np.ndarray:
  """Triangles of the whole mesh; each quad is cut along its shorter diagonal.

  Args:
    half_points: [H, 3] points of the half mesh.

  Returns:
    [F, 3] int64, counter-clockwise from outside.
  """
  half, mirror = half_topology(), mirror_map()
  a, b, c, d = half.quads.T
  first = np.linalg.norm(half_points[a] - half_points[c], axis=1)
  second = np.linalg.norm(half_points[b] - half_points[d], axis=1)
  straight = (first <= second)[:, None]
  one = np.where(straight, np.stack([a, b, c], 1), np.stack([a, b, d], 1))
  two = np.where(straight, np.stack([a, c, d], 1), np.stack([b, c, d], 1))
  left = np.concatenate([one, two, half.triangles])
  right = mirror.opposite[left][:, ::-1]
  return np.concatenate([left, right])


def _add_grid(builder, exists):
  grid = np.full(exists.shape, -1)
  grid[exists] = builder.add(int(exists.sum()))
  builder.midline += [int(k) for k in grid[[0, -1]].ravel() if k >= 0]
  i, j = np.meshgrid(
    np.arange(layout.COLUMNS), np.arange(layout.ROWS), indexing='ij'
  )
  present = np.ones(i.shape, bool)
  for block in layout.BLOCKS:
    present &= ~block.contains_cell(i, j)
  i, j = i[present], j[present]
  builder.quads.append(
    np.stack(
      [grid[i, j], grid[i + 1, j], grid[i + 1, j + 1], grid[i, j + 1]], axis=1
    )
  )
  return grid


def _add_cap(builder, grid):
  """A square of quads inside the last row of the grid, p to x, q to back."""
  cap = np.full((CAP_SIDE + 1, CAP_DEPTH + 1), -1)
  rim = grid[:, -1]
  cap[:, 0] = rim[: CAP_SIDE + 1]
  cap[-1, :] = rim[CAP_SIDE : CAP_SIDE + CAP_DEPTH + 1]
  cap[:, -1] = rim[::-1][: CAP_SIDE + 1]
  inside = cap < 0
  cap[inside] = builder.add(int(inside.sum()))
  builder.midline += [int(k) for k in cap[0, 1:-1]]
  builder.quads.append(
    np.stack(
      [cap[:-1, :-1], cap[1:, :-1], cap[1:, 1:], cap[:-1, 1:]], axis=-1
    ).reshape(-1, 4)
  )
  return cap


def _add_eye_socket(builder, grid):
  ring = layout.EYE.ring()
  outer = grid[ring[:, 0], ring[:, 1]]
  builder.loops['eye_rim'] = outer
  for name in EYE_LOOPS:
    inner = builder.add(len(outer))
    builder.loops[f'eye_{name}'] = inner
    builder.strip(outer, inner, closed=True)
    outer = inner
  pole = builder.add(1)
  builder.loops['eye_pole'] = pole
  builder.fan(outer, pole[0])


def _add_mouth(builder, grid):
  """Half loops from the upper midline round the corner to the lower one."""
  block = layout.MOUTH
  path = [(i, block.top) for i in range(block.right + 1)]
  path += [(block.right, j) for j in range(block.top - 1, block.bottom, -1)]
  path += [(i, block.bottom) for i in range(block.right, -1, -1)]
  outer = grid[tuple(np.array(path).T)]
  builder.loops['mouth_slit'] = outer
  last = len(outer) - 1
  for name in MOUTH_LOOPS:
    inner = builder.add(len(outer), on_midline=(0, last))
    builder.loops[f'mouth_{name}'] = inner
    builder.strip(outer, inner, closed=False)
    outer = inner
  upper, lower = outer[: last // 2 + 1], outer[last // 2 :][::-1]
  # The corner belongs to both rows, so the last cell is a triangle.
  builder.quads.append(
    np.stack([upper[:-2], lower[:-2], lower[1:-1], upper[1:-1]], axis=1)
  )
  builder.triangles.append(np.array([[upper[-2], lower[-2], upper[-1]]]))


def _add_ear(builder, grid):
  ring = layout.EAR.ring()
  outer = grid[ring[:, 0], ring[:, 1]]
  builder.loops['ear_root'] = outer
  for name in EAR_LOOPS:
    inner = builder.add(len(outer))
    builder.loops[f'ear_{name}'] = inner
    builder.strip(outer, inner, closed=True)
    outer = inner
  pole = builder.add(1)
  builder.loops['ear_pole'] = pole
  builder.fan(outer, pole[0])


def _add_eyeball(builder):
  front = builder.add(1)
  loops = [builder.add(EYEBALL_SEGMENTS) for _ in EYEBALL_POLAR_DEG]
  back = builder.add(1)
  # Loops run clockwise from outside, from the back to the pupil.
  builder.fan(loops[0], front[0])
  for inner, outer in itertools.pairwise(loops):
    builder.strip(outer, inner, closed=True)
  builder.fan(loops[-1][::-1], back[0])
  builder.loops['eyeball'] = np.concatenate([front, *loops, back])


def _add_teeth(builder, name):
  """A bar along the dental arch: root and edge in front, then behind."""
  rails = np.stack(
    [builder.add(TOOTH_STATIONS, on_midline=(0,)) for _ in range(4)]
  )
  # Seen from its left end the upper bar's rails run against the clock; the
  # lower bar is upside down, so its order is reversed.
  order = (0, 1, 2, 3, 0) if name == 'upper_teeth' else (0, 3, 2, 1, 0)
  for k in range(4):
    a, b = rails[order[k]], rails[order[k + 1]]
    builder.quads.append(np.stack([a[:-1], b[:-1], b[1:], a[1:]], axis=1))
  end = rails[list(order[:4]), -1]
  builder.quads.append(end[None])
  builder.loops[name] = rails
