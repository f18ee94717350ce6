"""Head, ears, nose, blush and marks: everything on the skin that is still."""

from __future__ import annotations

import dataclasses

import numpy as np

from data.characters import geometry
from data.characters.geometry import Clip, Op, Patch, make_patch
from data.characters.identity import FaceTraits, Identity
from data.characters.palette import Palette, mix
from data.characters.turn import face_depth

_ROWS = 22
_COLUMNS = 9


@dataclasses.dataclass(frozen=True, eq=False)
class FaceParts:
  """Still parts of the head, each list back to front.

  Attributes:
    under: jaw underside; painted before the ears and the face.
    ears: both ears.
    skin: the face's fill; what casts shadows on the face is clipped to it.
    tint: blush and form shadow, seen only on the skin.
    marks: nose, marks and contour, painted on the skin.
  """

  under: tuple[Op, ...]
  ears: tuple[Op, ...]
  skin: Patch
  tint: tuple[Patch, ...]
  marks: tuple[Op, ...]


def contour(face: FaceTraits) -> np.ndarray:
  """The picture's right half of the face from skull top to chin, [22, 2]."""
  w = face.half_width
  chin = face.chin_y
  cheek = 0.93 + 0.04 * face.jaw
  jaw = 0.64 + 0.09 * face.jaw
  return geometry.smooth_curve(
    [
      (0, -50),
      (0.48 * w, -45),
      (0.80 * w, -28),
      (0.98 * w, -6),
      (1.0 * w, 10),
      (cheek * w, chin - 30),
      (jaw * w, chin - 13),
      (face.chin_half + 4.5, chin - 2.6),
      (face.chin_half * 0.45, chin - 0.1),
      (0, chin),
    ],
    _ROWS,
  )


def make_face(
  identity: Identity, palette: Palette, features: Palette
) -> FaceParts:
  """Builds the still parts of the head.

  Args:
    identity: of the character.
    palette: its colours in some style.
    features: its colours of what every style keeps sharp, such as the nose.

  Returns:
    The parts.
  """
  face = identity.face
  right = contour(face)
  left = right * (-1, 1)
  grid = geometry.between(left, right, _COLUMNS)
  skin = make_patch(grid, palette.skin.base, face_depth)
  under = make_patch(
    geometry.between(left * 0.965, right * 0.965),
    palette.skin.shade,
    lambda p: 0.35 * face_depth(p),
  )
  jaw_line = np.concatenate([left[9:], right[-2:8:-1]])
  marks = (
    *_nose(face, features),
    *_cheek_marks(identity, palette),
    make_patch(
      geometry.stroke(jaw_line, 1.7, (0.35, 0.35)),
      palette.skin.line,
      face_depth,
    ),
  )
  tint = (_form_shadow(right, palette), *_blush(identity, palette))
  return FaceParts((under,), _ears(face, palette), skin, tint, marks)


def _form_shadow(right: np.ndarray, palette: Palette) -> Patch:
  light = palette.look.light
  edge = right[8:-2]
  t = np.linspace(0, 1, len(edge))[:, None]
  width = 3.5 + 5.0 * abs(light)
  inner = edge - np.array([1.0, 0.25]) * width * np.sin(np.pi * t) ** 0.8
  away = np.array([1.0 if light <= 0 else -1.0, 1.0])
  return make_patch(
    geometry.between(inner * away, np.add(edge, (2, 1)) * away),
    mix(palette.skin.base, palette.skin.shade, 0.55),
    face_depth,
    surface=False,
  )


def _nose(face: FaceTraits, palette: Palette) -> tuple[Op, ...]:
  y = 0.5 * (face.mouth_y + 27.0) - 1.0

  def depth(points: np.ndarray) -> np.ndarray:
    return face_depth(points) + 3.5

  if face.nose == 'shadow':
    shape = geometry.between(
      np.array([(-0.2, y - 5.0), (0.4, y - 1.5), (-1.2, y + 1.6)]),
      np.array([(0.2, y - 5.0), (3.0, y - 0.6), (1.6, y + 1.6)]),
    )
    return (make_patch(shape, palette.skin.shade, depth, surface=False),)
  if face.nose == 'line':
    curve = geometry.smooth_curve(
      [(0.2, y - 4.0), (1.6, y - 0.5), (-0.3, y + 1.0)], 8
    )
    line = geometry.stroke(curve, 1.2, (0.1, 0.5))
    return (make_patch(line, palette.skin.line, depth, surface=False),)
  dot = geometry.stroke(np.array([(-1.2, y), (0, y + 0.5), (1.3, y)]), 1.3)
  return (make_patch(dot, palette.skin.line, depth, surface=False),)


