"""Pictures of characters: framing, determinism, expressions."""

import numpy as np
import pytest

from data.characters import (
  Character,
  draw,
  eyes,
  geometry,
  identity,
  palette,
  turn,
)
from data.pose_vector import COEFFICIENT_NAMES
from tests.character_samples import pose_of

# A straight fringe, hair out of the face, a boy, glasses.
SEEDS = (3, 5, 8)


@pytest.fixture(scope='module')
def characters() -> dict[int, Character]:
  return {seed: Character.from_seed(seed) for seed in SEEDS}


def test_picture_is_framed_on_a_transparent_background(characters):
  for character in characters.values():
    picture = character.neutral()
    assert picture.shape == (256, 256, 4)
    assert picture.dtype == np.uint8
    alpha = picture[..., 3]
    assert not alpha[:20].any()
    assert not alpha[:150, :8].any()
    assert not alpha[:150, -8:].any()
    assert (alpha[100:170, 110:146] == 255).all()
    assert alpha[255, 128] == 255  # The body reaches the lower edge.
    rows = np.flatnonzero(alpha.max(axis=1))
    assert 30 <= rows[0] <= 80


def test_background_is_what_shows_through(characters):
  character = characters[3]
  clear = character.neutral().astype(np.float32)
  green = character.render(np.zeros(20), background=(0, 255, 0))
  assert (green[..., 3] == 255).all()
  alpha = clear[..., 3:] / 255
  mixed = clear[..., :3] * alpha + np.array([0, 255, 0]) * (1 - alpha)
  assert np.abs(mixed - green[..., :3]).max() < 6


def test_same_seed_draws_the_same_and_others_differ():
  first = Character.from_seed(11, 64).neutral()
  np.testing.assert_array_equal(first, Character.from_seed(11, 64).neutral())
  assert identity.make_identity(11) == identity.make_identity(11)
  assert palette.make_palette(11) == palette.make_palette(11)
  pictures = [Character.from_seed(s, 64).neutral() for s in range(12)]
  for k, one in enumerate(pictures):
    for other in pictures[:k]:
      assert np.abs(one.astype(int) - other).mean() > 2


def test_many_identities_are_drawn_and_every_style_occurs():
  people = [identity.make_identity(seed) for seed in range(300)]
  for topic, count in (('fringe', 7), ('side', 7), ('back', 5), ('tail', 7)):
    assert len({getattr(p.hair, topic) for p in people}) == count
  assert len({p.clothes for p in people}) == 9
  worn = [set(p.accessories) for p in people]
  assert len(set().union(*worn)) == 14
  assert sum(not w for w in worn) > 40
  for seed in range(60):
    picture = Character.from_seed(seed, 64).neutral()
    assert not picture[:4, :, 3].any()
    assert not picture[:24, [0, -1], 3].any()
    assert (picture[28:42, 29:35, 3] == 255).all()


def test_choices_do_not_change_between_versions():
  dice = identity.Dice(1, 'hair')
  numbers = [dice.uniform(0, 1) for _ in range(3)]
  expected = [0.453132, 0.286710, 0.183667]
  np.testing.assert_allclose(numbers, expected, atol=1e-6)


def test_larger_pictures_show_the_same(characters):
  large = Character.from_seed(5, 512).neutral().astype(np.float32)
  reduced = large.reshape(256, 2, 256, 2, 4).mean(axis=(1, 3))
  small = characters[5].neutral().astype(np.float32)
  solid = (small[..., 3] == 255) & (reduced[..., 3] == 255)
  difference = np.abs(reduced - small)[solid]
  assert difference.mean() < 3


@pytest.mark.parametrize('detail', [1, 2, 4])
def test_smooth_outlines_pass_through_the_grid(detail):
  """Once around, by hand: straight short sides, curved long ones."""
  x, y = [0.0, 4.0, 9.0, 12.0], [0.0, 3.0, -1.0, 2.0]
  upper = np.stack([x, y], axis=1)
  grid = np.stack([upper, np.add(upper, (0, 10))], axis=1)
  patch = geometry.make_patch(grid, (0, 0, 0), follow=0.0)
  pool = draw.PointPool([patch], detail)
  outline = pool.polygons(pool.place(np.zeros(3)), 1000.0)[id(patch)]
  corners = [(0, 0), (0, 1), (1, 1), (2, 1), (3, 1), (3, 0), (2, 0), (1, 0)]
  center = np.array(turn.HEAD_CENTER)
  wanted = [1000 * (grid[corner] + center) for corner in corners]
  found = np.array(outline, float)
  # Two short sides keep one point each, six pieces get `detail`.
  assert len(found) == 2 + 6 * detail
  for point in wanted:
    assert np.abs(found - point).max(axis=1).min() <= 1
  if detail == 2:
    # Catmull-Rom half way between the two middle points.
    middle = (-upper[0] + 9 * upper[1] + 9 * upper[2] - upper[3]) / 16
    middle = 1000 * (middle + center)
    assert np.abs(found - middle).max(axis=1).min() <= 1


