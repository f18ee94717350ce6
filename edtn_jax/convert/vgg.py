"""The user's VGG19 weights (torchvision) -> our parameters."""

from __future__ import annotations

import pathlib
from typing import Any

import jax
import numpy as np

from edtn_jax.convert.table import ConversionError, Rule, convert_arrays
from edtn_jax.convert.torch_file import read_torch_file
from generator.features.vgg import STRIDE, TABLE, VGG19Features

FILE_NAME = 'vgg19-dcbb9e9d.pth'
URL = f'https://download.pytorch.org/models/{FILE_NAME}'
RULES = tuple(Rule(*row) for row in TABLE)


class MissingWeightsError(FileNotFoundError):
  """A file of weights that cannot be distributed with this project."""


def load_vgg19(path: str | pathlib.Path) -> dict[str, Any]:
  """Reads torchvision's VGG19 as parameters of `VGG19Features`.

  Args:
    path: `vgg19-dcbb9e9d.pth` as torchvision distributes it, or another state
      dict with `features.{i}.{weight,bias}`, under any prefix. Read without
      torch; nothing in it is executed.

  Returns:
    Parameters, float32 numpy arrays, 51.8 MB.

  Raises:
    MissingWeightsError: if there is no such file; says where to get it.
    ConversionError: if names or shapes do not fit, all in one message.
    edtn_jax.convert.torch_file.TorchFileError: if the file is damaged.

  Example:
    >>> params = load_vgg19('vgg19-dcbb9e9d.pth')
    >>> maps = VGG19Features().apply({'params': params}, images)
  """
  path = pathlib.Path(path)
  if not path.exists():
    raise MissingWeightsError(
      f'{path} does not exist. The perceptual loss compares features of VGG19 '
      f'trained on ImageNet: file {FILE_NAME} (548 MB) of torchvision, licence '
      f'BSD-3-Clause. Get it with\n  curl -L -o {path} {URL}\n'
      'or choose an objective that needs no VGG19 in the config'
    )
  state = read_torch_file(path)
  if not isinstance(state, dict):
    raise ConversionError(f'{path} holds a {type(state).__name__}, no weights')
  return convert_vgg19(
    {k: v for k, v in state.items() if isinstance(v, np.ndarray)}
  )


def convert_vgg19(arrays: dict[str, np.ndarray]) -> dict[str, Any]:
  """Converts a torchvision state dict; see `load_vgg19`.

  Args:
    arrays: foreign arrays by name, PyTorch layout.

  Returns:
    Parameters, float32 numpy arrays.

  Raises:
    ConversionError: if names or shapes do not fit, all in one message.
  """
  expected = jax.eval_shape(
    VGG19Features().init,
    jax.random.key(0),
    jax.ShapeDtypeStruct((1, STRIDE, STRIDE, 3), np.float32),
  )['params']
  return convert_arrays(arrays, RULES, expected)
