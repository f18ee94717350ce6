"""Eye contours and irises: a second look at each eye.

Ablavatski et al., "Real-time Pupil Tracking from Monocular Video for Digital
Puppetry" (arXiv 2006.11341). The region follows the published graph
`iris_landmark_landmarks_to_roi` of mediapipe 0.10.21: the line between the
eye's corners, made a level square of 2.3 times its length. The model knows
one eye; the other is mirrored for it.
"""

from __future__ import annotations

import dataclasses
import os

import numpy as np

from data.facemesh import measures, mesh, models

NUM_CONTOUR = 71
NUM_IRIS = 5
REGION_SCALE = 2.3

# In the contour: lid points that lie above each other.
_LOWER = (3, 4, 5)
_UPPER = (11, 12, 13)


@dataclasses.dataclass(frozen=True)
class EyeContour:
  """What is seen of one eye, in pixels of the picture.

  Attributes:
    contour: [71, 2] float64 x, y; the first 9 along the lower lid from one
      corner to the other, then 7 along the upper lid in the same direction,
      then rows around the eye up to the brow.
    iris: [5, 2] float64; its centre, then four points of its rim.
    width: distance of the eye's corners in the mesh of the face.
  """

  contour: np.ndarray
  iris: np.ndarray
  width: float

  @property
  def lid_opening(self) -> float:
    """Mean distance of the lids over the width of the eye.

    The width is the mesh's: the corners of a contour that is off may coincide.
    """
    lids = self.contour[list(_UPPER)] - self.contour[list(_LOWER)]
    return float(np.linalg.norm(lids, axis=-1).mean() / max(self.width, 1e-12))


def eye_region(
  points: np.ndarray, side: str, scale: float = REGION_SCALE
) -> mesh.Region:
  """Where an eye is looked for.

  Args:
    points: [468, 3] landmarks of the face.
    side: `left` or `right`, the character's.
    scale: side of the square in eye widths. Drawn eyes are larger than the
      landmarks of a face make them, and want more.

  Returns:
    The region.

  Raises:
    ValueError: if there is no such side.
  """
  start, end = measures.eye_corners(points, side)[:, :2]
  along = end - start
  return mesh.Region(
    center=(start + end) / 2,
    side=float(scale * np.linalg.norm(along)),
    angle=float(np.arctan2(along[1], along[0])),
  )


class EyeFinder:
  """Finds the contour and iris of the eyes of a face.

  Args:
    cache_dir: where the models are kept; see `models.fetch_models`.

  Raises:
    models.ModelError: if the model cannot be had or run.
  """

  def __init__(self, cache_dir: str | os.PathLike | None = None):
    self._model = models.Model(models.fetch_models(cache_dir)['iris_landmark'])

  def find(
    self,
    picture: np.ndarray,
    points: np.ndarray,
    side: str,
    *,
    scale: float = REGION_SCALE,
  ) -> EyeContour:
    """One eye of a face.

    Args:
      picture: [H, W, 3] uint8 RGB.
      points: [468, 3] landmarks of the face in that picture.
      side: `left` or `right`, the character's.
      scale: see `eye_region`.

    Returns:
      The eye.

    Raises:
      ValueError: if there is no such side.
    """
    region = eye_region(points, side, scale)
    cut = mesh.crop(picture, region, self._model.input_size)
    mirrored = side == 'left'
    if mirrored:
      cut = cut[:, ::-1]
    outputs = self._model(cut.astype(np.float32) / 255)

    def place(count: int) -> np.ndarray:
      flat = outputs[3 * count].reshape(count, 3)[:, :2].astype(np.float64)
      flat /= self._model.input_size
      if mirrored:
        flat[:, 0] = 1 - flat[:, 0]
      return region.to_picture(flat)

    return EyeContour(
      contour=place(NUM_CONTOUR),
      iris=place(NUM_IRIS),
      width=region.side / scale,
    )
