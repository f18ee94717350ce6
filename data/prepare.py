"""Turns a tree of DECA files into a prepared data set; can be interrupted.

Phase 1 reads every clip folder into one file under `<output>/.partial/clips`
(skipped on the next run if it is there and the folder has not changed).
Phase 2 writes the data set from those files and moves it to its place.
"""

from __future__ import annotations

import concurrent.futures
import dataclasses
import datetime
import hashlib
import json
import multiprocessing
import os
import pathlib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
from absl import logging

from data import codes, dataset_writer, deca, files, layout, splits, voxceleb

# Part of every cached clip's signature: raise it when reading changes.
_CACHE_VERSION = 1

Progress = Callable[[str, int, int], None]


@dataclasses.dataclass(frozen=True)
class ParsedClip:
  """What phase 1 made of a clip folder.

  Attributes:
    source: the folder.
    cache: file with the codes.
    num_frames: usable frames; 0 if the clip is left out.
    skipped: frames left out, as (file name, reason).
  """

  source: voxceleb.ClipSource
  cache: pathlib.Path
  num_frames: int
  skipped: tuple[tuple[str, str], ...]


def prepare_codes(
  input_dir: str | os.PathLike,
  output_dir: str | os.PathLike,
  *,
  validation_fraction: float = 0.02,
  num_processes: int = 1,
  overwrite: bool = False,
  progress: Progress | None = None,
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
  started = datetime.datetime.now(datetime.UTC)
  _check_options(validation_fraction, num_processes)
  found = voxceleb.discover_clips(input_dir, exclude=output_dir)
  dataset_writer.claim_output(output_dir, overwrite=overwrite)
  report = progress or (lambda phase, done, total: None)
  cache_dir = pathlib.Path(output_dir, layout.PARTIAL_NAME, 'clips')
  cache_dir.mkdir(parents=True, exist_ok=True)
  parsed = _parse_all(found.clips, cache_dir, num_processes, report)
  usable = [clip for clip in parsed if clip.num_frames]
  skipped = _list_skipped(parsed, found.empty)
  if not usable:
    raise ValueError(
      f'{input_dir}: none of {len(skipped["frames"])} frames is usable; the '
      f'first: {json.dumps(skipped["frames"][0])}'
    )
  plan = splits.plan_splits([c.source for c in usable], validation_fraction)
  skipped['clips'] += [
    _skipped_clip(source, 'its identity is in a held-out split')
    for source in plan.dropped
  ]
  cache_of = {clip.source: clip.cache for clip in usable}
  count = _Counter(report, 'write', sum(map(len, plan.clips.values())))
  manifest = dataset_writer.write_dataset(
    output_dir,
    {
      split: _load_cached(sources, cache_of, count)
      for split, sources in plan.clips.items()
    },
    source={
      'kind': 'deca',
      'name': pathlib.Path(input_dir).resolve().name,
      'splits_given': found.has_splits,
      'validation_fraction': validation_fraction,
    },
    notes=plan.notes,
    skipped=skipped,
    started=started,
    overwrite=overwrite,
  )
  _log_summary(manifest)
  return manifest


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


def _check_options(validation_fraction: float, num_processes: int) -> None:
  problems = []
  if not 0 <= validation_fraction < 1:
    problems.append(
      f'validation_fraction is {validation_fraction}, wanted [0, 1)'
    )
  if num_processes < 1:
    problems.append(f'num_processes is {num_processes}, wanted at least 1')
  if problems:
    raise ValueError('; '.join(problems))


@dataclasses.dataclass
class _Counter:
  report: Progress
  phase: str
  total: int
  done: int = 0

  def step(self) -> None:
    self.done += 1
    self.report(self.phase, self.done, self.total)


def _parse_all(
  sources: Sequence[voxceleb.ClipSource],
  cache_dir: pathlib.Path,
  num_processes: int,
  report: Progress,
) -> list[ParsedClip]:
  """Phase 1 for every clip, in the order of `sources`."""
  count = _Counter(report, 'read', len(sources))
  jobs = [(source, cache_dir / _cache_name(source)) for source in sources]
  if num_processes == 1:
    return [_counted(_parse_clip(job), count) for job in jobs]
  # A forked process would inherit JAX's threads, which deadlocks.
  context = multiprocessing.get_context('spawn')
  pool = concurrent.futures.ProcessPoolExecutor(num_processes, context)
  try:
    results = pool.map(_parse_clip, jobs, chunksize=8)
    return [_counted(result, count) for result in results]
  finally:
    pool.shutdown(cancel_futures=True)


def _counted(parsed: ParsedClip, count: _Counter) -> ParsedClip:
  count.step()
  return parsed


def _cache_name(source: voxceleb.ClipSource) -> str:
  key = f'{source.split}/{source.name}'
  return hashlib.sha256(key.encode('utf-8')).hexdigest()[:32] + '.npz'


def _parse_clip(job: tuple[voxceleb.ClipSource, pathlib.Path]) -> ParsedClip:
  """Reads one clip folder, or finds that an earlier run has done so."""
  source, cache = job
  signature = _signature(source)
  known = _read_cache_header(cache, signature)
  if known is not None:
    return ParsedClip(source, cache, *known)
  clip, left_out = deca.read_clip(
    source.folder, identity=source.identity, name=source.name
  )
  skipped = tuple((os.path.basename(s.path), s.reason) for s in left_out)
  num_frames = clip.num_frames if clip else 0
  files.write_npz(
    cache,
    {
      'header': np.array(json.dumps([signature, num_frames, skipped])),
      **(codes.clip_to_arrays(clip) if clip else {}),
    },
  )
  return ParsedClip(source, cache, num_frames, skipped)


def _signature(source: voxceleb.ClipSource) -> str:
  """Changes whenever reading the folder again could give something else."""
  digest = hashlib.sha256()
  head = (
    _CACHE_VERSION,
    source.identity,
    source.name,
    str(source.folder.resolve()),
  )
  digest.update(repr(head).encode('utf-8'))
  for path in deca.list_frames(source.folder):
    try:
      stat = path.stat()
      line = (path.name, stat.st_size, stat.st_mtime_ns)
    except OSError:  # A link to nowhere; reading it will give the reason.
      line = (path.name,)
    digest.update(repr(line).encode('utf-8'))
  return digest.hexdigest()


def _read_cache_header(
  cache: pathlib.Path, signature: str
) -> tuple[int, tuple[tuple[str, str], ...]] | None:
  """Frame count and skipped frames of a cached clip, None if not usable."""
  try:
    with np.load(cache, allow_pickle=False) as stored:
      found, num_frames, skipped = json.loads(str(stored['header']))
  # Absent, of another version or damaged: the clip is read again.
  except Exception:
    return None
  if found != signature:
    return None
  return num_frames, tuple((name, reason) for name, reason in skipped)


def _load_cached(
  sources: Sequence[voxceleb.ClipSource],
  cache_of: Mapping[voxceleb.ClipSource, pathlib.Path],
  count: _Counter,
) -> Iterator[codes.CodeClip]:
  for source in sources:
    yield codes.clip_from_arrays(files.read_npz(cache_of[source]))
    count.step()


def _skipped_clip(source: voxceleb.ClipSource, reason: str) -> dict[str, str]:
  where = {'split': source.split} if source.split else {}
  return {**where, 'clip': source.name, 'reason': reason}


def _list_skipped(
  parsed: Sequence[ParsedClip], empty: Sequence[voxceleb.ClipSource]
) -> dict[str, list[dict[str, str]]]:
  frames = [
    {**_skipped_clip(clip.source, reason), 'frame': name}
    for clip in parsed
    for name, reason in clip.skipped
  ]
  clips = [
    _skipped_clip(clip.source, 'no usable frame')
    for clip in parsed
    if not clip.num_frames
  ]
  clips += [_skipped_clip(source, 'no .mat file') for source in empty]
  return {'frames': frames, 'clips': clips}


def _log_summary(manifest: Mapping[str, Any]) -> None:
  for note in manifest['notes']:
    logging.warning('%s', note)
  skipped = manifest['skipped']
  if skipped['num_frames'] or skipped['num_clips']:
    logging.warning(
      'Left out %d frames and %d clips; the manifest lists them with reasons.',
      skipped['num_frames'],
      skipped['num_clips'],
    )
