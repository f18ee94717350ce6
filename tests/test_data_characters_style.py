"""Shading styles: what they change, and what stays the same in all of them."""

import numpy as np
import pytest

from data.characters import STYLES, Character, geometry, style, style_of
from data.characters.palette import make_palette, mix
from data.characters.tint import style_palette
from data.pose_vector import COEFFICIENT_NAMES
from tests.character_samples import look_up, pose_of

SEED = 5


@pytest.fixture(scope='module')
def drawn() -> dict[str, Character]:
  return {name: Character.from_seed(SEED, 256, name) for name in STYLES}


def test_unknown_styles_are_named_with_the_known_ones():
  with pytest.raises(ValueError) as caught:
    Character.from_seed(0, 64, 'line-art')
  assert str(caught.value) == (
    "style is 'line-art', wanted one of flat, cel, soft, line_art; did you "
    "mean 'line_art'?"
  )
  with pytest.raises(ValueError, match=r"'oil'.*line_art$"):
    style.make_look(0, 'oil')
  with pytest.raises(ValueError, match='wanted a sequence'):
    style.check_styles('cel')
  assert style.check_styles(['soft', 'flat', 'soft']) == ('flat', 'soft')


def test_styles_of_identities_are_reproducible_and_even():
  chosen = [style_of(3, identity) for identity in range(400)]
  assert chosen == [style_of(3, identity) for identity in range(400)]
  assert chosen[:6] == ['soft', 'soft', 'soft', 'cel', 'cel', 'flat']
  for name in STYLES:
    assert 70 < chosen.count(name) < 130
  assert chosen != [style_of(4, identity) for identity in range(400)]
  assert style_of(3, 9, ['soft', 'cel']) == style_of(3, 9, ['cel', 'soft'])


def test_looks_vary_by_identity_and_style():
  for name in STYLES:
    looks = [style.make_look(seed, name) for seed in range(50)]
    assert looks[7] == style.make_look(7, name)
    assert {look.style for look in looks} == {name}
    light = np.array([look.light for look in looks])
    assert light.min() < -0.8
    assert light.max() > 0.8
    pens = np.array([look.pen for look in looks])
    assert pens.max() > 1.3 * pens.min() > 0
  assert len({style.make_look(1, name).light for name in STYLES}) == 4


def test_same_identity_pose_style_and_size_give_the_same_picture():
  for name in STYLES:
    first = Character.from_seed(11, 64, name).render(pose_of(yaw=9))
    again = Character.from_seed(11, 64, name).render(pose_of(yaw=9))
    np.testing.assert_array_equal(first, again)


def test_styles_share_shapes_and_differ_in_colour(drawn):
  pictures = {n: c.neutral().astype(int) for n, c in drawn.items()}
  cel = pictures['cel']
  for name, picture in pictures.items():
    solid = (picture[..., 3] == 255) & (cel[..., 3] == 255)
    # Outlines alone are wider or thinner.
    assert (picture[..., 3] > 127).sum() == pytest.approx(
      (cel[..., 3] > 127).sum(), rel=0.05
    )
    change = np.abs(picture - cel)[solid][:, :3].mean()
    assert (change > 4) == (name != 'cel')
  brightness = {n: p[p[..., 3] == 255, :3].mean() for n, p in pictures.items()}
  assert max(brightness, key=brightness.get) == 'line_art'


def _cheek_colours(character: Character) -> int:
  """Number of colours on the skin around nose and cheeks."""
  patch = character.neutral()[168:176, 100:156, :3].reshape(-1, 3)
  return len(np.unique(patch, axis=0))


def test_flat_has_no_shading_and_soft_has_gradients(drawn):
  counts = {name: _cheek_colours(c) for name, c in drawn.items()}
  assert counts['soft'] > 2 * counts['cel']
  assert counts['flat'] <= counts['cel']
  fringe = {
    name: c.neutral()[90:110, 100:156, :3].reshape(-1, 3)
    for name, c in drawn.items()
  }
  base = np.array(drawn['flat'].palette.hair.base)
  shares = {n: (p == base).all(axis=1).mean() for n, p in fringe.items()}
  assert shares['flat'] > shares['cel'] + 0.1
  assert shares['soft'] < 0.05


