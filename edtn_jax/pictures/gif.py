"""Writes GIFs frame by frame: one palette for all, honest durations."""

from __future__ import annotations

import itertools
import os
import pathlib
import tempfile
import zlib

import numpy as np
from PIL import Image

from edtn_jax.pictures import style

_TRANSPARENT = 255
_APART = 6
_SAMPLES_PER_FRAME = 4096
_MOST_SAMPLES = 100_000
# Browsers play anything shorter as 10 centiseconds.
_SHORTEST_CS = 2


def frame_durations_cs(count: int, frame_rate: float) -> list[int]:
  """Durations that add up to the true time.

  GIF counts in hundredths of a second; 30 frames a second needs 3, 3, 4. The
  error never exceeds half a hundredth, however long the GIF.

  Args:
    count: number of frames.
    frame_rate: frames a second, > 0.

  Returns:
    `count` durations in hundredths of a second, each at least 2 (what
    browsers honour; above 50 frames a second playback slows down).
  """
  edges = [round(100 * i / frame_rate) for i in range(count + 1)]
  return [
    max(_SHORTEST_CS, end - start) for start, end in itertools.pairwise(edges)
  ]


class GifWriter:
  """Collects frames on disk and writes them with one shared palette.

  A palette a frame makes still areas flicker, so the palette is made at the
  end, from samples of every frame. Until then frames wait, compressed, in a
  temporary file: memory holds one frame and a few samples of each. Encoding
  holds all frames once at one byte a pixel, which `max_frames` bounds.

  Use as a context manager; the file appears when the block ends without an
  error, and only then.

  Example:
    >>> with GifWriter('out.gif', frame_rate=12.5) as gif:
    ...   for frame in frames:
    ...     gif.add(frame)

  Attributes:
    path: where the GIF goes.
    frame_count: frames added so far.
  """

  def __init__(
    self,
    path: str | os.PathLike,
    frame_rate: float,
    *,
    max_frames: int = 200,
    flat_colors: tuple[style.Color, ...] = style.FLAT_COLORS,
  ):
    """Opens the temporary file.

    Args:
      path: where the GIF goes; its folder must exist.
      frame_rate: frames a second, > 0.
      max_frames: frames beyond these are dropped (`full` says when).
      flat_colors: colours that the palette must hold exactly.

    Raises:
      ValueError: if the frame rate or the bound is not above 0.
    """
    if not frame_rate > 0 or max_frames < 1:
      raise ValueError(
        f'GIF: frame_rate is {frame_rate}, max_frames {max_frames}; both must '
        'be above 0'
      )
    self.path = pathlib.Path(path)
    self.frame_count = 0
    self._frame_rate = frame_rate
    self._max_frames = max_frames
    self._flat_colors = flat_colors
    self._lengths: list[int] = []
    self._samples: list[np.ndarray] = []
    self._shape: tuple[int, ...] | None = None
    self._random = np.random.default_rng(0)
    self._spool = tempfile.TemporaryFile()  # noqa: SIM115

  @property
  def full(self) -> bool:
    """True when no further frame will be taken."""
    return self.frame_count >= self._max_frames

  def add(self, frame: np.ndarray | Image.Image) -> None:
    """Adds a frame; does nothing when full.

    Args:
      frame: [H, W, 3] uint8 or an RGB picture, all of one size.

    Raises:
      ValueError: if the size differs from the first frame's.
    """
    if self.full:
      return
    frame = np.asarray(frame)
    self._shape = self._shape or frame.shape
    if frame.shape != self._shape or frame.dtype != np.uint8:
      raise ValueError(
        f'GIF frame {self.frame_count} is {frame.dtype} {frame.shape}, wanted '
        f'uint8 {self._shape}'
      )
    pixels = frame.reshape(-1, 3)
    chosen = self._random.integers(0, len(pixels), _SAMPLES_PER_FRAME)
    self._samples.append(pixels[chosen])
    packed = zlib.compress(frame.tobytes(), 1)
    self._spool.write(packed)
    self._lengths.append(len(packed))
    self.frame_count += 1

  def close(self) -> None:
    """Writes the GIF; without any frame there is no file."""
    if self._spool.closed:
      return
    try:
      if self.frame_count:
        self._write()
    finally:
      self._spool.close()

  def __enter__(self) -> GifWriter:
    return self

  def __exit__(self, error_type, error, traceback) -> None:
    if error_type is None:
      self.close()
    else:
      self._spool.close()

  def _write(self) -> None:
    palette = shared_palette(np.concatenate(self._samples), self._flat_colors)
    frames = self._indexed_frames(palette)
    durations = frame_durations_cs(self.frame_count, self._frame_rate)
    partial = self.path.with_name(self.path.name + '.partial')
    first = next(frames)
    try:
      first.save(
        partial,
        format='GIF',
        save_all=True,
        append_images=frames,
        duration=[10 * centiseconds for centiseconds in durations],
        loop=0,
        disposal=1,
        palette=bytes(palette.getpalette()),
        # Repeats of the frame before become transparent: half the size.
        optimize=True,
        transparency=_TRANSPARENT,
      )
      os.replace(partial, self.path)
    finally:
      partial.unlink(missing_ok=True)

  def _indexed_frames(self, palette: Image.Image):
    self._spool.seek(0)
    for length in self._lengths:
      data = zlib.decompress(self._spool.read(length))
      frame = np.frombuffer(data, np.uint8).reshape(self._shape)
      yield Image.fromarray(frame).quantize(
        palette=palette, dither=Image.Dither.NONE
      )


def shared_palette(
  samples: np.ndarray, flat_colors: tuple[style.Color, ...]
) -> Image.Image:
  """Chooses at most 255 colours for a whole animation.

  Args:
    samples: [N, 3] uint8 pixels drawn from all frames.
    flat_colors: colours to hold exactly, at most 128.

  Returns:
    A picture that carries the palette, for `Image.quantize`.
  """
  wanted = _TRANSPARENT - len(flat_colors)
  strip = Image.fromarray(_even_out(samples)[None])
  adaptive = strip.quantize(wanted, Image.Quantize.MEDIANCUT, kmeans=2)
  colors = np.array(adaptive.getpalette()).reshape(-1, 3)[:wanted]
  flat = np.array(flat_colors, int).reshape(-1, 3)
  # Pillow looks colours up in cells of four levels: a neighbour in the same
  # cell would be taken for the flat colour.
  distance = np.abs(colors[:, None] - flat[None]).max(axis=-1)
  colors = colors[(distance >= _APART).all(axis=1)]
  palette = np.concatenate([flat, colors])
  carrier = Image.new('P', (1, 1))
  carrier.putpalette(palette.astype(np.uint8).tobytes())
  return carrier


def _even_out(samples: np.ndarray) -> np.ndarray:
  """Draws pixels again so that small areas of rare colour count more.

  A photograph shown for a few frames would otherwise get next to no entries
  beside large plain areas: each colour counts by the root of its frequency.
  """
  key = (samples >> 2).astype(np.int64) @ np.array([1 << 12, 1 << 6, 1])
  _, cell, counts = np.unique(key, return_inverse=True, return_counts=True)
  weights = 1.0 / np.sqrt(counts[cell])
  random = np.random.default_rng(0)
  size = min(len(samples), _MOST_SAMPLES)
  chosen = random.choice(len(samples), size, p=weights / weights.sum())
  return samples[chosen]
