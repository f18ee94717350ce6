"""Fields and hand-made pickles of head model files, for several tests."""

import struct
import sys
import types

import numpy as np

NUM_VERTICES = 24
NUM_FACES = 30


def _fractions(random, *shape):
  values = random.uniform(0.1, 1.0, shape)
  return values / values.sum(-1, keepdims=True)


def flame_fields(seed=0, shape=300, expression=100):
  """Random arrays under FLAME's own field names."""
  random = np.random.default_rng(seed)
  count = NUM_VERTICES
  return {
    'v_template': random.normal(size=(count, 3)),
    'f': random.integers(0, count, (NUM_FACES, 3)).astype(np.uint32),
    'shapedirs': 0.1 * random.normal(size=(count, 3, shape + expression)),
    'posedirs': 0.1 * random.normal(size=(count, 3, 36)),
    'J_regressor': _fractions(random, 5, count),
    'weights': _fractions(random, count, 5),
    'kintree_table': np.array(
      [[2**32 - 1, 0, 1, 1, 1], [0, 1, 2, 3, 4]], np.uint32
    ),
  }


def embedding_fields(seed=1, full=True):
  """Random landmark arrays under the names of landmark_embedding.npy."""
  random = np.random.default_rng(seed)
  shapes = {'static': (51,), 'dynamic': (79, 17)}
  if full:
    shapes['full'] = (1, 68)
  fields = {}
  for name, shape in shapes.items():
    faces = random.integers(0, NUM_FACES, shape)
    fields[f'{name}_lmk_faces_idx'] = faces
    fields[f'{name}_lmk_bary_coords'] = _fractions(random, *shape, 3)
  return fields


def fake_class(monkeypatch, module, name):
  """Makes a class that pickles as `module.name`, for the time of a test."""
  kind = type(name, (), {'__module__': module})
  parts = module.split('.')
  for end in range(1, len(parts) + 1):
    full_name = '.'.join(parts[:end])
    if full_name not in sys.modules:
      monkeypatch.setitem(sys.modules, full_name, types.ModuleType(full_name))
  setattr(sys.modules[module], name, kind)
  return kind


def filled(kind, state):
  """An instance of `kind` with the given attributes."""
  instance = kind.__new__(kind)
  instance.__dict__.update(state)
  return instance


def python2_string(text):
  """Opcode of a Python 2 byte string."""
  data = text if isinstance(text, bytes) else text.encode()
  return b'T' + struct.pack('<i', len(data)) + data


def python2_array(array):
  """Opcodes that Python 2 and its numpy write for an array."""
  shape = b''.join(b'M' + struct.pack('<H', size) for size in array.shape)
  code = array.dtype.str[1:]
  return (
    b'cnumpy.core.multiarray\n_reconstruct\n(cnumpy\nndarray\nK\x00\x85U\x01b'
    b'tR(K\x01('
    + shape
    + b'tcnumpy\ndtype\n('
    + python2_string(code)
    + b'K\x00K\x01tR(K\x03U\x01'
    + array.dtype.newbyteorder('<').str[:1].encode()
    + b'NNNJ\xff\xff\xff\xffJ\xff\xff\xff\xffK\x00tb\x89'
    + python2_string(array.tobytes())
    + b'tb'
  )


def python2_instance(name, state):
  """Opcodes of an object: `module.name` and opcodes by attribute name."""
  module, _, kind = name.rpartition('.')
  return (
    b'ccopy_reg\n_reconstructor\n('
    + f'c{module}\n{kind}\n'.encode()
    + b'c__builtin__\nobject\nNtR'
    + python2_dict(state)
    + b'b'
  )


def python2_dict(items):
  """Opcodes of a dict, from opcodes by key."""
  body = b''.join(python2_string(key) + value for key, value in items.items())
  return b'}(' + body + b'u'


def python2_chumpy(array):
  """Opcodes of a chumpy.ch.Ch, with the attributes that chumpy pickles."""
  return python2_instance(
    'chumpy.ch.Ch',
    {
      'x': python2_array(array),
      '_dirty_vars': b'c__builtin__\nset\n(](U\x01xetR',
      '_itr': b'N',
      '_parents': b'N',
      '_cache': python2_dict({'drs': b'}', 'r': b'N'}),
      '_depends_on_deps': b'}',
    },
  )
