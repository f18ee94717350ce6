"""Arguments of commands that are in a bucket: brought here, or taken there."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from data import remote

# Arguments that are used where they are: a run that is written, and data,
# whose path a run remembers. Every other path is one to read.
_IN_PLACE = {
  'train': ('workdir', 'config'),
  'evaluate': ('data', 'output'),
  'convert': ('workdir',),
}
# A folder to make.
_OUTPUT = 'output'
# Several paths, comma-separated.
_SEVERAL = ('bundle', 'landmarks')


def call(command: Callable[..., int], values: Mapping[str, Any]) -> int:
  """Calls a command with arguments that may be in buckets.

  Args:
    command: one of `commands.COMMANDS`.
    values: argument to value, as given.

  Returns:
    Its exit status.

  Raises:
    RemotePathError, FileNotFoundError: see `local_arguments`.
  """
  with local_arguments(command.__name__, values) as local:
    return command(**local)


@contextlib.contextmanager
def local_arguments(
  command: str, values: Mapping[str, Any]
) -> Iterator[dict[str, Any]]:
  """Arguments of a command with local paths instead of those in buckets.

  Args:
    command: its name.
    values: argument to value, as given.

  Yields:
    The arguments. What is read has been copied here; what the command leaves
    in its output folder is copied to its bucket at the end, if all went well.

  Raises:
    RemotePathError: if a bucket cannot be reached, read or written.
    FileNotFoundError: if something to read is not there.
  """
  with contextlib.ExitStack() as stack:
    local = dict(values)
    for name, value in values.items():
      if not isinstance(value, str):
        continue
      paths = value.split(',') if name in _SEVERAL else [value]
      if not any(map(remote.is_remote, paths)):
        continue
      for path in paths:
        remote.check(path)
      if name in _IN_PLACE.get(command, ()):
        continue
      if name == _OUTPUT:
        local[name] = str(stack.enter_context(remote.output_folder(value)))
      else:
        local[name] = ','.join(str(remote.local_copy(path)) for path in paths)
    yield local
