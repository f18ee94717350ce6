"""The whole head at rest, with what the other modules need to know of it."""

from __future__ import annotations

import dataclasses
import functools

import numpy as np

from flame_jax.procedural import colors, layout, parts, topology


@dataclasses.dataclass(frozen=True)
class Geometry:
  """The head at rest.

  Attributes:
    points: [V, 3] metres.
    base: [V, 3] the skin before features were added, metres.
    faces: [F, 3] triangles.
    colors: [V, 3] in [0, 1].
    jaw: [H] how far a vertex of the left half moves with the jaw, 0 to 1.
    half: topology of the left half; its indices are valid in the whole head.
    mirror: map from the half to the whole.
  """

  points: np.ndarray
  base: np.ndarray
  faces: np.ndarray
  colors: np.ndarray
  jaw: np.ndarray
  half: topology.HalfTopology
  mirror: topology.Mirror


@functools.lru_cache(maxsize=1)
def head_geometry() -> Geometry:
  """Builds the head once."""
  half, mirror = topology.half_topology(), topology.mirror_map()
  head = parts.half_head()
  half_colors = colors.half_colors(head.points, head.base, head.hair)
  return Geometry(
    points=mirror.spread_points(head.points),
    base=mirror.spread_points(head.base),
    faces=topology.whole_faces(head.points),
    colors=mirror.spread(half_colors),
    jaw=_jaw_share(half),
    half=half,
    mirror=mirror,
  )


def _jaw_share(half):
  """Smooth share of the jaw over the skin, torn only at the slit."""
  grid = half.grid
  exists = grid >= 0
  value = np.zeros(grid.shape)
  pinned = np.zeros(grid.shape, bool)
  mouth, ear = layout.MOUTH, layout.EAR
  # Still: the neck's end, the upper face, the ears and the back.
  pinned[:, :4] = True
  pinned[:, mouth.top + 6 :] = True
  pinned[ear.left + 3 :, :] = True
  # The chin is bone, and so is the edge of the jaw up to its angle.
  pinned[:9, 7:15] = True
  value[:9, 7:15] = 1
  pinned[9:20, 9:12] = True
  value[9:20, 9:12] = np.clip((20 - np.arange(9, 20)) / 7, 0, 1)[:, None]
  column = np.arange(mouth.right + 1)
  toward_corner = (column / mouth.right) ** 2
  middle = (mouth.top + mouth.bottom) // 2
  for row, start, end in ((mouth.top, 0.0, 0.30), (mouth.bottom, 1.0, 0.66)):
    pinned[: mouth.right + 1, row] = True
    value[: mouth.right + 1, row] = start + (end - start) * toward_corner
  pinned[mouth.right, middle], value[mouth.right, middle] = True, 0.48
  field = layout.harmonic(value, pinned, exists)
  keep = np.zeros(grid.shape, bool)
  keep[: mouth.right + 1, mouth.bottom : mouth.top + 1] = True
  soft = parts.features.relax(
    field[..., None], exists, np.where(keep, 0, 0.5), rounds=5
  )
  share = np.zeros(half.count)
  share[grid[exists]] = np.clip(soft[..., 0][exists], 0, 1)
  slit = share[half.loops['mouth_slit']]
  # Deeper loops belong to the palate or to the jaw, nothing in between.
  rigid = np.where(np.arange(len(slit)) <= len(slit) // 2, 0.0, 1.0)
  rigid[len(slit) // 2] = 0.5
  for name, depth in zip(
    topology.MOUTH_LOOPS, (0.0, 0.25, 0.8, 1.0, 1.0), strict=True
  ):
    share[half.loops[f'mouth_{name}']] = slit + depth * (rigid - slit)
  share[half.loops['mouth_throat']] *= 0.5
  share[half.loops['lower_teeth']] = 1
  return share
