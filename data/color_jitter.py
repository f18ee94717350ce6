"""Random changes of colour, as one matrix that fits any picture.

Brightness, contrast, saturation and hue are all linear in RGB here, so that
one matrix does all four, the same for both frames of a pair. DEVIATION from
the usual jitter (order at random, contrast about the picture's own mean, hue
in HSV): contrast is about mid-grey, and hue turns in YIQ, which keeps
lightness; see `test_contrast_is_about_mid_grey` and `test_hue_keeps_lightness`.
"""

from __future__ import annotations

import numpy as np

NUM_DRAWS = 4  # Brightness, contrast, saturation, hue.

# Luma and the two chroma axes (NTSC); greys have no chroma.
_YIQ = np.array(
  [[0.299, 0.587, 0.114], [0.596, -0.274, -0.322], [0.211, -0.523, 0.312]]
)
_RGB = np.linalg.inv(_YIQ)
_MID_GREY = 127.5


def color_matrix(draws: np.ndarray, strength: float) -> np.ndarray:
  """The matrix of one random change.

  Args:
    draws: [4] float in [-1, 1]: brightness, contrast, saturation, hue.
    strength: 0 changes nothing; 0.1 (the EDTN paper) changes brightness,
      contrast and saturation by up to 10 % and hue by up to 36 degrees.

  Returns:
    [3, 4] float64: `matrix[:, :3] @ rgb + matrix[:, 3]`, for RGB 0..255.
  """
  brightness, contrast, saturation = 1 + strength * np.asarray(draws[:3])
  angle = 2 * np.pi * strength * draws[3]
  cos, sin = saturation * np.cos(angle), saturation * np.sin(angle)
  chroma = np.array([[1, 0, 0], [0, cos, -sin], [0, sin, cos]])
  linear = brightness * contrast * (_RGB @ chroma @ _YIQ)
  shift = np.full((3, 1), brightness * (1 - contrast) * _MID_GREY)
  return np.concatenate([linear, shift], axis=1)
