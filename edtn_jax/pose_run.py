"""A character in one named pose, or in every pose number's whole range."""

from __future__ import annotations

import os
import pathlib

import numpy as np
from PIL import Image

from data import files, pose_vector
from edtn_jax.config import ConfigError, Problem
from edtn_jax.pictures import panels, style
from edtn_jax.pictures.puppet import make_puppet
from edtn_jax.pictures.storyboard import Puppet

SWEEP = 'sweep'
SWEEP_STEPS = 5
_SIZE = 256
# Degrees up to which a head turns gracefully.
_ANGLES = (-35, 35)
_SHEET_SIZE = 144


def parse_pose(text: str) -> np.ndarray:
  """Reads a pose such as `mouth_a=0.8,eye_wink_left=1,yaw=15`.

  Args:
    text: comma-separated `name=number`; names as in `data.pose_vector`,
      coefficients in [0, 1], angles in degrees within +-35. What is not named
      is 0.

  Returns:
    [20] float32 pose vector.

  Raises:
    ConfigError: naming every part that cannot be used.
  """
  pose = np.zeros(pose_vector.NUM_POSE, np.float32)
  problems = []
  for part in filter(None, text.split(',')):
    name, _, value = part.partition('=')
    problem = _problem(part, name, value)
    if problem:
      problems.append(problem)
    else:
      pose[pose_vector.POSE_INDEX[name]] = float(value)
  if problems:
    raise ConfigError(problems)
  return pose


def _problem(part: str, name: str, value: str) -> Problem | None:
  """What is wrong with one part of a pose, or None."""
  if name not in pose_vector.POSE_INDEX:
    known = ', '.join(pose_vector.POSE_NAMES)
    return Problem('pose', part, 'names no pose number', f'There are: {known}.')
  low, high = _ANGLES if name in pose_vector.ANGLE_NAMES else (0, 1)
  try:
    fits = low <= float(value) <= high
  except ValueError:
    fits = False
  if fits:
    return None
  rule = f'must be {name}=number with a number of {low} to {high}'
  return Problem('pose', part, rule, f'Write {name}={high}, for example.')


def sweep_sheet(puppet: Puppet) -> Image.Image:
  """One row a pose number, from its lowest to its highest value.

  Args:
    puppet: draws a pose vector [20] as a square picture.

  Returns:
    The sheet: 20 rows of `SWEEP_STEPS` pictures with names and values.
  """
  pictures, labels = [], []
  for i, number in enumerate(pose_vector.POSE_NUMBERS):
    for value in np.linspace(number.low, number.high, SWEEP_STEPS):
      pose = np.zeros(pose_vector.NUM_POSE, np.float32)
      pose[i] = value
      pictures.append(puppet(pose))
      labels.append(f'{number.name.replace("_", " ")} {value:g}')
  colors = [
    style.GROUP_COLORS[number.group]
    for number in pose_vector.POSE_NUMBERS
    for _ in range(SWEEP_STEPS)
  ]
  return panels.contact_sheet(
    pictures, labels, columns=SWEEP_STEPS, label_colors=colors
  )


def pose_run(
  output: str | os.PathLike, *, puppet: str, pose: str
) -> pathlib.Path:
  """Draws a character in a pose.

  Args:
    output: directory for the picture.
    puppet: seed of a character.
    pose: see `parse_pose`, or `sweep` for `sweep_sheet`.

  Returns:
    Path of `pose.png` or `sweep.png`.

  Raises:
    ConfigError: if the character or the pose cannot be used.
  """
  if pose == SWEEP:
    name, picture = 'sweep.png', sweep_sheet(make_puppet(puppet, _SHEET_SIZE))
  else:
    vector = parse_pose(pose)
    drawn = make_puppet(puppet, _SIZE)(vector)
    name, picture = 'pose.png', Image.fromarray(drawn)
  path = pathlib.Path(output) / name
  path.parent.mkdir(parents=True, exist_ok=True)
  with files.atomic_writer(path) as file:
    picture.save(file, 'PNG')
  return path
