"""Materials: plain glTF, unlit, and MToon of VRM 0 and VRM 1.

Everything is turned into one kind of toon shading: a lit and a shaded colour,
and where between them the surface lies by its angle to the light. Colours are
sRGB and are mixed as sRGB; factors that glTF gives as linear are encoded first.
Not drawn: rim light, matcaps, emission, normal maps, animated textures.
Sources: glTF 2.0, "Materials"; VRMC_materials_mtoon 1.0; MToon 3 (UniVRM).
"""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np

from data.characters.model3d.container import Container
from data.characters.model3d.textures import TextureReader

# Of a plain glTF material: how dark its shaded side is, and the soft edge.
_PLAIN_SHADE = 0.78
_PLAIN_EDGE = (-0.1, 0.4)
_UNLIT_EDGE = (-3.0, -2.0)
# MToon 3 gives outline widths in centimetres or hundredths of the half height.
_MTOON0_WIDTH = 0.01
_BLEND_MODES = ('opaque', 'mask', 'blend', 'blend')


@dataclasses.dataclass(frozen=True)
class Outline:
  """A hull behind the surface.

  Attributes:
    width: in model units, or in shares of the picture's height.
    on_screen: whether the width is a share of the picture.
    color: RGB, 0 to 1.
    mix: 0 takes the colour as it is, 1 multiplies it with the surface's.
    mask: place of a texture that scales the width, and its channel.
  """

  width: float
  on_screen: bool
  color: tuple[float, float, float]
  mix: float
  mask: tuple[int, int] | None = None


@dataclasses.dataclass(frozen=True)
class Material:
  """How a surface looks.

  Attributes:
    lit: RGBA factor in the light, 0 to 1.
    shade: RGB factor in the shade.
    texture: place of the texture in the light, None for white.
    shade_texture: place of the texture in the shade.
    edge: dot products of normal and light where shade ends and light begins.
    mode: `opaque`, `mask` or `blend`.
    cutoff: alpha below which `mask` draws nothing.
    double_sided: whether the back is drawn too.
    writes_depth: whether a `blend` surface hides what comes later.
    queue: order among `blend` surfaces, small ones first.
    uv: (offset x, y, scale x, y, rotation) of texture coordinates.
    vertex_colors: whether colours of vertices count.
    outline: hull around it, if any.
  """

  lit: tuple[float, float, float, float] = (1.0, 1.0, 1.0, 1.0)
  shade: tuple[float, float, float] = (_PLAIN_SHADE,) * 3
  texture: int | None = None
  shade_texture: int | None = None
  edge: tuple[float, float] = _PLAIN_EDGE
  mode: str = 'opaque'
  cutoff: float = 0.5
  double_sided: bool = False
  writes_depth: bool = False
  queue: int = 0
  uv: tuple[float, ...] = (0.0, 0.0, 1.0, 1.0, 0.0)
  vertex_colors: bool = True
  outline: Outline | None = None


def _color(values: Any, missing: tuple[float, ...]) -> tuple[float, ...]:
  values = missing if values is None else values
  return tuple(
    float(np.clip(v, 0, 1)) for v in (*values, *missing[len(values) :])
  )[: len(missing)]


def _encoded(values: Any, missing: tuple[float, ...]) -> tuple[float, ...]:
  """Linear RGB as sRGB; alpha stays."""
  color = np.array(_color(values, missing))
  low, high = color * 12.92, 1.055 * color ** (1 / 2.4) - 0.055
  encoded = np.where(color <= 0.0031308, low, high)
  encoded[3:] = color[3:]
  return tuple(encoded.tolist())


def _uv_transform(info) -> tuple[float, ...]:
  """KHR_texture_transform of a texture reference."""
  block = (getattr(info, 'extensions', None) or {}).get('KHR_texture_transform')
  if not isinstance(block, dict):
    return Material.uv
  offset = block.get('offset', (0, 0))
  scale = block.get('scale', (1, 1))
  rotation = block.get('rotation', 0)
  return tuple(float(v) for v in (*offset, *scale, rotation))


def _plain(material, reader: TextureReader) -> Material:
  """A material as glTF itself describes it."""
  pbr = material.pbrMetallicRoughness
  factor = texture = info = None
  if pbr is not None:
    factor, info = pbr.baseColorFactor, pbr.baseColorTexture
  if info is not None:
    texture = reader.place(info.index)
  unlit = 'KHR_materials_unlit' in (material.extensions or {})
  lit = _encoded(factor, (1.0,) * 4)
  cutoff = material.alphaCutoff
  return Material(
    lit=lit,
    shade=lit[:3] if unlit else tuple(v * _PLAIN_SHADE for v in lit[:3]),
    texture=texture,
    shade_texture=texture,
    edge=_UNLIT_EDGE if unlit else _PLAIN_EDGE,
    mode={'MASK': 'mask', 'BLEND': 'blend'}.get(material.alphaMode, 'opaque'),
    cutoff=0.5 if cutoff is None else float(cutoff),
    double_sided=bool(material.doubleSided),
    uv=_uv_transform(info),
  )


