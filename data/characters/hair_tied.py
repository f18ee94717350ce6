"""Hair that is tied or curled into shapes: buns, braids and ringlets."""

from __future__ import annotations

import numpy as np

from data.characters import geometry
from data.characters.geometry import Op, make_patch
from data.characters.hair import group_ops, make_lock
from data.characters.hair_back import tail_roots
from data.characters.identity import Identity
from data.characters.palette import Palette


def bun_ops(identity: Identity, palette: Palette) -> list[Op]:
  """Two buns behind the crown."""
  if identity.hair.tail != 'buns':
    return []
  ops: list[Op] = []
  tone = palette.hair
  for x, y in tail_roots(identity):
    side = np.sign(x)

    def disc(radius: float, dx: float = 0.0, dy: float = 0.0, at=(x, y)):
      center = (at[0] + dx, at[1] + dy)
      return geometry.ellipse(center, (radius, 0.94 * radius), 15)

    ops.append(make_patch(disc(16.0 + 1.6 * palette.look.pen), tone.line, -6.0))
    ops.append(make_patch(disc(16.0), tone.base, -6.0))
    angle = np.linspace(-0.3, 0.75, 9) * np.pi
    rim = np.stack([np.cos(angle), np.sin(angle)], 1)
    crescent = geometry.between(
      (x, y) + 15.6 * rim, (x, y) + (11.0 * rim + (-1.5, -2))
    )
    ops.append(make_patch(crescent, tone.shade, -6.0, surface=False))
    for radius, start in ((10.5, 0.2), (5.5, 1.1)):
      angle = (start + np.linspace(0, 1.25, 9)) * np.pi
      curve = np.stack(
        [x + side * radius * np.cos(angle), y + radius * np.sin(angle)], 1
      )
      ops.append(
        make_patch(geometry.stroke(curve, 1.3), tone.line, -6.0, surface=False)
      )
    light = geometry.ellipse((x - 5, y - 8), (4.5, 2.4), 8)
    ops.append(make_patch(light, tone.light, -6.0, surface=False))
  return ops


def braid_ops(identity: Identity, palette: Palette) -> list[Op]:
  """Two braids that fall in front of the shoulders."""
  if identity.hair.tail != 'braids':
    return []
  ops: list[Op] = []
  tone = palette.hair
  count = 8
  for x, y in tail_roots(identity):
    side = float(np.sign(x))
    for k in range(count):
      t = k / count
      cx = x + side * (2 + 6 * np.sin(2.2 * t))
      cy = y + 11.5 * k
      follow = 1.0 - 0.75 * min(1.0, 1.4 * t)
      size = 9.5 - 2.5 * t
      for lean in (-1, 1) if k % 2 else (1, -1):
        center = np.array(
          [
            (cx + lean * size * 0.9, cy - 7),
            (cx + lean * size * 0.62, cy),
            (cx - lean * size * 0.2, cy + 9),
          ]
        )
        curve = geometry.smooth_curve(center, 9)
        width = size * np.sin(np.linspace(0.25, 0.93, 9) * np.pi) * 0.62
        for extra, color in (
          (1.2 * palette.look.pen, tone.line),
          (0, tone.base),
        ):
          ops.append(
            make_patch(
              geometry.ribbon(curve, width + extra),
              color,
              8.0,
              follow,
            )
          )
    tip = make_lock(
      [(cx, cy + 6), (cx + side, cy + 18), (cx - side * 2, cy + 30)],
      15,
      8.0,
      follow=0.25,
      root=0.4,
      peak=0.5,
    )
    ops += group_ops([tip], palette, 1.2)
    tie = geometry.ellipse((cx, cy + 9), (5.5, 4.0), 9)
    ops.append(make_patch(tie, palette.accent.base, 9.0, 0.25))
  return ops


def ringlet_ops(identity: Identity, palette: Palette) -> list[Op]:
  """Two drill curls that hang beside the face."""
  if identity.hair.side != 'drill':
    return []
  ops: list[Op] = []
  count = 7
  for side in (-1, 1):
    for k in reversed(range(count)):
      t = k / count
      x = side * (identity.face.half_width + 5.0 - 3.0 * t)
      y = 10.0 + 12.0 * k
      width = 10.5 * (1 - t) ** 0.45
      ops += _curl(palette, side, (x, y), width, 1.0 - 0.6 * t)
  return ops


def _curl(
  palette: Palette,
  side: int,
  at: tuple[float, float],
  width: float,
  follow: float,
) -> list[Op]:
  """One turn of a ringlet: a slanted band, round at its lower edge."""
  tone = palette.hair
  u = np.linspace(-1, 1, 9)
  bow = 1 - u * u

  def band(reach: float, top: float, bottom: float) -> np.ndarray:
    x = at[0] + side * reach * u
    upper = at[1] + 3.5 * u + 2.0 * bow + top
    lower = at[1] + 3.5 * u + 6.0 * bow + bottom
    return np.stack(
      [np.stack([x, upper], axis=1), np.stack([x, lower], axis=1)], axis=1
    )

  pen = 1.4 * palette.look.pen
  body = band(width, -5.0, 8.0)
  depth = 14.0
  shade = geometry.strip_part(body[4:], np.full(5, 0.62), np.ones(5))
  light = geometry.strip_part(
    body[1:5], np.array([0.4, 0.3, 0.32, 0.45]), np.array([0.5, 0.6, 0.6, 0.5])
  )
  return [
    make_patch(
      band(width + pen, -5.0 - pen, 8.0 + pen), tone.line, depth, follow
    ),
    make_patch(body, tone.base, depth, follow),
    make_patch(shade, tone.shade, depth, follow, False),
    make_patch(light, tone.light, depth, follow, False),
  ]
