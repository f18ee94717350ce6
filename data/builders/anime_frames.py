"""Frames of anime heads as a tensorflow-datasets data set.

One record is one frame, in array_record format, so that TensorFlow is needed
neither to write nor to read:

    source = tfds.builder_from_directory('out/anime_frames/1.0.0')
    record = source.as_data_source(split='train')[0]
    record['pose']                              # [20] float32
    anime_tree.decode_picture(record['image'])  # [H, W, 4] uint8

Pictures stay encoded: they are decoded when they are used, and pictures with
and without alpha may be in one data set. Files are written one by one, see
`data.anime_shards`, and described by `write_description` when all are there.
"""

from __future__ import annotations

import dataclasses
import os
import pathlib
from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import tensorflow_datasets as tfds
from array_record.python import array_record_module

from data import pose_vector
from data.anime_records import FORMAT_VERSION, NAME

_TEXTS = ('identity', 'kind', 'path')


@dataclasses.dataclass(frozen=True, eq=False)
class Frame:
  """One frame.

  Attributes:
    image: bytes of a picture file.
    pose: [20] float32 pose vector.
    identity: whose head it is.
    kind: `frontal`, `rotation` or `basis`.
    path: of its file in the tree that it is from.
  """

  image: bytes
  pose: np.ndarray
  identity: str
  kind: str
  path: str


def frame_features(
  fields: Collection[str] | None = None,
) -> tfds.features.FeaturesDict:
  """The features of a record, written and read without TensorFlow.

  Args:
    fields: names of those wanted; None for all.

  Returns:
    The features.
  """
  features: dict[str, Any] = {name: tfds.features.Text() for name in _TEXTS}
  # Text of any bytes; an Image would have to agree on alpha.
  features['image'] = tfds.features.Text()
  features['pose'] = tfds.features.Tensor(
    shape=(pose_vector.NUM_POSE,),
    dtype=np.float32,
    encoding=tfds.features.Encoding.BYTES,
  )
  if fields is not None:
    features = {name: features[name] for name in fields}
  return tfds.features.FeaturesDict(features)


def record_to_frame(record: Mapping[str, Any]) -> Frame:
  """The frame of a decoded record."""
  texts = {name: record[name].decode('utf-8') for name in _TEXTS}
  return Frame(image=record['image'], pose=record['pose'], **texts)


def shard_name(split: str, number: int, count: int) -> str:
  """File name of one of the `count` files of a split."""
  return f'{NAME}-{split}.array_record-{number:05d}-of-{count:05d}'


def write_shard(path: str | os.PathLike, frames: Iterable[Frame]) -> int:
  """Writes one file; the same frames give the same bytes.

  Args:
    path: the file. It is in its place at once, so name it otherwise until it
      is finished.
    frames: in order.

  Returns:
    Bytes of the records.

  Raises:
    OSError: if it cannot be written, e.g. because the disk is full.
  """
  features = frame_features()
  num_bytes = 0
  try:
    # One record a group, as for all data that is read at random.
    writer = array_record_module.ArrayRecordWriter(
      os.fspath(path), 'group_size:1'
    )
    for frame in frames:
      record = features.serialize_example(
        {
          field.name: getattr(frame, field.name)
          for field in dataclasses.fields(frame)
        }
      )
      writer.write(record)
      num_bytes += len(record)
    writer.close()
  except RuntimeError as error:  # The writer has no other.
    raise OSError(f'{path}: cannot write ({error})') from error
  return num_bytes


def count_records(path: str | os.PathLike) -> int:
  """Number of records of a file; 0 if it cannot be read."""
  try:
    reader = array_record_module.ArrayRecordReader(
      os.fspath(path), 'readahead_buffer_size:0'
    )
    return reader.num_records()
  except (RuntimeError, ValueError):
    return 0


def write_description(
  folder: str | os.PathLike, shards: Mapping[str, Sequence[tuple[int, int]]]
) -> None:
  """Writes what tensorflow-datasets reads before the records.

  Args:
    folder: where the files of all splits are.
    shards: of every split, number of records and their bytes, by file.
  """
  template = tfds.core.ShardedFileTemplate(
    data_dir=pathlib.Path(folder),
    dataset_name=NAME,
    filetype_suffix='array_record',
  )
  tfds.folder_dataset.write_metadata(
    data_dir=os.fspath(folder),
    features=frame_features(),
    split_infos=[
      tfds.core.SplitInfo(
        name=split,
        shard_lengths=[records for records, _ in sizes],
        num_bytes=sum(num_bytes for _, num_bytes in sizes),
        filename_template=template.replace(split=split),
      )
      for split, sizes in shards.items()
    ],
    version=FORMAT_VERSION,
    # It would count records with TensorFlow.
    check_data=False,
    description='Pictures of anime heads and their pose vectors.',
  )
