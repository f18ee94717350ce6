"""Turns a tree of anime pictures into a prepared data set.

output_dir/anime_frames/1.0.0/
  anime_frames-<split>.array_record-*   see `data.builders.anime_frames`
  frames-<split>.npz                    which record is whose
  manifest.json                         counts, what was skipped and why

The tree may be AnimeCeleb's or one of `data.prepare_characters`. An
interrupted run leaves nothing under the final name, and starts over.
"""

from __future__ import annotations

import contextlib
import datetime
import io
import os
import pathlib
import shutil
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import numpy as np
import tensorflow_datasets as tfds
from absl import logging

from data import anime_tree, files, output_folder, splits
from data.builders import anime_frames
from data.dataset_writer import tool_version
from data.layout import MANIFEST_NAME

Progress = Callable[[str, int, int], None]

_NAME = f'{anime_frames.NAME}/{anime_frames.FORMAT_VERSION}'


def frames_dir(output_dir: str | os.PathLike) -> pathlib.Path:
  """Where the finished data set of an output folder is."""
  return _folder(output_dir).final


def index_name(split: str) -> str:
  """File name of a split's index.

  It holds `identity_names` [I], `identity_offsets` [I + 1] int64 (identity i
  has the records `offsets[i]` to `offsets[i + 1]`), `is_rotated` [N] bool and
  `pose` [N, 20] float32.
  """
  return f'frames-{split}.npz'


def _folder(output_dir: str | os.PathLike) -> output_folder.OutputFolder:
  return output_folder.OutputFolder(
    pathlib.Path(output_dir), _NAME, anime_frames.NAME
  )


def prepare_anime_frames(
  tree: str | os.PathLike,
  output_dir: str | os.PathLike,
  *,
  test_fraction: float = 0.08,
  num_threads: int = 1,
  overwrite: bool = False,
  progress: Progress | None = None,
) -> dict[str, Any]:
  """Writes the frames of a tree as array_record, split by identity.

  The tree's own `train_list.txt` and `test_list.txt` say what is trained and
  tested on, if it has both. Everything that is left out is in the manifest.

  Args:
    tree: the folder with `combined_pose.csv`.
    output_dir: where `anime_frames/1.0.0` shall be.
    test_fraction: for a tree without lists: share of identities to test on,
      in [0, 1); of two or more, at least one is tested on unless it is 0.
    num_threads: threads that decode pictures to find damaged ones.
    overwrite: whether a finished data set may be replaced.
    progress: called with phase (`write`), frames done, frames in all.

  Returns:
    The manifest, as stored in `manifest.json`.

  Raises:
    FileNotFoundError: if there is no tree.
    anime_rows.AnimeTreeError: if no frame of it is usable.
    ValueError: on wrong options, or if the lists name no identity of it.
    FileExistsError: if a finished data set, or something else, is there.
    OSError: if the output cannot be written.
  """
  started = datetime.datetime.now(datetime.UTC)
  _check_options(test_fraction, num_threads)
  folder = _folder(output_dir)
  folder.claim(overwrite=overwrite)
  table = anime_tree.read_tree(
    tree, check_pictures=True, num_threads=num_threads
  )
  members, notes = _plan_splits(table, test_fraction)
  stage = folder.partial / 'build'
  shutil.rmtree(stage, ignore_errors=True)
  _build(stage, table, members, progress)
  built = stage / _NAME
  counts = {
    split: _write_index(built, split, table, frames)
    for split, frames in members.items()
  }
  seconds = (datetime.datetime.now(datetime.UTC) - started).total_seconds()
  manifest = {
    'format': anime_frames.NAME,
    'format_version': anime_frames.FORMAT_VERSION,
    'tool_version': tool_version(),
    'created': started.isoformat(timespec='seconds'),
    'seconds': round(seconds, 1),
    'source': {'kind': 'anime_tree', 'name': pathlib.Path(tree).resolve().name},
    'splits': counts,
    'notes': notes,
    'skipped': [
      {'where': skipped.where, 'reason': skipped.reason}
      for skipped in table.skipped
    ],
  }
  files.write_json(built / MANIFEST_NAME, manifest)
  folder.publish(built)
  _log_summary(folder.final, manifest)
  return manifest


