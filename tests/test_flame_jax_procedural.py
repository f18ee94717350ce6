import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from flame_jax import procedural, render
from flame_jax.assets import FlameParams
from flame_jax.landmarks import contour_row
from flame_jax.layer import flame_apply
from flame_jax.procedural import features, geometry, topology

LID_PAIRS = {'right': ((37, 41), (38, 40)), 'left': ((43, 47), (44, 46))}
LIP_PAIRS = ((50, 58), (51, 57), (52, 56))
# Landmark l seen in the mirror is landmark MIRRORED[l].
MIRRORED = [
  *range(16, -1, -1), *range(26, 16, -1), 27, 28, 29, 30, *range(35, 30, -1),
  45, 44, 43, 42, 47, 46, 39, 38, 37, 36, 41, 40,
  54, 53, 52, 51, 50, 49, 48, 59, 58, 57, 56, 55,
  64, 63, 62, 61, 60, 67, 66, 65,
]  # fmt: skip
FLIP = np.array([-1.0, 1.0, 1.0])


@pytest.fixture(scope='module')
def assets():
  return procedural.procedural_head()


@pytest.fixture(scope='module')
def head():
  return geometry.head_geometry()


@pytest.fixture(scope='module')
def named():
  return procedural.expression_motions()


def _landmarks(assets, vertices):
  """Frontal landmarks of a mesh, [68, 3] float64."""
  embedding = assets.landmarks
  faces = np.concatenate([embedding.dynamic_faces[0], embedding.static_faces])
  weights = np.concatenate(
    [embedding.dynamic_barycentric[0], embedding.static_barycentric]
  )
  corners = np.asarray(vertices, np.float64)[np.asarray(assets.faces)[faces]]
  return np.einsum('lk,lkc->lc', weights.astype(np.float64), corners)


def _pair_distance(landmarks, pairs):
  return np.array(
    [np.linalg.norm(landmarks[a] - landmarks[b]) for a, b in pairs]
  )


def test_arrays_have_flames_format(assets):
  vertices, faces = assets.v_template, assets.faces
  count = len(vertices)
  assert 4500 <= count <= 5500
  assert 9000 <= len(faces) <= 11000
  shapes = {
    'v_template': (count, 3),
    'faces': (len(faces), 3),
    'shapedirs': (count, 3, 300),
    'expressiondirs': (count, 3, 100),
    'posedirs': (count, 3, 36),
    'J_regressor': (5, count),
    'lbs_weights': (count, 5),
    'vertex_colors': (count, 3),
  }
  for name, shape in shapes.items():
    array = getattr(assets, name)
    assert array.shape == shape, name
    assert array.dtype == (jnp.int32 if name == 'faces' else jnp.float32), name
    assert np.isfinite(array).all(), name
  assert assets.vertex_colors.min() >= 0
  assert assets.vertex_colors.max() <= 1


def test_head_has_the_size_of_a_head(assets):
  low, high = assets.v_template.min(0), assets.v_template.max(0)
  width, height, depth = np.asarray(high - low)
  assert 0.15 < width < 0.20
  assert 0.28 < height < 0.32
  assert 0.19 < depth < 0.23
  assert np.abs(assets.v_template).max() < 0.156


def test_every_seed_is_deterministic_and_cached(assets):
  assert procedural.procedural_head() is assets
  again = procedural.procedural_head.__wrapped__(0)
  for one, two in zip(
    jax.tree.leaves(assets), jax.tree.leaves(again), strict=True
  ):
    np.testing.assert_array_equal(one, two)


def test_first_call_may_be_traced():
  heads = []

  @jax.jit
  def traced(x):
    heads.append(procedural.procedural_head.__wrapped__(0))
    return x + heads[0].v_template.sum()

  traced(1.0)
  assert not isinstance(heads[0].v_template, jax.core.Tracer)


