"""Finds videos of people on disk, and says who is in each.

    root/{train,validation,test}/...       splits as given; all else is train
    root/<person>/.../<video>.mp4          a folder a person
    root/<person>#<anything>.mp4           VoxCeleb's names, in any folder
    root/<video>.mp4                       a person a file

A folder that holds only pictures is a video, too; so may be `root` itself.
An animated WebP is no picture but a video.
"""

from __future__ import annotations

import collections
import dataclasses
import os
import pathlib
from collections.abc import Iterator

from data import deca, files, layout
from data.video import webp_reader
from data.video.picture_reader import SUFFIXES as PICTURE_SUFFIXES

# FFmpeg reads more, but a name decides: it would also draw a text file.
VIDEO_SUFFIXES = (
  *('.mp4', '.m4v', '.mov', '.mkv', '.webm', '.avi', '.wmv', '.flv', '.3gp'),
  *('.mpg', '.mpeg', '.ts', '.mts', '.m2ts', '.mxf', '.ogv', '.y4m'),
  *('.gif', '.webp'),
)
# Deeper trees are not data sets of this kind but a wrong path, such as `/`.
_MAX_DEPTH = 6


@dataclasses.dataclass(frozen=True)
class VideoSource:
  """A video, or a folder of pictures.

  Attributes:
    split: one of `layout.SPLITS`, or None where the tree gives none.
    identity: who is in it.
    name: its path below the split's folder, with `/`.
    path: where it is.
  """

  split: str | None
  identity: str
  name: str
  path: pathlib.Path


@dataclasses.dataclass(frozen=True)
class VideoTree:
  """What a tree holds.

  Attributes:
    videos: by split, identity and name.
    notes: sentences on what else is there.
  """

  videos: tuple[VideoSource, ...]
  notes: tuple[str, ...]

  @property
  def has_splits(self) -> bool:
    """Whether the tree itself says what is for training or testing."""
    return any(video.split for video in self.videos)


def find_videos(
  root: str | os.PathLike, *, exclude: str | os.PathLike | None = None
) -> VideoTree:
  """Finds every video below a folder, in an order that never changes.

  Hidden files and folders do not count.

  Args:
    root: a tree in one of the layouts above.
    exclude: an output folder to stay out of, if it lies inside.

  Returns:
    The videos.

  Raises:
    FileNotFoundError: if `root` does not exist.
    NotADirectoryError: if it is a file.
    ValueError: if there is no video anywhere.
  """
  root = pathlib.Path(root)
  if not root.exists():
    raise FileNotFoundError(f'{root}: no such folder')
  if not root.is_dir():
    raise NotADirectoryError(f'{root}: not a folder; name the one it lies in')
  excluded = set()
  if exclude:
    output = pathlib.Path(exclude).resolve()
    excluded = {output, output / layout.NAME} - {root.resolve()}
  left = _LeftOut(root)
  everything = [
    _describe(root, path) for path in _walk(root, excluded, left, depth=0)
  ]
  found = {}
  for video in sorted(everything, key=lambda v: (v.split is None, v.path)):
    # What is in no split's folder is for training, too.
    key = (video.split or layout.SPLITS[0], video.name)
    if found.setdefault(key, video) is not video:
      left.twice.append(video.path)
  if not found:
    raise ValueError(
      f'{root}: no video here or in the folders below; videos are files named '
      f'*{", *".join(VIDEO_SUFFIXES)}, or folders that hold only pictures'
      + ''.join(f'; {note}' for note in left.notes())
    )
  videos = sorted(found.values(), key=_order)
  return VideoTree(tuple(videos), tuple(left.notes()))


@dataclasses.dataclass
class _LeftOut:
  """What is no video, or cannot be used, for the notes."""

  root: pathlib.Path
  suffixes: collections.Counter[str] = dataclasses.field(
    default_factory=collections.Counter
  )
  locked: list[pathlib.Path] = dataclasses.field(default_factory=list)
  deep: list[pathlib.Path] = dataclasses.field(default_factory=list)
  twice: list[pathlib.Path] = dataclasses.field(default_factory=list)

  def notes(self) -> Iterator[str]:
    if self.suffixes:
      kinds = ', '.join(
        f'{count} {suffix or "without a suffix"}'
        for suffix, count in sorted(self.suffixes.items())
      )
      yield f'files that are no videos by their names: {kinds}'
    for paths, why in (
      (self.locked, 'folders that may not be read'),
      (self.deep, f'folders deeper than {_MAX_DEPTH}, which are not looked at'),
      (self.twice, 'left out, as train/ holds a video of the same name'),
    ):
      if paths:
        first = min(paths).relative_to(self.root)
        yield f'{why}: {len(paths)}, the first is {first}'


def _walk(
  folder: pathlib.Path,
  excluded: set[pathlib.Path],
  left: _LeftOut,
  depth: int,
) -> Iterator[pathlib.Path]:
  """Yields videos and folders of pictures; notes all else."""
  inner, names = [], []
  try:
    with os.scandir(folder) as entries:
      for entry in entries:
        if not entry.name.startswith('.'):
          (inner if entry.is_dir() else names).append(entry.name)
  except PermissionError:
    left.locked.append(folder)
    return
  paths = [folder / name for name in names]
  # Of a folder of frames that was written here.
  pictures = [path for path in paths if path.name != layout.MANIFEST_NAME]
  if pictures and not inner and all(map(_is_still, pictures)):
    yield folder
    return
  for path in paths:
    suffix = path.suffix.lower()
    if suffix in VIDEO_SUFFIXES and not _is_still(path):
      yield path
    else:
      left.suffixes[suffix] += 1
  for name in inner:
    path = folder / name
    place = path.resolve()
    if place in excluded:
      continue
    if depth < _MAX_DEPTH:
      # A link may lead back to a folder that we are in.
      yield from _walk(path, excluded | {place}, left, depth + 1)
    else:
      left.deep.append(path)


def _is_still(path: pathlib.Path) -> bool:
  """Whether a file is a picture that does not move."""
  suffix = path.suffix.lower()
  if suffix == '.webp':
    return not webp_reader.is_animated(path)
  return suffix in PICTURE_SUFFIXES


def _describe(root: pathlib.Path, path: pathlib.Path) -> VideoSource:
  parts = path.relative_to(root).parts or (root.resolve().name or 'clip',)
  split = None
  if len(parts) > 1 and parts[0] in layout.SPLITS:
    split, *parts = parts
  return VideoSource(split, _identity(path, parts), '/'.join(parts), path)


def _identity(path: pathlib.Path, parts: tuple[str, ...]) -> str:
  """Who is in a video with these folders and name below its split."""
  if '#' in parts[-1]:
    return deca.identity_of(parts[-1])
  if len(parts) > 1:
    return deca.identity_of(parts[0])
  return parts[0] if path.is_dir() else path.stem


def _order(video: VideoSource) -> tuple:
  split = layout.SPLITS.index(video.split) if video.split else 0
  return (split, video.identity, files.natural_key(video.name))
