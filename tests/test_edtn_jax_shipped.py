"""The networks that come with the project: small, ours, and they work."""

import json

import numpy as np
import pytest

from data.anime_tree import on_white
from data.characters.character import Character
from data.pose_vector import COEFFICIENT_NAMES, POSE_INDEX
from edtn_jax import bundles, faces, shipped
from edtn_jax.animation.generator import has_seen, load_generator
from edtn_jax.translation.inference import make_translate

TASKS = ('anime_generator', 'expression_translation')
UNSEEN = (100_001, 100_002, 100_003, 100_004)


@pytest.fixture(scope='module')
def generator():
  return load_generator()


def pose(**numbers):
  vector = np.zeros((1, 20), np.float32)
  for name, value in numbers.items():
    vector[0, POSE_INDEX[name]] = value
  return vector


@pytest.mark.parametrize('task', TASKS)
def test_bundles_are_small_ours_and_know_their_origin(task):
  folder = shipped.bundle_of(task)
  assert sum(p.stat().st_size for p in folder.iterdir()) < 8_000_000
  manifest = json.loads((folder / 'manifest.json').read_text())
  assert manifest['license'].startswith('Apache-2.0')
  assert manifest['training'][0]['started']
  text = json.dumps(manifest) + (folder / 'config.json').read_text()
  assert not [p for p in ('/tmp', '/home', '/root') if p in text]


def test_the_translator_closes_the_eye_that_closes():
  found = bundles.load_model(shipped.bundle_of('expression_translation'))
  adapter = np.asarray(found.constants['pose_adapter'])
  face = faces.load_face(found.config.face, adapter)
  translate = make_translate(found)
  names = ('eye_wink_left', 'eye_wink_right', 'mouth_a')
  for name in names:
    row = COEFFICIENT_NAMES.index(name)
    expression = np.asarray(face.pose_adapter)[row : row + 1]
    [coefficients] = np.asarray(translate(expression, np.zeros((1, 3))))
    others = [COEFFICIENT_NAMES.index(n) for n in names if n != name]
    assert coefficients[row] > 0.5
    assert coefficients[others].max() < 0.3


@pytest.mark.slow
@pytest.mark.parametrize(
  ('part', 'numbers'),
  [
    ('eyes', {'eye_wink_left': 1, 'eye_wink_right': 1}),
    ('mouth', {'mouth_a': 1}),
    (None, {'yaw': 20}),
    (None, {'roll': -15}),
  ],
)
def test_the_generator_moves_people_it_has_never_seen(generator, part, numbers):
  """Nearer to the truth than the source is, where something has to move."""
  moved, copied = [], []
  for seed in UNSEEN:
    assert has_seen(generator.config, seed) is False
    character = Character.from_seed(seed, generator.size)
    source, truth = (
      on_white(character.render(p[0])) for p in (pose(), pose(**numbers))
    )
    [drawn] = generator.animate(source, pose(**numbers), batch_size=1)
    rows = columns = slice(None)
    if part is not None:
      box = np.array(character.part_boxes(pose()[0])[part]) * generator.size
      left, top, right, bottom = box.round().astype(int)
      rows, columns = slice(top, bottom), slice(left, right)
    for picture, errors in ((drawn, moved), (source, copied)):
      difference = np.abs(picture.astype(float) - truth)
      errors.append(difference[rows, columns].mean())
  assert np.mean(moved) < 0.8 * np.mean(copied)


@pytest.mark.slow
def test_a_larger_source_moves_alike_and_keeps_its_lines(generator):
  character = Character.from_seed(UNSEEN[0], generator.largest)
  large = on_white(character.render(pose()[0]))
  turned = pose(yaw=12)
  [drawn] = generator.animate(large, turned, batch_size=1)
  assert drawn.shape == large.shape

  def lines(picture):
    return np.abs(np.diff(picture.astype(float), axis=1)).mean()

  factor = generator.largest // generator.size

  def shrunk(picture):
    size = generator.size
    blocks = picture.reshape(size, factor, size, factor, 3).astype(float)
    return np.rint(blocks.mean((1, 3))).astype(np.uint8)

  [small] = generator.animate(shrunk(large), turned, batch_size=1)
  assert np.abs(shrunk(drawn).astype(float) - small).mean() < 4
  enlarged = np.kron(small, np.ones((factor, factor, 1)))
  assert lines(drawn) > 1.2 * lines(enlarged)