def test_shadows_fall_away_from_the_light():
  """The cheek away from the light is the darker one."""
  traits = Character.from_seed(8)
  for name in ('cel', 'soft', 'line_art'):
    cheeks = {}
    for light in (-0.9, 0.9):
      look = style.Look(name, light, 1.0)
      character = Character(traits.identity, traits.palette, 256, look)
      row = character.neutral()[172:184, :, :3].astype(float).mean(axis=(0, 2))
      cheeks[light] = row[96:106].mean() - row[150:160].mean()
    assert cheeks[-0.9] > cheeks[0.9] + 4


def test_a_wider_pen_draws_wider_lines():
  person = Character.from_seed(8)
  dark = []
  for pen in (0.5, 1.0, 1.5):
    look = style.Look('cel', 0.0, pen)
    picture = Character(person.identity, person.palette, 256, look).neutral()
    dark.append(((picture[..., 3] == 255) & (picture.sum(-1) < 520)).sum())
  assert dark[0] < dark[1] < dark[2]


@pytest.mark.parametrize('name', STYLES)
def test_every_size_shows_the_same(drawn, name):
  small = drawn[name].neutral().astype(np.float32)
  for size in (64, 512):
    other = Character.from_seed(SEED, size, name).neutral().astype(np.float32)
    factor = max(size, 256) // min(size, 256)
    large, less = (other, small) if size > 256 else (small, other)
    side = min(size, 256)
    reduced = large.reshape(side, factor, side, factor, 4).mean(axis=(1, 3))
    solid = (less[..., 3] == 255) & (reduced[..., 3] == 255)
    assert np.abs(reduced - less)[solid].mean() < 5
    edge = (other[..., 3] > 0) & (other[..., 3] < 255)
    assert edge.any(), 'outlines are antialiased'


@pytest.mark.parametrize('name', STYLES)
@pytest.mark.parametrize(
  'numbers', [{'yaw': 18, 'roll': -8}, {'pitch': -12, 'mouth_a': 0.6}]
)
def test_flow_is_right_in_every_style(drawn, name, numbers):
  character = drawn[name]
  first, second = (
    character.render(pose, background=(255, 255, 255))[..., :3].astype(float)
    for pose in (pose_of(), pose_of(**numbers))
  )
  flow, occlusion = character.flow(pose_of(), pose_of(**numbers))
  difference = np.abs(look_up(first, flow) - second).mean(axis=-1)
  still = np.abs(first - second).mean(axis=-1)
  alpha = character.render(pose_of(**numbers))[..., 3]
  seen = (alpha == 255) & (occlusion == 1)
  assert seen.sum() > 12000
  # The gradients of soft pictures stay with the light while the head turns.
  tolerance = 3.5 if name == 'soft' else 1.5
  assert np.median(difference[seen]) < tolerance
  assert difference[seen].mean() < 0.35 * still[seen].mean()


def test_flow_does_not_depend_on_the_style(drawn):
  """Away from outlines, whose width differs."""
  poses = pose_of(), pose_of(yaw=15)
  flows = {n: c.flow(*poses)[0] for n, c in drawn.items()}
  for flow in flows.values():
    apart = np.abs(flow - flows['cel']).max(axis=-1)
    assert (apart < 0.05).mean() > 0.93


def test_soft_shading_leaves_the_background_alone(drawn):
  character = drawn['soft']
  clear = character.neutral()
  green = character.render(np.zeros(20), background=(0, 255, 0))
  assert (green[..., 3] == 255).all()
  np.testing.assert_array_equal(
    green[clear[..., 3] == 0],
    np.broadcast_to((0, 255, 0, 255), ((clear[..., 3] == 0).sum(), 4)),
  )
  opaque = clear[..., 3] == 255
  np.testing.assert_array_equal(green[opaque], clear[opaque])


def _pixels(box: tuple, size: int) -> np.ndarray:
  """[size, size] bool: pixels that a box touches."""
  x0, y0, x1, y1 = np.array(box) * size
  y, x = np.mgrid[:size, :size]
  return (x + 1 > x0) & (x < x1) & (y + 1 > y0) & (y < y1)