def test_surface_is_closed_but_for_the_neck(assets):
  faces = np.asarray(assets.faces)
  directed = faces[:, [0, 1, 1, 2, 2, 0]].reshape(-1, 2)
  # Consistent winding: no directed edge twice.
  assert len(np.unique(directed, axis=0)) == len(directed)
  edges, count = np.unique(
    np.sort(directed, axis=1), axis=0, return_counts=True
  )
  assert set(count) == {1, 2}
  border = edges[count == 1]
  height = np.asarray(assets.v_template)[border, 1]
  # One loop at the lower end, each vertex on two border edges.
  np.testing.assert_allclose(height, height.min(), atol=1e-6)
  assert (np.unique(border, return_counts=True)[1] == 2).all()
  assert set(np.unique(faces)) == set(range(assets.num_vertices))


def test_closed_surface_has_spheres_for_parts(assets, head):
  # Euler: V - E + F is 1 for the head with its open neck, and 2 each for two
  # eyeballs and two rows of teeth.
  faces = np.asarray(assets.faces)
  edges = np.unique(
    np.sort(faces[:, [0, 1, 1, 2, 2, 0]].reshape(-1, 2), axis=1), axis=0
  )
  assert assets.num_vertices - len(edges) + len(faces) == 1 + 4 * 2


def test_triangles_are_not_degenerate_and_face_outwards(assets):
  vertices = np.asarray(assets.v_template, np.float64)
  a, b, c = (vertices[np.asarray(assets.faces)[:, k]] for k in range(3))
  cross = np.cross(b - a, c - a)
  area = np.linalg.norm(cross, axis=1) / 2
  assert area.min() > 2e-9  # 0.05 mm x 0.05 mm
  # The signed volume of a head is positive and about four litres.
  volume = (a * cross).sum() / 6
  assert 0.003 < volume < 0.005


def test_mesh_and_colours_are_their_own_mirror_image(assets, head):
  opposite = head.mirror.opposite
  np.testing.assert_array_equal(opposite[opposite], np.arange(len(opposite)))
  vertices = np.asarray(assets.v_template)
  np.testing.assert_array_equal(vertices[opposite] * FLIP, vertices)
  colors = np.asarray(assets.vertex_colors)
  np.testing.assert_array_equal(colors[opposite], colors)
  faces = {tuple(np.roll(f, -np.argmin(f))) for f in np.asarray(assets.faces)}
  mirrored = opposite[np.asarray(assets.faces)][:, ::-1]
  assert {tuple(np.roll(f, -np.argmin(f))) for f in mirrored} == faces


def test_skinning(assets, head):
  weights = np.asarray(assets.lbs_weights)
  assert weights.min() >= 0
  np.testing.assert_allclose(weights.sum(1), 1, atol=1e-6)
  ball = head.half.loops['eyeball']
  opposite = head.mirror.opposite
  np.testing.assert_array_equal(weights[ball], [[0, 0, 0, 1, 0]] * len(ball))
  np.testing.assert_array_equal(weights[opposite], weights[:, [0, 1, 2, 4, 3]])
  lower = head.half.loops['lower_teeth'].ravel()
  upper = head.half.loops['upper_teeth'].ravel()
  np.testing.assert_array_equal(weights[lower, 2], 1)
  np.testing.assert_array_equal(weights[upper, 2], 0)
  # Smooth: neighbours differ little, but for the slit of the mouth.
  edges = np.asarray(assets.faces)[:, [0, 1]]
  inside = np.concatenate(
    [head.half.loops[f'mouth_{name}'] for name in topology.MOUTH_LOOPS]
  )
  inside = np.concatenate([inside, opposite[inside]])
  skin = ~np.isin(edges, inside).any(1)
  jump = np.abs(weights[edges[skin, 0], 2] - weights[edges[skin, 1], 2])
  assert jump.max() < 0.45


