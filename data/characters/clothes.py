"""Neck, shoulders and what is worn there. The body does not turn."""

from __future__ import annotations

import numpy as np

from data.characters import geometry
from data.characters.bow import bow_ops
from data.characters.geometry import Clip, Color, Op, Patch, make_patch
from data.characters.identity import Identity
from data.characters.palette import Palette, Tone

# Rest y where the picture ends, with something to spare.
_BOTTOM = 128.0


def _mirrored(points: list) -> tuple[np.ndarray, np.ndarray]:
  right = np.asarray(points, float)
  return right * (-1, 1), right


def _body(points: list, color: Color, count: int = 12) -> Patch:
  """A symmetric patch from points of its right edge, top to bottom."""
  left, right = _mirrored(geometry.smooth_curve(points, count))
  return make_patch(geometry.between(left, right), color, 0.0, 0.0)


def _shape(first: list, second: list, color: Color, count: int = 8) -> Patch:
  grid = geometry.between(
    geometry.smooth_curve(first, count), geometry.smooth_curve(second, count)
  )
  return make_patch(grid, color, 0.0, 0.0, surface=False)


def _line(points: list, color: Color, width: float = 1.4) -> Patch:
  curve = geometry.smooth_curve(points, 12)
  grid = geometry.stroke(curve, width, (0.3, 0.3))
  return make_patch(grid, color, 0.0, 0.0, surface=False)


def _flip(points: list, side: int) -> list:
  return [(side * x, y) for x, y in points]


def _outlined(points: list, tone: Tone, extra: float = 1.6) -> list[Op]:
  wide = [(x + extra, y - 0.8 * extra) for x, y in points]
  return [_body(wide, tone.line), _body(points, tone.base)]


_SHOULDERS = [
  (0, 71),
  (13, 73),
  (20, 79),
  (41, 87),
  (55, 97),
  (62, 114),
  (65, _BOTTOM),
]


def _shoulders(identity: Identity) -> list[tuple[float, float]]:
  scale = 1.16 if identity.boyish else 1.0
  return [(x * (scale if x > 15 else 1), y) for x, y in _SHOULDERS]


def neck_ops(identity: Identity, palette: Palette) -> list[Op]:
  """Bare neck and shoulders with the shadow of the chin."""
  skin = palette.skin
  width = 14.5 if identity.boyish else 12.2
  curve = geometry.smooth_curve(
    [(width, 30), (width - 0.5, 52), (width, 66), (width + 5, 76), (38, 84)], 14
  )
  left, right = _mirrored(curve)
  # The top of the neck goes with the head, its foot stays.
  follow = 1 - geometry.smoothstep((curve[:, 1] - 40) / 36)[:, None]
  neck = make_patch(geometry.between(left, right, 5), skin.base, -6.0, follow)
  chin = identity.face.chin_y
  shadow = geometry.between(
    *_mirrored(
      geometry.smooth_curve(
        [(30, 20), (30, chin - 8), (12, chin + 7), (0.5, chin + 12)], 10
      )
    )
  )
  shadow[..., 0] -= 5.0 * palette.look.light
  shade = make_patch(shadow, skin.shade, 8.0, 0.8, surface=False)
  ops: list[Op] = _outlined(_shoulders(identity), skin, 1.2 * palette.look.pen)
  for side in (-1, 1):
    edge = curve[:-2] * (side, 1)
    line = geometry.stroke(edge, 1.8, (0.5, 0.2))
    ops.append(make_patch(line, skin.line, -6.0, follow[:-2], surface=False))
  ops += [neck, Clip(neck, (shade,))]
  for side in (-1, 1):
    bone = _flip([(5, 84), (14, 82), (26, 82.5)], side)
    ops.append(_line(bone, skin.shade, 1.5))
  return ops


