"""Bars, panels, GIFs and sheets, by size and by pixel."""

import dataclasses

import jax.numpy as jnp
import numpy as np
import pytest
from PIL import Image

from data import pose_vector
from edtn_jax.pictures import bars, gif, meshes, panels, storyboard, style
from edtn_jax.pictures.expressions import expression_sheet
from edtn_jax.pictures.frames import FrameFolder
from flame_jax.assets import FlameAssets


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


def _pose(**values):
  pose = np.zeros(20)
  for name, value in values.items():
    pose[pose_vector.POSE_INDEX[name]] = value
  return pose


def test_every_coefficient_has_a_row():
  names = [name for _, _, names in bars.row_labels() for name in names]
  assert sorted(names) == sorted(pose_vector.COEFFICIENT_NAMES)


@pytest.mark.parametrize('name', pose_vector.COEFFICIENT_NAMES)
@pytest.mark.parametrize('value', [0.25, 1.0])
def test_bars_are_as_long_as_their_value(name, value):
  panel = bars.BarsPanel(256)
  picture = panel(_pose(**{name: value}))
  number = pose_vector.POSE_NUMBERS[pose_vector.POSE_INDEX[name]]
  color = style.GROUP_COLORS[number.group]
  painted = (picture == color).all(axis=-1)
  left, top, right, bottom = panel.bar_box(name, value)
  full = panel.bar_box(name, 1.0)
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
  left = panel.bar_box('eye_wink_left', 1.0)
  right = panel.bar_box('eye_wink_right', 1.0)
  assert right[2] < 128 < left[0]