def test_joints_lie_where_they_belong(assets):
  regressor = np.asarray(assets.J_regressor)
  assert regressor.min() >= 0
  np.testing.assert_allclose(regressor.sum(1), 1, atol=1e-6)
  assert (regressor > 0).sum() < 50
  joints = regressor @ np.asarray(assets.v_template)
  center = features.EYE_CENTER
  np.testing.assert_allclose(joints[3], center, atol=1e-6)
  np.testing.assert_allclose(joints[4], center * FLIP, atol=1e-6)
  np.testing.assert_allclose(joints[:3, 0], 0, atol=1e-7)
  assert joints[0, 1] < joints[1, 1] < joints[2, 1] < joints[3, 1]
  ear = head_part(assets, 'ear_root').mean(0)
  assert np.linalg.norm(joints[2, 1:] - ear[1:]) < 0.04


def head_part(assets, name):
  return np.asarray(assets.v_template)[
    geometry.head_geometry().half.loops[name]
  ]


def test_eyeballs_are_spheres(assets):
  ball = head_part(assets, 'eyeball')
  radius = np.linalg.norm(ball - features.EYE_CENTER, axis=1)
  np.testing.assert_allclose(radius, features.EYEBALL_RADIUS, rtol=1e-5)


def test_embedding_arrays(assets):
  embedding = assets.landmarks
  for name, shape in (
    ('static', (51,)),
    ('dynamic', (79, 17)),
    ('full', (68,)),
  ):
    faces = np.asarray(getattr(embedding, f'{name}_faces'))
    weights = np.asarray(getattr(embedding, f'{name}_barycentric'))
    assert faces.shape == shape
    assert weights.shape == (*shape, 3)
    assert faces.min() >= 0
    assert faces.max() < len(assets.faces)
    assert weights.min() >= 0
    np.testing.assert_allclose(weights.sum(-1), 1, atol=1e-6)


def test_landmarks_are_in_ibug_order(assets):
  points = _landmarks(assets, assets.v_template)
  x, y, z = points.T
  np.testing.assert_allclose(points[MIRRORED] * FLIP, points, atol=2e-6)
  # Picture's left to right: contour, brows, nostrils, lips.
  for start, stop in ((1, 16), (17, 27), (31, 36), (48, 55), (60, 65)):
    assert (np.diff(x[start:stop]) > 0).all(), start
  for start, stop in ((54, 60), (64, 68)):
    assert (np.diff(x[start:stop]) < 0).all(), start
  # The contour falls to the chin, which is its lowest point.
  assert (np.diff(y[:9]) < 0).all()
  assert y.argmin() == 8
  assert (np.diff(y[27:31]) < 0).all()
  assert z.argmax() == 30
  # Brows over eyes over nose over mouth over chin.
  groups = (17, 27), (36, 48), (31, 36), (48, 68), (8, 9)
  heights = [y[start:stop].mean() for start, stop in groups]
  assert (np.diff(heights) < -0.01).all()


def test_eye_and_lip_landmarks(assets):
  points = _landmarks(assets, assets.v_template)
  for side, start in ((-1, 36), (1, 42)):
    center = features.EYE_CENTER * np.array([side, 1, 1])
    offset = points[start : start + 6] - center
    distance = np.linalg.norm(offset, axis=1)
    assert (distance > features.EYEBALL_RADIUS).all()
    assert (distance < features.EYEBALL_RADIUS + 0.0045).all()
    assert np.abs(offset.mean(0)[:2]).max() < 0.002
  pairs = (*LID_PAIRS['right'], *LID_PAIRS['left'], *LIP_PAIRS)
  for upper, lower in (*pairs, (62, 66)):
    assert abs(points[upper, 0] - points[lower, 0]) < 2e-4
    assert points[upper, 1] > points[lower, 1]
  lids = _pair_distance(points, (*LID_PAIRS['right'], *LID_PAIRS['left']))
  assert (lids > 0.007).all()
  assert (lids < 0.012).all()
  assert _pair_distance(points, ((62, 66),))[0] < 5e-4


