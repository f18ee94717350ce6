"""Colours that are taken from a picture, by hand."""

import dataclasses

import numpy as np
import pytest

from generator.pirenderer.config import TINY
from generator.pirenderer.palette import num_channels, paint

SURE = 50.0


@pytest.fixture
def picture():
  rng = np.random.default_rng(0)
  return rng.random((2, 4, 4, 3)).astype(np.float32)


def test_paint_by_hand(picture):
  assert num_channels(2) == 5
  own = np.full((2, 4, 4, 3), 0.25, np.float32)
  maps = np.zeros((2, 4, 4, 5), np.float32)
  # The first colour is that of one pixel, the second the mean of two.
  maps[:, 1, 2, 0] = SURE
  maps[:, 0, 0, 1] = maps[:, 3, 3, 1] = SURE
  # Row 0 is painted in the first, row 1 in the second, row 2 in half of each,
  # row 3 in what the network makes up.
  maps[:, 0, :, 2] = SURE
  maps[:, 1, :, 3] = SURE
  maps[:, 2, :, 2:4] = SURE
  maps[:, 3, :, 4] = SURE
  found = np.asarray(paint(own, maps, picture))
  first = picture[:, 1, 2]
  second = (picture[:, 0, 0] + picture[:, 3, 3]) / 2
  for row, color in enumerate(
    (first, second, (first + second) / 2, own[:, 0, 0])
  ):
    wanted = np.broadcast_to(color[:, None], (2, 4, 3))
    np.testing.assert_allclose(found[:, row], wanted, atol=1e-6)


def test_another_picture_has_other_colors(picture):
  """What norms would take away: the same picture, darker by a fifth."""
  maps = np.random.default_rng(1).standard_normal((2, 4, 4, 7))
  own = np.zeros_like(picture)
  bright, dark = (paint(own, maps, x) for x in (picture, picture - 0.2))
  shares = np.exp(maps[..., 3:])
  shares /= shares.sum(-1, keepdims=True)
  change = 0.2 * shares[..., :-1].sum(-1, keepdims=True)
  np.testing.assert_allclose(
    bright - dark, np.broadcast_to(change, own.shape), atol=1e-5
  )


@pytest.mark.parametrize(
  ('changes', 'problem'),
  [({'palette': 4}, 'set blend = True'), ({'palette': -1}, 'at least 0')],
)
def test_wrong_sizes_are_refused(changes, problem):
  with pytest.raises(ValueError, match=problem):
    dataclasses.replace(TINY, **changes)
