"""Landmark fit: exact landmarks of known codes go in, the codes come out."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from data import pose_vector
from edtn_jax.encoders import landmark_fit
from edtn_jax.encoders.landmark_fit import (
  FitOptions,
  LandmarkEncoder,
  LandmarkMap,
  LandmarkMapError,
  blocks,
  person,
  solver,
)
from flame_jax import (
  FlameAssets,
  FlameParams,
  axis_angle_to_matrix,
  flame_apply,
  orthographic_project,
)
from flame_jax.procedural import procedural_head
from flame_jax.rotations import rotation_offset

SIZE = (320, 240)
OPEN = 0.3  # lid opening at rest, in eye widths
CLOSED = 0.09  # what the finder of eyes leaves between closed lids


@pytest.fixture(scope='module')
def head() -> FlameAssets:
  return procedural_head()


@pytest.fixture(scope='module')
def landmarks(head) -> LandmarkMap:
  return landmark_fit.landmark_map(head)


@pytest.fixture(scope='module')
def encoder(head, landmarks) -> LandmarkEncoder:
  return LandmarkEncoder(head, landmarks)


@pytest.fixture(scope='module')
def clip() -> dict[str, np.ndarray]:
  """Codes of 12 frames: everything moves."""
  rng = np.random.default_rng(0)
  count = 12
  pose = np.deg2rad(rng.uniform(-1, 1, (count, 3)) * [15, 30, 15])
  jaw = np.zeros((count, 3))
  jaw[:, 0] = rng.uniform(0, 0.4, count)
  camera = np.array([7.0, 0.01, 0.02]) + rng.normal(size=(count, 3)) * 0.01
  codes = {
    'expression': 0.5 * rng.normal(size=(count, 50)),
    'jaw_pose': jaw,
    'global_pose': pose,
    'camera': camera,
  }
  return {name: value.astype(np.float32) for name, value in codes.items()}


def _surface(head, landmarks, vertices):
  """[T, N, 3] points of the surface that the landmarks stand for."""
  corners = np.asarray(vertices)[:, np.asarray(head.faces)]
  corners = corners[:, landmarks.face_index]
  return np.einsum('nc,tnca->tna', landmarks.barycentric, corners)


def _vertices(head, codes):
  fields = ('shape', 'expression', 'jaw_pose', 'global_pose')
  params = FlameParams(**{n: codes[n] for n in fields if n in codes})
  return flame_apply(head, params, landmarks=None).vertices


def _mesh(head, landmarks, codes, size=SIZE):
  """[T, 468, 3] pixels: what a perfect FaceMesh would find."""
  points = _surface(head, landmarks, _vertices(head, codes))
  flat = np.asarray(orthographic_project(points, codes['camera']))
  unit = max(size) / 2
  # What is not in the map is nowhere near the face; depth has any zero.
  found = np.full((len(flat), 468, 3), -999.0)
  found[:, landmarks.mesh_index, :2] = flat * unit + np.array(size) / 2
  depth = -points[..., 2] * codes['camera'][:, None, 0] * unit
  found[:, landmarks.mesh_index, 2] = depth + 5
  return found


def _opening(head, landmarks, expression):
  """[T, 2] lid opening over that at rest, of the expressions' landmarks."""
  one = blocks.head_blocks(head, landmarks, 50)
  return 1 + expression @ np.asarray(one.lids).T


def _lids(relative):
  return CLOSED + np.clip(relative, 0, None) * (OPEN - CLOSED)


def _angle_deg(first, second):
  """Degrees between rotations [T, 3] as axis-angle vectors."""
  first, second = (np.asarray(axis_angle_to_matrix(v)) for v in (first, second))
  # By the chord: the cosine of a small angle has no digits left.
  chord = np.linalg.norm(first - second, axis=(1, 2)) / np.sqrt(8)
  return np.rad2deg(2 * np.arcsin(chord))


def posed_landmarks(head, expression, jaw_pose):
  """Landmarks [N, 3] of a head of blocks that is not turned."""
  offset = rotation_offset(jaw_pose)
  features = jnp.concatenate([jnp.ones(1), expression, offset.reshape(-1)])
  return head.linear @ features + (head.skinned @ features) @ offset.T


