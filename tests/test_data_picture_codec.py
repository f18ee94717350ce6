import io

import numpy as np
import pytest
from PIL import Image

from data import anime_tree, files, picture_codec


def encoded(picture, image_format='PNG', **options):
  buffer = io.BytesIO()
  picture.save(buffer, image_format, **options)
  return buffer.getvalue()


def random_rgba():
  rng = np.random.default_rng(0)
  picture = rng.integers(1, 256, (9, 7, 4), np.uint8)
  picture[:3, :, 3] = 0
  return picture


def test_png_files_keep_their_bytes():
  content = encoded(Image.fromarray(random_rgba()), optimize=True)
  assert picture_codec.transcode(content, 'png') == (content, (7, 9))


@pytest.mark.parametrize('image_format', ['png', 'webp'])
def test_lossless_formats_keep_what_is_seen(image_format):
  picture = random_rgba()
  source = 'TIFF' if image_format == 'png' else 'PNG'
  content = encoded(Image.fromarray(picture), source)
  found, size = picture_codec.transcode(content, image_format)
  assert size == (7, 9)
  with Image.open(io.BytesIO(found)) as opened:
    assert opened.format.lower() == image_format
  decoded = anime_tree.decode_picture(found)
  np.testing.assert_array_equal(decoded[..., 3], picture[..., 3])
  np.testing.assert_array_equal(decoded[3:], picture[3:])


def test_jpeg_is_on_white():
  picture = np.zeros((16, 16, 4), np.uint8)
  picture[8:] = [200, 40, 40, 255]
  found, _ = picture_codec.transcode(encoded(Image.fromarray(picture)), 'jpeg')
  decoded = anime_tree.decode_picture(found)
  assert (decoded[..., 3] == 255).all()
  np.testing.assert_allclose(decoded[:7, :, :3], 255, atol=3)
  np.testing.assert_allclose(decoded[9:, 4, :3], [[200, 40, 40]] * 7, atol=3)


def test_put_on_equals_on_white():
  picture = random_rgba()
  np.testing.assert_array_equal(
    np.asarray(picture_codec.put_on(Image.fromarray(picture))),
    anime_tree.on_white(picture),
  )
  on_color = picture_codec.put_on(Image.fromarray(picture), (1, 2, 3))
  np.testing.assert_array_equal(np.asarray(on_color)[:3], [[[1, 2, 3]] * 7] * 3)
  plain = Image.fromarray(picture[..., :3])
  np.testing.assert_array_equal(
    np.asarray(picture_codec.put_on(plain, (1, 2, 3))), picture[..., :3]
  )


def test_palette_pictures_keep_their_transparency():
  picture = Image.new('P', (2, 1))
  picture.putpalette([10, 20, 30, 40, 50, 60])
  picture.putpixel((1, 0), 1)
  content = encoded(picture, transparency=0)
  found, _ = picture_codec.transcode(content, 'webp')
  np.testing.assert_array_equal(
    anime_tree.on_white(anime_tree.decode_picture(found)),
    [[[255, 255, 255], [40, 50, 60]]],
  )


@pytest.mark.parametrize('damage', ['cut', 'text', 'empty'])
def test_damage_is_named_the_same_every_time(damage):
  whole = encoded(Image.fromarray(random_rgba()))
  content = {'cut': whole[:80], 'text': b'no picture', 'empty': b''}[damage]
  messages = []
  for _ in range(2):
    with pytest.raises(files.BrokenFileError, match=r'a\.png: not') as caught:
      picture_codec.transcode(content, 'webp', 'a.png')
    messages.append(str(caught.value))
  assert messages[0] == messages[1]


def test_formats_are_checked():
  assert picture_codec.check_image_format('webp') == ''
  assert 'png, webp, jpeg' in picture_codec.check_image_format('bmp')
