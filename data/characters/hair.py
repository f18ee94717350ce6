"""Hair: every style is a handful of locks.

A lock is a ribbon along a curve from its root to its tip. Groups of locks get
a thick common outline, then each lock its fill, shade, shine and a thin line
on either side, so that lines are heavy outside and fine inside.
"""

from __future__ import annotations

import dataclasses

import numpy as np

from data.characters import geometry
from data.characters.geometry import Depth, Op, Patch, make_patch
from data.characters.palette import Palette


@dataclasses.dataclass(frozen=True, eq=False)
class Lock:
  """One strand of hair.

  Attributes:
    center: [n, 2] curve from root to tip.
    half_width: [n] pixels.
    depth: see `make_patch`.
    follow: a number or [n, 1], how far it turns with the head.
    dark: painted in the shade colour (hair behind the neck).
    shine: highlights, each (start, stop) along the lock, where across it and
      how wide, as fractions of its width.
    shade: which rail the shade lies on: -1 first, 1 second, 0 none.
    tip_color: fraction of the length after which the tip colour begins.
  """

  center: np.ndarray
  half_width: np.ndarray
  depth: Depth
  follow: float | np.ndarray = 1.0
  dark: bool = False
  shine: tuple[tuple[float, float, float, float], ...] = ()
  shade: int = 1
  tip_color: float = 0.72


def lock_profile(
  count: int, width: float, root: float, peak: float, tip: float = 0.0
) -> np.ndarray:
  """Half widths along a lock: `root` share, full at `peak`, `tip` share."""
  t = np.linspace(0, 1, count)
  grow = root + (1 - root) * geometry.smoothstep(t / max(peak, 1e-3))
  late = np.clip((t - peak) / (1 - peak), 0, 1)
  return (
    0.5 * width * np.where(t < peak, grow, tip + (1 - tip) * (1 - late**1.35))
  )


def make_lock(
  controls: list,
  width: float,
  depth: Depth,
  *,
  count: int = 13,
  root: float = 0.5,
  peak: float = 0.45,
  tip_share: float = 0.0,
  wave: float = 0.0,
  phase: float = 0.0,
  **options,
) -> Lock:
  """A lock through control points, optionally wavy towards its tip."""
  center = geometry.smooth_curve(controls, count)
  if wave:
    t = np.linspace(0, 1, count)
    swing = (
      wave
      * np.sin(2 * np.pi * (1.6 * t) + phase)
      * geometry.smoothstep(1.6 * t - 0.3)
    )
    center = center + geometry.normals(center) * swing[:, None]
  profile = lock_profile(count, width, root, peak, tip_share)
  return Lock(center, profile, depth, **options)


def group_ops(
  locks: list[Lock], palette: Palette, outline: float = 1.5
) -> list[Op]:
  """Paints locks as one group, back to front."""
  silhouettes: list[Op] = []
  for lock in locks:
    # The outline runs out into a fine point beyond the lock's tip.
    along = lock.center[-1] - lock.center[-2]
    along = along / max(np.hypot(*along), 1e-6)
    reach = 1.2 * outline + 0.4 * lock.half_width[-1]
    center = np.concatenate([lock.center, [lock.center[-1] + along * reach]])
    t = np.linspace(0.0, 1.0, len(lock.center))
    wide = lock.half_width + outline * palette.look.pen * geometry.smoothstep(
      2.5 * t
    )
    wide = np.append(wide, 0.5 * lock.half_width[-1])
    grid = geometry.ribbon(center, wide)
    follow = lock.follow
    if isinstance(follow, np.ndarray):
      follow = np.concatenate([follow, follow[-1:]])
    silhouettes.append(make_patch(grid, palette.hair.line, lock.depth, follow))
  fills = [op for lock in locks for op in _lock_ops(lock, palette)]
  return silhouettes + fills


def _lock_ops(lock: Lock, palette: Palette) -> list[Op]:
  tone = palette.hair
  grid = geometry.ribbon(lock.center, lock.half_width)
  base = tone.shade if lock.dark else tone.base
  body = make_patch(grid, base, lock.depth, lock.follow)
  ops: list[Op] = [body]

  def painted(points: np.ndarray, weights: np.ndarray, color) -> Patch:
    return Patch(points, weights, color, surface=False)

  weights3 = body.follow[..., None]
  both = np.concatenate([body.points, weights3], axis=-1)

  def part(start, stop, low, high, count, color) -> Patch:
    piece = geometry.strip_range(both, start, stop, count)
    piece = geometry.strip_part(piece, low, high)
    return painted(piece[..., :3], piece[..., 3], color)

  if palette.hair_tip != tone.base:
    ops.append(
      part(
        lock.tip_color,
        1.0,
        np.array([0.5, 0.12, 0.0, 0.0, 0.0, 0.0]),
        np.array([0.5, 0.88, 1.0, 1.0, 1.0, 1.0]),
        6,
        # As a shade of the front hair it would be too dark here.
        tuple(palette.hair_tip) if lock.dark else palette.hair_tip,
      )
    )
  if lock.shade and not lock.dark:
    side = _shaded_side(lock.shade, palette.look.light)
    t = np.linspace(0, 1, 9)
    deep = 0.36 * np.sin(np.pi * t**1.1) ** 0.8
    low, high = (1 - deep, np.ones(9)) if side > 0 else (0 * t, deep)
    ops.append(part(0.34, 0.99, low, high, 9, tone.shade))
  if lock.shine and not lock.dark:
    for start, stop, across, width in lock.shine:
      t = np.linspace(0, 1, 9)
      half = 0.5 * width * np.sin(np.pi * t) ** 0.6
      ops.append(part(start, stop, across - half, across + half, 9, tone.light))
  for column in (0, 1):
    curve = body.points[:, column]
    line = geometry.ribbon(
      curve[:, :2], 0.5 * np.linspace(0.1, 1.25, len(curve)) ** 1.0
    )
    points = np.concatenate(
      [line, np.repeat(curve[:, None, 2:], 2, axis=1)], axis=-1
    )
    follow = np.repeat(body.follow[:, column : column + 1], 2, axis=1)
    ops.append(painted(points[2:], follow[2:], tone.line))
  return ops


def _shaded_side(side: int, light: float) -> int:
  """A light from far aside shades all locks on their other side."""
  return side if abs(light) < 0.55 else (1 if light < 0 else -1)


def hanging(count: int, start: float, end: float, power: float = 1.3):
  """Head-following weights [count, 1] of hair that hangs from the head."""
  t = np.linspace(0, 1, count)[:, None]
  return start + (end - start) * t**power
