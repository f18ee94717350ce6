"""BlazeFace: finds faces, each with a box and six key points.

Bazarevsky et al., "BlazeFace: Sub-millisecond Neural Face Detection on Mobile
GPUs" (arXiv 1907.05047). Every number below is that of the published graphs
`face_detection_short_range` and `face_detection_full_range` of mediapipe
0.10.21 (options of SsdAnchors, TensorsToDetections, NonMaxSuppression).
"""

from __future__ import annotations

import dataclasses
import os

import numpy as np
from PIL import Image

from data.facemesh import models

# Key points, in the picture's sense of left: left eye, right eye, nose tip,
# mouth, left ear, right ear.
LEFT_EYE, RIGHT_EYE = 0, 1
NUM_KEYPOINTS = 6

_SCORE_LIMIT = 100.0
_OVERLAP = 0.3


@dataclasses.dataclass(frozen=True)
class Range:
  """What one of the two published detectors is made for.

  Attributes:
    model: its file, a key of `models.MODELS`.
    size: height and width of its input.
    grids: (cells a side, anchors a cell) of each output layer, in order.
    least_score: detections below do not count.
  """

  model: str
  size: int
  grids: tuple[tuple[int, int], ...]
  least_score: float


# Strides 8, 16, 16, 16 with two anchors each; layers of one stride are one
# grid. Anchors have a fixed size of 1, so only their centres matter.
SHORT_RANGE = Range(
  'face_detection_short_range', 128, ((16, 2), (8, 6)), least_score=0.5
)
FULL_RANGE = Range(
  'face_detection_full_range_sparse', 192, ((48, 1),), least_score=0.6
)


@dataclasses.dataclass(frozen=True)
class Detection:
  """A face that was found, in pixels of the picture.

  Attributes:
    box: [4] float64, x0, y0, x1, y1.
    keypoints: [6, 2] float64, x, y.
    score: in [0, 1].
  """

  box: np.ndarray
  keypoints: np.ndarray
  score: float

  @property
  def area(self) -> float:
    """Of the box, pixels squared."""
    return float(np.prod(np.maximum(self.box[2:] - self.box[:2], 0)))


def anchor_centers(kind: Range) -> np.ndarray:
  """Centres of the anchors.

  Args:
    kind: `SHORT_RANGE` or `FULL_RANGE`.

  Returns:
    [n, 2] float64 x, y in fractions of the input, row by row.
  """
  layers = []
  for cells, repeats in kind.grids:
    y, x = np.mgrid[:cells, :cells]
    centers = (np.stack([x, y], axis=-1).reshape(-1, 2) + 0.5) / cells
    layers.append(np.repeat(centers, repeats, axis=0))
  return np.concatenate(layers)


def decode(
  raw: np.ndarray, logits: np.ndarray, centers: np.ndarray, kind: Range
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
  """Boxes and key points of the anchors that see a face.

  Args:
    raw: [n, 16] float, model output: centre x, y, width, height, then six
      key points, in input pixels relative to the anchor.
    logits: [n] float.
    centers: [n, 2] of `anchor_centers`.
    kind: the detector.

  Returns:
    Boxes [m, 4] as x0, y0, x1, y1, key points [m, 6, 2], both in fractions
    of the input, and scores [m] in [0, 1].
  """
  limited = np.clip(logits.astype(np.float64), -_SCORE_LIMIT, _SCORE_LIMIT)
  scores = 1 / (1 + np.exp(-limited))
  keep = scores >= kind.least_score
  raw = raw[keep].astype(np.float64).reshape(-1, 2 + NUM_KEYPOINTS, 2)
  raw = raw / kind.size
  center, extent = raw[:, 0] + centers[keep], raw[:, 1]
  boxes = np.concatenate([center - extent / 2, center + extent / 2], axis=-1)
  return boxes, raw[:, 2:] + centers[keep][:, None], scores[keep]


def overlap(box: np.ndarray, boxes: np.ndarray) -> np.ndarray:
  """Intersection over union of a box [4] with boxes [n, 4], [n] in [0, 1]."""
  low = np.maximum(box[:2], boxes[:, :2])
  high = np.minimum(box[2:], boxes[:, 2:])
  shared = np.prod(np.maximum(high - low, 0), axis=-1)
  areas = np.prod(np.maximum(boxes[:, 2:] - boxes[:, :2], 0), axis=-1)
  own = np.prod(np.maximum(box[2:] - box[:2], 0))
  return shared / np.maximum(areas + own - shared, 1e-12)


def merge_overlapping(
  boxes: np.ndarray, keypoints: np.ndarray, scores: np.ndarray
) -> list[Detection]:
  """Weighted non-maximum suppression.

  What overlaps the best detection by more than 0.3 is averaged with it,
  weighted by score, which shakes less from frame to frame than the best alone
  (section 3.4 of the paper).

  Args:
    boxes: [n, 4].
    keypoints: [n, 6, 2].
    scores: [n].

  Returns:
    Detections in falling order of score, in the units of the arguments.
  """
  order = np.argsort(-scores, kind='stable')
  found = []
  while order.size:
    best = order[0]
    near = overlap(boxes[best], boxes[order]) > _OVERLAP
    # A box without area overlaps nothing, not even itself.
    near[0] = True
    group, order = order[near], order[~near]
    weights = scores[group] / scores[group].sum()
    found.append(
      Detection(
        box=weights @ boxes[group],
        keypoints=np.tensordot(weights, keypoints[group], axes=1),
        score=float(scores[best]),
      )
    )
  return found


def letterbox(
  picture: Image.Image, size: int
) -> tuple[np.ndarray, float, np.ndarray]:
  """Fits a picture into a square, black around it.

  Args:
    picture: RGB.
    size: height and width of the square.

  Returns:
    The square [size, size, 3] uint8; pixels of the picture for one side of
    the square; and the picture's position (x, y) of the square's corner.
  """
  longest = max(picture.size)
  scale = size / longest
  fitted = tuple(max(1, round(side * scale)) for side in picture.size)
  # Reduction in two steps is what makes a large frame cheap.
  small = picture.resize(fitted, Image.Resampling.BILINEAR, reducing_gap=2.0)
  square = np.zeros((size, size, 3), np.uint8)
  left, top = (size - fitted[0]) // 2, (size - fitted[1]) // 2
  square[top : top + fitted[1], left : left + fitted[0]] = np.asarray(small)
  return square, float(longest), -np.array([left, top]) / scale


class FaceDetector:
  """Finds faces in a picture.

  Args:
    path: the model's file.
    kind: `SHORT_RANGE` for faces that fill the picture, `FULL_RANGE` for
      faces that are further away.
  """

  def __init__(self, path: str | os.PathLike, kind: Range = SHORT_RANGE):
    self._model = models.Model(path)
    self._kind = kind
    self._centers = anchor_centers(kind)

  def find(self, picture: Image.Image) -> list[Detection]:
    """Faces in falling order of score.

    Args:
      picture: RGB.

    Returns:
      Detections in pixels of the picture.
    """
    square, longest, corner = letterbox(picture, self._kind.size)
    outputs = self._model(square.astype(np.float32) / 127.5 - 1)
    count = len(self._centers)
    found = merge_overlapping(
      *decode(
        outputs[count * (4 + 2 * NUM_KEYPOINTS)].reshape(count, -1),
        outputs[count].reshape(count),
        self._centers,
        self._kind,
      )
    )
    return [
      Detection(
        box=d.box * longest + np.tile(corner, 2),
        keypoints=d.keypoints * longest + corner,
        score=d.score,
      )
      for d in found
    ]
