"""Reading glTF: numbers in every packing, and files that mean harm."""

import json
import pathlib
import struct

import numpy as np
import pytest

pytest.importorskip('pygltflib')

from data.characters.model3d import errors
from data.characters.model3d.accessors import AccessorReader
from data.characters.model3d.container import Container
from data.characters.model3d.errors import CharacterError, Fault
from data.characters.model3d.nodes import NodeTree
from data.characters.model3d.reading import read_model
from tests import gltf_samples


def _reader(tmp_path, accessors, views, data):
  document = {
    'asset': {'version': '2.0'},
    'accessors': accessors,
    'bufferViews': views,
    'buffers': [{'byteLength': len(data)}],
  }
  path = tmp_path / 'numbers.glb'
  gltf_samples.Sample(document, data).write(path)
  return AccessorReader(Container(path))


def test_plain_floats_and_offsets(tmp_path):
  data = np.arange(8, dtype='f4').tobytes()
  reader = _reader(
    tmp_path,
    [{'bufferView': 0, 'byteOffset': 4, 'componentType': 5126, 'count': 2,
      'type': 'VEC3'}],
    [{'buffer': 0, 'byteOffset': 4, 'byteLength': 28}],
    data,
  )  # fmt: skip
  np.testing.assert_array_equal(
    reader.read(0, 3, 'numbers'), [[2, 3, 4], [5, 6, 7]]
  )


def test_interleaved_vertices_keep_apart(tmp_path):
  data = np.arange(10, dtype='f4').tobytes()
  entry = {'bufferView': 0, 'componentType': 5126, 'count': 2}
  reader = _reader(
    tmp_path,
    [
      {**entry, 'type': 'VEC3'},
      {**entry, 'type': 'VEC2', 'byteOffset': 12},
    ],
    [{'buffer': 0, 'byteLength': 40, 'byteStride': 20}],
    data,
  )
  np.testing.assert_array_equal(reader.read(0, 3, 'a'), [[0, 1, 2], [5, 6, 7]])
  np.testing.assert_array_equal(reader.read(1, 2, 'b'), [[3, 4], [8, 9]])


@pytest.mark.parametrize(
  ('component', 'dtype', 'values', 'wanted'),
  [
    (5121, 'u1', [0, 255], [0, 1]),
    (5120, 'i1', [-128, 127], [-1, 1]),
    (5123, 'u2', [65535, 0], [1, 0]),
  ],
)
def test_normalized_integers_are_fractions(
  tmp_path, component, dtype, values, wanted
):
  data = np.array(values, dtype).tobytes()
  reader = _reader(
    tmp_path,
    [{'bufferView': 0, 'componentType': component, 'count': 2,
      'type': 'SCALAR', 'normalized': True}],
    [{'buffer': 0, 'byteLength': len(data)}],
    data,
  )  # fmt: skip
  np.testing.assert_allclose(reader.read(0, 1, 'numbers')[:, 0], wanted)


def _sparse(place):
  data = struct.pack('<2H', 1, place) + np.array([7, 8], 'f4').tobytes()
  accessor = {
    'componentType': 5126,
    'count': 4,
    'type': 'SCALAR',
    'sparse': {
      'count': 2,
      'indices': {'bufferView': 0, 'componentType': 5123},
      'values': {'bufferView': 1},
    },
  }
  views = [
    {'buffer': 0, 'byteLength': 4},
    {'buffer': 0, 'byteOffset': 4, 'byteLength': 8},
  ]
  return [accessor], views, data


def test_sparse_accessor_fills_zeros(tmp_path):
  reader = _reader(tmp_path, *_sparse(3))
  np.testing.assert_array_equal(reader.read(0, 1, 'n')[:, 0], [0, 7, 0, 8])


def test_sparse_accessor_cannot_write_beyond_its_end(tmp_path):
  with pytest.raises(Fault, match='beyond its end'):
    _reader(tmp_path, *_sparse(4)).read(0, 1, 'n')


def test_numbers_are_budgeted_before_they_are_made(tmp_path):
  huge = [{'componentType': 5126, 'count': 10**12, 'type': 'MAT4'}]
  with pytest.raises(Fault, match='more than'):
    _reader(tmp_path, huge, [], b'').read(0, 16, 'n')


