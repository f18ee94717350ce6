"""How alike two measurements vary."""

from __future__ import annotations

import numpy as np


def correlation(first: np.ndarray, second: np.ndarray) -> float | None:
  """Pearson's, over what is known of both.

  Args:
    first: [n] float; NaN is not known.
    second: [n] float.

  Returns:
    In [-1, 1]; None where fewer than two are known, or one does not vary.
  """
  known = np.isfinite(first) & np.isfinite(second)
  first, second = first[known], second[known]
  if len(first) < 2 or not (np.ptp(first) > 0 and np.ptp(second) > 0):
    return None
  return float(np.corrcoef(first, second)[0, 1])
