"""What both renderers must agree on: light, triangles, sizes, the last step."""

from __future__ import annotations

import dataclasses

import numpy as np
from PIL import Image

from data.characters.model3d.surface import Surface

# Towards the light, as seen: from above, in front, a little from the left.
_LIGHT = np.array([-0.15, 0.3, 0.94])
LIGHT = _LIGHT / np.linalg.norm(_LIGHT)


def supersampling(size: int) -> int:
  """Canvas pixels a picture pixel, fewer for larger pictures."""
  return 3 if size <= 384 else 2


@dataclasses.dataclass(frozen=True, eq=False)
class Frame:
  """A surface in one pose, as both renderers take it.

  Attributes:
    points: [V, 3] canvas pixels (x, y down) and depth, larger is nearer.
    light: [V] dot product of normal and light.
  """

  points: np.ndarray
  light: np.ndarray

  @classmethod
  def of(cls, surface: Surface, pose: np.ndarray, side: int) -> Frame:
    """Places a surface on a canvas of `side` pixels."""
    positions, normals = surface.place(pose)
    return cls(surface.view.project(positions, side), normals @ LIGHT)

  def depths(self) -> tuple[float, float]:
    """Nearest and farthest depth, with some room."""
    near, far = self.points[:, 2].max(), self.points[:, 2].min()
    return float(near) + 1.0, float(far) - 1.0


def finish(
  canvas: np.ndarray, factor: int, background: tuple[int, int, int] | None
) -> np.ndarray:
  """Reduces a canvas to the picture.

  Args:
    canvas: [side, side, 4] uint8 RGBA, alpha premultiplied.
    factor: canvas pixels a picture pixel.
    background: RGB behind it, transparent if None.

  Returns:
    [size, size, 4] uint8 RGBA, alpha not premultiplied.
  """
  # As RGBA, Pillow would weight colours by alpha once more.
  image = Image.frombuffer('CMYK', canvas.shape[1::-1], canvas.tobytes())
  reduced = np.array(image.reduce(factor))
  alpha = reduced[..., 3:].astype(np.float32)
  if background is not None:
    behind = np.array(background, np.float32) * (255 - alpha) / 255
    color = np.rint(reduced[..., :3] + behind)
    reduced[..., :3] = np.minimum(color, 255).astype(np.uint8)
    reduced[..., 3] = 255
    return reduced
  color = reduced[..., :3] * (255 / np.maximum(alpha, 1))
  reduced[..., :3] = np.minimum(np.rint(color), 255).astype(np.uint8)
  return reduced
