"""True optical flow between two poses of one model.

The `to` pose says which point of which triangle is seen at each pixel; the same
point in the `from` pose says where that pixel comes from, and the depths there
say whether it is seen.
"""

from __future__ import annotations

import numpy as np

from data.characters.model3d.shading import Frame
from data.characters.model3d.software import SoftwareRenderer

# A point counts as seen if nothing is further in front of it than this many
# pixels of a 256-pixel picture; surfaces themselves are that uneven.
_TOLERANCE = 0.3 / 256


def surface_flow(
  renderer: SoftwareRenderer, frame_from: Frame, frame_to: Frame, size: int
) -> tuple[np.ndarray, np.ndarray]:
  """Where every pixel of the `to` picture comes from in the `from` picture.

  Args:
    renderer: of the surface.
    frame_from: the pose that is warped, on a canvas of `size` pixels.
    frame_to: the pose that is wanted, likewise.
    size: height and width of the pictures.

  Returns:
    [size, size, 2] float32 flow and [size, size] float32 occlusion; see
    `ModelCharacter.flow`.
  """
  pixel, corners, shares = renderer.seen(frame_to, size)
  points = frame_from.points[corners]
  position = np.einsum('nc,nca->na', shares, points)
  flow = np.zeros((size * size, 2))
  here = np.stack([pixel % size, pixel // size], axis=1) + 0.5
  flow[pixel] = position[:, :2] - here
  depth = renderer.depth(frame_from, size)
  visible = np.zeros(size * size)
  visible[pixel] = _seen_at(depth, position, size)
  return (
    flow.reshape(size, size, 2).astype(np.float32),
    visible.reshape(size, size).astype(np.float32),
  )


def _seen_at(depth: np.ndarray, position: np.ndarray, size: int) -> np.ndarray:
  """[n] whether points are the nearest ones at their place in a picture."""
  column = np.floor(position[:, 0]).astype(int)
  row = np.floor(position[:, 1]).astype(int)
  inside = (column >= 0) & (column < size) & (row >= 0) & (row < size)
  nearest = np.full(len(position), np.inf)
  # Steep surfaces are much nearer or farther one pixel on.
  for down in (-1, 0, 1):
    for right in (-1, 0, 1):
      near_row = np.clip(row + down, 0, size - 1)
      near_column = np.clip(column + right, 0, size - 1)
      there = depth[near_row * size + near_column]
      nearest = np.where(
        np.isfinite(there), np.minimum(nearest, there), nearest
      )
  return inside & (nearest <= position[:, 2] + _TOLERANCE * size)
