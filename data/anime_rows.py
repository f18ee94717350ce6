"""The rows of AnimeCeleb's `combined_pose.csv`, and the paths they stand for.

The file starts with a header. Its columns are `org_id` (the identity), the
cluster, the png name, then the 20 pose numbers in the order of
`data.pose_vector` (17 coefficients in [0, 1], pitch, roll and yaw in degrees).
Columns are found by position, because the names of AnimeCeleb's are not
published; columns before one named `org_id` are passed over, and a file
without a header is read too. The folder is the png name up to its first `/`
or, if it has none, up to its first `_`.
"""

from __future__ import annotations

import csv
import dataclasses
import io
import os
import pathlib
from collections.abc import Iterable, Iterator

import numpy as np

from data import files, pose_vector

CSV_NAME = 'combined_pose.csv'
KINDS = ('frontal', 'rotation')
NEUTRAL_KIND = 'basis'

HEADER = ('org_id', 'cluster', 'png', *pose_vector.POSE_NAMES)

# What a coefficient may be off by after rounding, before it is clamped.
_TOLERANCE = 1e-4
# Beyond a right angle no face is seen; AnimeCeleb has 20 degrees at most.
_LARGEST_ANGLE = 90.0


class AnimeTreeError(ValueError):
  """A tree of which nothing can be used; the message says why."""


@dataclasses.dataclass(frozen=True)
class PoseRow:
  """One row of the CSV.

  Attributes:
    identity: `org_id`.
    cluster: name of the folder between kind and character.
    name: png name, in either form of the module's docstring.
    pose: 20 floats.
  """

  identity: str
  cluster: str
  name: str
  pose: tuple[float, ...]


def folder_of(name: str) -> str:
  """The character's folder of a png name.

  Args:
    name: e.g. `12_0003.png` or `12/0003.png`.

  Returns:
    What is before the first `/` or, if there is none, the first `_`.

  Raises:
    ValueError: if there is neither, or nothing before it.
  """
  folder, mark, _ = name.partition('/' if '/' in name else '_')
  if not mark or not folder:
    raise ValueError(
      f'png name {name!r} has no folder before a "_" or "/" in it'
    )
  return folder


def picture_path(kind: str, cluster: str, name: str) -> str:
  """Where a picture is, below the root, e.g. `frontal/0/12/12_0003.png`.

  Args:
    kind: one of `KINDS`.
    cluster: its cluster.
    name: png name; one with `/` has its folder already.

  Returns:
    The path, with `/`.

  Raises:
    ValueError: if the name has no folder.
  """
  folder = folder_of(name)
  inside = name if '/' in name else f'{folder}/{name}'
  return f'{kind}/{cluster}/{inside}'


def basis_path(folder: str) -> str:
  """Where a character's neutral picture is, below the root."""
  return f'{NEUTRAL_KIND}/{folder}/basis.png'


def write_csv(root: str | os.PathLike, rows: Iterable[PoseRow]) -> None:
  """Writes `combined_pose.csv`, atomically.

  Args:
    root: the tree.
    rows: in the order wanted; pose numbers of numpy keep all their digits.
  """
  with files.atomic_writer(pathlib.Path(root, CSV_NAME)) as file:
    text = io.TextIOWrapper(file, 'utf-8', newline='', write_through=True)
    writer = csv.writer(text, lineterminator='\n')
    writer.writerow(HEADER)
    for row in rows:
      writer.writerow([row.identity, row.cluster, row.name, *row.pose])
    text.detach()  # The file is closed by its writer.


