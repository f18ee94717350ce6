"""Soft shading: hard-edged shade melted into gradients.

The picture is painted twice: once without shading, and once, small, with
nothing but shading, as the difference that it makes to the colour below it.
The second one is blurred within each material, so that no shadow of the skin
leaks into the hair, and added to the first.
"""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Sequence

import numpy as np
from PIL import Image

from data.characters import draw
from data.characters.geometry import Clip, Op, Patch, role_of
from data.characters.palette import Palette
from data.characters.tint import is_shading

# Standard deviation of the blur, pixels of the rest size.
_BLUR = 2.6
_NONE, _OTHER, _SKIN, _HAIR, _FEATURE = range(5)
# Half axes of the head that the large gradients follow, and how far up and in
# front the light is.
_HEAD_AXES = np.array([58.0, 76.0])
_LIGHT_UP, _LIGHT_FRONT = 0.62, 0.62


@dataclasses.dataclass(frozen=True)
class _Gradient:
  """What light and shade at their strongest add to a material, RGB."""

  shade: np.ndarray
  light: np.ndarray


def shading_size(size: int) -> int:
  """Height and width of the shading of a picture, pixels."""
  return min(max(size // 4, 128), 256)


class SoftShading:
  """Shading of one character.

  Args:
    palette: its colours in the soft style.
    still: what no expression changes, in painting order, with its shading.
  """

  def __init__(self, palette: Palette, still: Sequence[Op]):
    self._still = tuple(still)
    self._still_patches = {id(patch) for patch in draw.walk(self._still)}
    self._material = {
      tuple(palette.skin.base): _SKIN,
      tuple(palette.hair.base): _HAIR,
    }
    self._light = palette.look.light
    skin, hair = palette.skin, palette.hair
    base, hair_base = np.array(skin.base), np.array(hair.base)
    self._gradients = {
      _SKIN: _Gradient(
        0.75 * (np.array(skin.shade) - base), 0.8 * (skin.light - base)
      ),
      _HAIR: _Gradient(
        0.9 * (np.array(hair.shade) - hair_base),
        0.45 * (hair.light - hair_base),
      ),
      _OTHER: _Gradient(np.full(3, -14.0), np.zeros(3)),
    }

  def __call__(
    self,
    picture: np.ndarray,
    ops: Sequence[Op],
    polygons: draw.Polygons,
    center: np.ndarray,
  ) -> np.ndarray:
    """Shades a picture that was painted without shading.

    Args:
      picture: [size, size, 4] uint8 RGBA.
      ops: all that is painted; only what is still is shaded.
      polygons: outline of every patch in pixels of `shading_size`.
      center: [2] the head's centre, pixels of the rest size.

    Returns:
      [size, size, 4] uint8 RGBA.
    """
    size = len(picture)
    change = self._change(polygons, center, shading_size(size))
    # Eyes and mouth are left as they are, and leave the shading around them.
    everything = self._paint(ops, polygons, shading_size(size))[..., 3]
    change *= everything != _FEATURE
    full = np.empty((size, size, 3), np.float32)
    for band in range(3):
      small = Image.fromarray(np.ascontiguousarray(change[band]))
      full[..., band] = small.resize((size, size), Image.Resampling.BILINEAR)
    shaded = picture.copy()
    shaded[..., :3] = np.clip(picture[..., :3] + full + 0.5, 0, 255)
    return shaded

  def _change(
    self,
    polygons: draw.Polygons,
    center: np.ndarray,
    side: int,
  ) -> np.ndarray:
    """[3, side, side] float32, what shading adds to the colours."""
    painted = self._paint(self._still, polygons, side)
    material = painted[..., 3]
    # Half the difference was painted, about the middle of a byte.
    raw = (painted[..., :3].astype(np.float32) - 128.0).transpose(2, 0, 1) * 2
    unit = side / draw.REST_SIZE
    blur = _blur_matrix(side, _BLUR * unit)
    lit = self._lambert(center, side)
    result = np.zeros((3, side, side), np.float32)
    for number in (_OTHER, _SKIN, _HAIR):
      inside = material == number
      weight = inside.astype(np.float32)
      planes = np.concatenate([raw * weight, weight[None]])
      planes = blur @ planes @ blur.T
      melted = planes[:3] / np.maximum(planes[3], 1e-3)
      gradient = self._gradients[number]
      shade = np.clip(0.62 - lit, 0, 0.75)[None] * gradient.shade[:, None, None]
      light = np.clip(lit - 0.70, 0, 1)[None] * gradient.light[:, None, None]
      # Beyond its rim a picture fades out over a pixel or two.
      where = inside | (material == _NONE) if number == _OTHER else inside
      result = np.where(where, melted + shade + 3.0 * light, result)
    return result

  def _lambert(self, center: np.ndarray, side: int) -> np.ndarray:
    """[side, side] brightness of a head-shaped ellipsoid, 1 at most."""
    rest = (np.mgrid[:side, :side] + 0.5) * (draw.REST_SIZE / side)
    x = (rest[1] - center[0]) / _HEAD_AXES[0]
    y = (rest[0] - center[1]) / _HEAD_AXES[1]
    # Body and hanging hair continue the head's rim.
    radius = np.maximum(np.hypot(x, y), 1.0)
    x, y = x / radius, y / radius
    front = np.sqrt(np.maximum(1 - x * x - y * y, 0))
    light = np.array([0.75 * self._light, -_LIGHT_UP, _LIGHT_FRONT])
    light /= np.sqrt(light @ light)
    lit = x * light[0] + y * light[1] + front * light[2]
    return lit.astype(np.float32)

  def _paint(
    self, ops: Sequence[Op], polygons: draw.Polygons, side: int
  ) -> np.ndarray:
    """[side, side, 4] uint8: half the difference about 128, and material."""
    canvas = Image.new('CMYK', (side, side), (128, 128, 128, _NONE))

    def fill(drawing, patch: Patch, left: int, top: int) -> None:
      if role_of(patch.color) == 'line' and not patch.surface:
        return
      outline = polygons[id(patch)]
      if left or top:
        outline = [(x - left, y - top) for x, y in outline]
      drawing.polygon(outline, fill=self._ink(patch))

    solid = [op for op in ops if not (isinstance(op, Clip) and op.opacity < 1)]
    draw.paint(canvas, solid, polygons, fill)
    return np.asarray(canvas)

  def _ink(self, patch: Patch) -> tuple[int, int, int, int]:
    color = patch.color
    if id(patch) not in self._still_patches:
      return 128, 128, 128, _FEATURE
    under = getattr(color, 'under', None)
    material = self._material.get(under, _OTHER)
    if not is_shading(patch):
      return 128, 128, 128, material
    red, green, blue = (
      128 + (c - u) // 2 for c, u in zip(color, under, strict=True)
    )
    return red, green, blue, material


@functools.cache
def _blur_matrix(side: int, sigma: float) -> np.ndarray:
  """[side, side] float32 Gaussian weights of every pixel's neighbours."""
  distance = np.subtract.outer(np.arange(side), np.arange(side))
  weights = np.exp(-0.5 * (distance / sigma) ** 2)
  weights /= weights.sum(axis=1).max()
  # Far neighbours would only be denormal numbers, which are slow.
  weights[np.abs(distance) > 4 * sigma] = 0
  return weights.astype(np.float32)
