"""Regions and crops exactly; with the models, real and drawn faces."""

import numpy as np
import pytest
from PIL import Image

from data.characters import Character
from data.facemesh import FaceMesh, detector, measures, mesh, models


@pytest.fixture(scope='module')
def face_mesh():
  pytest.importorskip('ai_edge_litert', reason='extra [facemesh]')
  try:
    return FaceMesh()
  except models.ModelError as error:
    pytest.skip(f'no FaceMesh models: {error}')


def _noise(height, width):
  rng = np.random.default_rng(0)
  return rng.integers(0, 256, (height, width, 3), dtype=np.uint8)


def test_region_around_a_level_box():
  region = mesh.region_of_box(
    np.array([10.0, 20, 30, 60]), np.array([12.0, 30]), np.array([28.0, 30])
  )
  np.testing.assert_allclose(region.center, [20, 40])
  assert region.side == 60
  assert region.angle == 0
  np.testing.assert_allclose(
    region.to_picture(np.array([[0, 0], [1, 0.5]])), [[-10, 10], [50, 40]]
  )


def test_region_turns_with_the_eyes():
  keypoints = np.zeros((6, 2))
  keypoints[detector.RIGHT_EYE] = [0, 5]  # straight below: a quarter turn
  found = detector.Detection(np.array([0.0, 0, 10, 10]), keypoints, 1.0)
  region = mesh.region_of_detection(found)
  assert region.angle == pytest.approx(np.pi / 2)
  # The square's right is the picture's bottom, its top the picture's right.
  np.testing.assert_allclose(
    region.to_picture(np.array([[1, 0.5], [0.5, 0]])),
    [[5, 12.5], [12.5, 5]],
    atol=1e-9,
  )


def test_region_of_points_covers_them_all():
  points = np.full((468, 3), 50.0)
  points[0], points[1] = [20, 50, 9], [80, 70, 9]
  points[33], points[133] = [40, 40, 0], [50, 50, 0]
  region = mesh.region_of_points(points)
  np.testing.assert_allclose(region.center, [50, 55])
  assert region.side == pytest.approx(90)
  assert region.angle == pytest.approx(np.pi / 4)


def test_whole_picture_is_cut_unchanged():
  picture = _noise(12, 12)
  cut = mesh.crop(picture, mesh.whole_picture(12, 12), 12)
  np.testing.assert_array_equal(cut, picture)


def test_shifted_square_is_cut_exactly():
  picture = _noise(20, 30)
  region = mesh.Region(np.array([13.0, 9.0]), 8.0, 0.0)
  cut = mesh.crop(picture, region, 8)
  np.testing.assert_array_equal(cut, picture[5:13, 9:17])


def test_quarter_turn_is_exact():
  picture = _noise(20, 20)
  region = mesh.Region(np.array([10.0, 10.0]), 8.0, np.pi / 2)
  cut = mesh.crop(picture, region, 8)
  # The square's x runs down the picture and its y to the left.
  # The cosine is not quite 0, and Pillow cuts fractions off.
  wanted = np.rot90(picture[6:14, 6:14], 1)
  np.testing.assert_allclose(cut.astype(int), wanted.astype(int), atol=1)


def test_integer_reduction_averages():
  picture = _noise(16, 16)
  cut = mesh.crop(picture, mesh.whole_picture(16, 16), 4)
  means = picture.reshape(4, 4, 4, 4, 3).mean(axis=(1, 3))
  np.testing.assert_allclose(cut.astype(int), means, atol=1)


def test_border_goes_on_beyond_the_picture():
  picture = _noise(8, 8)
  region = mesh.Region(np.array([0.0, 4.0]), 8.0, 0.0)
  cut = mesh.crop(picture, region, 8)
  np.testing.assert_array_equal(cut[:, 4:], picture[:, :4])
  np.testing.assert_array_equal(cut[:, 0], picture[:, 0])


def test_region_wholly_outside_repeats_the_border():
  picture = _noise(8, 8)
  region = mesh.Region(np.array([-40.0, 4.0]), 8.0, 0.0)
  cut = mesh.crop(picture, region, 8)
  np.testing.assert_array_equal(cut[:, 3], picture[:, 0])


def test_real_frames_have_a_face(shared_dir, face_mesh):
  paths = sorted((shared_dir / 'real' / 'frames').glob('*.png'))
  assert paths
  for path in paths:
    picture = np.asarray(Image.open(path).convert('RGB'))
    face = face_mesh.find(picture)
    assert face is not None, path
    assert face.presence > 0.9
    # This speaker turns and tilts the head, but not far.
    assert np.abs(measures.head_angles(face.points)[1:]).max() < 40
    again = face_mesh.find(picture, near=face)
    assert again.source == 'track'
    shift = np.linalg.norm((again.points - face.points)[:, :2], axis=-1)
    assert shift.mean() < 0.02 * face.region.side


def test_picture_turned_by_a_quarter_turns_the_landmarks(shared_dir, face_mesh):
  [path, *_] = sorted((shared_dir / 'real' / 'frames').glob('*.png'))
  picture = np.asarray(Image.open(path).convert('RGB'))
  face = face_mesh.find(picture)
  # Counter-clockwise by a quarter: x, y -> y, width - x.
  turned = np.ascontiguousarray(np.rot90(picture))
  region = mesh.Region(
    np.array([face.region.center[1], 256 - face.region.center[0]]),
    face.region.side,
    face.region.angle - np.pi / 2,
  )
  other = face_mesh.landmarks(turned, region)
  wanted = np.stack([face.points[:, 1], 256 - face.points[:, 0]], axis=-1)
  np.testing.assert_allclose(other.points[:, :2], wanted, atol=0.5)
  roll = measures.head_angles(other.points)[1]
  assert roll == pytest.approx(measures.head_angles(face.points)[1] + 90, abs=3)


def test_drawn_faces_are_found(face_mesh):
  found = 0
  for seed in range(4):
    character = Character.from_seed(seed)
    picture = character.render(np.zeros(20), background=(255, 255, 255))
    head = np.ascontiguousarray(picture[60:210, 53:203, :3])
    face = face_mesh.landmarks(head, mesh.whole_picture(150, 150))
    found += face.presence > mesh.LEAST_PRESENCE
  assert found >= 3


def test_no_face_in_noise(face_mesh):
  assert face_mesh.find(_noise(100, 160)) is None


def test_pictures_of_another_kind_are_refused(face_mesh):
  with pytest.raises(ValueError, match='wanted uint8'):
    face_mesh.find(np.zeros((8, 8, 3), np.float32))


def test_border_goes_on_where_pixels_are_averaged():
  picture = _noise(16, 24)
  # Half of it beyond the left and the upper border, by whole blocks of four.
  region = mesh.Region(np.array([0.0, 0.0]), 16.0, 0.0)
  cut = mesh.crop(picture, region, 4)
  means = picture.reshape(4, 4, 6, 4, 3).mean(axis=(1, 3))
  wanted = np.pad(means[:2, :2], ((2, 0), (2, 0), (0, 0)), mode='edge')
  np.testing.assert_allclose(cut.astype(int), wanted, atol=1)
  region = mesh.Region(np.array([24.0, 16.0]), 16.0, 0.0)
  cut = mesh.crop(picture, region, 4)
  wanted = np.pad(means[2:, 4:], ((0, 2), (0, 2), (0, 0)), mode='edge')
  np.testing.assert_allclose(cut.astype(int), wanted, atol=1)
