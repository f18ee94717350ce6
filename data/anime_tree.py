"""Reads AnimeCeleb's tree of pictures and pose numbers.

root/
  combined_pose.csv                  one row an expression, see `anime_rows`
  rotation/<cluster>/<folder>/<png>  the picture with the head turned
  frontal/<cluster>/<folder>/<png>   the same expression, head straight
  basis/<folder>/basis.png           neutral, head straight
  train_list.txt, test_list.txt      one identity a line

A row belongs to the picture in `rotation`, to the one in `frontal`, or to
both; a frontal picture has the angles 0, whatever its row says.
"""

from __future__ import annotations

import collections
import concurrent.futures
import dataclasses
import functools
import io
import os
import pathlib
import struct
import zlib
from collections.abc import Collection, Iterable

import numpy as np
from PIL import Image, UnidentifiedImageError

from data import anime_rows, files, pose_vector
from data.anime_rows import CSV_NAME, KINDS, NEUTRAL_KIND

TRAIN_LIST_NAME = 'train_list.txt'
TEST_LIST_NAME = 'test_list.txt'

# What Pillow raises on bytes that are no picture, cut short or damaged.
PICTURE_ERRORS = (
  OSError,
  EOFError,
  SyntaxError,  # On a wrong checksum.
  ValueError,
  struct.error,
  zlib.error,
  Image.DecompressionBombError,
)


@dataclasses.dataclass(frozen=True)
class Skipped:
  """Something that is not used.

  Attributes:
    where: `combined_pose.csv:<line>`, or a path below the root.
    reason: why.
  """

  where: str
  reason: str


@dataclasses.dataclass(frozen=True, eq=False)
class FrameTable:
  """The usable frames of a tree, in CSV order, `frontal` before `rotation`.

  Attributes:
    root: the tree.
    paths: N picture paths below the root, with `/`.
    kinds: N times `frontal` or `rotation`, or `basis` if `neutral` made it.
    identities: I names, in the order in which the CSV has them.
    identity_index: [N] int64 index into `identities`.
    pose: [N, 20] float32; angles of frontal frames are 0.
    basis: identity to the path of its neutral picture below the root; without
      the identities that have none.
    skipped: rows, pictures and missing neutral pictures, with reasons.
  """

  root: pathlib.Path
  paths: tuple[str, ...]
  kinds: tuple[str, ...]
  identities: tuple[str, ...]
  identity_index: np.ndarray
  pose: np.ndarray
  basis: dict[str, str]
  skipped: tuple[Skipped, ...]

  def __len__(self) -> int:
    return len(self.paths)

  def identity_of(self, frame: int) -> str:
    """The identity of one frame."""
    return self.identities[int(self.identity_index[frame])]

  def frames_of(self, identities: Collection[str]) -> np.ndarray:
    """Frames of some identities, e.g. those of `read_identity_list`.

    Args:
      identities: names; those that the table does not have add nothing.

    Returns:
      [n] int64 frame indices, rising.
    """
    wanted = set(identities)
    chosen = np.array([name in wanted for name in self.identities], bool)
    return np.flatnonzero(chosen[self.identity_index])

  def neutral(self) -> FrameTable:
    """The neutral pictures as a table of frames of the kind `basis`.

    Returns:
      One frame for each identity that has one, with the same `identities` and
      pose vectors of zeros; nothing is skipped.
    """
    index = [i for i, n in enumerate(self.identities) if n in self.basis]
    return dataclasses.replace(
      self,
      paths=tuple(self.basis[self.identities[i]] for i in index),
      kinds=(NEUTRAL_KIND,) * len(index),
      identity_index=np.array(index, np.int64),
      pose=np.zeros((len(index), pose_vector.NUM_POSE), np.float32),
      skipped=(),
    )


def write_identity_list(
  path: str | os.PathLike, identities: Iterable[str]
) -> None:
  """Writes a list of identities, one a line, atomically."""
  with files.atomic_writer(path) as file:
    file.write(''.join(f'{name}\n' for name in identities).encode('utf-8'))


