import numpy as np
import pytest

from flame_jax import render

PLAIN = {'supersample': 1}


def _pixels(points, faces, grid):
  return render.rasterize(np.array(points, float), np.array(faces), grid)


def test_one_triangle_covers_exactly_the_pixels_whose_centres_it_holds():
  # Right angle at (0, 0); a centre (c + .5, r + .5) is inside if the sum of
  # the two is below 4, so row r holds columns 0 .. 2 - r.
  index, depth = _pixels([(0, 0, 7), (4, 0, 7), (0, 4, 7)], [(0, 1, 2)], (5, 6))
  expected = np.full((5, 6), -1)
  expected[0, :3] = expected[1, :2] = expected[2, :1] = 0
  np.testing.assert_array_equal(index, expected)
  np.testing.assert_array_equal(depth[expected == 0], 7)
  assert np.isneginf(depth[expected < 0]).all()


@pytest.mark.parametrize('order', [(0, 1, 2), (2, 1, 0), (1, 2, 0)])
def test_coverage_does_not_depend_on_the_winding(order):
  points = [(0.3, 0.2, 0), (6.1, 1.7, 0), (2.2, 6.4, 0)]
  expected, _ = _pixels(points, [(0, 1, 2)], (8, 8))
  index, _ = _pixels(points, [order], (8, 8))
  np.testing.assert_array_equal(index, expected)


def test_nearer_triangle_wins_whatever_the_order():
  points = [(0, 0, 1), (8, 0, 1), (0, 8, 1), (0, 0, 2), (4, 0, 2), (0, 4, 2)]
  for faces, near in (([(0, 1, 2), (3, 4, 5)], 1), ([(3, 4, 5), (0, 1, 2)], 0)):
    index, depth = _pixels(points, faces, (8, 8))
    assert index[0, 0] == near
    assert depth[0, 0] == 2
    assert index[0, 5] == 1 - near
    assert depth[0, 5] == 1


def test_depth_is_a_plane_over_the_triangle():
  def plane(x, y):
    return 3 + 0.5 * x - 0.25 * y

  corners = [(0.0, 0.0), (7.5, 1.0), (1.0, 6.5)]
  points = [(x, y, plane(x, y)) for x, y in corners]
  index, depth = _pixels(points, [(0, 1, 2)], (8, 8))
  row, column = np.nonzero(index == 0)
  assert len(row) > 10
  np.testing.assert_allclose(
    depth[row, column], plane(column + 0.5, row + 0.5), rtol=1e-12
  )


def test_triangles_that_cross_are_cut_where_their_depths_are_equal():
  # One is level at 2, the other rises from 0 to 4 along x over 8 pixels.
  points = [(0, 0, 2), (8, 0, 2), (0, 8, 2), (0, 0, 0), (8, 0, 4), (0, 8, 0)]
  index, _ = _pixels(points, [(0, 1, 2), (3, 4, 5)], (1, 8))
  np.testing.assert_array_equal(index[0], [0, 0, 0, 0, 1, 1, 1, -1])


def test_shared_edges_leave_no_hole_and_no_pixel_is_drawn_twice():
  # A fan of thin triangles around an odd point fills its square completely.
  rng = np.random.default_rng(0)
  angle = np.sort(rng.uniform(0, 2 * np.pi, 61))
  rim = 30 * np.stack([np.cos(angle), np.sin(angle)], axis=1) + 32.123
  points = np.concatenate([[[31.7, 32.9]], rim])
  points = np.concatenate([points, np.zeros((62, 1))], axis=1)
  last = np.arange(1, 62)
  faces = np.stack([np.zeros(61, int), last, np.roll(last, -1)], axis=1)
  index, _ = _pixels(points, faces, (64, 64))
  x, y = np.meshgrid(np.arange(64) + 0.5, np.arange(64) + 0.5)
  inside = np.hypot(x - 32.123, y - 32.123) < 29
  assert (index[inside] >= 0).all()
  # Every pixel belongs to one triangle when each is drawn alone.
  counts = sum(
    (_pixels(points, face[None], (64, 64))[0] >= 0).astype(int)
    for face in faces
  )
  np.testing.assert_array_equal(counts, (index >= 0).astype(int))


def test_degenerate_triangles_draw_nothing():
  points = [(1, 1, 0), (5, 5, 0), (3, 3, 0), (2, 2, 0)]
  index, _ = _pixels(points, [(0, 1, 2), (3, 3, 3)], (8, 8))
  assert (index == -1).all()


def test_triangles_outside_of_the_picture_are_cut_at_its_edge():
  points = [(-50, -50, 0), (60, -50, 0), (-50, 60, 0)]
  index, _ = _pixels(points, [(0, 1, 2)], (4, 4))
  assert (index == 0).all()


def _square(z=0.0, half=0.5):
  vertices = np.array(
    [(-half, -half, z), (half, -half, z), (half, half, z), (-half, half, z)]
  )
  return vertices, np.array([(0, 1, 2), (0, 2, 3)])


