"""The picture of one reenacted frame: driver, meshes and bars in a row."""

from __future__ import annotations

import collections.abc

import numpy as np
from PIL import Image, ImageDraw

from data import pose_vector
from edtn_jax.pictures import panels, style
from edtn_jax.pictures.bars import BarsPanel
from edtn_jax.pictures.meshes import MeshScene

FramePicture = collections.abc.Callable[[str], 'panels.Picture | None']
# Share of a character's picture, from its middle, that the panel shows: the
# whole head also when it turns, and little of the shoulders.
_SHOWN = 0.86

TITLES = {
  'frame': 'driving frame',
  'driving': 'driving mesh',
  'approximate': 'driving mesh (approximate)',
  'predicted': 'anime pose on the mesh',
  'generated': 'generated picture',
  'puppet': 'anime character',
  'bars': 'anime pose',
}


class Storyboard:
  """Draws what reenactment does to a frame, from the driver to the pose.

  Attributes:
    titles: of the panels, left to right.
  """

  def __init__(
    self,
    *,
    scene: MeshScene | None = None,
    frame_picture: FramePicture | None = None,
    characters: collections.abc.Sequence[str] = (),
    size: int = 240,
  ):
    """Makes the panels.

    Args:
      scene: draws the two meshes, which are left out when None; its pictures
        must have the side `size`.
      frame_picture: gives the driving frame of a frame name; left out when
        None.
      characters: names, of `TITLES`, of the driven characters that have a
        panel.
      size: height of the panels, pixels.
    """
    self._scene = scene
    self._frame_picture = frame_picture
    self._size = size
    self._bars = BarsPanel(size)
    shown = ['frame'] if frame_picture else []
    if scene:
      driving = 'approximate' if scene.is_approximate else 'driving'
      shown += [driving, 'predicted']
    self.titles = [TITLES[name] for name in [*shown, *characters, 'bars']]

  def draw(
    self,
    frames: collections.abc.Sequence[str],
    expression: np.ndarray,
    jaw_pose: np.ndarray,
    global_pose: np.ndarray,
    poses: np.ndarray,
    characters: collections.abc.Sequence[
      collections.abc.Sequence[panels.Picture]
    ] = (),
  ) -> list[Image.Image]:
    """Draws some frames.

    Args:
      frames: T frame names.
      expression: [T, 50] float.
      jaw_pose: [T, 3] float, axis-angle radians.
      global_pose: [T, 3] float, axis-angle radians.
      poses: [T, 20] float, pose vectors.
      characters: of each character T square pictures.

    Returns:
      T RGB pictures of one size.
    """
    columns = []
    if self._frame_picture:
      columns.append([self._driving_frame(name) for name in frames])
    if self._scene:
      count = pose_vector.NUM_COEFFICIENTS
      columns += [
        self._scene.driving(expression, jaw_pose, global_pose),
        self._scene.predicted(poses[:, :count], poses[:, count:]),
      ]
    columns += [
      [character_panel(picture, self._size) for picture in pictures]
      for pictures in characters
    ]
    columns.append([self._bars(pose) for pose in poses])
    return [
      panels.side_by_side(pictures, self.titles)
      for pictures in zip(*columns, strict=True)
    ]

  def _driving_frame(self, name: str) -> Image.Image:
    picture = self._frame_picture(name)
    if picture is not None:
      return panels.fit_square(picture, self._size)
    blank = style.blank(self._size, self._size, style.MESH_BACKGROUND)
    ImageDraw.Draw(blank).text(
      (self._size / 2, self._size / 2),
      'no picture',
      style.MUTED,
      style.font(13),
      anchor='mm',
    )
    return blank


def character_panel(picture: panels.Picture, size: int) -> Image.Image:
  """The head of a character, on the background of the panels.

  Args:
    picture: square; RGB or RGBA, as an array or a picture.
    size: side of the panel, pixels.

  Returns:
    A size x size RGB picture.
  """
  if not isinstance(picture, Image.Image):
    picture = Image.fromarray(picture)
  low, high = ((1 - _SHOWN) / 2, (1 + _SHOWN) / 2)
  head = picture.convert('RGBA').resize(
    (size, size),
    Image.Resampling.LANCZOS,
    box=tuple(side * picture.width for side in (low, low, high, high)),
  )
  ground = Image.new('RGBA', head.size, (*style.MESH_BACKGROUND, 255))
  return Image.alpha_composite(ground, head).convert('RGB')
