"""The bundle: complete, checked, loadable without this project."""

import dataclasses
import hashlib
import io
import json
import shutil

import jax
import jax.export
import numpy as np
import pytest

from configs import anime_generator, edtn
from data.pose_vector import POSE_NAMES
from edtn_jax import bundles, checkpoints
from edtn_jax import config as config_lib
from edtn_jax import workdir as workdir_lib
from edtn_jax.animation.generator import AnimeGenerator
from edtn_jax.bundles import BundleError
from edtn_jax.convert.store import write_run
from edtn_jax.export import ExportError, export_run, translator
from edtn_jax.export.origin import origin
from edtn_jax.export.program import Allowed
from edtn_jax.network_choice import NetworkChoice
from edtn_jax.translation.inference import make_translate
from edtn_jax.translation.network import build_translator


@pytest.fixture(scope='module')
def run(tmp_path_factory):
  """A tiny run as training leaves it, with random parameters."""
  workdir = tmp_path_factory.mktemp('run')
  config = edtn.get_config('tiny')
  model = build_translator(config.model)
  params = model.init(jax.random.key(0), np.zeros((1, 50)), np.zeros((1, 3)))[
    'params'
  ]
  manager = checkpoints.CheckpointManager(workdir, best_metric='loss')
  adapter = np.arange(850, dtype=np.float32).reshape(17, 50)
  manager.save(
    3,
    {'params': {'model': params}, 'constants': {'pose_adapter': adapter}},
    data={},
    config=config,
    metrics={'loss': 1.0},
  )
  manager.close()
  workdir_lib.write_config(workdir, config)
  return workdir


def test_bundle_gives_the_networks_numbers(run, tmp_path):
  manifest = export_run(run, tmp_path / 'bundle', formats=('stablehlo',))
  blob = (
    tmp_path / 'bundle' / 'stablehlo' / 'translator.stablehlo'
  ).read_bytes()
  program = jax.export.deserialize(bytearray(blob))
  assert set(program.platforms) == {'cpu', 'cuda', 'tpu'}
  rng = np.random.default_rng(1)
  expression = rng.standard_normal((5, 50)).astype(np.float32)
  jaw_pose = rng.standard_normal((5, 3)).astype(np.float32)
  translate = make_translate(checkpoints.load_checkpoint(run))
  np.testing.assert_allclose(
    program.call(expression, jaw_pose),
    translate(expression, jaw_pose),
    atol=1e-6,
  )
  (entry,) = manifest['programs'].values()
  assert entry['max_abs_error'] < entry['allowed_max_abs_error'] == 1e-5
  assert manifest['checkpoint_step'] == 3


def test_bundle_is_complete_and_hashed(run, tmp_path):
  manifest = export_run(run, tmp_path / 'bundle')
  folder = tmp_path / 'bundle'
  files = {
    p.relative_to(folder).as_posix() for p in folder.rglob('*') if p.is_file()
  }
  assert files == {*manifest['sha256'], 'manifest.json'}
  for name, digest in manifest['sha256'].items():
    data = (tmp_path / 'bundle' / name).read_bytes()
    assert hashlib.sha256(data).hexdigest() == digest
  schema = json.loads((tmp_path / 'bundle' / 'pose_vector.json').read_text())
  assert tuple(n['name'] for n in schema) == POSE_NAMES
  with np.load(tmp_path / 'bundle' / 'params.npz') as stored:
    assert stored['model/layer_0/kernel'].shape == (53, 16)
    assert stored['pose_adapter'][16, 49] == 849


def test_a_bundle_is_read_like_a_run(run, tmp_path):
  export_run(run, tmp_path / 'bundle', formats=())
  assert not list((tmp_path / 'bundle').glob('*.stablehlo'))
  rng = np.random.default_rng(1)
  expression = rng.standard_normal((5, 50)).astype(np.float32)
  jaw_pose = rng.standard_normal((5, 3)).astype(np.float32)
  found = [bundles.load_model(path) for path in (run, tmp_path / 'bundle')]
  assert found[0].step == found[1].step == 3
  assert config_lib.to_json(found[0].config) == config_lib.to_json(
    found[1].config
  )
  np.testing.assert_array_equal(*[f.constants['pose_adapter'] for f in found])
  np.testing.assert_array_equal(
    *[make_translate(f)(expression, jaw_pose) for f in found]
  )
  with pytest.raises(BundleError, match='step 3, not 7'):
    bundles.load_model(tmp_path / 'bundle', step=7)


def test_a_bundle_tells_no_paths_and_whose_it_is(run, tmp_path):
  manifest = export_run(run, tmp_path / 'bundle', formats=())
  assert manifest['task'] == 'expression_translation'
  assert 'argv' not in manifest['provenance']
  assert manifest['license'].startswith('Apache-2.0')
  found = checkpoints.load_checkpoint(run)
  for section, key, value in (
    ('face', 'model', 'generic_model.pkl'),
    ('face', 'pose_adapter', 'released.npy'),
    ('data', 'source', 'dataset'),
  ):
    config = found.config.copy_and_resolve_references()
    config[section][key] = value
    other = dataclasses.replace(found, config=config)
    assert origin(other)['license'].startswith('not set by edtn-jax')


