"""The numpy rasteriser, by hand."""

import numpy as np

from data.characters.model3d.raster import (
  DepthBuffer,
  Planes,
  rasterize,
  signed_area,
)
from data.characters.model3d.textures import CLAMP, MIRROR, Texels, make_texture


def _pixels(corners, side=4):
  fragments = rasterize(np.array([corners], float), side)
  return set(zip(fragments.x.tolist(), fragments.y.tolist(), strict=True))


def test_a_pixel_is_covered_if_its_centre_is():
  assert _pixels([(0, 0), (4, 0), (0, 4)]) == {
    *((0, 0), (1, 0), (2, 0), (0, 1), (1, 1), (0, 2))
  }
  assert _pixels([(0.6, 0.6), (1.4, 0.6), (1, 1.4)]) == set()
  assert _pixels([(1.4, 1.4), (1.6, 1.4), (1.5, 1.6)]) == {(1, 1)}


def test_what_is_outside_is_cut_off():
  everything = {(x, y) for x in range(4) for y in range(4)}
  assert _pixels([(-100, -100), (300, -100), (-100, 300)]) == everything
  assert _pixels([(5, 5), (9, 5), (5, 9)]) == set()


def test_triangles_without_area_cover_nothing():
  assert _pixels([(0, 0), (2, 2), (4, 4)]) == set()
  assert _pixels([(0, 1), (4, 1), (2, 1)]) == set()


def test_neighbours_meet_without_gap_or_overlap():
  generator = np.random.default_rng(1)
  side = 40
  for _ in range(20):
    middle = generator.uniform(5, 35, 2)
    rim = [(-1, -1), (41, -1), (41, 41), (-1, 41)]
    fan = [(middle, rim[k], rim[(k + 1) % 4]) for k in range(4)]
    fragments = rasterize(np.array(fan, float), side)
    counts = np.bincount(fragments.pixel(side), minlength=side * side)
    np.testing.assert_array_equal(counts, 1)


def test_values_change_evenly():
  corners = np.array([[(1, 1), (5, 1), (1, 3)]], float)
  values = np.array([[[2.0, 0], [10, 1], [0, 0]]])
  planes = Planes(corners, values)
  at = planes.at(np.array([0, 0]), np.array([1.0, 3]), np.array([1.0, 2]))
  np.testing.assert_allclose(at, [[2, 0], [5, 0.5]])
  only = planes.at(np.array([0]), np.array([5.0]), np.array([1.0]), 1, 2)
  np.testing.assert_allclose(only, [[1]])


def test_front_is_counter_clockwise_as_seen():
  front = np.array([[(0, 4), (4, 4), (0, 0)]], float)
  assert signed_area(front)[0] > 0
  assert signed_area(front[:, ::-1])[0] < 0


def test_the_nearest_triangle_wins_and_then_the_last():
  buffer = DepthBuffer(2, near=10, far=0)
  pixel = np.array([0, 0, 0, 1, 1])
  depth = np.array([3.0, 7, 5, 4, 4])
  buffer.add(pixel, depth, np.arange(5))
  where, triangle = buffer.nearest()
  np.testing.assert_array_equal(where, [0, 1])
  np.testing.assert_array_equal(triangle, [1, 4])
  np.testing.assert_allclose(buffer.depth(), [7, 4, -np.inf, -np.inf])
  passes = buffer.passes(pixel[:3], np.array([6.9, 7, 7.1]), np.full(3, 9))
  np.testing.assert_array_equal(passes, [False, True, True])


def _texels(wrap):
  picture = np.zeros((1, 2, 4), np.uint8)
  picture[0, 1] = 200
  return Texels([make_texture(picture, (wrap, wrap))])


def test_textures_are_sampled_between_texels():
  uv = np.array([[0.25, 0.5], [0.5, 0.5], [0.75, 0.5]])
  level = np.zeros(3, int)
  values = _texels(CLAMP).sample(level, uv)[:, 0]
  np.testing.assert_allclose(values, [0, 100, 200])


def test_textures_go_on_outside():
  uv = np.array([[1.0, 0.5], [1.25, 0.5]])
  level = np.zeros(2, int)
  for wrap, wanted in ((10497, (100, 0)), (CLAMP, (200, 200)),
                       (MIRROR, (200, 200))):  # fmt: skip
    values = _texels(wrap).sample(level, uv)[:, 0]
    np.testing.assert_allclose(values, wanted, err_msg=str(wrap))


def test_smaller_levels_do_not_mix_in_invisible_colours():
  picture = np.zeros((2, 2, 4), np.uint8)
  picture[0, 0] = (200, 100, 50, 255)
  levels = make_texture(picture).levels
  assert len(levels) == 2
  np.testing.assert_array_equal(levels[1], [[[200, 100, 50, 64]]])
