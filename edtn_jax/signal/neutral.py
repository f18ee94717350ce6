"""Finds a person's neutral face in a stream, in bounded memory."""

from __future__ import annotations

import collections.abc
import dataclasses

import numpy as np

from edtn_jax.signal import pose, rotation

# Frames kept to choose from; longer streams are thinned evenly.
_MOST_FRAMES = 4096


class NeutralError(ValueError):
  """The neutral face that was asked for cannot be found."""


@dataclasses.dataclass(frozen=True)
class Neutral:
  """A person at rest.

  Attributes:
    frames: names of the frames it was taken from.
    expression: [50] float32, mean expression code.
    pose_coeffs: [17] float32, mean network output.
    global_pose: [3] float64, mean head rotation, axis-angle radians.
  """

  frames: tuple[str, ...]
  expression: np.ndarray
  pose_coeffs: np.ndarray
  global_pose: np.ndarray


class NeutralFinder:
  """Takes in a stream, then tells the neutral face.

  Without names it keeps evenly spaced frames, at most 4096, and picks the
  calmest tenth of them (`pose.pick_neutral_frames`). With names it keeps
  exactly those.
  """

  def __init__(
    self, names: collections.abc.Iterable[str] = (), fraction: float = 0.1
  ):
    """Starts with nothing seen.

    Args:
      names: frame names to use; empty picks automatically.
      fraction: share of the frames picked automatically, in (0, 1].
    """
    self._names = frozenset(names)
    self._fraction = fraction
    self._every = 1
    self._seen = 0
    self._first = self._last = ''
    self._kept: list[tuple[str, np.ndarray]] = []

  def add(
    self,
    frames: collections.abc.Sequence[str],
    expression: np.ndarray,
    global_pose: np.ndarray,
    pose_coeffs: np.ndarray,
  ) -> None:
    """Takes in the next frames.

    Args:
      frames: T frame names.
      expression: [T, 50] float.
      global_pose: [T, 3] float, axis-angle radians.
      pose_coeffs: [T, 17] float, network output.
    """
    if len(frames):
      self._first = self._first if self._seen else frames[0]
      self._last = frames[-1]
    rows = np.concatenate([expression, global_pose, pose_coeffs], axis=1)
    for i, name in enumerate(frames):
      # Copies: a view would keep the whole chunk alive.
      if name in self._names:
        self._kept.append((name, rows[i].copy()))
      elif not self._names and (self._seen + i) % self._every == 0:
        self._kept.append((name, rows[i].copy()))
        if len(self._kept) > _MOST_FRAMES:
          self._kept = self._kept[::2]
          self._every *= 2
    self._seen += len(frames)

  def find(self) -> Neutral:
    """The neutral face of everything taken in.

    Returns:
      The neutral face.

    Raises:
      NeutralError: if there were no frames, or a named frame was not there.
    """
    if not self._seen:
      raise NeutralError('no frames, so no neutral face')
    missing = sorted(self._names - {name for name, _ in self._kept})
    if missing:
      raise NeutralError(
        f'neutral frames not found among {self._seen} frames: '
        f'{", ".join(missing)}. They are called {self._first!r} to '
        f'{self._last!r}'
      )
    rows = np.stack([row for _, row in self._kept])
    names = [name for name, _ in self._kept]
    expression, global_pose, coeffs = np.split(rows, [-20, -17], axis=1)
    if not self._names:
      chosen = pose.pick_neutral_frames(coeffs, self._fraction)
      names = [names[i] for i in chosen]
      expression, global_pose, coeffs = (
        part[chosen] for part in (expression, global_pose, coeffs)
      )
    return Neutral(
      frames=tuple(names),
      expression=expression.mean(axis=0).astype(np.float32),
      pose_coeffs=coeffs.mean(axis=0).astype(np.float32),
      global_pose=rotation.mean_rotation(global_pose),
    )