def test_blocks_are_flame_apply_at_the_landmarks(head, landmarks, clip):
  still = {n: clip[n] for n in ('expression', 'jaw_pose')}
  shape = np.full(5, 0.7, np.float32)
  wanted = _surface(head, landmarks, _vertices(head, {**still, 'shape': shape}))
  one = blocks.head_blocks(head, landmarks, 50, shape=shape)
  found = jax.vmap(posed_landmarks, (None, 0, 0))(one, *still.values())
  np.testing.assert_allclose(found, wanted, atol=3e-7)


def test_offsets_move_the_landmarks_rigidly(head, landmarks):
  offsets = np.full((len(landmarks.mesh_index), 3), 0.01)
  plain = blocks.head_blocks(head, landmarks, 3)
  moved = blocks.head_blocks(head, landmarks, 3, offsets=offsets)
  args = jnp.array([0.5, 0, 0]), jnp.array([0.2, 0, 0])
  difference = posed_landmarks(moved, *args)
  difference -= posed_landmarks(plain, *args)
  np.testing.assert_allclose(difference, 0.01, atol=1e-6)


def test_align_undoes_a_similarity():
  rng = np.random.default_rng(1)
  points = rng.normal(size=(9, 3)).astype(np.float32)
  quarter = np.array([[0.0, -1, 0], [1, 0, 0], [0, 0, 1]])
  picture = (points @ quarter.T + [1, 2, 3]) / 0.25
  rotation, shift, scale = solver.align(points, picture, np.ones(9))
  np.testing.assert_allclose(rotation, quarter, atol=1e-5)
  np.testing.assert_allclose(shift, [1, 2, 3], atol=1e-5)
  assert float(scale) == pytest.approx(0.25, abs=1e-5)


def test_confident_fit_returns_the_codes_themselves(head, landmarks, clip):
  options = FitOptions(
    landmark_sigma=2e-5,
    depth_sigma=2e-5,
    lid_sigma=1e-2,
    expression_sigma=1,
    expression_step=0,
  )
  exact = LandmarkEncoder(head, landmarks, options)
  found = exact.encode(
    _mesh(head, landmarks, clip),
    _lids(_opening(head, landmarks, clip['expression'])),
    size=SIZE,
  )
  assert _angle_deg(found['global_pose'], clip['global_pose']).max() < 0.01
  np.testing.assert_allclose(found['jaw_pose'], clip['jaw_pose'], atol=1e-3)
  np.testing.assert_allclose(found['camera'], clip['camera'], atol=1e-3)
  off = found['expression'] - clip['expression']
  assert np.sqrt((off**2).mean()) < 0.03


@pytest.mark.parametrize('noise_px', [0.0, 0.7])
def test_usual_fit(head, landmarks, encoder, clip, noise_px):
  rng = np.random.default_rng(2)
  mesh = _mesh(head, landmarks, clip)
  lids = _lids(_opening(head, landmarks, clip['expression']))
  encoder.reset()
  found = encoder.encode(
    mesh + noise_px * rng.normal(size=mesh.shape), lids, size=SIZE
  )
  for name, width in (
    ('expression', 50), ('jaw_pose', 3), ('global_pose', 3), ('shape', 100),
    ('camera', 3),
  ):  # fmt: skip
    assert found[name].shape == (len(mesh), width)
    assert found[name].dtype == np.float32
  assert _angle_deg(found['global_pose'], clip['global_pose']).max() < 1
  jaws = found['jaw_pose'][:, 0], clip['jaw_pose'][:, 0]
  assert np.corrcoef(*jaws)[0, 1] > 0.95
  again = _mesh(head, landmarks, found)[:, landmarks.mesh_index, :2]
  off = np.abs(again - mesh[:, landmarks.mesh_index, :2]).mean()
  assert off < 0.7  # pixels of a face that is 150 wide


