"""What a restricted pickle may consist of, and what is said when it does not.

Classes and functions never reach the interpreter: a pickle that names one gets
a `Global`, which knows a name and at most one pure function of ours, and its
instances are `StandIn` objects that hold data until `resolve` turns them into
arrays.
"""

from __future__ import annotations

import struct
import zipfile
import zlib
from collections.abc import Callable

# What damaged bytes make the standard library and numpy raise.
DAMAGE = (
  ArithmeticError,
  AttributeError,
  LookupError,
  MemoryError,
  RecursionError,
  TypeError,
  ValueError,
  struct.error,
)
ZIP_DAMAGE = (
  *DAMAGE,
  EOFError,
  NotImplementedError,
  OSError,
  RuntimeError,  # encrypted entries
  zipfile.BadZipFile,
  zlib.error,
)


class UnsafePickleError(ValueError):
  """A pickle asks for something outside the allow-list.

  Attributes:
    name: what was asked for, e.g. `os.system`.
  """

  def __init__(self, message: str, name: str):
    super().__init__(message)
    self.name = name


class MalformedPickleError(ValueError):
  """A pickle is truncated, damaged or not a pickle at all."""


class Global:
  """A class or function named by a pickle: a name and a construction rule.

  Attributes:
    name: `module.name` as written in the file.
  """

  __slots__ = ('_construct', 'name')

  def __init__(self, name: str, construct: Callable | None = None):
    self.name = name
    self._construct = construct

  def __repr__(self):
    return f'<name {self.name}>'

  def construct(self, *args):
    """Builds what a call with these arguments stands for."""
    if self._construct is None:
      raise UnsafePickleError(
        f'calls {self.name}, which is only allowed as a reference', self.name
      )
    return self._construct(*args)


class StandIn:
  """Base of the data-only objects that take the place of class instances."""

  def set_state(self, state) -> None:
    """Takes the state that pickle would give to `__setstate__`."""
    raise MalformedPickleError(f'{type(self).__name__} takes no state')

  def resolve(self, resolver):
    """Plain value of this object; `resolver` is a `Resolver`."""
    raise NotImplementedError


class Opaque(StandIn):
  """Placeholder of an object that was skipped and never constructed.

  Attributes:
    name: class or function that the file names.
  """

  def __init__(self, name: str):
    self.name = name

  def __repr__(self):
    return f'<skipped {self.name}>'

  def set_state(self, state) -> None:
    """Forgets the state."""

  def resolve(self, resolver):
    """Stays what it is."""
    return self


class OpaqueGlobal(Global):
  """A class outside the allow-list whose instances become `Opaque`."""

  __slots__ = ()

  def construct(self, *args):
    """Builds a placeholder; the arguments are dropped."""
    return Opaque(self.name)


class Resolver:
  """Turns what a pickle built into plain containers and arrays.

  Containers are changed in place, shared objects stay shared and cycles of
  lists and dicts are followed once.

  Args:
    byte_limit: arrays made in all may take this many bytes, so that a small
      file cannot fill the memory.
  """

  def __init__(self, byte_limit: int):
    self._bytes_left = byte_limit
    # Keeps the originals alive as well: an id is only unique among the living.
    self._done: dict[int, tuple[object, object]] = {}
    self._unfinished: set[int] = set()

  def charge(self, num_bytes: int) -> None:
    """Counts memory about to be used.

    Raises:
      MalformedPickleError: if the limit is passed.
    """
    self._bytes_left -= num_bytes
    if self._bytes_left < 0:
      raise MalformedPickleError(
        f'an array of {num_bytes} bytes passes what a file of this size may ask'
      )

  def resolve(self, value):
    """Plain value of anything a pickle may hold."""
    if isinstance(value, Global):
      return Opaque(value.name)
    if not isinstance(value, StandIn | dict | list | tuple):
      return value
    if id(value) in self._done:
      return self._done[id(value)][1]
    if isinstance(value, dict | list):
      return self._resolve_items(value)
    if id(value) in self._unfinished:
      raise MalformedPickleError('an object that contains itself')
    self._unfinished.add(id(value))
    if isinstance(value, tuple):
      result = tuple(self.resolve(part) for part in value)
    else:
      result = value.resolve(self)
    self._unfinished.discard(id(value))
    self.settle(value, result)
    return result

  def settle(self, value, result) -> None:
    """Records the result of `value`, before its parts if it may be a cycle."""
    self._done[id(value)] = (value, result)

  def _resolve_items(self, container):
    self.settle(container, container)
    keys = container if isinstance(container, dict) else range(len(container))
    for key in keys:
      container[key] = self.resolve(container[key])
    return container