def _check_options(test_fraction: float, num_threads: int) -> None:
  problems = []
  if not 0 <= test_fraction < 1:
    problems.append(f'test_fraction is {test_fraction}, wanted [0, 1)')
  if num_threads < 1:
    problems.append(f'num_threads is {num_threads}, wanted at least 1')
  if problems:
    raise ValueError('; '.join(problems))


def _plan_splits(
  table: anime_tree.FrameTable, test_fraction: float
) -> tuple[dict[str, np.ndarray], list[str]]:
  """Frames of each split, by identity; what a reader should know."""
  names = (anime_tree.TRAIN_LIST_NAME, anime_tree.TEST_LIST_NAME)
  notes = []
  if all((table.root / name).is_file() for name in names):
    train, test = (
      set(anime_tree.read_identity_list(table.root / name)) for name in names
    )
    both, neither = train & test, set(table.identities) - train - test
    # What is tested must not be learnt.
    train -= test
    if both:
      notes.append(f'{len(both)} identities of both lists are tested on only')
    if neither:
      notes.append(f'{len(neither)} identities left out: they are in no list')
  else:
    test = splits.validation_identities(table.identities, test_fraction)
    train = set(table.identities) - test
    notes.append(f'no {" and ".join(names)}: split by a hash of the names')
  members = {'train': table.frames_of(train), 'test': table.frames_of(test)}
  members = {
    split: frames[np.argsort(table.identity_index[frames], kind='stable')]
    for split, frames in members.items()
    if len(frames)
  }
  if not members:
    raise ValueError(
      f'{table.root}: {" and ".join(names)} name none of its '
      f'{len(table.identities)} identities; correct or remove them'
    )
  return members, notes


def _build(
  stage: pathlib.Path,
  table: anime_tree.FrameTable,
  members: Mapping[str, np.ndarray],
  progress: Progress | None,
) -> None:
  total = sum(map(len, members.values()))
  counted = 0

  def watch(frames: np.ndarray) -> Iterator[anime_frames.Frame]:
    nonlocal counted
    for frame in anime_frames.table_frames(table, frames.tolist()):
      yield frame
      counted += 1
      if progress:
        progress('write', counted, total)

  builder = anime_frames.AnimeFrames(
    data_dir=os.fspath(stage),
    frames_by_split={split: watch(frames) for split, frames in members.items()},
  )
  tfds.disable_progress_bar()
  # The builder announces itself on stdout, which belongs to the caller.
  with contextlib.redirect_stdout(io.StringIO()):
    builder.download_and_prepare(download_dir=os.fspath(stage / 'downloads'))


def _write_index(
  built: pathlib.Path,
  split: str,
  table: anime_tree.FrameTable,
  frames: np.ndarray,
) -> dict[str, int]:
  """Writes which record is whose; returns counts."""
  owners, first = np.unique(table.identity_index[frames], return_index=True)
  files.write_npz(
    built / index_name(split),
    {
      'identity_names': np.array([table.identities[i] for i in owners]),
      'identity_offsets': np.append(first, len(frames)).astype(np.int64),
      'is_rotated': np.array([table.kinds[i] == 'rotation' for i in frames]),
      'pose': table.pose[frames],
    },
  )
  return {'identities': len(owners), 'frames': len(frames)}


def _log_summary(final: pathlib.Path, manifest: Mapping[str, Any]) -> None:
  logging.info('Wrote %s: %s', final, manifest['splits'])
  for note in manifest['notes']:
    logging.warning('%s', note)
  if manifest['skipped']:
    logging.warning(
      'Left out %d rows or pictures; the manifest lists them with reasons.',
      len(manifest['skipped']),
    )
