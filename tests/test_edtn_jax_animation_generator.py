"""A generator in use: from runs and bundles, in every command that draws."""

import json

import jax.export
import jax.numpy as jnp
import numpy as np
import pytest
from PIL import Image

from configs import edtn
from data.characters.character import Character
from data.pose_vector import POSE_INDEX
from edtn_jax import bundles, checkpoints, shipped
from edtn_jax.animation import generator as generator_lib
from edtn_jax.animation.generator import (
  has_seen,
  load_generator,
  unseen_character,
)
from edtn_jax.animation.network import build_generator
from edtn_jax.animation.puppet import CharacterChoice
from edtn_jax.config import ConfigError
from edtn_jax.demo import generated as demo_lib
from edtn_jax.export import ExportError, export_run
from edtn_jax.export import generator as export_lib
from edtn_jax.pose_run import pose_run
from edtn_jax.reenact import reenact
from edtn_jax.reenact_options import ReenactOptions
from edtn_jax.translation.network import build_translator
from tests import generator_runs
from tests.generator_runs import SIZE, STEP
from tests.test_edtn_jax_reenact import _codes, _Driver, _first_numbers


@pytest.fixture(scope='module')
def run(tmp_path_factory):
  return generator_runs.write_run(tmp_path_factory.mktemp('generator'))


@pytest.fixture(scope='module')
def generator(run):
  return load_generator(run)


@pytest.fixture(scope='module')
def picture(tmp_path_factory):
  """A drawn character on nothing, and its path."""
  path = tmp_path_factory.mktemp('picture') / 'source.png'
  Image.fromarray(Character.from_seed(5, 64).neutral()).save(path)
  return path


def _poses(count, seed=0):
  rng = np.random.default_rng(seed)
  poses = rng.uniform(0, 1, (count, 20))
  poses[:, 17:] = rng.uniform(-20, 20, (count, 3))
  return poses.astype(np.float32)


def _source(seed=0):
  rng = np.random.default_rng(seed)
  return rng.integers(0, 256, (SIZE, SIZE, 3), np.uint8)


@pytest.fixture
def warned(monkeypatch):
  lines = []

  def warning(text, *arguments):
    # Orbax warns of files that its own checkpoints never have.
    if 'Metadata' not in text:
      lines.append(text % arguments)

  monkeypatch.setattr(generator_lib.logging, 'warning', warning)
  return lines


def test_frames_are_the_networks_pictures(run, generator):
  found = checkpoints.load_checkpoint(run)
  assert found.averaged
  poses, source = _poses(6), _source()
  frames = list(generator.animate(source, poses, batch_size=4))
  assert len(frames) == 6
  model = build_generator(found.config.model)
  sources = jnp.asarray(np.stack([source / 255] * 6), jnp.float32)
  out = jax.jit(model.apply)({'params': found.params['model']}, sources, poses)[
    'image'
  ]
  wanted = 255 * np.clip(out, 0, 1)
  assert frames[0].dtype == np.uint8
  np.testing.assert_allclose(np.stack(frames), wanted, atol=0.51)
  assert (frames[0] != frames[1]).any()


def test_batches_change_nothing_and_no_pose_gives_no_frame(generator):
  poses, source = _poses(5), _source()
  whole = list(generator.animate(source, poses, batch_size=4))
  ones = list(generator.animate(source, poses, batch_size=1))
  np.testing.assert_allclose(
    np.stack(whole).astype(int), np.stack(ones), atol=1
  )
  assert list(generator.animate(source, poses[:0], batch_size=4)) == []


def test_frames_come_batch_by_batch(generator, monkeypatch):
  real, calls = generator_lib._frames, []

  def counted(*arguments):
    calls.append(1)
    return real(*arguments)

  monkeypatch.setattr(generator_lib, '_frames', counted)
  frames = generator.animate(_source(), _poses(40), batch_size=4)
  next(frames)
  # One batch in use, one under way.
  assert len(calls) == 2


def test_poses_are_clamped_with_one_warning(run, warned):
  generator, source = load_generator(run), _source()
  poses = np.zeros((2, 20), np.float32)
  poses[0, [POSE_INDEX['mouth_a'], POSE_INDEX['yaw']]] = 1.5, 200
  limits = np.clip(poses, 0, 1)
  limits[0, POSE_INDEX['yaw']] = 20
  for _ in range(2):
    frames = list(generator.animate(source, poses, batch_size=4))
  wanted = list(generator.animate(source, limits, batch_size=4))
  np.testing.assert_array_equal(frames, wanted)
  assert len(warned) == 1
  assert 'clamped: mouth_a, yaw.' in warned[0]


