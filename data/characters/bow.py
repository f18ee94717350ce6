"""Ribbons tied to a bow, in the hair and at the neck."""

from __future__ import annotations

import numpy as np

from data.characters import geometry
from data.characters.geometry import Op, make_patch
from data.characters.palette import Tone


def bow_ops(
  tone: Tone,
  at: tuple[float, float],
  size: float,
  depth: float,
  turn: float,
  follow: float = 1.0,
) -> list[Op]:
  """A ribbon tied to a bow.

  Args:
    tone: its colours.
    at: rest position of the knot.
    size: reach of one wing, pixels.
    depth: of the whole bow; the knot is in front.
    turn: radians.
    follow: 1 on the head, 0 on the body.

  Returns:
    What to paint, back to front.
  """
  c, s = np.cos(turn), np.sin(turn)
  rotate = np.array([[c, s], [-s, c]])

  def place(grid: np.ndarray) -> np.ndarray:
    return grid @ rotate + np.array(at)

  ops: list[Op] = []
  for way in (-1, 1):
    tail = geometry.ribbon(
      geometry.smooth_curve(
        [(0, 0), (way * 3, 8), (way * 0.6 * size, size)], 7
      ),
      np.linspace(1.5, 0.22 * size, 7),
    )
    loop = geometry.smooth_curve(
      [(0, 0), (way * 0.55 * size, -1.5), (way * size, -1)], 9
    )
    height = np.array([0.14, 0.27, 0.38, 0.46, 0.5, 0.49, 0.45, 0.37, 0.25])
    wing = geometry.ribbon(loop, size * height)
    for grid in (tail, wing):
      center = grid.mean(axis=(0, 1))
      bigger = center + (grid - center) * (1 + 3.2 / size)
      ops.append(make_patch(place(bigger), tone.line, depth, follow))
      ops.append(make_patch(place(grid), tone.base, depth, follow))
    fold = geometry.between(
      np.array([(way * 2, 0.0), (way * 0.7 * size, 0.08 * size)]),
      np.array([(way * 2, 2.5), (way * 0.86 * size, 0.36 * size)]),
    )
    ops.append(make_patch(place(fold), tone.shade, depth, follow, False))
    gleam = geometry.stroke(
      np.array(
        [(way * 0.4 * size, -0.28 * size), (way * 0.85 * size, -0.3 * size)]
      ),
      1.6,
    )
    ops.append(make_patch(place(gleam), tone.light, depth, follow, False))
  for grow, color in ((1.2, tone.line), (0.0, tone.base)):
    knot = geometry.ellipse((0, 0), (0.2 * size + grow, 0.25 * size + grow), 9)
    ops.append(make_patch(place(knot), color, depth + 2, follow))
  return ops