def test_no_path_of_this_machine_is_in_any_file(run, tmp_path):
  private = tmp_path / 'private'
  found = checkpoints.load_checkpoint(run)
  config = found.config.copy_and_resolve_references()
  config.init_from = config.resume_from = f'{private}/runs/first'
  config.compile_cache_dir = f'{private}/cache'
  config.data.path = f'{private}/codes'
  config.face.model = f'{private}/generic_model.pkl'
  config.face.landmarks = f'{private}/static.pkl,{private}/dynamic.npy'
  config.face.pose_adapter = f'{private}/adapter.npy'
  config.loss.vgg_weights = f'{private}/vgg19.pth'
  found = dataclasses.replace(found, config=config)
  folder = tmp_path / 'bundle'
  bundles.write_bundle(folder, found, programs={}, entries=origin(found))
  for file in folder.iterdir():
    assert file.is_file()
    assert b'private' not in file.read_bytes(), file.name
    assert bytes(tmp_path) not in file.read_bytes(), file.name
  again = bundles.read_bundle(folder)
  assert again.config.face.landmarks == 'static.pkl,dynamic.npy'
  assert again.config.loss.vgg_weights == 'vgg19.pth'
  assert not again.config.compile_cache_dir
  np.testing.assert_array_equal(
    again.constants['pose_adapter'], found.constants['pose_adapter']
  )


def _rehashed(folder, name, content):
  """Puts something wrong into a bundle, and its hash into the manifest."""
  (folder / name).write_bytes(content)
  path = folder / 'manifest.json'
  manifest = json.loads(path.read_text())
  manifest['sha256'][name] = hashlib.sha256(content).hexdigest()
  path.write_text(json.dumps(manifest))


@pytest.mark.parametrize('names', [('m/a', 'm/a/b'), ('m/a/b', 'm/a')])
def test_an_array_that_holds_arrays_is_refused(run, tmp_path, names):
  folder = tmp_path / 'bundle'
  export_run(run, folder, formats=())
  file = io.BytesIO()
  np.savez(file, **{name: np.zeros(3) for name in names})
  _rehashed(folder, 'params.npz', file.getvalue())
  with pytest.raises(BundleError, match=f'{names[1]} is an array and'):
    bundles.load_model(folder)


def test_configs_that_describe_no_model_are_refused(run, tmp_path):
  folder = tmp_path / 'bundle'
  export_run(run, folder, formats=())
  config = json.loads((folder / 'config.json').read_text())

  def put(**changes):
    text = json.dumps({k: v for k, v in {**config, **changes}.items() if v})
    _rehashed(folder, 'config.json', text.encode())

  put(task='')
  with pytest.raises(BundleError, match='its config lacks task'):
    bundles.load_model(folder)
  put(model={'hidden_sizes': [16, 16]})
  with pytest.raises(checkpoints.CheckpointError, match='negative_slope'):
    make_translate(bundles.load_model(folder))
  put(face={})
  with pytest.raises(checkpoints.CheckpointError, match='face'):
    NetworkChoice(folder).open().check_codes('clip', 'flame')


@pytest.mark.parametrize(
  'wrong',
  [
    {'preset': 'huge'},
    {'sizes': {'wings': 2}},
    {'sizes': {'base_channels': 0}},
    {'remat': None},
  ],
)
def test_generators_of_unknown_sizes_are_refused(wrong):
  config = anime_generator.get_config('tiny')
  model = {**config.model.to_dict(), **wrong}
  config.unlock()
  config.model = {k: v for k, v in model.items() if v is not None}
  found = checkpoints.Checkpoint(config, {}, {}, 0, 'a/bundle', False)
  with pytest.raises(checkpoints.CheckpointError, match='a/bundle: its config'):
    AnimeGenerator(found)


def test_converted_weights_are_not_ours(run, tmp_path):
  found = checkpoints.load_checkpoint(run)
  source = tmp_path / 'EDTN.pt'
  source.write_bytes(b'somebody')
  write_run(
    tmp_path / 'run', found.config, found.params, source=source, weights='bare'
  )
  converted = checkpoints.load_checkpoint(tmp_path / 'run')
  assert origin(converted)['license'].startswith('not set by edtn-jax')