@pytest.mark.parametrize(
  ('source', 'poses', 'batch_size', 'said'),
  [
    (np.zeros((8, 8, 3), np.uint8), _poses(1), 4, 'source is uint8'),
    # This network does not blend: it has no larger pictures.
    (np.zeros((40, 40, 3), np.uint8), _poses(1), 4, 'S from 32 to 32'),
    (np.zeros((SIZE, SIZE, 3)), _poses(1), 4, 'source is float64'),
    (_source(), _poses(1)[0], 4, 'poses are'),
    (_source(), _poses(1) * np.nan, 4, 'not finite'),
    (_source(), _poses(1), 0, 'batch_size'),
  ],
)
def test_wrong_arrays_are_named(generator, source, poses, batch_size, said):
  with pytest.raises(ValueError, match=said):
    next(generator.animate(source, poses, batch_size))


def test_raw_parameters_where_there_is_no_average(tmp_path, run, generator):
  raw = load_generator(generator_runs.write_run(tmp_path, averaged=False))
  assert not raw.description['generator_averaged']
  assert (
    raw.description['generator_sha256']
    != generator.description['generator_sha256']
  )


def test_a_bundle_draws_the_same(tmp_path, run, generator):
  manifest = export_run(run, tmp_path / 'bundle', formats=())
  files = {p.name for p in (tmp_path / 'bundle').iterdir()}
  assert files == {
    'params.npz',
    'config.json',
    'pose_vector.json',
    'pose_vector.schema.json',
    'manifest.json',
    'README.md',
  }
  assert manifest['task'] == 'anime_generator'
  assert manifest['checkpoint_step'] == STEP
  assert manifest['metrics'] == {'l1_parts': 0.125}
  assert manifest['license'].startswith('Apache-2.0')
  assert 'argv' not in manifest['training'][0]
  assert manifest['rounding_error'] == 0
  bundled = load_generator(tmp_path / 'bundle')
  path = {'generator': str(tmp_path / 'bundle')}
  assert bundled.description == {**generator.description, **path}
  poses, source = _poses(4), _source()
  frames = list(bundled.animate(source, poses, 4))
  np.testing.assert_array_equal(
    frames, list(generator.animate(source, poses, 4))
  )


@pytest.mark.slow
def test_the_program_draws_any_number_of_pictures(tmp_path, run, generator):
  manifest = export_run(run, tmp_path / 'bundle', formats=('stablehlo',))
  entry = manifest['programs']['stablehlo/generator.stablehlo']
  assert entry['max_abs_error'] < 1e-4
  poses, source = _poses(4), _source()
  frames = list(generator.animate(source, poses, 4))
  folder = tmp_path / 'bundle' / 'stablehlo'
  blob = (folder / 'generator.stablehlo').read_bytes()
  program = jax.export.deserialize(bytearray(blob))
  assert set(program.platforms) == {'cpu', 'cuda', 'tpu'}
  image = program.call(np.stack([source / 255] * 4).astype(np.float32), poses)
  np.testing.assert_allclose(frames, 255 * np.clip(image, 0, 1), atol=0.51)


def test_a_small_bundle(tmp_path, run, monkeypatch):
  for dtype in ('float32', 'float16'):
    export_run(run, tmp_path / dtype, dtype=dtype, formats=())
  whole, half = (
    (tmp_path / name / 'params.npz').stat().st_size
    for name in ('float32', 'float16')
  )
  assert half < 0.65 * whole
  manifest = bundles.read_manifest(tmp_path / 'float16')
  assert manifest['dtype'] == 'float16'
  assert 0 < manifest['rounding_error'] < 1 / 255
  assert 'generator.stablehlo' not in manifest['sha256']
  frames = [
    np.stack(
      list(load_generator(tmp_path / n).animate(_source(), _poses(4), 4))
    )
    for n in ('float32', 'float16')
  ]
  difference = np.abs(frames[0].astype(int) - frames[1])
  assert difference.mean() < 1
  monkeypatch.setattr(export_lib, 'ROUNDING_TOLERANCE', 0.0)
  with pytest.raises(ExportError, match='export with float32'):
    export_run(run, tmp_path / 'other', dtype='float16', formats=())
  assert not (tmp_path / 'other').exists()


def test_one_wrong_byte_is_found(tmp_path, run):
  folder = tmp_path / 'bundle'
  export_run(run, folder, formats=())
  params = bytearray((folder / 'params.npz').read_bytes())
  params[1000] ^= 1
  (folder / 'params.npz').write_bytes(params)
  with pytest.raises(checkpoints.CheckpointError, match=r'params\.npz is not'):
    load_generator(folder)


