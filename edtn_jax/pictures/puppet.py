"""An anime character that pose vectors move."""

from __future__ import annotations

import collections.abc
from typing import Any

import numpy as np

from data.characters import Character
from edtn_jax.config import ConfigError, Problem

# Pose vectors [T, 20] in, T pictures out, one by one: [size, size, 4] uint8
# RGBA, or RGB. What draws faster in batches may look at all poses at once.
Puppet = collections.abc.Callable[
  [np.ndarray], collections.abc.Iterable[np.ndarray]
]


class CharacterPuppet:
  """A character, drawn by code or from a 3D model.

  Attributes:
    size: side of its pictures, pixels.
    description: what a summary says of it: `character`, and where the
      character tells them `renderer`, `missing` and `filled` (pose numbers
      that its file does not have, and what stands in for them).
  """

  def __init__(self, name: str, size: int):
    """Opens a character.

    Args:
      name: seed of a character drawn by code, a non-negative whole number.
      size: side of the pictures, pixels.

    Raises:
      ConfigError: if `name` is no seed.
    """
    if not name.isdecimal():
      raise ConfigError(
        [
          Problem(
            'puppet',
            name,
            'must be the seed of a character, a whole number',
            'Use --puppet=7, or leave it out.',
          )
        ]
      )
    self._character = Character.from_seed(int(name), size)
    self.size = size
    self.description = {'character': name, **_traits(self._character)}

  def __call__(self, poses: np.ndarray) -> collections.abc.Iterator[np.ndarray]:
    """Draws the character.

    Args:
      poses: [T, 20] float, pose vectors.

    Yields:
      [size, size, 4] uint8 RGBA, transparent around the character.
    """
    for pose in poses:
      yield self._character.render(pose)


def _traits(character: Any) -> dict[str, Any]:
  """What a character tells about itself, ready for JSON."""
  traits = {}
  for key, plain in (('renderer', str), ('missing', list), ('filled', dict)):
    value = getattr(character, key, None)
    if value:
      traits[key] = plain(value)
  return traits
