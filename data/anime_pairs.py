"""Pairs of frames of a prepared data set of anime pictures."""

from __future__ import annotations

import io
import os
import sys

import numpy as np
from absl import logging
from PIL import Image

from data import anime_records, anime_tree, files, pairs, prepared
from data.streams import Batch


class AnimePairs:
  """Endless random-access source: position -> one pair of one identity.

  Source and driving frame are drawn uniformly from all frames of the identity,
  frontal and rotated, and differ if it has two. A pair is a function of
  options and position alone.

  Args:
    path: a prepared data set of anime frames.
    split: `train` or `test`.
    options: see `pairs.PairOptions`.
    allow_smaller: whether pictures may be enlarged to the size.
    skip_damaged: whether the next frame of the identity takes the place of one
      that cannot be read; otherwise that is an error.

  Raises:
    FileNotFoundError: if there is no such data set.
    ValueError: on wrong options, all named at once, or a wrong split.
    prepared.CorruptDatasetError: naming the file that is broken.
  """

  def __init__(
    self,
    path: str | os.PathLike,
    split: str,
    options: pairs.PairOptions | None = None,
    *,
    allow_smaller: bool = False,
    skip_damaged: bool = True,
  ):
    self.options = options or pairs.PairOptions()
    frame_set = anime_records.open_frames(path)
    self._check(frame_set, allow_smaller)
    self._split = split
    self._skip_damaged = skip_damaged
    self.index = frame_set.index(split)
    self._images = frame_set.images(split)
    if len(self._images) != len(self.index.pose):
      raise prepared.CorruptDatasetError(
        f'{frame_set.path}: {len(self._images)} records in {split}, '
        f'{len(self.index.pose)} in its index; prepare the data set again'
      )
    self._order = pairs.PairOrder(self.num_identities, self.options)
    self._damaged: dict[int, str] = {}

  def _check(
    self, frame_set: anime_records.FrameSet, allow_smaller: bool
  ) -> None:
    problems = self.options.problems()
    size = self.options.size
    for width, height in frame_set.picture_sizes:
      if width != height:
        problems.append(f'there are pictures of {width}x{height}, not square')
      elif width < size and not allow_smaller:
        problems.append(
          f'size is {size}, there are pictures of {width}x{height}; choose a '
          'smaller size, or allow_smaller to enlarge them'
        )
    if (
      self.options.background != 'white'
      and frame_set.manifest['image_format'] == 'jpeg'
    ):
      problems.append(
        f'background is {self.options.background!r}, but JPEG has none: '
        'prepare with image_format webp or png'
      )
    if problems:
      raise ValueError(f'{frame_set.path}: {"; ".join(problems)}')

  @property
  def num_identities(self) -> int:
    """Identities of the split."""
    return len(self.index.identity_names)

  @property
  def pairs_per_epoch(self) -> int:
    """Identities by `options.repeats`."""
    return self.num_identities * self.options.repeats

  @property
  def damaged(self) -> dict[int, str]:
    """Records that this process found damaged, with reasons."""
    return dict(self._damaged)

  def __repr__(self) -> str:
    return (
      f'AnimePairs({self.num_identities} identities of {self._split}, '
      f'{self.options})'
    )

  def __len__(self) -> int:
    return sys.maxsize

  def __getitem__(self, position: int) -> Batch:
    """Reads one pair.

    Args:
      position: 0 or more.

    Returns:
      One row of a batch as in `data.pairs`; `identity` is an index into
      `index.identity_names`.

    Raises:
      prepared.CorruptDatasetError: if a frame is damaged and must not be, or
        all frames of the identity are.
    """
    draw = self._order.draw(position)
    first, end = self.index.identity_offsets[draw.slot : draw.slot + 2].tolist()
    pair: Batch = {
      'identity': np.int64(draw.slot),
      'part_boxes': pairs.PART_BOXES,
      '_mask': np.float32(1),
    }
    chosen = draw.frames(end - first)
    for role, frame in zip(('source', 'driving'), chosen, strict=True):
      record, image = self._read(first, end, frame, draw)
      pair[f'{role}_image'] = image
      pair[f'{role}_pose'] = self.index.pose[record]
    return pair

  def _read(
    self, first: int, end: int, frame: int, draw: pairs.PairDraw
  ) -> tuple[int, np.ndarray]:
    """A frame, or the next one that can be read; which, and its picture."""
    count = end - first
    for step in range(count):
      record = first + (frame + step) % count
      if record in self._damaged:
        continue
      try:
        return record, self._decode(record, draw)
      except (files.BrokenFileError, prepared.CorruptDatasetError) as error:
        self._note(record, error)
    raise prepared.CorruptDatasetError(
      f'every frame of identity {self.index.owner(first)!r} is damaged; the '
      f'first: {self._damaged[first]}'
    )

  def _note(self, record: int, error: Exception) -> None:
    """Counts a damaged record, and names it once."""
    name = f'record {record} of {self._split}, {self.index.owner(record)!r}'
    if not self._skip_damaged:
      raise prepared.CorruptDatasetError(f'{name}: {error}') from error
    self._damaged[record] = str(error)
    logging.warning(
      'Damaged frame %d: %s: %s. The next frame of the identity is used.',
      len(self._damaged),
      name,
      error,
    )

  def _decode(self, record: int, draw: pairs.PairDraw) -> np.ndarray:
    content = self._images[record]['image']
    try:
      with Image.open(io.BytesIO(content)) as picture:
        # A JPEG is decoded to a half or quarter at no cost.
        picture.draft('RGB', (self.options.size, self.options.size))
        picture.load()
        return pairs.finish_picture(picture, draw)
    except anime_tree.PICTURE_ERRORS as error:
      raise anime_tree.broken_picture('picture', error) from error
