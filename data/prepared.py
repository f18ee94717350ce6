"""What reading any prepared data set needs: its folder and its records."""

from __future__ import annotations

import json
import os
import pathlib
from collections.abc import Callable, Collection, Iterator, Sequence
from typing import Any

import numpy as np

from data import remote
from data.layout import MANIFEST_NAME

_READ_CHUNK = 128  # Records a read; larger ones gain nothing.


class CorruptDatasetError(ValueError):
  """A prepared data set with a broken file; the message names the file."""


def open_folder(
  path: str | os.PathLike,
  name: str,
  partial_name: str,
  wanted: Collection[str],
  command: str,
) -> tuple[pathlib.Path, dict[str, Any]]:
  """Finds the folder of a finished data set and reads its manifest.

  Args:
    path: the output folder of `prepare`, or the folder of the files in it;
      in a bucket, it is copied here.
    name: path of the latter below the former.
    partial_name: the folder of work in progress, below the former.
    wanted: keys that the manifest must have.
    command: how to make such a data set.

  Returns:
    The folder of the files, and the manifest.

  Raises:
    FileNotFoundError: if nothing is there.
    ValueError: if it is not a finished data set.
    CorruptDatasetError: if the manifest is broken.
  """
  path = remote.local_copy(path)
  if not path.exists():
    raise FileNotFoundError(f'{path}: no such folder')
  folder = path / name if (path / name).is_dir() else path
  manifest_path = folder / MANIFEST_NAME
  if not manifest_path.is_file():
    unfinished = (path / partial_name).is_dir()
    remedy = (
      'preparing it was interrupted; run the same command again to finish'
      if unfinished
      else f'make one with `{command}`'
    )
    raise ValueError(f'{path}: no prepared data set here; {remedy}')
  return folder, _read_manifest(manifest_path, wanted)


def _read_manifest(
  path: pathlib.Path, wanted: Collection[str]
) -> dict[str, Any]:
  try:
    manifest = json.loads(path.read_text('utf-8'))
    missing = set(wanted) - set(manifest)
  except (ValueError, TypeError) as error:
    raise CorruptDatasetError(
      f'{path}: broken ({error}); prepare the data set again'
    ) from error
  if missing:
    raise CorruptDatasetError(
      f'{path}: lacks {sorted(missing)}; prepare the data set again'
    )
  return manifest


class RecordReader:
  """Random access to the records of a split, from any thread or process.

  Args:
    path: the folder of the files.
    split: which split.
    make_features: returns the features to decode; the others cost nothing.
      Picklable, if the reader goes to other processes.

  Raises:
    CorruptDatasetError: naming the file that is missing, cut or damaged.
  """

  def __init__(
    self,
    path: pathlib.Path,
    split: str,
    make_features: Callable[[], Any],
  ):
    self._path = path
    self._split = split
    self._make_features = make_features
    self._open()

  def _open(self) -> None:
    # Here, because reading manifests and indices must not cost these imports.
    import tensorflow_datasets as tfds
    from array_record.python import array_record_module
    from google.protobuf import json_format

    try:
      builder = tfds.builder_from_directory(self._path)
      split_info = builder.info.splits[self._split]
    except (
      OSError,
      ValueError,
      KeyError,
      TypeError,
      json_format.Error,
    ) as error:
      raise CorruptDatasetError(
        f'{self._path}: dataset_info.json or features.json is missing or '
        f'broken ({error}); prepare the data set again'
      ) from error
    self._features = self._make_features()
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

  def __getstate__(self) -> tuple[pathlib.Path, str, Callable[[], Any]]:
    # Open files stay behind; the other process opens its own.
    return (self._path, self._split, self._make_features)

  def __setstate__(
    self, state: tuple[pathlib.Path, str, Callable[[], Any]]
  ) -> None:
    self._path, self._split, self._make_features = state
    self._open()

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
