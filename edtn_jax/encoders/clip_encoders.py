"""Two ways from the frames of a clip to codes, behind one interface.

A clip is seen once. Of every frame a row of numbers is kept; when all are
there, the rows become codes. What is between depends on the encoder: landmarks
wait until the person's resting face is known, DECA's codes are ready at once.
"""

from __future__ import annotations

import abc
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from data.codes import CLIP_FIELDS, FLAME_SPACE
from data.facemesh.tracking import SIDES, FaceFrame
from edtn_jax.encoders.deca import (
  CoarseEncoder,
  camera_in_picture,
  face_crop,
)
from edtn_jax.encoders.landmark_fit import LandmarkEncoder

ENCODERS = ('landmarks', 'deca')
# What a `data.codes.CodeClip` holds of a frame.
CODES = ('expression', 'jaw_pose', 'global_pose', 'shape', 'camera')
# Of the face mesh.
NUM_POINTS = 468
# Frames of a clip from which the resting face is found.
_MOST_CALIBRATION_FRAMES = 600


class ClipEncoder(abc.ABC):
  """Frames of one person in, codes in DECA's layout out.

  Attributes:
    expression_space: whose expression basis the codes belong to.
    row_size: numbers that are kept of a frame.
    description: what a summary says of it.
  """

  expression_space: str
  row_size: int
  description: Mapping[str, Any]

  @abc.abstractmethod
  def observe(
    self, images: Sequence[np.ndarray], faces: Sequence[FaceFrame]
  ) -> np.ndarray:
    """What to keep of some frames that show a face.

    Args:
      images: n frames, [H, W, 3] uint8 RGB.
      faces: the face in each, none of them lost.

    Returns:
      [n, row_size] float32.
    """

  def rows(
    self, images: Sequence[np.ndarray], faces: Sequence[FaceFrame]
  ) -> np.ndarray:
    """What to keep of some frames, whether they show a face or not.

    Args:
      images: n frames, [H, W, 3] uint8 RGB.
      faces: the face in each; `points` is None where there is none.

    Returns:
      [n, row_size] float32; NaN where there is no face.
    """
    rows = np.full((len(images), self.row_size), np.nan, np.float32)
    good = [i for i, face in enumerate(faces) if face.points is not None]
    if good:
      rows[good] = self.observe(
        [images[i] for i in good], [faces[i] for i in good]
      )
    return rows

  @abc.abstractmethod
  def codes(
    self,
    rows: Rows,
    size: tuple[int, int],
    resting: Sequence[int] = (),
  ) -> Iterator[dict[str, np.ndarray]]:
    """Codes of a whole clip.

    Args:
      rows: the rows of all frames; NaN where there is no face.
      size: (width, height) of the frames in pixels.
      resting: numbers of frames in which the face rests; () finds them.

    Yields:
      `CODES` of the next frames, [n, ...] float32; of frames without a face,
      whatever is finite.

    Raises:
      CalibrationError: if no resting face can be found.
    """


class Rows(abc.ABC):
  """Rows of numbers, of which not all need be in memory."""

  @abc.abstractmethod
  def __len__(self) -> int:
    """Number of rows."""

  @abc.abstractmethod
  def chunks(self) -> Iterator[np.ndarray]:
    """All rows in order, [n, row_size] float32 at a time."""

  @abc.abstractmethod
  def take(self, indices: Iterable[int]) -> np.ndarray:
    """Some rows, [n, row_size] float32."""


class LandmarkClipEncoder(ClipEncoder):
  """Fits a head to the face mesh; the person is calibrated on the clip.

  Args:
    encoder: for the head whose codes are wanted.
    expression_space: whose codes these are.
    head: one line about the head, for summaries.
  """

  row_size = NUM_POINTS * 3 + len(SIDES)

  def __init__(
    self, encoder: LandmarkEncoder, expression_space: str, head: str
  ):
    self.expression_space = expression_space
    self.description = {'encoder': 'landmarks', 'head': head}
    self._encoder = encoder

  def observe(self, images, faces):
    """Landmarks and lids; see `ClipEncoder`."""
    del images
    return np.array(
      [
        [*face.points.ravel(), *(face.lids[side] for side in SIDES)]
        for face in faces
      ],
      np.float32,
    ).reshape(-1, self.row_size)

  def codes(self, rows, size, resting=()):
    """Calibrates, then fits chunk by chunk; see `ClipEncoder`."""
    frames = None
    if resting:
      looked_at, frames = list(resting), list(range(len(resting)))
    else:
      count = min(len(rows), _MOST_CALIBRATION_FRAMES)
      looked_at = np.unique(np.linspace(0, len(rows) - 1, count).astype(int))
    person = self._encoder.calibrate(
      *self._split(rows.take(looked_at)), frames=frames
    )
    self._encoder.reset()
    for chunk in rows.chunks():
      points, lids = self._split(chunk)
      yield self._encoder.encode(points, lids, size=size, person=person)

  def _split(self, rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    points = rows[:, : NUM_POINTS * 3].reshape(-1, NUM_POINTS, 3)
    return points, rows[:, NUM_POINTS * 3 :]


class DecaClipEncoder(ClipEncoder):
  """DECA's coarse encoder on the face of every frame.

  Args:
    encoder: with the user's weights.
    batch_size: faces that are computed at once, see `CoarseEncoder.encode`.
  """

  expression_space = FLAME_SPACE
  row_size = sum(CLIP_FIELDS[name] for name in CODES)

  def __init__(self, encoder: CoarseEncoder, batch_size: int = 8):
    self.description = encoder.description
    self._encoder = encoder
    self._batch_size = batch_size

  def observe(self, images, faces):
    """The codes themselves; see `ClipEncoder`."""
    crops = [
      face_crop(image, points=face.points)
      for image, face in zip(images, faces, strict=True)
    ]
    found = self._encoder.encode(
      np.stack([crop.image for crop in crops]), self._batch_size
    )
    found['camera'] = camera_in_picture(
      found['camera'],
      np.stack([crop.matrix for crop in crops]),
      images[0].shape[1::-1],
    )
    return np.concatenate([found[name] for name in CODES], -1)

  def codes(self, rows, size, resting=()):
    """Takes the rows apart; see `ClipEncoder`."""
    del size, resting
    ends = np.cumsum([CLIP_FIELDS[name] for name in CODES])[:-1]
    for chunk in rows.chunks():
      known = np.nan_to_num(chunk)
      yield dict(zip(CODES, np.split(known, ends, axis=1), strict=True))
