"""A character in one named pose, or in every pose number's whole range."""

from __future__ import annotations

import dataclasses
import difflib
import math
import os
import pathlib

import numpy as np
from absl import logging
from PIL import Image, PngImagePlugin

from data import files, pose_vector
from edtn_jax.animation.puppet import CharacterChoice
from edtn_jax.config import ConfigError, Problem
from edtn_jax.pictures import panels, style
from edtn_jax.pictures.puppet import Puppet
from edtn_jax.pictures.storyboard import character_panel
from edtn_jax.reenact_summary import ProgressLine

SWEEP = 'sweep'
SWEEP_STEPS = 5
# Degrees up to which a head turns gracefully.
_ANGLES = (-35, 35)
_SHEET_SIZE = 176
# Written into our pictures: what has it may be replaced by a newer one.
_SOFTWARE = ('Software', 'edtn reenact --pose')


def parse_pose(text: str) -> np.ndarray:
  """Reads a pose such as `mouth_a=0.8,eye_wink_left=1,yaw=15`.

  Args:
    text: comma-separated `name=number`; names as in `data.pose_vector`,
      coefficients in [0, 1], angles in degrees within +-35. What is not named
      is 0; what is out of range is clamped, with one warning.

  Returns:
    [20] float32 pose vector.

  Raises:
    ConfigError: naming every part that cannot be used.
  """
  pose = np.zeros(pose_vector.NUM_POSE, np.float32)
  problems, clamped, seen = [], [], set()
  for part in filter(None, (part.strip() for part in text.split(','))):
    name, _, value = (word.strip() for word in part.partition('='))
    problem = _problem(part, name, value, seen)
    seen.add(name)
    if problem:
      problems.append(problem)
      continue
    low, high = _ANGLES if name in pose_vector.ANGLE_NAMES else (0, 1)
    number = min(max(float(value), low), high)
    pose[pose_vector.POSE_INDEX[name]] = number
    if number != float(value):
      clamped.append(f'{part} to {number:g}')
  if problems:
    raise ConfigError(problems)
  if clamped:
    logging.warning(
      'Out of range and clamped: %s. Coefficients are 0 to 1, angles within '
      '%d degrees.',
      ', '.join(clamped),
      _ANGLES[1],
    )
  return pose


def _problem(
  part: str, name: str, value: str, seen: set[str]
) -> Problem | None:
  """What is wrong with one part of a pose, or None."""
  if name not in pose_vector.POSE_INDEX:
    near = difflib.get_close_matches(name, pose_vector.POSE_NAMES, 3, 0.6)
    remedy = f'There are: {", ".join(pose_vector.POSE_NAMES)}.'
    if near:
      remedy = f'Did you mean {" or ".join(near)}?'
    return Problem('pose', part, 'names no pose number', remedy)
  if name in seen:
    return Problem('pose', part, f'names {name} again', 'Name it once.')
  try:
    fits = math.isfinite(float(value))
  except ValueError:
    fits = False
  if fits:
    return None
  rule = f'must be {name}=number'
  return Problem('pose', part, rule, f'Write {name}=1, for example.')


def sweep_sheet(
  puppet: Puppet, *, size: int = _SHEET_SIZE, numbers_a_row: int = 1
) -> Image.Image:
  """Every pose number from its lowest to its highest value.

  Args:
    puppet: draws the character.
    size: side of each picture, pixels.
    numbers_a_row: pose numbers beside each other.

  Returns:
    The sheet: `SWEEP_STEPS` pictures a number, with names and values.
  """
  poses, labels = [], []
  for i, number in enumerate(pose_vector.POSE_NUMBERS):
    for value in np.linspace(number.low, number.high, SWEEP_STEPS):
      pose = np.zeros(pose_vector.NUM_POSE, np.float32)
      pose[i] = value
      poses.append(pose)
      labels.append(f'{number.name.replace("_", " ")} {value:g}')
  progress = ProgressLine(len(poses))
  pictures = []
  for picture in puppet(np.stack(poses)):
    pictures.append(character_panel(picture, size))
    progress.add(1)
  colors = [
    style.GROUP_COLORS[number.group]
    for number in pose_vector.POSE_NUMBERS
    for _ in range(SWEEP_STEPS)
  ]
  columns = SWEEP_STEPS * numbers_a_row
  return panels.contact_sheet(
    pictures, labels, columns=columns, label_colors=colors
  )


def pose_run(
  output: str | os.PathLike,
  *,
  characters: CharacterChoice,
  pose: str,
  size: int = 512,
) -> pathlib.Path:
  """Draws a character in a pose.

  Args:
    output: directory for the picture.
    characters: what to draw, of one kind.
    pose: see `parse_pose`, or `sweep` for `sweep_sheet`.
    size: side of the picture of one pose, pixels, 64 to 1024; a generated one
      has the generator's.

  Returns:
    Path of `pose.png`, transparent around a drawn character, or of
    `sweep.png`.

  Raises:
    ConfigError: if the size, the pose or the choice cannot be used, or
      another picture is in the way.
    CharacterError, SourceError, CheckpointError: see there.
  """
  path = pathlib.Path(output) / ('sweep.png' if pose == SWEEP else 'pose.png')
  vector = None if pose == SWEEP else parse_pose(pose)
  _check_output(path)
  if not 64 <= size <= 1024:
    rule, remedy = 'must be 64 to 1024', 'The default is 512.'
    raise ConfigError([Problem('puppet_size', size, rule, remedy)])
  if characters.puppet and characters.source:
    rule = 'cannot be drawn together with --source in a pose'
    remedy = 'Leave out one of them.'
    raise ConfigError([Problem('puppet', characters.puppet, rule, remedy)])
  if vector is None:
    # Panels show a share of it: large enough that nothing is enlarged.
    (puppet,) = characters.open(240).values()
    picture = sweep_sheet(puppet)
  else:
    one = dataclasses.replace(characters, batch_size=1)
    (puppet,) = one.open(size).values()
    (drawn,) = puppet(vector[None])
    picture = Image.fromarray(drawn)
  information = PngImagePlugin.PngInfo()
  information.add_text(*_SOFTWARE)
  path.parent.mkdir(parents=True, exist_ok=True)
  with files.atomic_writer(path) as file:
    picture.save(file, 'PNG', pnginfo=information)
  return path


def _check_output(path: pathlib.Path) -> None:
  """Refuses to replace a picture that is not of this command."""
  folder, problem = path.parent, ''
  if folder.exists() and not folder.is_dir():
    problem = 'is a file'
  elif path.exists() and not _is_ours(path):
    problem = f'holds another {path.name}, which is left alone'
  if problem:
    raise ConfigError(
      [Problem('output', str(folder), problem, 'Name another folder.')]
    )


def _is_ours(path: pathlib.Path) -> bool:
  key, value = _SOFTWARE
  try:
    with Image.open(path) as picture:
      return picture.info.get(key) == value
  except OSError:
    return False
