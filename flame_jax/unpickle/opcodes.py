"""What each pickle opcode does to a `PickleMachine` (protocols 0 to 5).

Left out on purpose, and so refused: the extension registry (EXT*) and
out-of-band buffers, which files have no use for.
"""

from __future__ import annotations

import codecs
import pickle
from collections import OrderedDict
from collections.abc import Callable

from flame_jax.unpickle.values import MalformedPickleError, Opaque, StandIn

# Hashing nested tuples recurses in C without a limit, so keys stay shallow.
_MAX_KEY_DEPTH = 3
_MAX_PROTOCOL = 5


def check_key(key, depth: int = 0) -> None:
  """Raises MalformedPickleError for keys that are dangerous to hash."""
  if isinstance(key, tuple):
    if depth >= _MAX_KEY_DEPTH:
      raise MalformedPickleError('a key nested too deeply')
    for part in key:
      check_key(part, depth + 1)


def make_set(values=(), kind=set):
  """A set of values that are safe to hash."""
  values = list(values)
  for value in values:
    check_key(value)
  return kind(values)


def _constant(make: Callable):
  return lambda machine: machine.push(make())


def _number(layout: str):
  return lambda machine: machine.push(machine.take_number(layout))


def _sized(layout: str, convert: Callable):
  return lambda machine: machine.push(convert(machine.take_sized(layout)))


def _recall(layout: str):
  return lambda machine: machine.recall(machine.take_number(layout))


def _remember(layout: str):
  return lambda machine: machine.remember(machine.take_number(layout))


def _long(data: bytes) -> int:
  return int.from_bytes(data, 'little', signed=True)


def _text(data: bytes) -> str:
  return data.decode('utf-8', 'surrogatepass')


def _old_text(data: bytes) -> str:
  # Python 2's byte strings; Latin-1 keeps every byte and is what numpy undoes.
  return data.decode('latin1')


def _int_line(machine) -> None:
  line = machine.take_line()
  # Protocol 0 writes True and False as I01 and I00.
  booleans = {b'01': True, b'00': False}
  machine.push(booleans[line] if line in booleans else int(line.rstrip(b'L')))


def _float_line(machine) -> None:
  machine.push(float(machine.take_line()))


def _quoted_line(machine) -> None:
  line = machine.take_line().strip()
  if len(line) < 2 or line[:1] not in (b"'", b'"') or line[:1] != line[-1:]:
    raise MalformedPickleError('a string without quotes')
  machine.push(_old_text(codecs.escape_decode(line[1:-1])[0]))


def _unicode_line(machine) -> None:
  machine.push(machine.take_line().decode('raw-unicode-escape'))


def _protocol(machine) -> None:
  protocol = machine.take_number('<B')
  if protocol > _MAX_PROTOCOL:
    raise MalformedPickleError(f'pickle protocol {protocol} is not known')


def _frame(machine) -> None:
  machine.take_number('<Q')  # only a hint for buffered reading


def _tuple_of(count: int):
  def handler(machine) -> None:
    parts = [machine.pop() for _ in range(count)]
    machine.push(tuple(reversed(parts)))

  return handler


def _group(kind: Callable):
  return lambda machine: machine.push(kind(machine.pop_group()))


def _dict_group(machine) -> None:
  result = {}
  _set_items(result, machine.pop_group())
  machine.push(result)


def _set_items(target, flat: list) -> None:
  if isinstance(target, Opaque):
    return
  if not isinstance(target, dict):
    raise MalformedPickleError(f'items set on a {type(target).__name__}')
  if len(flat) % 2:
    raise MalformedPickleError('a key without a value')
  for key, value in zip(flat[::2], flat[1::2], strict=True):
    check_key(key)
    target[key] = value


def _set_item(machine) -> None:
  value, key = machine.pop(), machine.pop()
  _set_items(machine.top(), [key, value])


def _set_group(machine) -> None:
  group = machine.pop_group()
  _set_items(machine.top(), group)


def _extend(target, values: list) -> None:
  if isinstance(target, Opaque):
    return
  if not isinstance(target, list):
    raise MalformedPickleError(f'values added to a {type(target).__name__}')
  target.extend(values)


def _append(machine) -> None:
  value = machine.pop()
  _extend(machine.top(), [value])


def _append_group(machine) -> None:
  group = machine.pop_group()
  _extend(machine.top(), group)


def _add_group(machine) -> None:
  group = make_set(machine.pop_group())
  target = machine.top()
  if isinstance(target, Opaque):
    return
  if not isinstance(target, set):
    raise MalformedPickleError(f'members added to a {type(target).__name__}')
  target.update(group)


def _global_lines(machine) -> None:
  module = _text(machine.take_line())
  machine.push_global(module, _text(machine.take_line()))


def _global_from_stack(machine) -> None:
  name, module = machine.pop(), machine.pop()
  machine.push_global(module, name)


