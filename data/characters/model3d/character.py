"""A character from a file, with the interface of the drawn ones."""

from __future__ import annotations

import os
import pathlib

import numpy as np
from absl import logging

from data import pose_vector
from data.characters.checked_pose import checked_pose
from data.characters.model3d import RENDERERS, shading
from data.characters.model3d.errors import CharacterError
from data.characters.model3d.reading import Model, read_model
from data.characters.model3d.shading import Frame
from data.characters.model3d.software import SoftwareRenderer
from data.characters.model3d.surface_flow import surface_flow


def _make_renderer(name: str, model: Model, path: str):
  """The renderer that was asked for; OpenGL if there is a driver for `auto`."""
  if name not in RENDERERS:
    raise ValueError(f'renderer is {name!r}, wanted one of {RENDERERS}')
  if name != 'software':
    try:
      # moderngl is optional, and so is the driver it needs.
      from data.characters.model3d.gl import GlRenderer

      renderer = GlRenderer(model.surface)
    except Exception as error:
      # The bindings raise bare `Exception` where a driver is missing.
      if name == 'gl':
        missing = isinstance(error, ModuleNotFoundError)
        install = 'pip install edtn-jax[vrm]' if missing else 'an EGL driver'
        raise CharacterError(
          path,
          f'OpenGL cannot be used ({error})',
          f"install it ({install}), or use renderer='software'",
        ) from error
      logging.info('%s: OpenGL cannot be used (%s).', path, error)
    else:
      logging.info('%s: drawn by OpenGL (%s).', path, renderer.driver)
      return renderer
  logging.info('%s: drawn by the software renderer.', path)
  return SoftwareRenderer(model.surface)


class ModelCharacter:
  """An anime character from a `.vrm`, `.glb` or `.gltf` file.

  It can be pickled, and used in threads (with OpenGL they take turns) and other
  processes. A spawned process starts OpenGL for itself; a fork of a process
  that uses OpenGL cannot, so there the software renderer draws, with a warning.

  Example:
    character = ModelCharacter.from_file('avatar.vrm')
    pose = np.zeros(20)
    pose[data.pose_vector.POSE_INDEX['yaw']] = 15
    picture = character.render(pose)  # [256, 256, 4] uint8

  Attributes:
    path: the file.
    size: height and width of its pictures in pixels.
    renderer_name: `gl` or `software`.
    used: coefficient -> which morph targets move it.
    filled: coefficient -> what stands in for a morph target that is missing.
    missing: coefficient -> why it stays neutral.
  """

  def __init__(
    self, model: Model, path: str, size: int = 256, renderer: str = 'auto'
  ):
    if not 16 <= size <= 2048:
      raise ValueError(f'size is {size}, wanted 16 to 2048 pixels')
    self.path = path
    self.size = int(size)
    self.used = dict(model.expressions.used)
    self.filled = dict(model.expressions.filled)
    self.missing = dict(model.expressions.missing)
    self._surface = model.surface
    self._renderer = _make_renderer(renderer, model, path)
    self._flow_renderer = None

  @classmethod
  def from_file(
    cls, path: str | os.PathLike, size: int = 256, renderer: str = 'auto'
  ) -> ModelCharacter:
    """Opens a character.

    Args:
      path: `.vrm`, `.glb` or `.gltf` file.
      size: height and width of its pictures, 16 to 2048 pixels.
      renderer: `gl` needs an OpenGL driver, `software` only numpy; `auto` takes
        the first that works. `renderer_name` says which one it is.

    Raises:
      CharacterError: if the file cannot be used, or OpenGL was asked for and
        does not work.
      ValueError: if `size` or `renderer` is not allowed.
    """
    model = read_model(pathlib.Path(path))
    character = cls(model, os.fspath(path), size, renderer)
    character._report()
    return character

  def _report(self) -> None:
    """Says once what the model cannot do."""
    lines = [f'{n}: made of {what}' for n, what in self.filled.items()]
    lines += [f'{n}: neutral, {why}' for n, why in self.missing.items()]
    if lines:
      logging.warning(
        '%s has no morph target for %d of %d coefficients:\n  %s',
        self.path,
        len(lines),
        pose_vector.NUM_COEFFICIENTS,
        '\n  '.join(lines),
      )

  @property
  def renderer_name(self) -> str:
    """Which renderer draws it in this process: `gl` or `software`."""
    return self._usable_renderer().name

  def _usable_renderer(self):
    if not self._renderer.usable():
      logging.warning(
        '%s: drawn by the software renderer in this process: it was forked '
        'from one that uses OpenGL (spawn it to keep OpenGL).',
        self.path,
      )
      self._renderer = SoftwareRenderer(self._surface)
    return self._renderer

  def render(
    self, pose: np.ndarray, *, background: tuple[int, int, int] | None = None
  ) -> np.ndarray:
    """Draws the character.

    Args:
      pose: [20] float pose vector; coefficients are clamped to [0, 1].
      background: RGB 0..255 behind the character; transparent if None.

    Returns:
      [size, size, 4] uint8 RGBA, alpha not premultiplied.

    Raises:
      ValueError: if the pose is not 20 finite numbers.
    """
    factor = shading.supersampling(self.size)
    side = self.size * factor
    frame = Frame.of(self._surface, checked_pose(pose), side)
    canvas = self._usable_renderer().draw(frame, side)
    return shading.finish(canvas, factor, background)

  def neutral(self) -> np.ndarray:
    """The neutral frontal picture, [size, size, 4] uint8 RGBA."""
    return self.render(np.zeros(pose_vector.NUM_POSE))

  def flow(
    self, pose_from: np.ndarray, pose_to: np.ndarray
  ) -> tuple[np.ndarray, np.ndarray]:
    """True backward flow between two poses, from the geometry.

    Args:
      pose_from: [20] float pose vector of the picture that is warped.
      pose_to: [20] float pose vector of the picture that is wanted.

    Returns:
      [size, size, 2] float32 flow in pixels (x, y): for each pixel of the `to`
      picture where it comes from in the `from` picture, minus its own
      position, 0 on the background; and [size, size] float32 occlusion, 1
      where the same point is seen in both pictures.

    Raises:
      ValueError: if a pose is not 20 finite numbers.
    """
    if self._flow_renderer is None:
      # Flow is geometry, so it is the same whichever renderer draws.
      self._flow_renderer = (
        self._renderer
        if isinstance(self._renderer, SoftwareRenderer)
        else SoftwareRenderer(self._surface)
      )
    frames = [
      Frame.of(self._surface, checked_pose(pose), self.size)
      for pose in (pose_from, pose_to)
    ]
    return surface_flow(self._flow_renderer, *frames, self.size)
