"""Who runs a trained network: JAX, or ONNX Runtime on a file of its bundle."""

from __future__ import annotations

import dataclasses
import importlib.util
import pathlib
from typing import Any

import jax
import numpy as np

from edtn_jax import bundles, checkpoints, runtime, shipped
from edtn_jax.config import ConfigError, Problem
from edtn_jax.translation.inference import Translate, make_translate

AUTO, JAX, ONNX = ENGINES = ('auto', 'jax', 'onnx')
# `launch.benchmark --only=export` on two CPU cores, one frame at a time: the
# lite generator takes 12.4 ms against JAX's 25.0, the translator 0.05 ms
# against 0.14.
FASTER_BY_ONNX = frozenset({'anime_generator', 'expression_translation'})


def check_engine(engine: str) -> None:
  """Raises ConfigError if an engine is not of `ENGINES`."""
  if engine not in ENGINES:
    rule = f'must be one of {", ".join(ENGINES)}'
    raise ConfigError(
      [Problem('engine', engine, rule, f'The default is {AUTO}.')]
    )


def open_program(
  path: str, engine: str = AUTO
) -> runtime.Translator | runtime.Generator | None:
  """Opens a bundle's ONNX file where that is to run the network.

  Args:
    path: what the network was loaded from, such as `Checkpoint.path`.
    engine: `jax` never takes the file. `onnx` always does, but for networks
      that come with the project without one. `auto` does where the file and
      onnxruntime are there, JAX would compute on the CPU, and the task is one
      of `FASTER_BY_ONNX`.

  Returns:
    What runs the file on the CPU, or None where JAX runs the network.

  Raises:
    ConfigError: if the engine is unknown.
    BundleError: if `onnx` is wanted and the file or onnxruntime is missing, or
      if the file cannot be used.
  """
  check_engine(engine)
  if engine == JAX:
    return None
  if not bundles.is_bundle(path):
    if engine == ONNX:
      raise bundles.BundleError(_no_program(path, 'is no bundle'))
    return None
  files = bundles.open_bundle(path)
  has_program = any(name.startswith('onnx/') for name in files.names)
  if not has_program:
    if engine == ONNX and not _is_shipped(path):
      raise bundles.BundleError(_no_program(path, 'holds no ONNX file'))
    return None
  is_installed = importlib.util.find_spec('onnxruntime') is not None
  if engine == ONNX and not is_installed:
    raise bundles.BundleError(
      '--engine=onnx needs the package onnxruntime, which is not installed: '
      "pip install 'edtn-jax[onnx]', or leave --engine out"
    )
  if engine == AUTO and not (
    is_installed
    and jax.default_backend() == 'cpu'
    and files.manifest['task'] in FASTER_BY_ONNX
  ):
    return None
  try:
    return runtime.open_files(files)
  except runtime.BundleFileError as error:
    raise bundles.BundleError(f'{error} Or give --engine=jax.') from error


def _no_program(path: str, fault: str) -> str:
  return (
    f'--engine=onnx: {path} {fault}. Export the run (edtn export '
    '--workdir=RUN --formats=onnx --output=BUNDLE) and give that bundle, or '
    'leave --engine out.'
  )


def _is_shipped(path: str) -> bool:
  return pathlib.Path(path).parent == shipped.FOLDER


@dataclasses.dataclass(frozen=True)
class TranslatorRunner:
  """A translator, and who runs it; see `make_translate`.

  Attributes:
    description: what a summary says of it.
  """

  description: dict[str, Any]
  _translate: Translate

  def __call__(
    self, expression: np.ndarray, jaw_pose: np.ndarray
  ) -> np.ndarray:
    """[T, 50] and [T, 3] float to [T, 17] float32 in (0, 1)."""
    return self._translate(expression, jaw_pose)


def open_translator(
  found: checkpoints.Checkpoint, engine: str = AUTO
) -> TranslatorRunner:
  """Makes a translator run.

  Args:
    found: checkpoint or bundle of an expression translation run.
    engine: see `open_program`.

  Returns:
    A function of codes that says who runs it.

  Raises:
    CheckpointError: if it is of another task or its parameters do not fit its
      config.
    ConfigError, BundleError: see `open_program`.
  """
  # Also where it is not used: it finds out whether all belongs together.
  translate = make_translate(found)
  program = open_program(found.path, engine)
  name = ONNX if program else JAX
  return TranslatorRunner({'translator_engine': name}, program or translate)