def test_nodes_multiply_down_the_tree():
  half = np.sqrt(0.5)
  nodes = [
    {'translation': [1, 0, 0], 'rotation': [0, 0, half, half], 'children': [1]},
    {'translation': [2, 0, 0], 'scale': [2, 2, 2]},
  ]
  import pygltflib

  gltf = pygltflib.GLTF2.gltf_from_json(json.dumps({'nodes': nodes}))
  tree = NodeTree(gltf)
  # A quarter turn about z takes x to y.
  np.testing.assert_allclose(tree.world[1, :3, 3], [1, 2, 0], atol=1e-9)
  np.testing.assert_allclose(
    tree.world[1] @ [1, 0, 0, 1], [1, 4, 0, 1], atol=1e-9
  )


def _sample(change):
  sample = gltf_samples.make_sample()
  change(sample)
  return sample.glb()


def _set(*path, value):
  def change(sample):
    place = sample.json
    for key in path[:-1]:
      place = place[key]
    place[path[-1]] = value

  return change


def _nan(sample):
  data = bytearray(sample.binary)
  data[:4] = struct.pack('<f', float('nan'))
  sample.binary = bytes(data)


def _index_beyond(sample):
  number = sample.json['meshes'][0]['primitives'][0]['indices']
  view = sample.json['bufferViews'][number]
  data = bytearray(sample.binary)
  data[view['byteOffset'] : view['byteOffset'] + 2] = b'\xff\xff'
  sample.binary = bytes(data)


def _broken_image(sample):
  view = sample.json['bufferViews'][sample.json['images'][0]['bufferView']]
  data = bytearray(sample.binary)
  middle = view['byteOffset'] + 40
  data[middle : middle + 20] = b'\0' * 20
  sample.binary = bytes(data)


_PRIMITIVE = ('meshes', 0, 'primitives', 0)
_HOSTILE = {
  'cut off': (gltf_samples.make_sample().glb()[:5000], 'cut off'),
  'header only': (b'glTF\x02\0\0\0', 'within its header'),
  'version 1': (
    b'glTF\x01\0\0\0' + gltf_samples.make_sample().glb()[8:],
    'version 1',
  ),
  'chunk too long': (
    struct.pack('<4sIIII', b'glTF', 2, 20, 2**31, 0x4E4F534A),
    'beyond its end',
  ),
  'not glTF': (b'\x89PNG\r\n' + b'\0' * 100, 'not a glTF file'),
  'empty': (b'', 'not a glTF file'),
  'bad JSON': (b'{"nodes": [', 'JSON is damaged'),
  'deep JSON': (b'{"a":' + b'[' * 200_000, 'glTF|JSON'),
  'no nodes': (b'{}', 'no nodes'),
  'wrong types': (b'{"nodes": [{"children": 7}]}', 'not built as glTF'),
  'huge count': (
    _sample(_set('accessors', 0, 'count', value=10**15)),
    'more than',
  ),
  'negative count': (
    _sample(_set('accessors', 0, 'count', value=-1)),
    'has -1 elements',
  ),
  'accessor beyond its view': (
    _sample(_set('accessors', 0, 'count', value=100_000)),
    'more than buffer view',
  ),
  'view beyond its buffer': (
    _sample(_set('bufferViews', 0, 'byteLength', value=2**40)),
    'beyond its buffer',
  ),
  'circle': (_sample(_set('nodes', 2, 'children', value=[0])), 'circle'),
  'own child': (
    _sample(_set('nodes', 2, 'children', value=[2])),
    'two parents',
  ),
  'index beyond': (_sample(_index_beyond), 'vertex that does not exist'),
  'negative index': (
    _sample(_set(*_PRIMITIVE, 'attributes', 'POSITION', value=-1)),
    'does not exist',
  ),
  'not finite': (_sample(_nan), 'not finite'),
  'joint beyond': (
    _sample(_set('skins', 0, 'joints', value=[0])),
    'joint that its skin',
  ),
  'missing material': (
    _sample(_set(*_PRIMITIVE, 'material', value=9)),
    'material 9',
  ),
  'broken image': (_sample(_broken_image), 'image 0'),
  'Draco': (
    _sample(_set('extensionsRequired', value=['KHR_draco_mesh_compression'])),
    'Draco compression',
  ),
  'meshopt': (
    _sample(_set('extensionsRequired', value=['EXT_meshopt_compression'])),
    'meshopt compression',
  ),
  'no head': (_sample(_set('nodes', 2, 'name', value='Bone')), 'no head bone'),
  'no morphs': (
    _sample(_set(*_PRIMITIVE, 'targets', value=[])),
    'no morph targets',
  ),
  'unknown morphs': (
    _sample(_set(*_PRIMITIVE, 'extras', value={'targetNames': ['Key 1']})),
    'has a name that we know',
  ),
  'no triangles': (
    _sample(_set('scenes', 0, 'nodes', value=[0])),
    'nothing to',
  ),
}


