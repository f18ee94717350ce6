"""The one-euro filter: steady at rest, quick in motion.

Source: Casiez, Roussel and Vogel, "1 euro filter: a simple speed-based
low-pass filter for noisy input in interactive systems" (CHI 2012),
algorithms 1 to 3.
"""

from __future__ import annotations

import numpy as np


def smoothing_factor(cutoff_hz, frame_rate: float) -> np.ndarray:
  """Weight of the new sample in a first-order low-pass filter.

  Args:
    cutoff_hz: cutoff frequency, scalar or [C], Hz, > 0.
    frame_rate: samples a second, > 0.

  Returns:
    `1 / (1 + tau * frame_rate)` with `tau = 1 / (2 * pi * cutoff)`, in (0, 1)
    (algorithm 3 of the paper).
  """
  cutoff_hz = np.asarray(cutoff_hz, np.float64)
  return 1.0 / (1.0 + frame_rate / (2.0 * np.pi * cutoff_hz))


class OneEuroFilter:
  """Smooths [T, C] signals frame by frame with a speed-dependent cutoff.

  The cutoff is `min_cutoff + beta * |speed|`, where speed (units a second) is
  itself low-passed at `derivative_cutoff`. The first frame passes unchanged.
  Outputs are convex combinations of inputs, so no range is ever left.

  Delay: with smoothing factor `a`, a slow ramp comes out `(1 - a) / a` frames
  late, which is `frame_rate / (2 * pi * cutoff)`. At 25 frames a second that is
  4 frames at a cutoff of 1 Hz, 1 at 4 Hz, 0.4 at 10 Hz: a still signal is
  averaged over several frames, a moving one follows within a frame. No frame
  is ever held back, so the filter adds no latency of its own.

  Calling it chunk by chunk gives the same bits as calling it once.

  Example:
    >>> smooth = OneEuroFilter(25.0, min_cutoff=1.0, beta=2.0)
    >>> first = smooth(np.zeros((10, 3)))
    >>> second = smooth(np.ones((5, 3)))  # goes on where `first` ended

  Attributes:
    frame_rate: samples a second.
  """

  def __init__(
    self,
    frame_rate: float,
    *,
    min_cutoff=1.0,
    beta=0.0,
    derivative_cutoff=1.0,
    enabled=True,
  ):
    """Makes a filter without state.

    Args:
      frame_rate: samples a second, > 0.
      min_cutoff: cutoff of a signal at rest, scalar or [C], Hz, > 0.
      beta: how much the cutoff rises with speed, scalar or [C], Hz per (unit
        a second), >= 0.
      derivative_cutoff: cutoff of the speed estimate, scalar or [C], Hz, > 0.
      enabled: scalar or [C] bool; channels that are off pass unchanged.

    Raises:
      ValueError: naming every parameter that is out of range.
    """
    self.frame_rate = float(frame_rate)
    self._min_cutoff = np.asarray(min_cutoff, np.float64)
    self._beta = np.asarray(beta, np.float64)
    self._derivative_cutoff = np.asarray(derivative_cutoff, np.float64)
    self._enabled = np.asarray(enabled, bool)
    problems = [
      f'{name} is {value}, wanted {rule}'
      for name, value, rule, good in (
        ('frame_rate', frame_rate, '> 0', self.frame_rate > 0),
        ('min_cutoff', min_cutoff, '> 0', np.all(self._min_cutoff > 0)),
        ('beta', beta, '>= 0', np.all(self._beta >= 0)),
        (
          'derivative_cutoff',
          derivative_cutoff,
          '> 0',
          np.all(self._derivative_cutoff > 0),
        ),
      )
      if not good
    ]
    if problems:
      raise ValueError('one-euro filter: ' + '; '.join(problems))
    self.reset()

  def reset(self) -> None:
    """Forgets the past; the next frame passes unchanged."""
    self._value: np.ndarray | None = None
    self._speed: np.ndarray | None = None

  def __call__(self, chunk: np.ndarray) -> np.ndarray:
    """Filters the next frames.

    Args:
      chunk: [T, C] float, T >= 0, finite.

    Returns:
      [T, C], dtype of `chunk`. The state is kept in float64.

    Raises:
      ValueError: if `chunk` is not [T, C], changes C, or is not finite.
    """
    chunk = np.asarray(chunk)
    self._check(chunk)
    result = np.empty_like(chunk)
    for t, frame in enumerate(chunk.astype(np.float64)):
      result[t] = np.where(self._enabled, self._step(frame), frame)
    return result

  def _check(self, chunk: np.ndarray) -> None:
    if chunk.ndim != 2 or not np.issubdtype(chunk.dtype, np.floating):
      raise ValueError(
        f'one-euro filter: wanted [T, C] floats, got {chunk.dtype} '
        f'{chunk.shape}'
      )
    if self._value is not None and chunk.shape[1:] != self._value.shape:
      raise ValueError(
        f'one-euro filter: chunk has {chunk.shape[1]} channels, earlier ones '
        f'had {self._value.shape[0]}; call reset() for a new signal'
      )
    if not np.isfinite(chunk).all():
      # One NaN would stay in the state for ever.
      raise ValueError('one-euro filter: chunk holds NaN or infinity')

  def _step(self, frame: np.ndarray) -> np.ndarray:
    if self._value is None:
      self._value, self._speed = frame, np.zeros_like(frame)
      return frame
    rate = self.frame_rate
    # Algorithm 1 differentiates against the previous *filtered* value.
    speed = (frame - self._value) * rate
    weight = smoothing_factor(self._derivative_cutoff, rate)
    self._speed = weight * speed + (1.0 - weight) * self._speed
    cutoff = self._min_cutoff + self._beta * np.abs(self._speed)
    weight = smoothing_factor(cutoff, rate)
    self._value = weight * frame + (1.0 - weight) * self._value
    return self._value