def test_another_model_is_named(tmp_path):
  config = edtn.get_config('tiny')
  model = build_translator(config.model)
  params = model.init(jax.random.key(0), np.zeros((1, 50)), np.zeros((1, 3)))[
    'params'
  ]
  manager = checkpoints.CheckpointManager(tmp_path, best_metric='loss')
  manager.save(
    1,
    {'params': {'model': params}},
    data={},
    config=config,
    metrics={'loss': 1.0},
  )
  manager.close()
  with pytest.raises(checkpoints.CheckpointError) as caught:
    load_generator(tmp_path)
  for word in ("'expression_translation'", "'anime_generator'", str(tmp_path)):
    assert word in str(caught.value)


def test_parameters_of_another_size_are_listed(run):
  found = checkpoints.load_checkpoint(run)
  found.config.model.preset = 'lite'
  with pytest.raises(checkpoints.CheckpointError, match='the model wants'):
    generator_lib.AnimeGenerator(found)


def test_the_shipped_one_is_found_by_default(tmp_path, run, monkeypatch):
  export_run(run, tmp_path / 'anime_generator', formats=())
  monkeypatch.setattr(shipped, 'FOLDER', tmp_path)
  assert load_generator().description['generator_step'] == STEP


def test_characters_it_has_seen(generator):
  config = generator.config.copy_and_resolve_references()
  config.data.first_identity = 10
  # 4 to train on, 2 to validate.
  assert [has_seen(config, seed) for seed in (9, 10, 13, 14)] == [
    False,
    True,
    True,
    False,
  ]
  assert unseen_character(config) == 16
  config.data.source = 'dataset'
  assert has_seen(config, 10) is None
  assert unseen_character(config) == 1_000_000


def test_reenactment_with_both_kinds(tmp_path, run, generator, picture):
  options = ReenactOptions(
    neutral='none', smoothing=False, media=('gif', 'png'), panel_size=128
  )
  choice = CharacterChoice('5', str(picture), str(run), '0,0,64', 4)
  puppets = choice.open(64)
  assert list(puppets) == ['generated', 'puppet']
  summary = reenact(
    _Driver(_codes(10)),
    _first_numbers,
    tmp_path,
    options=options,
    puppets=puppets,
  )
  assert summary['pictures'] == {
    f'{stem}{suffix}': frames
    for stem in ('reenactment', 'generated', 'puppet')
    for suffix, frames in (('.gif', 5), ('', 10))
  }
  told = json.loads((tmp_path / 'summary.json').read_text())['generated']
  assert told['source'] == str(picture)
  assert told['crop'] == [0, 0, 64]
  assert told['generator'] == generator.description['generator']
  assert told['generator_step'] == STEP
  assert len(told['generator_sha256']) == len(told['source_sha256']) == 64
  with np.load(tmp_path / 'pose_vectors.npz') as stored:
    poses = stored['pose_vector']
  wanted = list(puppets['generated'](poses))
  for i in range(10):
    with Image.open(tmp_path / 'generated' / f'{i:06d}.png') as image:
      np.testing.assert_array_equal(np.asarray(image), wanted[i])


def test_one_pose_and_the_sheet(tmp_path, run, picture):
  choice = CharacterChoice(source=str(picture), generator=str(run))
  path = pose_run(tmp_path, characters=choice, pose='mouth_a=1')
  with Image.open(path) as image:
    assert (image.size, image.mode) == ((SIZE, SIZE), 'RGB')
  path = pose_run(tmp_path, characters=choice, pose='sweep')
  with Image.open(path) as image:
    assert image.height > 20 * SIZE


def test_choices_that_contradict_themselves(tmp_path, picture):
  with pytest.raises(ConfigError) as caught:
    CharacterChoice('5', '', 'runs/x', '0,0,9', 0).open(64)
  assert [p.key for p in caught.value.problems] == [
    'generator',
    'crop',
    'batch_size',
  ]
  both = CharacterChoice('5', str(picture))
  with pytest.raises(ConfigError, match='cannot be drawn together'):
    pose_run(tmp_path / 'out', characters=both, pose='yaw=1')
  assert not (tmp_path / 'out').exists()


def test_the_demos_cast(tmp_path, run):
  chosen = demo_lib.cast('', str(run))
  # 4 characters were trained on, 2 validated.
  assert chosen.character == '6'
  assert f'step {STEP}' in chosen.sentence
  assert 'never seen' in chosen.sentence
  choice = chosen.choice(tmp_path)
  assert (choice.puppet, choice.generator) == ('6', str(run))
  with Image.open(choice.source) as image:
    np.testing.assert_array_equal(
      np.asarray(image), Character.from_seed(6, 512).neutral()
    )
  assert choice.crop == '0,0,512'
  assert 'trained on' in demo_lib.cast('3', str(run)).sentence
