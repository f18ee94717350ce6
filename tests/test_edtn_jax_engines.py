"""ONNX Runtime instead of JAX: the same numbers, chosen as documented."""

import json
import sys

import jax
import numpy as np
import pytest
from PIL import Image

from configs import anime_generator, edtn
from data.anime_tree import on_white
from data.characters.character import Character
from data.pose_vector import POSE_INDEX
from edtn_jax import bundles, engines, runtime, shipped
from edtn_jax.animation.generator import load_generator
from edtn_jax.animation.network import network_config
from edtn_jax.bundle_choice import split_bundles
from edtn_jax.checkpoints import Checkpoint
from edtn_jax.commands import COMMANDS
from edtn_jax.config import ConfigError
from edtn_jax.export import export_translator
from edtn_jax.export.onnx_generator import generator_onnx
from edtn_jax.translation.network import build_translator
from tests import generator_runs
from tests.generator_runs import SIZE

pytest.importorskip('onnxruntime')
LARGE = 2 * SIZE - 8


def _write_with_onnx(path, found):
  """A bundle without the checks of an export, which compile a lot."""
  size = found.config.data.size
  variables = {'params': found.params['model']}
  onnx = generator_onnx(network_config(found.config.model), variables, size)
  bundles.write_bundle(
    path,
    found,
    programs={'onnx/generator.onnx': onnx},
    entries={'image_size': size},
  )


def _generator(blend):
  config = anime_generator.get_config('tiny')
  config.model.sizes.blend = blend
  params = generator_runs.make_params(config, 0)
  return Checkpoint(config, params, {}, 7, 'run/checkpoints/7', False)


def _translator():
  config = edtn.get_config('tiny')
  # What a plain .npz holds.
  config.face.expression_space = 'flame'
  model = build_translator(config.model)
  params = model.init(jax.random.key(0), np.zeros((1, 50)), np.zeros((1, 3)))
  params = jax.tree.map(np.asarray, params['params'])
  return Checkpoint(
    config, {'model': params}, {}, 7, 'run/checkpoints/7', False
  )


@pytest.fixture(scope='module')
def folder(tmp_path_factory):
  """Bundles of a translator and two generators; `bare` has no programs."""
  folder = tmp_path_factory.mktemp('bundles')
  for name, blend in (('blending', True), ('painting', False)):
    _write_with_onnx(folder / name, _generator(blend))
  export_translator(_translator(), folder / 'translator', formats=('onnx',))
  export_translator(_translator(), folder / 'bare', formats=())
  return folder


@pytest.fixture(scope='module')
def picture(tmp_path_factory):
  path = tmp_path_factory.mktemp('picture') / 'source.png'
  Image.fromarray(_source(LARGE)).save(path)
  return path


def _source(side):
  rng = np.random.default_rng(0)
  coarse = rng.random((5, 5, 3)).astype(np.float32)
  image = jax.image.resize(coarse, (side, side, 3), 'linear')
  return np.asarray(255 * image).astype(np.uint8)


@pytest.mark.slow
def test_the_shipped_generator_draws_the_same(tmp_path):
  by_jax = load_generator()
  path = shipped.bundle_of('anime_generator')
  _write_with_onnx(tmp_path / 'bundle', bundles.load_model(path))
  by_onnx = load_generator(tmp_path / 'bundle', engine='onnx')
  character = Character.from_seed(100_001, by_jax.largest)
  source = on_white(character.render(np.zeros(20)))
  pose = np.zeros((1, 20), np.float32)
  pose[0, [POSE_INDEX['mouth_a'], POSE_INDEX['yaw']]] = 1, 12
  [wanted], [found] = (
    list(g.animate(source, pose, batch_size=1)) for g in (by_jax, by_onnx)
  )
  assert np.abs(found.astype(int) - wanted).max() <= 2
  assert np.abs(source.astype(int) - wanted).max() > 50


@pytest.mark.parametrize(
  ('name', 'side'),
  [
    ('painting', SIZE),
    pytest.param('blending', LARGE, marks=pytest.mark.slow),
  ],
)
def test_frames_are_those_of_jax(folder, name, side):
  rng = np.random.default_rng(1)
  poses = rng.uniform(0, 1, (5, 20)).astype(np.float32)
  by_jax, by_onnx = (
    load_generator(folder / name, engine=engine) for engine in ('jax', 'onnx')
  )
  wanted, found = (
    np.stack(list(g.animate(_source(side), poses, batch_size=4))).astype(int)
    for g in (by_jax, by_onnx)
  )
  assert found.shape == (5, side, side, 3)
  assert np.abs(found - wanted).max() <= 2
  assert np.abs(wanted[0] - wanted[1]).max() > 10
  alone = runtime.load(folder / name)
  found = np.stack(list(alone(_source(side), poses, batch_size=4)))
  assert np.abs(found.astype(int) - wanted).max() <= 2
  told = [g.description.pop('generator_engine') for g in (by_jax, by_onnx)]
  assert told == ['jax', 'onnx']
  assert by_jax.description == by_onnx.description


