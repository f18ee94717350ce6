"""Splits by identity: one person is never in two splits."""

from __future__ import annotations

import dataclasses
import hashlib
from collections.abc import Iterable, Sequence

from data import voxceleb


def _position(identity: str) -> float:
  """A number in [0, 1) that depends on the name alone, on any machine."""
  digest = hashlib.sha256(identity.encode('utf-8')).digest()
  return int.from_bytes(digest[:8], 'big') / 2**64


def validation_identities(
  identities: Iterable[str], fraction: float
) -> set[str]:
  """Picks the identities to hold out, by a hash of their names.

  Whether an identity is picked does not depend on the others, so that a data
  set that grows keeps its split, except that of two or more identities at
  least one is picked and at least one is not.

  Args:
    identities: names.
    fraction: expected share, in [0, 1); 0 picks none.

  Returns:
    The names picked.
  """
  ordered = sorted(set(identities), key=lambda name: (_position(name), name))
  if fraction == 0 or len(ordered) < 2:
    return set()
  picked = sum(_position(name) < fraction for name in ordered)
  picked = min(max(picked, 1), len(ordered) - 1)
  return set(ordered[:picked])


@dataclasses.dataclass(frozen=True)
class SplitPlan:
  """Which clip goes where.

  Attributes:
    clips: split name to its clips, in the order given; no empty split.
    dropped: clips of the training folder whose identity is also tested.
    notes: what a reader of the data set should know.
  """

  clips: dict[str, list[voxceleb.ClipSource]]
  dropped: list[voxceleb.ClipSource]
  notes: list[str]


def plan_splits(
  sources: Sequence[voxceleb.ClipSource], fraction: float
) -> SplitPlan:
  """Keeps the splits that the tree gives; takes validation out of the rest.

  Args:
    sources: usable clips; those without a split count as training.
    fraction: share of training identities to validate on.

  Returns:
    The plan.
  """
  clips: dict[str, list] = {'train': [], 'validation': [], 'test': []}
  for source in sources:
    clips[source.split or 'train'].append(source)
  people = {
    split: {source.identity for source in members}
    for split, members in clips.items()
  }
  notes = []
  # What is tested must not be learnt; the test folder is kept as given.
  held_out = {
    'train': people['validation'] | people['test'],
    'validation': people['test'],
    'test': set(),
  }
  dropped = [
    source
    for split, members in clips.items()
    for source in members
    if source.identity in held_out[split]
  ]
  for split, members in clips.items():
    clips[split] = [s for s in members if s.identity not in held_out[split]]
  if dropped:
    notes.append(
      f'{len(dropped)} clips left out, because their identity is also in a '
      'split that is held out'
    )
  if clips['train'] and not clips['validation']:
    notes += _take_validation(clips, fraction)
  if not clips['train']:
    notes.append('no train split: the source has clips for testing only')
  clips = {split: members for split, members in clips.items() if members}
  return SplitPlan(clips, dropped, notes)


def _take_validation(clips: dict[str, list], fraction: float) -> list[str]:
  """Moves validation identities out of `clips['train']`; returns notes."""
  identities = {source.identity for source in clips['train']}
  picked = validation_identities(identities, fraction)
  if not picked:
    why = 'fraction is 0' if fraction == 0 else 'there is only one identity'
    return [f'no validation split: {why}']
  for source in clips['train']:
    if source.identity in picked:
      clips['validation'].append(source)
  clips['train'] = [s for s in clips['train'] if s.identity not in picked]
  return []
