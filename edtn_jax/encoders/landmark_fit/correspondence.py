"""Which FaceMesh landmark lies where on a FLAME-format head.

Two sources: the 68-point embedding that every head here carries, and the
public 105-point file that users of the real FLAME have. The procedural head
has more points of its own (`places`).
"""

from __future__ import annotations

import dataclasses
import os

import numpy as np

from data import files
from edtn_jax.encoders.landmark_fit import places
from flame_jax.assets import FlameAssets

NUM_MESH = 468

# iBUG landmarks 17..67 and the FaceMesh landmarks at the same places: brows,
# bridge and base of the nose, eyes, outer lips, inner lips.
_STATIC = (
  70, 63, 105, 66, 107, 336, 296, 334, 293, 300,
  168, 197, 5, 4, 98, 97, 2, 326, 327,
  33, 160, 158, 133, 153, 144, 362, 385, 387, 263, 373, 380,
  61, 39, 37, 0, 267, 269, 291, 405, 314, 17, 84, 181,
  78, 80, 13, 310, 308, 318, 14, 88,
)  # fmt: skip
# FaceMesh has both edges of a brow; the lower one, in the order of 17..26.
_LOWER_BROW = (46, 53, 52, 65, 55, 285, 295, 282, 283, 276)
# iBUG 0..16, the outline of the jaw, where the embedding has a fixed one.
_CONTOUR = (
  127, 234, 93, 58, 172, 136, 149, 148, 152, 377, 378, 365, 397, 288, 323,
  454, 356,
)  # fmt: skip

# Lid points above each other, (upper, lower), of the character's left and
# right eye; those that a map has are its measure of lid opening.
LID_PAIRS = (
  ((385, 380), (386, 374), (387, 373)),
  ((158, 153), (159, 145), (160, 144)),
)
# The finder of eyes sees lids better than the mesh does (`data.facemesh`).
_EYELIDS = frozenset(
  (
    7, 144, 145, 153, 154, 155, 157, 158, 159, 160, 161, 163, 173, 246,
    249, 373, 374, 380, 381, 382, 384, 385, 386, 387, 388, 390, 398, 466,
  )
)  # fmt: skip

# Weights: how far each kind is trusted against a point of nose or skin. Below
# the mouth the mesh follows the lips and not the chin; the outline slides.
_PLAIN, _LIP, _BROW, _LID, _JAW, _OUTLINE = 1.0, 2.0, 1.2, 0.15, 0.1, 0.12
_OUTLINE_POINTS = frozenset(
  (
    10, 21, 54, 58, 67, 93, 109, 127, 132, 136, 148, 149, 150, 152, 162, 172,
    176, 234, 251, 284, 288, 297, 323, 338, 356, 361, 365, 377, 378, 379, 389,
    397, 400, 454,
  )
)  # fmt: skip
_JAW_POINTS = frozenset(
  (18, 175, 192, 199, 200, 202, 204, 212, 214, 416, 422, 424, 432, 434)
)
_LIP_POINTS = frozenset(_STATIC[31:])
# Bone near below the skin: forehead, nose, corners of the eyes, outline.
_RIGID_POINTS = _OUTLINE_POINTS | frozenset(
  (
    2, 4, 5, 9, 33, 68, 69, 97, 98, 104, 108, 126, 133, 151, 168, 197, 263,
    298, 299, 326, 327, 333, 337, 355, 362,
  )
)  # fmt: skip
_DEPTH = 0.05
_BROW_POINTS = frozenset(_STATIC[:10] + _LOWER_BROW)


class LandmarkMapError(ValueError):
  """A correspondence that cannot be used; all problems are listed."""


@dataclasses.dataclass(frozen=True, eq=False)
class LandmarkMap:
  """N pairs of a mesh landmark and a point of the head's surface.

  Attributes:
    mesh_index: [N] int32 in [0, 468), FaceMesh landmarks.
    face_index: [N] int32, triangles (rows of the head's `faces`).
    barycentric: [N, 3] float32, weights of the triangle's corners.
    weight: [N] float32 > 0, how far a pair is trusted.

  Raises:
    LandmarkMapError: naming all problems.
  """

  mesh_index: np.ndarray
  face_index: np.ndarray
  barycentric: np.ndarray
  weight: np.ndarray

  def __post_init__(self):
    for name, dtype in (
      ('mesh_index', np.int32),
      ('face_index', np.int32),
      ('barycentric', np.float32),
      ('weight', np.float32),
    ):
      object.__setattr__(self, name, np.asarray(getattr(self, name), dtype))
    problems = self._problems()
    if problems:
      raise LandmarkMapError('landmark map: ' + '; '.join(problems))

  def _problems(self) -> list[str]:
    count = len(self.mesh_index)
    problems = []
    for name, shape in (
      ('mesh_index', (count,)),
      ('face_index', (count,)),
      ('barycentric', (count, 3)),
      ('weight', (count,)),
    ):
      found = getattr(self, name).shape
      if found != shape:
        problems.append(f'{name} is {list(found)}, wanted {list(shape)}')
    if problems:
      return problems
    outside = (self.mesh_index < 0) | (self.mesh_index >= NUM_MESH)
    if outside.any():
      problems.append(f'mesh_index must lie in [0, {NUM_MESH})')
    if (self.face_index < 0).any():
      problems.append('face_index is negative')
    sums = self.barycentric.sum(axis=1)
    if not np.allclose(sums, 1, atol=1e-3):
      problems.append('barycentric rows must sum to 1')
    if not (np.isfinite(self.weight) & (self.weight > 0)).all():
      problems.append('weight must be positive')
    for side, rows in zip(('left', 'right'), self.lid_rows(), strict=True):
      if not len(rows):
        problems.append(
          f'no pair of lid points of the {side} eye, one of '
          f'{LID_PAIRS[side == "right"]} is needed'
        )
    return problems

  @property
  def depth_weight(self) -> np.ndarray:
    """[N] float32, how far the depth of each landmark is trusted.

    FaceMesh hardly moves lips, brows and cheeks in depth when they do.
    """
    rigid = np.isin(self.mesh_index, list(_RIGID_POINTS))
    return np.where(rigid, self.weight, _DEPTH * self.weight)

  def lid_rows(self) -> tuple[np.ndarray, np.ndarray]:
    """Rows of lid points above each other.

    Returns:
      For the character's left and right eye [P, 2] int: upper, lower.
    """
    row = {int(index): n for n, index in enumerate(self.mesh_index)}
    return tuple(
      np.array(
        [(row[a], row[b]) for a, b in pairs if a in row and b in row], int
      ).reshape(-1, 2)
      for pairs in LID_PAIRS
    )


