"""A moving picture of a face as a driver: frames in, codes out."""

from __future__ import annotations

import itertools
import time
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
from absl import logging
from PIL import Image

from data import codes, deca, drivers
from data.facemesh.tracking import FaceFrame, FaceTracker
from data.video import VideoFrame, VideoReader
from data.video.timing import at_rate
from edtn_jax.encoders.ahead import read_ahead
from edtn_jax.encoders.clip_encoders import CODES, ClipEncoder
from edtn_jax.encoders.row_spool import RowSpool
from edtn_jax.stopwatch import Stopwatch

# Frames that an encoder gets at once.
_BATCH = 8
_LOG_SECONDS = 5.0
# The square that is shown of the driving frames, in heights of the face.
_SHOWN = 1.7


class VideoDriver(drivers.Driver):
  """Encodes a clip at its first iteration and keeps the codes.

  Frames come at a constant rate, as those of a result do: see
  `data.video.timing.at_rate`. A frame that cannot be decoded repeats the one
  before; one that shows no face gets codes between those of its neighbours.
  Both are listed in `skipped`.

  Args:
    reader: the moving picture; can be read several times.
    encoder: makes the codes.
    tracker: finds the face.
    resting: names of frames in which the face rests; () finds them.
    chunk_frames: frames in a chunk.
    overlap: whether frames are decoded ahead in a thread.
  """

  def __init__(
    self,
    reader: VideoReader,
    encoder: ClipEncoder,
    tracker: FaceTracker,
    *,
    resting: Sequence[str] = (),
    chunk_frames: int = 256,
    overlap: bool = True,
  ):
    self.name = reader.name
    self.expression_space = encoder.expression_space
    self.num_frames = reader.num_frames
    self.fps = float(reader.fps)
    self.audio_path = reader.name if reader.has_audio else None
    self.skipped = []
    self._reader = reader
    self._encoder = encoder
    self._tracker = tracker
    self._resting = tuple(resting)
    self._chunk_frames = chunk_frames
    self._overlap = overlap
    self._clip: drivers.ClipDriver | None = None
    # What is shown of the frames, where that pass over them is.
    self._shown: tuple[int, int, int, int] | None = None
    self._pictures: Iterator[VideoFrame] | None = None
    self._picture: VideoFrame | None = None
    self._seconds: dict[str, float] = {}

  def __iter__(self) -> Iterator[codes.CodeClip]:
    """Chunks of codes; see `Driver`.

    Raises:
      DriverError: if no frame shows a face, or a resting frame is not there.
      VideoError, CalibrationError: see the reader and the encoder.
    """
    if self._clip is None:
      self._clip = self._encode()
      self.num_frames = self._clip.num_frames
    return iter(self._clip)

  def summary(self) -> Mapping[str, Any]:
    """Encoder, frames without a face, and seconds by stage; after a pass."""
    return {
      'driver': {
        **self._encoder.description,
        'frames_without_face': sum(
          frame.reason.startswith('no face') for frame in self.skipped
        ),
        'seconds': {k: round(v, 3) for k, v in self._seconds.items()},
      }
    }

  def frame_picture(self, frame: str) -> Image.Image:
    """The head in a frame of the result, the same square in all of them.

    Args:
      frame: name of a frame that was iterated; cheapest in their order.

    Returns:
      An RGB picture.
    """
    wanted = int(frame)
    if self._picture is None or wanted < self._picture.index:
      self._pictures = None  # its thread ends before another one reads
      self._pictures, self._picture = self._ahead(self._frames()), None
    while self._picture is None or self._picture.index < wanted:
      self._picture = next(self._pictures)
    return Image.fromarray(self._picture.image).crop(self._shown)

  def close(self) -> None:
    """Gives the source back; codes that were made stay."""
    self._pictures = None
    self._reader.close()

  def __enter__(self) -> VideoDriver:
    return self

  def __exit__(self, *error) -> None:
    self.close()

  def _frames(self) -> Iterator[VideoFrame]:
    return at_rate(self._reader, self._reader.fps)

  def _ahead(self, frames: Iterator[VideoFrame]) -> Iterator[VideoFrame]:
    return read_ahead(frames, 2 * _BATCH) if self._overlap else frames

  def _encode(self) -> drivers.ClipDriver:
    self._tracker.reset()
    with RowSpool(self._encoder.row_size) as rows:
      boxes = self._look(rows)
      lost = np.isnan(boxes[:, 0])
      if lost.all():
        raise drivers.DriverError(
          f'{self.name}: no face in any of {len(lost)} frames; a face must be '
          'upright, seen from the front half, and not much smaller than a '
          'tenth of the picture. Cut the clip to it'
        )
      started = time.perf_counter()
      resting = self._resting_rows(lost)
      chunks = list(self._encoder.codes(rows, self._reader.size, resting))
    found = {
      name: bridge(np.concatenate([c[name] for c in chunks]), lost)
      for name in CODES
    }
    self._seconds['codes'] = time.perf_counter() - started
    names = tuple(map(_frame_name, range(len(lost))))
    self._note_faults(lost)
    self._shown = head_square(boxes[~lost], self._reader.size)
    clip = codes.CodeClip(
      identity=self.name,
      name=self.name,
      frames=names,
      expression_space=self.expression_space,
      **found,
    )
    return drivers.ClipDriver(clip, self.name, self._chunk_frames)

  def _look(self, rows: RowSpool) -> np.ndarray:
    """Sees every frame once: boxes [T, 4] of the face, NaN without one."""
    boxes = []
    clock = Stopwatch()
    logged = time.perf_counter()
    frames = self._ahead(clock.each('decode', self._frames()))
    for batch in _batches(frames, _BATCH):
      images = [frame.image for frame in batch]
      with clock('landmarks'):
        faces = [self._tracker.update(image) for image in images]
      with clock('encoder'):
        rows.add(self._encoder.rows(images, faces))
      boxes += [_box(face) for face in faces]
      if time.perf_counter() - logged > _LOG_SECONDS:
        logged = time.perf_counter()
        total = self._reader.num_frames
        logging.info(
          'faces: frame %d%s', len(boxes), f'/{total}' if total else ''
        )
    self._seconds = clock.seconds()
    return np.array(boxes)

  def _resting_rows(self, lost: np.ndarray) -> list[int]:
    """Numbers of the frames that are named as resting."""
    numbers = {_frame_name(i): i for i in range(len(lost))}
    unknown = [name for name in self._resting if name not in numbers]
    if unknown:
      raise drivers.DriverError(
        f'{self.name}: no frame {", ".join(unknown)}; its frames are called '
        f'{_frame_name(0)} to {_frame_name(len(lost) - 1)}'
      )
    faceless = [name for name in self._resting if lost[numbers[name]]]
    if faceless:
      raise drivers.DriverError(
        f'{self.name}: no face in the neutral frames {", ".join(faceless)}; '
        'name frames that show the face at rest'
      )
    return [numbers[name] for name in self._resting]

  def _note_faults(self, lost: np.ndarray) -> None:
    self.skipped = [
      deca.SkippedFrame(self.name, fault) for fault in self._reader.skipped
    ]
    for index in np.flatnonzero(lost):
      self.skipped.append(
        deca.SkippedFrame(
          f'{self.name} frame {index}', 'no face; the frames around it count'
        )
      )
    if lost.any():
      logging.warning(
        '%s: no face in %d of %d frames; bridged',
        self.name,
        lost.sum(),
        len(lost),
      )


