"""Landmark fit on pictures: drawn heads with known codes, and a real clip."""

import numpy as np
import pytest

from data import deca, pose_vector
from data.facemesh import FaceMesh, eyes, measures, models
from edtn_jax.encoders import landmark_fit
from edtn_jax.faces import procedural_adapter
from flame_jax import FlameParams, flame_apply
from flame_jax.procedural import procedural_head
from flame_jax.render import render_mesh

pytestmark = pytest.mark.slow


@pytest.fixture(scope='module')
def finders():
  pytest.importorskip('ai_edge_litert', reason='extra [facemesh]')
  try:
    return FaceMesh(), eyes.EyeFinder()
  except models.ModelError as error:
    pytest.skip(f'no FaceMesh models: {error}')


@pytest.fixture(scope='module')
def encoder():
  covariance = landmark_fit.adapter_covariance(procedural_adapter())
  options = landmark_fit.FitOptions(expression_covariance=covariance)
  return landmark_fit.LandmarkEncoder(procedural_head(), options=options)


def _track(finders, pictures, looks=1):
  """Landmarks [T, 468, 3] and lid openings [T, 2] of pictures.

  A face that jumps is looked at several times: the mesh sees it best in the
  middle of its region, which is where the face was before.
  """
  mesh, eye_finder = finders
  points, lids, face = [], [], None
  for picture in pictures:
    for _ in range(looks):
      face = mesh.find(picture, near=face)
      assert face is not None
    found = [
      eye_finder.find(picture, face.points, side) for side in ('left', 'right')
    ]
    points.append(face.points)
    lids.append([eye.lid_opening for eye in found])
  return np.array(points), np.array(lids)


def _draw(codes):
  head = procedural_head()
  vertices = np.asarray(
    flame_apply(head, FlameParams(**codes), landmarks=None).vertices
  )
  for one in vertices:
    yield render_mesh(
      one,
      np.asarray(head.faces),
      size=256,
      vertex_colors=np.asarray(head.vertex_colors),
      center=np.array([0, 0.02]),
      scale=1 / 0.15,
      supersample=1,
    )


def test_drawn_heads(finders, encoder):
  """Turns in steps, and a mouth that opens, within two degrees mostly."""
  turns = [(0, 0, 0), (12, 0, 0), (-12, 0, 0), (0, 24, 0), (0, -12, 0)]
  turns += [(0, 0, 12), (0, 0, -12), (8, 15, -6)]
  degrees = np.array([*turns, (0, 0, 0), (0, 0, 0)], np.float32)
  jaw = np.zeros_like(degrees)
  jaw[-2:, 0] = 0.15, 0.3
  codes = {'global_pose': np.deg2rad(degrees), 'jaw_pose': jaw}
  points, lids = _track(finders, _draw(codes), looks=4)
  person = encoder.calibrate(points, lids, frames=[0])
  encoder.reset()
  found = encoder.encode(points, lids, size=(256, 256), person=person)
  pose = np.rad2deg(found['global_pose'])
  off = np.abs(pose - pose[0] - degrees)
  assert off.mean() < 1
  assert (off < 2).mean() > 0.8
  assert off.max() < 3
  opened = found['jaw_pose'][:, 0]
  assert opened[-2] > opened[:-2].max() + 0.05
  assert opened[-1] > opened[-2] + 0.05


def test_real_clip_against_another_encoder(shared_dir, finders, encoder):
  """200 frames of a clip with the codes that DECA gave for them."""
  av = pytest.importorskip('av', reason='extra [video]')
  clip, skipped = deca.read_clip(shared_dir / 'real' / 'deca')
  assert not skipped
  with av.open(str(shared_dir / 'real' / 'example.mp4')) as video:
    frames = (f.to_ndarray(format='rgb24') for f in video.decode(video=0))
    points, lids = _track(finders, frames)
  person = encoder.calibrate(points, lids)
  encoder.reset()
  found = encoder.encode(points, lids, size=(256, 256), person=person)
  count = clip.num_frames
  angles = pose_vector.head_angles_deg(found['global_pose'])[:count]
  wanted = pose_vector.head_angles_deg(clip.global_pose)
  for k in range(3):
    assert np.corrcoef(angles[:, k], wanted[:, k])[0, 1] > 0.88
  jaws = found['jaw_pose'][:count, 0], clip.jaw_pose[:, 0]
  assert np.corrcoef(*jaws)[0, 1] > 0.8
  opening = found['expression'] @ encoder.lid_directions.T
  for k, side in enumerate(('left', 'right')):
    mesh = [measures.lid_opening(face, side) for face in points]
    assert np.corrcoef(opening[:, k], mesh)[0, 1] > 0.8
  # At rest there is no expression; over the clip there is.
  size = np.sqrt((found['expression'] ** 2).mean(axis=1))
  assert np.median(size[list(person.frames)]) < 0.6 * np.median(size)