def clothes_ops(identity: Identity, palette: Palette) -> list[Op]:
  """What the character wears, over the bare shoulders."""
  build = {
    'sailor': _sailor,
    'blazer': _blazer,
    'hoodie': _hoodie,
    'turtleneck': _turtleneck,
    'tshirt': _tshirt,
    'camisole': _camisole,
    'kimono': _kimono,
    'dress': _dress,
    'uniform': _uniform,
  }[identity.clothes]
  ops = build(identity, palette)
  if 'choker' in identity.accessories and identity.clothes not in (
    'turtleneck',
    'uniform',
    'hoodie',
  ):
    ops += _choker(palette)
  return ops


def _choker(palette: Palette) -> list[Op]:
  upper = [(-12.6, 66), (0, 69.5), (12.6, 66)]
  lower = [(x, y + 4.2) for x, y in upper]
  gem = geometry.ellipse((0, 74.5), (2.2, 2.6), 8)
  return [
    _shape(upper, lower, palette.accent.line),
    make_patch(gem, palette.accent.light, 0.0, 0.0, surface=False),
  ]


def _garment(
  identity: Identity, tone: Tone, neckline: list, lift: float = 1.5
) -> list[Op]:
  """A garment with shoulders, an opening at the neck, and arm shade.

  `neckline` is the right half of the opening, from the shoulder to the centre.
  """
  shoulder = [
    (x + 2, y - lift) for x, y in _shoulders(identity) if x > neckline[0][0]
  ]
  outer = geometry.smooth_curve([neckline[0], *shoulder], 14)
  inner = geometry.smooth_curve(neckline, 13)
  inner = np.concatenate([inner, [(inner[-1, 0], _BOTTOM)]])
  ops: list[Op] = []
  for side in (-1, 1):
    flip = np.array([side, 1])
    edge = geometry.stroke(outer * flip, 3.4, (0.6, 1.0))
    ops.append(make_patch(edge, tone.line, 0.0, 0.0, surface=False))
    body = geometry.between(inner * flip, outer * flip)
    ops.append(make_patch(body, tone.base, 0.0, 0.0))
    ops.append(
      _shape(
        _flip([(45, 104), (48, 116), (48, _BOTTOM)], side),
        _flip([(45, 104), (54, 114), (59, _BOTTOM)], side),
        tone.shade,
      )
    )
    ops.append(_line(_flip([(44, 103), (48, 115), (48, 130)], side), tone.line))
    opening = geometry.smooth_curve(neckline, 10) * flip
    line = geometry.stroke(opening, 1.5, (0.5, 0.6))
    ops.append(make_patch(line, tone.line, 0.0, 0.0, surface=False))
  return ops


def _folds(tone: Tone) -> list[Op]:
  return [
    _shape(
      _flip([(20, 106), (24, 116), (22, 130)], side),
      _flip([(20, 106), (28, 116), (31, 130)], side),
      tone.shade,
    )
    for side in (-1, 1)
  ]


def _tshirt(identity: Identity, palette: Palette) -> list[Op]:
  tone = palette.cloth
  ops = _garment(identity, tone, [(21, 76), (16, 85), (8, 91), (0, 92.5)])
  ops += _folds(tone)
  for side in (-1, 1):
    rib = _flip([(22, 77), (17, 87.5), (8.5, 94), (0, 95.5)], side)
    ops.append(_line(rib, tone.shade, 2.0))
  return ops


def _camisole(identity: Identity, palette: Palette) -> list[Op]:
  tone = palette.cloth
  edge = [(45, 121), (34, 113), (20, 112), (7, 117), (0, 120)]
  ops: list[Op] = []
  for side in (-1, 1):
    strap = [(31, 81), (33, 96), (34, 114)]
    ops.append(_line(_flip(strap, side), tone.line, 6.5))
    ops.append(_line(_flip(strap, side), tone.base, 4.5))
    top = _flip([(46, 130), *edge], side)
    low = _flip(
      [(46, 135), (40, 135), (30, 135), (20, 135), (9, 135), (0, 135)], side
    )
    ops.append(_shape(top, low, tone.base, 12))
    ops.append(_line(top, tone.line, 1.5))
    ops.append(
      _line(_flip([(52, 104), (50, 116), (49, 130)], side), palette.skin.line)
    )
  return ops


