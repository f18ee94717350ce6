"""The portrait's frame: from model units to pixels.

The camera looks straight at the face, without perspective as in the drawn
characters, and puts chin and crown where theirs are, so that pictures of both
kinds can be mixed.
"""

from __future__ import annotations

import dataclasses

import numpy as np

from data.characters.model3d.face_marks import FaceMarks

# Of the drawn characters in a picture of 256 pixels (`characters.turn` and
# `characters.identity`): middle, chin and crown.
_REST_SIZE = 256.0
_MIDDLE_X, _CHIN_Y, _CROWN_Y = 128.0, 192.0, 62.0


@dataclasses.dataclass(frozen=True)
class View:
  """An orthographic camera.

  Attributes:
    scale: pixels of a 256-pixel picture in a model unit.
    middle: x in model units in the middle of the picture.
    chin: y in model units at the height of the chin.
  """

  scale: float
  middle: float
  chin: float

  @classmethod
  def of_face(cls, marks: FaceMarks) -> View:
    """The view that frames a face like the drawn characters'."""
    return cls((_CHIN_Y - _CROWN_Y) / marks.height, marks.middle, marks.chin)

  @property
  def picture_height(self) -> float:
    """Height of the picture in model units."""
    return _REST_SIZE / self.scale

  def project(self, positions: np.ndarray, size: int) -> np.ndarray:
    """Pixels and depth.

    Args:
      positions: [V, 3] model units, y up, z to the viewer.
      size: height and width of the picture.

    Returns:
      [V, 3] float64 (x right, y down, depth): pixels of a picture of `size`,
      whose first pixel covers 0 to 1; depth also in pixels, larger is nearer.
    """
    unit = size / _REST_SIZE
    result = np.empty_like(positions)
    result[:, 0] = (positions[:, 0] - self.middle) * self.scale + _MIDDLE_X
    result[:, 1] = _CHIN_Y - (positions[:, 1] - self.chin) * self.scale
    result[:, 2] = positions[:, 2] * self.scale
    return result * unit
