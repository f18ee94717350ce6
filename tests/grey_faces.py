"""Stand-ins for face models: the grey of a picture is face and code."""

from __future__ import annotations

import types

import numpy as np

from data.codes import CLIP_FIELDS, PROCEDURAL_SPACE
from data.facemesh.tracking import FaceFrame
from edtn_jax.encoders.clip_encoders import CODES, ClipEncoder


class GreyTracker:
  """Takes a grey picture for a face, a black one for none."""

  # Grey value of a face whose points are at 1.
  scale = 1

  def reset(self):
    pass

  def update(self, image):
    value = float(image[0, 0, 0])
    if not value:
      return FaceFrame(None, {}, {}, {}, 'lost', 0.0)
    points = np.full((468, 3), value / self.scale, np.float32)
    return FaceFrame(points, {}, {}, {}, 'tracked', 1.0)


class GreyEncoder(ClipEncoder):
  """The code is the face's grey value."""

  expression_space = PROCEDURAL_SPACE
  row_size = 1
  description = types.MappingProxyType({'encoder': 'of a test'})

  def observe(self, images, faces):
    assert len(images) == len(faces)
    return np.array([[face.points[1, 0]] for face in faces], np.float32)

  def codes(self, rows, size, resting=()):
    for chunk in rows.chunks():
      yield spread(chunk)


def spread(rows):
  """Codes that hold one number everywhere, of [T, 1] rows."""
  return {name: np.repeat(rows, CLIP_FIELDS[name], axis=1) for name in CODES}
