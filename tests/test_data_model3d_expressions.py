"""Morph targets of every naming become our coefficients."""

import itertools

import numpy as np
import pytest

pytest.importorskip('pygltflib')

from data import pose_vector
from data.characters.model3d import expressions, morph_table
from data.characters.model3d.errors import CharacterError
from data.characters.model3d.reading import read_model
from tests import gltf_samples
from tests.gltf_samples import CHIN, CROWN, PATCHES


def _model(tmp_path, sample):
  path = tmp_path / 'model.glb'
  sample.write(path)
  return read_model(path)


def _places(model, name):
  """Names of the patches that a coefficient moves, and how far."""
  rows, move, _ = model.surface.moves[name]
  points = model.surface.positions[rows]
  found = {}
  for patch, (x, y, half_x, half_y, _) in PATCHES.items():
    near = (abs(points[:, 0] - x) <= half_x + 1e-6) & (
      abs(points[:, 1] - y) <= half_y + 1e-6
    )
    if near.any() and np.abs(move[near]).max() > 1e-4:
      found[patch] = move[near]
  return found


def test_the_table_covers_every_coefficient_and_parses():
  stems = {*morph_table.SINGLE}
  for stem, side in itertools.product(morph_table.PAIRED, ('left', 'right')):
    stems.add(f'{stem}_{side}')
  assert stems == set(pose_vector.COEFFICIENT_NAMES)
  for name in pose_vector.COEFFICIENT_NAMES:
    for recipe in expressions.candidates(name):
      assert recipe.marks <= {'split', 'eyes', 'brows', 'instead'}
      assert all('{' not in part and part for _, part in recipe.parts)
  known = {*morph_table.PAIRED, *morph_table.SINGLE}
  for stem, parts in morph_table.STAND_INS.items():
    assert {stem, *(part for part, _ in parts)} <= known
  named = {name for group in morph_table.TOGETHER for name in group}
  assert named <= set(pose_vector.COEFFICIENT_NAMES)


def test_recipes_are_taken_apart():
  recipe = expressions.parse_recipe(
    '<split eyes> 0.5 * eyeBlink{Left} + ウィンク{右}', 'right'
  )
  assert recipe.marks == {'split', 'eyes'}
  assert recipe.parts == ((0.5, 'eyeBlinkRight'), (1.0, 'ウィンク右'))


@pytest.mark.parametrize('side', ['left', 'right'])
def test_arkit_moves_each_side_alone(tmp_path, side):
  model = _model(tmp_path, gltf_samples.make_sample())
  assert set(_places(model, f'eye_wink_{side}')) == {f'eye_{side}'}
  assert set(_places(model, f'eye_surprised_{side}')) == {f'eye_{side}'}
  for stem in ('raised', 'lowered', 'troubled'):
    assert set(_places(model, f'eyebrow_{stem}_{side}')) == {f'brow_{side}'}
  brow = _places(model, f'eyebrow_raised_{side}')[f'brow_{side}']
  # Outer and inner together.
  np.testing.assert_allclose(brow[:, 1], 0.032, atol=1e-6)
  assert model.expressions.missing == {}
  assert model.expressions.filled == {
    'eye_happy_wink_left': '1 * eye_wink_left',
    'eye_happy_wink_right': '1 * eye_wink_right',
  }


def test_vowels_are_weighted_sums(tmp_path):
  model = _model(tmp_path, gltf_samples.make_sample())
  height = {
    name: np.abs(_places(model, name)['mouth'][:, 1]).max()
    for name in ('mouth_a', 'mouth_e', 'mouth_o')
  }
  half = 0.004
  np.testing.assert_allclose(height['mouth_a'], 5 * half, rtol=1e-5)
  np.testing.assert_allclose(height['mouth_e'], 2.5 * half, rtol=1e-5)
  np.testing.assert_allclose(height['mouth_o'], 5.5 * half, rtol=1e-5)


@pytest.mark.parametrize('make', ['vrm0_sample', 'vrm1_sample'])
@pytest.mark.parametrize('side', ['left', 'right'])
def test_both_sided_morphs_are_cut_in_two(tmp_path, make, side):
  model = _model(tmp_path, getattr(gltf_samples, make)())
  assert set(_places(model, f'eye_wink_{side}')) == {f'eye_{side}'}
  # The whole of the emotion is brows and mouth, and eyes and brows.
  assert set(_places(model, f'eyebrow_lowered_{side}')) == {f'brow_{side}'}
  assert set(_places(model, f'eye_happy_wink_{side}')) == {f'eye_{side}'}
  eye = _places(model, f'eye_wink_{side}')[f'eye_{side}']
  np.testing.assert_allclose(np.abs(eye[:, 1]).max(), 0.018, rtol=1e-3)


@pytest.mark.parametrize('make', ['vrm0_sample', 'vrm1_sample'])
def test_what_is_missing_is_said(tmp_path, make):
  result = _model(tmp_path, getattr(gltf_samples, make)()).expressions
  assert result.filled == {
    'eye_surprised_left': '-0.15 * eye_wink_left',
    'eye_surprised_right': '-0.15 * eye_wink_right',
    'eyebrow_raised_left': '-0.6 * eyebrow_lowered_left',
    'eyebrow_raised_right': '-0.6 * eyebrow_lowered_right',
    'eyebrow_troubled_left': '0.5 * eyebrow_raised_left',
    'eyebrow_troubled_right': '0.5 * eyebrow_raised_right',
    'mouth_e': '0.5 * mouth_a',
    'mouth_i': '0.25 * mouth_a',
    'mouth_u': '0.25 * mouth_a',
  }
  assert not result.missing


