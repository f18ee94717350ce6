"""A file of public weights -> a run, whatever model it is of."""

from __future__ import annotations

import os
import pathlib
from collections.abc import Mapping
from typing import Any

import ml_collections
import numpy as np
from absl import logging

from configs import anime_generator, edtn
from edtn_jax.animation.network import build_generator
from edtn_jax.convert import networks, sizes, store
from edtn_jax.convert.deca import convert_deca
from edtn_jax.convert.expression_translator import write_converted
from edtn_jax.convert.fomm import convert_fomm, fomm_arrays
from edtn_jax.convert.generators import (
  KINDS,
  chosen_weights,
  convert_generator,
  read_generator_arrays,
  weights_in,
)
from edtn_jax.convert.recognize import MODELS, recognize_model
from edtn_jax.convert.table import ConversionError
from edtn_jax.encoders.deca.encoder import TASK as DECA_TASK
from generator.pirenderer.config import FULL

# AnimeCeleb's, on which the public generators were trained.
PICTURE_SIZE = 256
# Models whose files have one kind of weights.
_ONLY_KIND = {'edtn': 'bare', 'fomm': 'raw', 'deca': 'bare'}

Arrays = Mapping[str, np.ndarray]
Converted = tuple[ml_collections.ConfigDict, dict[str, Any]]


def convert_run(
  source: str | os.PathLike,
  workdir: str | os.PathLike,
  *,
  model: str = '',
  weights: str = '',
  size: int = 0,
  pose_adapter: str = '',
) -> str:
  """Converts public weights into a directory that can be loaded.

  Args:
    source: a file of torch.save; nothing in it is executed.
    workdir: directory to make; must not hold anything yet.
    model: key of `recognize.MODELS`; empty tells it from the names.
    weights: `ema`, `raw` or `bare`; empty takes the first of them that the
      file has.
    size: side of the pictures that an anime generator draws, pixels; 0 takes
      256. The weights do not tell.
    pose_adapter: `.npy` of the adapter that belongs to an `edtn` model.

  Returns:
    Key of the model that it was.

  Raises:
    ConversionError: if the file is of no or another model, its weights do not
      fit both ways, or an option does not go with the model.
    TorchFileError: if the file cannot be read.
    WorkdirError: if `workdir` is not new.
  """
  store.check_new(workdir)
  source = pathlib.Path(source)
  if weights and weights not in KINDS:
    raise ConversionError(f'no weights {weights!r}; wanted {", ".join(KINDS)}')
  arrays = read_generator_arrays(source)
  model = recognize_model(arrays, str(source), model)
  _check_options(model, weights, size, pose_adapter)
  logging.info('%s: %s', source, MODELS[model].title)
  if model == 'edtn':
    write_converted(
      source,
      workdir,
      edtn.get_config('code'),
      pose_adapter=pose_adapter or None,
    )
    return model
  weights = weights or _first_kind(model, arrays)
  config, variables = _CONVERTERS[model](arrays, weights, size)
  groups = {g: n for g, n in networks.GROUPS.items() if n in variables}
  store.write_run(
    workdir,
    config,
    {group: variables[name] for group, name in groups.items()},
    source=source,
    weights=weights,
  )
  return model


def _first_kind(model: str, arrays: Arrays) -> str:
  """The kind of weights that is taken where none is named."""
  if model in _ONLY_KIND:
    return _ONLY_KIND[model]
  # Where there is none, asking for `bare` says so.
  return (*weights_in(model, arrays), 'bare')[0]


def _check_options(model, weights, size, pose_adapter) -> None:
  """Raises ConversionError with every option that the model cannot use."""
  problems = []
  only = _ONLY_KIND.get(model, weights)
  if weights not in ('', only):
    problems.append(f'weights = {weights!r}: {model} has {only!r} only')
  if size and model != 'pirenderer':
    problems.append(f'size = {size}: {model} does not ask for it')
  if size < 0:
    problems.append(f'size = {size}: must be at least 1')
  if pose_adapter and model != 'edtn':
    problems.append(
      f'pose_adapter = {pose_adapter!r}: belongs to edtn, this is {model}'
    )
  if problems:
    raise ConversionError('; '.join(problems) + '. Leave it out')


def _deca(arrays: Arrays, weights: str, size: int) -> Converted:
  del weights, size
  config = ml_collections.ConfigDict({'task': DECA_TASK, 'model': {}})
  return config, convert_deca(arrays)


def _fomm(arrays: Arrays, weights: str, size: int) -> Converted:
  del weights, size
  arrays = fomm_arrays(arrays, 'the file')
  found = sizes.fomm_config(arrays)
  return networks.config_of('fomm', found), convert_fomm(arrays, found)


def _animo(arrays: Arrays, weights: str, size: int) -> Converted:
  del size  # any multiple of the network's
  found = sizes.animo_config(chosen_weights('animo', arrays, weights))
  config = networks.config_of('animo', found)
  expected = networks.expected_variables(networks.network_of(config))
  params = convert_generator(
    'animo', arrays, expected['params'], weights=weights
  )
  return config, {'params': params}


def _pirenderer(arrays: Arrays, weights: str, size: int) -> Converted:
  size = size or PICTURE_SIZE
  found = sizes.pirenderer_config(chosen_weights('pirenderer', arrays, weights))
  if size % found.size_multiple:
    raise ConversionError(
      f'size = {size}: must be a multiple of {found.size_multiple} for this '
      'network'
    )
  # The config that trains such a network says everything that inference asks.
  config = anime_generator.get_config()
  config.data.size = size
  with config.unlocked():
    config.model.sizes = {
      name: value
      for name, value in vars(found).items()
      if value != getattr(FULL, name)
    }
  expected = networks.expected_variables(build_generator(config.model))
  params = convert_generator(
    'pirenderer', arrays, expected['params'], weights=weights
  )
  return config, {'params': params}


_CONVERTERS = {
  'pirenderer': _pirenderer,
  'animo': _animo,
  'fomm': _fomm,
  'deca': _deca,
}
