"""Clips from any source to a prepared data set; can be interrupted.

Phase 1 makes the codes of every clip and keeps each in a file under
`<output>/.partial/clips` (skipped on the next run if it is there and the clip
has not changed). Phase 2 writes the data set from those files and moves it to
its place.
"""

from __future__ import annotations

import abc
import dataclasses
import datetime
import functools
import hashlib
import json
import os
import pathlib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any, Protocol

import numpy as np
from absl import logging

from data import codes, dataset_writer, files, layout, splits, workers

# Part of every cached clip's signature: raise it when its file changes.
_CACHE_VERSION = 2

Progress = Callable[[str, int, int], None]


class ClipSource(Protocol):
  """What a clip is made of, such as `data.voxceleb.ClipSource`; hashable.

  Attributes:
    split: one of `layout.SPLITS`, or None where the source does not say.
    identity: who it is.
    name: what it is called, unlike all others of its split.
  """

  split: str | None
  identity: str
  name: str


@dataclasses.dataclass(frozen=True)
class MadeClip:
  """What became of a source.

  Attributes:
    clip: the codes, or None if the clip is left out.
    skipped: frames left out, as (name, reason).
    reason: why the clip is left out.
    is_final: whether trying again would give the same; else a later run does.
  """

  clip: codes.CodeClip | None
  skipped: tuple[tuple[str, str], ...] = ()
  reason: str = ''
  is_final: bool = True


class ClipMaker(abc.ABC):
  """Makes codes of a source; is sent to other processes."""

  @abc.abstractmethod
  def stamp(self, source: ClipSource) -> Iterable[object]:
    """Whatever changes when making it again could give something else."""

  @abc.abstractmethod
  def make(self, source: ClipSource) -> MadeClip:
    """Makes the codes; faults of this source alone become a reason."""


@dataclasses.dataclass(frozen=True)
class _CachedClip:
  """A source that phase 1 is through with; 0 frames if it is left out."""

  source: ClipSource
  cache: pathlib.Path
  num_frames: int
  skipped: tuple[tuple[str, str], ...]
  reason: str


def prepare_clips(
  input_dir: str | os.PathLike,
  output_dir: str | os.PathLike,
  sources: Sequence[ClipSource],
  maker: ClipMaker,
  *,
  source: Mapping[str, Any],
  left_out: Sequence[tuple[ClipSource, str]] = (),
  notes: Iterable[str] = (),
  phase: str = 'read',
  validation_fraction: float = 0.02,
  num_processes: int = 1,
  chunksize: int = 1,
  environment: Mapping[str, str] | None = None,
  overwrite: bool = False,
  progress: Progress | None = None,
) -> dict[str, Any]:
  """Makes clips and writes those that are usable.

  Killed at any point and started again, it ends with the same data set.

  Args:
    input_dir: where the clips are from.
    output_dir: where `deca_codes/1.0.0` shall be.
    sources: at least one, sorted by split, identity and name.
    maker: makes their codes.
    source: what they are, for the manifest.
    left_out: sources that are none, with the reason, for the manifest.
    notes: sentences for the manifest.
    phase: what progress calls the making.
    validation_fraction: see `check_options`.
    num_processes: processes that make clips.
    chunksize: clips that a process takes at once.
    environment: variables of these processes; see `workers`.
    overwrite: whether a finished data set may be replaced.
    progress: called with phase (`phase` or `write`), clips done, clips in all.

  Returns:
    The manifest, as stored in `manifest.json`.

  Raises:
    FileExistsError: if a finished data set is there already.
    ValueError: if no source is usable.
    OSError: if the output cannot be written.
  """
  started = datetime.datetime.now(datetime.UTC)
  dataset_writer.claim_output(output_dir, overwrite=overwrite)
  report = progress or (lambda phase, done, total: None)
  cache_dir = pathlib.Path(output_dir, layout.PARTIAL_NAME, 'clips')
  cache_dir.mkdir(parents=True, exist_ok=True)
  count = _Counter(report, phase, len(sources))
  made = []
  for cached in workers.map_in_processes(
    functools.partial(_make_cached, maker, cache_dir),
    sources,
    num_processes,
    chunksize=chunksize,
    environment=environment,
  ):
    made.append(cached)
    count.step()
  skipped = _list_skipped(made, left_out)
  usable = [clip for clip in made if clip.num_frames]
  if not usable:
    raise ValueError(_nothing_usable(input_dir, skipped))
  plan = splits.plan_splits([c.source for c in usable], validation_fraction)
  skipped['clips'] += [
    _skipped_clip(s, 'its identity is in a held-out split')
    for s in plan.dropped
  ]
  cache_of = {clip.source: clip.cache for clip in usable}
  count = _Counter(report, 'write', sum(map(len, plan.clips.values())))
  manifest = dataset_writer.write_dataset(
    output_dir,
    {
      split: _load_cached(members, cache_of, count)
      for split, members in plan.clips.items()
    },
    source={
      'name': pathlib.Path(input_dir).resolve().name,
      **source,
      'validation_fraction': validation_fraction,
    },
    notes=[*notes, *plan.notes],
    skipped=skipped,
    started=started,
    overwrite=overwrite,
  )
  _log_summary(manifest)
  return manifest


