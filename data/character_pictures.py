"""Draws all pictures of one identity into AnimeCeleb's tree.

This is what the worker processes of `data.prepare_characters` import; it
needs nothing slow.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import os
import pathlib
import shutil
from collections.abc import Iterable

import numpy as np
from PIL import Image

from data import anime_rows, anime_sampling, files, pose_vector
from data.characters.character import Character
from data.characters.style import style_of

# Part of every mark: raise it when drawing the same job gives other files.
_VERSION = 2
# Keeps folders small enough to list; a character's cluster never changes.
_IDENTITIES_A_CLUSTER = 500
# The fastest of zlib's levels on these pictures; level 6 saves 3 %.
_PNG_LEVEL = 3


@dataclasses.dataclass(frozen=True)
class IdentityJob:
  """One identity to draw.

  Attributes:
    tree: the tree to draw into.
    mark: file that says that the identity is finished.
    identity: seed of the character.
    expressions: number of rows; each gives a frontal and a rotated picture.
    size: height and width in pixels.
    seed: of the poses and the style.
    styles: shading styles of the data set.
  """

  tree: str
  mark: str
  identity: int
  expressions: int
  size: int
  seed: int
  styles: tuple[str, ...]

  @property
  def style(self) -> str:
    """The identity's shading style."""
    return style_of(self.seed, self.identity, self.styles)

  @property
  def name(self) -> str:
    """The identity's name in the CSV, and of its folders."""
    return str(self.identity)

  def poses(self, kind: str) -> np.ndarray:
    """[expressions, 20] float32 pose vectors of one of `anime_rows.KINDS`."""
    return anime_sampling.identity_poses(
      self.seed, self.identity, self.expressions, kind == 'rotation'
    )

  def rows(self) -> list[anime_rows.PoseRow]:
    """Its rows of the CSV, with the angles of the rotated pictures."""
    return [
      anime_rows.PoseRow(
        identity=self.name,
        cluster=str(self.identity // _IDENTITIES_A_CLUSTER),
        name=f'{self.identity}_{number:04d}.png',
        pose=tuple(pose),
      )
      for number, pose in enumerate(self.poses('rotation'))
    ]

  def pictures(self) -> dict[str, np.ndarray]:
    """Path below the tree of every picture, neutral one first, and its pose."""
    neutral = np.zeros(pose_vector.NUM_POSE, np.float32)
    pictures = {anime_rows.basis_path(self.name): neutral}
    rows = self.rows()
    for kind in anime_rows.KINDS:
      for row, pose in zip(rows, self.poses(kind), strict=True):
        path = anime_rows.picture_path(kind, row.cluster, row.name)
        pictures[path] = pose
    return pictures


def draw_identity(job: IdentityJob) -> int:
  """Draws one identity, or finds that an earlier run has done so.

  Args:
    job: what to draw.

  Returns:
    Bytes of its pictures.

  Raises:
    OSError: if they cannot be written.
  """
  character = Character.from_seed(job.identity, job.size, job.style)
  pictures = job.pictures()
  paths = [pathlib.Path(job.tree, path) for path in pictures]
  signature = _signature(job, character)
  known = _read_mark(job.mark, signature)
  # A machine that lost power may have kept the mark and not the pictures.
  if known is not None and known == _file_sizes(paths):
    return sum(known)
  pathlib.Path(job.mark).unlink(missing_ok=True)
  for folder in {path.parent for path in paths}:
    # What other settings have drawn must not stay among the new pictures.
    if folder.exists():
      shutil.rmtree(folder)
    folder.mkdir(parents=True)
  for path, pose in zip(paths, pictures.values(), strict=True):
    picture = Image.fromarray(character.render(pose))
    picture.save(path, compress_level=_PNG_LEVEL)
  sizes = _file_sizes(paths)
  files.write_json(job.mark, {'signature': signature, 'sizes': sizes})
  return sum(sizes)


def _signature(job: IdentityJob, character: Character) -> str:
  """Changes whenever drawing again could give something else."""
  digest = hashlib.sha256()
  poses = job.poses('rotation')
  head = (_VERSION, job.identity, poses.shape, job.size, job.style)
  digest.update(repr(head).encode('utf-8'))
  digest.update(poses.tobytes())
  # One picture, so that an interrupted set is not finished in another style
  # after the drawing code has changed.
  digest.update(character.render(poses[0]).tobytes())
  return digest.hexdigest()


def _read_mark(mark: str, signature: str) -> list[int] | None:
  """Sizes of the files of a finished identity, None if it is not."""
  try:
    content = json.loads(pathlib.Path(mark).read_bytes())
    return content['sizes'] if content['signature'] == signature else None
  # Absent or damaged: the identity is drawn again.
  except (OSError, ValueError, KeyError, TypeError):
    return None


def _file_sizes(paths: Iterable[pathlib.Path]) -> list[int]:
  return [os.stat(p).st_size if p.exists() else -1 for p in paths]
