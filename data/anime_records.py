"""Reads prepared data sets of anime frames: what is there, and whose."""

from __future__ import annotations

import dataclasses
import os
import pathlib
from collections.abc import Mapping
from typing import Any

import numpy as np

from data import files, prepared

NAME = 'anime_frames'
FORMAT_VERSION = '1.0.0'

_WANTED = ('splits', 'format', 'image_format', 'picture_sizes')


def index_name(split: str) -> str:
  """File name of a split's index.

  It holds `identity_names` [I], `identity_offsets` [I + 1] int64, `is_rotated`
  [N] bool, `pose` [N, 20] float32 and, if they are known, `identity_styles`
  [I]; see `FrameIndex`.
  """
  return f'frames-{split}.npz'


@dataclasses.dataclass(frozen=True, eq=False)
class FrameIndex:
  """Which record of a split is whose. Records are sorted by identity.

  Attributes:
    identity_names: I names.
    identity_offsets: [I + 1] int64: identity i has the records `offsets[i]`
      to `offsets[i + 1]`.
    is_rotated: [N] bool, whether the head is turned.
    pose: [N, 20] float32 pose vectors.
    identity_styles: I names of shading styles, or () if they are not known.
  """

  identity_names: tuple[str, ...]
  identity_offsets: np.ndarray
  is_rotated: np.ndarray
  pose: np.ndarray
  identity_styles: tuple[str, ...]

  def owner(self, record: int) -> str:
    """Name of the identity of a record."""
    slot = np.searchsorted(self.identity_offsets, record, side='right') - 1
    return self.identity_names[int(slot)]


@dataclasses.dataclass(frozen=True, eq=False)
class FrameSet:
  """A prepared data set of anime frames.

  Attributes:
    path: the folder of its files.
    manifest: content of its `manifest.json`.
  """

  path: pathlib.Path
  manifest: Mapping[str, Any]

  @property
  def picture_sizes(self) -> tuple[tuple[int, int], ...]:
    """Every (width, height) that a picture has."""
    return tuple(
      tuple(map(int, size.split('x')))
      for size in self.manifest['picture_sizes']
    )

  def index(self, split: str) -> FrameIndex:
    """Reads the index of a split.

    Raises:
      ValueError: if there is no such split, or nothing in it.
      prepared.CorruptDatasetError: if the index is broken or contradicts the
        manifest.
    """
    splits = self.manifest['splits']
    filled = [name for name, counts in splits.items() if counts['frames']]
    if split not in filled:
      raise ValueError(
        f'{self.path}: no split {split!r} with frames; it has '
        f'{", ".join(filled)}'
      )
    path = self.path / index_name(split)
    try:
      stored = files.read_npz(path)
      index = FrameIndex(
        tuple(stored['identity_names'].tolist()),
        stored['identity_offsets'],
        stored['is_rotated'],
        stored['pose'],
        tuple(stored.get('identity_styles', np.array([])).tolist()),
      )
    except (OSError, KeyError, files.BrokenFileError) as error:
      raise prepared.CorruptDatasetError(
        f'{path}: broken index ({error}); prepare the data set again'
      ) from error
    found = {
      'identities': len(index.identity_names),
      'frames': len(index.pose),
    }
    if found != splits[split] or index.identity_offsets[-1] != len(index.pose):
      raise prepared.CorruptDatasetError(
        f'{path}: has {found}, the manifest says {splits[split]}; prepare the '
        'data set again'
      )
    return index

  def images(self, split: str) -> prepared.RecordReader:
    """Reader of a split's encoded pictures: `reader[n]['image']`, bytes.

    Raises:
      prepared.CorruptDatasetError: naming a file that is missing or damaged.
    """
    return prepared.RecordReader(self.path, split, _image_features)


def _image_features() -> Any:
  from data.builders import anime_frames

  return anime_frames.frame_features(('image',))


def open_frames(path: str | os.PathLike) -> FrameSet:
  """Opens a prepared data set of anime frames.

  Args:
    path: the output folder of `prepare`, or the folder of the files in it.

  Returns:
    What it holds; nothing but the manifest is read yet.

  Raises:
    FileNotFoundError: if nothing is there.
    ValueError: if it is not a finished data set of anime frames.
    prepared.CorruptDatasetError: if the manifest is broken.
  """
  folder, manifest = prepared.open_folder(
    path,
    f'{NAME}/{FORMAT_VERSION}',
    f'.partial_{NAME}',
    ('format',),
    'edtn prepare --anime=TREE',
  )
  if manifest['format'] != NAME:
    raise ValueError(
      f'{folder}: a data set of {manifest["format"]}, wanted {NAME}; make one '
      f'with `edtn prepare --anime=TREE`'
    )
  missing = sorted(set(_WANTED) - set(manifest))
  if missing:
    raise prepared.CorruptDatasetError(
      f'{folder}: the manifest lacks {missing}; prepare the data set again'
    )
  return FrameSet(folder, manifest)
