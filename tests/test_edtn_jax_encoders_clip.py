"""From rows to codes, with rows made by hand and stand-ins for the models."""

import types

import numpy as np
import pytest

from data.codes import CLIP_FIELDS, FLAME_SPACE, PROCEDURAL_SPACE
from data.facemesh.tracking import FaceFrame
from edtn_jax.encoders.clip_encoders import (
  CODES,
  NUM_POINTS,
  DecaClipEncoder,
  LandmarkClipEncoder,
  Rows,
)
from edtn_jax.encoders.deca import camera_in_picture, face_crop
from edtn_jax.encoders.deca.codes import PARTS


class HandMade(Rows):
  """Rows that come two at a time."""

  def __init__(self, rows):
    self._rows = rows

  def __len__(self):
    return len(self._rows)

  def chunks(self):
    for start in range(0, len(self._rows), 2):
      yield self._rows[start : start + 2]

  def take(self, indices):
    return self._rows[list(indices)]


def face(shift=0.0):
  """A square of points, wide open on the left."""
  rng = np.random.default_rng(0)
  points = rng.uniform(20, 60, (NUM_POINTS, 3)).astype(np.float32)
  points[:, 0] += shift
  return FaceFrame(points, {'left': 0.4, 'right': 0.1}, {}, {}, 'tracked', 1.0)


LOST = FaceFrame(None, {}, {}, {}, 'lost', 0.0)


class Fit:
  """Codes are the sums of points and lids; notes how it is asked."""

  def __init__(self):
    self.calls = []

  def calibrate(self, points, lids, frames=None):
    self.calls.append(('calibrate', points.shape, lids.shape, frames))
    return 'somebody'

  def reset(self):
    self.calls.append(('reset',))

  def encode(self, points, lids, *, size, person):
    self.calls.append(('encode', len(points), size, person))
    return {'points': points.sum((1, 2)), 'lids': lids}


def make_landmark_encoder():
  return LandmarkClipEncoder(Fit(), PROCEDURAL_SPACE, 'a head')


def test_rows_of_landmarks_hold_points_and_lids():
  encoder = make_landmark_encoder()
  images = [np.zeros((80, 90, 3), np.uint8)] * 3
  rows = encoder.rows(images, [face(), LOST, face(5)])
  assert rows.shape == (3, encoder.row_size)
  np.testing.assert_array_equal(rows[0, :-2], face().points.ravel())
  np.testing.assert_allclose(rows[0, -2:], [0.4, 0.1])
  assert np.isnan(rows[1]).all()
  np.testing.assert_allclose(rows[2, 0], rows[0, 0] + 5)
  lost = encoder.rows(images[:2], [LOST, LOST])
  assert lost.shape == (2, encoder.row_size)
  assert np.isnan(lost).all()


def test_landmarks_are_calibrated_then_fitted_in_order():
  encoder = make_landmark_encoder()
  rows = np.arange(5.0, dtype=np.float32)[:, None] * np.ones(encoder.row_size)
  chunks = list(encoder.codes(HandMade(rows.astype(np.float32)), (90, 80)))
  assert encoder._encoder.calls == [
    ('calibrate', (5, NUM_POINTS, 3), (5, 2), None),
    ('reset',),
    ('encode', 2, (90, 80), 'somebody'),
    ('encode', 2, (90, 80), 'somebody'),
    ('encode', 1, (90, 80), 'somebody'),
  ]
  lids = np.concatenate([chunk['lids'] for chunk in chunks])
  np.testing.assert_array_equal(lids[:, 0], range(5))
  points = np.concatenate([chunk['points'] for chunk in chunks])
  np.testing.assert_array_equal(points, NUM_POINTS * 3 * np.arange(5))


def test_named_resting_frames_alone_are_looked_at():
  encoder = make_landmark_encoder()
  rows = np.zeros((5, encoder.row_size), np.float32)
  next(encoder.codes(HandMade(rows), (90, 80), resting=[3, 1]))
  assert encoder._encoder.calls[0] == (
    'calibrate', (2, NUM_POINTS, 3), (2, 2), [0, 1]
  )  # fmt: skip


def test_a_long_clip_is_calibrated_on_600_frames():
  encoder = make_landmark_encoder()
  rows = np.zeros((1500, encoder.row_size), np.float32)
  next(encoder.codes(HandMade(rows), (90, 80)))
  assert encoder._encoder.calls[0][1] == (600, NUM_POINTS, 3)


class Coarse:
  """Every code is the number of its face; notes how many come at once."""

  description = types.MappingProxyType({'encoder': 'of a test'})

  def __init__(self):
    self.asked = []

  def encode(self, images, batch_size=8):
    self.asked.append((images.shape, batch_size))
    number = 1.0 + np.arange(len(images), dtype=np.float32)
    codes = {
      name: np.repeat(number[:, None], size, 1) for name, size in PARTS.items()
    }
    return codes


@pytest.mark.parametrize('batch_size', [1, 8])
def test_rows_of_deca_are_its_codes(batch_size):
  encoder = DecaClipEncoder(Coarse(), batch_size)
  assert encoder.expression_space == FLAME_SPACE
  images = [np.zeros((80, 90, 3), np.uint8)] * 3
  faces = [face(), LOST, face(5)]
  rows = encoder.rows(images, faces)
  assert encoder._encoder.asked == [((2, 224, 224, 3), batch_size)]
  assert np.isnan(rows[1]).all()
  chunks = list(encoder.codes(HandMade(rows), (90, 80)))
  assert [len(chunk['camera']) for chunk in chunks] == [2, 1]
  codes = {n: np.concatenate([c[n] for c in chunks]) for n in CODES}
  for name in CODES:
    assert codes[name].shape == (3, CLIP_FIELDS[name])
    assert np.isfinite(codes[name]).all()
    assert not codes[name][1].any()
  for name in CODES[:-1]:
    np.testing.assert_array_equal(codes[name][0], 1)
    np.testing.assert_array_equal(codes[name][2], 2)
  # The crop's camera becomes that of the picture.
  crop = face_crop(images[0], points=faces[2].points)
  wanted = camera_in_picture(np.full(3, 2.0), crop.matrix, (90, 80))
  np.testing.assert_allclose(codes['camera'][2], wanted, rtol=1e-6)
