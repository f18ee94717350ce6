"""FaceMesh: 468 landmarks of a face, found and followed.

Kartynnik et al., "Real-time Facial Surface Geometry from Monocular Video on
Mobile GPUs" (arXiv 1907.06724). The regions follow the published graphs
`face_detection_front_detection_to_roi` and `face_landmark_landmarks_to_roi`
of mediapipe 0.10.21: the box, made square by its longer side and 1.5 times as
large, turned so that the eyes are level.
"""

from __future__ import annotations

import dataclasses
import os

import numpy as np
from PIL import Image

from data.facemesh import detector, models

NUM_POINTS = 468
# Corners of the eye on the picture's left, which the graph takes for level.
_EYE_START, _EYE_END = 33, 133
_REGION_SCALE = 1.5
# The published graph gives up below this presence.
LEAST_PRESENCE = 0.5


@dataclasses.dataclass(frozen=True)
class Region:
  """A turned square of the picture.

  Attributes:
    center: [2] float64 x, y in pixels.
    side: in pixels.
    angle: radians by which the square is turned, clockwise as seen.
  """

  center: np.ndarray
  side: float
  angle: float

  def axes(self) -> np.ndarray:
    """[2, 2]: the square's x and y direction in the picture, as rows."""
    cos, sin = np.cos(self.angle), np.sin(self.angle)
    return np.array([[cos, sin], [-sin, cos]])

  def to_picture(self, points: np.ndarray) -> np.ndarray:
    """Points [..., 2] in fractions of the square -> pixels of the picture."""
    return self.center + (points - 0.5) * self.side @ self.axes()


@dataclasses.dataclass(frozen=True)
class Face:
  """Landmarks of one face.

  Attributes:
    points: [468, 3] float64; x, y in pixels of the picture, z in the same
      unit, smaller nearer to the viewer, with an arbitrary zero.
    presence: in [0, 1], how sure the model is that this is a face.
    region: where it was looked for.
    source: whence the region: `detector`, `track` (the face in the frame
      before), or what the caller of `landmarks` named.
  """

  points: np.ndarray
  presence: float
  region: Region
  source: str


def region_of_box(
  box: np.ndarray, start: np.ndarray, end: np.ndarray
) -> Region:
  """The region around a box, level with a line.

  Args:
    box: [4] x0, y0, x1, y1 in pixels.
    start: [2] where the line begins, on the picture's left when level.
    end: [2] where it ends.

  Returns:
    The region.
  """
  along = np.asarray(end, np.float64) - start
  return Region(
    center=(box[:2] + box[2:]) / 2,
    side=float(_REGION_SCALE * np.max(box[2:] - box[:2])),
    angle=float(np.arctan2(along[1], along[0])),
  )


def region_of_detection(found: detector.Detection) -> Region:
  """The region of a face that was just found."""
  eyes = found.keypoints[[detector.LEFT_EYE, detector.RIGHT_EYE]]
  return region_of_box(found.box, *eyes)


def region_of_points(points: np.ndarray) -> Region:
  """The region of a face [468, 2 or 3] that is followed from frame to frame."""
  points = points[:, :2]
  box = np.concatenate([points.min(axis=0), points.max(axis=0)])
  return region_of_box(box, points[_EYE_START], points[_EYE_END])


def whole_picture(width: int, height: int) -> Region:
  """The largest centred upright square, for pictures that are one face."""
  return Region(
    center=np.array([width, height]) / 2,
    side=float(min(width, height)),
    angle=0.0,
  )


