"""Measures of the encoder's check, by hand."""

import numpy as np

from data.pose_vector import NUM_COEFFICIENTS, POSE_INDEX
from launch import check_encoder


def test_closure_adds_both_ways_of_closing_an_eye():
  coefficients = np.zeros((3, NUM_COEFFICIENTS))
  coefficients[1, POSE_INDEX['eye_wink_left']] = 0.5
  coefficients[1, POSE_INDEX['eye_happy_wink_left']] = 0.25
  coefficients[2, POSE_INDEX['eye_wink_right']] = 0.75
  coefficients[2, POSE_INDEX['eye_happy_wink_right']] = 0.75
  left = check_encoder.closure(coefficients, 'left')
  right = check_encoder.closure(coefficients, 'right')
  np.testing.assert_allclose(left, [0, 0.75, 0])
  np.testing.assert_allclose(right, [0, 0, 1])


def test_correlation_leaves_out_what_is_not_known():
  one = np.array([0, 1, np.nan, 2, 9])
  other = np.array([1, 3, 5, 5, np.nan])
  assert check_encoder.correlation(one, other) == 1
  assert check_encoder.correlation(one, -other) == -1


def test_curves_are_drawn():
  drawn = check_encoder.draw_curves(
    {'pitch': {'a': np.arange(3.0), 'b': np.ones(2)}, 'jaw': {'a': np.ones(3)}}
  )
  assert [axes.get_ylabel() for axes in drawn.axes] == ['pitch', 'jaw']
  [one, other] = drawn.axes[0].lines
  np.testing.assert_array_equal(one.get_ydata(), [0, 1, 2])
  assert len(other.get_xdata()) == 2
