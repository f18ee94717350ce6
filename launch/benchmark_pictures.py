"""Pictures a second that the pair pipeline delivers, for `launch.benchmark`."""

from __future__ import annotations

import os
import pathlib
import tempfile
import time
from collections.abc import Iterator

from data import (
  picture_codec,
  prepare_anime_frames,
  prepare_characters,
  streams,
)
from data.anime_pairs import AnimePairs
from data.character_pairs import CharacterPairs
from data.pairs import PairOptions
from launch.benchmark_table import Row

SIZES = (256, 96)
# Worker processes and threads (in each worker).
READERS = ((0, 1), (0, 2), (0, 4), (1, 1), (2, 1))
# Drawing is Python, which threads do not speed up.
DRAWERS = ((0, 1), (0, 2), (1, 0), (2, 0))

_BATCH = 8
_IDENTITIES = 16
_FRAMES = 12
# Batches that are not timed: workers start, buffers fill.
_WARM_UP = 6


def benchmark_pictures(seconds: float) -> list[Row]:
  """Records by format, and drawn characters, by size, workers and threads."""
  rows = []
  for size in SIZES:
    options = PairOptions(size=size)
    with tempfile.TemporaryDirectory() as directory:
      for name, source in _record_sources(pathlib.Path(directory), options):
        for workers, threads in READERS:
          rows.append(_measure(name, source, workers, threads, seconds))
    for name, with_flow in (('drawn', False), ('drawn, with flow', True)):
      source = CharacterPairs(range(_IDENTITIES), options, with_flow=with_flow)
      for workers, threads in DRAWERS:
        rows.append(_measure(name, source, workers, threads, seconds))
  return rows


def _record_sources(
  folder: pathlib.Path, options: PairOptions
) -> Iterator[tuple[str, AnimePairs]]:
  prepare_characters.prepare_characters(
    folder,
    num_identities=_IDENTITIES,
    frames_per_identity=_FRAMES,
    size=options.size,
    test_fraction=0,
  )
  for image_format in picture_codec.IMAGE_FORMATS:
    manifest = prepare_anime_frames.prepare_anime_frames(
      prepare_characters.tree_dir(folder),
      folder / image_format,
      image_format=image_format,
      num_threads=os.cpu_count() or 1,
    )
    frames = sum(counts['frames'] for counts in manifest['splits'].values())
    kilobytes = manifest['num_bytes'] / frames / 1e3
    source = AnimePairs(folder / image_format, 'train', options)
    yield f'{image_format} of {kilobytes:.0f} kB', source


def _measure(
  name: str,
  source: streams.ExampleSource,
  workers: int,
  threads: int,
  seconds: float,
) -> Row:
  """Rate of a stream that is read as fast as it can deliver."""
  options = streams.StreamOptions(
    _BATCH, num_workers=workers, num_threads=threads
  )
  with streams.open_stream(source, options) as stream:
    for _ in range(_WARM_UP):
      next(stream)
    began, count = time.perf_counter(), 0
    while count < 5 or time.perf_counter() - began < seconds:
      next(stream)
      count += 1
    took = (time.perf_counter() - began) / count
  size = source.options.size
  return {
    'what': f'pairs, batch {_BATCH}, {size} x {size}, {name}: '
    f'{workers} workers, {threads} threads',
    'milliseconds': 1e3 * took,
    'calls': count,
    'note': f'{2 * _BATCH / took:,.0f} pictures/s',
  }
