"""From a file to a glTF document and its buffers.

Both containers are read: `.glb`/`.vrm` (binary) and `.gltf` (text). Source:
glTF 2.0 specification, sections "GLB File Format" and "Buffers and Buffer
Views".
"""

from __future__ import annotations

import base64
import binascii
import pathlib
import struct
import urllib.parse
from typing import Any

import pygltflib

from data.characters.model3d import errors
from data.characters.model3d.errors import Fault

_MAGIC = b'glTF'
_JSON = 0x4E4F534A
_BINARY = 0x004E4942
# Extensions without which nothing can be drawn, and what undoes them.
_COMPRESSION = {
  'KHR_draco_mesh_compression': 'Draco compression',
  'EXT_meshopt_compression': 'meshopt compression',
  'KHR_meshopt_compression': 'meshopt compression',
}
_AGAIN = 'download or export it again'


def at(items: Any, index: Any, what: str) -> Any:
  """`items[index]` for an index that comes from the file."""
  count = len(items or ())
  if isinstance(index, bool) or not isinstance(index, int):
    raise Fault(f'index of a {what} is {index!r}, not a whole number')
  if not 0 <= index < count:
    raise Fault(f'{what} {index} does not exist (the file has {count})')
  return items[index]


def _glb_chunks(data: bytes) -> tuple[bytes, bytes | None]:
  if len(data) < 20:
    raise Fault('the file ends within its header', _AGAIN)
  _, version, length = struct.unpack_from('<4sII', data)
  if version != 2:
    raise Fault(
      f'glTF version {version} is not supported', 'export it as glTF 2.0'
    )
  if length > len(data):
    raise Fault(
      f'the file is cut off: {len(data)} of {length} bytes are there', _AGAIN
    )
  text = binary = None
  offset = 12
  while offset + 8 <= length:
    size, kind = struct.unpack_from('<II', data, offset)
    start, offset = offset + 8, offset + 8 + size
    if offset > length:
      raise Fault('a chunk of the file reaches beyond its end', _AGAIN)
    if kind == _JSON and text is None:
      text = data[start:offset]
    elif kind == _BINARY and binary is None:
      binary = data[start:offset]
  if text is None:
    raise Fault('the file has no JSON chunk', _AGAIN)
  return text, binary


def _data_uri(uri: str) -> bytes:
  header, comma, content = uri.partition(',')
  if not comma:
    raise Fault('a data URI has no content')
  if not header.endswith(';base64'):
    return urllib.parse.unquote_to_bytes(content)
  try:
    return base64.b64decode(content, validate=True)
  except binascii.Error as error:
    raise Fault(f'a data URI is not base64 ({error})') from error


def _beside(folder: pathlib.Path, uri: str) -> bytes:
  """Bytes of a file that a document names; never from outside its folder."""
  name = urllib.parse.unquote(uri)
  parsed = urllib.parse.urlparse(uri)
  folder = folder.resolve()
  target = (folder / name).resolve()
  if parsed.scheme or '\0' in name or not target.is_relative_to(folder):
    raise Fault(
      f'it refers to {uri!r}, which is outside its own folder',
      'export it as one .glb file',
    )
  if not target.is_file():
    raise Fault(
      f'it needs {uri!r}, which is not beside it',
      'copy that file too, or export as one .glb file',
    )
  if target.stat().st_size > errors.MAX_FILE_BYTES:
    raise Fault(f'{uri!r} is larger than {errors.MAX_FILE_BYTES} bytes')
  return target.read_bytes()


class Container:
  """A glTF document with its buffers, read when they are asked for.

  Attributes:
    gltf: the parsed document; nothing in it has been checked.
  """

  def __init__(self, path: pathlib.Path):
    if path.stat().st_size > errors.MAX_FILE_BYTES:
      raise Fault(
        f'the file is larger than {errors.MAX_FILE_BYTES >> 20} MiB',
        'reduce its textures',
      )
    data = path.read_bytes()
    self._folder = path.parent
    self._binary = None
    if data[:4] == _MAGIC:
      data, self._binary = _glb_chunks(data)
    elif not data.lstrip(b'\xef\xbb\xbf \t\r\n').startswith(b'{'):
      raise Fault(
        'it is not a glTF file (neither "glTF" nor "{" at its start)',
        'give a .vrm, .glb or .gltf file',
      )
    if len(data) > errors.MAX_JSON_BYTES:
      raise Fault(f'its JSON is larger than {errors.MAX_JSON_BYTES} bytes')
    self.gltf = pygltflib.GLTF2.gltf_from_json(data.decode('utf-8-sig'))
    self._check_extensions()
    self._buffers: dict[int, bytes] = {}

  def _check_extensions(self) -> None:
    required = self.gltf.extensionsRequired or []
    for name, what in _COMPRESSION.items():
      if name in required:
        raise Fault(
          f'it uses {what} ({name}), which is not supported',
          'export it without compression',
        )

  def buffer(self, index: int) -> bytes:
    """Content of a buffer, at least as long as it says."""
    if index not in self._buffers:
      entry = at(self.gltf.buffers, index, 'buffer')
      if not entry.uri:
        data = self._binary if index == 0 else None
        if data is None:
          raise Fault(f'buffer {index} has no content', _AGAIN)
      else:
        data = self.uri(entry.uri)
      if len(data) < entry.byteLength:
        raise Fault(
          f'buffer {index} has {len(data)} of {entry.byteLength} bytes', _AGAIN
        )
      self._buffers[index] = data
    return self._buffers[index]

  def uri(self, uri: str) -> bytes:
    """Content that a URI names: embedded, or a file beside the document."""
    return _data_uri(uri) if uri[:5] == 'data:' else _beside(self._folder, uri)

  def view(self, index: int) -> tuple[memoryview, int | None]:
    """Bytes of a buffer view, and the stride of its elements if it has one."""
    view = at(self.gltf.bufferViews, index, 'buffer view')
    for name in _COMPRESSION:
      if name in (view.extensions or {}):
        raise Fault(f'it uses {name}', 'export it without compression')
    data = memoryview(self.buffer(view.buffer))
    start, length = view.byteOffset or 0, view.byteLength
    if start < 0 or length < 0 or start + length > len(data):
      raise Fault(f'buffer view {index} reaches beyond its buffer', _AGAIN)
    return data[start : start + length], view.byteStride