def test_no_bar_for_zero_and_clipping_above_one():
  panel = bars.BarsPanel(256)
  np.testing.assert_array_equal(
    panel(_pose(mouth_a=1.0)), panel(_pose(mouth_a=7.0))
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
  turned = _dot(panel(_pose(yaw=20)))
  nodding = _dot(panel(_pose(pitch=20)))
  # Positive yaw turns to the picture's right, positive pitch looks down.
  np.testing.assert_allclose(turned, (x + 15, y), atol=1.0)
  np.testing.assert_allclose(nodding, (x, y + 15), atol=1.0)


def test_bars_refuse_what_is_no_pose():
  with pytest.raises(ValueError, match='20 finite'):
    bars.BarsPanel(256)(np.zeros(17))
  with pytest.raises(ValueError, match='20 finite'):
    bars.BarsPanel(256)(_pose(yaw=np.nan))


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


@pytest.mark.parametrize('rate', [12.5, 24.0, 25.0, 30.0])
def test_gif_durations_add_up(rate):
  durations = gif.frame_durations_cs(240, rate)
  assert abs(sum(durations) - 100 * 240 / rate) <= 0.5
  assert max(durations) - min(durations) <= 1
  assert gif.frame_durations_cs(4, 30.0) == [3, 4, 3, 3]
  assert gif.frame_durations_cs(2, 1000.0) == [2, 2]


def _read_gif(path):
  with Image.open(path) as image:
    frames, durations = [], []
    for i in range(image.n_frames):
      image.seek(i)
      frames.append(np.asarray(image.convert('RGB')))
      durations.append(image.info['duration'])
    return frames, durations, image.info.get('loop')


def _count_color_tables(data):
  """(global, local) colour tables of a GIF (GIF89a specification)."""
  position, local = 13, 0
  flags = data[10]
  if flags & 0x80:
    position += 3 << ((flags & 7) + 1)
  while data[position] != 0x3B:
    if data[position] == 0x21:
      position += 2
    else:
      table = data[position + 9]
      position += 10
      if table & 0x80:
        local += 1
        position += 3 << ((table & 7) + 1)
      position += 1
    while data[position]:
      position += data[position] + 1
    position += 1
  return flags >> 7, local


def _moving_frames(count=8):
  noise = np.random.default_rng(0).integers(0, 256, (40, 30, 3), np.uint8)
  frames = []
  for t in range(count):
    frame = np.zeros((40, 60, 3), np.uint8)
    frame[:, :30] = noise
    frame[4 + t : 9 + t, 35:50] = style.GROUP_COLORS['mouth']
    frames.append(frame)
  return frames


def test_gif_frames_timing_loop_and_exact_flat_colours(tmp_path):
  path = tmp_path / 'out.gif'
  frames = _moving_frames()
  with gif.GifWriter(path, 30.0) as writer:
    for frame in frames:
      writer.add(frame)
    assert not path.exists()
  got, durations, loop = _read_gif(path)
  assert len(got) == len(frames)
  assert durations == [
    10 * d for d in gif.frame_durations_cs(len(frames), 30.0)
  ]
  assert loop == 0
  for picture, frame in zip(got, frames, strict=True):
    np.testing.assert_array_equal(picture[:, 30:], frame[:, 30:])
  assert _count_color_tables(path.read_bytes()) == (1, 0)
  # No flicker: what stands still has the same colours in every frame.
  for picture in got:
    np.testing.assert_array_equal(picture[:, :30], got[0][:, :30])
  assert [p.name for p in tmp_path.iterdir()] == ['out.gif']


def test_gif_is_bounded_and_a_failed_one_leaves_nothing(tmp_path):
  with gif.GifWriter(tmp_path / 'few.gif', 25.0, max_frames=3) as writer:
    for frame in _moving_frames(8):
      writer.add(frame)
    assert writer.full
  assert len(_read_gif(tmp_path / 'few.gif')[0]) == 3

  def fail():
    with gif.GifWriter(tmp_path / 'bad.gif', 25.0) as writer:
      writer.add(_moving_frames(1)[0])
      raise RuntimeError('stop')

  with pytest.raises(RuntimeError, match='stop'):
    fail()
  assert [p.name for p in tmp_path.iterdir()] == ['few.gif']


def test_gif_refuses_other_sizes(tmp_path):
  with gif.GifWriter(tmp_path / 'out.gif', 25.0) as writer:
    writer.add(np.zeros((4, 4, 3), np.uint8))
    with pytest.raises(ValueError, match='frame 1'):
      writer.add(np.zeros((4, 5, 3), np.uint8))
  with pytest.raises(ValueError, match='above 0'):
    gif.GifWriter(tmp_path / 'x.gif', 0.0)


def test_a_rare_photograph_gets_its_share_of_the_palette():
  rng = np.random.default_rng(1)
  plain = np.full((100_000, 3), 240) + rng.integers(0, 8, (100_000, 3))
  photo = rng.integers(0, 128, (2000, 3))
  samples = np.concatenate([plain, photo]).astype(np.uint8)
  colors = np.array(gif.shared_palette(samples, ()).getpalette())
  dark = (colors.reshape(-1, 3) < 140).all(axis=1).sum()
  assert dark > 100


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


def test_storyboard_draws_every_other_frame_across_chunks(tmp_path):
  path = tmp_path / 'out.gif'
  poses = np.zeros((9, 20), np.float32)
  poses[:, 0] = np.linspace(0, 0.8, 9)
  codes = np.zeros((9, 20)), np.zeros((9, 3)), np.zeros((9, 3))
  names = [f'{i:03d}' for i in range(9)]
  asked = []

  def frame_picture(name):
    asked.append(name)
    if name == '002':
      return None
    return np.full((10, 20, 3), 90, np.uint8)

  with storyboard.Storyboard(
    path,
    frame_rate=25.0,
    scene=_toy_scene(),
    frame_picture=frame_picture,
    every=2,
    max_frames=4,
    size=128,
  ) as board:
    for rows in (slice(0, 3), slice(3, 4), slice(4, 9)):
      arrays = [array[rows] for array in (*codes, poses)]
      board.add(names[rows], *arrays)
    assert board.picture_count == 4
    assert len(board.titles) == 4
  assert asked == ['000', '002', '004', '006']
  pictures, durations, _ = _read_gif(path)
  assert durations == [80] * 4
  assert pictures[0].shape == (128 + 26 + 8, 4 * 136 + 8, 3)
  panel = bars.BarsPanel(128)
  left = 3 * 136 + 8
  for i, picture in enumerate(pictures):
    drawn = picture[26 : 26 + 128, left : left + 128]
    wanted = panel(poses[2 * i])
    eye = style.GROUP_COLORS['eye']
    np.testing.assert_array_equal(
      (drawn == eye).all(axis=-1), (wanted == eye).all(axis=-1)
    )


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
