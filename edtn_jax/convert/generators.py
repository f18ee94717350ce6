"""Public checkpoints of image generators -> parameters of ours."""

from __future__ import annotations

import dataclasses
import os
import re
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np

from edtn_jax.convert.table import ConversionError, Rule, convert_arrays
from edtn_jax.convert.torch_file import read_torch_file
from generator.animo import params as animo
from generator.fomm import params as fomm
from generator.pirenderer import params as pirenderer

# In the order in which they are taken.
KINDS = ('ema', 'raw', 'bare')
# Lightning keeps the raw weights and their moving average side by side.
_LIGHTNING = {'raw': 'generator.', 'ema': 'generator_ema.'}
# Frozen weights of the perceptual loss, which belong to another model.
_VGG = r'(.*\.)?\w*(vgg|VGG|Vgg)\w*\..*'


@dataclasses.dataclass(frozen=True)
class GeneratorFormat:
  """How a public checkpoint stores a generator.

  Attributes:
    table: lines of a `generator.<model>.params.TABLE`: name without the
      prefix, target path, layout; target None ignores.
    prefixes: what names begin with, by kind of weights; `bare` is a state
      dict of the network alone.
    ignored: regular expression of whole names that are no part of it.
  """

  table: tuple[tuple[str, str | None, str], ...]
  prefixes: Mapping[str, str]
  ignored: str = _VGG


FORMATS = {
  'pirenderer': GeneratorFormat(pirenderer.TABLE, {**_LIGHTNING, 'bare': ''}),
  'animo': GeneratorFormat(animo.TABLE, {**_LIGHTNING, 'bare': ''}),
  # Two networks and no average; trained against a discriminator.
  'fomm': GeneratorFormat(
    fomm.TABLE, {'raw': ''}, rf'{_VGG}|discriminator\w*\..*'
  ),
}


def read_generator_arrays(path: str | os.PathLike) -> dict[str, np.ndarray]:
  """Reads the weights of a PyTorch or Lightning checkpoint.

  Args:
    path: a file of torch.save; nothing in it is executed, and what it holds
      besides weights (optimizer, callbacks, hyper-parameters) is left out.

  Returns:
    Arrays by name; of a Lightning file, those of its `state_dict`, and of a
    file with a state dict for every network, `network.name`.

  Raises:
    ConversionError: if it holds no weights.
    edtn_jax.convert.torch_file.TorchFileError: if it cannot be read.
  """
  content = read_torch_file(path, skip_unknown=True)
  if isinstance(content, Mapping) and 'state_dict' in content:
    content = content['state_dict']
  arrays = {}
  if isinstance(content, Mapping):
    arrays = _arrays(content)
    for name, inner in content.items():
      if isinstance(inner, Mapping):
        arrays |= {f'{name}.{k}': v for k, v in _arrays(inner).items()}
  if not arrays:
    raise ConversionError(
      f'{path} holds no weights. Wanted a state dict, or a Lightning '
      'checkpoint with one under `state_dict`'
    )
  return arrays


def _arrays(content) -> dict[str, np.ndarray]:
  return {
    name: value
    for name, value in content.items()
    if isinstance(name, str) and isinstance(value, np.ndarray)
  }


def convert_generator(
  model_name: str,
  arrays: Mapping[str, np.ndarray],
  expected: Any,
  *,
  weights: str = 'ema',
) -> Any:
  """Converts the weights of a public generator.

  Args:
    model_name: key of `FORMATS`.
    arrays: weights by foreign name, see `read_generator_arrays`.
    expected: our parameters' shapes: what `jax.eval_shape` gives for the
      module's `init`, under `params` (of FOMM the whole, with
      `batch_stats`).
    weights: `ema` for the moving average, `raw` for the trained weights
      themselves, `bare` for a state dict of the network alone.

  Returns:
    A tree like `expected`, numpy arrays.

  Raises:
    ConversionError: if the model, the kind of weights, any name or any shape
      does not fit; all problems in one message.

  Example:
    `convert_generator('pirenderer', read_generator_arrays('last.ckpt'),
    expected)`.
  """
  if model_name not in FORMATS:
    raise ConversionError(
      f'no generator {model_name!r}; there are {", ".join(sorted(FORMATS))}'
    )
  form = FORMATS[model_name]
  chosen = chosen_weights(model_name, arrays, weights)
  rules = (
    *(Rule(*line) for line in form.table),
    Rule(form.ignored, None),
  )
  return convert_arrays(chosen, rules, expected)


def weights_in(model_name: str, names: Iterable[str]) -> tuple[str, ...]:
  """Kinds of weights that a file has.

  Args:
    model_name: key of `FORMATS`.
    names: of the file's weights.

  Returns:
    Of `ema`, `raw` and `bare` those that are there, in this order.
  """
  form, names = FORMATS[model_name], list(names)
  ours = re.compile('|'.join(f'({line[0]})' for line in form.table))
  found = {
    kind: any(
      name.startswith(prefix) if prefix else ours.fullmatch(name)
      for name in names
    )
    for kind, prefix in form.prefixes.items()
  }
  return tuple(kind for kind in KINDS if found.get(kind))


def chosen_weights(
  model_name: str, arrays: Mapping[str, np.ndarray], weights: str
) -> dict[str, np.ndarray]:
  """Weights of one kind, by name without their prefix.

  Args:
    model_name: key of `FORMATS`.
    arrays: weights by foreign name.
    weights: `ema`, `raw` or `bare`.

  Returns:
    The weights of that kind, and what belongs to no kind.

  Raises:
    ConversionError: if the model or the file has no such kind.
  """
  form = FORMATS[model_name]
  if weights not in form.prefixes:
    raise ConversionError(
      f'{model_name} has no weights {weights!r}; there are '
      f'{", ".join(sorted(form.prefixes))}'
    )
  if weights not in weights_in(model_name, arrays):
    raise ConversionError(_absent(model_name, weights, arrays))
  prefix = form.prefixes[weights]
  others = [p for p in form.prefixes.values() if p and p != prefix]
  return {
    name.removeprefix(prefix): array
    for name, array in arrays.items()
    if not (prefix and any(name.startswith(other) for other in others))
  }


def _absent(model_name, weights, arrays) -> str:
  """Message about weights that the checkpoint does not have."""
  prefix = FORMATS[model_name].prefixes[weights]
  kind = f'begins with {prefix!r}' if prefix else 'stands without a prefix'
  present = weights_in(model_name, arrays)
  first = ', '.join(list(arrays)[:3])
  text = (
    f'no weight {kind}, as those of weights={weights!r} do; the file begins '
    f'with {first}'
  )
  return f'{text}. Try weights={present[0]!r}' if present else text