def _call(machine) -> None:
  args, factory = machine.pop(), machine.pop()
  machine.push_constructed(factory, args)


def _call_with_keywords(machine) -> None:
  keywords, args, factory = machine.pop(), machine.pop(), machine.pop()
  if keywords and not isinstance(factory, Opaque):
    name = getattr(factory, 'name', type(factory).__name__)
    raise MalformedPickleError(f'{name} is called with keywords')
  machine.push_constructed(factory, args)


def _old_instance(machine) -> None:
  _global_lines(machine)
  factory = machine.pop()
  machine.push_constructed(factory, tuple(machine.pop_group()))


def _old_object(machine) -> None:
  factory, *args = machine.pop_group()
  machine.push_constructed(factory, tuple(args))


def _build(machine) -> None:
  state, target = machine.pop(), machine.top()
  if isinstance(target, OrderedDict):
    return  # attributes of a state_dict, such as torch's `_metadata`
  if not isinstance(target, StandIn):
    raise MalformedPickleError(f'state set on a {type(target).__name__}')
  target.set_state(state)


def _persistent_line(machine) -> None:
  machine.push_persistent(_text(machine.take_line()))


def _persistent(machine) -> None:
  machine.push_persistent(machine.pop())


HANDLERS: dict[bytes, Callable] = {
  # Constants and numbers.
  pickle.NONE: _constant(lambda: None),
  pickle.NEWTRUE: _constant(lambda: True),
  pickle.NEWFALSE: _constant(lambda: False),
  pickle.INT: _int_line,
  pickle.LONG: _int_line,
  pickle.FLOAT: _float_line,
  pickle.BININT: _number('<i'),
  pickle.BININT1: _number('<B'),
  pickle.BININT2: _number('<H'),
  pickle.BINFLOAT: _number('>d'),
  pickle.LONG1: _sized('<B', _long),
  pickle.LONG4: _sized('<i', _long),
  # Strings.
  pickle.STRING: _quoted_line,
  pickle.UNICODE: _unicode_line,
  pickle.BINSTRING: _sized('<i', _old_text),
  pickle.SHORT_BINSTRING: _sized('<B', _old_text),
  pickle.BINUNICODE: _sized('<I', _text),
  pickle.SHORT_BINUNICODE: _sized('<B', _text),
  pickle.BINUNICODE8: _sized('<Q', _text),
  pickle.BINBYTES: _sized('<I', bytes),
  pickle.SHORT_BINBYTES: _sized('<B', bytes),
  pickle.BINBYTES8: _sized('<Q', bytes),
  pickle.BYTEARRAY8: _sized('<Q', bytes),
  # Containers.
  pickle.EMPTY_TUPLE: _constant(tuple),
  pickle.EMPTY_LIST: _constant(list),
  pickle.EMPTY_DICT: _constant(dict),
  pickle.EMPTY_SET: _constant(set),
  pickle.TUPLE: _group(tuple),
  pickle.TUPLE1: _tuple_of(1),
  pickle.TUPLE2: _tuple_of(2),
  pickle.TUPLE3: _tuple_of(3),
  pickle.LIST: _group(list),
  pickle.DICT: _dict_group,
  pickle.FROZENSET: _group(lambda group: make_set(group, frozenset)),
  pickle.APPEND: _append,
  pickle.APPENDS: _append_group,
  pickle.SETITEM: _set_item,
  pickle.SETITEMS: _set_group,
  pickle.ADDITEMS: _add_group,
  # Stack and memo.
  pickle.PROTO: _protocol,
  pickle.FRAME: _frame,
  pickle.MARK: lambda machine: machine.mark(),
  pickle.POP: lambda machine: machine.drop(),
  pickle.POP_MARK: lambda machine: machine.pop_group(),
  pickle.DUP: lambda machine: machine.push(machine.top()),
  pickle.GET: lambda machine: machine.recall(int(machine.take_line())),
  pickle.BINGET: _recall('<B'),
  pickle.LONG_BINGET: _recall('<I'),
  pickle.PUT: lambda machine: machine.remember(int(machine.take_line())),
  pickle.BINPUT: _remember('<B'),
  pickle.LONG_BINPUT: _remember('<I'),
  pickle.MEMOIZE: lambda machine: machine.remember(),
  # Classes, functions and their instances.
  pickle.GLOBAL: _global_lines,
  pickle.STACK_GLOBAL: _global_from_stack,
  pickle.REDUCE: _call,
  pickle.NEWOBJ: _call,
  pickle.NEWOBJ_EX: _call_with_keywords,
  pickle.INST: _old_instance,
  pickle.OBJ: _old_object,
  pickle.BUILD: _build,
  pickle.PERSID: _persistent_line,
  pickle.BINPERSID: _persistent,
}
