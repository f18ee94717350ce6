"""Finds clips of DECA codes on disk.

Layouts, tried in this order (`root/deca`, if there is one, stands for root):

    root/{train,validation,test}/<clip>/*.mat      splits as given
    root/<clip>/*.mat, root/<person>/<clip>/*.mat  no splits given
    root/*.mat                                     one clip

A clip folder is any folder that holds `.mat` files. VoxCeleb names clips
`<identity>#<video>#<from>#<to>.mp4`: the identity is what stands before the
first `#`, in the outermost folder of the clip.
"""

from __future__ import annotations

import dataclasses
import os
import pathlib
from collections.abc import Iterator

from data import deca, files, layout

# Deeper trees are not data sets of this kind but a wrong path, such as `/`.
_MAX_DEPTH = 4


@dataclasses.dataclass(frozen=True)
class ClipSource:
  """A clip folder.

  Attributes:
    split: one of `layout.SPLITS`, or None where the tree gives no splits.
    identity: who it is.
    name: folder relative to the split's root, with `/`.
    folder: where the frames are.
  """

  split: str | None
  identity: str
  name: str
  folder: pathlib.Path


@dataclasses.dataclass(frozen=True)
class Discovery:
  """What a tree holds.

  Attributes:
    clips: folders with at least one `.mat`, by split, identity and name.
    empty: innermost folders without one (videos in which no face was found).
  """

  clips: tuple[ClipSource, ...]
  empty: tuple[ClipSource, ...]

  @property
  def has_splits(self) -> bool:
    """Whether the tree itself says which clip is for training or testing."""
    return any(clip.split for clip in (*self.clips, *self.empty))


def discover_clips(
  root: str | os.PathLike, *, exclude: str | os.PathLike | None = None
) -> Discovery:
  """Finds every clip under a folder, in an order that never changes.

  Args:
    root: a tree in one of the layouts above.
    exclude: a folder to stay out of (such as the output, if it lies inside).

  Returns:
    The clips, and the folders that should have been clips but are empty.

  Raises:
    FileNotFoundError: if `root` does not exist.
    NotADirectoryError: if it is a file.
    ValueError: if no `.mat` file is found anywhere.
  """
  root = pathlib.Path(root)
  if not root.exists():
    raise FileNotFoundError(f'{root}: no such folder')
  if not root.is_dir():
    raise NotADirectoryError(f'{root}: not a folder')
  excluded = pathlib.Path(exclude).resolve() if exclude else None
  clips, empty = [], []
  for split, base in _split_roots(root):
    for folder, has_frames in _walk(base, excluded, depth=0):
      clip = _describe(split, base, folder)
      (clips if has_frames else empty).append(clip)
  if not clips:
    raise ValueError(
      f'{root}: no .mat file here or in the folders below; wanted one folder '
      'of DECA codes per video, e.g. <root>/deca/train/<id>#<video>.mp4/'
      '0000000.mat'
    )
  return Discovery(
    clips=tuple(sorted(clips, key=_order)),
    empty=tuple(sorted(empty, key=_order)),
  )


def _order(clip: ClipSource) -> tuple:
  split = layout.SPLITS.index(clip.split) if clip.split else 0
  return (split, clip.identity, files.natural_key(clip.name))


def _split_roots(
  root: pathlib.Path,
) -> list[tuple[str | None, pathlib.Path]]:
  base = root
  if (root / 'deca').is_dir() and not _has_frames(root):
    base = root / 'deca'
  given = [(split, base / split) for split in layout.SPLITS]
  given = [(split, folder) for split, folder in given if folder.is_dir()]
  return given or [(None, base)]


def _has_frames(folder: pathlib.Path) -> bool:
  with os.scandir(folder) as entries:
    return any(deca.is_frame_name(entry.name) for entry in entries)


def _walk(
  folder: pathlib.Path, excluded: pathlib.Path | None, depth: int
) -> Iterator[tuple[pathlib.Path, bool]]:
  """Yields clip folders and, with False, innermost folders without frames."""
  if excluded is not None and folder.resolve() == excluded:
    return
  inner, has_frames = [], False
  with os.scandir(folder) as entries:
    for entry in entries:
      if entry.name.startswith('.'):
        continue
      if deca.is_frame_name(entry.name):
        has_frames = True
      elif entry.is_dir():
        inner.append(entry.name)
  if has_frames or not inner:
    yield folder, has_frames
  if depth < _MAX_DEPTH:
    for name in inner:
      yield from _walk(folder / name, excluded, depth + 1)


def _describe(
  split: str | None, base: pathlib.Path, folder: pathlib.Path
) -> ClipSource:
  name = folder.relative_to(base).as_posix()
  if name == '.':
    name = base.resolve().name or 'clip'
  identity = deca.identity_of(name.split('/', 1)[0])
  return ClipSource(split, identity, name, folder)
