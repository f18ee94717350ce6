"""Bars, panels, GIFs and sheets, by size and by pixel."""

import dataclasses

import jax.numpy as jnp
import numpy as np
import pytest
from PIL import Image

from data import pose_vector
from edtn_jax.pictures import bars, media, meshes, panels, storyboard, style
from edtn_jax.pictures.expressions import expression_sheet
from edtn_jax.pictures.frames import FrameFolder
from flame_jax.assets import FlameAssets
from tests.character_samples import pose_of
from tests.picture_files import read_gif


def _toy_assets():
  """Two triangles that stand apart; expression 0 lifts the left one."""
  template = np.array(
    [[-2, -1, 0], [-1, -1, 0], [-1, 1, 0], [1, -1, 0], [2, -1, 0], [1, 1, 0]],
    np.float32,
  )
  expression = np.zeros((6, 3, 20), np.float32)
  expression[:3, 1, 0] = 1.0
  joints = np.zeros((5, 6), np.float32)
  joints[:, :] = 1 / 6
  joints[3] = [0, 0, 0, 0, 1, 0]
  joints[4] = [1, 0, 0, 0, 0, 0]
  weights = np.zeros((6, 5), np.float32)
  weights[:, 0] = 1
  return FlameAssets(
    v_template=jnp.asarray(template),
    faces=jnp.array([[0, 1, 2], [3, 4, 5]], jnp.int32),
    shapedirs=jnp.zeros((6, 3, 1)),
    expressiondirs=jnp.asarray(expression),
    posedirs=jnp.zeros((6, 3, 36)),
    J_regressor=jnp.asarray(joints),
    lbs_weights=jnp.asarray(weights),
  )


def _toy_scene(size=128):
  adapter = np.zeros((17, 20), np.float32)
  adapter[0, 0] = 1.0
  return meshes.MeshScene(_toy_assets(), adapter, size)


def test_every_coefficient_has_a_row():
  names = [name for _, _, names in bars.row_labels() for name in names]
  assert sorted(names) == sorted(pose_vector.COEFFICIENT_NAMES)


def bar_box(panel, name, value):
  """Where a bar is drawn: left, top, right, bottom in finished pixels."""
  edges = panel._bar(name, value, 0)
  return tuple(round(edge / bars._SUPERSAMPLE) for edge in edges)


