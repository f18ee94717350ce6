"""Writes a prepared data set: complete under its name, or not at all."""

from __future__ import annotations

import contextlib
import dataclasses
import datetime
import importlib.metadata
import io
import os
import pathlib
import shutil
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import numpy as np
import tensorflow_datasets as tfds
from absl import logging

from data import codes, files, layout, output_folder
from data.builders import deca_codes

# Manifest keys that differ between two runs over the same input.
TIME_KEYS = ('created', 'seconds')


def claim_output(output_dir: str | os.PathLike, *, overwrite: bool) -> None:
  """Checks, before any work, that the data set may be written here.

  Args:
    output_dir: made if absent.
    overwrite: whether a finished data set may be replaced.

  Raises:
    FileExistsError: if a finished data set is there and may not be replaced,
      or something else is.
    NotADirectoryError: if `output_dir` is a file, or lies under one.
    PermissionError: if it cannot be written.
  """
  _folder(output_dir).claim(overwrite=overwrite)


def _folder(output_dir: str | os.PathLike) -> output_folder.OutputFolder:
  root = pathlib.Path(output_dir)
  name = layout.final_dir(root).relative_to(root)
  return output_folder.OutputFolder(
    root, os.fspath(name), layout.NAME, layout.PARTIAL_NAME
  )


@dataclasses.dataclass
class _SplitRecorder:
  """Checks the clips of one split as they pass, and notes what they were.

  Attributes:
    split: its name.
    identities: the split of every identity seen so far, shared by all splits.
    kinds: (expression space, coefficients known) seen so far, shared too.
  """

  split: str
  identities: dict[str, str]
  kinds: set[tuple[str, bool]]
  clip_names: list[str] = dataclasses.field(default_factory=list)
  clip_frames: list[int] = dataclasses.field(default_factory=list)
  clip_identity: list[int] = dataclasses.field(default_factory=list)
  identity_names: list[str] = dataclasses.field(default_factory=list)

  def watch(self, clips: Iterable[codes.CodeClip]) -> Iterator[codes.CodeClip]:
    last = None
    for clip in clips:
      order = codes.clip_order(clip)
      if last is not None and order <= last:
        raise codes.CodesError(
          f'{self.split}: clip {clip.name!r} of {clip.identity!r} comes after '
          f'one of {last[0]!r}; clips must come sorted by identity and name, '
          'none twice'
        )
      last = order
      self._note(clip)
      yield clip

  def _note(self, clip: codes.CodeClip) -> None:
    other = self.identities.setdefault(clip.identity, self.split)
    if other != self.split:
      raise codes.CodesError(
        f'identity {clip.identity!r} is in {other} and in {self.split}; an '
        'identity belongs to one split'
      )
    known = clip.true_pose_coeffs is not None
    self.kinds.add((clip.expression_space, known))
    if len(self.kinds) > 1:
      raise codes.CodesError(
        f'clip {clip.name!r}: clips of one data set must share the expression '
        'space, and all or none know their true coefficients; found '
        f'{sorted(self.kinds)}'
      )
    if not self.identity_names or self.identity_names[-1] != clip.identity:
      self.identity_names.append(clip.identity)
    self.clip_identity.append(len(self.identity_names) - 1)
    self.clip_names.append(clip.name)
    self.clip_frames.append(clip.num_frames)

  def counts(self) -> dict[str, int]:
    return {
      'identities': len(self.identity_names),
      'clips': len(self.clip_names),
      'frames': sum(self.clip_frames),
    }

  def save(self, folder: pathlib.Path) -> None:
    files.write_npz(
      folder / layout.index_name(self.split),
      {
        'identity_names': np.array(self.identity_names),
        'clip_names': np.array(self.clip_names),
        'clip_identity': np.array(self.clip_identity, np.int64),
        'clip_frames': np.array(self.clip_frames, np.int64),
      },
    )