def _region(name: str) -> tuple[slice, slice]:
  """Where a coefficient may change the picture."""
  if name.startswith('mouth'):
    return slice(165, 205), slice(108, 148)
  columns = slice(128, 178) if name.endswith('left') else slice(78, 128)
  if name.startswith('eyebrow'):
    return slice(112, 150), columns
  return slice(122, 168), columns


@pytest.mark.parametrize('name', COEFFICIENT_NAMES)
def test_coefficient_moves_its_own_part_and_nothing_else(characters, name):
  for character in characters.values():
    neutral = character.neutral().astype(int)
    inside = np.zeros((256, 256), bool)
    inside[_region(name)] = True
    amounts = []
    for value in (0.25, 0.5, 0.75, 1.0):
      moved = character.render(pose_of(**{name: value}))
      change = np.abs(moved - neutral).sum(axis=-1)
      assert not change[~inside].any()
      amounts.append(change[inside].sum() / 765)
    assert amounts[-1] > 12, 'hardly visible'
    assert amounts[0] > 1
    steps = np.diff(amounts)
    assert (steps > -0.06 * amounts[-1]).all(), amounts
    assert amounts[-1] > amounts[0]


def test_expressions_combine(characters):
  names = {'eye_wink_left': 0.5, 'eyebrow_lowered_left': 1.0, 'mouth_o': 1.0}
  character = characters[5]
  together = character.render(pose_of(**names))
  for name, value in names.items():
    alone = character.render(pose_of(**{name: value}))
    rows, columns = _region(name)
    if name == 'mouth_o':
      np.testing.assert_array_equal(
        together[rows, columns], alone[rows, columns]
      )
    else:
      assert (together != character.neutral()).any()
      assert (together != alone).any()


def test_small_steps_make_small_changes(characters):
  """No coefficient pops: a step of 1/50 moves few pixels."""
  character = characters[8]
  for name in ('eye_wink_left', 'eye_happy_wink_right', 'mouth_a', 'mouth_i'):
    previous = character.neutral().astype(int)
    whole = np.abs(character.render(pose_of(**{name: 1.0})) - previous).sum()
    for value in np.linspace(0, 1, 26)[1:]:
      picture = character.render(pose_of(**{name: value})).astype(int)
      assert np.abs(picture - previous).sum() < 0.25 * whole
      previous = picture


def test_closed_lids_meet_and_arcs_point_apart():
  traits = identity.make_identity(3).eyes
  still = dict.fromkeys(
    ('wink', 'surprised', 'happy', 'raised', 'lowered', 'troubled'), 0.0
  )
  wink = eyes.lids(traits, eyes.EyeState(**{**still, 'wink': 1.0}))
  happy = eyes.lids(traits, eyes.EyeState(**{**still, 'happy': 1.0}))
  np.testing.assert_allclose(wink[0], wink[1])
  np.testing.assert_allclose(happy[0], happy[1])
  middle = 7
  # y is down: a wink sags below its corners, a happy eye rises above them.
  assert wink[0][middle, 1] > wink[0][[0, -1], 1].max()
  assert happy[0][middle, 1] < happy[0][[0, -1], 1].min()
  openings = []
  for value in np.linspace(0, 1, 6):
    state = eyes.EyeState(**{**still, 'wink': value})
    upper, lower = eyes.lids(traits, state)
    openings.append((lower - upper)[:, 1].sum())
  assert (np.diff(openings) < 0).all()
  both = eyes.EyeState(**{**still, 'wink': 1.0, 'happy': 1.0})
  upper, lower = eyes.lids(traits, both)
  np.testing.assert_allclose(upper, lower)


def test_left_and_right_eye_are_mirrored():
  traits = identity.make_identity(3).eyes
  colors = palette.make_palette(3)
  state = eyes.EyeState(0.3, 0.2, 0.1, 0.5, 0.4, 0.2)
  left = eyes.Eye(traits, colors, 1)
  right = eyes.Eye(traits, colors, -1)
  pairs = (
    (left.eye_ops(state), right.eye_ops(state)),
    (left.brow_ops(state)[0], right.brow_ops(state)[0]),
  )
  for ones, others in pairs:
    for one, other in zip(ones, others, strict=True):
      if hasattr(one, 'points'):
        np.testing.assert_allclose(one.points, other.points * (-1, 1, 1))


def test_coefficients_are_clamped_and_bad_poses_named(characters, monkeypatch):
  character = characters[3]
  warnings = []
  monkeypatch.setattr(
    'data.characters.checked_pose.logging.log_first_n',
    lambda level, text, times, *values: warnings.append(text % values),
  )
  np.testing.assert_array_equal(
    character.render(pose_of(mouth_a=3.0)),
    character.render(pose_of(mouth_a=1.0)),
  )
  assert warnings == ['Pose coefficients are clamped to [0, 1]; got 0 to 3.']
  with pytest.raises(ValueError, match='wanted \\(20,\\)'):
    character.render(np.zeros(17))
  with pytest.raises(ValueError, match='not finite'):
    character.render(np.full(20, np.nan))
  with pytest.raises(ValueError, match='size is 4'):
    Character.from_seed(0, 4)
