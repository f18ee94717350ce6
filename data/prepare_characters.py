"""Draws a data set of characters in AnimeCeleb's format; can be interrupted.

output_dir/
  .partial_characters/   work in progress, removed at the end
  characters/            a tree as `data.anime_tree` reads it
    manifest.json        counts, how it was made, style of each identity

The unit is the identity: one with a mark under `.partial_characters/done` is
not drawn again. The tree gets its name when it is complete.
"""

from __future__ import annotations

import contextlib
import datetime
import itertools
import json
import os
import pathlib
import shutil
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from absl import logging

from data import (
  anime_rows,
  anime_tree,
  character_pictures,
  files,
  output_folder,
  splits,
  workers,
)
from data.characters.character import Character
from data.characters.style import STYLES, check_styles
from data.dataset_writer import tool_version
from data.layout import MANIFEST_NAME

NAME = 'characters'
FORMAT_VERSION = '1.0.0'

_STYLES_KEY = 'identity_styles'

Progress = Callable[[str, int, int], None]


def tree_dir(output_dir: str | os.PathLike) -> pathlib.Path:
  """Where the finished tree of an output folder is."""
  return _folder(output_dir).final


def identity_styles(tree: str | os.PathLike) -> dict[str, str]:
  """Shading style of each identity of a finished tree.

  Args:
    tree: the folder with `combined_pose.csv`.

  Returns:
    Style by identity name; empty for a tree that was not drawn here, or
    before there were styles.

  Raises:
    files.BrokenFileError: if its manifest is damaged.
  """
  path = pathlib.Path(tree, MANIFEST_NAME)
  if not path.is_file():
    return {}
  try:
    return dict(json.loads(path.read_bytes()).get(_STYLES_KEY, {}))
  except (AttributeError, TypeError, ValueError) as error:
    raise files.BrokenFileError(f'{path}: not a manifest ({error})') from error


def _folder(output_dir: str | os.PathLike) -> output_folder.OutputFolder:
  return output_folder.OutputFolder(pathlib.Path(output_dir), NAME, NAME)


def prepare_characters(
  output_dir: str | os.PathLike,
  *,
  num_identities: int,
  frames_per_identity: int = 100,
  size: int = 256,
  seed: int = 0,
  first_seed: int = 0,
  test_fraction: float = 0.08,
  styles: Sequence[str] = STYLES,
  num_processes: int = 1,
  overwrite: bool = False,
  progress: Progress | None = None,
) -> dict[str, Any]:
  """Draws characters in random poses, with their pose numbers.

  Every expression is drawn twice, with the head straight and turned, and has
  one row in the CSV, with the angles of the turned one. A reader that looks
  into one of the two folders only finds a picture for every row.

  Killed at any point and started again, it ends with the same files.

  Args:
    output_dir: where `characters` shall be.
    num_identities: characters; their seeds count up from `first_seed`.
    frames_per_identity: pictures of each, half frontal and half rotated; even.
      AnimeCeleb has 20 or 100.
    size: height and width of the pictures in pixels.
    seed: of the poses and styles, 0 or more.
    first_seed: seed of the first character, 0 or more.
    test_fraction: share of identities to test on, in [0, 1); of two or more,
      at least one is tested on unless it is 0. AnimeCeleb has 0.08.
    styles: shading styles; every identity has one of them, chosen by `seed`.
    num_processes: processes that draw.
    overwrite: whether a finished data set may be replaced.
    progress: called with phase (`draw`), identities done, identities in all.

  Returns:
    The manifest, as stored in `manifest.json`.

  Raises:
    ValueError: on wrong options, all named at once.
    FileExistsError: if a finished data set, or something else, is there.
    OSError: if the output cannot be written.
  """
  started = datetime.datetime.now(datetime.UTC)
  options = {
    'num_identities': num_identities,
    'frames_per_identity': frames_per_identity,
    'size': size,
    'seed': seed,
    'first_seed': first_seed,
    'test_fraction': test_fraction,
    'styles': styles,
  }
  _check_options(**options, num_processes=num_processes)
  options['styles'] = list(check_styles(styles))
  folder = _folder(output_dir)
  folder.claim(overwrite=overwrite)
  jobs = _make_jobs(folder.partial, options)
  _clear_stage(folder.partial, jobs)
  num_bytes = 0
  sizes = workers.map_in_processes(
    character_pictures.draw_identity, jobs, num_processes
  )
  for count, drawn in enumerate(sizes, 1):
    num_bytes += drawn
    if progress:
      progress('draw', count, num_identities)
  stage = folder.partial / NAME
  counts = _write_tables(stage, jobs, test_fraction)
  seconds = (datetime.datetime.now(datetime.UTC) - started).total_seconds()
  manifest = {
    'format': NAME,
    'format_version': FORMAT_VERSION,
    'tool_version': tool_version(),
    'created': started.isoformat(timespec='seconds'),
    'seconds': round(seconds, 1),
    'source': {'kind': 'characters', **options},
    'splits': counts,
    'num_bytes': num_bytes,
    # The CSV has no column for it and keeps AnimeCeleb's format.
    _STYLES_KEY: {job.name: job.style for job in jobs},
  }
  files.write_json(stage / MANIFEST_NAME, manifest)
  folder.publish(stage)
  logging.info('Wrote %s: %s', folder.final, counts)
  return manifest


