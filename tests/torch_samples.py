"""PyTorch files made by hand, opcode by opcode, for tests without PyTorch."""

import io
import pickle
import struct
import zipfile

PROTOCOL = b'\x80\x02'
MAGIC_NUMBER = 0x1950A86A20F9469CFC6C


def text(value: str) -> bytes:
  """Opcode of a string."""
  return b'X' + struct.pack('<I', len(value)) + value.encode()


def number(value: int) -> bytes:
  """Opcode of an int."""
  return pickle.dumps(value, 2)[2:-1]


def numbers(values) -> bytes:
  """Opcodes of a tuple of ints."""
  return b'(' + b''.join(map(number, values)) + b't'


def storage(kind: str, key: str, count: int, view: bytes | None = None):
  """Opcodes of a persistent storage, `kind` as in `torch.FloatStorage`."""
  module, _, name = kind.rpartition('.')
  return (
    b'('
    + text('storage')
    + f'c{module}\n{name}\n'.encode()
    + text(key)
    + text('cuda:0')
    + number(count)
    + (view or b'')
    + b'tQ'
  )


def tensor(stored: bytes, shape, stride, offset=0, extra=b'') -> bytes:
  """Opcodes of a tensor over the storage."""
  return (
    b'ctorch._utils\n_rebuild_tensor_v2\n('
    + stored
    + number(offset)
    + numbers(shape)
    + numbers(stride)
    + b'\x89ccollections\nOrderedDict\n)R'
    + extra
    + b'tR'
  )


def mapping(items: dict[str, bytes]) -> bytes:
  """Opcodes of an OrderedDict as state_dict() makes it, with attributes."""
  body = b''.join(text(key) + value for key, value in items.items())
  attributes = b'}' + text('_metadata') + b'}sb'
  return b'ccollections\nOrderedDict\n)R(' + body + b'u' + attributes


def zip_file(
  contents: bytes,
  storages: dict[str, bytes],
  *,
  byteorder: bytes | None = None,
  compression: int = zipfile.ZIP_STORED,
  extra: dict[str, bytes] | None = None,
) -> bytes:
  """A file as torch.save writes it since 1.6."""
  stream = io.BytesIO()
  with zipfile.ZipFile(stream, 'w', compression) as archive:
    archive.writestr('archive/data.pkl', PROTOCOL + contents + b'.')
    if byteorder:
      archive.writestr('archive/byteorder', byteorder)
    for key, data in storages.items():
      archive.writestr(f'archive/data/{key}', data)
    for name, data in (extra or {}).items():
      archive.writestr(name, data)
    archive.writestr('archive/version', b'3\n')
  return stream.getvalue()


def legacy_file(
  contents: bytes,
  storages: dict[str, tuple[int, bytes]],
  *,
  little_endian: bool = True,
) -> bytes:
  """A file as torch.save wrote it before 1.6: count and bytes by key."""
  system = {
    'protocol_version': 1001,
    'little_endian': little_endian,
    'type_sizes': {'short': 2, 'int': 4, 'long': 4},
  }
  head = b''.join(pickle.dumps(v, 2) for v in (MAGIC_NUMBER, 1001, system))
  keys = pickle.dumps(list(storages), 2)
  order = '<q' if little_endian else '>q'
  tail = b''.join(
    struct.pack(order, count) + data for count, data in storages.values()
  )
  return head + PROTOCOL + contents + b'.' + keys + tail