def test_full_embedding_is_the_frontal_one(assets):
  embedding = assets.landmarks
  np.testing.assert_array_equal(
    embedding.full_faces[:17], embedding.dynamic_faces[0]
  )
  np.testing.assert_array_equal(
    embedding.full_barycentric[17:], embedding.static_barycentric
  )


def _turn(degrees):
  angle = np.deg2rad(degrees)
  c, s = np.cos(angle), np.sin(angle)
  return np.array([[c, 0, s], [0, 1, 0], [-s, 0, c]])


def test_contour_follows_the_outline_of_the_turned_head(assets):
  embedding = assets.landmarks
  vertices = np.asarray(assets.v_template, np.float64)
  corners = vertices[
    np.asarray(assets.faces)[np.asarray(embedding.dynamic_faces)]
  ]
  rows = np.einsum('rlk,rlkc->rlc', embedding.dynamic_barycentric, corners)
  for degrees in (10, 25, 39):
    row = int(contour_row(jnp.asarray(_turn(degrees), jnp.float32)))
    assert row == degrees
    # Turned to its left the head shows less of its left cheek: those points
    # move forward and outwards in the picture, the others stay.
    seen, before = rows[row] @ _turn(degrees).T, rows[0] @ _turn(degrees).T
    assert (rows[row, 9:, 2] >= rows[row // 2, 9:, 2] - 1e-7).all()
    assert (seen[10:, 0] >= before[10:, 0] - 5e-4).all()
    assert (seen[11:, 0] - before[11:, 0]).max() > 4e-6 * degrees**2
    np.testing.assert_array_equal(rows[row, :8], rows[0, :8])
  assert (rows[39, 11:, 2] - rows[0, 11:, 2] > 0.01).all()
  # Negative turns are the mirror image, in rows 40..78.
  for degrees in (1, 17, 39):
    assert int(contour_row(jnp.asarray(_turn(-degrees), jnp.float32))) == (
      39 + degrees
    )
    np.testing.assert_allclose(
      rows[39 + degrees] * FLIP, rows[degrees][::-1], atol=3e-6
    )
  # No jumps from one degree to the next.
  steps = np.linalg.norm(np.diff(rows[:40], axis=0), axis=2)
  assert steps.max() < 0.006


@pytest.mark.parametrize('side', ['left', 'right'])
def test_wink_closes_one_eye(assets, named, side):
  other = {'left': 'right', 'right': 'left'}[side]
  field = named[f'upper_lid_close_{side}']
  template = np.asarray(assets.v_template, np.float64)
  distances, others = [], []
  for strength in (0, 0.25, 0.5, 0.75, 1):
    points = _landmarks(assets, template + strength * field)
    distances.append(_pair_distance(points, LID_PAIRS[side]))
    others.append(_pair_distance(points, LID_PAIRS[other]))
  assert (np.diff(distances, axis=0) < -0.001).all()
  assert (distances[-1] < 5e-4).all()
  np.testing.assert_array_equal(others, np.tile(others[0], (5, 1)))
  moved = np.abs(field).max(1) > 0
  assert (template[moved, 0] * (1 if side == 'left' else -1) > 0).all()


@pytest.mark.parametrize(
  'name', ['upper_lid_close', 'lower_lid_raise', 'lid_widen', 'cheek_raise']
)
@pytest.mark.parametrize('strength', [0.0, 0.25, 0.5, 0.75, 1.0])
def test_lids_stay_outside_of_the_eyeball(head, named, name, strength):
  half = head.half
  lids = np.concatenate([half.loops['eye_rim'], half.loops['eye_margin']])
  skin = half.grid[half.grid >= 0]
  near = np.linalg.norm(head.points[skin] - features.EYE_CENTER, axis=1) < 0.03
  index = np.concatenate([lids, skin[near]])
  moved = head.points[index] + strength * named[f'{name}_left'][index]
  distance = np.linalg.norm(moved - features.EYE_CENTER, axis=1)
  assert distance.min() > features.EYEBALL_RADIUS + 1e-4


def test_motions_come_in_mirrored_pairs(head, named):
  assert len(named) >= 30
  for name, field in named.items():
    assert field.shape == head.points.shape
    size = np.linalg.norm(field, axis=1).max()
    assert 0.001 < size < 0.05, name
    if name.endswith('_left'):
      np.testing.assert_array_equal(
        named[name.replace('_left', '_right')], head.mirror.flip(field)
      )
    elif name == 'mouth_shift':
      np.testing.assert_allclose(head.mirror.flip(field), -field, atol=1e-12)
    elif not name.endswith('_right'):
      np.testing.assert_allclose(head.mirror.flip(field), field, atol=1e-12)


def test_motions_leave_bones_alone(head, named):
  half = head.half
  still = [half.loops['eyeball'], half.loops['upper_teeth'].ravel()]
  still += [half.loops[f'ear_{name}'] for name in topology.EAR_LOOPS]
  still = np.concatenate(still)
  for name, field in named.items():
    np.testing.assert_array_equal(field[still], 0, err_msg=name)


def test_motions_do_what_they_are_called(assets, named):
  template = np.asarray(assets.v_template, np.float64)
  rest = _landmarks(assets, template)
  moved = {
    name: _landmarks(assets, template + field) - rest
    for name, field in named.items()
  }
  assert moved['brow_inner_raise_left'][22, 1] > 0.004
  assert moved['brow_outer_raise_left'][25, 1] > 0.004
  assert moved['brow_lower_right'][19, 1] < -0.003
  assert moved['brow_furrow_left'][22, 0] < -0.002
  assert moved['lip_corner_up_left'][54, 1] > 0.005
  assert moved['lip_corner_down_right'][48, 1] < -0.004
  assert moved['mouth_stretch_left'][54, 0] > 0.005
  assert moved['pucker'][48, 0] > 0.004
  assert moved['pucker'][51, 2] > 0.004
  assert moved['mouth_shift'][51, 0] > 0.005
  assert moved['chin_raise'][57, 1] > 0.001
  assert moved['mouth_open'][57, 1] < -0.015
  assert moved['upper_lip_raise_left'][52, 1] > 0.003
  # The slit stays shut when its two sides move together.
  for name in ('lip_corner_up_left', 'pucker', 'mouth_stretch_right'):
    gap = rest + moved[name]
    assert _pair_distance(gap, ((62, 66), (61, 67), (63, 65))).max() < 1e-3


def test_expression_components_fall_and_are_symmetric_or_odd(assets, head):
  basis = np.asarray(assets.expressiondirs, np.float64)
  size = np.sqrt((basis**2).sum((0, 1)))
  assert (np.diff(size) <= 1e-6 * size[0]).all()
  moving = np.linalg.norm(basis, axis=1)

  def in_moving_region(k):
    there = moving[:, k] > 0.1 * moving[:, k].max()
    return np.sqrt((moving[there, k] ** 2).mean())

  assert 0.003 < in_moving_region(0) < 0.008
  assert in_moving_region(20) < 0.1 * in_moving_region(0)
  assert in_moving_region(99) < 2e-4
  for k in range(100):
    mirrored = head.mirror.flip(basis[:, :, k])
    even = np.abs(mirrored - basis[:, :, k]).max()
    odd = np.abs(mirrored + basis[:, :, k]).max()
    assert min(even, odd) < 0.02 * np.abs(basis[:, :, k]).max()
  gram = np.einsum('vck,vcl->kl', basis, basis)
  np.testing.assert_allclose(
    gram / np.outer(size, size), np.eye(100), atol=1e-4
  )


def test_first_fifty_components_hold_every_motion(assets, named):
  basis = np.asarray(assets.expressiondirs, np.float64).reshape(-1, 100)[:, :50]
  gram = basis.T @ basis
  norms = {}
  for name, field in named.items():
    code = np.linalg.solve(gram, basis.T @ field.ravel())
    residual = np.linalg.norm(basis @ code - field.ravel())
    assert residual < 0.01 * np.linalg.norm(field), name
    norms[name] = np.linalg.norm(code)
    # Every motion is a mixture of components.
    assert (np.abs(code) > 0.1 * np.abs(code).max()).sum() >= 3, name
  assert min(norms.values()) > 2
  assert max(norms.values()) < 15


def test_seed_changes_the_mixing_and_not_the_face(assets):
  other = procedural.procedural_head(1)
  np.testing.assert_array_equal(other.v_template, assets.v_template)
  assert np.abs(other.expressiondirs - assets.expressiondirs).max() > 1e-3
  assert np.abs(other.shapedirs - assets.shapedirs).max() > 1e-4


def test_identity_components_fall_and_keep_eyes_round(assets, head):
  basis = np.asarray(assets.shapedirs, np.float64)
  size = np.sqrt((basis**2).mean((0, 1)))
  assert (np.diff(size) <= 1e-6 * size[0]).all()
  assert size[0] < 0.004
  assert size[-1] < 0.01 * size[0]
  ball = head.half.loops['eyeball']
  np.testing.assert_allclose(
    basis[ball], np.broadcast_to(basis[ball[:1]], basis[ball].shape), atol=1e-7
  )


def test_jaw_pose_opens_the_mouth(assets):
  rest = flame_apply(assets, FlameParams(), landmarks='static').landmarks
  apply = jax.jit(
    lambda jaw: flame_apply(
      assets, FlameParams(jaw_pose=jaw), landmarks='static'
    )
  )
  gaps, chins = [], []
  for angle in (0.1, 0.2, 0.35):
    out = apply(jnp.array([angle, 0.0, 0.0])).landmarks
    gaps.append(float(out[62, 1] - out[66, 1]))
    chins.append(np.asarray(out[8] - rest[8]))
    # Above the mouth nothing moves, but the wings of the nose a little.
    np.testing.assert_allclose(out[17:31], rest[17:31], atol=1e-6)
    np.testing.assert_allclose(out[36:48], rest[36:48], atol=1e-6)
    np.testing.assert_allclose(out[31:36], rest[31:36], atol=5e-4)
  assert (np.diff(gaps) > 0.004).all()
  assert gaps[-1] > 0.02
  assert chins[-1][1] < -0.012
  assert chins[-1][2] < -0.02


def test_eyes_turn_and_lids_follow(assets, head):
  pose = jnp.array([0.3, 0, 0, 0, 0, 0.0])
  out = flame_apply(assets, FlameParams(eye_pose=pose), landmarks='static')
  vertices = np.asarray(out.vertices)
  pupil = head.half.loops['eyeball'][0]
  # Positive x looks down.
  expected = features.EYE_CENTER + features.EYEBALL_RADIUS * np.array(
    [0, -np.sin(0.3), np.cos(0.3)]
  )
  np.testing.assert_allclose(vertices[pupil], expected, atol=1e-6)
  rest = np.asarray(flame_apply(assets, FlameParams()).landmarks)
  moved = np.asarray(out.landmarks) - rest
  assert (moved[[43, 44], 1] < -0.002).all()
  np.testing.assert_allclose(moved[36:42], 0, atol=1e-7)
  rim = np.concatenate(
    [head.half.loops['eye_rim'], head.half.loops['eye_margin']]
  )
  distance = np.linalg.norm(vertices[rim] - features.EYE_CENTER, axis=1)
  assert distance.min() > features.EYEBALL_RADIUS


def test_correctives_are_symmetric(assets, head):
  basis = np.asarray(assets.posedirs).reshape(-1, 3, 4, 3, 3)
  assert np.abs(basis).max((0, 1, 3, 4)).min() > 1e-3
  sign = np.outer(FLIP, FLIP)
  swapped = basis[:, :, [0, 1, 3, 2]] * sign
  mirrored = basis[head.mirror.opposite] * FLIP[:, None, None, None]
  np.testing.assert_allclose(mirrored, swapped, atol=1e-8)


def test_head_survives_its_file(assets, tmp_path):
  io = pytest.importorskip('flame_jax.io')
  path = tmp_path / 'head.npz'
  io.save_flame(path, assets)
  loaded = io.load_flame(path)
  for field in dataclasses.fields(assets):
    if field.name != 'landmarks':
      np.testing.assert_array_equal(
        getattr(loaded, field.name), getattr(assets, field.name)
      )
  for name, array in vars(assets.landmarks).items():
    np.testing.assert_array_equal(getattr(loaded.landmarks, name), array)


def test_aligned_basis_answers_to_other_codes(assets):
  rng = np.random.default_rng(0)
  model, codes = rng.normal(size=(17, 50)), rng.normal(size=(17, 50))
  aligned = procedural.align_expression_basis(assets, model, codes, ridge=1e-9)
  assert aligned.expressiondirs.shape == (assets.num_vertices, 3, 50)
  own = np.asarray(assets.expressiondirs, np.float64)[..., :50]
  expected = own @ model.T
  found = np.asarray(aligned.expressiondirs, np.float64) @ codes.T
  np.testing.assert_allclose(
    found, expected, atol=1e-4 * np.abs(expected).max()
  )
  # A code orthogonal to all meanings does nothing.
  stray = rng.normal(size=50)
  stray -= codes.T @ np.linalg.solve(codes @ codes.T, codes @ stray)
  assert (
    np.abs(aligned.expressiondirs @ stray).max() < 1e-4 * np.abs(expected).max()
  )
  np.testing.assert_array_equal(aligned.v_template, assets.v_template)


def test_aligned_basis_takes_the_released_adapter(assets, named, shared_dir):
  codes = np.load(shared_dir / 'real' / 'transform_matrix_08_30.npy')
  basis = np.asarray(assets.expressiondirs, np.float64).reshape(-1, 100)[:, :50]
  fields = np.stack([field.ravel() for field in list(named.values())[:17]])
  model = np.linalg.solve(basis.T @ basis, basis.T @ fields.T).T
  aligned = procedural.align_expression_basis(assets, model, codes)
  found = (
    np.asarray(aligned.expressiondirs, np.float64).reshape(-1, 50) @ codes.T
  )
  error = np.linalg.norm(found - fields.T, axis=0)
  assert (error < 0.05 * np.linalg.norm(fields, axis=1)).all()


def test_align_lists_what_is_wrong(assets):
  with pytest.raises(ValueError, match='17 rows, adapter_codes 16'):
    procedural.align_expression_basis(
      assets, np.ones((17, 50)), np.ones((16, 50))
    )
  bad = np.ones((17, 120))
  bad[0, 0] = np.nan
  with pytest.raises(ValueError) as error:
    procedural.align_expression_basis(assets, bad, np.ones(17))
  for part in ('not finite', 'adapter_codes must be a matrix', '120 columns'):
    assert part in str(error.value)


@pytest.mark.parametrize(
  'name', ['upper_lid_close_left', 'mouth_open', 'lip_corner_up_right']
)
def test_face_has_no_hole_in_a_picture(head, named, name):
  points = head.points + named[name]
  # From the front, one pixel a millimetre.
  pixels = np.array([120, 160, 0]) + points * np.array([1, -1, 1]) * 1000
  index, _ = render.rasterize(pixels, head.faces, (320, 240))
  middle = index[:, 75:165] >= 0
  # In each column of pixels the head is one run, from crown to neck.
  assert (np.diff(middle.astype(int), axis=0) == 1).sum(0).max() == 1
  # Closed lids hide the ball; the open mouth shows teeth.
  ball = np.isin(head.faces, head.half.loops['eyeball']).all(1)
  teeth = np.isin(head.faces, head.half.loops['upper_teeth']).all(1)
  seen = index[index >= 0]
  assert (ball[seen].sum() == 0) == (name == 'upper_lid_close_left')
  assert (teeth[seen].sum() > 0) == (name == 'mouth_open')