def read_identity_list(path: str | os.PathLike) -> tuple[str, ...]:
  """Reads a list such as `train_list.txt`; empty lines do not count.

  Raises:
    OSError: if it cannot be read.
  """
  text = pathlib.Path(path).read_text('utf-8-sig')
  return tuple(line.strip() for line in text.splitlines() if line.strip())


def decode_picture(content: bytes, name: str = 'picture') -> np.ndarray:
  """Decodes the bytes of a picture file.

  Args:
    content: e.g. of a PNG file.
    name: what an error calls it.

  Returns:
    [H, W, 4] uint8 RGBA, alpha not premultiplied.

  Raises:
    files.BrokenFileError: if it is no picture, cut short or damaged.
  """
  try:
    with Image.open(io.BytesIO(content)) as picture:
      return np.array(picture.convert('RGBA'))
  except PICTURE_ERRORS as error:
    raise broken_picture(name, error) from error


def broken_picture(name: str, error: Exception) -> files.BrokenFileError:
  """What to raise for one of `PICTURE_ERRORS`."""
  # Pillow's message has an address in memory, another one each time.
  unknown = isinstance(error, UnidentifiedImageError)
  reason = 'its bytes are no known format' if unknown else error
  return files.BrokenFileError(f'{name}: not a readable picture ({reason})')


def read_picture(path: str | os.PathLike) -> np.ndarray:
  """Reads a picture file.

  Args:
    path: the file.

  Returns:
    [H, W, 4] uint8 RGBA, alpha not premultiplied.

  Raises:
    OSError: if it cannot be read.
    files.BrokenFileError: if it is no picture, cut short or damaged.
  """
  return decode_picture(pathlib.Path(path).read_bytes(), os.fspath(path))