@pytest.mark.parametrize('seed', [0, 5, 9, 13])
@pytest.mark.parametrize(
  'angles',
  [{}, {'yaw': 20}, {'yaw': -20, 'pitch': 20, 'roll': 20}, {'pitch': -30}],
)
def test_what_an_expression_changes_is_in_the_box(seed, angles):
  character = Character.from_seed(seed)
  neutral = character.render(pose_of(**angles)).astype(int)
  boxes = character.part_boxes(pose_of(**angles))
  assert set(boxes) == {'eyes', 'mouth'}
  changed = {'eyes': np.zeros((256, 256), bool)}
  changed['mouth'] = changed['eyes'].copy()
  for name in COEFFICIENT_NAMES:
    moved = character.render(pose_of(**{name: 1.0}, **angles))
    part = 'mouth' if name.startswith('mouth') else 'eyes'
    changed[part] |= np.abs(moved - neutral).sum(axis=-1) > 0
  for part, where in changed.items():
    inside = _pixels(boxes[part], 256)
    assert not where[~inside].any(), part
    # It follows the head, and is not simply the whole face.
    rows, columns = where.nonzero()
    reach = (np.ptp(rows) + 1) * (np.ptp(columns) + 1)
    assert inside.sum() < 2.6 * reach, part


def test_boxes_do_not_depend_on_expression_size_or_style(drawn):
  pose = pose_of(yaw=10, pitch=5)
  boxes = drawn['cel'].part_boxes(pose)
  smiling = pose_of(yaw=10, pitch=5, mouth_a=1, eye_wink_left=1)
  assert drawn['soft'].part_boxes(smiling) == boxes
  assert Character.from_seed(SEED, 64).part_boxes(pose) == boxes
  x0, y0, x1, y1 = boxes['mouth']
  assert 0 < x0 < x1 < 1
  assert boxes['eyes'][3] < y0 < y1 < 1


@pytest.mark.parametrize('name', COEFFICIENT_NAMES)
def test_every_coefficient_moves_its_part_further_and_further(drawn, name):
  """Five steps, on the right side of the picture, in one style after another.

  The character's left is the picture's right.
  """
  character = drawn[STYLES[COEFFICIENT_NAMES.index(name) % 4]]
  neutral = character.neutral().astype(int)
  part = 'mouth' if name.startswith('mouth') else 'eyes'
  inside = _pixels(character.part_boxes(pose_of())[part], 256)
  if name.endswith('_left'):
    inside[:, :128] = False
  elif name.endswith('_right'):
    inside[:, 128:] = False
  amounts = [0.0]
  for value in np.linspace(0.2, 1.0, 5):
    moved = character.render(pose_of(**{name: value}))
    change = np.abs(moved - neutral).sum(axis=-1)
    assert not change[~inside].any()
    amounts.append(np.minimum(change / 200, 1).sum())
  assert (np.diff(amounts) > 0).all(), amounts
  assert amounts[-1] > 25, 'hardly visible'


def test_expressions_combine_in_every_style(drawn):
  numbers = {
    'eye_wink_left': 0.5,
    'eyebrow_lowered_left': 1.0,
    'mouth_o': 1.0,
  }
  for character in drawn.values():
    together = character.render(pose_of(**numbers))
    for left_out in numbers:
      rest = {k: v for k, v in numbers.items() if k != left_out}
      apart = together != character.render(pose_of(**rest))
      assert apart.any(axis=-1).sum() > 20


def test_mixed_paint_knows_what_it_is_for():
  look = style.Look('cel')
  palette = style_palette(make_palette(SEED), look)
  assert palette.skin.shade == make_palette(SEED).skin.shade
  assert geometry.role_of(palette.skin.shade) == 'shade'
  mixed = mix(palette.skin.base, palette.skin.shade, 0.5)
  assert (geometry.role_of(mixed), mixed.under) == ('shade', palette.skin.base)
  assert geometry.role_of(mix(palette.skin.base, (0, 0, 0), 0.5)) == ''
