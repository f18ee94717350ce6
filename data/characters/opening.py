"""One way to open a character, whoever made it."""

from __future__ import annotations

import pathlib
from typing import Protocol, runtime_checkable

import numpy as np

from data.characters.character import Character
from data.characters.model3d import RENDERERS
from data.characters.model3d.errors import CharacterError

__all__ = ['AnimeCharacter', 'CharacterError', 'open_character']

SUFFIXES = ('.vrm', '.glb', '.gltf')


@runtime_checkable
class AnimeCharacter(Protocol):
  """What every character can do: `Character`, `ModelCharacter`.

  Attributes:
    size: height and width of its pictures in pixels.
  """

  size: int

  def render(
    self, pose: np.ndarray, *, background: tuple[int, int, int] | None = None
  ) -> np.ndarray:
    """Draws a [20] pose vector, [size, size, 4] uint8 RGBA."""

  def neutral(self) -> np.ndarray:
    """The neutral frontal picture, [size, size, 4] uint8 RGBA."""

  def flow(
    self, pose_from: np.ndarray, pose_to: np.ndarray
  ) -> tuple[np.ndarray, np.ndarray]:
    """True backward flow [size, size, 2] and occlusion [size, size]."""


def open_character(
  name: str, size: int = 256, renderer: str = 'auto'
) -> AnimeCharacter:
  """Opens a drawn character by its seed, or the user's own by its file.

  Example:
    open_character('27').neutral()
    open_character('avatar.vrm', renderer='software').neutral()

  Args:
    name: a seed, `0` and up, or the path of a `.vrm`, `.glb` or `.gltf` file.
    size: height and width of the pictures, 16 to 2048 pixels.
    renderer: for files: `gl`, `software`, or `auto` for the first that works.

  Raises:
    CharacterError: if it is neither, or the file cannot be used; it says which
      file, what is wrong and what to do.
    ValueError: if `size` or `renderer` is not allowed.
  """
  if renderer not in RENDERERS:
    raise ValueError(f'renderer is {renderer!r}, wanted one of {RENDERERS}')
  name = str(name)
  if name.isascii() and name.isdecimal():
    return Character.from_seed(int(name), size)
  if pathlib.Path(name).suffix.lower() not in SUFFIXES:
    raise CharacterError(
      name,
      'it is neither a seed nor a model',
      f'give a whole number from 0 or a {", ".join(SUFFIXES)} file',
    )
  try:
    # The library behind it is optional.
    from data.characters.model3d.character import ModelCharacter
  except ModuleNotFoundError as error:
    if error.name != 'pygltflib':
      raise
    raise CharacterError(
      name,
      'reading 3D models needs the library pygltflib, which is not installed',
      'run: pip install edtn-jax[vrm]',
    ) from error
  return ModelCharacter.from_file(name, size, renderer)
