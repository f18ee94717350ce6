"""Reads prepared data sets of human codes.

info = open_dataset('out')
table = load_table('out', 'train')
"""

from __future__ import annotations

import dataclasses
import functools
import os
import pathlib
from collections.abc import Mapping
from typing import Any

import numpy as np

from data import codes, files, layout, prepared
from data.prepared import CorruptDatasetError

_WANTED = ('splits', 'expression_space', 'has_true_pose_coeffs', 'format')


@dataclasses.dataclass(frozen=True, eq=False)
class SplitIndex:
  """Which record is whose. Records and frames are sorted by identity.

  Attributes:
    identity_names: I names.
    clip_names: C names, one a record.
    clip_identity: [C] int64 index into `identity_names`.
    clip_frames: [C] int64 number of frames.
  """

  identity_names: tuple[str, ...]
  clip_names: tuple[str, ...]
  clip_identity: np.ndarray
  clip_frames: np.ndarray

  @functools.cached_property
  def clip_offsets(self) -> np.ndarray:
    """[C + 1] int64: clip c has frames `clip_offsets[c]` to `[c + 1]`."""
    return np.concatenate([[0], np.cumsum(self.clip_frames)])

  @functools.cached_property
  def identity_offsets(self) -> np.ndarray:
    """[I + 1] int64: first frame of every identity, then the end."""
    first_clip = np.searchsorted(
      self.clip_identity, np.arange(len(self.identity_names) + 1)
    )
    return self.clip_offsets[first_clip]


@dataclasses.dataclass(frozen=True)
class SplitInfo:
  """How much a split holds."""

  num_identities: int
  num_clips: int
  num_frames: int


@dataclasses.dataclass(frozen=True, eq=False)
class DatasetInfo:
  """A prepared data set.

  Attributes:
    path: the folder of its files.
    manifest: content of `layout.MANIFEST_NAME`.
  """

  path: pathlib.Path
  manifest: Mapping[str, Any]

  @property
  def splits(self) -> dict[str, SplitInfo]:
    """Split name to what it holds, in the order of `layout.SPLITS`."""
    return {
      split: SplitInfo(counts['identities'], counts['clips'], counts['frames'])
      for split, counts in self.manifest['splits'].items()
    }

  @property
  def expression_space(self) -> str:
    """Whose expression basis the codes belong to."""
    return self.manifest['expression_space']

  @property
  def has_true_pose_coeffs(self) -> bool:
    """Whether the true coefficients of every frame are known."""
    return self.manifest['has_true_pose_coeffs']

  def require_split(self, split: str) -> None:
    """Raises ValueError, with the splits that exist, if `split` does not."""
    if split not in self.splits:
      raise ValueError(
        f'{self.path}: no split {split!r}; it has {", ".join(self.splits)}'
      )

  def index(self, split: str) -> SplitIndex:
    """Reads the clip index of a split.

    Args:
      split: one of `splits`.

    Returns:
      The index.

    Raises:
      ValueError: if there is no such split.
      CorruptDatasetError: if the index is broken or contradicts the manifest.
    """
    self.require_split(split)
    path = self.path / layout.index_name(split)
    try:
      stored = files.read_npz(path)
      index = SplitIndex(
        tuple(stored['identity_names'].tolist()),
        tuple(stored['clip_names'].tolist()),
        stored['clip_identity'],
        stored['clip_frames'],
      )
    except (OSError, KeyError, files.BrokenFileError) as error:
      raise CorruptDatasetError(
        f'{path}: broken clip index ({error}); prepare the data set again'
      ) from error
    counts = SplitInfo(
      len(index.identity_names),
      len(index.clip_names),
      int(index.clip_frames.sum()),
    )
    if counts != self.splits[split]:
      raise CorruptDatasetError(
        f'{path}: has {counts}, the manifest says {self.splits[split]}; '
        'prepare the data set again'
      )
    return index


def open_dataset(path: str | os.PathLike) -> DatasetInfo:
  """Opens a prepared data set.

  Args:
    path: the output folder of `prepare`, or the folder of the files in it.

  Returns:
    What it holds; nothing but the manifest is read yet.

  Raises:
    FileNotFoundError: if nothing is there.
    ValueError: if it is not a finished data set.
    CorruptDatasetError: if the manifest is broken.
  """
  folder, manifest = prepared.open_folder(
    path,
    f'{layout.NAME}/{layout.FORMAT_VERSION}',
    layout.PARTIAL_NAME,
    _WANTED,
    'edtn prepare',
  )
  return DatasetInfo(folder, manifest)


class ClipReader(prepared.RecordReader):
  """Random access to the records of a split, from any thread or process.

  Args:
    info: the data set.
    split: which split.
    fields: which features to decode; the others cost nothing.

  Raises:
    ValueError: if there is no such split.
    CorruptDatasetError: naming the file that is missing, cut or damaged.
  """

  def __init__(
    self,
    info: DatasetInfo,
    split: str,
    fields: tuple[str, ...] | None = None,
  ):
    info.require_split(split)
    super().__init__(
      info.path, split, functools.partial(_code_features, fields)
    )


def _code_features(fields: tuple[str, ...] | None) -> Any:
  # Here, because reading manifests and indices must not cost this import.
  from data.builders import deca_codes

  return deca_codes.code_features(fields)


def read_clip(info: DatasetInfo, split: str, record: int) -> codes.CodeClip:
  """Reads one clip with everything in it.

  Args:
    info: the data set.
    split: which split.
    record: which clip, an index into the split's `clip_names`.

  Returns:
    The clip.

  Raises:
    CorruptDatasetError: naming the damaged file.
  """
  from data.builders import deca_codes

  return deca_codes.record_to_clip(ClipReader(info, split)[record])


def load_table(path: str | os.PathLike, split: str) -> codes.CodeTable:
  """Reads a whole split into memory, without shape and camera.

  Args:
    path: a prepared data set.
    split: which split.

  Returns:
    The table; its frames are in the order of the records.

  Raises:
    FileNotFoundError, ValueError: see `open_dataset`.
    CorruptDatasetError: naming the damaged file.
  """
  info = open_dataset(path)
  index = info.index(split)
  fields = tuple(
    name
    for name in codes.TABLE_FIELDS
    if name != codes.OPTIONAL_FIELD or info.has_true_pose_coeffs
  )
  total = int(index.clip_offsets[-1])
  arrays = {
    name: np.empty((total, codes.CLIP_FIELDS[name]), np.float32)
    for name in fields
  }
  reader = ClipReader(info, split, fields)
  require_matching(info, split, reader, index)
  for record, start, end in zip(
    reader, index.clip_offsets, index.clip_offsets[1:], strict=False
  ):
    for name in fields:
      value = record[name]
      if len(value) != end - start:
        raise CorruptDatasetError(
          f'{info.path}: a clip of {split} has {len(value)} frames, its index '
          f'says {end - start}; prepare the data set again'
        )
      arrays[name][start:end] = value
  return codes.CodeTable(
    **{codes.OPTIONAL_FIELD: None, **arrays},
    identity_names=index.identity_names,
    identity_offsets=index.identity_offsets,
    expression_space=info.expression_space,
  )


def require_matching(
  info: DatasetInfo, split: str, reader: ClipReader, index: SplitIndex
) -> None:
  """Raises CorruptDatasetError if records and index differ in number."""
  if len(reader) != len(index.clip_names):
    raise CorruptDatasetError(
      f'{info.path}: {len(reader)} records in {split}, '
      f'{len(index.clip_names)} in its index; prepare the data set again'
    )
