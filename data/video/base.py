"""What all writers of moving pictures share: checks, backgrounds, timing."""

from __future__ import annotations

import abc
import fractions
import math
import os
import pathlib

import numpy as np

Color = tuple[int, int, int]

_LEAST_FPS, _MOST_FPS = fractions.Fraction(1, 1000), 1000
# Containers store both parts of a rate in 31 bits.
_LARGEST_DENOMINATOR = 1_000_000


class VideoError(ValueError):
  """A moving picture that cannot be read or written; says what to do."""


def exact_fps(fps: float | fractions.Fraction) -> fractions.Fraction:
  """The rate that is meant, as a fraction.

  Television's rates (23.976, 29.97, 59.94 ...) are n * 1000 / 1001; every
  other number is taken as it is written.

  Args:
    fps: frames a second, 0.001 to 1000.

  Returns:
    Frames a second; both parts fit into 31 bits.

  Raises:
    VideoError: if it is no such number.
  """
  if not math.isfinite(fps) or not _LEAST_FPS <= fps <= _MOST_FPS:
    raise VideoError(
      f'{fps} frames a second: must be {float(_LEAST_FPS)} to {_MOST_FPS}'
    )
  if isinstance(fps, fractions.Fraction):
    return fps.limit_denominator(_LARGEST_DENOMINATOR)
  television = fractions.Fraction(round(fps * 1.001) * 1000, 1001)
  is_near = television > 0 and abs(fps - television) < 2e-3
  if not float(fps).is_integer() and is_near:
    return television
  return fractions.Fraction(fps).limit_denominator(1000)


class VideoWriter(abc.ABC):
  """Takes frames one by one; the result appears when all are in.

  Use as a context manager. When the block ends, the file is completed and
  gets its name; when it raises, whatever stood under that name stays as it
  was. Without any frame nothing is written.

  Attributes:
    path: where the result goes.
    fps: frames a second, a fraction.
    frame_count: frames added so far.
    keeps_alpha: whether transparency is stored. Where it is not, frames are
      laid on the background colour.
  """

  keeps_alpha = False

  def __init__(
    self,
    path: str | os.PathLike,
    fps: float | fractions.Fraction,
    size: tuple[int, int] | None = None,
    *,
    background: Color = (255, 255, 255),
  ):
    """Checks the arguments; see `open_video_writer`."""
    self.path = pathlib.Path(path)
    self.fps = exact_fps(fps)
    self.frame_count = 0
    self._size = size
    self._background = np.array(background, np.uint16)
    self._open = True

  def add(self, frame: np.ndarray) -> None:
    """Adds a frame.

    Args:
      frame: [H, W, 3] or [H, W, 4] uint8, RGB or RGBA, all of one size; what
        has a different size or type is an error.

    Raises:
      VideoError: if the frame does not fit, or cannot be stored.
    """
    if not self._open:
      raise VideoError(f'{self.path}: frames were added after the end')
    frame = np.asarray(frame)
    fits = frame.dtype == np.uint8 and frame.ndim == 3
    if not fits or frame.shape[2] not in (3, 4) or not frame.size:
      raise VideoError(
        f'{self.path}: frame {self.frame_count} is {frame.dtype} '
        f'{frame.shape}, wanted uint8 [H, W, 3] or [H, W, 4]'
      )
    size = frame.shape[1], frame.shape[0]
    self._size = self._size or size
    if size != tuple(self._size):
      raise VideoError(
        f'{self.path}: frame {self.frame_count} is {size[0]} x {size[1]} '
        f'pixels, wanted {self._size[0]} x {self._size[1]}'
      )
    if frame.shape[2] == 4 and not self.keeps_alpha:
      frame = self._flat(frame)
    self._write(frame)
    self.frame_count += 1

  def close(self) -> None:
    """Completes the result, once, and gives it its name."""
    if not self._open:
      return
    self._open = False
    self._finish()

  def __enter__(self) -> VideoWriter:
    return self

  def __exit__(self, error_type, error, traceback) -> None:
    if error is None:
      self.close()
    elif self._open:
      self._open = False
      self._discard(error)

  def _flat(self, frame: np.ndarray) -> np.ndarray:
    """Lays [H, W, 4] on the background: [H, W, 3] uint8."""
    alpha = frame[..., 3:].astype(np.uint16)
    mixed = frame[..., :3] * alpha + self._background * (255 - alpha)
    return ((mixed + 127) // 255).astype(np.uint8)

  @abc.abstractmethod
  def _write(self, frame: np.ndarray) -> None:
    """Stores a frame that has been checked."""

  @abc.abstractmethod
  def _finish(self) -> None:
    """Completes the result; called once, after the last frame."""

  @abc.abstractmethod
  def _discard(self, error: BaseException) -> None:
    """Ends without a result because of `error`."""


def temporary_path(path: pathlib.Path) -> pathlib.Path:
  """Where a file is written before it gets its name; one a process."""
  return path.with_name(f'.{path.name}.{os.getpid()}.tmp')
