"""Clips of human codes as a tensorflow-datasets data set.

One record is one clip, in array_record format, so that TensorFlow is needed
neither to write nor to read:

    builder = tfds.builder_from_directory('out/deca_codes/1.0.0')
    for record in builder.as_data_source(split='train'):
      record['expression']  # [T, 50] float32

Tensors are stored as raw bytes (`Encoding.BYTES`, with their length beside
them): writing is some seven times faster than as float lists, lengths may
differ from clip to clip and may be 0. Records keep the order in which they
are given (by identity), which random access by identity relies on.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, ClassVar

import numpy as np
import tensorflow_datasets as tfds

from data import codes, layout

_SCALARS = ('identity', 'name', 'expression_space')

Clips = Iterator[codes.CodeClip]


def code_features(
  fields: tuple[str, ...] | None = None,
) -> tfds.features.FeaturesDict:
  """The features of a record, or only some: the others are not decoded.

  Args:
    fields: names to keep; None for all.

  Returns:
    Features that write and read a record without TensorFlow.
  """
  features: dict[str, Any] = {name: tfds.features.Text() for name in _SCALARS}
  features['frames'] = tfds.features.Sequence(tfds.features.Text())
  features['has_true_pose_coeffs'] = tfds.features.Scalar(dtype=np.bool_)
  for name, width in codes.CLIP_FIELDS.items():
    features[name] = tfds.features.Tensor(
      shape=(None, width),
      dtype=np.float32,
      encoding=tfds.features.Encoding.BYTES,
    )
  if fields is not None:
    features = {name: features[name] for name in fields}
  return tfds.features.FeaturesDict(features)


def clip_to_record(clip: codes.CodeClip) -> dict[str, Any]:
  """A record from a clip; unknown coefficients become [0, 17].

  Args:
    clip: the clip.

  Returns:
    What `code_features` encodes.
  """
  record = {name: getattr(clip, name) for name in _SCALARS}
  record['frames'] = list(clip.frames)
  record.update(clip.arrays())
  known = clip.true_pose_coeffs is not None
  record['has_true_pose_coeffs'] = known
  if not known:
    width = codes.CLIP_FIELDS[codes.OPTIONAL_FIELD]
    record[codes.OPTIONAL_FIELD] = np.zeros((0, width), np.float32)
  return record


def record_to_clip(record: Mapping[str, Any]) -> codes.CodeClip:
  """The clip of a record with all features.

  Args:
    record: a decoded record.

  Returns:
    The clip.

  Raises:
    codes.CodesError: if the codes are broken.
  """
  known = bool(record['has_true_pose_coeffs'])
  arrays = {name: record[name] for name in codes.CLIP_FIELDS}
  if not known:
    arrays[codes.OPTIONAL_FIELD] = None
  return codes.CodeClip(
    **{name: record[name].decode('utf-8') for name in _SCALARS},
    frames=tuple(name.decode('utf-8') for name in record['frames']),
    **arrays,
  )


# Its name in snake case, `layout.NAME`, is the data set's.
class DecaCodes(tfds.core.GeneratorBasedBuilder):
  """Writes clips to array_record; read it with `builder_from_directory`.

  Attributes:
    clips_by_split: split name to an iterator of clips, consumed once.
  """

  VERSION = tfds.core.Version(layout.FORMAT_VERSION)
  RELEASE_NOTES: ClassVar[dict[str, str]] = {
    layout.FORMAT_VERSION: 'Expression, pose, shape and camera, by clip.'
  }

  # Nothing is downloaded, so there are no checksums to look for. Looking for
  # them imports `importlib_resources`, which tensorflow-datasets 4.9.10 does
  # not declare (tensorflow/datasets issue 11212).
  url_infos = None

  def __init__(
    self, *, clips_by_split: Mapping[str, Clips] | None = None, **kwargs
  ):
    self.clips_by_split = dict(clips_by_split or {})
    # The default format, tfrecord, needs TensorFlow.
    kwargs['file_format'] = 'array_record'
    super().__init__(**kwargs)

  def _info(self) -> tfds.core.DatasetInfo:
    return tfds.core.DatasetInfo(
      builder=self,
      description='Human expression codes (FLAME/DECA) of videos.',
      features=code_features(),
      disable_shuffling=True,
    )

  def _split_generators(self, dl_manager: object) -> dict[str, Iterator]:
    del dl_manager  # Nothing is downloaded.
    return {
      split: self._generate_examples(clips)
      for split, clips in self.clips_by_split.items()
    }

  def _generate_examples(self, clips: Clips) -> Iterator[tuple[int, dict]]:
    for key, clip in enumerate(clips):
      yield key, clip_to_record(clip)
