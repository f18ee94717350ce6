"""A model made ready for drawing: only what a portrait can show.

Vertices of outlines lie behind those of the surfaces, so that one array of
positions places everything.
"""

from __future__ import annotations

import dataclasses

import numpy as np

from data import pose_vector
from data.characters.model3d.assembly import Assembly, Part
from data.characters.model3d.errors import Fault
from data.characters.model3d.expressions import Displacement, Expressions
from data.characters.model3d.materials import Material
from data.characters.model3d.morph_table import TOGETHER
from data.characters.model3d.textures import Texture
from data.characters.model3d.view import View
from data.characters.turn import rotation_matrix

# Turns that a portrait may show; what none of them brings into the picture is
# left out.
_EXTREMES = ((40, 0, 0), (-40, 0, 0), (0, 40, 0), (0, -40, 0), (0, 0, 40),
             (0, 0, -40), (0, 0, 0))  # fmt: skip


@dataclasses.dataclass(frozen=True, eq=False)
class Draw:
  """Triangles that are drawn with one material.

  Attributes:
    triangles: [T, 3] vertices, counter-clockwise from the front.
    material: how it looks.
    hull: whether it is an outline: drawn in one colour, from the inside.
  """

  triangles: np.ndarray
  material: Material
  hull: bool = False

  @property
  def mix(self) -> float:
    """How much the texture's colour counts, 0 to 1."""
    return self.material.outline.mix if self.hull else 1.0

  def factors(self) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """RGBA factor in the light and RGB factor in the shade."""
    material = self.material
    if not self.hull:
      return material.lit, material.shade
    outline = material.outline
    lit = [1 + outline.mix * (v - 1) for v in material.lit[:3]]
    color = tuple(a * b for a, b in zip(outline.color, lit, strict=True))
    return (*color, material.lit[3]), color

  def textures(self) -> tuple[int | None, int | None]:
    """Places of the textures in the light and in the shade."""
    material = self.material
    if not self.hull:
      return material.texture, material.shade_texture
    needed = self.mix > 0 or material.mode == 'mask'
    return (material.texture if needed else None,) * 2


