"""Textures of a model: decoded once, at every size a picture may need.

All levels of all textures lie one after the other in one array, so that the
software renderer samples every material in one go; the OpenGL renderer uploads
the same levels. Each level halves the one before, colours weighted by alpha,
so that invisible texels do not bleed into visible ones.
"""

from __future__ import annotations

import dataclasses
import io
import warnings

import numpy as np
from PIL import Image

from data.characters.model3d import errors
from data.characters.model3d.container import Container, at
from data.characters.model3d.errors import Fault

# Nothing in a portrait of 1024 pixels gains from more.
_MAX_SIDE = 2048
# glTF's numbers for what happens outside [0, 1]: repeat is the default.
REPEAT, CLAMP, MIRROR = 10497, 33071, 33648


@dataclasses.dataclass(frozen=True, eq=False)
class Texture:
  """One texture.

  Attributes:
    levels: [h, w, 4] uint8 sRGB RGBA pictures, each half the one before.
    wrap: what happens outside [0, 1] across and down.
  """

  levels: list[np.ndarray]
  wrap: tuple[int, int] = (REPEAT, REPEAT)

  @property
  def least_alpha(self) -> float:
    """Smallest opacity of any texel, 0 to 1."""
    return float(self.levels[0][..., 3].min()) / 255


def _halved(level: np.ndarray) -> np.ndarray:
  height, width = (max(side // 2, 1) for side in level.shape[:2])
  rows = min(level.shape[0], 2)
  columns = min(level.shape[1], 2)
  block = level[: height * rows, : width * columns].astype(np.float32)
  block = block.reshape(height, rows, width, columns, 4)
  alpha = block[..., 3:]
  weight = alpha.sum(axis=(1, 3))
  color = (block[..., :3] * alpha).sum(axis=(1, 3)) / np.maximum(weight, 1e-6)
  color = np.where(weight > 0, color, block[..., :3].mean(axis=(1, 3)))
  mean = weight / (rows * columns)
  return np.rint(np.concatenate([color, mean], -1)).astype(np.uint8)


def make_texture(
  picture: np.ndarray, wrap: tuple[int, int] = (REPEAT, REPEAT)
) -> Texture:
  """A texture of a [h, w, 4] uint8 RGBA picture."""
  levels = [picture]
  while max(levels[-1].shape[:2]) > 1:
    levels.append(_halved(levels[-1]))
  return Texture(levels, wrap)


class TextureReader:
  """Decodes a container's textures, each once, within a budget of pixels."""

  def __init__(self, container: Container):
    self._container = container
    self._left = errors.MAX_PIXELS
    self._images: dict[int, np.ndarray] = {}
    self._places: dict[int, int] = {}
    self.textures: list[Texture] = []

  def place(self, index: int) -> int:
    """Decodes texture `index` of the file; its place in `textures`.

    Raises:
      Fault: if its picture is broken, of an unknown kind, or too large.
    """
    if index not in self._places:
      gltf = self._container.gltf
      entry = at(gltf.textures, index, 'texture')
      source = entry.source
      for name in ('EXT_texture_webp', 'KHR_texture_basisu'):
        block = (entry.extensions or {}).get(name) or {}
        source = block.get('source', source) if source is None else source
      wrap = (REPEAT, REPEAT)
      if entry.sampler is not None:
        sampler = at(gltf.samplers, entry.sampler, 'sampler')
        wrap = sampler.wrapS or REPEAT, sampler.wrapT or REPEAT
      self._places[index] = len(self.textures)
      self.textures.append(make_texture(self._image(source), wrap))
    return self._places[index]

  def _image(self, index: int) -> np.ndarray:
    if index not in self._images:
      entry = at(self._container.gltf.images, index, 'image')
      if entry.bufferView is not None:
        data = bytes(self._container.view(entry.bufferView)[0])
      elif entry.uri:
        data = self._container.uri(entry.uri)
      else:
        raise Fault(f'image {index} has no content')
      self._images[index] = self._decode(index, data)
    return self._images[index]

  def _decode(self, index: int, data: bytes) -> np.ndarray:
    remedy = 'export its textures as PNG or JPEG'
    try:
      with warnings.catch_warnings():
        # The budget below is the limit; Pillow's own would only warn.
        warnings.simplefilter('ignore', Image.DecompressionBombWarning)
        with Image.open(io.BytesIO(data)) as image:
          self._left -= image.width * image.height
          if self._left < 0:
            raise Fault('its textures are too large', 'reduce its textures')
          image.draft('RGB', (_MAX_SIDE, _MAX_SIDE))
          picture = image.convert('RGBA')
    except Image.UnidentifiedImageError as error:
      raise Fault(f'image {index} is of an unknown kind', remedy) from error
    except (OSError, SyntaxError, Image.DecompressionBombError) as error:
      raise Fault(f'image {index} is broken ({error})', remedy) from error
    if max(picture.size) > _MAX_SIDE:
      picture.thumbnail((_MAX_SIDE, _MAX_SIDE))
    return np.asarray(picture)


class Texels:
  """All levels of all textures in one array, for sampling many at once."""

  def __init__(self, textures: list[Texture]):
    levels = [level for t in textures for level in t.levels]
    flat = [level.reshape(-1, 4) for level in levels]
    # A white texel at the end stands for "no texture".
    white = np.full((1, 4), 255, np.uint8)
    # One number a texel makes fetching it four times as fast.
    self.data = np.concatenate([*flat, white]).view(np.uint32)[:, 0]
    sizes = [len(f) for f in flat]
    self.start = np.cumsum([0, *sizes])
    self.height = np.array([*(lv.shape[0] for lv in levels), 1])
    self.width = np.array([*(lv.shape[1] for lv in levels), 1])
    self.wrap_x = np.array(
      [t.wrap[0] for t in textures for _ in t.levels] + [REPEAT]
    )
    self.wrap_y = np.array(
      [t.wrap[1] for t in textures for _ in t.levels] + [REPEAT]
    )
    counts = [len(t.levels) for t in textures]
    self.first_level = np.cumsum([0, *counts])
    self.num_levels = np.array([*counts, 1])
    self.plain = bool(
      np.all(self.wrap_x == REPEAT) and np.all(self.wrap_y == REPEAT)
    )

  def sample(self, level: np.ndarray, uv: np.ndarray) -> np.ndarray:
    """Bilinear samples.

    Args:
      level: [n] number of the level to sample.
      uv: [n, 2] texture coordinates, origin at the upper left.

    Returns:
      [n, 4] float32 RGBA, 0 to 255.
    """
    width, height = self.width[level], self.height[level]
    column, right, across = self._axis(uv[:, 0], width, self.wrap_x, level)
    row, below, down = self._axis(uv[:, 1], height, self.wrap_y, level)
    start = self.start[level]
    upper, lower = start + row * width, start + below * width
    data = self.data
    across, down = across[:, None], down[:, None]

    def fetch(index):
      return data[index].view(np.uint8).reshape(-1, 4).astype(np.float32)

    top = fetch(upper + column)
    top += across * (fetch(upper + right) - top)
    bottom = fetch(lower + column)
    bottom += across * (fetch(lower + right) - bottom)
    top += down * (bottom - top)
    return top

  def _axis(self, u, size, wraps, level):
    """Two neighbouring texels along one axis, and the way between them."""
    place = u.astype(np.float64) * size - 0.5
    low = np.floor(place)
    part = (place - low).astype(np.float32)
    low = low.astype(np.int64)
    if self.plain:
      return low % size, (low + 1) % size, part
    wrap = wraps[level]
    return _wrapped(low, size, wrap), _wrapped(low + 1, size, wrap), part


def _wrapped(index, size, wrap):
  mirror = index % (2 * size)
  mirror = np.minimum(mirror, 2 * size - 1 - mirror)
  clamped = np.clip(index, 0, size - 1)
  return np.where(
    wrap == REPEAT, index % size, np.where(wrap == CLAMP, clamped, mirror)
  )
