"""Trained networks that come with the project, one bundle a task.

They were trained by the commands in `pretrained/README.md` on data that the
project makes itself, and are under its licence.
"""

from __future__ import annotations

import pathlib

FOLDER = pathlib.Path(__file__).parent / 'pretrained'


def bundle_of(task: str) -> pathlib.Path:
  """Where the bundle of a task is.

  Args:
    task: `anime_generator` or `expression_translation`.

  Returns:
    Its directory.
  """
  return FOLDER / task
