"""An anime character that a pose vector moves, as a panel of a picture."""

from __future__ import annotations

import numpy as np

from data.characters import Character
from edtn_jax.config import ConfigError, Problem
from edtn_jax.pictures import style
from edtn_jax.pictures.storyboard import Puppet

# Share of the picture, from its middle, that the panel shows: the whole head
# also when it turns, and little of the shoulders.
_SHOWN = 0.74


def make_puppet(name: str, size: int) -> Puppet:
  """Makes the drawing function of a character.

  Args:
    name: seed of a character drawn by code, a non-negative whole number.
    size: side of the pictures, pixels.

  Returns:
    Function from a pose vector [20] to [size, size, 3] uint8.

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
  character = Character.from_seed(int(name), round(size / _SHOWN))
  begin = (character.size - size) // 2

  def draw(pose: np.ndarray) -> np.ndarray:
    picture = character.render(pose, background=style.MESH_BACKGROUND)
    return picture[begin : begin + size, begin : begin + size, :3]

  return draw