def _turtleneck(identity: Identity, palette: Palette) -> list[Op]:
  tone = palette.cloth
  ops = _garment(identity, tone, [(16, 76), (12, 80), (5, 82), (0, 82)])
  ops += _folds(tone)
  collar = [(14.8, 64), (15.8, 72), (18.5, 82)]
  ops += [
    _body([(x + 1.5, y) for x, y in collar], tone.line),
    _body(collar, tone.base),
    _shape(
      [(-14.5, 64), (0, 67.5), (14.5, 64)],
      [(-15, 69), (0, 74), (15, 69)],
      tone.shade,
    ),
    _line([(-14.6, 64), (0, 67.5), (14.6, 64)], tone.line),
    _line([(-18, 81), (0, 86), (18, 81)], tone.line),
  ]
  for x in (-9, -3, 3, 9):
    ops.append(
      _line([(x, 75 - 0.08 * abs(x)), (1.12 * x, 82)], tone.shade, 1.3)
    )
  return ops


def _collar_wings(tone: Tone, points: list, line: float = 1.4) -> list[Op]:
  """Two collar flaps from an outline of the right one."""
  ops: list[Op] = []
  for side in (-1, 1):
    corner = np.array(_flip(points, side), float)
    half = len(corner) // 2
    first, second = corner[:half], corner[half:][::-1]
    grid = geometry.between(first, second)
    ops.append(make_patch(grid, tone.base, 0.0, 0.0, surface=False))
    for k in range(len(corner)):
      edge = np.linspace(corner[k - 1], corner[k], 4)
      seg = geometry.stroke(edge, line, (0.7, 0.7))
      ops.append(make_patch(seg, tone.line, 0.0, 0.0, surface=False))
  return ops


def _sailor(identity: Identity, palette: Palette) -> list[Op]:
  white, collar = palette.white, palette.cloth
  if sum(collar.base) > 640:
    white, collar = palette.cloth, palette.trim
  ops = _garment(identity, white, [(23, 77), (17, 92), (8, 104), (0, 113)])
  ops += _folds(white)
  right = [(22, 76.5), (14, 94), (0.5, 114)]
  outer = [(47, 84), (44, 100), (3, 128)]
  for side in (-1, 1):
    ops.append(_shape(_flip(right, side), _flip(outer, side), collar.base, 10))
    ops.append(_line(_flip(outer, side), collar.line))
    ops.append(_line(_flip(right, side), collar.line))
    stripe = [(x - 4, y - 3.4) for x, y in outer]
    ops.append(_line(_flip(stripe, side), palette.white.base, 1.5))
  return ops + bow_ops(palette.accent, (0.0, 112.0), 17.0, 0.0, 0.0, 0.0)


def _blazer(identity: Identity, palette: Palette) -> list[Op]:
  shirt, jacket = palette.white, palette.cloth
  if sum(jacket.base) > 660:
    jacket = palette.trim
  ops = _garment(identity, shirt, [(19, 74), (12, 80), (5, 86), (0, 89)])
  ops += _garment(identity, jacket, [(28, 77), (23, 94), (14, 112), (0, 134)])
  ops += _collar_wings(
    jacket, [(27, 77), (22, 94), (8, 124), (20, 112), (34, 100), (34, 82)]
  )
  tie = _body(
    [(3.2, 90), (2.6, 96), (5.5, 124), (4, 132)], palette.accent.base, 6
  )
  edge = _body(
    [(4.6, 89), (3.8, 96), (6.9, 124), (6, 134)], palette.accent.line, 6
  )
  if identity.boyish or identity.face.mouth_y > 44.5:
    ops = [*ops, edge, tie]
    knot = [(-4, 87), (4, 87)], [(-2.8, 95), (2.8, 95)]
    ops.append(_shape(*knot, palette.accent.shade, 3))
  else:
    ops += bow_ops(palette.accent, (0.0, 93.0), 13.0, 0.0, 0.0, 0.0)
  return ops + _collar_wings(
    shirt, [(15, 68), (8, 78), (1, 89), (10, 98), (18, 88), (21, 76)]
  )


