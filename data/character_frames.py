"""Pairs of frames of drawn characters, made when they are asked for.

source = CharacterFrames(range(1000), size=256, seed=0)
dataset = grain.MapDataset.source(source).seed(0).shuffle().batch(8)
"""

from __future__ import annotations

import collections
import operator
import threading
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np

from data import anime_sampling, anime_tree
from data.characters.character import Character
from data.characters.style import STYLES, check_styles, style_of

# Building a character takes as long as drawing it once.
_CACHED_CHARACTERS = 64


class CharacterFrames:
  """Random access to pairs that are a function of their index alone.

  Consecutive indices are consecutive identities, so that an epoch of any
  length shows all of them equally often. Poses are sampled as in a prepared
  set of characters; a picture equals the one of a prepared set on white.

  Args:
    seeds: seeds of the characters.
    size: height and width of the pictures in pixels.
    seed: of the poses and styles, 0 or more.
    pairs_per_identity: length of the source by the number of characters.
    rotated_fraction: share of driving frames with head angles, in [0, 1].
    source_rotated_fraction: share of source frames with head angles, drawn
      independently; the same share when None.
    styles: shading styles; each identity has one of them, as in a prepared
      set with the same seed and styles.

  Raises:
    ValueError: on wrong options, all named at once.
  """

  def __init__(
    self,
    seeds: Iterable[int],
    size: int = 256,
    seed: int = 0,
    *,
    pairs_per_identity: int = 100,
    rotated_fraction: float = 0.5,
    source_rotated_fraction: float | None = None,
    styles: Sequence[str] = STYLES,
  ):
    self._seeds = tuple(map(operator.index, seeds))
    self._size = size
    self._seed = seed
    self._pairs_per_identity = pairs_per_identity
    if source_rotated_fraction is None:
      source_rotated_fraction = rotated_fraction
    self._rotated_fractions = {
      'source': source_rotated_fraction,
      'driving': rotated_fraction,
    }
    self._styles = styles
    self._check()
    self._styles = check_styles(styles)
    self._start()

  def _check(self) -> None:
    problems = []
    if not self._seeds or min(self._seeds) < 0:
      problems.append('seeds are wanted: at least one, none below 0')
    if self._seed < 0:
      problems.append(f'seed is {self._seed}, wanted 0 or more')
    if self._pairs_per_identity < 1:
      problems.append(
        f'pairs_per_identity is {self._pairs_per_identity}, wanted at least 1'
      )
    for role, name in (
      ('source', 'source_rotated_fraction'),
      ('driving', 'rotated_fraction'),
    ):
      fraction = self._rotated_fractions[role]
      if not 0 <= fraction <= 1:
        problems.append(f'{name} is {fraction}, wanted [0, 1]')
    for check in (
      lambda: Character.from_seed(0, self._size),
      lambda: check_styles(self._styles),
    ):
      try:
        check()
      except ValueError as error:
        problems.append(str(error))
    if problems:
      raise ValueError('; '.join(problems))

  def _start(self) -> None:
    self._characters: collections.OrderedDict[int, Character] = (
      collections.OrderedDict()
    )
    self._lock = threading.Lock()

  def __getstate__(self) -> dict[str, Any]:
    state = dict(self.__dict__)
    del state['_characters'], state['_lock']  # A lock cannot be pickled.
    return state

  def __setstate__(self, state: dict[str, Any]) -> None:
    self.__dict__.update(state)
    self._start()

  def __repr__(self) -> str:
    return (
      f'CharacterFrames({len(self._seeds)} characters, size={self._size}, '
      f'seed={self._seed})'
    )

  def __len__(self) -> int:
    return len(self._seeds) * self._pairs_per_identity

  def style_of(self, identity: int) -> str:
    """Shading style of a character, by its seed."""
    return style_of(self._seed, identity, self._styles)

  def __getitem__(self, index: int) -> dict[str, Any]:
    """Draws one pair.

    Args:
      index: 0 to `len(self) - 1`.

    Returns:
      `source_image` and `driving_image`, [size, size, 3] uint8 RGB on white;
      `source_pose` and `driving_pose`, [20] float32; `identity`, int64 seed.

    Raises:
      IndexError: if there is no such pair.
    """
    identity, poses = self.poses(index)
    character = self.character(identity)
    pair: dict[str, Any] = {'identity': np.int64(identity)}
    for role, pose in poses.items():
      pair[f'{role}_pose'] = pose
      pair[f'{role}_image'] = anime_tree.on_white(character.render(pose))
    return pair

  def poses(self, index: int) -> tuple[int, dict[str, np.ndarray]]:
    """What a pair shows, without drawing it.

    Args:
      index: 0 to `len(self) - 1`.

    Returns:
      The identity's seed, and the [20] float32 pose vectors by role: `source`
      and `driving`.

    Raises:
      IndexError: if there is no such pair.
    """
    index = operator.index(index)
    if not 0 <= index < len(self):
      raise IndexError(f'pair {index} of {len(self)}')
    bits = np.random.Philox(np.random.SeedSequence([self._seed, index]))
    rng = np.random.Generator(bits)
    poses = {}
    for role, fraction in self._rotated_fractions.items():
      rotate = bool(rng.random() < fraction)
      [poses[role]] = anime_sampling.sample_poses(rng, 1, rotate)
    return self._seeds[index % len(self._seeds)], poses

  def character(self, identity: int) -> Character:
    """The character of a seed; the ones used last are kept."""
    with self._lock:
      character = self._characters.pop(identity, None)
    # Built without the lock, so that threads do not wait for each other.
    character = character or Character.from_seed(
      identity, self._size, self.style_of(identity)
    )
    with self._lock:
      self._characters[identity] = character
      if len(self._characters) > _CACHED_CHARACTERS:
        self._characters.popitem(last=False)
    return character
