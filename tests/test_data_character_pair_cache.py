"""Pairs drawn at once: by any number of processes the same."""

import os

import numpy as np
import pytest

from data import character_pair_cache, pairs
from data.character_pairs import CharacterPairs

OPTIONS = pairs.PairOptions(size=32, seed=3)


def draw(seeds, **changes):
  settings = {
    'rotated_fraction': 0.5,
    'styles': ('flat', 'cel'),
    'with_flow': False,
    'num_processes': 1,
    **changes,
  }
  return character_pair_cache.draw_pairs(seeds, 2, OPTIONS, **settings)


def test_every_character_comes_as_often():
  drawn = draw(range(7, 10), with_flow=True)
  assert sorted(drawn['identity']) == [7, 7, 8, 8, 9, 9]
  assert drawn['source_image'].shape == (6, 32, 32, 3)
  assert drawn['flow'].shape == (6, 8, 8, 2)
  source = CharacterPairs(
    range(7, 10), OPTIONS, styles=('flat', 'cel'), with_flow=True
  )
  for name, values in drawn.items():
    np.testing.assert_array_equal(values[4], source[4][name])


def test_groups_have_poses_of_their_own(monkeypatch):
  monkeypatch.setattr(character_pair_cache, '_GROUP', 2)
  drawn = draw(range(4))
  assert len(np.unique(drawn['source_pose'], axis=0)) == 8


@pytest.mark.slow
def test_processes_draw_the_same(monkeypatch):
  monkeypatch.setattr(character_pair_cache, '_GROUP', 1)
  monkeypatch.delenv('OMP_NUM_THREADS', raising=False)
  before = dict(os.environ)
  alone, together = draw(range(2)), draw(range(2), num_processes=2)
  for name, values in alone.items():
    np.testing.assert_array_equal(values, together[name])
  assert dict(os.environ) == before