@pytest.mark.parametrize('name', pose_vector.COEFFICIENT_NAMES)
@pytest.mark.parametrize('value', [0.25, 1.0])
def test_bars_are_as_long_as_their_value(name, value):
  panel = bars.BarsPanel(256)
  picture = panel(pose_of(**{name: value}))
  number = pose_vector.POSE_NUMBERS[pose_vector.POSE_INDEX[name]]
  color = style.GROUP_COLORS[number.group]
  painted = (picture == color).all(axis=-1)
  left, top, right, bottom = bar_box(panel, name, value)
  full = bar_box(panel, name, 1.0)
  assert abs((right - left) - value * (full[2] - full[0])) <= 1
  # Inside is the group's colour, beyond its end is the track.
  assert painted[top + 1 : bottom - 1, left + 1 : right - 1].all()
  if value < 1:
    beyond = left - 3 if number.side != 'left' else right + 2
    assert tuple(picture[(top + bottom) // 2, beyond]) == style.TRACK
  bars_drawn = 2 if number.side == 'both' else 1
  area = bars_drawn * (right - left) * (bottom - top)
  assert abs(painted.sum() - area) <= 2 * bars_drawn * (bottom - top)


def test_the_characters_left_is_the_pictures_right():
  panel = bars.BarsPanel(256)
  left = bar_box(panel, 'eye_wink_left', 1.0)
  right = bar_box(panel, 'eye_wink_right', 1.0)
  assert right[2] < 128 < left[0]


def test_no_bar_for_zero_and_clipping_above_one():
  panel = bars.BarsPanel(256)
  np.testing.assert_array_equal(
    panel(pose_of(mouth_a=1.0)), panel(pose_of(mouth_a=7.0))
  )
  empty = panel(np.zeros(20))
  for color in ('eye', 'eyebrow', 'mouth'):
    assert not (empty == style.GROUP_COLORS[color]).all(axis=-1).any()


def _dot(picture):
  rows, columns = np.nonzero(
    (picture == style.GROUP_COLORS['head']).all(axis=-1)
  )
  return columns.mean(), rows.mean()


def test_the_dial_points_where_the_nose_does():
  panel = bars.BarsPanel(256)
  x, y = _dot(panel(np.zeros(20)))
  turned = _dot(panel(pose_of(yaw=20)))
  nodding = _dot(panel(pose_of(pitch=20)))
  # Positive yaw turns to the picture's right, positive pitch looks down.
  np.testing.assert_allclose(turned, (x + 15, y), atol=1.0)
  np.testing.assert_allclose(nodding, (x, y + 15), atol=1.0)


def test_bars_refuse_what_is_no_pose():
  with pytest.raises(ValueError, match='20 finite'):
    bars.BarsPanel(256)(np.zeros(17))
  with pytest.raises(ValueError, match='20 finite'):
    bars.BarsPanel(256)(pose_of(yaw=np.nan))


def test_side_by_side_places_pictures():
  red = np.full((20, 30, 3), (255, 0, 0), np.uint8)
  blue = np.full((20, 10, 3), (0, 0, 255), np.uint8)
  sheet = np.asarray(panels.side_by_side([red, blue]))
  assert sheet.shape == (36, 64, 3)
  assert (sheet[8:28, 8:38] == (255, 0, 0)).all()
  assert (sheet[8:28, 46:56] == (0, 0, 255)).all()
  assert (sheet[:, 38:46] == style.PAPER).all()
  titled = np.asarray(panels.side_by_side([red, blue], ['a', 'b']))
  assert (titled[26:46, 8:38] == (255, 0, 0)).all()
  assert (titled[:26] != style.PAPER).any()
  with pytest.raises(ValueError, match='differ in height'):
    panels.side_by_side([red, blue[:5]])
  with pytest.raises(ValueError, match='2 pictures but 1 titles'):
    panels.side_by_side([red, blue], ['a'])


def test_contact_sheet_fills_row_by_row():
  tiles = [np.full((40, 40, 3), 50 * i, np.uint8) for i in range(5)]
  sheet = np.asarray(panels.contact_sheet(tiles, list('abcde'), columns=3))
  assert sheet.shape == (2 * 66 + 8, 3 * 48 + 8, 3)
  for i in range(5):
    y, x = 8 + i // 3 * 66, 8 + i % 3 * 48
    assert (sheet[y : y + 40, x : x + 40] == 50 * i).all()
  with pytest.raises(ValueError, match='5 pictures, 4 labels'):
    panels.contact_sheet(tiles, list('abcd'), columns=3)


def test_fit_square_keeps_the_middle():
  wide = np.zeros((20, 60, 3), np.uint8)
  wide[:, 20:40] = 200
  square = np.asarray(panels.fit_square(wide, 20))
  assert square.shape == (20, 20, 3)
  assert (square[:, 1:-1] == 200).all()


def test_transparency_is_laid_on_paper():
  image = Image.new('RGBA', (4, 4), (255, 0, 0, 0))
  assert (np.asarray(panels.to_image(image)) == style.PAPER).all()


def test_head_angles_and_axis_angle_are_inverse():
  rotation = np.random.default_rng(2).uniform(-1, 1, (5, 3))
  angles = pose_vector.head_angles_deg(rotation)
  np.testing.assert_allclose(
    meshes.axis_angle_from_head_angles(angles), rotation, atol=1e-6
  )


def test_face_view_is_set_by_the_eye_joints():
  center, scale = meshes.face_view(_toy_assets())
  # Eyes at (-2, -1) and (2, -1): 4 apart.
  np.testing.assert_allclose(center, [0, -1 - 0.1 * 4])
  np.testing.assert_allclose(scale, 1 / (2.3 * 4))


def test_predicted_mesh_is_the_adapters_expression():
  scene = _toy_scene()
  coeffs = np.zeros((2, 17))
  coeffs[1, 0] = 0.5
  got = scene.vertices(coeffs @ scene.pose_adapter)
  template = np.asarray(scene.assets.v_template)
  np.testing.assert_allclose(got[0], template, atol=1e-6)
  lifted = template.copy()
  lifted[:3, 1] += 0.5
  np.testing.assert_allclose(got[1], lifted, atol=1e-6)
  still, moved = scene.predicted(coeffs)
  assert still.shape == (128, 128, 3)
  changed = np.nonzero((still != moved).any(axis=(0, 2)))[0]
  # Only the triangle on the picture's left moves.
  assert len(changed)
  assert changed.max() < 64


def test_head_angles_turn_the_predicted_mesh():
  scene = _toy_scene()
  angles = np.zeros((1, 3))
  angles[0, pose_vector.ANGLE_NAMES.index('roll')] = 180.0
  coeffs = np.eye(17)[:1]
  upright = scene.predicted(coeffs)[0]
  turned = scene.predicted(coeffs, angles)[0]
  assert (upright != turned).any()
  np.testing.assert_array_equal(
    upright, scene.driving(coeffs @ scene.pose_adapter, np.zeros((1, 3)))[0]
  )


def test_driving_head_may_be_another():
  assets = _toy_assets()
  still = dataclasses.replace(
    assets, expressiondirs=jnp.zeros_like(assets.expressiondirs)
  )
  adapter = np.zeros((17, 20), np.float32)
  adapter[0, 0] = 1.0
  scene = meshes.MeshScene(assets, adapter, 64, driving_assets=still)
  assert scene.is_approximate
  assert not _toy_scene().is_approximate
  zero, coeffs = np.zeros((1, 20)), np.eye(17)[:1]
  resting = scene.predicted(0 * coeffs)[0]
  np.testing.assert_array_equal(
    scene.driving(zero + 1, np.zeros((1, 3)))[0], resting
  )
  assert (scene.predicted(coeffs)[0] != resting).any()


def test_scene_refuses_a_foreign_adapter():
  with pytest.raises(ValueError, match='at most 20'):
    meshes.MeshScene(_toy_assets(), np.zeros((17, 50)))
  assert _toy_scene().vertices(np.zeros((0, 20))).shape == (0, 6, 3)


def test_expression_sheet_has_eighteen_tiles():
  sheet = np.asarray(expression_sheet(_toy_scene(64)))
  assert sheet.shape == (3 * 90 + 8, 6 * 72 + 8, 3)

  def tile(i):
    y, x = 8 + i // 6 * 90, 8 + i % 6 * 72
    return sheet[y : y + 64, x : x + 64]

  # Neutral stands between the brows and the mouths; only the first
  # coefficient of the toy adapter does anything.
  neutral = tile(12)
  for i in range(1, 18):
    np.testing.assert_array_equal(tile(i), neutral)
  assert (tile(0) != neutral).any()


def test_storyboard_sets_panels_in_order():
  poses = np.zeros((3, 20), np.float32)
  poses[:, 0] = [0, 0.4, 0.8]
  codes = np.zeros((3, 20)), np.zeros((3, 3)), np.zeros((3, 3))
  board = storyboard.Storyboard(
    scene=_toy_scene(),
    frame_picture={'b': np.full((10, 20, 3), 90, np.uint8)}.get,
    characters=('generated', 'puppet'),
    size=128,
  )
  clear = np.zeros((50, 50, 4), np.uint8)
  filled = np.full((50, 50, 4), (10, 200, 30, 255), np.uint8)
  generated = [np.full((32, 32, 3), 70, np.uint8)] * 3
  drawn = board.draw('abc', *codes, poses, [generated, [clear, filled, filled]])
  assert board.titles[3:5] == ['generated picture', 'anime character']
  assert len(board.titles) == 6
  assert [p.size for p in drawn] == [(6 * 136 + 8, 128 + 26 + 8)] * 3
  columns = [
    [
      np.asarray(picture)[26 : 26 + 128, 8 + 136 * i : 8 + 136 * i + 128]
      for i in range(6)
    ]
    for picture in drawn
  ]
  assert (columns[1][0] == 90).all()
  # No picture of that name: said in words.
  assert len(np.unique(columns[0][0])) > 2
  assert (columns[0][3] == 70).all()
  assert (columns[0][4] == style.MESH_BACKGROUND).all()
  assert (columns[1][4] == (10, 200, 30)).all()
  panel = bars.BarsPanel(128)
  for row, pose in zip(columns, poses, strict=True):
    np.testing.assert_array_equal(row[5], panel(pose))


def test_character_panel_shows_the_middle():
  picture = np.zeros((100, 100, 4), np.uint8)
  picture[7:93, 7:93] = (10, 200, 30, 255)
  panel = np.asarray(storyboard.character_panel(picture, 43))
  assert panel.shape == (43, 43, 3)
  inside = panel[3:-3, 3:-3].astype(int)
  assert np.abs(inside - (10, 200, 30)).max() <= 2
  # Beyond the middle nothing is shown, but for the filter's reach.
  assert np.abs(panel.astype(int) - (10, 200, 30)).max() < 60


def test_moving_picture_thins_only_gif_and_webp(tmp_path):
  kinds = ('gif', 'mp4', 'png')
  with media.MovingPicture(
    tmp_path, 'x', kinds, 20.0, every=3, max_frames=2
  ) as movie:
    for i in range(9):
      assert movie.wants(i)
      movie.add(i, np.full((16, 16, 3), 10 * i, np.uint8))
  assert movie.frame_counts() == {'x.gif': 2, 'x.mp4': 9, 'x': 9}
  pictures, durations, _ = read_gif(tmp_path / 'x.gif')
  assert durations == [150, 150]
  np.testing.assert_allclose([p[0, 0, 0] for p in pictures], [0, 30], atol=3)
  with media.MovingPicture(
    tmp_path, 'y', ('gif',), 20.0, every=3, max_frames=2
  ) as movie:
    wanted = []
    for i in range(9):
      wanted.append(movie.wants(i))
      movie.add(i, np.zeros((16, 16, 3), np.uint8))
  assert [i for i in range(9) if wanted[i]] == [0, 3]


def test_one_file_that_cannot_be_opened_leaves_none(tmp_path):
  (tmp_path / 'x.webp').mkdir()
  with (
    pytest.raises(ValueError, match='in the way'),
    media.MovingPicture(tmp_path, 'x', ('mp4', 'png', 'webp'), 20.0),
  ):
    pass
  assert [p.name for p in tmp_path.iterdir()] == ['x.webp']


def test_frame_folder_finds_by_stem(tmp_path):
  Image.new('RGB', (3, 2), (1, 2, 3)).save(tmp_path / '0000001.png')
  (tmp_path / '0000002.png').write_bytes(b'no picture')
  folder = FrameFolder(tmp_path)
  for name in ('0000001', '0000001.mat'):
    assert np.asarray(folder(name)).tolist()[0][0] == [1, 2, 3]
  assert folder('0000002') is None
  assert folder('0000003') is None
  with pytest.raises(FileNotFoundError, match='no folder'):
    FrameFolder(tmp_path / 'absent')
  (tmp_path / 'empty').mkdir()
  with pytest.raises(ValueError, match='holds no picture'):
    FrameFolder(tmp_path / 'empty')