@pytest.mark.parametrize('name', _HOSTILE)
def test_broken_files_are_refused_by_name(tmp_path, name):
  content, fault = _HOSTILE[name]
  path = tmp_path / 'broken.glb'
  path.write_bytes(content)
  with pytest.raises(CharacterError, match=fault) as caught:
    read_model(path)
  assert caught.value.file == str(path)
  assert caught.value.remedy


def test_a_text_file_reads_like_a_binary_one(tmp_path):
  sample = gltf_samples.make_sample()
  (tmp_path / 'a.glb').write_bytes(sample.glb())
  (tmp_path / 'b.gltf').write_bytes(sample.gltf())
  (tmp_path / 'c.gltf').write_bytes(sample.gltf('sub/buf%20fer.bin'))
  (tmp_path / 'sub').mkdir()
  (tmp_path / 'sub' / 'buf fer.bin').write_bytes(sample.binary)
  models = [read_model(tmp_path / n) for n in ('a.glb', 'b.gltf', 'c.gltf')]
  for model in models[1:]:
    np.testing.assert_array_equal(
      model.surface.positions, models[0].surface.positions
    )


@pytest.mark.parametrize(
  'uri', ['../secret.bin', '/etc/hostname', 'file:///etc/hostname', '%2e%2e/x']
)
def test_no_file_outside_the_folder_is_read(tmp_path, uri):
  folder = tmp_path / 'model'
  folder.mkdir()
  sample = gltf_samples.make_sample()
  (tmp_path / 'secret.bin').write_bytes(sample.binary)
  (folder / 'a.gltf').write_bytes(sample.gltf(uri))
  with pytest.raises(CharacterError, match='outside its own folder'):
    read_model(folder / 'a.gltf')


def test_a_buffer_that_is_not_there_is_named(tmp_path):
  sample = gltf_samples.make_sample()
  (tmp_path / 'a.gltf').write_bytes(sample.gltf('body.bin'))
  with pytest.raises(CharacterError, match=r'body\.bin.*not beside it'):
    read_model(tmp_path / 'a.gltf')


def test_every_truncation_is_refused_or_harmless(tmp_path):
  content = gltf_samples.make_sample().glb()
  path = tmp_path / 'cut.glb'
  for length in range(0, len(content), 997):
    path.write_bytes(content[:length])
    with pytest.raises(CharacterError):
      read_model(path)


def test_changed_bytes_never_raise_anything_else(tmp_path):
  content = gltf_samples.vrm0_sample().glb()
  size = struct.unpack_from('<I', content, 12)[0]
  path = tmp_path / 'changed.glb'
  generator = np.random.default_rng(0)
  refused = 0
  for _ in range(60):
    changed = bytearray(content)
    for place in generator.integers(20, 20 + size, 3):
      changed[place] = generator.integers(32, 127)
    path.write_bytes(changed)
    try:
      read_model(path)
    except CharacterError:
      refused += 1
  assert refused > 10


def test_textures_are_budgeted(tmp_path, monkeypatch):
  monkeypatch.setattr(errors, 'MAX_PIXELS', 3)
  path = tmp_path / 'a.glb'
  gltf_samples.make_sample().write(path)
  with pytest.raises(CharacterError, match='textures are too large'):
    read_model(path)


def test_targets_that_share_their_numbers_have_a_limit(tmp_path, monkeypatch):
  """In the file they cost once, in memory once a target."""
  sample = gltf_samples.make_sample()
  [primitive] = [
    p for p in sample.json['meshes'][0]['primitives'] if p.get('targets')
  ][:1]
  primitive['targets'] = primitive['targets'][:1] * 40
  monkeypatch.setattr(errors, 'MAX_MOVED', 100)
  with pytest.raises(CharacterError, match='move more than 100 vertices'):
    read_model(pathlib.Path(sample.write(tmp_path / 'x.glb')))