def _cheek(identity: Identity, side: int) -> tuple[float, float]:
  eyes = identity.eyes
  return side * (eyes.center_x + 6.0), eyes.center_y + eyes.low + 6.5


def _blush(identity: Identity, palette: Palette) -> list[Patch]:
  strength = identity.face.blush
  if strength == 0:
    return []
  patches = []
  for side in (-1, 1):
    for scale, share in ((1.0, 0.3), (0.78, 0.58), (0.52, 0.8)):
      grid = geometry.ellipse(
        _cheek(identity, side), (9.5 * scale, 4.6 * scale)
      )
      color = mix(palette.skin.base, palette.blush, strength * share)
      patches.append(make_patch(grid, color, face_depth, surface=False))
  return patches


def _cheek_marks(identity: Identity, palette: Palette) -> list[Op]:
  return [
    op
    for side in (-1, 1)
    for op in _one_cheek(
      identity.face.mark, side, *_cheek(identity, side), palette
    )
  ]


def _one_cheek(
  mark: str, side: int, x: float, y: float, palette: Palette
) -> list[Op]:
  def line(start: tuple, stop: tuple, width: float, color: tuple) -> Patch:
    curve = np.linspace(start, stop, 4)
    grid = geometry.stroke(curve, width, (0.4, 0.4))
    return make_patch(grid, color, face_depth, surface=False)

  if mark == 'lines':
    return [
      line((x + dx + 1, y - 2), (x + dx - 1, y + 2), 1.0, palette.blush)
      for dx in (-4.0, 0.0, 4.0)
    ]
  if mark == 'freckles':
    return [
      make_patch(
        geometry.ellipse((x - side * dx, y + dy), (0.75, 0.7), 6),
        palette.lip,
        face_depth,
        surface=False,
      )
      for dx, dy in ((0, 0), (5, -1.5), (9, 0.5), (4, 2.2), (-4, 1.0))
    ]
  if mark == 'mole' and side > 0:
    spot = geometry.ellipse((x + 1, y - 1.5), (1.1, 1.1), 7)
    return [make_patch(spot, palette.skin.line, face_depth, surface=False)]
  if mark == 'plaster' and side < 0:
    return [
      line((x - 6, y - 1), (x + 5, y + 3), 5.6, palette.skin.line),
      line((x - 5.5, y - 0.9), (x + 4.5, y + 2.8), 4.4, (232, 196, 148)),
      line((x - 2, y + 0.3), (x + 1.2, y + 1.5), 4.0, (250, 232, 200)),
    ]
  return []


def _ears(face: FaceTraits, palette: Palette) -> tuple[Op, ...]:
  ops: list[Op] = []
  w = face.half_width
  if face.ear == 'elf':
    outline = [(w - 3, 8), (w + 5, 0), (w + 21, -10), (w + 12, 14), (w - 1, 27)]
  else:
    outline = [
      (w - 3, 6),
      (w + 3.5, 3),
      (w + 7.5, 9),
      (w + 4.5, 20),
      (w - 2, 27),
    ]
  outer = geometry.smooth_curve(outline, 14)
  inner = np.linspace((w - 6, 8), (w - 6, 26), 14)
  for side in (-1, 1):
    grid = geometry.between(inner * (side, 1), outer * (side, 1))
    center = grid.mean(axis=(0, 1))
    hollow = center + (grid - center) * (0.52, 0.6) + (side * 1.5, -0.5)
    line = geometry.stroke(outer * (side, 1), 1.5, (0.3, 0.3))
    # The root lies beside the skull, the rim a little behind it.
    depth = np.linspace(2.0, -7.0, 2)[None, :]
    ops.append(make_patch(grid, palette.skin.base, depth))
    ops.append(make_patch(hollow, palette.skin.shade, depth, surface=False))
    ops.append(make_patch(line, palette.skin.line, -7.0))
  return tuple(ops)


def skin_clip(
  casters: tuple[Patch, ...], parts: FaceParts, palette: Palette
) -> Clip:
  """What is painted on the skin, with the shadow that hair throws on it.

  Args:
    casters: hair over the face.
    parts: the face.
    palette: colour of the shadow, and where the light comes from.

  Returns:
    The tint of the face and the casters' shapes, moved down, on the skin.
  """
  shadows = []
  fall = (-3.6 * palette.look.light, 5.0)
  for caster in casters:
    grid = caster.points[..., :2] + fall
    shadows.append(
      make_patch(grid, palette.skin.shade, face_depth, surface=False)
    )
  return Clip(parts.skin, (*parts.tint, *shadows))
