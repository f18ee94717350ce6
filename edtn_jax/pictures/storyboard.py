"""The picture of one reenacted frame: driver, meshes and bars in a row."""

from __future__ import annotations

import collections.abc
import os

import numpy as np
from PIL import Image, ImageDraw

from data import pose_vector
from edtn_jax.pictures import panels, style
from edtn_jax.pictures.bars import BarsPanel
from edtn_jax.pictures.gif import GifWriter
from edtn_jax.pictures.meshes import MeshScene

FramePicture = collections.abc.Callable[[str], 'panels.Picture | None']
# Draws an anime character in a pose, [20] float.
Puppet = collections.abc.Callable[[np.ndarray], 'panels.Picture']

TITLES = {
  'frame': 'driving frame',
  'driving': 'driving mesh',
  'approximate': 'driving mesh (approximate)',
  'predicted': 'anime pose on the mesh',
  'puppet': 'anime character',
  'bars': 'anime pose',
}


class Storyboard:
  """Draws every n-th frame of a stream into a GIF.

  Use as a context manager around the stream; see `GifWriter`.

  Attributes:
    titles: of the panels, left to right.
  """

  def __init__(
    self,
    path: str | os.PathLike,
    *,
    frame_rate: float,
    scene: MeshScene | None = None,
    frame_picture: FramePicture | None = None,
    puppet: Puppet | None = None,
    every: int = 2,
    max_frames: int = 120,
    size: int = 240,
  ):
    """Makes the panels.

    Args:
      path: where the GIF goes.
      frame_rate: frames a second of the stream.
      scene: draws the two meshes, which are left out when None; its pictures
        must have the side `size`.
      frame_picture: gives the driving frame of a frame name; left out when
        None.
      puppet: draws the character that is driven; left out when None.
      every: take one frame in so many.
      max_frames: stop after so many pictures.
      size: height of the panels, pixels.
    """
    self._scene = scene
    self._frame_picture = frame_picture
    self._puppet = puppet
    self._every = every
    self._max_frames = max_frames
    self._size = size
    self._bars = BarsPanel(size)
    self._gif = GifWriter(path, frame_rate / every, max_frames=max_frames)
    self._seen = 0
    shown = ['frame'] if frame_picture else []
    if scene:
      driving = 'approximate' if scene.is_approximate else 'driving'
      shown += [driving, 'predicted']
    shown += ['puppet'] if puppet else []
    self.titles = [TITLES[name] for name in [*shown, 'bars']]

  def __enter__(self) -> Storyboard:
    return self

  def __exit__(self, *error) -> None:
    self._gif.__exit__(*error)

  @property
  def picture_count(self) -> int:
    """Pictures drawn so far."""
    return self._gif.frame_count

  def add(
    self,
    frames: collections.abc.Sequence[str],
    expression: np.ndarray,
    jaw_pose: np.ndarray,
    global_pose: np.ndarray,
    poses: np.ndarray,
  ) -> None:
    """Draws what is to be drawn of the next frames.

    Args:
      frames: T frame names.
      expression: [T, 50] float.
      jaw_pose: [T, 3] float, axis-angle radians.
      global_pose: [T, 3] float, axis-angle radians.
      poses: [T, 20] float, pose vectors.
    """
    chosen = np.arange(-self._seen % self._every, len(frames), self._every)
    chosen = chosen[: self._max_frames - self._gif.frame_count]
    self._seen += len(frames)
    if not len(chosen):
      return
    columns = [[self._bars(poses[i]) for i in chosen]]
    if self._puppet:
      drawn = [self._puppet(poses[i]) for i in chosen]
      columns.insert(0, [panels.fit_square(p, self._size) for p in drawn])
    if self._scene:
      count = pose_vector.NUM_COEFFICIENTS
      meshes = [
        self._scene.driving(
          expression[chosen], jaw_pose[chosen], global_pose[chosen]
        ),
        self._scene.predicted(poses[chosen, :count], poses[chosen, count:]),
      ]
      columns = meshes + columns
    if self._frame_picture:
      columns.insert(0, [self._driving_frame(frames[i]) for i in chosen])
    for pictures in zip(*columns, strict=True):
      self._gif.add(panels.side_by_side(pictures, self.titles))

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
