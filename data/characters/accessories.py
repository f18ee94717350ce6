"""Glasses, ribbons, flowers, clips, bands, ears and horns."""

from __future__ import annotations

import numpy as np

from data.characters import geometry
from data.characters.bow import bow_ops
from data.characters.geometry import Clip, Color, Op, Patch, make_patch
from data.characters.hair_back import tail_roots
from data.characters.hair_front import dome
from data.characters.identity import Identity
from data.characters.palette import Palette
from data.characters.turn import face_depth, hair_depth


def _over_hair(points: np.ndarray) -> np.ndarray:
  return hair_depth(points) + 4.0


def _blob(
  center: tuple, radius: tuple, color: Color, depth=_over_hair, surface=True
) -> Patch:
  grid = geometry.ellipse(center, radius, 11)
  return make_patch(grid, color, depth, surface=surface)


def _line(points, width: float, color: Color, depth=_over_hair) -> Patch:
  curve = geometry.smooth_curve(points, 14)
  grid = geometry.stroke(curve, width, (0.7, 0.7))
  return make_patch(grid, color, depth, surface=False)


def behind_ops(identity: Identity, palette: Palette) -> list[Op]:
  """Accessories behind the hair on the skull."""
  ops: list[Op] = []
  if 'cat ears' in identity.accessories:
    ops += _cat_ears(palette)
  if 'bow band' in identity.accessories:
    top = dome(identity.hair.volume)[12, 1]
    ops += bow_ops(palette.accent, (0.0, top - 3), 24, -4.0, 0.0)
  if identity.hair.tail in ('twin', 'side', 'low twin'):
    ops += _ties(identity, palette)
  return ops


def before_hair_ops(identity: Identity, palette: Palette) -> list[Op]:
  """Accessories on the face that the fringe may cover."""
  ops: list[Op] = []
  for name in identity.accessories:
    if name.endswith('glasses'):
      ops += _glasses(identity, palette, name.split()[0])
  return ops


def front_ops(identity: Identity, palette: Palette) -> list[Op]:
  """Accessories over the hair."""
  side = identity.accessory_side
  ops: list[Op] = []
  build = {
    'ribbon': lambda: bow_ops(
      palette.accent, (side * 40.0, -40.0), 19, 22.0, side * 0.5
    ),
    'flower': lambda: _flower(palette, (side * 43.0, -30.0)),
    'headband': lambda: _band(identity, palette),
    'bow band': lambda: _band(identity, palette),
    'clips': lambda: _clips(palette, side),
    'star clip': lambda: _star(palette, (side * 35.0, -27.0)),
    'horns': lambda: _horns(palette),
    'headphones': lambda: _headphones(identity, palette),
  }
  for name in identity.accessories:
    if name in build:
      ops += build[name]()
  return ops


def _ties(identity: Identity, palette: Palette) -> list[Op]:
  ops: list[Op] = []
  for x, y in tail_roots(identity):
    side = np.sign(x)
    if identity.accessory_side > 0:
      ops += bow_ops(
        palette.accent, (x + 5 * side, y + 1), 14, -8.0, side * 0.9
      )
    else:
      for grow, color in ((1.2, palette.accent.line), (0, palette.accent.base)):
        ops.append(
          _blob((x + 4 * side, y), (4.8 + grow, 6.6 + grow), color, -8.0)
        )
  return ops


def _flower(palette: Palette, at: tuple) -> list[Op]:
  tone = palette.accent
  ops: list[Op] = []
  spin = np.arange(5) * 2 * np.pi / 5 - 0.4
  for grow, color in ((1.3, tone.line), (0.0, tone.base)):
    for angle in spin:
      center = np.array(at) + 7.2 * np.array([np.sin(angle), -np.cos(angle)])
      petal = geometry.ellipse((0, 0), (4.9 + grow, 6.6 + grow), 11)
      c, s = np.cos(angle), np.sin(angle)
      petal = petal @ np.array([[c, s], [-s, c]]) + center
      ops.append(make_patch(petal, color, 26.0))
  for angle in spin:
    way = np.array([np.sin(angle), -np.cos(angle)])
    vein = np.array(at) + np.array([[3], [8]]) * way
    ops.append(
      make_patch(geometry.stroke(vein, 1.5), tone.shade, 26.0, surface=False)
    )
  ops.append(_blob(at, (3.6, 3.6), tone.line, 27.0, False))
  ops.append(_blob(at, (2.7, 2.7), (255, 226, 120), 27.0))
  return ops


