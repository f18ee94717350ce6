"""The generator's part in the demo: it moves a picture of a character."""

from __future__ import annotations

import dataclasses
import pathlib

from PIL import Image

from data import files
from data.characters.opening import open_character
from edtn_jax.animation import generator as generator_lib
from edtn_jax.animation.puppet import CharacterChoice

SOURCE_NAME = 'source.png'
# Side of the picture that the generator is given, pixels.
_SOURCE_SIZE = 512


@dataclasses.dataclass(frozen=True)
class Cast:
  """Who is driven.

  Attributes:
    character: seed or file; drawn in every pose, which is the truth.
    generator: path of the generator, '' for the shipped one.
    sentence: for the report.
  """

  character: str
  generator: str
  sentence: str

  def choice(self, output: pathlib.Path) -> CharacterChoice:
    """Draws the source picture into `output` and says what to drive."""
    picture = open_character(self.character, _SOURCE_SIZE).neutral()
    path = output / SOURCE_NAME
    output.mkdir(parents=True, exist_ok=True)
    with files.atomic_writer(path) as file:
      Image.fromarray(picture).save(file, 'PNG')
    return CharacterChoice(
      puppet=self.character,
      source=str(path),
      generator=self.generator,
      # As the truth beside it is framed.
      crop=f'0,0,{_SOURCE_SIZE}',
    )


def cast(puppet: str, generator: str) -> Cast:
  """Chooses a character; before any work, so that what cannot be is told.

  Args:
    puppet: seed or file, or '' for a character that the generator has never
      seen.
    generator: bundle or run, or '' for the shipped one.

  Returns:
    The cast.

  Raises:
    CharacterError, CheckpointError: if one of them cannot be used.
  """
  opened = generator_lib.load_generator(generator or None)
  name = puppet or str(generator_lib.unseen_character(opened.config))
  open_character(name)
  return Cast(name, generator, _sentence(opened, name))


def _sentence(generator: generator_lib.AnimeGenerator, name: str) -> str:
  seen = False
  if name.isdecimal():
    seen = generator_lib.has_seen(generator.config, int(name))
  known = {
    True: 'that it was trained on',
    False: 'that it has never seen',
    None: 'that may be among those it was trained on',
  }[seen]
  step = generator.description['generator_step']
  return (
    f'Generated: a network (step {step}, {generator.size}x{generator.size}) '
    f'moves one picture of a character {known}. Beside it the renderer draws '
    'the same character in the same pose: the truth.'
  )