def test_coefficients_are_those_of_jax(folder):
  rng = np.random.default_rng(1)
  codes = rng.standard_normal((5, 50)), 0.1 * rng.standard_normal((5, 3))
  found = bundles.load_model(folder / 'translator')
  by_jax, by_onnx = (
    engines.open_translator(found, engine) for engine in ('jax', 'onnx')
  )
  np.testing.assert_allclose(by_onnx(*codes), by_jax(*codes), atol=1e-5)
  assert by_jax.description == {'translator_engine': 'jax'}
  assert by_onnx.description == {'translator_engine': 'onnx'}


def test_auto_takes_the_faster_one_that_is_there(folder, monkeypatch):
  def takes_onnx(name='translator'):
    return engines.open_program(str(folder / name)) is not None

  task = 'expression_translation'
  monkeypatch.setattr(engines, 'FASTER_BY_ONNX', {task})
  assert takes_onnx()
  assert not takes_onnx('bare')
  assert not takes_onnx('blending')
  with monkeypatch.context() as patch:
    patch.setattr(jax, 'default_backend', lambda: 'gpu')
    assert not takes_onnx()
  with monkeypatch.context() as patch:
    patch.setitem(sys.modules, 'onnxruntime', None)
    assert not takes_onnx()


def test_what_onnx_needs_is_told(folder, tmp_path, monkeypatch):
  for path, fault in (('bare', 'holds no ONNX file'), ('none', 'no bundle')):
    with pytest.raises(bundles.BundleError, match=fault) as caught:
      engines.open_program(str(folder / path), 'onnx')
    assert '--formats=onnx' in str(caught.value)
  own = shipped.bundle_of('expression_translation')
  assert engines.open_program(str(own), 'onnx') is None
  with pytest.raises(ConfigError, match='auto, jax, onnx'):
    engines.open_program(str(folder / 'bare'), 'torch')
  monkeypatch.setitem(sys.modules, 'onnxruntime', None)
  with pytest.raises(bundles.BundleError, match=r"'edtn-jax\[onnx\]'"):
    engines.open_program(str(folder / 'translator'), 'onnx')


def test_bundles_tell_what_they_are_of(folder, tmp_path):
  translator, generator = (
    str(folder / name) for name in ('translator', 'blending')
  )
  found = split_bundles(f'{generator},{translator}', source='x', pose='')
  assert found == {'workdir': translator, 'generator': generator}
  found = split_bundles(generator, source='x', pose='sweep')
  assert found == {'workdir': '', 'generator': generator}
  bad = f'{translator},{folder / "bare"},{generator},{tmp_path}'
  with pytest.raises(ConfigError) as caught:
    split_bundles(bad, source='', pose='sweep')
  text = str(caught.value)
  for word in (
    f'is of the same task as {translator}', 'is no bundle', '--source',
    '--pose',
  ):  # fmt: skip
    assert word in text
  assert len(caught.value.problems) == 4


@pytest.mark.slow
def test_a_reenactment_says_who_ran_the_networks(
  folder, picture, tmp_path, monkeypatch
):
  rng = np.random.default_rng(0)
  np.savez(
    tmp_path / 'codes.npz',
    expression=rng.standard_normal((3, 50)).astype(np.float32),
    pose=(0.1 * rng.standard_normal((3, 6))).astype(np.float32),
  )
  told = {}
  for engine in ('jax', 'onnx'):
    output = tmp_path / engine
    COMMANDS['reenact'](
      str(output),
      driving=str(tmp_path / 'codes.npz'),
      bundle=f'{folder / "translator"},{folder / "blending"}',
      source=str(picture),
      crop=f'0,0,{LARGE}',
      batch_size=4,
      neutral='none',
      media='png',
      engine=engine,
    )
    summary = json.loads((output / 'summary.json').read_text())
    told[engine] = (
      summary['translator_engine'],
      summary['generated']['generator_engine'],
    )
    assert summary['generated']['generated_size'] == LARGE
  assert told == {'jax': ('jax', 'jax'), 'onnx': ('onnx', 'onnx')}
  frames = [
    np.asarray(Image.open(tmp_path / e / 'generated' / '000002.png'), int)
    for e in told
  ]
  assert np.abs(frames[0] - frames[1]).max() <= 2