def test_what_cannot_be_filled_stays_neutral(tmp_path):
  def blink(shape):
    return {'まばたき': gltf_samples.both_sided_morphs(shape)['Blink']}

  model = _model(tmp_path, gltf_samples.make_sample(blink))
  assert model.expressions.used['eye_wink_left'] == '<split> まばたき'
  missing = set(model.expressions.missing)
  assert {'mouth_a', 'mouth_u', 'eyebrow_raised_left'} <= missing
  assert 'vrm:a' in model.expressions.missing['mouth_a']
  assert missing.isdisjoint(model.surface.moves)
  assert missing | set(model.surface.moves) == set(
    pose_vector.COEFFICIENT_NAMES
  )


@pytest.mark.parametrize(
  ('left', 'right'),
  [
    ('Fcl_EYE_Close_L', 'Fcl_EYE_Close_R'),
    ('ウィンク２', 'ウィンク２右'),
    ('ウィンク２', 'ｳｨﾝｸ２右'),
    ('eyeBlink_L', 'eyeBlink_R'),
    ('Face.M_F00_000_Fcl_EYE_Close_L', 'Face.M_F00_000_Fcl_EYE_Close_R'),
  ],
)
def test_names_of_other_tools_are_known(tmp_path, left, right):
  def wink(shape):
    morphs = gltf_samples.arkit_morphs(shape)
    return {left: morphs['eyeBlinkLeft'], right: morphs['eyeBlinkRight']}

  model = _model(tmp_path, gltf_samples.make_sample(wink))
  for side in ('left', 'right'):
    assert set(_places(model, f'eye_wink_{side}')) == {f'eye_{side}'}


def test_binds_of_vrm_are_weighted_and_checked(tmp_path):
  groups = [
    {
      'presetName': 'a',
      'name': 'A',
      'binds': [
        {'mesh': 0, 'index': 3, 'weight': 50},
        {'mesh': 0, 'index': 4, 'weight': 50},
      ],
    }
  ]
  model = _model(tmp_path, gltf_samples.vrm0_sample(groups))
  moved = np.abs(_places(model, 'mouth_a')['mouth'][:, 1]).max()
  np.testing.assert_allclose(moved, (2.5 + 1.5) * 0.004, rtol=1e-5)
  groups[0]['binds'][0]['mesh'] = 7
  with pytest.raises(CharacterError, match='mesh 7 does not exist'):
    _model(tmp_path, gltf_samples.vrm0_sample(groups))


def test_default_weights_are_part_of_the_rest_pose(tmp_path):
  sample = gltf_samples.make_sample()
  names = sample.json['meshes'][0]['primitives'][0]['extras']['targetNames']
  weights = [float(name == 'browInnerUp') for name in names]
  sample.json['meshes'][0]['weights'] = weights
  model = _model(tmp_path, sample)
  plain = _model(tmp_path, gltf_samples.make_sample())
  lifted = model.surface.positions - plain.surface.positions
  np.testing.assert_allclose(lifted[:, 1].max(), 0.012, rtol=1e-4)


def test_places_on_the_face(tmp_path):
  for sample in (
    gltf_samples.make_sample(),
    gltf_samples.vrm0_sample(),
    gltf_samples.make_sample(skinned=False),
  ):
    marks = _model(tmp_path, sample).marks
    np.testing.assert_allclose(
      [marks.chin, marks.crown, marks.middle], [CHIN, CROWN, 0], atol=1e-6
    )
    np.testing.assert_allclose(marks.eyes, 1.51, atol=1e-3)
    np.testing.assert_allclose(marks.eye_distance, 0.09, atol=1e-3)
    np.testing.assert_allclose(marks.mouth, 1.445, atol=1e-3)


def _with_brow_bones():
  """A model whose brows hang on two bones a side, and has no morph for them."""

  def morphs(shape):
    return {'Blink': gltf_samples.both_sided_morphs(shape)['Blink']}

  sample = gltf_samples.make_sample(morphs)
  nodes, joints = sample.json['nodes'], sample.json['skins'][0]['joints']
  shape = gltf_samples.make_shape()
  view = sample.json['accessors'][
    sample.json['meshes'][0]['primitives'][0]['attributes']['JOINTS_0']
  ]['bufferView']
  data = bytearray(sample.binary)
  start = sample.json['bufferViews'][view]['byteOffset']
  del sample.json['skins'][0]['inverseBindMatrices']
  # Without inverse matrices the bones must rest at the origin.
  for node in nodes[:3]:
    node['translation'] = [0, 0, 0]
  nodes[2]['children'] = []
  for side, sign in (('left', 1), ('right', -1)):
    nodes.append({'name': f'brow.{side}', 'translation': [sign * 1e-3, 0, 0]})
    nodes[2]['children'].append(len(nodes) - 1)
    joints.append(len(nodes) - 1)
    first, last = shape.spans[f'brow_{side}']
    for vertex in range(first, last):
      place = start + 8 * vertex
      data[place : place + 2] = bytes([len(joints) - 1, 0])
  sample.binary = bytes(data)
  return sample


def test_bones_of_the_brows_stand_in(tmp_path):
  model = _model(tmp_path, _with_brow_bones())
  for side in ('left', 'right'):
    name = f'eyebrow_raised_{side}'
    assert model.expressions.filled[name] == 'moving the bones of the brow'
    assert set(_places(model, name)) == {f'brow_{side}'}
    up = _places(model, name)[f'brow_{side}'][:, 1]
    np.testing.assert_allclose(up, 0.05 * (CROWN - CHIN), rtol=1e-4)