def _band(identity: Identity, palette: Palette) -> list[Op]:
  arc = dome(identity.hair.volume)[2:-2]
  upper, lower = arc * (1.0, 0.86) + (0, -2.0), arc * (0.985, 0.74) + (0, -2.6)
  tone = palette.accent
  rim = geometry.between(upper - (0, 1.2), np.add(lower, (0, 1.2)))
  gleam = geometry.between(*(np.add(upper[5:10], (0, y)) for y in (1.5, 3.2)))
  return [
    make_patch(rim, tone.line, _over_hair),
    make_patch(geometry.between(upper, lower), tone.base, _over_hair),
    make_patch(gleam, tone.light, _over_hair, surface=False),
  ]


def _clips(palette: Palette, side: int) -> list[Op]:
  ops: list[Op] = []
  for k in range(2):
    start = np.array((side * 25.0, -24.0 + 7 * k))
    stop = np.add(start, (side * 13.0, 4.5 + 1.5 * k))
    for width, color in (
      (5.2, palette.accent.line),
      (3.4, palette.accent.base),
    ):
      ops.append(_line([start, stop], width, color))
    shine = start + 0.25 * (stop - start), start + 0.5 * (stop - start)
    ops.append(_line([*shine], 1.2, palette.accent.light))
  return ops


def _star(palette: Palette, at: tuple) -> list[Op]:
  ops: list[Op] = []
  for size, color in ((10.5, palette.accent.line), (8.0, (255, 214, 92))):
    for k in range(5):
      angle = 2 * np.pi * k / 5
      ray = np.array([np.sin(angle), -np.cos(angle)])
      across = np.array([ray[1], -ray[0]])
      base = np.array(at)
      tip = base + size * ray
      grid = np.array(
        [[tip, tip], [base + 0.3 * size * across, base - 0.3 * size * across]]
      )
      ops.append(make_patch(grid, color, _over_hair))
  return ops


def _cat_ears(palette: Palette) -> list[Op]:
  tone = palette.hair
  inner = geometry.smooth_curve([(12, -56), (18, -78), (33, -97)], 9)
  outer = geometry.smooth_curve([(44, -36), (47, -66), (35, -97)], 9)
  ear = geometry.between(inner, outer)
  middle = np.array([33.0, -62.0])
  layers = (
    (1.08, tone.line),
    (1.0, tone.base),
    (0.72, palette.lip),
    (0.58, palette.skin.base),
  )
  return [
    make_patch(
      (middle + scale * (ear - middle)) * (side, 1),
      color,
      -4.0,
      surface=scale >= 1.0,
    )
    for side in (-1, 1)
    for scale, color in layers
  ]


def _horns(palette: Palette) -> list[Op]:
  ops: list[Op] = []
  for side in (-1, 1):
    points = [(26, -50), (33, -66), (30, -80), (22, -88)]
    curve = geometry.smooth_curve([(side * x, y) for x, y in points], 12)
    taper = np.linspace(1, 0.04, 12)
    for extra, color in ((1.4, palette.metal.line), (0, palette.metal.base)):
      grid = geometry.ribbon(curve, 6.5 * taper + extra)
      ops.append(make_patch(grid, color, 12.0))
    for k in (2, 4, 6):
      ring = geometry.ribbon(curve, 6.5 * taper)[k]
      bar = geometry.stroke(np.linspace(ring[0], ring[1], 4), 1.2)
      ops.append(make_patch(bar, palette.metal.line, 12.5, surface=False))
  return ops


