"""The picture that is animated: what is cut out of it, and what is refused."""

import hashlib

import numpy as np
import pytest
from PIL import Image

from edtn_jax.animation import source as source_lib
from edtn_jax.animation.source import SourceError, open_source
from edtn_jax.config import ConfigError


@pytest.fixture
def warned(monkeypatch):
  lines = []
  monkeypatch.setattr(
    source_lib.logging, 'warning', lambda text, *a: lines.append(text % a)
  )
  return lines


def _noise(width, height, channels=3):
  rng = np.random.default_rng(0)
  return rng.integers(0, 256, (height, width, channels), np.uint8)


def _figure(width, height, box):
  """A red rectangle on nothing."""
  pixels = np.zeros((height, width, 4), np.uint8)
  left, top, right, bottom = box
  pixels[top:bottom, left:right] = (200, 0, 0, 255)
  return Image.fromarray(pixels)


def _save(tmp_path, image, name='a.png', **options):
  image.save(tmp_path / name, **options)
  return tmp_path / name


def test_a_picture_of_the_right_size_comes_unchanged(tmp_path, warned):
  pixels = _noise(64, 64)
  path = _save(tmp_path, Image.fromarray(pixels))
  found = open_source(path, 64)
  np.testing.assert_array_equal(found.image, pixels)
  assert found.description == {
    'source': str(path),
    'source_sha256': hashlib.sha256(path.read_bytes()).hexdigest(),
    'picture_size': [64, 64],
    'crop': [0, 0, 64],
  }
  assert not warned


def test_without_transparency_the_middle_is_taken(tmp_path):
  pixels = _noise(100, 64)
  found = open_source(_save(tmp_path, Image.fromarray(pixels)), 64)
  assert found.crop == (18, 0, 64)
  np.testing.assert_array_equal(found.image, pixels[:, 18:82])


def test_a_crop_by_hand(tmp_path):
  pixels = _noise(100, 64)
  path = _save(tmp_path, Image.fromarray(pixels))
  found = open_source(path, 32, '68,32,32')
  np.testing.assert_array_equal(found.image, pixels[32:, 68:])


def test_scaling_is_antialiased(tmp_path):
  stripes = np.zeros((128, 128, 3), np.uint8)
  stripes[:, ::2] = 255
  found = open_source(_save(tmp_path, Image.fromarray(stripes)), 32)
  # The borders see one stripe more of one kind.
  assert np.abs(found.image[:, 2:-2].astype(int) - 127.5).max() < 2


@pytest.mark.parametrize(
  ('box', 'crop'),
  [
    # As drawn and rendered heads are framed: the whole picture stays.
    ((40, 44, 160, 200), (0, 0, 200)),
    # Small in its picture: the frame follows, and may stick out.
    ((10, 10, 70, 88), (-10, -12, 100)),
    # A whole body: cut where the square is as wide as a head's frame.
    ((70, 0, 136, 200), (43, -26, 120)),
  ],
)
def test_with_transparency_the_figure_is_framed(tmp_path, box, crop):
  path = _save(tmp_path, _figure(200, 200, box))
  found = open_source(path, 100)
  assert found.crop == crop
  left, top, _ = crop
  factor = 100 / crop[2]
  # A point in the figure and one above it.
  x = round(((box[0] + box[2]) / 2 - left) * factor)
  y = (box[1] - top) * factor
  np.testing.assert_allclose(found.image[round(y) + 4, x], (200, 0, 0), atol=3)
  np.testing.assert_allclose(found.image[round(y) - 4, x], 255, atol=3)


@pytest.mark.parametrize(
  ('largest', 'side'), [(0, 32), (32, 32), (64, 64), (200, 100), (45, 44)]
)
def test_a_larger_picture_is_kept_larger(tmp_path, largest, side):
  picture = _noise(101, 101)
  path = _save(tmp_path, Image.fromarray(picture))
  found = open_source(path, 32, '0,0,101', largest=largest)
  assert found.image.shape == (side, side, 3)
  scaled = Image.fromarray(picture).resize((side, side), Image.LANCZOS)
  np.testing.assert_array_equal(found.image, np.asarray(scaled))


def test_transparency_is_laid_on_white(tmp_path):
  pixels = np.full((64, 64, 4), (100, 200, 0, 255), np.uint8)
  pixels[:, 32:, 3] = 128
  found = open_source(_save(tmp_path, Image.fromarray(pixels)), 64, '0,0,64')
  np.testing.assert_array_equal(found.image[:, :32], pixels[:, :32, :3])
  wanted = 255 + (np.array([100, 200, 0]) - 255) * 128 / 255
  np.testing.assert_allclose(found.image[0, 40], wanted, atol=1)


