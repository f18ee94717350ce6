"""Pairs of frames of characters that are drawn when they are asked for."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Sequence

import numpy as np
from PIL import Image

from data import pairs
from data.character_frames import CharacterFrames
from data.characters.style import STYLES
from data.streams import Batch

# The generator's flow has a quarter of the picture's height and width.
FLOW_FACTOR = 4


class CharacterPairs:
  """Endless random-access source: position -> one pair of one character.

  Poses are sampled as in a prepared set of characters. Drawing needs some 15
  ms a picture, and the flow 60 ms more, at 256x256 on one core: take worker
  processes, or a prepared set.

  Args:
    seeds: seeds of the characters.
    options: see `pairs.PairOptions`.
    rotated_fraction: share of driving frames with head angles, in [0, 1].
    source_rotated_fraction: share of source frames with head angles; the
      same share when None.
    styles: shading styles; each identity has one of them.
    with_flow: whether the true flow is made as well.

  Raises:
    ValueError: on wrong options, all named at once.
  """

  def __init__(
    self,
    seeds: Iterable[int],
    options: pairs.PairOptions | None = None,
    *,
    rotated_fraction: float = 0.5,
    source_rotated_fraction: float | None = None,
    styles: Sequence[str] = STYLES,
    with_flow: bool = False,
  ):
    self.options = options or pairs.PairOptions()
    self._with_flow = with_flow
    seeds = tuple(seeds)
    problems = self.options.problems()
    if with_flow and self.options.size % FLOW_FACTOR:
      problems.append(
        f'size is {self.options.size}, wanted a multiple of {FLOW_FACTOR} for '
        'the flow'
      )
    try:
      self._frames = CharacterFrames(
        seeds,
        self.options.size,
        max(self.options.seed, 0),
        # No run comes to the end.
        pairs_per_identity=1 << 40,
        rotated_fraction=rotated_fraction,
        source_rotated_fraction=source_rotated_fraction,
        styles=styles,
      )
    except ValueError as error:
      problems.append(str(error))
    if problems:
      raise ValueError('; '.join(problems))
    self.num_identities = len(seeds)
    self._order = pairs.PairOrder(self.num_identities, self.options)

  @property
  def pairs_per_epoch(self) -> int:
    """Characters by `options.repeats`."""
    return self.num_identities * self.options.repeats

  def __repr__(self) -> str:
    return f'CharacterPairs({self.num_identities} characters, {self.options})'

  def __len__(self) -> int:
    return sys.maxsize

  def __getitem__(self, position: int) -> Batch:
    """Draws one pair.

    Args:
      position: 0 or more.

    Returns:
      One row of a batch as in `data.pairs`; `identity` is the character's
      seed. With flow also `flow` [H/4, W/4, 2] float32: where each point of
      the driving frame comes from in the source frame, minus its position, in
      pixels of that grid, the mean of 4x4 pixels whose origin is seen; and
      `flow_mask` [H/4, W/4] float32, the share of those pixels.
    """
    draw = self._order.draw(position)
    index = draw.pass_index * self.num_identities + draw.slot
    identity, poses = self._frames.poses(index)
    character = self._frames.character(identity)
    boxes = character.part_boxes(poses['driving'])
    pair: Batch = {
      'identity': np.int64(identity),
      'part_boxes': np.array([boxes['eyes'], boxes['mouth']], np.float32),
      '_mask': np.float32(1),
    }
    for role, pose in poses.items():
      picture = Image.fromarray(character.render(pose))
      pair[f'{role}_image'] = pairs.finish_picture(picture, draw)
      pair[f'{role}_pose'] = pose
    if self._with_flow:
      flow, visible = character.flow(poses['source'], poses['driving'])
      pair['flow'], pair['flow_mask'] = quarter_flow(flow, visible)
    return pair


def quarter_flow(
  flow: np.ndarray, visible: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
  """Brings a flow to a quarter of its height and width.

  Args:
    flow: [H, W, 2] float in pixels.
    visible: [H, W] float, 1 where the flow counts, 0 where it does not.

  Returns:
    [H/4, W/4, 2] float32, the mean of the flow that counts in pixels of the
    smaller grid, 0 where none does; and [H/4, W/4] float32, how much counts.
  """
  height, width = (side // FLOW_FACTOR for side in visible.shape)
  tiles = (height, FLOW_FACTOR, width, FLOW_FACTOR)
  weight = visible.reshape(tiles)
  total = (flow.reshape(*tiles, 2) * weight[..., None]).sum((1, 3))
  count = weight.sum((1, 3))
  mean = total / np.maximum(count, 1)[..., None] / FLOW_FACTOR
  return mean.astype(np.float32), (count / FLOW_FACTOR**2).astype(np.float32)