def test_picture_is_upright_and_framed_by_center_and_scale():
  vertices, faces = _square()
  # The square reaches from the middle to the upper right corner.
  image = render.render_mesh(
    vertices, faces, size=8, center=(-0.5, -0.5), scale=1.0, **PLAIN
  )
  drawn = (image != 255).any(-1)
  expected = np.zeros((8, 8), bool)
  expected[:4, 4:] = True
  np.testing.assert_array_equal(drawn, expected)


def test_default_frame_shows_the_whole_mesh():
  vertices, faces = _square(half=3.0)
  vertices = vertices + np.array([10, 20, 0])
  center, scale = render.fit_view(vertices)
  np.testing.assert_allclose(center, [10, 20])
  assert 0.8 < 3.0 * scale < 1
  image = render.render_mesh(vertices, faces, size=32)
  drawn = (image != 255).any(-1)
  assert drawn[2:-2, 2:-2].all()
  assert not drawn[0].any()


def test_vertex_colors_are_interpolated():
  vertices, faces = _square()
  colors = np.array([(0, 0, 0), (1, 0, 0), (1, 0, 0), (0, 0, 0)], float)
  image = render.render_mesh(
    vertices, faces, size=16, vertex_colors=0.5 * colors, scale=2.0, **PLAIN
  )
  red = image[8, :, 0].astype(int)
  assert (np.diff(red) > 0).all()
  # The middle lies half way between both ends.
  assert abs(2 * red[7] - red[0] - red[14]) <= 2
  np.testing.assert_array_equal(image[:, :, 1], image[:, :, 2])


def test_supersampling_averages_the_samples():
  vertices, faces = _square()
  options = {'size': 9, 'center': (0.03, 0.07), 'scale': 1.3}
  fine = render.render_mesh(
    vertices, faces, **{**options, 'size': 18}, **PLAIN
  ).astype(float)
  mean = fine.reshape(9, 2, 9, 2, 3).mean((1, 3))
  image = render.render_mesh(vertices, faces, supersample=2, **options)
  np.testing.assert_allclose(image, mean, atol=1)
  assert len(np.unique(image[:, :, 0])) > 2


def test_light_comes_from_the_upper_left():
  def brightness(normal):
    x = np.cross([0.0, 1.0, 0.0], normal)
    y = np.cross(normal, x)
    vertices = np.array([-x - y, x - y, x + y, -x + y])
    faces = np.array([(0, 1, 2), (0, 2, 3)])
    image = render.render_mesh(
      vertices, faces, size=8, center=(0, 0), scale=2.5, **PLAIN
    )
    return image[4, 4].mean()

  upper_left, lower_right = (
    np.array([-0.5, 0.5, 0.7]),
    np.array([0.5, -0.5, 0.7]),
  )
  assert brightness(upper_left) > brightness(lower_right) + 20


def test_normals_of_a_symmetric_corner():
  vertices = np.array([(0, 0, 0), (1, 0, 0), (0, 1, 0), (0, 0, 1), (9, 9, 9)])
  faces = np.array([(0, 2, 1), (0, 3, 2), (0, 1, 3)])
  normals = render.vertex_normals(vertices.astype(float), faces)
  np.testing.assert_allclose(normals[0], -np.ones(3) / np.sqrt(3))
  np.testing.assert_array_equal(normals[4], 0)


def test_landmarks_are_dots_on_top():
  vertices, faces = _square()
  dots = np.array([(0.0, 0.0, 0.0), (0.25, 0.0, -1.0)])
  options = {
    'size': 64, 'center': (0, 0), 'scale': 1.0, 'landmarks': dots,
    'landmark_color': (0, 255, 0),
  }  # fmt: skip
  image = render.render_mesh(vertices, faces, **options)
  green = (image == (0, 255, 0)).all(-1)
  row, column = np.nonzero(green)
  np.testing.assert_allclose(row.mean(), 31.5, atol=0.5)
  np.testing.assert_allclose(np.unique(column < 36), [False, True])
  assert green[32, 40]
  hidden = render.render_mesh(
    vertices, faces, hide_occluded_landmarks=True, **options
  )
  assert (hidden[32, 40] != (0, 255, 0)).any()
  assert (hidden[32, 32] == (0, 255, 0)).all()


def test_background_and_size():
  vertices, faces = _square()
  image = render.render_mesh(
    vertices, faces, size=(12, 20), scale=0.5, background=(1, 2, 3)
  )
  assert image.shape == (12, 20, 3)
  assert image.dtype == np.uint8
  np.testing.assert_array_equal(image[0, 0], (1, 2, 3))


def test_bad_input_names_every_problem():
  vertices, _ = _square()
  vertices[0, 0] = np.nan
  with pytest.raises(ValueError) as error:
    render.render_mesh(
      vertices,
      np.array([(0, 1, 9)]),
      vertex_colors=np.zeros((2, 3)),
      landmarks=np.zeros((5, 2)),
    )
  for part in ('not finite', '0..9', 'vertex_colors', 'landmarks'):
    assert part in str(error.value)