def _hoodie(identity: Identity, palette: Palette) -> list[Op]:
  tone = palette.cloth
  ops = _garment(identity, tone, [(22, 75), (15, 85), (7, 91), (0, 93)], 3.0)
  for side in (-1, 1):
    hood_in = _flip([(19, 67), (17, 80), (9, 91), (0, 98)], side)
    hood_out = _flip([(33, 71), (36, 84), (22, 99), (0, 106)], side)
    ops.append(_shape(hood_in, hood_out, tone.base, 10))
    middle = _flip([(25, 69), (25, 82), (14, 95), (0, 102)], side)
    ops.append(_shape(hood_in, middle, tone.shade, 10))
    ops.append(_line(hood_out, tone.line, 1.6))
    ops.append(_line(hood_in, tone.line, 1.6))
    cord = _flip([(10, 99), (11, 110), (10, 122)], side)
    ops.append(_line(cord, palette.trim.line, 3.4))
    ops.append(_line(cord, palette.trim.base, 2.0))
  return ops


def _kimono(identity: Identity, palette: Palette) -> list[Op]:
  tone = palette.cloth
  ops = _garment(identity, tone, [(24, 76), (14, 92), (5, 106), (0, 112)])
  for side, reach in ((1, 26), (-1, 22)):
    inner = _flip(
      [(19, 71), (11, 90), (-reach * 0.4, 122), (-reach, 150)], side
    )
    middle = _flip([(23, 72), (16, 91), (0, 119), (-reach + 8, 150)], side)
    outer = _flip([(30, 76), (23, 94), (9, 120), (-reach + 18, 150)], side)
    ops.append(_shape(middle, outer, palette.accent.base, 10))
    ops.append(_shape(inner, middle, palette.white.base, 10))
    for edge in (inner, middle, outer):
      ops.append(_line(edge, tone.line))
  return ops


def _dress(identity: Identity, palette: Palette) -> list[Op]:
  tone, trim = palette.cloth, palette.white
  ops = _garment(identity, tone, [(21, 75), (13, 81), (6, 84), (0, 85)])
  ops += _folds(tone)
  for radius, y in ((27.0, 86.0), (17.5, 78.5)):
    for k in range(9):
      angle = np.pi * (0.02 + 0.96 * k / 8)
      at = (radius * np.cos(angle), y - 9 + 12.5 * np.sin(angle))
      for grow, color in ((1.1, trim.line), (0, trim.base)):
        frill = geometry.ellipse(at, (5.2 + grow, 5.0 + grow), 9)
        ops.append(make_patch(frill, color, 0.0, 0.0, surface=False))
  upper = [(-15, 70), (0, 75), (15, 70)]
  band = [(-18, 77), (0, 84), (18, 77)]
  ops += [_shape(upper, band, trim.base), _line(upper, trim.line)]
  return ops + bow_ops(palette.accent, (0.0, 93.0), 13.0, 0.0, 0.0, 0.0)


def _uniform(identity: Identity, palette: Palette) -> list[Op]:
  tone = palette.cloth
  ops = _garment(identity, tone, [(18, 75), (12, 80), (5, 82), (0, 83)], 3.0)
  collar = [(15.5, 63), (17.5, 72), (20.5, 82)]
  ops += [
    _body([(x + 1.5, y) for x, y in collar], tone.line),
    _body(collar, tone.base),
    _shape(
      [(-6, 64.5), (-3, 74), (-1, 84)],
      [(6, 64.5), (3, 74), (1, 84)],
      palette.white.base,
    ),
    _line([(-15.5, 63), (-6, 65)], palette.metal.base, 2.0),
    _line([(15.5, 63), (6, 65)], palette.metal.base, 2.0),
    _line([(-20, 82), (0, 87), (20, 82)], tone.line),
    _line([(0, 84), (0, 132)], tone.line),
  ]
  for y in (96, 112):
    for x in (-9, 9):
      for grow, color in ((1.0, palette.metal.line), (0, palette.metal.base)):
        button = geometry.ellipse((x, y), (2.6 + grow, 2.6 + grow), 9)
        ops.append(make_patch(button, color, 0.0, 0.0, surface=False))
  return ops