def test_sense_of_the_angles(head, landmarks, encoder):
  """Pitch looks down, roll leans left in the picture, yaw turns right."""
  turns = np.deg2rad(np.diag([10.0, 20, 15])).astype(np.float32)
  codes = {
    'expression': np.zeros((3, 50), np.float32),
    'global_pose': turns,
    'camera': np.tile(np.float32([7, 0, 0]), (3, 1)),
  }
  mesh = _mesh(head, landmarks, codes)
  encoder.reset()
  found = encoder.encode(mesh, np.full((3, 2), OPEN), size=SIZE)
  degrees = pose_vector.head_angles_deg(found['global_pose'])
  np.testing.assert_allclose(degrees[0], [10, 0, 0], atol=0.2)
  np.testing.assert_allclose(degrees[1], [0, 0, 20], atol=0.2)
  np.testing.assert_allclose(degrees[2], [0, 15, 0], atol=0.2)
  nose, brow = mesh[:, 4], mesh[:, 168]
  assert (nose - brow)[0, 1] > (nose - brow)[1, 1]  # looks down
  assert (nose - brow)[1, 0] > 5  # to the picture's right
  assert (brow - nose)[2, 0] < -5  # top to the picture's left


@pytest.fixture(scope='module')
def resting_person(head, landmarks, encoder):
  """A person whose resting face is another than the head's, with codes."""
  rng = np.random.default_rng(3)
  count = 20
  pose = np.deg2rad(rng.uniform(-1, 1, (count, 3)) * [8, 15, 5])
  codes = {
    'shape': np.tile(0.6 * rng.normal(size=100), (count, 1)),
    'expression': np.tile(0.4 * rng.normal(size=50), (count, 1)),
    'jaw_pose': np.zeros((count, 3)),
    'global_pose': pose,
    'camera': np.tile([7.0, 0, 0], (count, 1)),
  }
  codes = {n: v.astype(np.float32) for n, v in codes.items()}
  # Half of the time the mouth is open.
  codes['jaw_pose'][10:, 0] = 0.3
  mesh = _mesh(head, landmarks, codes)
  lids = np.full((count, 2), 0.24)
  lids[5:7] = 0.1  # a blink
  encoder.reset()
  return mesh, lids, encoder.calibrate(mesh, lids)


def test_resting_face_is_found_and_gives_no_expression(encoder, resting_person):
  mesh, lids, found = resting_person
  assert set(found.frames) <= set(range(10)) - {5, 6}
  np.testing.assert_allclose(found.open_lids, 0.24, atol=1e-6)
  encoder.reset()
  codes = encoder.encode(mesh, lids, size=SIZE, person=found)
  rest = np.array(found.frames)
  assert np.abs(codes['expression'][rest]).max() < 0.05
  assert np.abs(codes['jaw_pose'][rest]).max() < 0.01
  assert (codes['jaw_pose'][10:, 0] > 0.15).all()
  np.testing.assert_array_equal(codes['shape'], np.tile(found.shape, (20, 1)))
  # Without calibration the same face is an expression.
  encoder.reset()
  nobody = encoder.encode(mesh, lids, size=SIZE)
  assert np.abs(nobody['expression'][rest]).max() > 0.3


def test_resting_frames_may_be_named(encoder, resting_person):
  mesh, lids, _ = resting_person
  found = encoder.calibrate(mesh, lids, frames=[12])
  assert found.frames == (12,)
  encoder.reset()
  codes = encoder.encode(mesh[12:13], lids[12:13], size=SIZE, person=found)
  assert np.abs(codes['jaw_pose']).max() < 0.01


def test_calibration_refuses(encoder, resting_person):
  mesh, lids, _ = resting_person
  lost = np.full_like(mesh, np.nan)
  with pytest.raises(landmark_fit.CalibrationError, match='no frame has'):
    encoder.calibrate(lost, lids)
  with pytest.raises(landmark_fit.CalibrationError, match='name another'):
    encoder.calibrate(lost, lids, frames=[3])
  with pytest.raises(ValueError, match=r'\[20\] are not among the 20'):
    encoder.calibrate(mesh, lids, frames=[1, 20])
  with pytest.raises(ValueError, match=r'wanted \[T, 468, 3\]'):
    encoder.calibrate(mesh[:, :100], lids)
  with pytest.raises(ValueError, match='lids are of 3 frames, points of 20'):
    encoder.encode(mesh, lids[:3], size=SIZE)


