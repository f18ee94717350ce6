"""Finished data under one name: complete, or not there at all."""

from __future__ import annotations

import dataclasses
import json
import os
import pathlib
import shutil

from data import files
from data.layout import MANIFEST_NAME


@dataclasses.dataclass(frozen=True)
class OutputFolder:
  """Where something is made, and where it is put when it is finished.

  Attributes:
    root: what the user named.
    name: path of the finished folder below it.
    format: what its manifest calls it.
    partial_name: of the folder for work in progress; '' tells it from the
      format.
  """

  root: pathlib.Path
  name: str
  format: str
  partial_name: str = ''

  @property
  def final(self) -> pathlib.Path:
    """The finished folder, with `manifest.json`."""
    return self.root / self.name

  @property
  def partial(self) -> pathlib.Path:
    """Work in progress, removed at the end."""
    return self.root / (self.partial_name or f'.partial_{self.format}')

  def check(self, *, overwrite: bool) -> None:
    """Refuses what may not be replaced; leaves no trace.

    Args:
      overwrite: whether a finished one of the same format may be replaced.

    Raises:
      FileExistsError: if a finished one is there and may not be replaced, or
        something else is.
      PermissionError: if it cannot be seen.
    """
    refusal = self._refusal(overwrite)
    if refusal:
      raise FileExistsError(f'{self.final}: {refusal}')

  def claim(self, *, overwrite: bool) -> None:
    """Checks that it may be made here, and makes the folder for the work.

    Args:
      overwrite: whether a finished one of the same format may be replaced.

    Raises:
      FileExistsError: if a finished one is there and may not be replaced, or
        something else is.
      NotADirectoryError: if `root` is a file, or lies under one.
      PermissionError: if it cannot be written.
    """
    self.check(overwrite=overwrite)
    try:
      self.partial.mkdir(parents=True, exist_ok=True)
      with files.atomic_writer(self.partial / 'probe'):
        pass
      (self.partial / 'probe').unlink()
    except PermissionError as error:
      raise PermissionError(
        f'{self.root}: cannot write here; choose another output folder'
      ) from error
    except (FileExistsError, NotADirectoryError) as error:
      raise NotADirectoryError(
        f'{self.root}: a file is in the way of this folder; choose another'
      ) from error

  def publish(self, built: str | os.PathLike) -> None:
    """Moves a folder to its name; whatever was there goes after that.

    Args:
      built: the complete folder, below `partial`.
    """
    self.final.parent.mkdir(parents=True, exist_ok=True)
    files.put_folder(built, self.final, self.partial / 'replaced')
    shutil.rmtree(self.partial, ignore_errors=True)

  def _refusal(self, overwrite: bool) -> str:
    """Why what is there may not be replaced; empty if there is nothing."""
    if not self.final.exists():
      return ''
    if not self._is_ours():
      return (
        'something else is here already, and is left alone; choose another '
        'output folder'
      )
    if not overwrite:
      return (
        'a finished data set is here already; use --overwrite to replace it, '
        'or choose another output folder'
      )
    return ''

  def _is_ours(self) -> bool:
    try:
      manifest = json.loads((self.final / MANIFEST_NAME).read_bytes())
    except (OSError, ValueError):
      return False
    return isinstance(manifest, dict) and manifest.get('format') == self.format
