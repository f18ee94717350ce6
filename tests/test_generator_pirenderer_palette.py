"""Colours that are taken from a picture, by hand."""

import dataclasses

import numpy as np
import pytest

from generator.pirenderer.config import TINY
from generator.pirenderer.palette import TINT_START, num_channels, paint

SURE = 50.0


@pytest.fixture
def picture():
  rng = np.random.default_rng(0)
  return rng.random((2, 4, 4, 3)).astype(np.float32)


def test_paint_by_hand(picture):
  assert num_channels(2) == 4
  tint = np.full((2, 4, 4, 3), SURE, np.float32)
  # What is left: all, half, nothing.
  tint[:, 3] = SURE, -TINT_START, -SURE
  maps = np.zeros((2, 4, 4, 4), np.float32)
  # The first colour is that of one pixel, the second the mean of two.
  maps[:, 1, 2, 0] = SURE
  maps[:, 0, 0, 1] = maps[:, 3, 3, 1] = SURE
  # Row 0 is painted in the first, row 1 in the second, row 2 in half of each,
  # row 3 in the first, tinted.
  maps[:, 0, :, 2] = SURE
  maps[:, 1, :, 3] = SURE
  maps[:, 2, :, 2:4] = SURE
  maps[:, 3, :, 2] = SURE
  found = np.asarray(paint(tint, maps, picture))
  first = picture[:, 1, 2]
  second = (picture[:, 0, 0] + picture[:, 3, 3]) / 2
  colors = (first, second, (first + second) / 2, first * (1, 0.5, 0))
  for row, color in enumerate(colors):
    wanted = np.broadcast_to(color[:, None], (2, 4, 3))
    np.testing.assert_allclose(found[:, row], wanted, atol=1e-6)


def test_another_picture_has_other_colors(picture):
  """What norms would take away: the same picture, darker by a fifth."""
  maps = np.random.default_rng(1).standard_normal((2, 4, 4, 6))
  bright, dark = (
    paint(np.full_like(picture, SURE), maps, x)
    for x in (picture, picture - 0.2)
  )
  np.testing.assert_allclose(bright - dark, 0.2, atol=1e-5)


@pytest.mark.parametrize(
  ('changes', 'problem'),
  [({'palette': 4}, 'set blend = True'), ({'palette': -1}, 'at least 0')],
)
def test_wrong_sizes_are_refused(changes, problem):
  with pytest.raises(ValueError, match=problem):
    dataclasses.replace(TINY, **changes)
