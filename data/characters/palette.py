"""Colours that go together: one palette an identity, chosen in OKLCH.

OKLCH (Ottosson, 2020) keeps lightness and chroma apart from hue, so shade,
light and line colours of every hue are found by the same small steps.
"""

from __future__ import annotations

import dataclasses

import numpy as np

from data.characters.geometry import Color, Paint
from data.characters.identity import Dice
from data.characters.style import Look


@dataclasses.dataclass(frozen=True)
class Tone:
  """One material: its colour in light, in shade, highlit, and its line."""

  base: Color
  shade: Color
  light: Color
  line: Color


@dataclasses.dataclass(frozen=True)
class IrisColors:
  """Colours of one iris, from the lid down."""

  line: Color
  top: Color
  bottom: Color
  glow: Color
  pupil: Color


@dataclasses.dataclass(frozen=True)
class Palette:
  """All colours of an identity, and how they are put on."""

  skin: Tone
  blush: Color
  lip: Color
  hair: Tone
  hair_tip: Color
  iris_left: IrisColors
  iris_right: IrisColors
  lash: Color
  brow: Color
  white: Tone
  mouth: Color
  tongue: Color
  cloth: Tone
  trim: Tone
  accent: Tone
  metal: Tone
  look: Look = dataclasses.field(default_factory=Look)


def oklch(lightness: float, chroma: float, hue_deg: float) -> Color:
  """OKLCH to 8-bit sRGB; chroma is lowered until the colour exists.

  Args:
    lightness: 0 black to 1 white.
    chroma: 0 grey to about 0.35.
    hue_deg: degrees; 30 red, 90 yellow, 145 green, 260 blue, 330 pink.

  Returns:
    RGB in 0..255.
  """
  hue = np.deg2rad(hue_deg)
  for keep in np.linspace(1, 0, 21):
    a = keep * chroma * np.cos(hue)
    b = keep * chroma * np.sin(hue)
    rgb = _oklab_to_linear(lightness, a, b)
    if np.all((rgb >= -1e-4) & (rgb <= 1 + 1e-4)):
      break
  rgb = np.clip(rgb, 0, 1)
  srgb = np.where(
    rgb <= 0.0031308, 12.92 * rgb, 1.055 * rgb ** (1 / 2.4) - 0.055
  )
  red, green, blue = np.rint(255 * srgb).astype(int).tolist()
  return red, green, blue


def _oklab_to_linear(lightness: float, a: float, b: float) -> np.ndarray:
  # Matrices of B. Ottosson, "A perceptual color space", 2020.
  long = (lightness + 0.3963377774 * a + 0.2158037573 * b) ** 3
  medium = (lightness - 0.1055613458 * a - 0.0638541728 * b) ** 3
  short = (lightness - 0.0894841775 * a - 1.2914855480 * b) ** 3
  return np.array(
    [
      4.0767416621 * long - 3.3077115913 * medium + 0.2309699292 * short,
      -1.2684380046 * long + 2.6097574011 * medium - 0.3413193965 * short,
      -0.0041960863 * long - 0.7034186147 * medium + 1.7076147010 * short,
    ]
  )


def mix(first: Color, second: Color, share: float) -> Color:
  """`share` of the second colour over the first, for what the second is for."""
  red, green, blue = (
    round(a + share * (b - a)) for a, b in zip(first, second, strict=True)
  )
  color = (red, green, blue)
  if isinstance(second, Paint):
    return Paint(color, second.role, second.under)
  return color


def tone(lightness: float, chroma: float, hue: float) -> Tone:
  """Base, shade, light and line of one material; shade leans to violet."""
  lean = 14 * np.sin(np.deg2rad(285 - hue))
  shade_step = 0.10 + 0.05 * lightness
  return Tone(
    base=oklch(lightness, chroma, hue),
    shade=oklch(lightness - shade_step, chroma * 1.08 + 0.008, hue + lean),
    light=oklch(
      min(lightness + 0.13 - 0.05 * lightness, 0.985), chroma * 0.7, hue
    ),
    line=oklch(0.17 + 0.24 * lightness, 0.5 * chroma + 0.025, hue + 1.4 * lean),
  )


# (weight, lightness low..high, chroma low..high, hue low..high).
_HAIR = (
  (1.6, 0.27, 0.34, 0.01, 0.04, 250, 320),  # black, bluish or plum
  (1.6, 0.38, 0.52, 0.05, 0.08, 40, 65),  # brown
  (1.0, 0.58, 0.68, 0.08, 0.11, 55, 72),  # light brown
  (1.4, 0.82, 0.89, 0.08, 0.12, 80, 95),  # blond
  (1.3, 0.84, 0.93, 0.005, 0.025, 200, 320),  # silver
  (1.0, 0.53, 0.62, 0.14, 0.18, 28, 45),  # red
  (1.2, 0.76, 0.84, 0.08, 0.12, 350, 372),  # pink
  (1.2, 0.60, 0.76, 0.08, 0.13, 235, 265),  # blue
  (0.9, 0.78, 0.87, 0.05, 0.08, 175, 205),  # aqua
  (0.8, 0.62, 0.78, 0.08, 0.12, 140, 170),  # green
  (1.2, 0.55, 0.78, 0.08, 0.13, 290, 318),  # violet
  (0.5, 0.72, 0.78, 0.12, 0.15, 52, 68),  # orange
)
_SKIN = (
  (6.0, 0.925, 0.945, 0.026, 0.036, 52, 64),
  (3.0, 0.885, 0.915, 0.038, 0.05, 52, 62),
  (1.6, 0.78, 0.84, 0.06, 0.075, 55, 63),
  (1.3, 0.60, 0.72, 0.07, 0.085, 50, 60),
  (0.25, 0.86, 0.9, 0.03, 0.045, 290, 320),  # not of this world
)