def _edge(low: float, high: float) -> tuple[float, float]:
  return float(low), float(max(high, low + 1e-3))


def _mtoon1(base: Material, block: dict[str, Any], reader) -> Material:
  shift = float(block.get('shadingShiftFactor', 0.0))
  toony = float(block.get('shadingToonyFactor', 0.9))
  shade_texture = (block.get('shadeMultiplyTexture') or {}).get('index')
  outline = None
  mode = block.get('outlineWidthMode', 'none')
  width = float(block.get('outlineWidthFactor', 0.0))
  if mode in ('worldCoordinates', 'screenCoordinates') and width > 0:
    mask = (block.get('outlineWidthMultiplyTexture') or {}).get('index')
    outline = Outline(
      width,
      mode == 'screenCoordinates',
      _encoded(block.get('outlineColorFactor'), (0.0,) * 3),
      float(block.get('outlineLightingMixFactor', 1.0)),
      None if mask is None else (reader.place(mask), 1),
    )
  return dataclasses.replace(
    base,
    shade=_encoded(block.get('shadeColorFactor'), (0.0,) * 3),
    shade_texture=None
    if shade_texture is None
    else reader.place(shade_texture),
    edge=_edge(-1 + toony - shift, 1 - toony - shift),
    writes_depth=bool(block.get('transparentWithZWrite', False)),
    queue=int(block.get('renderQueueOffsetNumber', 0)),
    vertex_colors=False,
    outline=outline,
  )


def _outline0(floats, vectors, textures, reader) -> Outline | None:
  mode = int(floats.get('_OutlineWidthMode', 0))
  width = float(floats.get('_OutlineWidth', 0)) * _MTOON0_WIDTH
  if mode not in (1, 2) or width <= 0:
    return None
  mixed = int(floats.get('_OutlineColorMode', 0)) == 1
  mask = textures.get('_OutlineWidthTexture')
  return Outline(
    # Half heights, as clip space spans two.
    width / 2 if mode == 2 else width,
    mode == 2,
    _color(vectors.get('_OutlineColor'), (0.0,) * 3),
    float(floats.get('_OutlineLightingMix', 1.0)) if mixed else 0.0,
    None if mask is None else (reader.place(mask), 0),
  )


def _mtoon0(base: Material, block: dict[str, Any], reader) -> Material:
  """A material as VRM 0 describes it for Unity; colours there are sRGB."""
  shader = str(block.get('shader', ''))
  floats = block.get('floatProperties') or {}
  vectors = block.get('vectorProperties') or {}
  textures = block.get('textureProperties') or {}
  queue = int(block.get('renderQueue', -1))
  if shader.startswith('VRM/Unlit'):
    mode = 'blend' if 'Transparent' in shader else base.mode
    return dataclasses.replace(
      base,
      shade=base.lit[:3],
      edge=_UNLIT_EDGE,
      mode='mask' if 'Cutout' in shader else mode,
      writes_depth=shader.endswith('ZWrite'),
      queue=queue,
    )
  if shader != 'VRM/MToon':
    return base
  shift = float(floats.get('_ShadeShift', 0.0))
  toony = float(floats.get('_ShadeToony', 0.9))
  blend = int(floats.get('_BlendMode', 0))
  main, shade = textures.get('_MainTex'), textures.get('_ShadeTexture')
  return dataclasses.replace(
    base,
    lit=_color(vectors.get('_Color'), (1.0,) * 4),
    shade=_color(vectors.get('_ShadeColor'), (1.0,) * 3),
    texture=base.texture if main is None else reader.place(main),
    shade_texture=None if shade is None else reader.place(shade),
    edge=_edge(shift, 1 + (shift - 1) * toony),
    mode=_BLEND_MODES[blend] if 0 <= blend < 4 else base.mode,
    cutoff=float(floats.get('_Cutoff', 0.5)),
    double_sided=int(floats.get('_CullMode', 2)) == 0,
    writes_depth=blend == 3,
    queue=queue,
    vertex_colors=False,
    outline=_outline0(floats, vectors, textures, reader),
  )


def read_materials(
  container: Container, reader: TextureReader, used: set[int]
) -> dict[int, Material]:
  """The materials that are drawn, by their index in the file."""
  gltf = container.gltf
  block = (gltf.extensions or {}).get('VRM')
  properties = (block or {}).get('materialProperties') or []
  found = {}
  for index in sorted(used):
    material = gltf.materials[index]
    made = _plain(material, reader)
    toon = (material.extensions or {}).get('VRMC_materials_mtoon')
    if isinstance(block, dict):
      if index < len(properties):
        made = _mtoon0(made, properties[index], reader)
    elif isinstance(toon, dict):
      made = _mtoon1(made, toon, reader)
    found[index] = made
  return found