@dataclasses.dataclass(frozen=True, eq=False)
class Surface:
  """Everything that does not change between poses.

  Attributes:
    positions: [V, 3] float64 rest positions.
    normals: [V, 3] float64.
    follow: [V, 3] shares that stay, follow the neck, follow the head.
    hull: [H] vertices that the outlines' vertices V..V+H belong to.
    hull_width: [H] width of the outline there, in model units.
    uvs: [V + H, 2] texture coordinates.
    colors: [V + H, 4] float32 colour factors of vertices, 0 to 1.
    moves: coefficient -> ([n] vertices, [n, 3] positions, [n, 3] normals).
    pivots: [2, 3] where neck and head turn.
    neck_share: how much of the head's turn the neck makes.
    draws: in drawing order: solid ones, then `blend` ones.
    textures: that the materials refer to.
    view: the camera.
  """

  positions: np.ndarray
  normals: np.ndarray
  follow: np.ndarray
  hull: np.ndarray
  hull_width: np.ndarray
  uvs: np.ndarray
  colors: np.ndarray
  moves: dict[str, tuple[np.ndarray, np.ndarray, np.ndarray]]
  pivots: np.ndarray
  neck_share: float
  draws: list[Draw]
  textures: list[Texture]
  view: View

  def place(self, pose: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Positions and normals in a pose.

    Args:
      pose: [20] pose vector, coefficients in [0, 1].

    Returns:
      [V + H, 3] positions in model units and [V + H, 3] unit normals.
    """
    positions, normals = self.positions.copy(), self.normals.copy()
    for name, weight in _weights(pose).items():
      if name in self.moves and weight:
        rows, move, bend = self.moves[name]
        positions[rows] += weight * move
        normals[rows] += weight * bend
    angles = pose[pose_vector.group_indices('head')]
    if np.any(angles):
      positions, normals = turn(
        positions, normals, self.follow, self.pivots, angles, self.neck_share
      )
    length = np.sqrt(np.einsum('va,va->v', normals, normals))
    normals /= np.maximum(length, 1e-9)[:, None]
    outer = positions[self.hull] + normals[self.hull] * self.hull_width[:, None]
    return (
      np.concatenate([positions, outer]),
      np.concatenate([normals, normals[self.hull]]),
    )


def _weights(pose: np.ndarray) -> dict[str, float]:
  """Weight of each coefficient, where several move the same part together."""
  index = pose_vector.POSE_INDEX
  weights = {n: float(pose[index[n]]) for n in pose_vector.COEFFICIENT_NAMES}
  for group in TOGETHER:
    total = sum(weights[name] for name in group)
    for name in group:
      weights[name] /= max(total, 1.0)
  return weights


def turn(
  positions: np.ndarray,
  normals: np.ndarray,
  follow: np.ndarray,
  pivots: np.ndarray,
  angles_deg: np.ndarray,
  neck_share: float,
) -> tuple[np.ndarray, np.ndarray]:
  """Turns neck and head; the axes are those of `characters.turn`."""
  neck = rotation_matrix(angles_deg * neck_share)
  # Both turn about the same axis, so the two together are the whole angle.
  head = rotation_matrix(angles_deg)
  by_neck = (positions - pivots[0]) @ neck.T + pivots[0]
  head_pivot = neck @ (pivots[1] - pivots[0]) + pivots[0]
  by_head = (positions - pivots[1]) @ head.T + head_pivot
  shares = follow[:, :, None]
  turned = shares[:, 0] * positions + shares[:, 1] * by_neck
  turned += shares[:, 2] * by_head
  bent = shares[:, 0] * normals + shares[:, 1] * (normals @ neck.T)
  bent += shares[:, 2] * (normals @ head.T)
  return turned, bent


def _seen(
  assembly: Assembly, pivots: np.ndarray, neck_share: float, view: View
) -> np.ndarray:
  """[V, k, 2] whether a vertex is beyond none of the picture's edges."""
  seen = []
  for angles in _EXTREMES:
    turned, _ = turn(
      assembly.positions,
      assembly.normals,
      assembly.follow,
      pivots,
      np.array(angles, float),
      neck_share,
    )
    seen.append(view.project(turned, 1)[:, :2])
  return np.stack(seen, axis=1)


def _kept(triangles: np.ndarray, seen: np.ndarray) -> np.ndarray:
  """Triangles that some turn brings into the picture."""
  corners = seen[triangles]
  low, high = corners.min(axis=1), corners.max(axis=1)
  inside = np.all((high > -0.05) & (low < 1.05), axis=-1)
  return triangles[inside.any(axis=1)]


class _SurfaceBuilder:
  """Sorts a model's triangles into draws, outlines included."""

  def __init__(self, assembly: Assembly, textures: list[Texture], view: View):
    self._assembly = assembly
    self._textures = textures
    self._view = view
    self.hull: list[np.ndarray] = []
    self.widths: list[np.ndarray] = []
    self.hull_count = 0
    self.solid: list[Draw] = []
    self.blended: list[tuple[tuple[float, ...], Draw]] = []

  def add(self, triangles: np.ndarray, material: Material) -> None:
    draw = Draw(triangles, material)
    if material.mode == 'blend':
      depth = self._assembly.positions[triangles, 2].mean()
      key = (material.queue, depth, len(self.blended))
      self.blended.append((key, draw))
    else:
      self.solid.append(draw)
    if material.outline is not None:
      self._add_outline(triangles, material)

  def _width(self, rows: np.ndarray, outline) -> np.ndarray:
    width = np.full(len(rows), outline.width)
    if outline.on_screen:
      width *= self._view.picture_height
    if outline.mask is not None:
      place, channel = outline.mask
      level = self._textures[place].levels[0]
      uv = self._assembly.uvs[rows] % 1.0
      row = (uv[:, 1] * level.shape[0]).astype(int).clip(0, len(level) - 1)
      column = (uv[:, 0] * level.shape[1]).astype(int)
      column = column.clip(0, level.shape[1] - 1)
      width *= level[row, column, channel] / 255
    return width

  def _add_outline(self, triangles: np.ndarray, material: Material) -> None:
    outline = material.outline
    rows, local = np.unique(triangles, return_inverse=True)
    width = self._width(rows, outline)
    local = local.reshape(-1, 3)
    # A hull of no width would only fight with its surface.
    local = local[(width[local] > 0).any(axis=1)]
    first = len(self._assembly.positions) + self.hull_count
    self.hull.append(rows)
    self.widths.append(width)
    self.hull_count += len(rows)
    self.solid.append(Draw(local[:, ::-1] + first, material, True))


def _compress(move: Displacement, used: np.ndarray):
  positions, normals = move.positions[used], move.normals[used]
  rows = np.flatnonzero(
    np.abs(positions).max(1) + np.abs(normals).max(1) > 1e-9
  )
  return rows, positions[rows], normals[rows]


def _reduced(
  assembly: Assembly, seen: np.ndarray
) -> tuple[Assembly, np.ndarray]:
  """The model without what is never seen; the vertices that are left."""
  parts = [
    Part(_kept(part.triangles, seen), part.material) for part in assembly.parts
  ]
  parts = [part for part in parts if len(part.triangles)]
  if not parts:
    raise Fault('nothing of it is in the picture')
  used = np.unique(np.concatenate([part.triangles for part in parts]))
  place = np.zeros(len(assembly.positions), np.int64)
  place[used] = np.arange(len(used))
  reduced = dataclasses.replace(
    assembly,
    positions=assembly.positions[used],
    normals=assembly.normals[used],
    uvs=assembly.uvs[used].astype(np.float64),
    colors=assembly.colors[used],
    follow=assembly.follow[used],
    parts=[Part(place[part.triangles], part.material) for part in parts],
  )
  return reduced, used


def _transformed(uvs: np.ndarray, material: Material) -> np.ndarray:
  """KHR_texture_transform: scale, then rotate, then shift."""
  x, y, scale_x, scale_y, angle = material.uv
  scaled = uvs * (scale_x, scale_y)
  cos, sin = np.cos(angle), np.sin(angle)
  return scaled @ np.array([[cos, -sin], [sin, cos]]) + np.array([x, y])


def make_surface(
  assembly: Assembly,
  expressions: Expressions,
  materials: dict[int, Material],
  textures: list[Texture],
  view: View,
  pivots: np.ndarray,
  neck_share: float,
) -> Surface:
  """Keeps what a portrait can show, and sorts it for drawing."""
  assembly, used = _reduced(assembly, _seen(assembly, pivots, neck_share, view))
  builder = _SurfaceBuilder(assembly, textures, view)
  uvs, colors = assembly.uvs, assembly.colors
  for part in assembly.parts:
    material = materials.get(part.material, Material())
    builder.add(part.triangles, material)
    rows = np.unique(part.triangles)
    uvs[rows] = _transformed(uvs[rows], material)
    if not material.vertex_colors:
      colors[rows] = 1.0
  hull = np.concatenate([*builder.hull, np.zeros(0, np.int64)])
  blended = [draw for _, draw in sorted(builder.blended, key=lambda b: b[0])]
  return Surface(
    positions=assembly.positions,
    normals=assembly.normals,
    follow=assembly.follow,
    hull=hull,
    hull_width=np.concatenate([*builder.widths, np.zeros(0)]),
    uvs=np.concatenate([uvs, uvs[hull]]),
    colors=np.concatenate([colors, colors[hull]]),
    moves={n: _compress(m, used) for n, m in expressions.moves.items()},
    pivots=pivots,
    neck_share=neck_share,
    draws=[*builder.solid, *blended],
    textures=textures,
    view=view,
  )
