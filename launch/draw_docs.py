"""Draws the characters in the README.

    python -m launch.draw_docs

writes docs/characters.png and docs/sweep.png.
"""

from __future__ import annotations

import pathlib

from absl import app, flags
from PIL import Image

from data.characters import Character, style_of
from edtn_jax.pictures.puppet import CharacterPuppet
from edtn_jax.pose_run import sweep_sheet

_BACKGROUND = (240, 239, 236)
# Left, upper, right and lower end of what is shown of a picture.
_SHOWN = (0.08, 0.10, 0.92, 0.94)


def character_sheet(seeds: list[int], columns: int, size: int) -> Image.Image:
  """Neutral pictures in the styles of a data set of seed 0, row by row."""
  rows = -(-len(seeds) // columns)
  sheet = Image.new('RGB', (columns * size, rows * size), _BACKGROUND)
  whole = round(size / (_SHOWN[2] - _SHOWN[0]))
  left, upper = round(_SHOWN[0] * whole), round(_SHOWN[1] * whole)
  for place, seed in enumerate(seeds):
    character = Character.from_seed(seed, whole, style_of(0, seed))
    picture = Image.fromarray(character.neutral())
    picture = picture.crop((left, upper, left + size, upper + size))
    at = (place % columns * size, place // columns * size)
    sheet.paste(picture, at, picture)
  return sheet


def main(argv: list[str]) -> None:
  """Writes the sheets."""
  del argv
  given = flags.FLAGS
  seeds = [int(seed) for seed in given.seeds]
  folder = pathlib.Path(given.folder)
  sheet = character_sheet(seeds, given.columns, given.size)
  sheet.save(folder / 'characters.png', optimize=True)
  swept = CharacterPuppet(given.swept, 256)
  sheet = sweep_sheet(swept, size=112, numbers_a_row=2)
  # 255 colours are enough for one drawing, in a third of the bytes.
  few = sheet.quantize(255, dither=Image.Dither.NONE)
  few.save(folder / 'sweep.png', optimize=True)


def define_flags() -> None:
  """Defines the flags; only of the module that is run."""
  flags.DEFINE_string('folder', 'docs', 'folder to write into')
  flags.DEFINE_string('swept', '40', 'character in every expression')
  flags.DEFINE_list(
    'seeds',
    '5,9,2,28,6,30,32,16,45,10,22,55,34,1,54,23,61,48,11,43,63,3,40,58',
    'characters, row by row',
  )
  flags.DEFINE_integer('columns', 8, 'characters a row', 1)
  flags.DEFINE_integer('size', 152, 'side of a character, pixels', 16)


if __name__ == '__main__':
  define_flags()
  app.run(main)
