"""Reads PyTorch checkpoints without PyTorch and without running anything."""

from __future__ import annotations

import os
import pathlib

from flame_jax.unpickle import (
  MalformedPickleError,
  UnsafePickleError,
  read_restricted_torch,
)


class TorchFileError(ValueError):
  """A checkpoint is missing, damaged or not written by torch.save."""


def read_torch_file(path: str | os.PathLike, *, skip_unknown: bool = False):
  """Reads a file of torch.save: zip archive (1.6 and later) or older.

  Args:
    path: the checkpoint, a state_dict or a Lightning checkpoint for instance.
    skip_unknown: put a placeholder (`flame_jax.unpickle.Opaque`, with the
      class's name, never constructed) where the file has an object of a class
      that is not on the allow-list, such as Lightning's callbacks and
      hyper-parameters. Without it such a file is refused.

  Returns:
    The saved object: nested dicts, lists and numbers, with a numpy array for
    every tensor, parameter and storage (bfloat16 by ml_dtypes). Devices and
    requires_grad are dropped.

  Raises:
    TorchFileError: if the file is missing, damaged or of another kind.
    flame_jax.unpickle.UnsafePickleError: if it names a class or function
      outside the allow-list, unless `skip_unknown`.

  Example:
    `read_torch_file('EDTN.pt')['main.0.weight'].shape` is (512, 53).
  """
  path = pathlib.Path(path)
  if not path.is_file():
    kind = 'is a folder' if path.is_dir() else 'does not exist'
    raise TorchFileError(
      f'{path} {kind}; give the path of a checkpoint written by torch.save'
      ' (.pt, .pth, .ckpt or .tar)'
    )
  try:
    return read_restricted_torch(path, skip_unknown=skip_unknown)
  except UnsafePickleError as error:
    raise UnsafePickleError(
      f'{path} {error}. If the file is a checkpoint with extra objects, read'
      ' it with skip_unknown=True, which leaves placeholders for them',
      error.name,
    ) from error
  except (MalformedPickleError, OSError) as error:
    raise TorchFileError(
      f'{path} cannot be read as a PyTorch checkpoint: {error}. Compare its'
      ' size with the original and fetch it again; files older than PyTorch'
      ' 0.4 and TorchScript programs must be saved again as a state_dict'
    ) from error
