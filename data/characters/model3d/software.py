"""The renderer that needs nothing but numpy."""

from __future__ import annotations

import numpy as np

from data.characters.model3d.raster import (
  DepthBuffer,
  Fragments,
  Planes,
  rasterize,
  signed_area,
)
from data.characters.model3d.shading import Frame
from data.characters.model3d.surface import Draw, Surface
from data.characters.model3d.textures import Texels

# Columns of the values that change over a triangle.
_DEPTH, _U, _V, _LIGHT, _COLOR = 0, 1, 2, 3, 4


class Triangles:
  """All triangles of a surface, with their materials as arrays.

  Attributes:
    corners: [T, 3] vertices.
    draw: [T] number of the draw.
    masked, blend, hull, double: [T] properties of the draw's material.
  """

  def __init__(self, surface: Surface, texels: Texels):
    draws = surface.draws
    self.corners = np.concatenate([d.triangles for d in draws])
    self.draw = np.repeat(
      np.arange(len(draws)), [len(d.triangles) for d in draws]
    )

    def column(read, kind=np.float32):
      return np.array([read(d) for d in draws], kind)

    self._places = column(lambda d: _place(d, False), int)
    self._shade_places = column(lambda d: _place(d, True), int)
    self.masked = column(lambda d: _is_masked(d, surface), bool)[self.draw]
    self.blend = column(lambda d: d.material.mode == 'blend', bool)[self.draw]
    self.blend &= ~column(lambda d: d.hull, bool)[self.draw]
    self.double = column(
      lambda d: d.material.double_sided and not d.hull, bool
    )[self.draw]
    self.lit = column(lambda d: d.factors()[0])
    self.shade = column(lambda d: d.factors()[1])
    self.edge = column(lambda d: d.material.edge)
    self.cutoff = column(lambda d: d.material.cutoff)
    self.opaque_alpha = column(
      lambda d: d.material.mode != 'blend' or d.hull, bool
    )
    self.mix = column(lambda d: d.mix)
    self.two_textures = self._places != self._shade_places
    self._texels = texels
    self.colored = bool(np.any(surface.colors != 1.0))

  def level(
    self, triangle: np.ndarray, gradient: np.ndarray, shaded: bool
  ) -> np.ndarray:
    """[n] level of the texture that fits the size on the canvas."""
    texels = self._texels
    places = self._shade_places if shaded else self._places
    place = places[self.draw[triangle]]
    first = texels.first_level[place]
    size = np.stack([texels.width[first], texels.height[first]], -1)
    step = gradient * size[:, None, :]
    longest = np.maximum((step**2).sum(-1).max(-1), 1e-12)
    level = np.floor(0.5 * np.log2(longest) + 0.5).astype(np.int64)
    return first + np.clip(level, 0, texels.num_levels[place] - 1)


def _place(draw: Draw, shaded: bool) -> int:
  place = draw.textures()[shaded]
  return -1 if place is None else place


def _is_masked(draw: Draw, surface: Surface) -> bool:
  material = draw.material
  if material.mode != 'mask':
    return False
  if material.texture is None:
    return True
  least = surface.textures[material.texture].least_alpha
  # A texture that never falls below needs no looking.
  return least * material.lit[3] < material.cutoff


