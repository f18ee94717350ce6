"""Eyes and brows, redrawn for every expression."""

from __future__ import annotations

import dataclasses

import numpy as np

from data.characters import geometry
from data.characters.geometry import Clip, Op, Patch, make_patch
from data.characters.identity import EyeTraits
from data.characters.palette import Palette, mix
from data.characters.turn import face_depth

_SAMPLES = 15


@dataclasses.dataclass(frozen=True)
class EyeState:
  """Expression of one eye and its brow, each number in [0, 1]."""

  wink: float
  surprised: float
  happy: float
  raised: float
  lowered: float
  troubled: float


def lids(eyes: EyeTraits, state: EyeState) -> tuple[np.ndarray, np.ndarray]:
  """Upper and lower lid in eye coordinates (x outward, y down).

  Args:
    eyes: shape of the open eye.
    state: expression.

  Returns:
    Two [15, 2] curves from the inner to the outer corner; they coincide where
    the eye is closed.
  """
  hw, tilt = eyes.half_width, eyes.tilt
  wide = state.surprised
  up, low = eyes.up + 3.6 * wide, eyes.low + 1.6 * wide
  inner, outer = (-hw, 4.2), (hw, tilt)
  upper = geometry.smooth_curve(
    [
      inner,
      (-0.74 * hw, -0.52 * up),
      ((eyes.peak - 0.12) * hw, -up),
      (0.62 * hw, -0.80 * up + 0.3 * tilt),
      outer,
    ],
    _SAMPLES,
  )
  lower = geometry.smooth_curve(
    [
      inner,
      (-0.55 * hw, 0.90 * low),
      (0.1 * hw, low),
      (0.68 * hw, 0.74 * low + 0.25 * tilt),
      outer,
    ],
    _SAMPLES,
  )
  t = np.linspace(-1, 1, _SAMPLES)
  bow = 1 - t * t
  corner = 0.5 * (4.2 + tilt) + 0.5 * (tilt - 4.2) * t
  closed = np.stack([hw * t, corner + 0.62 * low * bow + 0.6], axis=1)
  happy = np.stack([hw * t, corner + 3.4 - 8.2 * bow], axis=1)
  # Two ways of closing share what there is to close.
  share = max(1.0, state.wink + state.happy)
  wink, smile = state.wink / share, state.happy / share
  upper = upper + wink * (closed - upper) + smile * (happy - upper)
  lower = lower + wink * (closed - lower) + smile * (happy - lower)
  return upper, lower


