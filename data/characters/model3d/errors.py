"""What goes wrong with a user's file, and where the reader gives up.

The limits are far above real avatars (a VRoid export has 50,000 vertices,
60 morph targets and ten textures of 2048 pixels) and far below what a hostile
file would need to fill the memory.
"""

from __future__ import annotations

import os

MAX_FILE_BYTES = 512 << 20
MAX_JSON_BYTES = 64 << 20
# All numbers read from buffers together: 64 million float32 are 256 MiB.
MAX_VALUES = 64_000_000
MAX_NODES = 20_000
MAX_VERTICES = 1_000_000
MAX_TRIANGLES = 2_000_000
# Vertices that morph targets move, all targets together; primitives may share
# the numbers in the file, but each keeps its own: 16 million are 900 MiB.
MAX_MOVED = 16_000_000
# Decoded pixels of all textures together.
MAX_PIXELS = 1 << 28


class CharacterError(ValueError):
  """A character that cannot be opened: which file, what is wrong, what to do.

  Attributes:
    file: name or path that was asked for.
    fault: what is wrong.
    remedy: what the user can do.
  """

  def __init__(self, file: str | os.PathLike, fault: str, remedy: str):
    super().__init__(f'{os.fspath(file)}: {fault}; {remedy}')
    self.file = os.fspath(file)
    self.fault = fault
    self.remedy = remedy

  def __reduce__(self):
    # The default would call the constructor with the message alone.
    return type(self), (self.file, self.fault, self.remedy)


class Fault(Exception):
  """A fault found deep inside the file, before its name is known.

  `reading.read_model` turns it into a `CharacterError`.
  """

  def __init__(self, fault: str, remedy: str = 'export the model again'):
    super().__init__(fault)
    self.fault = fault
    self.remedy = remedy
