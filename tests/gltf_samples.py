"""Builds small glTF characters: a box head on a neck and a body, with morphs.

The head is a grid bent around the front of a box, 0.2 wide and 0.26 high, with
eyes, brows and a mouth as coloured patches in front of it.
"""

import base64
import dataclasses
import io
import json
import struct

import numpy as np
from PIL import Image

FLOAT, USHORT, UBYTE, UINT = 5126, 5123, 5121, 5125
_TYPES = {1: 'SCALAR', 2: 'VEC2', 3: 'VEC3', 4: 'VEC4', 16: 'MAT4'}
_DTYPES = {FLOAT: 'f4', USHORT: 'u2', UBYTE: 'u1', UINT: 'u4'}

# Patch: x, y, half width, half height, texel of the palette, share of depth.
PATCHES = {
  'eye_left': (0.045, 1.51, 0.02, 0.02, 1),
  'eye_right': (-0.045, 1.51, 0.02, 0.02, 1),
  'brow_left': (0.045, 1.555, 0.024, 0.005, 2),
  'brow_right': (-0.045, 1.555, 0.024, 0.005, 2),
  'mouth': (0.0, 1.445, 0.02, 0.004, 3),
}
PALETTE = np.array(
  [
    [[255, 210, 190, 255], [40, 60, 200, 255]],
    [[60, 30, 10, 255], [190, 30, 40, 255]],
  ],
  np.uint8,
)
CHIN, CROWN = 1.4, 1.66


class Binary:
  """A buffer that grows, with its views and accessors."""

  def __init__(self):
    self.data = bytearray()
    self.views = []
    self.accessors = []

  def view(self, data: bytes, **more) -> int:
    self.data += b'\0' * (-len(self.data) % 4)
    start = len(self.data)
    self.data += data
    self.views.append(
      {'buffer': 0, 'byteOffset': start, 'byteLength': len(data), **more}
    )
    return len(self.views) - 1

  def add(self, values, component=FLOAT, **more) -> int:
    values = np.asarray(values, _DTYPES[component])
    values = values.reshape(len(values), -1)
    self.accessors.append(
      {
        'bufferView': self.view(values.tobytes()),
        'componentType': component,
        'count': len(values),
        'type': _TYPES[values.shape[1]],
        **more,
      }
    )
    return len(self.accessors) - 1