class SoftwareRenderer:
  """Draws one surface. It holds nothing that threads or forks could break."""

  name = 'software'

  def __init__(self, surface: Surface):
    self._surface = surface
    self._texels = Texels(surface.textures)
    self._triangles = Triangles(surface, self._texels)

  def usable(self) -> bool:
    """Whether it can draw in this process: always."""
    return True

  def draw(self, frame: Frame, side: int) -> np.ndarray:
    """Draws a frame, [side, side, 4] uint8 RGBA, alpha premultiplied."""
    scene = Scene(self._surface, self._triangles, self._texels, frame, side)
    buffer = scene.solid()
    pixel, triangle = buffer.nearest()
    canvas = np.zeros((side * side, 4), np.float32)
    x, y = pixel % side + 0.5, pixel // side + 0.5
    canvas[pixel] = scene.shade(triangle, x, y)
    scene.blend(canvas, buffer)
    return np.rint(canvas * 255).astype(np.uint8).reshape(side, side, 4)

  def _visible(self, frame: Frame, side: int) -> tuple[Scene, DepthBuffer]:
    """All that hides what is behind it, see-through surfaces included."""
    scene = Scene(self._surface, self._triangles, self._texels, frame, side)
    return scene, scene.solid(see_through=True)

  def seen(
    self, frame: Frame, side: int
  ) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Which point of the surface is seen at the centre of each pixel.

    Args:
      frame: the pose.
      side: height and width of the picture.

    Returns:
      [n] pixels where something is; [n, 3] vertices of the triangle there;
      [n, 3] shares of the vertices at that point.
    """
    scene, buffer = self._visible(frame, side)
    pixel, triangle = buffer.nearest()
    corners = self._triangles.corners[scene.number[triangle]]
    weights = np.broadcast_to(np.eye(3), (len(scene.corners), 3, 3))
    planes = Planes(scene.corners, weights)
    shares = planes.at(triangle, pixel % side + 0.5, pixel // side + 0.5)
    shares = np.clip(shares, 0, 1)
    return pixel, corners, shares / shares.sum(axis=1, keepdims=True)

  def depth(self, frame: Frame, side: int) -> np.ndarray:
    """[side * side] depth of what is nearest, -inf where nothing is."""
    return self._visible(frame, side)[1].depth()


class Scene:
  """A surface in one pose: visible triangles and what changes over them."""

  def __init__(
    self,
    surface: Surface,
    triangles: Triangles,
    texels: Texels,
    frame: Frame,
    side: int,
  ):
    self._surface = surface
    self._all = triangles
    self._texels = texels
    self._side = side
    self._depths = frame.depths()
    corners = frame.points[triangles.corners]
    area = signed_area(corners[..., :2])
    low, high = corners[..., :2].min(1), corners[..., :2].max(1)
    inside = np.all((high > 0) & (low < side), axis=1)
    seen = inside & ((area > 0) | (triangles.double & (area < 0)))
    # Numbers of the triangles in `Triangles`, in drawing order.
    self.number = np.flatnonzero(seen)
    self.corners = corners[self.number, :, :2]
    vertices = triangles.corners[self.number]
    back = np.where(area[self.number] < 0, -1.0, 1.0)
    values = [
      corners[self.number, :, 2:],
      surface.uvs[vertices],
      (frame.light[vertices] * back[:, None])[..., None],
    ]
    if triangles.colored:
      values.append(surface.colors[vertices])
    self.planes = Planes(self.corners, np.concatenate(values, axis=-1))

  def _alpha(self, triangle, x, y) -> np.ndarray:
    """Opacity of fragments, 0 to 1."""
    factor = self._all.lit[self._all.draw[self.number[triangle]], 3]
    return self._textured(triangle, x, y, False)[:, 3] * factor

  def _textured(self, triangle, x, y, shaded: bool) -> np.ndarray:
    """Texture times colours of vertices, [n, 4], 0 to 1."""
    uv = self.planes.at(triangle, x, y, _U, _V + 1)
    gradient = self.planes.gradient[:, :, _U : _V + 1]
    # The level is the same all over a triangle.
    level = self._all.level(self.number, gradient, shaded)[triangle]
    color = self._texels.sample(level, uv)
    color *= np.float32(1 / 255)
    if self._all.colored:
      color *= self.planes.at(triangle, x, y, _COLOR).astype(np.float32)
    return color

  def solid(self, see_through: bool = False) -> DepthBuffer:
    """Nearest triangles of all solid surfaces.

    Args:
      see_through: whether `blend` surfaces count too, where they are more than
        half opaque.
    """
    buffer = DepthBuffer(self._side, *self._depths)
    blend = self._all.blend[self.number]
    chosen = np.flatnonzero(~blend | see_through)
    self._fill(buffer, chosen)
    return buffer

  def _fill(self, buffer: DepthBuffer, chosen: np.ndarray) -> None:
    tested = self._all.masked | self._all.blend
    fragments = rasterize(self.corners[chosen], self._side)
    triangle = chosen[fragments.triangle]
    x, y = fragments.x + 0.5, fragments.y + 0.5
    keep = np.ones(len(triangle), bool)
    test = np.flatnonzero(tested[self.number[triangle]])
    if len(test):
      alpha = self._alpha(triangle[test], x[test], y[test])
      number = self.number[triangle[test]]
      cutoff = self._all.cutoff[self._all.draw[number]]
      keep[test] = alpha >= np.where(self._all.blend[number], 0.5, cutoff)
      triangle, x, y = triangle[keep], x[keep], y[keep]
      fragments = fragments.where(keep)
    depth = self.planes.at(triangle, x, y, _DEPTH, _DEPTH + 1)[:, 0]
    buffer.add(fragments.pixel(self._side), depth, triangle)

  def shade(self, triangle, x, y) -> np.ndarray:
    """Colour of fragments, [n, 4], 0 to 1, alpha premultiplied."""
    color = self._textured(triangle, x, y, False)
    draw = self._all.draw[self.number[triangle]]
    light = self.planes.at(triangle, x, y, _LIGHT, _LIGHT + 1)[:, 0]
    low, high = self._all.edge[draw, 0], self._all.edge[draw, 1]
    share = np.clip((light - low) / (high - low), 0, 1)
    share = share.astype(np.float32)[:, None]
    lit, shade = self._all.lit[draw], self._all.shade[draw]
    outline = np.flatnonzero(self._all.mix[draw] < 1)
    if len(outline):
      mix = self._all.mix[draw[outline], None]
      color[outline, :3] = 1 + mix * (color[outline, :3] - 1)
    # Most materials have one texture for both; those are sampled once.
    other = np.flatnonzero(self._all.two_textures[draw] & (share[:, 0] < 1))
    dark = self._textured(triangle[other], x[other], y[other], True)[:, :3]
    dark *= (1 - share[other]) * shade[other]
    dark += share[other] * lit[other, :3] * color[other, :3]
    color[:, :3] *= shade + share * (lit[:, :3] - shade)
    color[other, :3] = dark
    color[:, 3] *= lit[:, 3]
    color[self._all.opaque_alpha[draw], 3] = 1.0
    color[:, :3] *= color[:, 3:]
    return color

  def blend(self, canvas: np.ndarray, buffer: DepthBuffer) -> None:
    """Draws see-through surfaces over a canvas, one draw after the other."""
    is_blend = self._all.blend[self.number]
    draws = self._all.draw[self.number]
    for draw in np.unique(draws[is_blend]):
      chosen = np.flatnonzero(draws == draw)
      fragments = rasterize(self.corners[chosen], self._side)
      triangle = chosen[fragments.triangle]
      writes = self._surface.draws[draw].material.writes_depth
      for layer in _layers(fragments, self._side):
        self._blend_layer(
          canvas, buffer, fragments.where(layer), triangle[layer], writes
        )

  def _blend_layer(self, canvas, buffer, fragments, triangle, writes) -> None:
    x, y = fragments.x + 0.5, fragments.y + 0.5
    pixel = fragments.pixel(self._side)
    depth = self.planes.at(triangle, x, y, _DEPTH, _DEPTH + 1)[:, 0]
    front = np.flatnonzero(buffer.passes(pixel, depth, triangle))
    pixel, triangle = pixel[front], triangle[front]
    color = self.shade(triangle, x[front], y[front])
    canvas[pixel] = color + (1 - color[:, 3:]) * canvas[pixel]
    if writes:
      solid = color[:, 3] > 0
      buffer.add(pixel[solid], depth[front][solid], triangle[solid])


def _layers(fragments: Fragments, side: int) -> list[np.ndarray]:
  """Indices of fragments, so that in a layer no pixel comes twice."""
  pixel = fragments.pixel(side)
  order = np.argsort(pixel, kind='stable')
  ordered = pixel[order]
  new = np.ones(len(ordered), bool)
  new[1:] = ordered[1:] != ordered[:-1]
  start = np.flatnonzero(new)
  rank = np.arange(len(ordered)) - np.repeat(
    start, np.diff(np.append(start, len(ordered)))
  )
  return [order[rank == k] for k in range(int(rank.max(initial=-1)) + 1)]
