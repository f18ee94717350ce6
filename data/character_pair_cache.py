"""Pairs of drawn characters, drawn once by several processes."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Sequence

import numpy as np
from absl import logging

from data import pairs, workers
from data.character_pairs import CharacterPairs
from data.streams import Batch

# Characters of a task of one process. Building a character costs more than
# drawing it, and so many are kept (`CharacterFrames`).
_GROUP = 32


@dataclasses.dataclass(frozen=True)
class _Group:
  """One task: some characters and how to draw them."""

  seeds: tuple[int, ...]
  pairs_per_identity: int
  options: pairs.PairOptions
  rotated_fraction: float
  source_rotated_fraction: float | None
  styles: tuple[str, ...]
  with_flow: bool

  def draw(self) -> Batch:
    source = CharacterPairs(
      self.seeds,
      self.options,
      rotated_fraction=self.rotated_fraction,
      source_rotated_fraction=self.source_rotated_fraction,
      styles=self.styles,
      with_flow=self.with_flow,
    )
    count = len(self.seeds) * self.pairs_per_identity
    drawn = [source[i] for i in range(count)]
    return {name: np.stack([p[name] for p in drawn]) for name in drawn[0]}


def draw_pairs(
  seeds: Sequence[int],
  pairs_per_identity: int,
  options: pairs.PairOptions,
  *,
  rotated_fraction: float,
  source_rotated_fraction: float | None = None,
  styles: Sequence[str],
  with_flow: bool,
  num_processes: int = 0,
) -> Batch:
  """Draws all pairs of some characters.

  Args:
    seeds: seeds of the characters.
    pairs_per_identity: pairs of each.
    options: see `pairs.PairOptions`; the result is a function of them, the
      seeds and the number of pairs, whatever the number of processes.
    rotated_fraction: share of driving frames with head angles, in [0, 1].
    source_rotated_fraction: share of source frames with head angles; the
      same share when None.
    styles: shading styles; each identity has one of them.
    with_flow: whether the true flow is made as well.
    num_processes: drawing processes; 0 is one a core, 1 draws in this one.

  Returns:
    Arrays as in `data.pairs` with a leading axis over all pairs.

  Raises:
    ValueError: on wrong options.
  """
  groups = [
    _Group(
      tuple(seeds[start : start + _GROUP]),
      pairs_per_identity,
      # Every group draws its own poses.
      dataclasses.replace(options, seed=options.seed + start),
      rotated_fraction,
      source_rotated_fraction,
      tuple(styles),
      with_flow,
    )
    for start in range(0, len(seeds), _GROUP)
  ]
  num_processes = min(num_processes or os.cpu_count() or 1, len(groups))
  logging.info(
    'Drawing %d pairs of %d characters by %d process(es)',
    len(seeds) * pairs_per_identity,
    len(seeds),
    num_processes,
  )
  drawn = list(workers.map_in_processes(_Group.draw, groups, num_processes))
  return {name: np.concatenate([d[name] for d in drawn]) for name in drawn[0]}
