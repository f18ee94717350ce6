"""An anime character that pose vectors move."""

from __future__ import annotations

import collections.abc
from typing import Any

import numpy as np

from data.characters.opening import AnimeCharacter, open_character

# Pose vectors [T, 20] in, T pictures out, one by one: [size, size, 4] uint8
# RGBA, or RGB. What draws faster in batches may look at all poses at once.
Puppet = collections.abc.Callable[
  [np.ndarray], collections.abc.Iterable[np.ndarray]
]


class CharacterPuppet:
  """A character, drawn by code or from a 3D model.

  Attributes:
    size: side of its pictures, pixels.
    description: what a summary says of it: `character` and `renderer`; of a
      file also `filled` (pose numbers made of something else, and of what) and
      `missing` (pose numbers that stay neutral, and why).
  """

  def __init__(self, name: str, size: int):
    """Opens a character.

    Args:
      name: seed of a character drawn by code, or path of a `.vrm`, `.glb` or
        `.gltf` file.
      size: side of the pictures, pixels.

    Raises:
      CharacterError: if it is neither, or the file cannot be used.
    """
    self._character = open_character(name, size)
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


def _traits(character: AnimeCharacter) -> dict[str, Any]:
  """What a character tells about itself, ready for JSON."""
  traits = {'renderer': getattr(character, 'renderer_name', 'drawn by code')}
  for key in ('filled', 'missing'):
    if hasattr(character, key):
      traits[key] = dict(getattr(character, key))
  return traits
