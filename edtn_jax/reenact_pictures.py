"""The moving pictures of a reenactment: the storyboard, each character."""

from __future__ import annotations

import contextlib
import os
import types
from collections.abc import Iterable, Mapping, Sequence

import numpy as np

from edtn_jax.pictures import style
from edtn_jax.pictures.media import MovingPicture, media_name
from edtn_jax.pictures.meshes import MeshScene
from edtn_jax.pictures.puppet import Puppet
from edtn_jax.pictures.storyboard import FramePicture, Storyboard
from edtn_jax.reenact_summary import ProgressLine

STORYBOARD = 'reenactment'
GIF_NAME = media_name(STORYBOARD, 'gif')
# Frames drawn together: enough for one batch of meshes, few enough that their
# pictures do not fill memory.
_BATCH = 16


def picture_names(media: Sequence[str], characters: Iterable[str]) -> list[str]:
  """Names of the files and folders that are going to be written."""
  return [
    media_name(stem, kind)
    for stem in (STORYBOARD, *characters)
    for kind in media
  ]


class ReenactPictures:
  """Draws the frames of a stream as they come.

  Use as a context manager around the stream; files appear at its end.
  """

  def __init__(
    self,
    folder: str | os.PathLike,
    *,
    media: Sequence[str],
    fps: float,
    every: int,
    max_frames: int,
    panel_size: int,
    scene: MeshScene | None = None,
    frame_picture: FramePicture | None = None,
    puppets: Mapping[str, Puppet] = types.MappingProxyType({}),
    audio_from: str | None = None,
    progress: ProgressLine | None = None,
    overlap: bool = True,
  ):
    """Prepares everything; files are opened by `with`.

    Args:
      folder: where the files go; must exist when they are opened.
      media: kinds of file, of `pictures.media.MEDIA`; may be none.
      fps: frames a second of the stream.
      every: GIF and WebP take one frame in so many.
      max_frames: GIF and WebP end after so many pictures.
      panel_size: height of the storyboard's panels, pixels.
      scene: draws the meshes, or None.
      frame_picture: gives the driving frames, or None.
      puppets: draw the characters, by names of `storyboard.TITLES`; of each
        there is also a moving picture of that name.
      audio_from: file whose sound an MP4 gets, or None.
      progress: is told of every frame, drawn or not.
      overlap: whether files are written while the next frames are drawn.
    """
    self._puppets = dict(puppets)
    self._progress = progress
    self._seen = 0
    self._board = Storyboard(
      scene=scene,
      frame_picture=frame_picture,
      characters=tuple(puppets),
      size=panel_size,
    )

    def movie(stem, flat_colors):
      return MovingPicture(
        folder,
        stem,
        media,
        fps,
        every=every,
        max_frames=max_frames,
        flat_colors=flat_colors,
        audio_from=audio_from,
        overlap=overlap,
      )

    self._movies = {STORYBOARD: movie(STORYBOARD, style.FLAT_COLORS)}
    for name in puppets:
      self._movies[name] = movie(name, (style.MESH_BACKGROUND,))
    self._stack = contextlib.ExitStack()

  def __enter__(self) -> ReenactPictures:
    with contextlib.ExitStack() as stack:
      for movie in self._movies.values():
        stack.enter_context(movie)
      self._stack = stack.pop_all()
    return self

  def __exit__(self, *error) -> None:
    if error == (None, None, None):
      for movie in self._movies.values():
        movie.finish()
    self._stack.__exit__(*error)

  def frame_counts(self) -> dict[str, int]:
    """Frames so far by file name."""
    counts = {}
    for movie in self._movies.values():
      counts |= movie.frame_counts()
    return counts

  def add(
    self,
    frames: Sequence[str],
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
    arrays = expression, jaw_pose, global_pose, poses
    for start in range(0, len(frames), _BATCH):
      rows = range(start, min(start + _BATCH, len(frames)))
      board = self._movies[STORYBOARD]
      chosen = [i for i in rows if board.wants(self._seen + i)]
      if chosen:
        self._draw(
          [frames[i] for i in chosen],
          [self._seen + i for i in chosen],
          [array[chosen] for array in arrays],
        )
      if self._progress:
        self._progress.add(len(rows))
    self._seen += len(frames)

  def _draw(self, names, indices, arrays) -> None:
    poses = arrays[-1]
    characters = {k: list(draw(poses)) for k, draw in self._puppets.items()}
    board = self._board.draw(names, *arrays, list(characters.values()))
    for stem, drawn in {STORYBOARD: board, **characters}.items():
      for index, picture in zip(indices, drawn, strict=True):
        self._movies[stem].add(index, picture)