class Eye:
  """One eye and its brow: builds patches for an expression."""

  def __init__(self, eyes: EyeTraits, palette: Palette, side: int):
    self._eyes = eyes
    self._palette = palette
    self._side = side
    self._colors = palette.iris_left if side > 0 else palette.iris_right

  def _patch(
    self, grid: np.ndarray, color: tuple, lift: float = 0.0, surface=False
  ) -> Patch:
    """A patch from eye coordinates; `lift` is depth above the skin."""
    eyes = self._eyes
    center = (self._side * eyes.center_x, eyes.center_y)
    placed = grid * (self._side, 1) + center
    depth = face_depth(placed) + lift
    return make_patch(placed, color, depth, surface=surface)

  def eye_ops(self, state: EyeState) -> list[Op]:
    """White, iris, lids and lashes, back to front."""
    upper, lower = lids(self._eyes, state)
    palette = self._palette
    opening = self._patch(
      geometry.between(upper, lower), palette.white.base, surface=True
    )
    ops: list[Op] = [opening, Clip(opening, self._iris(state, upper))]
    ops.extend(self._lower_line(lower, state))
    ops.extend(self._crease(state))
    ops.extend(self._lashes(upper, state))
    return ops

  def _iris(self, state: EyeState, upper: np.ndarray) -> tuple[Patch, ...]:
    eyes, colors = self._eyes, self._colors
    scale = 1 - 0.24 * state.surprised
    rx, ry = eyes.iris_x * scale, eyes.iris_y * scale
    cx, cy = -0.6, 0.5 * (eyes.low - eyes.up) + 0.2
    patches = [
      self._patch(
        geometry.ellipse((cx, cy), (rx, ry), 15), colors.line, surface=True
      )
    ]
    patches += self._gradient((cx, cy), (0.87 * rx, 0.90 * ry))
    patches += self._pupil((cx, cy), (rx, ry))
    glow = geometry.ellipse((cx, cy + 0.56 * ry), (0.52 * rx, 0.24 * ry), 9)
    patches.append(self._patch(glow, colors.glow))
    lid = upper + np.array([0.0, 0.22 * ry + 0.8])
    shade = geometry.between(upper - (0, 1), lid)
    white_shade = self._patch(shade, self._palette.white.shade)
    patches.insert(0, white_shade)
    patches += self._highlights((cx, cy), (rx, ry))
    return tuple(patches)

  def _gradient(self, center: tuple, radius: tuple) -> list[Patch]:
    """Six bands from dark under the lid to light at the bottom."""
    colors = self._colors
    angle = np.linspace(0, np.pi, 7)
    patches = []
    for k in range(6):
      arc = np.linspace(angle[k], np.pi, 9 - k)
      x, y = radius[0] * np.sin(arc), -radius[1] * np.cos(arc)
      grid = np.stack(
        [np.stack([-x, y], -1), np.stack([x, y], -1)], axis=1
      ) + np.array(center)
      share = (k / 5) ** 0.9
      color = mix(colors.top, colors.bottom, share)
      patches.append(self._patch(grid, color))
    return patches

  def _pupil(self, center: tuple, radius: tuple) -> list[Patch]:
    colors, kind = self._colors, self._eyes.pupil
    size = {'round': (0.42, 0.44), 'slit': (0.17, 0.62), 'deep': (0.5, 0.5)}
    rx, ry = size.get(kind, (0.46, 0.46))
    cy = center[1] - 0.06 * radius[1]
    pupil = geometry.ellipse(
      (center[0], cy), (rx * radius[0], ry * radius[1]), 11
    )
    patches = [self._patch(pupil, colors.pupil)]
    if kind == 'ring':
      inner = geometry.ellipse(
        (center[0], cy), (0.3 * radius[0], 0.3 * radius[1]), 9
      )
      patches.append(self._patch(inner, colors.top))
    return patches

  def _highlights(self, center: tuple, radius: tuple) -> list[Patch]:
    rx, ry = radius
    white = self._palette.white.light
    # The light is on one side of the picture for both eyes.
    way = self._side * (1 if self._palette.look.light <= 0 else -1)
    spots = {
      'oval': [(-0.36, -0.42, 0.34, 0.27), (0.40, 0.42, 0.16, 0.13)],
      'double': [(-0.36, -0.40, 0.36, 0.25), (0.34, -0.10, 0.14, 0.11)],
      'slanted': [(-0.30, -0.36, 0.42, 0.20), (0.42, 0.38, 0.2, 0.13)],
      'sparkle': [
        (-0.36, -0.42, 0.34, 0.28),
        (0.42, 0.36, 0.18, 0.15),
        (-0.34, 0.36, 0.11, 0.09),
      ],
    }[self._eyes.highlight]
    patches = []
    for x, y, w, h in spots:
      where = (center[0] + way * x * rx, center[1] + y * ry)
      grid = geometry.ellipse(where, (w * rx, h * ry), 9)
      patches.append(self._patch(grid, white, 1.0))
    return patches

  def _lower_line(self, lower: np.ndarray, state: EyeState) -> list[Op]:
    curve = np.add(lower[4:], (0, 0.3))
    grid = geometry.stroke(curve, self._eyes.lower_lash + 0.5, (0.1, 0.9))
    return [self._patch(grid, self._palette.lash, surface=True)]

  def _crease(self, state: EyeState) -> list[Op]:
    if not self._eyes.crease:
      return []
    half = dataclasses.replace(
      state, wink=0.30 * state.wink, happy=0.35 * state.happy
    )
    upper, _ = lids(self._eyes, half)
    curve = upper[3:13] - (0, self._eyes.lash + 1.6)
    grid = geometry.stroke(curve, 0.95, (0.1, 0.2))
    return [self._patch(grid, self._palette.skin.line, surface=True)]

  def _lashes(self, upper: np.ndarray, state: EyeState) -> list[Op]:
    eyes = self._eyes
    share = max(1.0, state.wink + state.happy)
    wink, happy = state.wink / share, state.happy / share
    color = self._palette.lash
    rise = -0.55 + 1.0 * wink + 0.95 * happy
    wing = upper[-1] + np.array([eyes.wing, rise * eyes.wing])
    outer = np.linspace(upper[-1], wing, 4)[1:]
    curve = np.concatenate([upper, outer])
    t = np.linspace(0, 1, len(upper))
    body = (0.28 + 0.72 * geometry.smoothstep(1.4 * t)) * eyes.lash
    body = body * (1 - 0.22 * (wink + happy))
    thick = np.concatenate([body, body[-1] * np.array([0.62, 0.3, 0.0])])
    # The lash grows away from the opening and a little over it.
    away = np.stack([0.25 * np.linspace(-1, 1, len(curve)), -thick], axis=1)
    away[:, 0] *= thick
    grid = np.stack([curve + away * 0.86, curve - away * 0.2], axis=1)
    patches: list[Op] = [self._patch(grid, color, 0.6, surface=True)]
    for k in range(eyes.spikes):
      root = upper[-2 - 2 * k]
      side = np.array([1.1, 0.5])
      reach = (3.4 - 0.5 * k) * (1.0 + 0.1 * eyes.wing)
      tip = root + reach * np.array([0.95, -0.85 + 1.5 * wink + 0.6 * happy])
      base = root + np.array([0, -0.5 * eyes.lash])
      spike = np.array([[base - side, base + side], [tip, tip]])
      patches.append(self._patch(spike, color, 0.6, surface=True))
    return patches

  def brow_ops(self, state: EyeState) -> tuple[list[Op], list[Op]]:
    """The brow on the skin, and the brow as it is seen through the hair."""
    eyes, palette = self._eyes, self._palette
    t = np.linspace(0, 1, 11)
    short = eyes.brow_short
    x = -0.86 * eyes.half_width + t * (2.0 - short) * eyes.half_width
    arch = eyes.brow_arch * np.sin(np.pi * np.minimum(t * 0.95 + 0.05, 1))
    y = eyes.brow_y - eyes.center_y - arch + eyes.brow_tilt * (t - 0.4)
    y = y - 6.5 * state.raised * (1 - 0.15 * t)
    y = y + state.lowered * (7.5 - 9.0 * t)
    x = x - 2.2 * state.lowered * (1 - t)
    y = y + state.troubled * (-6.0 + 10.0 * t)
    curve = np.stack([x, y], axis=1)
    profile = (0.75 + 0.5 * np.sin(np.pi * t**0.7)) * (1 - t**2.2 * 0.85)
    half = 0.5 * eyes.brow_thick * profile
    brow = self._patch(
      geometry.ribbon(curve, half), palette.brow, 1.5, surface=True
    )
    around = mix(palette.hair.light, palette.skin.light, 0.5)
    halo = self._patch(geometry.ribbon(curve, half + 1.0), around, 1.5)
    return [brow], [Clip(halo, (halo,), 0.5), Clip(brow, (brow,), 0.9)]