def test_every_damaged_file_is_named(run, tmp_path):
  folder = tmp_path / 'bundle'
  export_run(run, folder, formats=())
  params = bytearray((folder / 'params.npz').read_bytes())
  params[len(params) // 2] ^= 1
  (folder / 'params.npz').write_bytes(params)
  (folder / 'pose_vector.json').unlink()
  with pytest.raises(BundleError) as caught:
    bundles.load_model(folder)
  assert 'params.npz is not the file that was written' in str(caught.value)
  assert 'pose_vector.json is missing' in str(caught.value)


@pytest.mark.parametrize(
  ('change', 'said'),
  [
    ({'format': 'other'}, 'no manifest of the format'),
    ({'format': 'edtn-bundle-9'}, 'newer edtn-jax'),
    ({'sha256': {}}, 'no hash of'),
    ({'sha256': 3}, 'hashes'),
    ({'task': None}, 'task'),
    ({'sha256': {'params.npz': '', 'config.json': '', '../x': ''}}, 'strange'),
    ({'sha256': {'params.npz': '', 'config.json': '', 'c:/x': ''}}, 'strange'),
  ],
)
def test_a_manifest_that_cannot_be_used(run, tmp_path, change, said):
  folder = tmp_path / 'bundle'
  export_run(run, folder, formats=())
  manifest = json.loads((folder / 'manifest.json').read_text()) | change
  kept = {k: v for k, v in manifest.items() if v is not None}
  (folder / 'manifest.json').write_text(json.dumps(kept))
  with pytest.raises(BundleError, match=said):
    bundles.load_model(folder)


def test_failed_check_leaves_nothing(run, tmp_path, monkeypatch):
  for name in ('stablehlo', 'float16'):
    allowed = {**translator.ALLOWED, name: Allowed(0.0)}
    monkeypatch.setattr(translator, 'ALLOWED', allowed)
    with pytest.raises(ExportError, match='differs from the network'):
      export_run(run, tmp_path / 'bundle')
  assert list(tmp_path.iterdir()) == []


def test_int8_that_is_too_coarse_is_left_out(run, tmp_path, monkeypatch):
  allowed = {**translator.ALLOWED, 'int8': Allowed(1e-7)}
  monkeypatch.setattr(translator, 'ALLOWED', allowed)
  manifest = export_run(run, tmp_path / 'bundle', formats=('onnx',))
  assert list(manifest['programs']) == [
    'onnx/translator.onnx',
    'onnx/translator_fp16.onnx',
  ]
  assert list(manifest['programs_left_out']) == ['onnx/translator_int8.onnx']
  card = (tmp_path / 'bundle' / 'README.md').read_text()
  assert 'Left out: onnx/translator_int8.onnx differs' in card


def test_existing_output_and_absent_run_are_refused(run, tmp_path):
  (tmp_path / 'bundle').mkdir()
  with pytest.raises(BundleError, match='exists'):
    export_run(run, tmp_path / 'bundle')
  with pytest.raises(checkpoints.CheckpointError, match='does not exist'):
    export_run(tmp_path / 'none', tmp_path / 'other')
  with pytest.raises(BundleError, match='float64'):
    export_run(run, tmp_path / 'other', dtype='float64')
  with pytest.raises(ExportError, match='tensorrt'):
    export_run(run, tmp_path / 'other', formats=('tensorrt',))
  with pytest.raises(ExportError, match='opset 16 is not known'):
    export_run(run, tmp_path / 'other', opset=16)


def test_wrong_model_lists_every_difference(run):
  found = checkpoints.load_checkpoint(run)
  found.config.model.hidden_sizes = (16, 8, 8)
  with pytest.raises(checkpoints.CheckpointError) as caught:
    make_translate(found)
  text = str(caught.value)
  assert 'missing: layer_3/kernel (8, 17)' in text
  assert 'layer_1/kernel is (16, 16), the model wants (16, 8)' in text


def test_translate_any_length(run):
  translate = make_translate(checkpoints.load_checkpoint(run))
  rng = np.random.default_rng(0)
  expression = rng.standard_normal((600, 50))
  jaw_pose = rng.standard_normal((600, 3))
  whole = translate(expression, jaw_pose)
  assert whole.shape == (600, 17)
  np.testing.assert_allclose(
    translate(expression[300:301], jaw_pose[300:301])[0], whole[300], atol=1e-6
  )
  assert translate(expression[:0], jaw_pose[:0]).shape == (0, 17)


def test_checkpoint_lookup(run):
  assert checkpoints.find_checkpoint(run).name == '3'
  assert checkpoints.find_checkpoint(run / 'checkpoints' / '3').name == '3'
  with pytest.raises(checkpoints.CheckpointError, match=r'there: \[3\]'):
    checkpoints.find_checkpoint(run, step=7)
  with pytest.raises(checkpoints.CheckpointError, match='no moving average'):
    checkpoints.load_checkpoint(run, averaged=True)


def test_a_checkpoint_with_an_empty_config_is_damaged(run, tmp_path):
  copy = tmp_path / 'run'
  shutil.copytree(run, copy)
  (copy / 'checkpoints' / '3' / 'config' / 'metadata').write_text('{}')
  with pytest.raises(
    checkpoints.CheckpointError, match=r'damaged: its config lacks task'
  ):
    checkpoints.load_checkpoint(copy)
