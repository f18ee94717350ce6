"""Encoded pictures of a data set: which formats, and what they keep."""

from __future__ import annotations

import io

from PIL import Image

from data import anime_tree

# png: lossless; PNG files keep their bytes.
# webp: lossless but for the colour of what is wholly transparent; half the
#   size of PNG, half the time to decode, five times the time to encode.
# jpeg: on white, without alpha; loses sharpness at lines.
IMAGE_FORMATS = ('png', 'webp', 'jpeg')

_ENCODERS = {
  'png': {'format': 'PNG'},
  'webp': {'format': 'WEBP', 'lossless': True, 'method': 4, 'quality': 75},
  # Full colour resolution: coloured lines are thin.
  'jpeg': {'format': 'JPEG', 'quality': 95, 'subsampling': 0},
}


def check_image_format(image_format: str) -> str:
  """What is wrong with the name of a format; empty if nothing is."""
  if image_format in IMAGE_FORMATS:
    return ''
  return (
    f'image_format is {image_format!r}, wanted one of '
    f'{", ".join(IMAGE_FORMATS)}'
  )


def has_alpha(picture: Image.Image) -> bool:
  """Whether a picture may be transparent somewhere."""
  return 'A' in picture.getbands() or 'transparency' in picture.info


def put_on(
  picture: Image.Image, color: tuple[int, int, int] = (255, 255, 255)
) -> Image.Image:
  """Puts a picture on one colour.

  Args:
    picture: of any mode, alpha not premultiplied.
    color: RGB.

  Returns:
    An RGB picture; on white equal to `anime_tree.on_white`.
  """
  if not has_alpha(picture):
    return picture.convert('RGB')
  if picture.mode != 'RGBA':
    picture = picture.convert('RGBA')
  canvas = Image.new('RGB', picture.size, color)
  box = picture.getbbox()
  if box:  # Half of a picture is empty, and costs nothing then.
    part = picture.crop(box)
    canvas.paste(part, box, mask=part)
  return canvas


def transcode(
  content: bytes, image_format: str, name: str = 'picture'
) -> tuple[bytes, tuple[int, int]]:
  """Checks the bytes of a picture file and brings them into a format.

  Args:
    content: of a picture file of any format.
    image_format: one of `IMAGE_FORMATS`.
    name: what an error calls it.

  Returns:
    The bytes in the format, and (width, height).

  Raises:
    files.BrokenFileError: if it is no picture, cut short or damaged.
  """
  try:
    with Image.open(io.BytesIO(content)) as picture:
      picture.load()
      if picture.format == 'PNG' and image_format == 'png':
        return content, picture.size
      if image_format == 'jpeg':
        picture = put_on(picture)
      else:
        picture = picture.convert('RGBA' if has_alpha(picture) else 'RGB')
      buffer = io.BytesIO()
      picture.save(buffer, **_ENCODERS[image_format])
      return buffer.getvalue(), picture.size
  except anime_tree.PICTURE_ERRORS as error:
    raise anime_tree.broken_picture(name, error) from error