def _check_options(
  *,
  num_identities: int,
  frames_per_identity: int,
  size: int,
  seed: int,
  first_seed: int,
  test_fraction: float,
  styles: Sequence[str],
  num_processes: int,
) -> None:
  problems = []
  for name, value, least in (
    ('num_identities', num_identities, 1),
    ('frames_per_identity', frames_per_identity, 2),
    ('seed', seed, 0),
    ('first_seed', first_seed, 0),
    ('num_processes', num_processes, 1),
  ):
    if value < least:
      problems.append(f'{name} is {value}, wanted at least {least}')
  if frames_per_identity % 2:
    problems.append(
      f'frames_per_identity is {frames_per_identity}, wanted an even number: '
      'half of the frames are frontal'
    )
  if not 0 <= test_fraction < 1:
    problems.append(f'test_fraction is {test_fraction}, wanted [0, 1)')
  for check in (
    lambda: Character.from_seed(0, size),
    lambda: check_styles(styles),
  ):
    try:
      check()
    except ValueError as error:
      problems.append(str(error))
  if problems:
    raise ValueError('; '.join(problems))


def _make_jobs(
  partial: pathlib.Path, options: Mapping[str, Any]
) -> list[character_pictures.IdentityJob]:
  first = options['first_seed']
  return [
    character_pictures.IdentityJob(
      tree=os.fspath(partial / NAME),
      mark=os.fspath(partial / 'done' / f'{identity}.json'),
      identity=identity,
      expressions=options['frames_per_identity'] // len(anime_rows.KINDS),
      size=options['size'],
      seed=options['seed'],
      styles=tuple(options['styles']),
    )
    for identity in range(first, first + options['num_identities'])
  ]


def _clear_stage(
  partial: pathlib.Path,
  jobs: Sequence[character_pictures.IdentityJob],
) -> None:
  """Removes what an interrupted run left and this one does not want."""
  stage = partial / NAME
  stage.mkdir(exist_ok=True)
  marks = partial / 'done'
  marks.mkdir(exist_ok=True)
  wanted = {job.name for job in jobs}
  for mark in marks.iterdir():
    if mark.stem not in wanted:
      mark.unlink()
  patterns = ('basis/*', *(f'{kind}/*/*' for kind in anime_rows.KINDS))
  for folder in [f for pattern in patterns for f in stage.glob(pattern)]:
    if folder.name not in wanted:
      shutil.rmtree(folder)
      with contextlib.suppress(OSError):
        folder.parent.rmdir()  # If that was the last of its cluster.
  for path in stage.iterdir():
    if path.is_file():
      path.unlink()


def _write_tables(
  stage: pathlib.Path,
  jobs: Sequence[character_pictures.IdentityJob],
  test_fraction: float,
) -> dict[str, dict[str, int]]:
  """Writes the CSV and the lists; returns the counts of each split."""
  rows = itertools.chain.from_iterable(job.rows() for job in jobs)
  anime_rows.write_csv(stage, rows)
  names = [job.name for job in jobs]
  test = splits.validation_identities(names, test_fraction)
  members = {
    'train': [name for name in names if name not in test],
    'test': [name for name in names if name in test],
  }
  anime_tree.write_identity_list(
    stage / anime_tree.TRAIN_LIST_NAME, members['train']
  )
  anime_tree.write_identity_list(
    stage / anime_tree.TEST_LIST_NAME, members['test']
  )
  return {
    split: {
      'identities': len(identities),
      'frames': len(identities) * jobs[0].expressions * len(anime_rows.KINDS),
    }
    for split, identities in members.items()
  }
