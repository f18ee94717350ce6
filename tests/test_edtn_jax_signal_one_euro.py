"""The one-euro filter against hand-computed steps and its promises."""

import numpy as np
import pytest

from edtn_jax.signal import pose
from edtn_jax.signal.one_euro import OneEuroFilter, smoothing_factor

# With this cutoff 2 * pi * cutoff equals a frame rate of 10: every factor of a
# resting signal is exactly 1 / (1 + 1) = 0.5.
HALF = 10.0 / (2.0 * np.pi)


def _column(values):
  return np.array(values, np.float64)[:, None]


def test_smoothing_factor_by_hand():
  np.testing.assert_allclose(smoothing_factor(HALF, 10.0), 0.5, rtol=1e-15)
  # tau = 1 / (2 pi), times 25 frames a second.
  np.testing.assert_allclose(
    smoothing_factor(1.0, 25.0), 1 / (1 + 25 / (2 * np.pi)), rtol=1e-15
  )


def test_three_steps_by_hand_without_beta():
  smooth = OneEuroFilter(
    10.0, min_cutoff=HALF, beta=0.0, derivative_cutoff=HALF
  )
  got = smooth(_column([0.0, 1.0, 1.0, 0.0]))
  np.testing.assert_allclose(got[:, 0], [0, 0.5, 0.75, 0.375], rtol=1e-14)


def test_steps_by_hand_with_beta():
  # Frame 1: speed (1 - 0) * 10 = 10, smoothed 5; the cutoff is
  # HALF + 3 * HALF / 5 * 5 = 4 * HALF, so the factor 4 / (4 + 1) = 0.8.
  # Frame 2: speed (1 - 0.8) * 10 = 2, smoothed (2 + 5) / 2 = 3.5; cutoff
  # HALF * (1 + 2.1) = 3.1 HALF, factor 3.1 / 4.1.
  smooth = OneEuroFilter(
    10.0, min_cutoff=HALF, beta=3 * HALF / 5, derivative_cutoff=HALF
  )
  got = smooth(_column([0.0, 1.0, 1.0]))
  np.testing.assert_allclose(
    got[:, 0], [0, 0.8, 0.8 + 0.2 * 3.1 / 4.1], rtol=1e-13
  )


@pytest.mark.parametrize('dtype', [np.float32, np.float64])
@pytest.mark.parametrize('cuts', [[1], [3, 3, 10], [0, 20, 39]])
def test_chunks_equal_whole_bit_for_bit(cuts, dtype):
  signal = np.random.default_rng(0).random((40, 5)).astype(dtype)
  settings = {'min_cutoff': [1, 2, 3, 4, 5], 'beta': 2.0}
  whole = OneEuroFilter(25.0, **settings)(signal)
  smooth = OneEuroFilter(25.0, **settings)
  pieces = [smooth(chunk) for chunk in np.split(signal, cuts)]
  assert whole.dtype == dtype
  assert np.concatenate(pieces).tobytes() == whole.tobytes()


def test_disabled_channels_pass_exactly():
  signal = np.random.default_rng(1).random((30, 3))
  got = OneEuroFilter(25.0, enabled=[True, False, True])(signal)
  assert got[:, 1].tobytes() == signal[:, 1].tobytes()
  assert np.abs(got[1:, 0] - signal[1:, 0]).max() > 0.1


def test_reset_starts_anew():
  smooth = OneEuroFilter(25.0)
  first = smooth(_column([0.0, 1.0, 0.5]))
  smooth.reset()
  np.testing.assert_array_equal(smooth(_column([0.0, 1.0, 0.5])), first)


def test_constant_stays_and_range_is_kept():
  np.testing.assert_allclose(
    OneEuroFilter(25.0, beta=9.0)(np.full((9, 2), 0.3)), 0.3, rtol=1e-15
  )
  signal = np.random.default_rng(2).random((200, 4))
  got = OneEuroFilter(25.0, beta=5.0)(signal)
  assert got.min() >= signal.min()
  assert got.max() <= signal.max()


def test_delay_on_a_ramp_is_as_documented():
  # A slow ramp ends (1 - a) / a = frame_rate / (2 pi cutoff) frames late.
  ramp = _column(np.arange(200) * 1e-3)
  got = OneEuroFilter(25.0, min_cutoff=1.0, beta=0.0)(ramp)
  lag = (ramp[-1, 0] - got[-1, 0]) / 1e-3
  np.testing.assert_allclose(lag, 25 / (2 * np.pi), rtol=1e-6)


@pytest.mark.parametrize('blink', [[0.5, 1, 0.5], [1, 1, 1]])
@pytest.mark.parametrize('depth', [0.5, 1.0])
def test_a_three_frame_blink_keeps_its_depth_at_the_defaults(blink, depth):
  signal = np.zeros((40, 20))
  signal[20:23] = depth * np.array(blink)[:, None]
  got = pose.make_smoothing(25.0)(signal)
  assert got[:, 0].max() >= 0.8 * depth
  assert got[:, 0].argmax() <= 23


def test_noise_at_rest_falls_fivefold_at_the_defaults():
  noise = np.random.default_rng(3).standard_normal((2000, 20))
  scale = np.full(20, 0.01)
  scale[17:] = 0.3  # degrees
  signal = 0.4 + noise * scale
  got = pose.make_smoothing(25.0)(signal)
  before = np.abs(np.diff(signal, axis=0)).mean(0)
  after = np.abs(np.diff(got[20:], axis=0)).mean(0)
  assert (before / after).min() >= 5.0


@pytest.mark.parametrize(('hertz', 'size'), [(0.5, 0.1), (1, 0.1), (2, 0.3)])
def test_motion_comes_at_most_two_frames_late_at_the_defaults(hertz, size):
  times = np.arange(400) / 25
  wave = np.sin(2 * np.pi * hertz * times)[:, None]
  signal = 0.5 + wave * np.where(np.arange(20) < 17, size, 40 * size)
  got = pose.make_smoothing(25.0)(signal)
  # Phase of the first harmonic, after the filter has settled.
  probe = np.exp(-2j * np.pi * hertz * times[100:])
  phase = np.angle((probe @ got[100:]) / (probe @ signal[100:]))
  delay = -phase / (2 * np.pi * hertz) * 25
  assert delay.min() > 0
  assert delay.max() <= 2.0


def test_wrong_parameters_are_named_together():
  with pytest.raises(ValueError, match='frame_rate is 0') as error:
    OneEuroFilter(0, min_cutoff=-1, beta=-2, derivative_cutoff=0)
  for name in ('min_cutoff', 'beta', 'derivative_cutoff'):
    assert name in str(error.value)


def test_wrong_input_is_refused():
  smooth = OneEuroFilter(25.0)
  with pytest.raises(ValueError, match='NaN'):
    smooth(_column([np.nan]))
  with pytest.raises(ValueError, match=r'wanted \[T, C\]'):
    smooth(np.zeros(3))
  smooth(np.zeros((1, 3)))
  with pytest.raises(ValueError, match='earlier ones had 3'):
    smooth(np.zeros((1, 4)))