def check_options(validation_fraction: float, num_processes: int) -> None:
  """Checks what every source of clips has.

  Args:
    validation_fraction: share of the training identities to hold out, in
      [0, 1); of two or more, at least one is held out unless it is 0.
    num_processes: at least 1.

  Raises:
    ValueError: with all problems.
  """
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


def _make_cached(
  maker: ClipMaker, cache_dir: pathlib.Path, source: ClipSource
) -> _CachedClip:
  """Makes one clip, or finds that an earlier run has done so."""
  cache = cache_dir / _cache_name(source)
  signature = _signature(maker, source)
  known = _read_header(cache, signature)
  if known is not None:
    return _CachedClip(source, cache, *known)
  made = maker.make(source)
  num_frames = made.clip.num_frames if made.clip else 0
  header = [signature, num_frames, made.skipped, made.reason]
  if made.is_final:
    files.write_npz(
      cache,
      {
        'header': np.array(json.dumps(header)),
        **(codes.clip_to_arrays(made.clip) if made.clip else {}),
      },
    )
  return _CachedClip(source, cache, num_frames, made.skipped, made.reason)


def _cache_name(source: ClipSource) -> str:
  key = f'{source.split}/{source.name}'
  return hashlib.sha256(key.encode('utf-8')).hexdigest()[:32] + '.npz'


def _signature(maker: ClipMaker, source: ClipSource) -> str:
  digest = hashlib.sha256()
  head = (_CACHE_VERSION, source.identity, source.name)
  for line in (head, *maker.stamp(source)):
    digest.update(repr(line).encode('utf-8'))
  return digest.hexdigest()


def _read_header(
  cache: pathlib.Path, signature: str
) -> tuple[int, tuple[tuple[str, str], ...], str] | None:
  """What is known of a cached clip besides its codes, None if not usable."""
  try:
    with np.load(cache, allow_pickle=False) as stored:
      found, num_frames, skipped, reason = json.loads(str(stored['header']))
  # Absent, of another version or damaged: the clip is made again.
  except Exception:
    return None
  if found != signature:
    return None
  return num_frames, tuple((name, why) for name, why in skipped), reason


def _load_cached(
  sources: Sequence[ClipSource],
  cache_of: Mapping[ClipSource, pathlib.Path],
  count: _Counter,
) -> Iterator[codes.CodeClip]:
  for source in sources:
    yield codes.clip_from_arrays(files.read_npz(cache_of[source]))
    count.step()


def _skipped_clip(source: ClipSource, reason: str) -> dict[str, str]:
  where = {'split': source.split} if source.split else {}
  return {**where, 'clip': source.name, 'reason': reason}


def _list_skipped(
  made: Sequence[_CachedClip], left_out: Sequence[tuple[ClipSource, str]]
) -> dict[str, list[dict[str, str]]]:
  frames = [
    {**_skipped_clip(clip.source, reason), 'frame': name}
    for clip in made
    for name, reason in clip.skipped
  ]
  clips = [
    _skipped_clip(clip.source, clip.reason)
    for clip in made
    if not clip.num_frames
  ]
  clips += [_skipped_clip(source, reason) for source, reason in left_out]
  return {'frames': frames, 'clips': clips}


def _nothing_usable(
  input_dir: str | os.PathLike, skipped: Mapping[str, list]
) -> str:
  kind = 'frames' if skipped['frames'] else 'clips'
  return (
    f'{input_dir}: none of {len(skipped[kind])} {kind} is usable; the first: '
    f'{json.dumps(skipped[kind][0], ensure_ascii=False)}'
  )


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
