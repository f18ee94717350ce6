"""Colours and type of every picture, in one place."""

from __future__ import annotations

import functools

from PIL import Image, ImageFont

Color = tuple[int, int, int]

PAPER: Color = (251, 250, 248)
INK: Color = (34, 38, 46)
MUTED: Color = (118, 124, 136)
TRACK: Color = (232, 230, 225)
MESH_BACKGROUND: Color = (241, 240, 237)

# One colour for each group of pose numbers (data/pose_vector.py).
GROUP_COLORS: dict[str, Color] = {
  'eye': (46, 112, 178),
  'eyebrow': (208, 132, 34),
  'mouth': (192, 62, 100),
  'head': (98, 88, 160),
}

# Everything that is drawn flat; GIF palettes hold these exactly.
FLAT_COLORS: tuple[Color, ...] = (
  PAPER,
  INK,
  MUTED,
  TRACK,
  MESH_BACKGROUND,
  *GROUP_COLORS.values(),
)


@functools.cache
def font(size: float) -> ImageFont.FreeTypeFont:
  """The typeface that Pillow carries; needs no system font."""
  return ImageFont.load_default(size=size)


def hex_color(color: Color) -> str:
  """Writes a colour as CSS does, e.g. `#2e70b2`."""
  return '#{:02x}{:02x}{:02x}'.format(*color)


def blank(width: int, height: int, color: Color = PAPER) -> Image.Image:
  """An RGB picture of one colour."""
  return Image.new('RGB', (width, height), color)
