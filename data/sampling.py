"""The order of training frames: one random frame of each identity per pass.

The reference's schedule (EDTN, public code): every identity once per pass in
shuffled order, represented by one of its frames at random; passes repeat
without end. The order is a pure function of the seed, with random access, so
that training can resume anywhere and in-memory and streamed training see the
same batches.
"""

from __future__ import annotations

import collections
import threading

import numpy as np

# Threads that read ahead touch a pass and its neighbours at the same time.
_CACHED_PASSES = 4


class IdentitySampler:
  """Frame at every position of an endless training order.

  Position p belongs to pass `p // I`; a pass visits each of I identities
  exactly once.

  Args:
    identity_offsets: [I + 1] int64; identity i has the frames
      `identity_offsets[i]` to `identity_offsets[i + 1]`, at least one.
    seed: any non-negative integer.

  Raises:
    ValueError: if an identity has no frame, or on a negative seed.
  """

  def __init__(self, identity_offsets: np.ndarray, seed: int):
    offsets = np.asarray(identity_offsets, np.int64)
    problems = []
    if offsets.ndim != 1 or len(offsets) < 2 or (np.diff(offsets) <= 0).any():
      problems.append(
        'identity_offsets must rise, with at least one frame an identity'
      )
    if seed < 0:
      problems.append(f'seed is {seed}, wanted 0 or more')
    if problems:
      raise ValueError('; '.join(problems))
    self._offsets = offsets
    self._seed = seed
    self._start()

  def _start(self) -> None:
    self._passes: collections.OrderedDict[int, np.ndarray] = (
      collections.OrderedDict()
    )
    self._lock = threading.Lock()

  def __getstate__(self) -> tuple[np.ndarray, int]:
    return (self._offsets, self._seed)  # A lock cannot be pickled.

  def __setstate__(self, state: tuple[np.ndarray, int]) -> None:
    self._offsets, self._seed = state
    self._start()

  @property
  def num_identities(self) -> int:
    """Identities I, which is the length of a pass."""
    return len(self._offsets) - 1

  def pass_frames(self, pass_index: int) -> np.ndarray:
    """The frames of one pass, in order.

    Args:
      pass_index: 0 or more.

    Returns:
      [I] int64 frame indices, one of each identity. Do not change it.
    """
    with self._lock:
      frames = self._passes.get(pass_index)
      if frames is None:
        frames = self._draw_pass(pass_index)
        self._passes[pass_index] = frames
        if len(self._passes) > _CACHED_PASSES:
          self._passes.popitem(last=False)
      return frames

  def _draw_pass(self, pass_index: int) -> np.ndarray:
    # Only raw bits are used: numpy guarantees them from version to version,
    # but not the methods of Generator, and a resumed run must not change.
    bits = np.random.Philox(np.random.SeedSequence([self._seed, pass_index]))
    order = np.argsort(bits.random_raw(self.num_identities), kind='stable')
    fraction = (bits.random_raw(self.num_identities) >> 11) * 2.0**-53
    counts = np.diff(self._offsets)[order]
    frames = self._offsets[order] + (fraction * counts).astype(np.int64)
    frames.flags.writeable = False
    return frames

  def frame_index(self, positions: np.ndarray) -> np.ndarray:
    """The frames at some positions.

    Args:
      positions: [n] int64, 0 or more, in any order.

    Returns:
      [n] int64 frame indices.
    """
    passes, slots = np.divmod(
      np.asarray(positions, np.int64), self.num_identities
    )
    frames = np.empty_like(slots)
    for pass_index in np.unique(passes).tolist():
      chosen = passes == pass_index
      frames[chosen] = self.pass_frames(pass_index)[slots[chosen]]
    return frames

  def frame_at(self, position: int) -> int:
    """The frame at one position, without the cost of arrays."""
    pass_index, slot = divmod(position, self.num_identities)
    return int(self.pass_frames(pass_index)[slot])
