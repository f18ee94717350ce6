"""Puts pictures side by side, with titles, and into sheets."""

from __future__ import annotations

import collections.abc

import numpy as np
from PIL import Image, ImageDraw

from edtn_jax.pictures import style

Picture = np.ndarray | Image.Image

_TITLE_HEIGHT = 26
_GAP = 8


def to_image(picture: Picture) -> Image.Image:
  """An RGB picture from an array or a picture.

  Args:
    picture: [H, W, 3] uint8 array, or a picture of any mode; transparency is
      laid on the paper colour.

  Returns:
    An RGB picture.

  Raises:
    ValueError: if an array is not [H, W, 3] uint8.
  """
  if isinstance(picture, Image.Image):
    if picture.mode == 'RGB':
      return picture
    rgba = picture.convert('RGBA')
    paper = Image.new('RGBA', rgba.size, (*style.PAPER, 255))
    return Image.alpha_composite(paper, rgba).convert('RGB')
  if picture.dtype != np.uint8 or picture.ndim != 3 or picture.shape[2] != 3:
    raise ValueError(
      f'picture is {picture.dtype} {picture.shape}, wanted uint8 [H, W, 3]'
    )
  return Image.fromarray(picture)


def fit_square(picture: Picture, size: int) -> Image.Image:
  """Scales a picture to fill a square; what sticks out is cut off evenly.

  Args:
    picture: any size.
    size: side of the result, pixels.

  Returns:
    A size x size RGB picture.
  """
  image = to_image(picture)
  side = min(image.size)
  left, top = (image.width - side) / 2, (image.height - side) / 2
  return image.resize(
    (size, size),
    Image.Resampling.LANCZOS,
    box=(left, top, left + side, top + side),
    reducing_gap=3.0,
  )


def side_by_side(
  pictures: collections.abc.Sequence[Picture],
  titles: collections.abc.Sequence[str] = (),
) -> Image.Image:
  """Sets pictures of equal height in a row, each under its title.

  Args:
    pictures: at least one, all of one height.
    titles: one a picture, or none at all.

  Returns:
    One RGB picture on paper colour with a margin all round.

  Raises:
    ValueError: if heights or the number of titles differ.
  """
  images = [to_image(picture) for picture in pictures]
  heights = {image.height for image in images}
  if len(heights) != 1:
    raise ValueError(f'pictures differ in height: {sorted(heights)}')
  if titles and len(titles) != len(images):
    raise ValueError(f'{len(images)} pictures but {len(titles)} titles')
  top = _TITLE_HEIGHT if titles else _GAP
  width = sum(image.width for image in images) + _GAP * (len(images) + 1)
  sheet = style.blank(width, heights.pop() + top + _GAP)
  draw = ImageDraw.Draw(sheet)
  x = _GAP
  for i, image in enumerate(images):
    sheet.paste(image, (x, top))
    if titles:
      middle = x + image.width / 2
      draw.text(
        (middle, top / 2 + 1),
        titles[i],
        style.MUTED,
        style.font(13),
        anchor='mm',
      )
    x += image.width + _GAP
  return sheet


def contact_sheet(
  pictures: collections.abc.Sequence[Picture],
  labels: collections.abc.Sequence[str],
  *,
  columns: int,
  label_colors: collections.abc.Sequence[style.Color] | None = None,
) -> Image.Image:
  """Arranges pictures of one size in a grid, each above its label.

  Args:
    pictures: at least one, all of one size.
    labels: one a picture.
    columns: pictures a row, >= 1.
    label_colors: one a picture; ink when None.

  Returns:
    One RGB picture, filled row by row.

  Raises:
    ValueError: if sizes or counts differ.
  """
  images = [to_image(picture) for picture in pictures]
  if len({image.size for image in images}) != 1:
    raise ValueError('a contact sheet wants pictures of one size')
  colors = label_colors or [style.INK] * len(images)
  if not len(images) == len(labels) == len(colors):
    raise ValueError(
      f'{len(images)} pictures, {len(labels)} labels, {len(colors)} colours'
    )
  width, height = images[0].size
  cell_width, cell_height = width + _GAP, height + _TITLE_HEIGHT
  rows = -(-len(images) // columns)
  sheet = style.blank(columns * cell_width + _GAP, rows * cell_height + _GAP)
  draw = ImageDraw.Draw(sheet)
  # The largest type in which every label fits its picture's width.
  font = next(
    (
      style.font(size)
      for size in (13, 12, 11, 10, 9)
      if max(map(style.font(size).getlength, labels)) <= width
    ),
    style.font(8),
  )
  for i, image in enumerate(images):
    x = _GAP + i % columns * cell_width
    y = _GAP + i // columns * cell_height
    sheet.paste(image, (x, y))
    draw.text(
      (x + width / 2, y + height + (_TITLE_HEIGHT - _GAP) / 2 + 1),
      labels[i],
      colors[i],
      font,
      anchor='mm',
    )
  return sheet
