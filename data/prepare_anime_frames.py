"""Turns a tree of anime pictures into a prepared data set.

output_dir/anime_frames/1.0.0/
  anime_frames-<split>.array_record-*   see `data.builders.anime_frames`
  frames-<split>.npz                    which record is whose
  manifest.json                         counts, what was skipped and why

Splits are `train` and `test`, with the frames of an identity one after the
other, and `train_neutral` and `test_neutral`, with its neutral picture. The
tree may be AnimeCeleb's or one of `data.prepare_characters`. An interrupted
run leaves nothing under the final name; started again, it keeps the files that
are finished.
"""

from __future__ import annotations

import datetime
import os
import pathlib
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from absl import logging

from data import (
  anime_records,
  anime_rows,
  anime_shards,
  anime_tree,
  files,
  output_folder,
  picture_codec,
  prepare_characters,
  splits,
)
from data.builders import anime_frames
from data.dataset_writer import tool_version
from data.layout import MANIFEST_NAME

Progress = Callable[[str, int, int], None]

_NAME = f'{anime_frames.NAME}/{anime_frames.FORMAT_VERSION}'
_NEUTRAL_SUFFIX = '_neutral'


def frames_dir(output_dir: str | os.PathLike) -> pathlib.Path:
  """Where the finished data set of an output folder is."""
  return _folder(output_dir).final


def _folder(output_dir: str | os.PathLike) -> output_folder.OutputFolder:
  return output_folder.OutputFolder(
    pathlib.Path(output_dir), _NAME, anime_frames.NAME
  )


def prepare_anime_frames(
  tree: str | os.PathLike,
  output_dir: str | os.PathLike,
  *,
  image_format: str = 'png',
  train_list: str | os.PathLike = '',
  test_list: str | os.PathLike = '',
  test_fraction: float = 0.08,
  num_threads: int = 1,
  overwrite: bool = False,
  progress: Progress | None = None,
) -> dict[str, Any]:
  """Writes the frames of a tree as array_record, split by identity.

  What is trained and tested on is said by the lists given, else by the tree's
  own `train_list.txt` and `test_list.txt` if it has both, else by a hash of
  the names. Everything that is left out is in the manifest.

  Args:
    tree: the folder with `combined_pose.csv`.
    output_dir: where `anime_frames/1.0.0` shall be.
    image_format: one of `picture_codec.IMAGE_FORMATS`.
    train_list: file with one identity a line; needs `test_list`.
    test_list: likewise.
    test_fraction: without lists: share of identities to test on, in [0, 1);
      of two or more, at least one is tested on unless it is 0.
    num_threads: threads that decode and encode pictures.
    overwrite: whether a finished data set may be replaced.
    progress: called with phase (`write`), pictures done, pictures in all.

  Returns:
    The manifest, as stored in `manifest.json`.

  Raises:
    FileNotFoundError: if there is no tree, or no such list.
    anime_rows.AnimeTreeError: if no frame of it is usable.
    ValueError: on wrong options, if the lists name no identity of it, or if
      a manifest in the tree is damaged.
    FileExistsError: if a finished data set, or something else, is there.
    OSError: if the output cannot be written, or has too little room.
  """
  started = datetime.datetime.now(datetime.UTC)
  _check_options(
    image_format, train_list, test_list, test_fraction, num_threads
  )
  lists = [
    anime_tree.read_identity_list(p) for p in (train_list, test_list) if p
  ]
  folder = _folder(output_dir)
  folder.check(overwrite=overwrite)
  table = anime_tree.read_tree(tree)
  styles = prepare_characters.identity_styles(tree)
  members, notes = _plan_splits(table, lists, test_fraction)
  shards = _plan_shards(table, members, image_format)
  flat = [shard for part in shards.values() for shard in part]
  # Not before: a wrong tree shall leave nothing behind.
  folder.claim(overwrite=overwrite)
  written = anime_shards.write_shards(
    flat,
    folder.partial,
    num_threads=num_threads,
    progress=progress and (lambda *counts: progress('write', *counts)),
  )
  done = dict(zip([shard.name for shard in flat], written, strict=True))
  damaged = anime_shards.damaged_frames(flat, written)
  built = folder.partial / 'build'
  counts = _describe(built, shards, done, styles)
  if not any(counts[split]['frames'] for split in members if split in counts):
    raise anime_rows.AnimeTreeError(
      f'{table.root}: no picture is usable; the first of {len(damaged)}: '
      f'{damaged[0].where}: {damaged[0].reason}'
    )
  seconds = (datetime.datetime.now(datetime.UTC) - started).total_seconds()
  manifest = {
    'format': anime_frames.NAME,
    'format_version': anime_frames.FORMAT_VERSION,
    'tool_version': tool_version(),
    'created': started.isoformat(timespec='seconds'),
    'seconds': round(seconds, 1),
    'source': {'kind': 'anime_tree', 'name': table.root.resolve().name},
    'image_format': image_format,
    **anime_shards.summary(written),
    'splits': counts,
    'notes': notes,
    'skipped': [
      {'where': skipped.where, 'reason': skipped.reason}
      for skipped in (*table.skipped, *damaged)
    ],
  }
  files.write_json(built / MANIFEST_NAME, manifest)
  folder.publish(built)
  _log_summary(folder.final, manifest)
  return manifest


