"""Draws the characters in the README.

    python -m launch.draw_docs

writes docs/characters.png, docs/sweep.png and docs/generated.png.
"""

from __future__ import annotations

import pathlib
from collections.abc import Mapping

import numpy as np
from absl import app, flags
from PIL import Image

from data.anime_tree import on_white
from data.characters import Character, style_of
from data.pose_vector import NUM_POSE, POSE_INDEX
from edtn_jax.animation.generator import AnimeGenerator, load_generator
from edtn_jax.pictures.puppet import CharacterPuppet
from edtn_jax.pose_run import sweep_sheet

_BACKGROUND = (240, 239, 236)
# Left, upper, right and lower end of what is shown of a picture.
_SHOWN = (0.08, 0.10, 0.92, 0.94)
# What the generator is asked for.
_POSES: tuple[Mapping[str, float], ...] = (
  {},
  {'eye_wink_left': 1, 'eye_wink_right': 1},
  {'eye_happy_wink_left': 1, 'eye_happy_wink_right': 1},
  {'eye_wink_right': 1, 'mouth_i': 1},
  {'mouth_a': 1, 'eyebrow_raised_left': 1, 'eyebrow_raised_right': 1},
  {'mouth_o': 1},
  {'yaw': 18},
  {'yaw': -18, 'mouth_a': 0.6},
  {'pitch': 12},
  {'roll': 15},
)


def generated_sheet(
  generator: AnimeGenerator, seeds: list[int], size: int
) -> Image.Image:
  """One row by the generator, one by the renderer, for each character.

  Args:
    generator: moves the neutral pictures.
    seeds: of the characters.
    size: side of a picture of the sheet, pixels.

  Returns:
    The sheet; a column is a pose.
  """
  poses = np.zeros((len(_POSES), NUM_POSE), np.float32)
  for pose, numbers in zip(poses, _POSES, strict=True):
    for name, value in numbers.items():
      pose[POSE_INDEX[name]] = value
  rows = []
  for seed in seeds:
    character = Character.from_seed(seed, generator.largest, style_of(0, seed))
    source = on_white(character.render(poses[0]))
    rows.append(generator.animate(source, poses))
    rows.append([on_white(character.render(pose)) for pose in poses])
  sheet = Image.new('RGB', (len(poses) * size, len(rows) * size))
  for y, row in enumerate(rows):
    for x, picture in enumerate(row):
      shown = Image.fromarray(picture)
      box = [share * shown.width for share in _SHOWN]
      small = shown.resize((size, size), Image.Resampling.LANCZOS, box)
      sheet.paste(small, (x * size, y * size))
  return sheet


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
  _save_few_colors(sheet, folder / 'sweep.png')
  unseen = [int(seed) for seed in given.generated]
  sheet = generated_sheet(load_generator(), unseen, 128)
  _save_few_colors(sheet, folder / 'generated.png')


def _save_few_colors(sheet: Image.Image, path: pathlib.Path) -> None:
  """255 colours are enough for a few drawings, in a third of the bytes."""
  few = sheet.quantize(255, dither=Image.Dither.NONE)
  few.save(path, optimize=True)


def define_flags() -> None:
  """Defines the flags; only of the module that is run."""
  flags.DEFINE_string('folder', 'docs', 'folder to write into')
  flags.DEFINE_string('swept', '40', 'character in every expression')
  flags.DEFINE_list(
    'seeds',
    '5,9,2,28,6,30,32,16,45,10,22,55,34,1,54,23,61,48,11,43,63,3,40,58',
    'characters, row by row',
  )
  flags.DEFINE_list(
    'generated',
    '100003,100005,100012',
    'characters that the generator moves; it was trained on none of them',
  )
  flags.DEFINE_integer('columns', 8, 'characters a row', 1)
  flags.DEFINE_integer('size', 152, 'side of a character, pixels', 16)


if __name__ == '__main__':
  define_flags()
  app.run(main)