def bridge(values: np.ndarray, lost: np.ndarray) -> np.ndarray:
  """Fills lost rows with what is between their neighbours.

  Args:
    values: [T, C] float.
    lost: [T] bool, not all true.

  Returns:
    [T, C] float32; rows before the first and after the last good one repeat
    it.
  """
  if not lost.any():
    return np.asarray(values, np.float32)
  at, good = np.arange(len(values)), np.flatnonzero(~lost)
  columns = [np.interp(at, good, column[good]) for column in values.T]
  return np.stack(columns, -1).astype(np.float32)


def head_square(
  boxes: np.ndarray, size: tuple[int, int]
) -> tuple[int, int, int, int]:
  """The square of the picture in which the head mostly is.

  Args:
    boxes: [T, 4] float, left, top, right, bottom of the face in pixels.
    size: (width, height) of the picture in pixels.

  Returns:
    left, top, right, bottom, cut off at the picture's edges.
  """
  low, high = boxes[:, :2], boxes[:, 2:]
  centers = (low + high) / 2
  near, far = np.quantile(centers, (0.05, 0.95), axis=0)
  height = np.quantile(high[:, 1] - low[:, 1], 0.9)
  side = _SHOWN * height + (far - near).max()
  center = (near + far) / 2
  # A face's box ends at the brows.
  center[1] -= 0.1 * height
  corner = np.round(center - side / 2).astype(int)
  ends = np.minimum(corner + round(side), size)
  start = np.maximum(corner, 0)
  return int(start[0]), int(start[1]), int(ends[0]), int(ends[1])


def _frame_name(number: int) -> str:
  return f'{number:07d}'


def _box(face: FaceFrame) -> np.ndarray:
  if face.points is None:
    return np.full(4, np.nan)
  flat = face.points[:, :2]
  return np.concatenate([flat.min(axis=0), flat.max(axis=0)])


def _batches(items, size: int):
  iterator = iter(items)
  while batch := list(itertools.islice(iterator, size)):
    yield batch