def _sample(dice: Dice, table: tuple) -> tuple[float, float, float]:
  row = dice.pick(table, [entry[0] for entry in table])
  return (
    dice.uniform(row[1], row[2]),
    dice.uniform(row[3], row[4]),
    dice.uniform(row[5], row[6]),
  )


def _skin_tone(lightness: float, chroma: float, hue: float) -> Tone:
  return Tone(
    base=oklch(lightness, chroma, hue),
    shade=oklch(lightness - 0.085, chroma + 0.036, hue - 22),
    light=oklch(min(lightness + 0.03, 0.98), chroma * 0.6, hue),
    line=oklch(0.28 + 0.16 * lightness, 0.07, hue - 25),
  )


def _iris(lightness: float, chroma: float, hue: float) -> IrisColors:
  return IrisColors(
    line=oklch(lightness - 0.34, chroma * 0.75, hue - 8),
    top=oklch(lightness - 0.20, chroma, hue - 6),
    bottom=oklch(lightness + 0.10, chroma, hue + 10),
    glow=oklch(min(lightness + 0.24, 0.96), chroma * 0.75, hue + 16),
    pupil=oklch(lightness - 0.42, chroma * 0.55, hue - 10),
  )


def _irises(
  dice: Dice, hair_hue: float
) -> tuple[IrisColors, IrisColors, float]:
  hue = hair_hue + dice.pick(
    (0.0, 150.0, 180.0, 120.0, -120.0, 60.0, -60.0), (3, 1, 2, 1, 1, 1, 1)
  )
  hue += dice.uniform(-12, 12)
  first = _iris(dice.uniform(0.52, 0.68), dice.uniform(0.11, 0.18), hue)
  if not dice.chance(0.05):
    return first, first, hue
  other = _iris(dice.uniform(0.55, 0.7), 0.15, hue + dice.uniform(110, 250))
  return first, other, hue


def make_palette(seed: int) -> Palette:
  """The palette of an identity; deterministic in `seed`."""
  dice = Dice(seed, 'palette')
  hair_l, hair_c, hair_h = _sample(dice, _HAIR)
  skin_l, skin_c, skin_h = _sample(dice, _SKIN)
  hair = tone(hair_l, hair_c, hair_h)
  tip = hair.base
  if dice.chance(0.16):
    tip_hue = hair_h + dice.pick((60.0, -60.0, 160.0, 25.0))
    tip_l = min(max(hair_l + dice.uniform(-0.1, 0.2), 0.45), 0.88)
    tip = oklch(tip_l, max(hair_c, 0.11), tip_hue)
  left, right, eye_hue = _irises(dice, hair_h)
  cloth_hue = dice.pick((eye_hue, hair_h + 180, hair_h + 30, 260.0, 20.0))
  cloth_l, cloth_c = dice.pick(
    ((0.32, 0.05), (0.42, 0.10), (0.62, 0.12), (0.93, 0.012), (0.80, 0.07))
  )
  trim_l = 0.95 if cloth_l < 0.7 else dice.uniform(0.35, 0.5)
  trim_c = 0.012 if cloth_l < 0.7 else 0.09
  return Palette(
    skin=_skin_tone(skin_l, skin_c, skin_h),
    blush=oklch(skin_l - 0.13, skin_c + 0.075, 22),
    lip=oklch(skin_l - 0.2, skin_c + 0.08, 22),
    hair=hair,
    hair_tip=tip,
    iris_left=left,
    iris_right=right,
    lash=oklch(0.2 + 0.08 * hair_l, 0.04, hair_h),
    brow=oklch(0.2 + 0.22 * hair_l, 0.03 + 0.4 * hair_c, hair_h),
    white=Tone(
      (252, 252, 254), (212, 214, 232), (255, 255, 255), (90, 84, 104)
    ),
    mouth=oklch(0.42, 0.12, 20),
    tongue=oklch(0.70, 0.13, 18),
    cloth=tone(cloth_l, cloth_c, cloth_hue),
    trim=tone(trim_l, trim_c, cloth_hue + 20),
    accent=tone(
      dice.uniform(0.58, 0.78),
      dice.uniform(0.13, 0.19),
      dice.pick((eye_hue, eye_hue + 150, 25.0, 350.0, 90.0)),
    ),
    metal=dice.pick(
      (tone(0.8, 0.09, 88), tone(0.82, 0.01, 260), tone(0.3, 0.02, 300))
    ),
  )
