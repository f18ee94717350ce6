"""The user's DECA model -> variables of our coarse encoder."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from edtn_jax.convert.table import Rule, convert_arrays
from edtn_jax.encoders.deca.encoder import expected_variables
from edtn_jax.encoders.deca.params import TABLE

RULES = tuple(Rule(*row) for row in TABLE)


def convert_deca(arrays: Mapping[str, np.ndarray]) -> dict[str, Any]:
  """Converts DECA's coarse encoder.

  Args:
    arrays: what `read_generator_arrays('deca_model.tar')` gives: names begin
      with `E_flame.`; the detail model's are left out.

  Returns:
    `params` and `batch_stats` of `DecaEncoder`, float32 numpy arrays.

  Raises:
    ConversionError: if names or shapes do not fit, all in one message.
  """
  return convert_arrays(arrays, RULES, expected_variables())
