"""Pearson's correlation by hand."""

import numpy as np
import pytest

from launch.correlation import correlation


def test_by_hand():
  ramp = np.array([1.0, 2, 3])
  assert correlation(ramp, 2 * ramp) == pytest.approx(1)
  assert correlation(ramp, -ramp) == pytest.approx(-1)
  assert correlation(ramp, np.array([1.0, 0, 1])) == pytest.approx(0)


def test_what_is_not_known_is_left_out():
  one = np.array([0, 1, np.nan, 2, 9])
  other = np.array([1, 3, 5, 5, np.nan])
  assert correlation(one, other) == pytest.approx(1)


def test_none_where_there_is_nothing_to_compare():
  assert correlation(np.ones(3), np.arange(3.0)) is None
  assert correlation(np.ones(1), np.ones(1)) is None
  unknown = np.full(3, np.nan)
  assert correlation(unknown, np.arange(3.0)) is None
  assert correlation(np.array([1.0, 2, np.nan]), np.array([3, 3, 4])) is None
