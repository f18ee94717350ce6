"""The contact sheet of `launch.check_characters`."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from PIL import Image, ImageDraw

from data.facemesh import mesh

_TILE = 160
_COLUMNS = 4
_POINT = (220, 0, 40)
_FAILED = (255, 0, 0)


def tile(
  picture: np.ndarray, region: mesh.Region, points: np.ndarray
) -> Image.Image:
  """A part of a picture, small, with landmarks.

  Args:
    picture: [H, W, 3] uint8 RGB.
    region: an upright square.
    points: [n, 2] x, y in pixels of the picture.

  Returns:
    The tile.
  """
  small = Image.fromarray(mesh.crop(picture, region, _TILE))
  placed = ((points - region.center) / region.side + 0.5) * _TILE
  ImageDraw.Draw(small).point([tuple(p) for p in placed], fill=_POINT)
  return small


def mark(picture: Image.Image, label: str, *, failed: bool) -> None:
  """Writes into a tile's corner, and frames it in red if it failed."""
  draw = ImageDraw.Draw(picture)
  draw.text((4, 2), label, fill=(0, 0, 0))
  if failed:
    edge = _TILE - 1
    draw.rectangle((0, 0, edge, edge), outline=_FAILED, width=3)


def sheet(groups: Sequence[Sequence[Image.Image]]) -> Image.Image:
  """Groups of tiles, four groups in a row.

  Args:
    groups: of equal length, one or more.

  Returns:
    The page.
  """
  columns = min(_COLUMNS, len(groups))
  shown = len(groups[0])
  rows = -(-len(groups) // columns)
  page = Image.new('RGB', (columns * shown * _TILE, rows * _TILE), 'white')
  for number, tiles in enumerate(groups):
    row, column = divmod(number, columns)
    for place, one in enumerate(tiles):
      page.paste(one, ((column * shown + place) * _TILE, row * _TILE))
  return page