@dataclasses.dataclass
class Shape:
  """Triangles with a joint of their own: 0 body, 1 neck, 2 head."""

  positions: list
  uvs: list
  triangles: list
  joints: list
  spans: dict

  def quad(self, name, x, y, z, half_x, half_y, texel, joint, cells=4):
    start = len(self.positions)
    across = np.linspace(-1, 1, cells + 1)
    u = ((texel % 2) + 0.5) / 2
    v = ((texel // 2) + 0.5) / 2
    for row in across:
      for column in across:
        self.positions.append((x + half_x * column, y + half_y * row, z))
        self.uvs.append((u, v))
        self.joints.append(joint)
    side = cells + 1
    for row in range(cells):
      for column in range(cells):
        a = start + row * side + column
        self.triangles.append((a, a + 1, a + side))
        self.triangles.append((a + 1, a + side + 1, a + side))
    self.spans[name] = (start, len(self.positions))


def make_shape() -> Shape:
  shape = Shape([], [], [], [], {})
  shape.quad('body', 0, 1.2, -0.02, 0.16, 0.16, 3, 0)
  shape.quad('neck', 0, 1.39, -0.01, 0.03, 0.05, 0, 1)
  middle = (CHIN + CROWN) / 2
  shape.quad('back', 0, middle, -0.08, 0.11, 0.13, 2, 2)
  shape.quad('head', 0, middle, 0.08, 0.1, (CROWN - CHIN) / 2, 0, 2, 8)
  for name, (x, y, half_x, half_y, texel) in PATCHES.items():
    shape.quad(name, x, y, 0.085, half_x, half_y, texel, 2)
  return shape


def _move(shape, name, scale=(1, 1), shift=(0, 0)):
  """Deltas that scale a patch around its middle and shift it."""
  start, stop = shape.spans[name]
  points = np.array(shape.positions)
  middle = points[start:stop].mean(axis=0)
  delta = np.zeros_like(points)
  factor = np.array([scale[0] - 1, scale[1] - 1, 0])
  delta[start:stop] = (points[start:stop] - middle) * factor
  delta[start:stop, :2] += shift
  return delta


def _both(shape, stem, **how):
  return _move(shape, f'{stem}_left', **how) + _move(
    shape, f'{stem}_right', **how
  )


def arkit_morphs(shape) -> dict:
  """Morphs as ARKit names them; left and right apart."""
  morphs = {'jawOpen': _move(shape, 'mouth', scale=(1.0, 6.0))}
  morphs['mouthPucker'] = _move(shape, 'mouth', scale=(0.4, 2.0))
  morphs['mouthFunnel'] = _move(shape, 'mouth', scale=(0.6, 4.0))
  for side in ('Left', 'Right'):
    eye, brow = f'eye_{side.lower()}', f'brow_{side.lower()}'
    shift = 0.004 if side == 'Left' else -0.004
    morphs |= {
      f'eyeBlink{side}': _move(shape, eye, scale=(1, 0.1)),
      f'eyeWide{side}': _move(shape, eye, scale=(1, 1.4)),
      f'browDown{side}': _move(shape, brow, shift=(0, -0.02)),
      f'browOuterUp{side}': _move(shape, brow, shift=(0, 0.02)),
      f'mouthStretch{side}': _move(
        shape, 'mouth', scale=(1.4, 1), shift=(shift, 0)
      ),
    }
  morphs['browInnerUp'] = _both(shape, 'brow', shift=(0, 0.012))
  return morphs


def both_sided_morphs(shape) -> dict:
  """Morphs as VRM's presets: blink, emotions and vowels, both sides."""
  angry = _both(shape, 'brow', shift=(0, -0.02))
  return {
    'Blink': _both(shape, 'eye', scale=(1, 0.1)),
    # An emotion that moves everything.
    'Angry': angry + _move(shape, 'mouth', scale=(0.5, 1)),
    'Joy': _both(shape, 'eye', scale=(1, 0.3))
    + _both(shape, 'brow', shift=(0, 0.01)),
    'A': _move(shape, 'mouth', scale=(1.0, 6.0)),
    'O': _move(shape, 'mouth', scale=(0.6, 4.0)),
  }


@dataclasses.dataclass
class Sample:
  """A document and its binary chunk; change `json` before packing."""

  json: dict
  binary: bytes

  def glb(self) -> bytes:
    text = json.dumps(self.json, ensure_ascii=False).encode()
    text += b' ' * (-len(text) % 4)
    binary = self.binary + b'\0' * (-len(self.binary) % 4)
    chunks = struct.pack('<II', len(text), 0x4E4F534A) + text
    chunks += struct.pack('<II', len(binary), 0x004E4942) + binary
    return struct.pack('<4sII', b'glTF', 2, 12 + len(chunks)) + chunks

  def write(self, path) -> str:
    path.write_bytes(self.glb())
    return str(path)

  def gltf(self, uri=None) -> bytes:
    """As text, with the buffer as a data URI or under another name."""
    content = base64.b64encode(self.binary).decode()
    document = json.loads(json.dumps(self.json))
    document['buffers'][0]['uri'] = (
      uri or f'data:application/octet-stream;base64,{content}'
    )
    return json.dumps(document).encode()


def _png(pixels) -> bytes:
  stream = io.BytesIO()
  Image.fromarray(pixels).save(stream, 'PNG')
  return stream.getvalue()


def make_sample(
  morphs=arkit_morphs,
  backwards=False,
  names=('Hips', 'Neck', 'Head'),
  material=None,
  skinned=True,
) -> Sample:
  """A character that ModelCharacter can open.

  Args:
    morphs: function of the shape that returns name -> [V, 3] deltas.
    backwards: whether it looks along -z, as VRM 0 does.
    names: of the bones of body, neck and head.
    material: keys of its material.
    skinned: whether a skin joins it to the bones; else the head's node has it.
  """
  shape = make_shape()
  flip = np.array([-1, 1, -1]) if backwards else np.ones(3)
  binary = Binary()
  count = len(shape.positions)
  attributes = {
    'POSITION': binary.add(np.array(shape.positions) * flip),
    'NORMAL': binary.add(np.tile(np.array([0, 0, 1]) * flip, (count, 1))),
    'TEXCOORD_0': binary.add(shape.uvs),
  }
  joints = np.zeros((count, 4), np.uint16)
  joints[:, 0] = shape.joints
  pivots = np.array([[0, 1.0, 0], [0, 1.36, -0.02], [0, 1.4, -0.02]]) * flip
  if skinned:
    attributes['JOINTS_0'] = binary.add(joints, USHORT)
    attributes['WEIGHTS_0'] = binary.add(np.tile([1, 0, 0, 0], (count, 1)))
  inverse = np.tile(np.eye(4), (3, 1, 1))
  inverse[:, 3, :3] = -pivots
  found = morphs(shape)
  primitive = {
    'attributes': attributes,
    'indices': binary.add(np.array(shape.triangles).reshape(-1), USHORT),
    'material': 0,
    'targets': [
      {'POSITION': binary.add(delta * flip)} for delta in found.values()
    ],
    'extras': {'targetNames': list(found)},
  }
  steps = np.diff(pivots, axis=0, prepend=0)
  nodes = [
    {'name': name, 'translation': step.tolist()}
    for name, step in zip(names, steps, strict=True)
  ]
  nodes[0]['children'], nodes[1]['children'] = [1], [2]
  mesh_node = {'name': 'Face', 'mesh': 0}
  if skinned:
    mesh_node['skin'] = 0
  else:
    mesh_node['translation'] = (-pivots[2]).tolist()
    nodes[2]['children'] = [3]
  nodes.append(mesh_node)
  document = {
    'asset': {'version': '2.0'},
    'scene': 0,
    'scenes': [{'nodes': [0, 3] if skinned else [0]}],
    'nodes': nodes,
    'meshes': [{'name': 'Face', 'primitives': [primitive]}],
    'skins': [
      {
        'joints': [0, 1, 2],
        'inverseBindMatrices': binary.add(inverse.reshape(3, 16)),
      }
    ],
    'materials': [
      {
        'name': 'Skin',
        'pbrMetallicRoughness': {'baseColorTexture': {'index': 0}},
        'extensions': {'KHR_materials_unlit': {}},
        **(material or {}),
      }
    ],
    'textures': [{'source': 0, 'sampler': 0}],
    'samplers': [{'wrapS': 33071, 'wrapT': 33071}],
    'images': [
      {'bufferView': binary.view(_png(PALETTE)), 'mimeType': 'image/png'}
    ],
  }
  document['bufferViews'] = binary.views
  document['accessors'] = binary.accessors
  document['buffers'] = [{'byteLength': len(binary.data)}]
  return Sample(document, bytes(binary.data))


def vrm0_sample(groups=None) -> Sample:
  """VRM 0: looks along -z, morphs by groups, weights in per cent."""
  sample = make_sample(
    both_sided_morphs, backwards=True, names=('J0', 'J1', 'J2')
  )
  presets = {'blink': 0, 'angry': 1, 'joy': 2, 'a': 3, 'o': 4}
  groups = groups or [
    {
      'presetName': preset,
      'name': preset.upper(),
      'binds': [{'mesh': 0, 'index': index, 'weight': 100}],
    }
    for preset, index in presets.items()
  ]
  sample.json['extensions'] = {
    'VRM': {
      'humanoid': {
        'humanBones': [
          {'bone': 'hips', 'node': 0},
          {'bone': 'neck', 'node': 1},
          {'bone': 'head', 'node': 2},
        ]
      },
      'blendShapeMaster': {'blendShapeGroups': groups},
      'materialProperties': [
        {
          'name': 'Skin',
          'shader': 'VRM/MToon',
          'floatProperties': {
            '_BlendMode': 0,
            '_CullMode': 2,
            '_OutlineWidthMode': 1,
            '_OutlineWidth': 0.3,
          },
          'vectorProperties': {
            '_Color': [1, 1, 1, 1],
            '_ShadeColor': [0.8, 0.7, 0.8, 1],
          },
          'textureProperties': {'_MainTex': 0, '_ShadeTexture': 0},
        }
      ],
    }
  }
  return sample


def vrm1_sample() -> Sample:
  """VRM 1: looks along +z, expressions by node, weights up to 1."""
  sample = make_sample(both_sided_morphs, names=('J0', 'J1', 'J2'))
  presets = {'blink': 0, 'angry': 1, 'happy': 2, 'aa': 3, 'oh': 4}
  sample.json['extensions'] = {
    'VRMC_vrm': {
      'humanoid': {
        'humanBones': {
          'hips': {'node': 0},
          'neck': {'node': 1},
          'head': {'node': 2},
        }
      },
      'expressions': {
        'preset': {
          name: {'morphTargetBinds': [{'node': 3, 'index': i, 'weight': 1.0}]}
          for name, i in presets.items()
        }
      },
    }
  }
  sample.json['materials'][0]['extensions'] = {
    'VRMC_materials_mtoon': {
      'shadeColorFactor': [0.6, 0.5, 0.6],
      'shadeMultiplyTexture': {'index': 0},
      'outlineWidthMode': 'screenCoordinates',
      'outlineWidthFactor': 0.004,
    }
  }
  return sample
