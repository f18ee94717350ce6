"""What the metrics of both tasks mean, in words for reports."""

from __future__ import annotations

from collections.abc import Mapping

from edtn_jax.report import Metric

# Metric -> (name, unit, explanation, whether it is shown large).
WORDS = {
  'coefficient_error': (
    'coefficient error',
    '',
    'mean absolute difference to the true anime coefficients, range 0 to 1',
    True,
  ),
  'landmark_error_mm': (
    'landmark error',
    'mm',
    'mean distance of the 68 landmarks of predicted and measured face',
    True,
  ),
  'vertex_error_mm': (
    'vertex error',
    'mm',
    'root mean square distance of the two meshes, square root of eq. 2',
    False,
  ),
  'lid_error_mm': (
    'lid error',
    'mm',
    'difference of the lid openings: does a blink close the eye?',
    True,
  ),
  'lip_error_mm': (
    'lip error',
    'mm',
    'difference of the mouth openings',
    True,
  ),
  'loss': ('loss', '', 'equation 6, what training minimises', False),
  'landmark': ('landmark term', '', 'equation 3', False),
  'eye': ('eye term', '', 'equation 4', False),
  'mouth': ('mouth term', '', 'equation 5', False),
  'vertex': ('vertex term', '', 'equation 2, before lambda_ver', False),
  'anime_distance': (
    'distance to anime poses',
    '',
    '1: as near to an anime pose as those are to one another',
    True,
  ),
  'frames': ('frames', '', 'that the means are over', False),
  'l1': ('L1', '', 'mean absolute difference, colours in 0 to 1', True),
  'l1_parts': ('L1 of parts', '', 'mean of eyes, mouth and rest', False),
  'psnr': ('PSNR', 'dB', 'more is better', True),
  'ssim': ('SSIM', '', '1 is equal', True),
  'ms_ssim': ('MS-SSIM', '', '1 is equal, over several scales', True),
  'gain': ('gain', '', "share of a copy's L1 that is done away with", False),
  'flow_error': (
    'flow error',
    'pixels',
    'mean distance to the true optical flow, where that is known',
    False,
  ),
}


def known_metrics(metrics: Mapping[str, float]) -> list[Metric]:
  """The metrics that have words, in the order of `WORDS`.

  Args:
    metrics: of an evaluation.
  """
  return [
    Metric(name, metrics[key], unit, text, headline)
    for key, (name, unit, text, headline) in WORDS.items()
    if key in metrics
  ]