def on_white(picture: np.ndarray) -> np.ndarray:
  """Puts a picture on white, as AnimeCeleb's are used for training.

  Args:
    picture: [..., 4] uint8 RGBA, alpha not premultiplied.

  Returns:
    [..., 3] uint8 RGB, rounded to the nearest.
  """
  alpha = picture[..., 3:].astype(np.uint16)
  blended = picture[..., :3] * alpha + 255 * (255 - alpha)
  return ((blended + 127) // 255).astype(np.uint8)


def read_tree(
  root: str | os.PathLike,
  *,
  check_pictures: bool = False,
  num_threads: int = 1,
) -> FrameTable:
  """Reads the table of a tree; one fault never loses the rest.

  Args:
    root: the folder with `combined_pose.csv`.
    check_pictures: whether every picture is decoded, so that damaged ones are
      left out (some 1000 a second and thread at 256x256).
    num_threads: threads that decode.

  Returns:
    The table. Rows without a picture, pictures without a row, malformed rows,
    numbers that are not finite or out of range, identities without a neutral
    picture and damaged pictures are in its `skipped`.

  Raises:
    FileNotFoundError: if there is no such CSV.
    anime_rows.AnimeTreeError: if the header is not one, or no frame is usable.
  """
  root = pathlib.Path(root)
  if not (root / CSV_NAME).is_file():
    raise FileNotFoundError(
      f'{root / CSV_NAME}: no such file; wanted a folder with {CSV_NAME} and '
      f'the folders {", ".join(KINDS)} and {NEUTRAL_KIND}'
    )
  collector = _Collector(_list_pictures(root))
  for where, row in anime_rows.read_rows(root / CSV_NAME):
    collector.add(where, row)
  if check_pictures:
    collector.drop_damaged(root, num_threads)
  table = collector.finish(root)
  if not len(table):
    first = table.skipped[0] if table.skipped else Skipped(CSV_NAME, 'no row')
    raise anime_rows.AnimeTreeError(
      f'{root}: no frame is usable; the first fault of '
      f'{len(table.skipped)}: {first.where}: {first.reason}'
    )
  return table


def _list_pictures(root: pathlib.Path) -> set[str]:
  """Paths of all pictures of frames, below the root.

  Listing folders is many times faster than asking for each file.
  """
  found = set()
  for kind in KINDS:
    for folder, _, names in os.walk(root / kind, followlinks=True):
      below = pathlib.Path(folder).relative_to(root).as_posix()
      found.update(
        f'{below}/{name}'
        for name in names
        if name.lower().endswith('.png') and not name.startswith('.')
      )
  return found


@dataclasses.dataclass
class _Collector:
  """Frames found so far.

  Attributes:
    unused: pictures that no row has named yet.
  """

  unused: set[str]
  paths: list[str] = dataclasses.field(default_factory=list)
  kinds: list[str] = dataclasses.field(default_factory=list)
  owners: list[str] = dataclasses.field(default_factory=list)
  folders: list[str] = dataclasses.field(default_factory=list)
  poses: list[np.ndarray] = dataclasses.field(default_factory=list)
  skipped: list[Skipped] = dataclasses.field(default_factory=list)
  _used: set[str] = dataclasses.field(default_factory=set)

  def add(self, where: str, row: anime_rows.PoseRow | str) -> None:
    if isinstance(row, str):
      self.skipped.append(Skipped(where, row))
      return
    candidates = {
      kind: anime_rows.picture_path(kind, row.cluster, row.name)
      for kind in KINDS
    }
    present = {k: p for k, p in candidates.items() if p in self.unused}
    if not present:
      reason = (
        'its pictures belong to an earlier row'
        if any(path in self._used for path in candidates.values())
        else f'missing png: no {" or ".join(candidates.values())}'
      )
      self.skipped.append(Skipped(where, reason))
    for kind, path in present.items():
      self._add_frame(kind, path, row)

  def _add_frame(self, kind: str, path: str, row: anime_rows.PoseRow) -> None:
    pose = np.array(row.pose, np.float32)
    if kind == 'frontal':
      pose[pose_vector.NUM_COEFFICIENTS :] = 0
    self.unused.remove(path)
    self._used.add(path)
    self.paths.append(path)
    self.kinds.append(kind)
    self.owners.append(row.identity)
    self.folders.append(anime_rows.folder_of(row.name))
    self.poses.append(pose)

  def drop_damaged(self, root: pathlib.Path, num_threads: int) -> None:
    with concurrent.futures.ThreadPoolExecutor(num_threads) as pool:
      problems = list(
        pool.map(functools.partial(_picture_problem, root), self.paths)
      )
    self.skipped += [
      Skipped(path, problem)
      for path, problem in zip(self.paths, problems, strict=True)
      if problem
    ]
    kept = [i for i, problem in enumerate(problems) if not problem]
    for name in ('paths', 'kinds', 'owners', 'folders', 'poses'):
      column = getattr(self, name)
      setattr(self, name, [column[i] for i in kept])

  def finish(self, root: pathlib.Path) -> FrameTable:
    identities = tuple(dict.fromkeys(self.owners))
    place = {name: i for i, name in enumerate(identities)}
    index = [place[name] for name in self.owners]
    basis = self._find_basis(root, identities)
    self.skipped += [
      Skipped(path, f'no row of {CSV_NAME} names it')
      for path in sorted(self.unused, key=files.natural_key)
    ]
    return FrameTable(
      root=root,
      paths=tuple(self.paths),
      kinds=tuple(self.kinds),
      identities=identities,
      identity_index=np.array(index, np.int64),
      pose=np.array(self.poses, np.float32).reshape(-1, pose_vector.NUM_POSE),
      basis=basis,
      skipped=tuple(self.skipped),
    )

  def _find_basis(
    self, root: pathlib.Path, identities: tuple[str, ...]
  ) -> dict[str, str]:
    """The neutral picture of each identity, from the first folder with one."""
    folders: dict[str, dict[str, None]] = collections.defaultdict(dict)
    for name, folder in zip(self.owners, self.folders, strict=True):
      folders[name][folder] = None
    basis = {}
    for name in identities:
      paths = [anime_rows.basis_path(folder) for folder in folders[name]]
      found = [path for path in paths if (root / path).is_file()]
      if found:
        basis[name] = found[0]
      else:
        self.skipped.append(
          Skipped(paths[0], f'missing neutral picture of identity {name}')
        )
    return basis


def _picture_problem(root: pathlib.Path, path: str) -> str:
  """Why a picture cannot be used; empty if it can."""
  try:
    read_picture(root / path)
  except (OSError, files.BrokenFileError) as error:
    return f'damaged png: {error}'
  return ''
