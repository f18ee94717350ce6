"""An interpreter of pickle files that can only build plain data.

Python's own unpickler imports and calls whatever a file names. This one knows
no import and no call: it keeps a stack of numbers, strings, containers and
stand-ins, and everything a file wants constructed goes through the `Global`
objects that an allow-list hands out.
"""

from __future__ import annotations

import pickle
import struct
from collections.abc import Callable

from flame_jax.unpickle.opcodes import HANDLERS
from flame_jax.unpickle.values import (
  DAMAGE,
  Global,
  MalformedPickleError,
  Opaque,
  UnsafePickleError,
)


class PickleMachine:
  """Runs pickles of protocol 0 to 5, one after the other.

  Args:
    data: the file.
    find_global: the allow-list, (module, name) -> Global.
    persistent_load: finds what persistent ids refer to, or None.
    position: where in `data` the first pickle starts.

  Attributes:
    position: next byte to read; after `run`, the end of the pickle.
  """

  def __init__(
    self,
    data: bytes,
    find_global: Callable[[str, str], Global],
    persistent_load: Callable[[object], object] | None = None,
    position: int = 0,
  ):
    self.position = position
    self._data = data
    self._find_global = find_global
    self._persistent_load = persistent_load
    self._stack: list
    self._marks: list[int]
    self._memo: dict[int, object]

  def run(self) -> object:
    """Returns the next pickled object, its stand-ins not yet resolved.

    Raises:
      UnsafePickleError: if it names something outside the allow-list.
      MalformedPickleError: if it cannot be read.
    """
    self._stack, self._marks, self._memo = [], [], {}
    start = self.position
    try:
      while True:
        start = self.position
        code = self.take(1)
        if code == pickle.STOP:
          return self.pop()
        if code not in HANDLERS:
          raise MalformedPickleError(f'{code!r} is not an allowed opcode')
        HANDLERS[code](self)
    except UnsafePickleError:
      raise
    except DAMAGE as error:
      raise MalformedPickleError(
        f'not a readable pickle, byte {start}: {error}'
      ) from error

  def take(self, count: int) -> bytes:
    """Next `count` bytes of the file."""
    left = len(self._data) - self.position
    if not 0 <= count <= left:
      raise MalformedPickleError(f'{count} bytes wanted, {left} left')
    self.position += count
    return self._data[self.position - count : self.position]

  def take_number(self, layout: str):
    """Next number, in `struct` layout."""
    return struct.unpack(layout, self.take(struct.calcsize(layout)))[0]

  def take_sized(self, layout: str) -> bytes:
    """Next byte string, which its length precedes."""
    return self.take(self.take_number(layout))

  def take_line(self) -> bytes:
    """Bytes up to the next newline, without it."""
    end = self._data.find(b'\n', self.position)
    if end < 0:
      raise MalformedPickleError('an unfinished line')
    line = self.take(end - self.position)
    self.position += 1
    return line

  def push(self, value) -> None:
    """Puts a value on the stack."""
    self._stack.append(value)

  def top(self):
    """The top value, left in place; it must lie above the last mark."""
    bottom = self._marks[-1] if self._marks else 0
    if len(self._stack) <= bottom:
      raise MalformedPickleError('the stack is empty')
    return self._stack[-1]

  def pop(self):
    """Takes the top value."""
    self.top()
    return self._stack.pop()

  def drop(self) -> None:
    """Removes the top value, or the last mark if nothing lies above it."""
    if self._marks and self._marks[-1] == len(self._stack):
      self._marks.pop()
    else:
      self.pop()

  def mark(self) -> None:
    """Opens a group."""
    self._marks.append(len(self._stack))

  def pop_group(self) -> list:
    """Closes the last group and takes its values."""
    if not self._marks:
      raise MalformedPickleError('no open group')
    start = self._marks.pop()
    group = self._stack[start:]
    del self._stack[start:]
    return group

  def remember(self, index: int | None = None) -> None:
    """Stores the top value in the memo."""
    self._memo[len(self._memo) if index is None else index] = self.top()

  def recall(self, index: int) -> None:
    """Pushes a memo entry."""
    if index not in self._memo:
      raise MalformedPickleError(f'memo entry {index} does not exist')
    self.push(self._memo[index])

  def push_global(self, module, name) -> None:
    """Pushes what the allow-list has for a class or function."""
    if not isinstance(module, str) or not isinstance(name, str):
      raise MalformedPickleError('a class name that is not text')
    self.push(self._find_global(module, name))

  def push_persistent(self, identity) -> None:
    """Pushes an object that lies outside of the pickle."""
    if self._persistent_load is None:
      raise MalformedPickleError('it refers to data outside of the file')
    self.push(self._persistent_load(identity))

  def push_constructed(self, factory, args) -> None:
    """Pushes what `factory(*args)` stands for."""
    if isinstance(factory, Opaque):
      self.push(factory)
      return
    if not isinstance(factory, Global):
      kind = type(factory).__name__
      raise UnsafePickleError(f'calls a value of type {kind}', kind)
    if not isinstance(args, tuple):
      raise MalformedPickleError('call arguments that are not a tuple')
    self.push(factory.construct(*args))
