"""Pairs of pictures of one identity: what every source of them shares.

    source = AnimePairs('out', 'train', PairOptions(size=256, seed=0))
    options = streams.StreamOptions(global_batch=8, num_threads=2)
    with streams.open_stream(source, options) as stream:
      batch = next(stream)

A batch is a dict of numpy arrays:

    source_image, driving_image   [B, H, W, 3] uint8 RGB
    source_pose, driving_pose     [B, 20] float32 pose vectors
    identity                      [B] int64
    part_boxes                    [B, 2, 4] float32, see `PART_BOXES`
    _mask                         [B] float32, 0 for filling

and, from drawn characters if asked for, `flow` [B, H/4, W/4, 2] float32 and
`flow_mask` [B, H/4, W/4] float32, see `data.character_pairs`.
"""

from __future__ import annotations

import concurrent.futures
import dataclasses
from collections.abc import Iterator

import numpy as np
from PIL import Image

from data import picture_codec, sampling, streams

BACKGROUNDS = ('white', 'random')

# Where eyes with brows, and mouth, of the driving frame are: x0, y0, x1, y1 in
# fractions of the picture. For pictures without known truth: the mean of 200
# drawn characters in AnimeCeleb's frame in turned poses, rounded outwards.
PART_BOXES = np.array(
  [[0.34, 0.45, 0.67, 0.66], [0.43, 0.65, 0.57, 0.77]], np.float32
)

WHITE = (255, 255, 255)

_NUM_DRAWS = 2 + 3  # Which frames, background colour; see `PairDraw`.


@dataclasses.dataclass(frozen=True)
class PairOptions:
  """What the pairs of any source look like.

  Attributes:
    size: height and width of the pictures in pixels.
    seed: of the order and of everything random, 0 or more.
    repeats: pairs of each identity in an epoch; the EDTN paper has 75.
    background: `white`, or `random`: one colour for both frames of a pair.
  """

  size: int = 256
  seed: int = 0
  repeats: int = 75
  background: str = 'white'

  def problems(self) -> list[str]:
    """Everything that is wrong with the options."""
    problems = []
    for name, least in (('size', 1), ('seed', 0), ('repeats', 1)):
      value = getattr(self, name)
      if value < least:
        problems.append(f'{name} is {value}, wanted at least {least}')
    if self.background not in BACKGROUNDS:
      problems.append(
        f'background is {self.background!r}, wanted one of '
        f'{", ".join(BACKGROUNDS)}'
      )
    return problems


@dataclasses.dataclass(frozen=True, eq=False)
class PairDraw:
  """All that is random in one pair.

  Attributes:
    slot: which identity, 0 to I - 1.
    pass_index: how often the order has visited it before.
    numbers: [5] float64 in [0, 1).
    options: of the source.
  """

  slot: int
  pass_index: int
  numbers: np.ndarray
  options: PairOptions

  def frames(self, count: int) -> tuple[int, int]:
    """Source and driving frame of `count`; different if there are two."""
    source = int(self.numbers[0] * count)
    if count == 1:
      return source, source
    driving = int(self.numbers[1] * (count - 1))
    return source, driving + (driving >= source)

  def background(self) -> tuple[int, int, int]:
    """RGB of what is behind both frames."""
    if self.options.background == 'white':
      return WHITE
    return tuple((self.numbers[2:] * 256).astype(int).tolist())


class PairOrder:
  """The endless order of pairs: a pure function of seed and position.

  Every pass visits each identity once, in shuffled order.

  Args:
    num_identities: identities I.
    options: with the seed.
  """

  def __init__(self, num_identities: int, options: PairOptions):
    # With one frame an identity, the frame is the identity.
    self._sampler = sampling.IdentitySampler(
      np.arange(num_identities + 1), options.seed
    )
    self._options = options

  def draw(self, position: int) -> PairDraw:
    """All that is random in the pair at a position, 0 or more."""
    position = int(position)
    # Raw bits only, which numpy keeps from version to version.
    entropy = [self._options.seed, position, 1]
    bits = np.random.Philox(np.random.SeedSequence(entropy))
    numbers = (bits.random_raw(_NUM_DRAWS) >> 11) * 2.0**-53
    return PairDraw(
      slot=self._sampler.frame_at(position),
      pass_index=position // self._sampler.num_identities,
      numbers=numbers,
      options=self._options,
    )


def finish_picture(picture: Image.Image, draw: PairDraw) -> np.ndarray:
  """Puts a picture on its background and brings it to size.

  Colours are changed on the device, where it costs nothing; here it would
  take a quarter as long as decoding.

  Args:
    picture: square, of any mode, alpha not premultiplied.
    draw: the pair that it is for.

  Returns:
    [size, size, 3] uint8 RGB.
  """
  picture = picture_codec.put_on(picture, draw.background())
  return np.asarray(_resized(picture, draw.options.size))


def _resized(picture: Image.Image, size: int) -> Image.Image:
  if picture.width == size:
    return picture
  if picture.width % size == 0:
    return picture.reduce(picture.width // size)  # The mean of each area.
  # Pillow widens the triangle when it makes smaller, so nothing is skipped.
  return picture.resize((size, size), Image.Resampling.BILINEAR)


def padded_pairs(
  source: streams.ExampleSource,
  num_pairs: int,
  batch: int,
  *,
  num_threads: int = 1,
  shard_index: int = 0,
  shard_count: int = 1,
) -> Iterator[streams.Batch]:
  """The first pairs of a source, in order, in batches of one size.

  Args:
    source: e.g. `AnimePairs` of the test split.
    num_pairs: how many.
    batch: pairs per batch. The last is filled up with its last pair.
    num_threads: threads that make pairs.
    shard_index: which part of each batch this process gets.
    shard_count: number of processes.

  Yields:
    This process's rows of the batches, with `_mask` 0 for filling.

  Raises:
    ValueError: on a number below 1, or a batch that shards cannot divide.
  """
  for name, value in (
    ('num_pairs', num_pairs),
    ('batch', batch),
    ('num_threads', num_threads),
  ):
    if value < 1:
      raise ValueError(f'{name} is {value}, wanted at least 1')
  if batch % shard_count:
    raise ValueError(
      f'batch {batch} is not divisible by shard_count {shard_count}'
    )
  return _padded_pairs(
    source, num_pairs, batch, num_threads, shard_index, shard_count
  )


def _padded_pairs(
  source: streams.ExampleSource,
  num_pairs: int,
  batch: int,
  num_threads: int,
  shard_index: int,
  shard_count: int,
) -> Iterator[streams.Batch]:
  rows = batch // shard_count
  with concurrent.futures.ThreadPoolExecutor(num_threads) as pool:
    for start in range(0, num_pairs, batch):
      positions = start + shard_index * rows + np.arange(rows)
      filled = positions < num_pairs
      # Filling is made once, however much of it there is.
      wanted, places = np.unique(
        np.minimum(positions, num_pairs - 1), return_inverse=True
      )
      made = list(pool.map(source.__getitem__, wanted.tolist()))
      stacked = {
        name: np.stack([made[i][name] for i in places]) for name in made[0]
      }
      yield {**stacked, '_mask': filled.astype(np.float32)}
