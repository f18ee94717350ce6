"""Public weights of the first-order motion model -> our variables."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any

import numpy as np

from edtn_jax.convert.networks import expected_variables
from edtn_jax.convert.table import ConversionError, Rule, convert_arrays
from generator.fomm import FirstOrderMotion, FOMMConfig
from generator.fomm.blocks import band_limit_kernel
from generator.fomm.params import TABLE

RULES = tuple(Rule(*row) for row in TABLE)
# Networks of a checkpoint that animate; discriminator and optimizers do not.
NETWORKS = ('generator', 'kp_detector')


def fomm_arrays(
  arrays: Mapping[str, np.ndarray], path: str | os.PathLike
) -> dict[str, np.ndarray]:
  """The networks that animate, of all weights of a checkpoint.

  Args:
    arrays: by name, which begins with that of a network.
    path: where they come from, for messages.

  Returns:
    Those of `NETWORKS`.

  Raises:
    ConversionError: if a network is missing.
  """
  found = {k: v for k, v in arrays.items() if k.split('.')[0] in NETWORKS}
  missing = [
    network
    for network in NETWORKS
    if not any(name.startswith(f'{network}.') for name in found)
  ]
  if missing:
    raise ConversionError(
      f'{path} holds no weights of {" and ".join(missing)}. Wanted a '
      'checkpoint with a state dict for each of '
      f'{", ".join(NETWORKS)}, or a Lightning checkpoint with both'
    )
  return found


def convert_fomm(
  arrays: Mapping[str, np.ndarray], config: FOMMConfig
) -> dict[str, Any]:
  """Converts public weights.

  Args:
    arrays: see `fomm_arrays`.
    config: the sizes that the weights have, with `compat`.

  Returns:
    `params` and `batch_stats` of `FirstOrderMotion(config)`, numpy arrays.

  Raises:
    ConversionError: if names or shapes do not fit, all in one message; or if
      a band-limiting kernel differs from the one that our model computes.

  Example:
    >>> config = dataclasses.replace(FULL, compat=True)
    >>> variables = convert_fomm(fomm_arrays(arrays, 'vox.pth.tar'), config)
  """
  _check_kernels(arrays, config)
  expected = expected_variables(FirstOrderMotion(config))
  return convert_arrays(arrays, RULES, expected)


def _check_kernels(arrays, config) -> None:
  """Constants are not converted: they must be what our model computes."""
  wanted = band_limit_kernel(config.motion_downsample)
  wrong = [
    name
    for name, array in arrays.items()
    if name.endswith('.down.weight')
    and not (
      array.shape[-2:] == wanted.shape and np.allclose(array, wanted, atol=1e-6)
    )
  ]
  if wrong:
    raise ConversionError(
      f'{", ".join(wrong)} differ(s) from the band-limiting kernel for '
      f'motion_downsample = {config.motion_downsample}, {wanted.shape}; set '
      'the factor that the weights were trained with'
    )