def test_chunks_and_single_frames_equal_the_whole(
  head, landmarks, encoder, clip
):
  mesh = _mesh(head, landmarks, clip)
  lids = _lids(_opening(head, landmarks, clip['expression']))
  mesh[4] = np.nan  # a frame without a face

  def run(*sizes):
    encoder.reset()
    cuts = np.cumsum(sizes)
    parts = zip(np.split(mesh, cuts), np.split(lids, cuts), strict=True)
    codes = [encoder.encode(m, x, size=SIZE) for m, x in parts if len(m)]
    return {n: np.concatenate([c[n] for c in codes]) for n in codes[0]}

  whole = run(12)
  for sizes in ((5, 7), (1,) * 12):
    for name, value in run(*sizes).items():
      np.testing.assert_allclose(value, whole[name], atol=2e-5)
  for name in whole:
    np.testing.assert_array_equal(whole[name][4], whole[name][3])


def test_before_the_first_face_the_head_rests(encoder):
  encoder.reset()
  codes = encoder.encode(np.full((2, 468, 3), np.nan), size=SIZE)
  assert not codes['expression'].any()
  assert not codes['global_pose'].any()
  np.testing.assert_allclose(codes['camera'], [[10, 0, 0]] * 2, atol=1e-6)


def test_blink_of_three_frames_survives_the_temporal_prior(
  head, landmarks, encoder
):
  count = 15
  relative = np.ones((count, 2))
  relative[6:9] = [[0.4], [0.0], [0.4]]
  codes = {
    'expression': np.zeros((count, 50), np.float32),
    'camera': np.tile(np.float32([7, 0, 0]), (count, 1)),
  }
  rng = np.random.default_rng(4)
  mesh = _mesh(head, landmarks, codes)
  mesh += rng.normal(size=mesh.shape)
  jitter = {}
  for name, options in (
    ('still', FitOptions(expression_step=0)), ('causal', FitOptions())
  ):  # fmt: skip
    one = LandmarkEncoder(head, landmarks, options)
    found = one.encode(mesh, _lids(relative), size=SIZE)['expression']
    opening = _opening(head, landmarks, found)
    np.testing.assert_allclose(opening[6:9], relative[6:9], atol=0.12)
    np.testing.assert_allclose(opening[9:], 1, atol=0.12)
    lids = np.asarray(blocks.head_blocks(head, landmarks, 50).lids)
    off_lids = found - found @ np.linalg.pinv(lids) @ lids
    jitter[name] = np.abs(np.diff(off_lids, n=2, axis=0)).mean()
  assert jitter['causal'] < 0.9 * jitter['still']


def test_lids_by_the_mesh_where_no_eyes_were_looked_at(
  head, landmarks, encoder, clip
):
  codes = {n: v[:2].copy() for n, v in clip.items()}
  codes['expression'][:] = 0
  codes['jaw_pose'][:] = 0
  mesh = _mesh(head, landmarks, codes)
  # The mesh's own measure asks for lid points that the map may lack.
  mesh[:, 386], mesh[:, 374] = mesh[:, 385], mesh[:, 380]
  mesh[:, 159], mesh[:, 145] = mesh[:, 158], mesh[:, 153]
  found = encoder.calibrate(mesh)
  assert (found.open_lids > 0.2).all()
  assert (found.open_lids < 0.5).all()
  encoder.reset()
  expression = encoder.encode(mesh, size=SIZE, person=found)['expression']
  opening = _opening(head, landmarks, expression)
  np.testing.assert_allclose(opening, 1, atol=0.15)


def test_resting_frames_are_the_calm_ones():
  mouths = np.array([0.0, 0.5, 0.0, 0.0, np.nan, 0.01, 0.4])
  lids = np.full((7, 2), 0.3)
  lids[2] = 0.1
  points = np.zeros((7, 4, 3))
  points[3] = 0.01  # closed mouth, open eyes, but an unusual face
  np.testing.assert_array_equal(
    person.resting_frames(mouths, lids, points), [0]
  )


