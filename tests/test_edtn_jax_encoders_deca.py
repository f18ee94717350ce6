"""DECA's coarse encoder: crop, codes, network."""

import jax
import numpy as np
import pytest

from data import codes as codes_lib
from edtn_jax.convert.deca import convert_deca
from edtn_jax.encoders.deca import (
  DecaEncoder,
  camera_in_picture,
  encode,
  face_crop,
  split_codes,
)
from edtn_jax.encoders.deca.network import SIZE
from flame_jax.camera import orthographic_project
from tests import deca_samples
from tests.golden_weights import channels_last, draw_all


def ramp(height=300, width=400):
  """A picture whose red is x / 2 and whose green is y / 2."""
  y, x = np.mgrid[:height, :width]
  picture = np.stack([x // 2, y // 2, np.full_like(x, 9)], -1)
  return picture.astype(np.uint8)


def test_a_detectors_box_by_hand():
  # (80 + 120) / 2 = 100: a square of 125, lowered by 12.
  box = np.array([100, 50, 180, 170])
  crop = face_crop(ramp(), box=box)
  corners = np.array([[77.5, 59.5], [202.5, 184.5]])
  found = corners @ crop.matrix[:, :2].T + crop.matrix[:, 2]
  np.testing.assert_allclose(found, [[0, 0], [223, 223]], atol=1e-9)
  assert crop.image.shape == (SIZE, SIZE, 3)
  assert crop.image.dtype == np.float32


def test_landmarks_by_hand():
  # Their box is 80 x 120; 1.1 times larger, then 1.25 times.
  rng = np.random.default_rng(0)
  points = rng.uniform([100, 50], [180, 170], (68, 2))
  points[:2] = [[100, 50], [180, 170]]
  crop = face_crop(ramp(), points=points)
  half = 100 * 1.1 * 1.25 / 2
  corners = np.array([[140 - half, 110 - half], [140 + half, 110 + half]])
  found = corners @ crop.matrix[:, :2].T + crop.matrix[:, 2]
  np.testing.assert_allclose(found, [[0, 0], [223, 223]], atol=1e-9)


def test_mesh_points_count_as_the_landmarks_they_bound():
  rng = np.random.default_rng(0)
  points = np.zeros((468, 3))
  points[:, :2] = rng.uniform([60, 0], [220, 170], (468, 2))
  for index, place in {
    234: (100, 90),  # beside an ear
    454: (180, 90),
    152: (140, 170),  # chin
    105: (120, 50),  # brow
  }.items():
    points[index, :2] = place
  inside = [i for i in range(468) if i not in (234, 454, 152, 105)]
  # A forehead above the brows changes nothing.
  points[inside, :2] = np.clip(points[inside, :2], [100, 50], [180, 170])
  points[10, :2] = [140, 0]
  wanted = face_crop(ramp(), points=np.float64([[100, 50], [180, 170]] * 34))
  found = face_crop(ramp(), points=points)
  np.testing.assert_allclose(found.matrix, wanted.matrix)
  np.testing.assert_array_equal(found.image, wanted.image)


def test_pixels_of_a_crop():
  # A square of 223 pixels: one pixel a step, half a pixel off.
  half = 223 / 2
  box = np.array([-half, -half, half, half]) / 1.25
  center = np.array([150.5, 140.0])
  lowered = [0, 0.12 * 223 / 1.25]
  box = box + np.tile(center - lowered, 2)
  picture = ramp()
  picture[..., 0] = np.arange(400) % 250
  crop = face_crop(picture, box=box)
  # x begins at 39, y at 28.5: rows are means of two.
  np.testing.assert_allclose(crop.matrix, [[1, 0, -39], [0, 1, -28.5]])
  np.testing.assert_allclose(
    crop.image[0, :, 0], (np.arange(39, 263) % 250) / 255, atol=1e-6
  )
  np.testing.assert_allclose(
    crop.image[:3, 0, 1], [14 / 255, 14.5 / 255, 15 / 255], atol=1e-6
  )


def test_beyond_the_picture_is_black():
  crop = face_crop(np.full((50, 60, 3), 255, np.uint8), box=[0, 0, 60, 50])
  assert crop.image.max() == pytest.approx(1)
  assert (crop.image[0] == 0).all()
  assert (crop.image[:, 0] == 0).all()
  # What of the picture's height is in the square of 68.75.
  inside = (crop.image[:, 112, 0] > 0.5).mean()
  assert inside == pytest.approx(50 / 68.75, abs=0.01)


@pytest.mark.parametrize(
  ('image', 'options', 'message'),
  [
    (np.zeros((9, 9, 3)), {'box': [0, 0, 9, 9]}, 'wanted uint8'),
    (np.zeros((9, 9), np.uint8), {'box': [0, 0, 9, 9]}, 'wanted uint8'),
    (ramp(9, 9), {}, 'either box or points'),
    (ramp(9, 9), {'box': [0, 0, 9, 9], 'points': 1}, 'either box or points'),
    (ramp(9, 9), {'box': [0, 9, 9, 0]}, 'is empty'),
    (ramp(9, 9), {'box': [0, 0, 9, np.nan]}, 'wanted left, top'),
    (ramp(9, 9), {'box': [0, 0, 9]}, 'wanted left, top'),
    (ramp(9, 9), {'points': np.zeros((5, 2))}, '5 points; wanted 68'),
    (ramp(9, 9), {'points': np.zeros((68, 4))}, 'wanted .68 or 468'),
    (ramp(9, 9), {'points': np.zeros((68, 2))}, 'in one place'),
    (ramp(9, 9), {'points': np.full((68, 2), np.inf)}, 'not finite'),
  ],
)
def test_wrong_crops_are_refused(image, options, message):
  with pytest.raises(ValueError, match=message):
    face_crop(image, **options)


def test_a_camera_of_the_crop_draws_the_same_in_the_picture():
  width, height = 400, 300
  crop = face_crop(ramp(height, width), box=[100, 50, 180, 170])
  camera = np.float32([8.0, 0.01, -0.02])
  points = np.random.default_rng(0).normal(0, 0.1, (5, 3))
  within = np.asarray(orthographic_project(points, camera), np.float64)
  pixels = (within + 1) * (SIZE - 1) / 2
  step, shift = crop.matrix[0, 0], crop.matrix[:, 2]
  wanted = (pixels - shift) / step
  whole = camera_in_picture(camera, crop.matrix, (width, height))
  found = np.asarray(orthographic_project(points, whole), np.float64)
  # Its longer side spans [-1, 1]; edges are half a pixel from centres.
  found = found * width / 2 + [width / 2, height / 2] - 0.5
  np.testing.assert_allclose(found, wanted, atol=1e-3)
  both = camera_in_picture(
    np.stack([camera] * 2), np.stack([crop.matrix] * 2), (width, height)
  )
  np.testing.assert_array_equal(both, [whole] * 2)


def test_codes_are_in_decas_order():
  codes = np.arange(2 * 236).reshape(2, 236)
  named = split_codes(codes)
  sizes = {name: part.shape[1:] for name, part in named.items()}
  assert sizes == {
    'shape': (100,),
    'tex': (50,),
    'expression': (50,),
    'global_pose': (3,),
    'jaw_pose': (3,),
    'camera': (3,),
    'light': (9, 3),
  }
  joined = [part.reshape(2, -1) for part in named.values()]
  np.testing.assert_array_equal(np.concatenate(joined, 1), codes)
  np.testing.assert_array_equal(named['jaw_pose'][0], [203, 204, 205])
  np.testing.assert_array_equal(named['light'][0, 1], [212, 213, 214])
  for name, size in codes_lib.CLIP_FIELDS.items():
    if name != codes_lib.OPTIONAL_FIELD:
      assert named[name].shape == (2, size)
  with pytest.raises(ValueError, match=r'wanted \[\.\.\., 236'):
    split_codes(codes[:, 1:])


def test_the_network_wants_crops():
  with pytest.raises(ValueError, match='cut them with face_crop'):
    jax.eval_shape(
      DecaEncoder().init, jax.random.key(0), np.zeros((1, 256, 256, 3))
    )


def test_names_and_sizes_are_the_references(shared_dir):
  with np.load(shared_dir / 'golden' / 'deca_encoder.npz') as golden:
    keys = {str(key) for key in golden['keys']}
  assert keys == {f'{k} {v}' for k, v in deca_samples.shapes().items()}


def test_deca_golden(shared_dir):
  with np.load(shared_dir / 'golden' / 'deca_encoder.npz') as golden:
    variables = convert_deca(draw_all(golden['keys']))
    images = channels_last(golden['image']).astype(np.float32)
    wanted, features = golden['parameters'], golden['features']

  @jax.jit  # both at once compile once
  def run(variables, images):
    apply = DecaEncoder().apply
    return apply(variables, images, method='features'), encode(
      variables, images
    )

  found, codes = run(variables, images)
  np.testing.assert_allclose(found, features, atol=1e-4)
  for name, part in codes.items():
    np.testing.assert_allclose(
      part, split_codes(wanted)[name], atol=1e-3, err_msg=name
    )