def crop(picture: np.ndarray, region: Region, size: int) -> np.ndarray:
  """Cuts a region out; beyond the picture its border goes on.

  Args:
    picture: [H, W, 3] uint8 RGB.
    region: what to cut.
    size: height and width of the result.

  Returns:
    [size, size, 3] uint8.
  """
  corners = region.to_picture(np.array([[0, 0], [1, 0], [0, 1], [1, 1]]))
  # Means of whole blocks first: interpolation alone would skip pixels.
  factor = max(1, int(region.side / size))
  # One block more on every side, which interpolation may look at.
  low = np.floor(corners.min(axis=0)).astype(int) - factor
  high = np.ceil(corners.max(axis=0)).astype(int) + factor
  # Where the picture's border is crossed, blocks begin at the border.
  low = np.where(low < 0, low // factor * factor, low)
  patch = _patch(picture, low, high, factor)
  origin = (region.to_picture(np.zeros(2)) - low) / factor
  x_step, y_step = region.axes() * region.side / factor / size
  matrix = (x_step[0], y_step[0], origin[0], x_step[1], y_step[1], origin[1])
  turned = patch.transform(
    (size, size),
    Image.Transform.AFFINE,
    matrix,
    Image.Resampling.BILINEAR,
  )
  return np.asarray(turned)


def _patch(
  picture: np.ndarray, low: np.ndarray, high: np.ndarray, factor: int
) -> Image.Image:
  """An upright part in blocks of pixels, continued beyond the border."""
  size = np.array(picture.shape[1::-1])
  inner_low, inner_high = np.clip(low, 0, size - 1), np.clip(high, 1, size)
  inner_high = np.maximum(inner_high, inner_low + 1)
  (left, top), (right, bottom) = inner_low, inner_high
  # Only the part is made an image: that of a large frame takes milliseconds.
  part = np.ascontiguousarray(picture[top:bottom, left:right])
  reduced = Image.fromarray(part).reduce(factor)
  before = np.maximum(inner_low - low, 0) // factor
  after = -(np.minimum(inner_high - high, 0) // factor)
  if not (before.any() or after.any()):
    return reduced
  # After reduction, because a face that fills a large frame reaches far out.
  margins = ((before[1], after[1]), (before[0], after[0]), (0, 0))
  return Image.fromarray(np.pad(np.asarray(reduced), margins, mode='edge'))


class FaceMesh:
  """Finds the landmarks of the largest face in a picture.

  Example:
    mesh = FaceMesh()
    face = mesh.find(picture)
    following = mesh.find(next_picture, near=face)

  Args:
    cache_dir: where the models are kept; see `models.fetch_models`.
    least_presence: faces that the model is less sure of do not count.

  Raises:
    models.ModelError: if a model cannot be had or run.
  """

  def __init__(
    self,
    cache_dir: str | os.PathLike | None = None,
    *,
    least_presence: float = LEAST_PRESENCE,
  ):
    paths = models.fetch_models(cache_dir)
    self._detectors = [
      detector.FaceDetector(paths[kind.model], kind)
      for kind in (detector.SHORT_RANGE, detector.FULL_RANGE)
    ]
    self._model = models.Model(paths['face_landmark'])
    self._least_presence = least_presence

  def detect(self, picture: np.ndarray) -> list[detector.Detection]:
    """Faces by the short-range detector, else by the full-range one.

    Args:
      picture: [H, W, 3] uint8 RGB.

    Returns:
      Detections, largest first; empty if neither finds any.
    """
    _check(picture)
    image = Image.fromarray(picture)
    for one in self._detectors:
      if found := one.find(image):
        return sorted(found, key=lambda d: -d.area)
    return []

  def landmarks(
    self, picture: np.ndarray, region: Region, *, source: str = 'region'
  ) -> Face:
    """Landmarks in a region, whether or not a face is there.

    Args:
      picture: [H, W, 3] uint8 RGB.
      region: where to look.
      source: what the result names as the origin of the region.

    Returns:
      The landmarks; `presence` tells what they are worth.
    """
    _check(picture)
    size = self._model.input_size
    cut = crop(picture, region, size)
    outputs = self._model(cut.astype(np.float32) / 255)
    raw = outputs[3 * NUM_POINTS].reshape(NUM_POINTS, 3).astype(np.float64)
    raw /= size
    flat = region.to_picture(raw[:, :2])
    points = np.concatenate([flat, raw[:, 2:] * region.side], axis=-1)
    presence = 1 / (1 + np.exp(-float(outputs[1].item())))
    return Face(points, presence, region, source)

  def find(
    self, picture: np.ndarray, *, near: Face | None = None
  ) -> Face | None:
    """The landmarks of the largest face.

    Args:
      picture: [H, W, 3] uint8 RGB.
      near: the face in the frame before; it is looked for around there, and
        anew only if it is lost.

    Returns:
      The face, None if there is none.
    """
    if near is not None:
      face = self.landmarks(
        picture, region_of_points(near.points), source='track'
      )
      if face.presence >= self._least_presence:
        return face
    for found in self.detect(picture):
      face = self.landmarks(
        picture, region_of_detection(found), source='detector'
      )
      if face.presence >= self._least_presence:
        return face
    return None


def _check(picture: np.ndarray) -> None:
  if picture.ndim != 3 or picture.shape[2] != 3 or picture.dtype != np.uint8:
    raise ValueError(
      f'picture is {picture.dtype} {list(picture.shape)}, wanted uint8 '
      '[H, W, 3] RGB'
    )
