"""From a workdir to files that another program can use."""

from __future__ import annotations

import pathlib
from collections.abc import Sequence
from typing import Any

from edtn_jax import bundles, checkpoints
from edtn_jax.export.generator import export_generator
from edtn_jax.export.onnx_graph import OPSET, check_opset, require
from edtn_jax.export.program import FORMATS, ExportError, check_formats
from edtn_jax.export.translator import export_translator

__all__ = [
  'ExportError',
  'export_generator',
  'export_run',
  'export_translator',
]

_EXPORTS = {
  'anime_generator': export_generator,
  'expression_translation': export_translator,
}


def export_run(
  workdir: str | pathlib.Path,
  output: str | pathlib.Path,
  *,
  step: int | None = None,
  averaged: bool | None = None,
  dtype: str = 'float32',
  formats: Sequence[str] = FORMATS,
  opset: int = OPSET,
) -> dict[str, Any]:
  """Exports a checkpoint of any task.

  Args:
    workdir: a run of `edtn train` or `edtn convert`.
    output: directory, or file that ends in .zip, to make; it appears complete
      or not at all.
    step: which checkpoint; None takes the newest.
    averaged: moving average or raw parameters; None takes what there is.
    dtype: type of the stored parameters, of `bundles.DTYPES`.
    formats: of `FORMATS`, in which the network is written as a program.
    opset: version of ONNX's operators.

  Returns:
    The manifest; see `edtn_jax.bundles`.

  Raises:
    BundleError: if `output` exists or `dtype` is unknown.
    ExportError: if the task has no export, a format or the opset is unknown, a
      package is missing, or a program's check fails.
    CheckpointError: if the checkpoint cannot be used.
  """
  bundles.check_output(output, dtype)
  check_formats(formats)
  if 'onnx' in formats:
    check_opset(opset)
    require('onnx')
    require('onnxruntime')
  found = checkpoints.load_checkpoint(workdir, step=step, averaged=averaged)
  if found.config.task not in _EXPORTS:
    raise ExportError(
      f'{found.path} is a checkpoint of {found.config.task!r}; there are '
      f'exports of {", ".join(_EXPORTS)}'
    )
  export = _EXPORTS[found.config.task]
  return export(found, output, dtype=dtype, formats=formats, opset=opset)