def landmark_map(assets: FlameAssets) -> LandmarkMap:
  """The correspondence by a head's own 68-point embedding.

  The procedural head has 87 points more, on cheeks, forehead and jaw.

  Args:
    assets: the head model, with landmarks.

  Returns:
    The map.

  Raises:
    LandmarkMapError: if the model has no landmark embedding.
  """
  embedding = assets.landmarks
  if embedding is None:
    raise LandmarkMapError(
      'this head model has no 68-point embedding, which relates it to the '
      'landmarks of a face; give load_flame its landmark files, or read the '
      '105-point file with read_landmark_map'
    )
  faces = np.asarray(embedding.static_faces)
  barycentric = np.asarray(embedding.static_barycentric)
  parts = [
    (np.array(_STATIC), faces, barycentric),
    (np.array(_LOWER_BROW), faces[:10], barycentric[:10]),
  ]
  if _is_procedural(assets):
    parts.append(places.procedural_places(assets))
  elif embedding.full_faces is not None:
    parts.append(
      (
        np.array(_CONTOUR),
        np.asarray(embedding.full_faces)[:17],
        np.asarray(embedding.full_barycentric)[:17],
      )
    )
  mesh_index, face_index, weights = (
    np.concatenate(columns) for columns in zip(*parts, strict=True)
  )
  return LandmarkMap(mesh_index, face_index, weights, _weights(mesh_index))


def read_landmark_map(
  path: str | os.PathLike, assets: FlameAssets
) -> LandmarkMap:
  """Reads the public 105-point file, `mediapipe_landmark_embedding.npz`.

  Args:
    path: file with `lmk_face_idx` [N], `lmk_b_coords` [N, 3] and
      `landmark_indices` [N].
    assets: the head model that it belongs to.

  Returns:
    The map.

  Raises:
    files.BrokenFileError: if the file cannot be read.
    LandmarkMapError: if it is another kind of file, or of another head.
  """
  stored = files.read_npz(path)
  names = ('landmark_indices', 'lmk_face_idx', 'lmk_b_coords')
  missing = [name for name in names if name not in stored]
  if missing:
    raise LandmarkMapError(
      f'{os.fspath(path)}: {", ".join(missing)} missing; wanted the '
      'mediapipe_landmark_embedding.npz that comes with FLAME'
    )
  mesh_index, face_index, barycentric = (
    np.squeeze(stored[name]) for name in names
  )
  for name, value in zip(
    names, (mesh_index, face_index, barycentric), strict=True
  ):
    if value.dtype.kind not in 'iuf':
      raise LandmarkMapError(f'{os.fspath(path)}: {name} holds no numbers')
  if face_index.size and face_index.max() >= len(assets.faces):
    raise LandmarkMapError(
      f'{os.fspath(path)}: names triangle {int(face_index.max())}, the head '
      f'has {len(assets.faces)}; use the file with the FLAME model it '
      'was made for'
    )
  return LandmarkMap(mesh_index, face_index, barycentric, _weights(mesh_index))


def _is_procedural(assets: FlameAssets) -> bool:
  """Whether the mesh is the procedural head's, whatever its expressions."""
  # Imported here: building that head takes a second that others need not pay.
  from flame_jax.procedural import procedural_head, topology

  if assets.num_vertices != len(topology.mirror_map().source):
    return False
  return np.array_equal(assets.faces, procedural_head().faces)


def _weights(mesh_index: np.ndarray) -> np.ndarray:
  """[N] float32 by what kind of point each landmark is."""
  kinds = (
    (_EYELIDS, _LID),
    (_OUTLINE_POINTS, _OUTLINE),
    (_JAW_POINTS, _JAW),
    (_LIP_POINTS, _LIP),
    (_BROW_POINTS, _BROW),
  )
  weights = np.full(len(mesh_index), _PLAIN, np.float32)
  for points, weight in kinds:
    weights[np.isin(mesh_index, list(points))] = weight
  return weights
