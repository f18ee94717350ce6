"""Landmarks: table rows, gathering, the real embedding on the real template."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from flame_jax import (
  FlameAssets,
  FlameParams,
  LandmarkEmbedding,
  flame_apply,
  frontal_landmark_weights,
  landmarks_from_vertices,
)
from flame_jax.landmarks import contour_row
from flame_jax.unpickle import read_restricted_npy
from tests import support


def turn(yaw, pitch=0.0, roll=0.0):
  """Rz(roll) Ry(yaw) Rx(pitch), degrees."""
  matrix = Rotation.from_euler('ZYX', [roll, yaw, pitch], degrees=True)
  return jnp.asarray(matrix.as_matrix(), jnp.float32)


@pytest.mark.parametrize(
  ('yaw', 'row'),
  [
    (0.0, 0),
    (0.4, 0),
    (-0.4, 0),
    (0.6, 1),
    (12.0, 12),
    (38.6, 39),
    (39.0, 39),
    (39.4, 39),
    (75.0, 39),
    (-0.6, 40),
    (-1.0, 40),
    (-12.0, 51),
    (-38.6, 78),
    (-39.0, 78),
    (-39.6, 78),
    (-75.0, 78),
  ],
)
def test_contour_row_of_a_yaw(yaw, row):
  assert contour_row(turn(yaw)) == row
  assert contour_row(turn(yaw, pitch=20, roll=-30)) == row


def test_contour_row_is_not_differentiated():
  def loss(angle):
    cosine, sine = jnp.cos(angle), jnp.sin(angle)
    matrix = jnp.array([[cosine, 0, sine], [0, 1, 0], [-sine, 0, cosine]])
    return contour_row(matrix).astype(jnp.float32)

  assert loss(0.2) == 11
  assert jax.grad(loss)(0.2) == 0


@pytest.mark.parametrize('joint', ['global_pose', 'neck_pose'])
def test_each_batch_element_uses_its_own_row(joint):
  assets = support.random_head()
  marks = assets.landmarks
  yaws = np.array([0.0, 10.0, -20.0, 80.0, -80.0])
  rows = [0, 10, 59, 39, 78]
  pose = np.deg2rad(yaws)[:, None] * np.array([0, 1.0, 0])
  output = flame_apply(assets, FlameParams(**{joint: pose.astype('f4')}))
  for index, row in enumerate(rows):
    vertices = np.asarray(output.vertices[index])
    faces = np.concatenate([marks.dynamic_faces[row], marks.static_faces])
    weights = np.concatenate(
      [marks.dynamic_barycentric[row], marks.static_barycentric]
    )
    expected = (vertices[assets.faces[faces]] * weights[..., None]).sum(1)
    np.testing.assert_allclose(output.landmarks[index], expected, atol=1e-6)


def test_rotations_of_root_and_neck_multiply():
  assets = support.random_head()
  params = FlameParams(
    global_pose=jnp.array([0, 0.2, 0]), neck_pose=jnp.array([0, 0.3, 0])
  )
  output = flame_apply(assets, params)
  expected = landmarks_from_vertices(
    assets, output.vertices, head_rotation=turn(np.rad2deg(0.5))
  )
  np.testing.assert_allclose(output.landmarks, expected, atol=1e-6)


def test_static_landmarks_do_not_follow_the_yaw():
  assets = support.random_head()
  vertices = np.random.default_rng(0).normal(size=(2, 40, 3)).astype('f4')
  marks = assets.landmarks
  corners = vertices[:, assets.faces[marks.full_faces]]
  expected = (corners * marks.full_barycentric[..., None]).sum(2)
  for rotation in (None, turn(30)):
    found = landmarks_from_vertices(
      assets, vertices, kind='static', head_rotation=rotation
    )
    np.testing.assert_allclose(found, expected, atol=1e-6)


def test_landmarks_are_exact_at_vertices_and_centres():
  assets = support.random_head()
  marks = dataclasses.replace(
    assets.landmarks,
    static_barycentric=np.tile(np.float32([0, 1, 0]), (51, 1)),
    dynamic_barycentric=np.full((79, 17, 3), np.float32(1 / 3)),
  )
  assets = dataclasses.replace(assets, landmarks=marks)
  found = landmarks_from_vertices(assets, assets.v_template)
  corners = assets.v_template[assets.faces[marks.static_faces]]
  np.testing.assert_array_equal(found[17:], corners[:, 1])
  corners = assets.v_template[assets.faces[marks.dynamic_faces[0]]]
  np.testing.assert_allclose(found[:17], corners.mean(1), atol=1e-7)


def test_frontal_weights_are_the_linear_map_of_a_frontal_head():
  assets = support.random_head()
  faces, barycentric = frontal_landmark_weights(assets)
  assert isinstance(faces, np.ndarray)
  assert isinstance(barycentric, np.ndarray)
  assert faces.shape == (68,)
  assert barycentric.shape == (68, 3)
  expression = np.random.default_rng(0).normal(size=(3, 50)).astype('f4')
  output = flame_apply(assets, FlameParams(expression=expression))
  corners = np.asarray(output.vertices)[:, assets.faces[faces]]
  expected = np.einsum('blci,lc->bli', corners, barycentric)
  np.testing.assert_allclose(output.landmarks, expected, atol=1e-6)


@pytest.mark.parametrize('rotation', [None, turn(25)])
def test_gradient_reaches_the_triangles_corners(rotation):
  assets = support.random_head()
  weights = np.random.default_rng(0).normal(size=(68, 3)).astype('f4')

  def loss(vertices):
    points = landmarks_from_vertices(assets, vertices, head_rotation=rotation)
    return jnp.sum(points * weights)

  marks = assets.landmarks
  row = 0 if rotation is None else 25
  faces = np.concatenate([marks.dynamic_faces[row], marks.static_faces])
  shares = np.concatenate(
    [marks.dynamic_barycentric[row], marks.static_barycentric]
  )
  expected = np.zeros((40, 3))
  np.add.at(expected, assets.faces[faces], shares[..., None] * weights[:, None])
  found = jax.grad(loss)(jnp.asarray(assets.v_template))
  np.testing.assert_allclose(found, expected, atol=1e-5)


def test_missing_embeddings_say_what_to_do():
  assets = support.random_head()
  vertices = assets.v_template
  bare = dataclasses.replace(assets, landmarks=None)
  with pytest.raises(ValueError, match='landmark_paths'):
    landmarks_from_vertices(bare, vertices)
  with pytest.raises(ValueError, match='landmark_paths'):
    frontal_landmark_weights(bare)
  assert flame_apply(bare, FlameParams()).landmarks is None
  marks = dataclasses.replace(
    assets.landmarks, full_faces=None, full_barycentric=None
  )
  partial = dataclasses.replace(assets, landmarks=marks)
  with pytest.raises(ValueError, match='full_lmk'):
    landmarks_from_vertices(partial, vertices, kind='static')
  with pytest.raises(ValueError, match='must be one of'):
    landmarks_from_vertices(assets, vertices, kind='full')
  with pytest.raises(ValueError, match=r'wanted \[..., 40, 3\]'):
    landmarks_from_vertices(assets, vertices[:5])


# The published embedding on FLAME's published template.


@pytest.fixture(scope='module')
def template(shared_dir):
  vertices, triangles = [], []
  with open(shared_dir / 'real' / 'head_template.obj') as lines:
    for line in lines:
      kind, *rest = line.split() or ['']
      if kind == 'v':
        vertices.append([float(number) for number in rest])
      elif kind == 'f':
        triangles.append([int(corner.split('/')[0]) - 1 for corner in rest])
  marks = read_restricted_npy(shared_dir / 'real' / 'landmark_embedding.npy')
  count = len(vertices)
  return FlameAssets(
    v_template=np.array(vertices, np.float32),
    faces=np.array(triangles, np.int32),
    shapedirs=np.zeros((count, 3, 0), np.float32),
    expressiondirs=np.zeros((count, 3, 0), np.float32),
    posedirs=np.zeros((count, 3, 36), np.float32),
    J_regressor=np.full((5, count), 1 / count, np.float32),
    lbs_weights=np.eye(5, dtype=np.float32)[np.zeros(count, int)],
    landmarks=LandmarkEmbedding(
      static_faces=marks['static_lmk_faces_idx'].astype(np.int32),
      static_barycentric=marks['static_lmk_bary_coords'].astype(np.float32),
      dynamic_faces=marks['dynamic_lmk_faces_idx'].astype(np.int32),
      dynamic_barycentric=marks['dynamic_lmk_bary_coords'],
      full_faces=marks['full_lmk_faces_idx'][0].astype(np.int32),
      full_barycentric=marks['full_lmk_bary_coords'][0],
    ),
  )


# Landmark pairs that a mirror swaps, in the order of 300-W.
MIRROR = [
  *range(16, -1, -1),
  *range(26, 16, -1),
  *range(27, 31),
  *range(35, 30, -1),
  *[45, 44, 43, 42, 47, 46, 39, 38, 37, 36, 41, 40],
  *[54, 53, 52, 51, 50, 49, 48, 59, 58, 57, 56, 55],
  *[64, 63, 62, 61, 60, 67, 66, 65],
]


@pytest.mark.parametrize('kind', ['dynamic', 'static'])
def test_real_landmarks_form_a_symmetric_face(template, kind):
  points = np.asarray(
    flame_apply(template, FlameParams(), landmarks=kind).landmarks
  )
  middle = points[27:31, 0].mean()
  mirrored = points[MIRROR] * [-1, 1, 1] + [2 * middle, 0, 0]
  # FLAME's mean head and its hand-placed points are nearly symmetric: 4 mm.
  np.testing.assert_allclose(points, mirrored, atol=4e-3)
  # From top to bottom: brows, eyes, nose tip, mouth, chin.
  heights = [
    points[part, 1].mean()
    for part in (slice(17, 27), slice(36, 48), 30, slice(48, 68), 8)
  ]
  assert heights == sorted(heights, reverse=True)
  assert (points[:17, 1] < points[17:27, 1].min()).all()
  # The tip of the nose is the foremost point; right eye at negative x.
  assert points[:, 2].argmax() in (30, 33)
  assert points[36:42, 0].max() < middle < points[42:48, 0].min()
  # Upper lids above lower lids, upper lip above lower lip.
  assert (points[[37, 38, 43, 44], 1] > points[[41, 40, 47, 46], 1]).all()
  assert (points[[50, 51, 52], 1] > points[[58, 57, 56], 1]).all()


def test_real_contour_moves_over_the_cheek_as_the_head_turns(template):
  yaws = np.deg2rad([0, 20, 39, -20, -39])
  pose = (yaws[:, None] * np.array([0, 1.0, 0])).astype('f4')
  turned = flame_apply(template, FlameParams(global_pose=pose))
  back = flame_apply(template, FlameParams())
  # Points on the mesh at rest: undo the rotation about the mean vertex.
  centre = np.asarray(back.joints[0])
  rest = np.stack(
    [
      (np.asarray(points) - centre) @ Rotation.from_rotvec(angles).as_matrix()
      + centre
      for points, angles in zip(turned.landmarks, pose, strict=True)
    ]
  )
  np.testing.assert_allclose(rest[:, 17:], rest[[0] * 5, 17:], atol=1e-6)
  moved = np.linalg.norm(rest[1:, :17] - rest[0, :17], axis=-1)
  assert moved.max() > 0.01
  # The contour of a mirrored turn is the mirrored contour, on average.
  mirrored = rest[[0, 3, 4, 1, 2], :17][:, ::-1] * [-1, 1, 1]
  assert np.abs(mirrored - rest[:, :17]).mean() < 3e-3
  # The far side's contour comes forward onto the face.
  far = slice(9, 17) if rest[2, 14, 2] > rest[0, 14, 2] else slice(0, 8)
  near = slice(0, 8) if far == slice(9, 17) else slice(9, 17)
  assert rest[2, far, 2].mean() > rest[0, far, 2].mean() + 5e-3
  assert rest[4, near, 2].mean() > rest[0, near, 2].mean() + 5e-3