def _check_options(
  image_format: str,
  train_list: str | os.PathLike,
  test_list: str | os.PathLike,
  test_fraction: float,
  num_threads: int,
) -> None:
  problems = [picture_codec.check_image_format(image_format)]
  given = [bool(train_list), bool(test_list)]
  if any(given) and not all(given):
    problems.append(
      f'train_list is {os.fspath(train_list)!r}, test_list is '
      f'{os.fspath(test_list)!r}: wanted both or none'
    )
  if not 0 <= test_fraction < 1:
    problems.append(f'test_fraction is {test_fraction}, wanted [0, 1)')
  if num_threads < 1:
    problems.append(f'num_threads is {num_threads}, wanted at least 1')
  problems = [problem for problem in problems if problem]
  if problems:
    raise ValueError('; '.join(problems))


def _plan_splits(
  table: anime_tree.FrameTable,
  lists: list[tuple[str, ...]],
  test_fraction: float,
) -> tuple[dict[str, set[str]], list[str]]:
  """Identities of each split; what a reader should know."""
  names = (anime_tree.TRAIN_LIST_NAME, anime_tree.TEST_LIST_NAME)
  if not lists and all((table.root / name).is_file() for name in names):
    lists = [anime_tree.read_identity_list(table.root / name) for name in names]
  known = set(table.identities)
  notes = []
  if lists:
    train, test = map(set, lists)
    # What is tested must not be learnt.
    both, absent = train & test, (train | test) - known
    train -= test
    for count, what in (
      (len(both), 'of both lists are tested on only'),
      (len(known - train - test), 'left out: they are in no list'),
      (len(absent), 'of the lists have no usable frame in the tree'),
    ):
      if count:
        notes.append(f'{count} identities {what}')
    if not known & (train | test):
      raise ValueError(
        f'{table.root}: the lists name none of its {len(known)} identities '
        f'(such as {table.identities[0]!r}); correct or remove them'
      )
  else:
    test = splits.validation_identities(table.identities, test_fraction)
    train = known - test
    notes.append(f'no {" and ".join(names)}: split by a hash of the names')
  return {'train': train & known, 'test': test & known}, notes


def _plan_shards(
  table: anime_tree.FrameTable,
  members: Mapping[str, set[str]],
  image_format: str,
) -> dict[str, list[anime_shards.Shard]]:
  """Files of every split that has a frame; frames sorted by identity."""
  neutral = table.neutral()
  shards = {}
  for split, identities in members.items():
    for name, source in ((split, table), (split + _NEUTRAL_SUFFIX, neutral)):
      frames = source.frames_of(identities)
      order = np.argsort(source.identity_index[frames], kind='stable')
      if len(frames):
        shards[name] = anime_shards.plan_shards(
          source, name, frames[order], image_format
        )
  return shards


def _describe(
  built: pathlib.Path,
  shards: Mapping[str, list[anime_shards.Shard]],
  done: Mapping[str, anime_shards.Written],
  styles: Mapping[str, str],
) -> dict[str, dict[str, int]]:
  """Writes descriptions and indices; returns counts of each split."""
  written = {
    split: [done[shard.name] for shard in part]
    for split, part in shards.items()
  }
  anime_frames.write_description(
    built,
    {s: anime_shards.shard_sizes(part) for s, part in written.items()},
  )
  return {
    split: _write_index(
      built,
      split,
      part[0].table,
      anime_shards.kept_frames(part, written[split]),
      styles,
    )
    for split, part in shards.items()
  }


def _write_index(
  built: pathlib.Path,
  split: str,
  table: anime_tree.FrameTable,
  frames: np.ndarray,
  styles: Mapping[str, str],
) -> dict[str, int]:
  """Writes which record is whose; returns counts."""
  owners, first = np.unique(table.identity_index[frames], return_index=True)
  names = [table.identities[i] for i in owners]
  arrays = {
    'identity_names': np.array(names, str),
    'identity_offsets': np.append(first, len(frames)).astype(np.int64),
    'is_rotated': np.array(
      [table.kinds[i] == 'rotation' for i in frames], bool
    ),
    'pose': table.pose[frames],
  }
  if styles:
    arrays['identity_styles'] = np.array(
      [styles.get(n, '') for n in names], str
    )
  files.write_npz(built / anime_records.index_name(split), arrays)
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