def _headphones(identity: Identity, palette: Palette) -> list[Op]:
  arc = dome(identity.hair.volume)
  tone = palette.trim
  upper, lower = arc * 1.06 + (0, -1), arc * 1.0 + (0, 1.5)
  ops: list[Op] = [
    make_patch(
      geometry.between(upper * 1.02, lower * 0.99),
      tone.line,
      2.0,
      surface=False,
    ),
    make_patch(geometry.between(upper, lower), tone.base, 2.0),
  ]
  x = arc[-1, 0] + 2.5
  layers = (
    (0.0, (7.6, 15.6), tone.line),
    (0.0, (6.2, 14.0), tone.base),
    (1.2, (3.6, 9.5), palette.accent.base),
  )
  for side in (-1, 1):
    for more, radius, color in layers:
      grid = geometry.ellipse((0, 0), radius)
      # The cups lie on the side of the head: wide when near, thin when far.
      depth = -1.3 * side * grid[..., 0]
      grid = np.add(grid, (side * (x + more), 12))
      ops.append(make_patch(grid, color, depth))
  return ops


def ear_ops(identity: Identity, palette: Palette) -> list[Op]:
  """Earrings, painted with the ears so that a far one is hidden."""
  ops: list[Op] = []
  if 'earrings' not in identity.accessories:
    return ops
  for side in (-1, 1):
    at = (side * (identity.face.half_width + 1.5), 31.0)
    ops.append(_blob(at, (3.4, 4.4), palette.accent.line, -4.0, False))
    ops.append(_blob(at, (2.3, 3.3), palette.accent.base, -4.0))
    ops.append(
      _blob((at[0] - 0.6, 29.8), (0.8, 1.0), palette.accent.light, -4.0, False)
    )
  return ops


def _glasses(identity: Identity, palette: Palette, kind: str) -> list[Op]:
  eyes = identity.eyes
  color = palette.metal.line

  def depth(points: np.ndarray) -> np.ndarray:
    return face_depth(points) + 6.0

  ops: list[Op] = []
  rx, ry = eyes.half_width + 3.6, 0.5 * (eyes.up + eyes.low) + 4.6
  power = {'round': 1.0, 'square': 0.55, 'half': 0.7}[kind]
  start = 0.06 if kind == 'half' else -0.5
  angle = np.linspace(start, 1.0 - start if kind == 'half' else 1.5, 29) * np.pi
  shape = np.stack([np.cos(angle), np.sin(angle)], 1)
  shape = np.sign(shape) * np.abs(shape) ** power * (rx, ry)
  for side in (-1, 1):
    at = np.array((side * (eyes.center_x + 0.4), eyes.center_y + 1.5))
    rim = at + shape
    lens_angle = np.linspace(-0.5, 0.5, 13) * np.pi
    lens = np.stack([np.cos(lens_angle), np.sin(lens_angle)], 1)
    lens = np.sign(lens) * np.abs(lens) ** power * (rx, ry)
    glass = make_patch(
      geometry.between(at + lens * (-1, 1), at + lens),
      (255, 255, 255),
      depth,
      surface=False,
    )
    gleam = geometry.between(
      at + np.array([(-2, -ry - 2), (-12, ry + 2)]),
      at + np.array([(5, -ry - 2), (-5, ry + 2)]),
    )
    shine = make_patch(gleam, (255, 255, 255), depth, surface=False)
    ops.append(Clip(glass, (shine,), 0.28))
    ops.append(make_patch(geometry.ribbon(rim, 0.9), color, depth))
    hinge = np.add(at, (side * rx, -0.25 * ry))
    arm = np.linspace(hinge, (side * (identity.face.half_width + 1), 9.0), 4)
    arm_depth = np.linspace(face_depth(hinge[None])[0] + 6, 0, 4)[:, None]
    ops.append(make_patch(geometry.ribbon(arm, 0.9), color, arm_depth))
  gap = eyes.center_x + 0.4 - rx
  y = eyes.center_y + (0.5 if kind == 'half' else -1.0)
  ops.append(
    _line([(-gap - 0.5, y), (0, y - 2), (gap + 0.5, y)], 1.8, color, depth)
  )
  return ops
