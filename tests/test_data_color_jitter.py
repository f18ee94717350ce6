import numpy as np
import pytest
from PIL import Image

from data import color_jitter


def apply(rgb, draws, strength=0.1):
  matrix = color_jitter.color_matrix(np.array(draws, float), strength)
  assert matrix.shape == (3, 4)
  return matrix[:, :3] @ np.array(rgb, float) + matrix[:, 3]


COLORS = ([0, 0, 0], [255, 255, 255], [200, 40, 90], [12, 240, 131])


@pytest.mark.parametrize('rgb', COLORS)
def test_nothing_drawn_changes_nothing(rgb):
  np.testing.assert_allclose(apply(rgb, [0, 0, 0, 0]), rgb, atol=1e-9)
  np.testing.assert_allclose(apply(rgb, [1, -1, 1, 1], 0), rgb, atol=1e-9)


@pytest.mark.parametrize('rgb', COLORS)
def test_brightness_is_a_factor(rgb):
  np.testing.assert_allclose(
    apply(rgb, [1, 0, 0, 0]), 1.1 * np.array(rgb), atol=1e-9
  )


def test_contrast_is_about_mid_grey():
  np.testing.assert_allclose(apply([127.5] * 3, [0, 1, 0, 0]), 127.5)
  # 127.5 + 0.9 * (227.5 - 127.5)
  np.testing.assert_allclose(apply([227.5] * 3, [0, -1, 0, 0]), 217.5)


def test_saturation_moves_colors_from_their_grey():
  rgb = np.array([200.0, 40.0, 90.0])
  grey = rgb @ [0.299, 0.587, 0.114]
  np.testing.assert_allclose(
    apply(rgb, [0, 0, 1, 0]), grey + 1.1 * (rgb - grey), atol=1e-9
  )


@pytest.mark.parametrize('rgb', COLORS)
def test_hue_keeps_lightness(rgb):
  luma = np.array([0.299, 0.587, 0.114])
  turned = apply(rgb, [0, 0, 0, 1])
  np.testing.assert_allclose(turned @ luma, luma @ rgb, atol=1e-9)
  # Five turns by 36 degrees are half a turn: the complement of the same grey.
  for _ in range(4):
    turned = apply(turned, [0, 0, 0, 1])
  grey = luma @ rgb
  np.testing.assert_allclose(turned, 2 * grey - np.array(rgb), atol=1e-9)
  back = apply(apply(rgb, [0, 0, 0, 1]), [0, 0, 0, -1])
  np.testing.assert_allclose(back, rgb, atol=1e-9)


def test_greys_stay_grey():
  changed = apply([100, 100, 100], [0.3, -0.6, 1, 1])
  np.testing.assert_allclose(changed, changed[0])


def test_pillow_applies_it():
  rng = np.random.default_rng(0)
  rgb = rng.integers(0, 256, (5, 6, 3), np.uint8)
  matrix = color_jitter.color_matrix(np.array([1, 0.5, -1, 0.7]), 0.1)
  picture = Image.fromarray(rgb).convert('RGB', tuple(matrix.ravel()))
  expected = np.clip(rgb @ matrix[:, :3].T + matrix[:, 3], 0, 255)
  assert np.abs(np.asarray(picture) - expected).max() < 0.51
