"""Writes GIFs frame by frame: one palette for all, honest durations."""

from __future__ import annotations

import fractions
import itertools
import os

import numpy as np
from PIL import Image

from data import files
from data.video.base import Color, VideoWriter
from data.video.spool import FrameSpool

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


class GifWriter(VideoWriter):
  """Collects frames on disk and writes them with one shared palette.

  A palette a frame makes still areas flicker, so the palette is made at the
  end, from samples of every frame. Until then frames wait on disk: memory
  holds one frame and a few samples of each. Encoding holds all frames once at
  one byte a pixel, so a GIF is for short pieces.

  GIF counts in hundredths of a second, see `frame_durations_cs`.
  """

  def __init__(
    self,
    path: str | os.PathLike,
    fps: float | fractions.Fraction,
    size: tuple[int, int] | None = None,
    *,
    background: Color = (255, 255, 255),
    flat_colors: tuple[Color, ...] = (),
  ):
    """Opens the temporary file.

    Args:
      path: where the GIF goes; its folder must exist.
      fps: frames a second.
      size: (width, height), or None for that of the first frame.
      background: colour under transparent frames.
      flat_colors: colours that the palette must hold exactly, at most 128.

    Raises:
      VideoError: if the rate is wrong.
    """
    super().__init__(path, fps, size, background=background)
    self._flat_colors = flat_colors
    self._samples: list[np.ndarray] = []
    self._random = np.random.default_rng(0)
    self._spool = FrameSpool()

  def _write(self, frame: np.ndarray) -> None:
    pixels = frame.reshape(-1, 3)
    chosen = self._random.integers(0, len(pixels), _SAMPLES_PER_FRAME)
    self._samples.append(pixels[chosen])
    self._spool.add(frame)

  def _discard(self, error: BaseException) -> None:
    self._spool.close()

  def _finish(self) -> None:
    try:
      if self.frame_count:
        self._save()
    finally:
      self._spool.close()

  def _save(self) -> None:
    palette = shared_palette(np.concatenate(self._samples), self._flat_colors)
    frames = (
      Image.fromarray(frame).quantize(palette=palette, dither=Image.Dither.NONE)
      for frame in self._spool
    )
    durations = frame_durations_cs(self.frame_count, float(self.fps))
    first = next(frames)
    with files.atomic_writer(self.path) as file:
      first.save(
        file,
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


def shared_palette(
  samples: np.ndarray, flat_colors: tuple[Color, ...]
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