def write_dataset(
  output_dir: str | os.PathLike,
  clips_by_split: Mapping[str, Iterable[codes.CodeClip]],
  *,
  source: Mapping[str, Any],
  notes: Iterable[str] = (),
  skipped: Mapping[str, list] | None = None,
  started: datetime.datetime | None = None,
  overwrite: bool = False,
) -> dict[str, Any]:
  """Writes clips as a data set that appears when it is complete.

  Args:
    output_dir: where; `output_dir/deca_codes/1.0.0` is made.
    clips_by_split: `train`, `validation` and `test`, or some of them, each
      non-empty and sorted by identity and name. Read once, in that order.
    source: where the clips are from, for the manifest.
    notes: sentences for the manifest.
    skipped: `frames` and `clips` left out, for the manifest.
    started: when the work began, for the manifest; default now.
    overwrite: whether a finished data set may be replaced.

  Returns:
    The manifest.

  Raises:
    codes.CodesError: if the clips do not belong in one data set.
    OSError: see `claim_output`.
  """
  started = started or datetime.datetime.now(datetime.UTC)
  unknown = sorted(set(clips_by_split) - set(layout.SPLITS))
  if unknown or not clips_by_split:
    raise codes.CodesError(
      f'splits are {sorted(clips_by_split)}, wanted some of {layout.SPLITS}'
    )
  folder = _folder(output_dir)
  folder.claim(overwrite=overwrite)
  stage = folder.partial / 'build'
  shutil.rmtree(stage, ignore_errors=True)
  recorders, kind = _build(stage, clips_by_split)
  built = layout.final_dir(stage)
  for recorder in recorders:
    recorder.save(built)
  manifest = {
    'format': layout.NAME,
    'format_version': layout.FORMAT_VERSION,
    'tool_version': tool_version(),
    'created': started.isoformat(timespec='seconds'),
    'seconds': round(_seconds_since(started), 1),
    'source': dict(source),
    'expression_space': kind[0],
    'has_true_pose_coeffs': kind[1],
    'splits': {r.split: r.counts() for r in recorders},
    'notes': list(notes),
    'skipped': _skipped_summary(skipped or {}),
  }
  files.write_json(built / layout.MANIFEST_NAME, manifest)
  folder.publish(built)
  logging.info('Wrote %s: %s', folder.final, manifest['splits'])
  return manifest


def _build(
  stage: pathlib.Path,
  clips_by_split: Mapping[str, Iterable[codes.CodeClip]],
) -> tuple[list[_SplitRecorder], tuple[str, bool]]:
  """Runs the builder under `stage`; returns what it saw."""
  identities: dict[str, str] = {}
  kinds: set[tuple[str, bool]] = set()
  recorders = [
    _SplitRecorder(split, identities, kinds)
    for split in layout.SPLITS
    if split in clips_by_split
  ]
  builder = deca_codes.DecaCodes(
    data_dir=os.fspath(stage),
    clips_by_split={
      r.split: _non_empty(r.split, r.watch(clips_by_split[r.split]))
      for r in recorders
    },
  )
  tfds.disable_progress_bar()
  # The builder announces itself on stdout, which belongs to the caller.
  with contextlib.redirect_stdout(io.StringIO()):
    builder.download_and_prepare(download_dir=os.fspath(stage / 'downloads'))
  return recorders, kinds.pop()


def _non_empty(
  split: str, clips: Iterator[codes.CodeClip]
) -> Iterator[codes.CodeClip]:
  empty = True
  for clip in clips:
    empty = False
    yield clip
  if empty:
    raise codes.CodesError(f'{split}: there are no clips; leave the split out')


def _skipped_summary(skipped: Mapping[str, list]) -> dict[str, Any]:
  frames, clips = skipped.get('frames', []), skipped.get('clips', [])
  return {
    'num_frames': len(frames),
    'num_clips': len(clips),
    'frames': frames,
    'clips': clips,
  }


def _seconds_since(started: datetime.datetime) -> float:
  return (datetime.datetime.now(datetime.UTC) - started).total_seconds()


def tool_version() -> str:
  """Version of the installed project, `unknown` in a bare checkout."""
  try:
    return importlib.metadata.version('edtn-jax')
  except importlib.metadata.PackageNotFoundError:
    return 'unknown'
