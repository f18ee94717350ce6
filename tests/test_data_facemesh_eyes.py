"""Eye regions and openings exactly; with the model, real eyes."""

import numpy as np
import pytest
from PIL import Image

from data.facemesh import FaceMesh, eyes, measures, models


@pytest.fixture(scope='module')
def finders():
  pytest.importorskip('ai_edge_litert', reason='extra [facemesh]')
  try:
    return FaceMesh(), eyes.EyeFinder()
  except models.ModelError as error:
    pytest.skip(f'no FaceMesh models: {error}')


def _points():
  points = np.zeros((468, 3))
  points[33], points[133] = [10, 50, 3], [30, 50, 3]
  # The other eye is turned by a quarter.
  points[362], points[263] = [70, 40, 3], [70, 60, 3]
  return points


def test_region_is_the_published_square():
  right = eyes.eye_region(_points(), 'right')
  np.testing.assert_allclose(right.center, [20, 50])
  assert right.side == pytest.approx(46)
  assert right.angle == 0
  left = eyes.eye_region(_points(), 'left', 3.0)
  np.testing.assert_allclose(left.center, [70, 50])
  assert left.side == pytest.approx(60)
  assert left.angle == pytest.approx(np.pi / 2)
  with pytest.raises(ValueError, match='wanted left or right'):
    eyes.eye_region(_points(), 'both')


def test_lid_opening_by_hand():
  contour = np.zeros((71, 2))
  contour[[3, 4, 5], 1] = 2
  contour[[11, 12, 13], 1] = [-1, -2, -3]
  eye = eyes.EyeContour(contour, np.zeros((5, 2)), width=16.0)
  assert eye.lid_opening == pytest.approx(0.25)


def test_contour_lies_on_the_eyes_of_a_real_face(shared_dir, finders):
  mesh, finder = finders
  for path in sorted((shared_dir / 'real' / 'frames').glob('*.png'))[::4]:
    picture = np.asarray(Image.open(path).convert('RGB'))
    points = mesh.find(picture).points
    for side in ('left', 'right'):
      eye = finder.find(picture, points, side)
      corners = measures.eye_corners(points, side)[:, :2]
      # Corners as the mesh has them, and the iris between them.
      ends = eye.contour[[0, 8]] if side == 'right' else eye.contour[[8, 0]]
      assert np.linalg.norm(ends - corners, axis=-1).max() < 0.3 * eye.width
      assert corners[0, 0] < eye.iris[0, 0] < corners[1, 0]
      assert 0.02 < eye.lid_opening < 0.7


def test_mirrored_picture_gives_the_mirrored_eye(shared_dir, finders):
  mesh, finder = finders
  [path, *_] = sorted((shared_dir / 'real' / 'frames').glob('*.png'))
  picture = np.asarray(Image.open(path).convert('RGB'))
  points = mesh.find(picture).points
  mirrored = points.copy()
  mirrored[[362, 263]] = points[[133, 33]]
  mirrored[:, 0] = picture.shape[1] - mirrored[:, 0]
  right = finder.find(picture, points, 'right')
  left = finder.find(np.ascontiguousarray(picture[:, ::-1]), mirrored, 'left')
  wanted = right.contour * [-1, 1] + [picture.shape[1], 0]
  np.testing.assert_allclose(left.contour, wanted, atol=0.05 * right.width)
