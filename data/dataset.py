"""Reads prepared data sets of human codes.

info = open_dataset('out')
table = load_table('out', 'train')
"""

from __future__ import annotations

import dataclasses
import functools
import json
import os
import pathlib
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from data import codes, files, layout

_READ_CHUNK = 128  # Records a read; larger ones gain nothing.


class CorruptDatasetError(ValueError):
  """A prepared data set with a broken file; the message names the file."""


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
  path = pathlib.Path(path)
  if not path.exists():
    raise FileNotFoundError(f'{path}: no such folder')
  nested = layout.final_dir(path)
  folder = nested if nested.is_dir() else path
  manifest_path = folder / layout.MANIFEST_NAME
  if not manifest_path.is_file():
    unfinished = (path / layout.PARTIAL_NAME).is_dir()
    remedy = (
      'preparing it was interrupted; run the same command again to finish'
      if unfinished
      else 'make one with `edtn prepare`'
    )
    raise ValueError(f'{path}: no prepared data set here; {remedy}')
  return DatasetInfo(folder, _read_manifest(manifest_path))


def _read_manifest(path: pathlib.Path) -> dict[str, Any]:
  wanted = {'splits', 'expression_space', 'has_true_pose_coeffs', 'format'}
  try:
    manifest = json.loads(path.read_text('utf-8'))
    missing = wanted - set(manifest)
  except (ValueError, TypeError) as error:
    raise CorruptDatasetError(
      f'{path}: broken ({error}); prepare the data set again'
    ) from error
  if missing:
    raise CorruptDatasetError(
      f'{path}: lacks {sorted(missing)}; prepare the data set again'
    )
  return manifest


class ClipReader:
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
    self._info = info
    self._split = split
    self._fields = fields
    self._open()

  def _open(self) -> None:
    # Here, because reading manifests and indices must not cost these imports.
    import tensorflow_datasets as tfds
    from array_record.python import array_record_module
    from google.protobuf import json_format

    from data.builders import deca_codes

    try:
      builder = tfds.builder_from_directory(self._info.path)
      split_info = builder.info.splits[self._split]
    except (
      OSError,
      ValueError,
      KeyError,
      TypeError,
      json_format.Error,
    ) as error:
      raise CorruptDatasetError(
        f'{self._info.path}: dataset_info.json or features.json is missing or '
        f'broken ({error}); prepare the data set again'
      ) from error
    self._features = deca_codes.code_features(self._fields)
    self._ends = np.cumsum(split_info.shard_lengths)
    self._paths = [os.fspath(path) for path in split_info.filepaths]
    self._readers = []
    lengths = zip(self._paths, split_info.shard_lengths, strict=True)
    for path, length in lengths:
      if not os.path.exists(path):
        raise CorruptDatasetError(f'{path}: the file is missing')
      reader = array_record_module.ArrayRecordReader(
        path, 'readahead_buffer_size:0'
      )
      if reader.num_records() != length:
        raise CorruptDatasetError(
          f'{path}: damaged or cut short ({reader.num_records()} of {length} '
          'records); prepare the data set again'
        )
      self._readers.append(reader)

  def __getstate__(self) -> dict[str, Any]:
    # Open files stay behind; the other process opens its own.
    return {
      'info': self._info,
      'split': self._split,
      'fields': self._fields,
    }

  def __setstate__(self, state: Mapping[str, Any]) -> None:
    self.__init__(**state)

  def __len__(self) -> int:
    return int(self._ends[-1])

  def __getitem__(self, record: int) -> dict[str, Any]:
    """The decoded features of one record."""
    shard = int(np.searchsorted(self._ends, record, side='right'))
    start = int(self._ends[shard - 1]) if shard else 0
    raw = self._read(shard, [record - start])
    return self._decode(shard, raw[0])

  def __iter__(self) -> Iterator[dict[str, Any]]:
    """Every record in order, read in large pieces."""
    start = 0
    for shard, end in enumerate(self._ends.tolist()):
      for first in range(0, end - start, _READ_CHUNK):
        last = min(first + _READ_CHUNK, end - start)
        for raw in self._read(shard, range(first, last)):
          yield self._decode(shard, raw)
      start = end

  def _read(self, shard: int, records: Sequence[int]) -> list[bytes]:
    reader = self._readers[shard]
    try:
      if isinstance(records, range):
        return reader.read(records.start, records.stop)
      return reader.read(records)
    except (RuntimeError, IndexError, ValueError) as error:
      raise self._damaged(shard, error) from error

  def _decode(self, shard: int, raw: bytes) -> dict[str, Any]:
    try:
      return self._features.deserialize_example_np(raw)
    # Foreign bytes fail in the protocol buffer, in numpy or in between.
    except Exception as error:
      raise self._damaged(shard, error) from error

  def _damaged(self, shard: int, error: Exception) -> CorruptDatasetError:
    return CorruptDatasetError(
      f'{self._paths[shard]}: damaged ({error}); prepare the data set again'
    )


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