def read_rows(
  path: str | os.PathLike,
) -> Iterator[tuple[str, PoseRow | str]]:
  """Reads a CSV; a malformed row never loses the others.

  Args:
    path: the file.

  Yields:
    `<file>:<line>`, and the row or everything that is wrong with it. A
    coefficient that rounding brought out of [0, 1] is clamped.

  Raises:
    OSError: if it cannot be read.
    AnimeTreeError: if its header has too few columns.
  """
  path = pathlib.Path(path)
  offset, width = 0, len(HEADER)
  # A stray quote must not swallow the lines below it, so lines are parsed one
  # by one; a damaged letter must not end the file.
  with open(path, encoding='utf-8-sig', errors='replace', newline='') as file:
    for number, line in enumerate(file, 1):
      where = f'{path.name}:{number}'
      try:
        cells = next(csv.reader([line], strict=True), [])
      except csv.Error as error:
        yield where, f'malformed row: {error}'
        continue
      cells = [cell.strip() for cell in cells]
      if number == 1 and _is_header(cells):
        offset, width = _header_place(path, cells), len(cells)
      elif any(cells):
        yield where, _parse_row(cells, offset, width)


def _is_header(cells: list[str]) -> bool:
  return 'org_id' in cells or not any(map(_is_number, cells[3:]))


def _is_number(cell: str) -> bool:
  try:
    float(cell)
  except ValueError:
    return False
  return True


def _header_place(path: pathlib.Path, cells: list[str]) -> int:
  """Column of the identity."""
  offset = cells.index('org_id') if 'org_id' in cells else 0
  if len(cells) - offset < len(HEADER):
    raise AnimeTreeError(
      f'{path}: the header has {len(cells)} columns, wanted at least '
      f'{offset + len(HEADER)}: org_id, cluster, png and '
      f'{pose_vector.NUM_POSE} pose numbers'
    )
  return offset


def _parse_row(cells: list[str], offset: int, width: int) -> PoseRow | str:
  """The row, or everything that is wrong with it."""
  if len(cells) != width:
    return f'malformed row: {len(cells)} cells, wanted {width}'
  identity, cluster, name, *numbers = cells[offset : offset + len(HEADER)]
  problems = _name_problems(identity, cluster, name)
  pose, number_problems = _parse_pose(numbers)
  problems += number_problems
  if problems:
    return '; '.join(problems)
  return PoseRow(identity, cluster, name, pose)


def _parse_pose(cells: list[str]) -> tuple[tuple[float, ...], list[str]]:
  """The pose numbers and everything that is wrong with them."""
  # Nearly all rows are good, and AnimeCeleb has over a million.
  try:
    pose = tuple(map(float, cells))
  except ValueError:
    pose = (np.nan,)
  count = pose_vector.NUM_COEFFICIENTS
  if all(0 <= value <= 1 for value in pose[:count]) and all(
    -_LARGEST_ANGLE <= value <= _LARGEST_ANGLE for value in pose[count:]
  ):
    return pose, []
  parsed = [
    _parse_number(number, cell)
    for number, cell in zip(pose_vector.POSE_NUMBERS, cells, strict=True)
  ]
  problems = [problem for _, problem in parsed if problem]
  return tuple(value for value, _ in parsed), problems


def _name_problems(identity: str, cluster: str, name: str) -> list[str]:
  problems = [
    f'{what} is empty'
    for what, cell in (('org_id', identity), ('cluster', cluster))
    if not cell
  ]
  # A name from a file must not lead out of the tree.
  parts = f'{cluster or 0}/{name}'.split('/')
  if '\\' in name or not {'', '.', '..'}.isdisjoint(parts):
    return [*problems, f'png name {name!r} is no name of a file in the tree']
  try:
    folder_of(name)
  except ValueError as error:
    problems.append(str(error))
  return problems


def _parse_number(
  number: pose_vector.PoseNumber, cell: str
) -> tuple[float, str]:
  """The value and, if it cannot be used, why."""
  if not _is_number(cell):
    return 0.0, f'{number.name} is {cell!r}, no number'
  value = float(cell)
  if not np.isfinite(value):
    return 0.0, f'{number.name} is {cell}, not finite'
  if number.group == 'head':
    low, high, slack = -_LARGEST_ANGLE, _LARGEST_ANGLE, 0.0
  else:
    low, high, slack = number.low, number.high, _TOLERANCE
  if not low - slack <= value <= high + slack:
    return 0.0, f'{number.name} is {cell}, out of range [{low:g}, {high:g}]'
  return min(max(value, low), high), ''
