"""Files and folders that come whole or not at all, and names that count."""

from __future__ import annotations

import contextlib
import json
import os
import pathlib
import re
import shutil
import zipfile
import zlib
from collections.abc import Iterator
from typing import IO, Any

import numpy as np

_DIGITS = re.compile(r'(\d+)')


class BrokenFileError(ValueError):
  """A file that is not what its name says; the message names it."""


def natural_key(name: str) -> tuple:
  """Sort key that counts: `frame2` comes before `frame10`.

  Args:
    name: a file or clip name.

  Returns:
    A key for `sorted`. Names that differ only in leading zeros keep a fixed
    order, because the name itself is the last part of the key.
  """
  parts = _DIGITS.split(name)
  return (
    tuple(int(p) if i % 2 else p for i, p in enumerate(parts)),
    name,
  )


@contextlib.contextmanager
def atomic_writer(path: str | os.PathLike) -> Iterator[IO[bytes]]:
  """Opens a file that appears under its name only when it is complete.

  Args:
    path: where the file shall be; its folder must exist.

  Yields:
    A binary file. When the block raises or the process dies, `path` keeps
    what it held before.
  """
  path = pathlib.Path(path)
  # The process id keeps two writers of one name from mixing their bytes.
  temporary = path.with_name(f'.{path.name}.{os.getpid()}.tmp')
  try:
    with open(temporary, 'wb') as file:
      yield file
      file.flush()
      os.fsync(file.fileno())
    os.replace(temporary, path)
  finally:
    temporary.unlink(missing_ok=True)


def put_folder(
  built: str | os.PathLike,
  final: str | os.PathLike,
  aside: str | os.PathLike,
) -> None:
  """Moves a finished folder to its name; what was there goes after that.

  Args:
    built: the finished folder.
    final: where it shall be, on the same disk; the folder around must exist.
    aside: a free name there, for what is replaced.

  Raises:
    OSError: if it cannot be moved; then `final` is what it was.
  """
  replaces = os.path.exists(final)
  if replaces:
    shutil.rmtree(aside, ignore_errors=True)
    os.rename(final, aside)
  try:
    os.rename(built, final)
  except BaseException:
    if replaces:
      os.rename(aside, final)
    raise
  if replaces:
    shutil.rmtree(aside, ignore_errors=True)


def write_npz(path: str | os.PathLike, arrays: dict[str, np.ndarray]) -> None:
  """Writes arrays (none of dtype object) to one `.npz`, atomically.

  Args:
    path: the file; no suffix is added.
    arrays: name to array.

  Raises:
    TypeError: on an array of Python objects, which only pickle could store.
  """
  objects = [
    name for name, a in arrays.items() if np.asarray(a).dtype.hasobject
  ]
  if objects:
    raise TypeError(f'{path}: arrays of Python objects: {", ".join(objects)}')
  with atomic_writer(path) as file:
    np.savez(file, **arrays)


def read_npz(path: str | os.PathLike) -> dict[str, np.ndarray]:
  """Reads every array of an `.npz`; nothing in it is ever executed.

  Args:
    path: an `.npz` file.

  Returns:
    Name to array.

  Raises:
    FileNotFoundError: if there is no such file.
    BrokenFileError: if it is no `.npz`, is cut short or holds Python objects.
  """
  if not os.path.exists(path):
    raise FileNotFoundError(f'{path}: no such file')
  try:
    with np.load(path, allow_pickle=False) as stored:
      return dict(stored)
  # `np.load` of a bare `.npy` gives an array, which is no context manager.
  except (
    OSError,
    EOFError,
    AttributeError,
    TypeError,
    ValueError,
    zipfile.BadZipFile,
    zlib.error,
  ) as error:
    raise BrokenFileError(
      f'{path}: not a readable .npz of plain arrays ({error})'
    ) from error


def write_json(path: str | os.PathLike, content: Any) -> None:
  """Writes indented JSON with a final newline, atomically.

  Args:
    path: the file.
    content: what `json.dumps` takes; NaN is refused, keys keep their order.
  """
  text = json.dumps(content, indent=2, ensure_ascii=False, allow_nan=False)
  with atomic_writer(path) as file:
    file.write(text.encode('utf-8') + b'\n')
