"""Frames of anime heads as a tensorflow-datasets data set.

One record is one frame, in array_record format, so that TensorFlow is needed
neither to write nor to read:

    table = anime_tree.read_tree('out/characters')
    train = table.frames_of(anime_tree.read_identity_list(...))
    AnimeFrames(
      data_dir='out', frames_by_split={'train': table_frames(table, train)}
    ).download_and_prepare()
    source = tfds.builder_from_directory('out/anime_frames/1.0.0')
    record = source.as_data_source(split='train')[0]
    record['pose']                             # [20] float32
    anime_tree.decode_picture(record['image'])  # [H, W, 4] uint8

Pictures stay the bytes of their files: they are decoded when they are used,
and pictures with and without alpha may be in one data set.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, ClassVar

import numpy as np
import tensorflow_datasets as tfds

from data import anime_tree, pose_vector

NAME = 'anime_frames'  # The builder's class in snake case.
FORMAT_VERSION = '1.0.0'

_TEXTS = ('identity', 'kind', 'path')


@dataclasses.dataclass(frozen=True, eq=False)
class Frame:
  """One frame.

  Attributes:
    image: bytes of a picture file.
    pose: [20] float32 pose vector.
    identity: whose head it is.
    kind: `frontal` or `rotation`.
    path: of its file in the tree that it is from.
  """

  image: bytes
  pose: np.ndarray
  identity: str
  kind: str
  path: str


def frame_features() -> tfds.features.FeaturesDict:
  """The features of a record, written and read without TensorFlow."""
  features: dict[str, Any] = {name: tfds.features.Text() for name in _TEXTS}
  # Text of any bytes; an Image would have to agree on alpha.
  features['image'] = tfds.features.Text()
  features['pose'] = tfds.features.Tensor(
    shape=(pose_vector.NUM_POSE,),
    dtype=np.float32,
    encoding=tfds.features.Encoding.BYTES,
  )
  return tfds.features.FeaturesDict(features)


def record_to_frame(record: Mapping[str, Any]) -> Frame:
  """The frame of a decoded record."""
  texts = {name: record[name].decode('utf-8') for name in _TEXTS}
  return Frame(image=record['image'], pose=record['pose'], **texts)


def table_frames(
  table: anime_tree.FrameTable, frames: Iterable[int] | None = None
) -> Iterator[Frame]:
  """Reads frames of a tree, with the bytes of their files.

  Args:
    table: the tree.
    frames: indices, in the order wanted; None for all.

  Yields:
    The frames. Their pictures are not decoded: `read_tree` leaves damaged
    ones out if it is told to check them.

  Raises:
    OSError: if a picture cannot be read.
  """
  for frame in range(len(table)) if frames is None else frames:
    path = table.paths[frame]
    yield Frame(
      image=(table.root / path).read_bytes(),
      pose=table.pose[frame],
      identity=table.identity_of(frame),
      kind=table.kinds[frame],
      path=path,
    )


class AnimeFrames(tfds.core.GeneratorBasedBuilder):
  """Writes frames to array_record; read it with `builder_from_directory`.

  Attributes:
    frames_by_split: split name to its frames, consumed once.
  """

  VERSION = tfds.core.Version(FORMAT_VERSION)
  RELEASE_NOTES: ClassVar[dict[str, str]] = {
    FORMAT_VERSION: 'Encoded picture, pose vector, identity and kind, by frame.'
  }

  # See `deca_codes.DecaCodes`.
  url_infos = None

  def __init__(
    self,
    *,
    frames_by_split: Mapping[str, Iterable[Frame]] | None = None,
    **kwargs,
  ):
    self.frames_by_split = dict(frames_by_split or {})
    # The default format, tfrecord, needs TensorFlow.
    kwargs['file_format'] = 'array_record'
    super().__init__(**kwargs)

  def _info(self) -> tfds.core.DatasetInfo:
    return tfds.core.DatasetInfo(
      builder=self,
      description='Pictures of anime heads and their pose vectors.',
      features=frame_features(),
      disable_shuffling=True,
    )

  def _split_generators(self, dl_manager: object) -> dict[str, Iterator]:
    del dl_manager  # Nothing is downloaded.
    return {
      split: self._generate_examples(frames)
      for split, frames in self.frames_by_split.items()
    }

  def _generate_examples(
    self, frames: Iterable[Frame]
  ) -> Iterator[tuple[int, dict]]:
    for key, frame in enumerate(frames):
      yield (
        key,
        {
          field.name: getattr(frame, field.name)
          for field in dataclasses.fields(frame)
        },
      )
