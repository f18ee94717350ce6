"""The released EDTN weights -> our checkpoint."""

from __future__ import annotations

import pathlib
from typing import Any

import jax
import numpy as np
from etils import epath

from edtn_jax.convert import store
from edtn_jax.convert.table import ConversionError, Rule, convert_arrays
from edtn_jax.convert.torch_file import read_torch_file
from edtn_jax.translation.network import ExpressionTranslator
from edtn_jax.translation.pose_adapter import load_pose_adapter

# Foreign layers are numbered with the activations between them.
_LAYERS = {0: 'layer_0', 2: 'layer_1', 4: 'layer_2', 6: 'layer_3'}
RULES = tuple(
  rule
  for number, layer in _LAYERS.items()
  for rule in (
    Rule(rf'main\.{number}\.weight', f'{layer}/kernel', 'linear'),
    Rule(rf'main\.{number}\.bias', f'{layer}/bias'),
  )
)


def convert_expression_translator(path: str | pathlib.Path) -> dict[str, Any]:
  """Reads released weights (`EDTN.pt`) as parameters of our translator.

  Args:
    path: a torch state dict with `main.{0,2,4,6}.{weight,bias}`; read
      without torch, nothing in it is executed.

  Returns:
    Parameters of the default `ExpressionTranslator`, float32.

  Raises:
    ConversionError: if names or shapes do not fit, all in one message.
  """
  state = read_torch_file(path)
  if not isinstance(state, dict):
    raise ConversionError(f'{path} holds a {type(state).__name__}, no weights')
  arrays = {k: v for k, v in state.items() if isinstance(v, np.ndarray)}
  others = sorted(str(k) for k in state if k not in arrays)
  if others:
    raise ConversionError(
      f'{path} holds more than weights: {", ".join(others[:8])}. Wanted a '
      'plain state dict with main.0.weight, main.0.bias, ...'
    )
  model = ExpressionTranslator()
  expected = jax.eval_shape(
    model.init, jax.random.key(0), np.zeros((1, 50)), np.zeros((1, 3))
  )['params']
  return convert_arrays(arrays, RULES, expected)


def write_converted(
  source: str | pathlib.Path,
  workdir: str | epath.Path,
  config: Any,
  *,
  pose_adapter: str | None = None,
) -> None:
  """Converts released weights into a workdir that every command reads.

  Args:
    source: the torch file.
    workdir: directory to make; must not hold anything yet.
    config: config that describes the weights (`configs/edtn.py:code`).
    pose_adapter: `.npy` file of the adapter the weights were trained with;
      stored in the checkpoint. None stores no adapter.

  Raises:
    ConversionError: if the weights do not fit; nothing is written.
    WorkdirError: if `workdir` holds a run or other files, or is a file.
  """
  store.check_new(workdir)
  params = convert_expression_translator(source)
  constants = {}
  config = config.copy_and_resolve_references()
  if pose_adapter:
    constants['pose_adapter'] = load_pose_adapter(pose_adapter)
    config.face.pose_adapter = str(pathlib.Path(pose_adapter).resolve())
  # Released codes are FLAME's: see data.codes.
  config.face.expression_space = 'flame'
  store.write_run(
    workdir,
    config,
    {'model': params},
    source=pathlib.Path(source),
    weights='bare',
    constants=constants,
  )