def test_map_of_the_procedural_head(head, landmarks):
  assert len(landmarks.mesh_index) == 51 + 10 + 87
  assert len(set(landmarks.mesh_index)) == len(landmarks.mesh_index)
  points = _surface(head, landmarks, head.v_template[None])[0]
  at = {int(i): p for i, p in zip(landmarks.mesh_index, points, strict=True)}
  # Left and right mirror each other, the nose is in front, the chin below.
  for right, left in ((33, 263), (61, 291), (50, 280), (172, 397), (70, 300)):
    np.testing.assert_allclose(at[right] * [-1, 1, 1], at[left], atol=2e-5)
  assert at[4][2] == max(p[2] for p in at.values())
  assert at[152][1] == min(p[1] for p in at.values())
  left, right = landmarks.lid_rows()
  names = landmarks.mesh_index
  np.testing.assert_array_equal(names[left], [[385, 380], [387, 373]])
  np.testing.assert_array_equal(names[right], [[158, 153], [160, 144]])


def test_map_by_the_68_points_alone(head):
  other = dataclasses.replace(head, faces=head.faces[:, [1, 2, 0]])
  found = landmark_fit.landmark_map(other)
  assert len(found.mesh_index) == 51 + 10 + 17
  bare = dataclasses.replace(
    other,
    landmarks=dataclasses.replace(
      head.landmarks, full_faces=None, full_barycentric=None
    ),
  )
  assert len(landmark_fit.landmark_map(bare).mesh_index) == 51 + 10
  with pytest.raises(LandmarkMapError, match='no 68-point embedding'):
    landmark_fit.landmark_map(dataclasses.replace(head, landmarks=None))


def test_public_file(head, landmarks, tmp_path):
  path = tmp_path / 'mediapipe_landmark_embedding.npz'
  stored = {
    'lmk_face_idx': landmarks.face_index[:51].astype(np.int64),
    'lmk_b_coords': landmarks.barycentric[:51].astype(np.float64),
    'landmark_indices': landmarks.mesh_index[:51].astype(np.int64),
  }
  np.savez(path, **stored)
  found = landmark_fit.read_landmark_map(path, head)
  np.testing.assert_array_equal(found.mesh_index, landmarks.mesh_index[:51])
  np.testing.assert_array_equal(found.barycentric, landmarks.barycentric[:51])
  np.savez(path, **{**stored, 'lmk_face_idx': np.full(51, 10**6)})
  with pytest.raises(LandmarkMapError, match='names triangle 1000000'):
    landmark_fit.read_landmark_map(path, head)
  np.savez(path, lmk_face_idx=stored['lmk_face_idx'])
  with pytest.raises(LandmarkMapError, match='landmark_indices, lmk_b_coords'):
    landmark_fit.read_landmark_map(path, head)


def test_map_tells_all_problems(landmarks):
  with pytest.raises(LandmarkMapError) as error:
    LandmarkMap(
      mesh_index=[500, 1],
      face_index=[0, -1],
      barycentric=[[1, 0, 0], [1, 1, 0]],
      weight=[1, 0],
    )
  for part in ('[0, 468)', 'negative', 'sum to 1', 'positive', 'left eye'):
    assert part in str(error.value)
  with pytest.raises(LandmarkMapError, match=r'weight is \[1\], wanted \[2\]'):
    LandmarkMap([1, 2], [0, 0], np.eye(3)[:2], [1])


def test_adapter_covariance():
  adapter = np.zeros((17, 50))
  adapter[0, 0] = adapter[4, 1] = 10.0  # a wink, a happy wink
  found = landmark_fit.adapter_covariance(adapter, rest=0.5)
  wanted = np.full(50, 0.25)
  wanted[:2] += [9.0, 1.0]
  np.testing.assert_allclose(found, np.diag(wanted), atol=1e-12)


def test_options_tell_all_problems():
  with pytest.raises(ValueError) as error:
    FitOptions(
      landmark_sigma=0,
      expression_step=-1,
      jaw_sigma=(0, 1, 1),
      jaw_low=(1, 0, 0),
      expression_covariance=np.eye(3),
    )
  for part in (
    'landmark_sigma is 0', 'expression_step is -1', 'jaw_sigma', 'jaw_low',
    '[3, 3], wanted [50, 50]',
  ):  # fmt: skip
    assert part in str(error.value)
