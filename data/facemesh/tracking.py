"""Follows one face through a moving picture, eyes included."""

from __future__ import annotations

import dataclasses
import os
from typing import Literal

import numpy as np

from data.facemesh import detector, mesh
from data.facemesh.eyes import EyeFinder

SIDES = ('left', 'right')
# A detection that covers less of the followed face is another one.
_LEAST_OVERLAP = 0.1


@dataclasses.dataclass(frozen=True)
class FaceFrame:
  """What is seen of the face in one frame.

  Without a face `points` is None and the dictionaries are empty; they are also
  empty where eyes are not asked for.

  Attributes:
    points: [468, 3] float32; x right, y down in pixels of the picture; z in
      the same unit, smaller nearer to the viewer, with an arbitrary zero.
    lids: opening of the lids by the character's side, `left` and `right`, in
      eye widths, of the eye finder; sees blinks that the mesh smooths over.
    eye_contours: [71, 2] float64 by side, see `eyes.EyeContour`.
    irises: [5, 2] float64 by side: centre, then the rim.
    status: `tracked` from the frame before, newly `detected`, or `lost`.
    presence: in [0, 1], how sure the model is of the face; 0 when lost.
  """

  points: np.ndarray | None
  lids: dict[str, float]
  eye_contours: dict[str, np.ndarray]
  irises: dict[str, np.ndarray]
  status: Literal['tracked', 'detected', 'lost']
  presence: float


_LOST = FaceFrame(None, {}, {}, {}, 'lost', 0.0)


class FaceTracker:
  """Finds the largest face and follows it from frame to frame.

  It stays with a face, also when another grows larger, until it loses it; then
  it takes the largest of the next frame that has one. Now and then the
  detector looks whether there still is a face where it believes one: after a
  cut landmarks can cling to what is none.

  Example:
    >>> tracker = FaceTracker()
    >>> for frame in open_video('clip.mp4'):
    ...   face = tracker.update(frame.image)
    ...   if face.points is not None:
    ...     use(face.points, face.lids)

  Args:
    cache_dir: where the models are kept; see `models.fetch_models`.
    eyes: whether to look at the eyes too, which costs as much again.
    redetect_every: frames between two looks of the detector at a face that is
      followed; 0 for none.

  Raises:
    models.ModelError: if a model cannot be had or run.
    ValueError: if `redetect_every` is negative.
  """

  def __init__(
    self,
    cache_dir: str | os.PathLike | None = None,
    *,
    eyes: bool = True,
    redetect_every: int = 25,
  ):
    if redetect_every < 0:
      raise ValueError(
        f'redetect_every is {redetect_every}, must be at least 0 (0: never)'
      )
    self._mesh = mesh.FaceMesh(cache_dir)
    self._eyes = EyeFinder(cache_dir) if eyes else None
    self._redetect_every = redetect_every
    self.reset()

  def reset(self) -> None:
    """Forgets the face, as before the first frame of another clip."""
    self._face: mesh.Face | None = None
    self._followed = 0

  def update(self, image: np.ndarray) -> FaceFrame:
    """Takes the next frame.

    Args:
      image: [H, W, 3] uint8 RGB; sizes may change.

    Returns:
      The face.

    Raises:
      ValueError: if the picture is of another kind.
    """
    face = self._mesh.find(image, near=self._face)
    if face is not None and face.source == 'track':
      self._followed += 1
      if self._redetect_every and not self._followed % self._redetect_every:
        face = self._checked(image, face)
    if face is None or face.source != 'track':
      self._followed = 0
    self._face = face
    return _LOST if face is None else self._seen(image, face)

  def _checked(self, image: np.ndarray, face: mesh.Face) -> mesh.Face | None:
    """The followed face, or another where the detector sees none there."""
    detections = self._mesh.detect(image)
    points = face.points[:, :2]
    box = np.concatenate([points.min(axis=0), points.max(axis=0)])
    # The detector misses faces that the mesh still follows, as in profile.
    boxes = [found.box for found in detections]
    if not boxes or detector.overlap(box, np.array(boxes)).max() > (
      _LEAST_OVERLAP
    ):
      return face
    return self._mesh.find(image)

  def _seen(self, image: np.ndarray, face: mesh.Face) -> FaceFrame:
    found = {}
    if self._eyes is not None:
      found = {
        side: self._eyes.find(image, face.points, side) for side in SIDES
      }
    return FaceFrame(
      points=face.points.astype(np.float32),
      lids={side: eye.lid_opening for side, eye in found.items()},
      eye_contours={side: eye.contour for side, eye in found.items()},
      irises={side: eye.iris for side, eye in found.items()},
      status='tracked' if face.source == 'track' else 'detected',
      presence=face.presence,
    )
