"""Where the moving parts of a face are, whatever its expression."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from data.characters import draw
from data.characters.eyes import Eye, EyeState
from data.characters.geometry import Op
from data.characters.mouth import Mouth
from data.characters.turn import turn_points

# x0, y0, x1, y1 in fractions of the picture.
Box = tuple[float, float, float, float]

# Pixels of the rest size around each part.
_MARGIN = {'eyes': 2.0, 'mouth': 3.0}


class PartBoxes:
  """Boxes of one face, which turn with the head.

  Args:
    eyes: both eyes.
    mouth: the mouth.
  """

  def __init__(self, eyes: Iterable[Eye], mouth: Mouth):
    states = [
      EyeState(*row) for row in (np.zeros(6), *np.eye(6), *_both_extremes())
    ]
    eye_ops = [
      op
      for eye in eyes
      for state in states
      for op in (*eye.eye_ops(state), *eye.brow_ops(state)[0])
    ]
    mouth_ops = [
      op for vowels in (np.zeros(5), *np.eye(5)) for op in mouth.ops(vowels)
    ]
    self._points = {'eyes': _points(eye_ops), 'mouth': _points(mouth_ops)}

  def place(self, angles_deg: np.ndarray) -> dict[str, Box]:
    """Boxes by part for a head turn, [3] pitch, roll and yaw in degrees."""
    boxes = {}
    for part, points in self._points.items():
      placed = turn_points(points, np.ones(len(points)), angles_deg)
      low = placed.min(axis=0) - _MARGIN[part]
      high = placed.max(axis=0) + _MARGIN[part]
      corners = np.concatenate([low, high]) / draw.REST_SIZE
      boxes[part] = tuple(np.clip(corners, 0, 1).tolist())
    return boxes


def _both_extremes() -> np.ndarray:
  """Brows raised and troubled, lowered and troubled: the furthest they go."""
  return np.array([[0, 1, 0, 1, 0, 1], [0, 1, 0, 1, 1, 0], [0, 1, 0, 0, 1, 1]])


def _points(ops: Iterable[Op]) -> np.ndarray:
  """[n, 3] rest points of everything that is seen."""
  # What is inside a clip is seen only within its mask, which is an op too.
  patches = [op for op in ops if hasattr(op, 'points')]
  return np.concatenate([p.points.reshape(-1, 3) for p in patches])
