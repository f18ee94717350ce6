"""Prepared data sets of codes that others made: DECA's files, or our own."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from data import (
  codes,
  dataset_writer,
  deca,
  prepare_clips,
  voxceleb,
)


def prepare_codes(
  input_dir: str | os.PathLike,
  output_dir: str | os.PathLike,
  *,
  validation_fraction: float = 0.02,
  num_processes: int = 1,
  overwrite: bool = False,
  progress: prepare_clips.Progress | None = None,
) -> dict[str, Any]:
  """Prepares a tree of DECA codes for training.

  Frames that are cut short, hold NaN or have wrong shapes, and clips without
  a usable frame, are left out and listed in the manifest with the reason.
  Killed at any point and started again, it ends with the same data set.

  Args:
    input_dir: a tree in one of the layouts of `data.voxceleb`.
    output_dir: where `deca_codes/1.0.0` shall be.
    validation_fraction: share of the training identities to hold out, in
      [0, 1); of two or more, at least one is held out unless it is 0.
    num_processes: processes that read clips.
    overwrite: whether a finished data set may be replaced.
    progress: called with phase (`read` or `write`), clips done, clips in all.

  Returns:
    The manifest, as stored in `manifest.json`.

  Raises:
    FileNotFoundError, NotADirectoryError: if the input is no folder.
    FileExistsError: if a finished data set is there already.
    ValueError: on a wrong option, if no `.mat` is found, or none is usable.
    OSError: if the output cannot be written.
  """
  prepare_clips.check_options(validation_fraction, num_processes)
  found = voxceleb.discover_clips(input_dir, exclude=output_dir)
  return prepare_clips.prepare_clips(
    input_dir,
    output_dir,
    found.clips,
    _DecaFolders(),
    source={'kind': 'deca', 'splits_given': found.has_splits},
    left_out=[(source, 'no .mat file') for source in found.empty],
    validation_fraction=validation_fraction,
    num_processes=num_processes,
    # A folder of small files is read in no time.
    chunksize=8,
    overwrite=overwrite,
    progress=progress,
  )


def prepare_procedural(
  output_dir: str | os.PathLike,
  clips_by_split: Mapping[str, Iterable[codes.CodeClip]],
  *,
  source: Mapping[str, Any] | None = None,
  overwrite: bool = False,
) -> dict[str, Any]:
  """Writes clips that the project made itself, in the same format.

  Args:
    output_dir: where `deca_codes/1.0.0` shall be.
    clips_by_split: `train`, `validation`, `test` or some of them; each sorted
      by identity, as `procedural_clips` yields them. Read once.
    source: how they were made (seed, numbers), for the manifest.
    overwrite: whether a finished data set may be replaced.

  Returns:
    The manifest.

  Raises:
    codes.CodesError: if the clips do not belong in one data set.
    OSError: if the output cannot be written or is taken.
  """
  return dataset_writer.write_dataset(
    output_dir,
    clips_by_split,
    source={'kind': 'procedural', **(source or {})},
    overwrite=overwrite,
  )


class _DecaFolders(prepare_clips.ClipMaker):
  """Reads folders of DECA files."""

  def stamp(self, source: voxceleb.ClipSource) -> Iterator[object]:
    """The folder, and name, size and time of every file."""
    yield str(source.folder.resolve())
    for path in deca.list_frames(source.folder):
      try:
        stat = path.stat()
        yield path.name, stat.st_size, stat.st_mtime_ns
      except OSError:  # A link to nowhere; reading it will give the reason.
        yield (path.name,)

  def make(self, source: voxceleb.ClipSource) -> prepare_clips.MadeClip:
    """Reads every file; broken ones are left out."""
    clip, left_out = deca.read_clip(
      source.folder, identity=source.identity, name=source.name
    )
    skipped = tuple((os.path.basename(s.path), s.reason) for s in left_out)
    reason = '' if clip else 'no usable frame'
    return prepare_clips.MadeClip(clip, skipped, reason)