@pytest.mark.parametrize('mode', ['1', 'L', 'LA', 'P', 'CMYK', 'RGBA'])
def test_modes_of_8_bits(tmp_path, mode):
  image = Image.new('RGB', (64, 64), (255, 255, 255))
  image.paste((0, 0, 0), (0, 0, 64, 32))
  name = 'a.tif' if mode == 'CMYK' else 'a.png'
  found = open_source(_save(tmp_path, image.convert(mode), name), 64)
  assert (found.image[:32] == 0).all()
  assert (found.image[32:] == 255).all()


def test_palette_with_a_transparent_colour(tmp_path):
  image = Image.new('P', (64, 64), 1)
  image.putpalette([9, 9, 9, 200, 0, 0])
  image.paste(0, (0, 0, 64, 20))
  path = _save(tmp_path, image, transparency=0)
  found = open_source(path, 64, '0,0,64')
  assert (found.image[:20] == 255).all()
  assert (found.image[20:] == (200, 0, 0)).all()


def test_exif_turns_it_upright(tmp_path):
  pixels = np.zeros((64, 100, 3), np.uint8)
  pixels[:, :32] = 255
  exif = Image.Exif()
  exif[0x0112] = 6  # Camera turned: the left side of the pixels is up.
  path = _save(tmp_path, Image.fromarray(pixels), exif=exif)
  found = open_source(path, 64, '0,0,64')
  assert found.picture_size == (64, 100)
  assert (found.image[:32] == 255).all()
  assert (found.image[32:] == 0).all()


def test_of_an_animation_the_first_frame(tmp_path, warned):
  frames = [Image.new('L', (64, 64), value) for value in (0, 255)]
  path = _save(
    tmp_path, frames[0], 'a.gif', save_all=True, append_images=frames[1:]
  )
  assert (open_source(path, 64).image == 0).all()
  assert warned == [f'{path}: has 2 frames; the first is animated']


def test_small_ones_are_enlarged_with_one_warning(tmp_path, warned):
  path = _save(tmp_path, Image.fromarray(_noise(40, 40)))
  assert open_source(path, 64).image.shape == (64, 64, 3)
  assert len(warned) == 1
  assert '40 pixels is enlarged to 64' in warned[0]


def test_what_cannot_be_animated_is_refused(tmp_path, monkeypatch):
  def refused(path, said):
    with pytest.raises(SourceError, match=said) as caught:
      open_source(path, 64)
    assert str(path) in str(caught.value)

  (tmp_path / 'text.png').write_text('no picture')
  (tmp_path / 'empty.png').write_bytes(b'')
  whole = _save(tmp_path, Image.fromarray(_noise(64, 64)))
  (tmp_path / 'cut.png').write_bytes(whole.read_bytes()[:3000])
  refused(tmp_path / 'none.png', 'no such file')
  refused(tmp_path, 'cannot be read')
  refused(tmp_path / 'text.png', 'no picture')
  refused(tmp_path / 'empty.png', 'no picture')
  refused(tmp_path / 'cut.png', 'damaged')
  refused(_save(tmp_path, Image.fromarray(_noise(8, 8)), 'b.png'), '8 pixels')
  deep = Image.fromarray(np.zeros((64, 64), np.uint16))
  refused(_save(tmp_path, deep, 'deep.png'), "mode 'I;16'")
  clear = Image.fromarray(np.zeros((64, 64, 4), np.uint8))
  refused(_save(tmp_path, clear, 'clear.png'), 'opaque')
  monkeypatch.setattr(source_lib, 'MAX_PIXELS', 1000)
  refused(whole, '64x64: has more than')


@pytest.mark.parametrize(
  'crop', ['1,2', 'a,0,32', '0,0,65', '-1,0,32', '40,0,32', '0,0,0', '1.5,0,9']
)
def test_a_crop_must_lie_inside(tmp_path, crop):
  path = _save(tmp_path, Image.fromarray(_noise(64, 64)))
  with pytest.raises(ConfigError) as caught:
    open_source(path, 64, crop)
  (problem,) = caught.value.problems
  assert (problem.key, problem.value) == ('crop', crop)
  assert '64x64' in problem.rule
