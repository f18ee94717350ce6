"""The file that runs bundles without JAX, and bundles that are traps."""

import io
import json
import shutil
import stat
import subprocess
import sys
import types
import zipfile

import jax
import numpy as np
import pytest

from configs import edtn
from edtn_jax import bundles, checkpoints, runtime
from edtn_jax.animation.generator import load_generator
from edtn_jax.export import export_run, export_translator
from edtn_jax.translation.inference import make_translate
from edtn_jax.translation.network import build_translator
from generator.pirenderer.detail import blend_with_detail
from tests import generator_runs

# A Python in which none of the training stack can be imported.
_ALONE = """
import sys, zipimport
BLOCKED = ('jax', 'jaxlib', 'flax', 'onnx', 'edtn_jax', 'generator', 'data')

class Blocker:
  def find_spec(self, name, path=None, target=None):
    if name.partition('.')[0] in BLOCKED:
      raise ImportError(name + ' is blocked')

sys.meta_path.insert(0, Blocker())
sys.path.insert(0, sys.argv[1])
import numpy, edtn_runtime
inputs = numpy.load(sys.argv[2])
model = edtn_runtime.load(sys.argv[1], threads=1)
found = list(model(*(inputs[name] for name in inputs.files)))
numpy.save(sys.argv[3], found)
assert not set(BLOCKED) & set(sys.modules)
"""


def _checkpoint():
  config = edtn.get_config('tiny')
  model = build_translator(config.model)
  params = model.init(jax.random.key(0), np.zeros((1, 50)), np.zeros((1, 3)))
  params = jax.tree.map(np.asarray, params['params'])
  return checkpoints.Checkpoint(
    config, {'model': params}, {}, 7, 'run/checkpoints/7', False
  )


@pytest.fixture(scope='module')
def bundle(tmp_path_factory):
  """A folder and a .zip of one translator."""
  folder = tmp_path_factory.mktemp('bundles')
  for name in ('folder', 'file.zip'):
    export_translator(_checkpoint(), folder / name, formats=('onnx',))
  return folder


def _codes(count=5):
  rng = np.random.default_rng(0)
  return {
    'expression': rng.standard_normal((count, 50)).astype(np.float32),
    'jaw_pose': 0.1 * rng.standard_normal((count, 3)).astype(np.float32),
  }


def _alone(tmp_path, bundle, inputs):
  np.savez(tmp_path / 'in.npz', **inputs)
  command = [sys.executable, '-c', _ALONE, str(bundle)]
  command += [str(tmp_path / 'in.npz'), str(tmp_path / 'out.npy')]
  done = subprocess.run(
    command, cwd=tmp_path, capture_output=True, text=True, timeout=120
  )
  assert done.returncode == 0, done.stderr
  return np.load(tmp_path / 'out.npy')


def test_translator_without_jax(bundle, tmp_path):
  found = _alone(tmp_path, bundle / 'folder', _codes())
  wanted = make_translate(_checkpoint())(*_codes().values())
  np.testing.assert_allclose(found, wanted, atol=1e-6)


@pytest.mark.slow
def test_generator_without_jax(tmp_path):
  run = generator_runs.write_run(tmp_path / 'run')
  export_run(run, tmp_path / 'bundle', formats=('onnx',))
  rng = np.random.default_rng(0)
  size = generator_runs.SIZE
  inputs = {
    'source': rng.integers(0, 256, (size, size, 3)).astype(np.uint8),
    'poses': rng.uniform(-30, 30, (3, 20)),
  }
  found = _alone(tmp_path, tmp_path / 'bundle', inputs)
  wanted = np.stack(list(load_generator(run).animate(*inputs.values(), 3)))
  assert found.dtype == np.uint8
  assert np.abs(found.astype(int) - wanted).max() <= 1


@pytest.mark.parametrize(
  ('source', 'target', 'method'),
  [
    (6, 24, 'linear'),
    (6, 24, 'cubic'),
    (5, 13, 'cubic'),
    (24, 6, 'lanczos3'),
    (20, 13, 'lanczos3'),
  ],
)
def test_pictures_are_resized_as_by_jax(source, target, method):
  image = np.random.default_rng(0).random((source, source, 3), np.float32)
  found = runtime.resized(image, target, method)
  wanted = jax.image.resize(image, (target, target, 3), method)
  np.testing.assert_allclose(found, wanted, atol=1e-5)
  assert found.dtype == np.float32


def test_larger_sources_are_blended_as_by_jax():
  rng = np.random.default_rng(0)
  source = rng.random((32, 32, 3), np.float32)
  out = {
    'painted_image': rng.random((8, 8, 3), np.float32),
    'share': rng.random((8, 8, 1), np.float32),
    'flow': rng.uniform(-2, 2, (2, 2, 2)).astype(np.float32),
  }
  found = runtime.blended(source, *out.values())
  outputs = {name: value[None] for name, value in out.items()}
  wanted = blend_with_detail(source[None], outputs)[0]
  np.testing.assert_allclose(found, wanted, atol=1e-5)


@pytest.mark.parametrize(
  ('source', 'problem'),
  [
    (np.zeros((31, 31, 3), np.uint8), 'takes 32 to 128'),
    (np.zeros((129, 129, 3), np.uint8), 'takes 32 to 128'),
    (np.zeros((32, 40, 3), np.uint8), 'must be uint8'),
    (np.zeros((32, 32, 3)), 'must be uint8'),
  ],
)
def test_sources_that_do_not_fit_are_refused(source, problem):
  outputs = [types.SimpleNamespace(name=n) for n in ('image', 'share')]
  session = types.SimpleNamespace(get_outputs=lambda: outputs)
  numbers = json.dumps([{'low': 0, 'high': 1}] * 20)
  files = types.SimpleNamespace(
    manifest={'image_size': 32}, read=lambda name: numbers
  )
  generator = runtime.Generator(files, session)
  with pytest.raises(ValueError, match=problem):
    next(generator(source, np.zeros((1, 20))))


@pytest.mark.parametrize('name', ['folder', 'file.zip'])
@pytest.mark.parametrize('precision', runtime.PRECISIONS)
def test_every_file_gives_the_numbers(bundle, name, precision):
  translator = runtime.load(bundle / name, precision=precision, threads=1)
  wanted = make_translate(_checkpoint())(*_codes().values())
  tolerance = {'float32': 1e-6, 'float16': 2e-3, 'int8': 1e-2}[precision]
  found = translator(*_codes().values())
  np.testing.assert_allclose(found, wanted, atol=tolerance)
  assert translator(*_codes(0).values()).shape == (0, 17)
  with pytest.raises(ValueError, match=r'\(5, 50\) and \(4, 3\)'):
    translator(_codes()['expression'], _codes(4)['jaw_pose'])


def test_a_zip_is_the_folder(bundle):
  with zipfile.ZipFile(bundle / 'file.zip') as archive:
    names = set(archive.namelist())
    assert names == {
      p.relative_to(bundle / 'folder').as_posix()
      for p in (bundle / 'folder').rglob('*')
      if p.is_file() and '__pycache__' not in p.parts
    }
    assert archive.read('params.npz')[:2] == b'PK'
  found = [bundles.load_model(bundle / n) for n in ('folder', 'file.zip')]
  jax.tree.map(np.testing.assert_array_equal, found[0].params, found[1].params)
  assert found[1].step == 7


def test_schema_and_card_say_what_is_inside(bundle):
  folder = bundle / 'folder'
  schema = json.loads((folder / 'pose_vector.schema.json').read_text())
  assert len(schema['prefixItems']) == schema['minItems'] == 20
  assert schema['prefixItems'][19]['minimum'] == -20
  manifest = json.loads((folder / 'manifest.json').read_text())
  card = (folder / 'README.md').read_text()
  for name, entry in manifest['programs'].items():
    line = next(x for x in card.splitlines() if f'`{name}`' in x)
    assert f'{entry["max_abs_error"]:.2g}' in line
  for asset in manifest['assets']:
    assert asset['name'] in card
    assert asset['license'] in card
  assert 'step 7' in card
  assert 'edtn_runtime.load' in card


def test_the_file_checks_itself(bundle, tmp_path, capsys):
  assert runtime.main(['edtn_runtime.py', str(bundle / 'file.zip')]) == 0
  assert 'step 7' in capsys.readouterr().out
  assert runtime.main(['edtn_runtime.py', str(tmp_path / 'none')]) == 2
  assert 'manifest.json' in capsys.readouterr().err
  assert runtime.main(['edtn_runtime.py']) == 2


def _copied(bundle, target, change=None, add=()):
  """The zip with some contents changed and some entries added."""
  with (
    zipfile.ZipFile(bundle / 'file.zip') as source,
    zipfile.ZipFile(target, 'w', zipfile.ZIP_DEFLATED) as archive,
  ):
    for entry in source.infolist():
      content = source.read(entry.filename)
      content = (change or {}).get(entry.filename, lambda x: x)(content)
      archive.writestr(entry.filename, content)
    for entry, content in add:
      archive.writestr(entry, content)


def _link(name):
  entry = zipfile.ZipInfo(name)
  entry.external_attr = (stat.S_IFLNK | 0o777) << 16
  return entry


@pytest.mark.filterwarnings('ignore:Duplicate name')
@pytest.mark.parametrize(
  ('entry', 'said'),
  [
    (('../outside', b'x'), 'leads elsewhere'),
    (('/etc/outside', b'x'), 'leads elsewhere'),
    (('a\\..\\outside', b'x'), 'leads elsewhere'),
    (('a/./b', b'x'), 'leads elsewhere'),
    ((_link('onnx/link'), b'/etc/passwd'), 'is a link'),
    (('params.npz', b'x'), 'params.npz is there twice'),
    (('PARAMS.npz', b'x'), 'PARAMS.npz is there twice'),
    (('bomb', bytes(1 << 24)), 'unpacks to 16,777,216 bytes'),
  ],
)
def test_traps_in_a_zip_are_refused(bundle, tmp_path, entry, said):
  _copied(bundle, tmp_path / 'trap.zip', add=[entry])
  with pytest.raises(bundles.BundleError, match=said):
    bundles.load_model(tmp_path / 'trap.zip')
  with pytest.raises(runtime.BundleFileError, match=said):
    runtime.load(tmp_path / 'trap.zip')
  assert [p.name for p in tmp_path.iterdir()] == ['trap.zip']


def test_one_flipped_byte_is_named(bundle, tmp_path):
  def flip(content):
    return content[:200] + bytes([content[200] ^ 1]) + content[201:]

  _copied(bundle, tmp_path / 'a.zip', {'onnx/translator.onnx': flip})
  wrong = r'onnx/translator\.onnx is not the file that was written \(sha256\)'
  with pytest.raises(bundles.BundleError, match=wrong):
    bundles.load_model(tmp_path / 'a.zip')
  # In the zip itself, where its own checksum tells.
  content = bytearray((bundle / 'file.zip').read_bytes())
  where = content.index(b'onnx/translator.onnx') + 400
  content[where] ^= 1
  (tmp_path / 'b.zip').write_bytes(content)
  with pytest.raises(runtime.BundleFileError, match=r'translator\.onnx'):
    runtime.load(tmp_path / 'b.zip')
  for size, said in ((len(content) // 2, 'manifest'), (99, 'no zip file')):
    (tmp_path / 'c.zip').write_bytes(content[:size])
    with pytest.raises(bundles.BundleError, match=said):
      bundles.load_model(tmp_path / 'c.zip')


def test_an_unknown_opset_is_told(bundle, tmp_path):
  onnx = pytest.importorskip('onnx')
  shutil.copytree(bundle / 'folder', tmp_path / 'new')
  path = tmp_path / 'new' / 'onnx' / 'translator.onnx'
  model = onnx.load(path)
  model.opset_import[0].version = 99
  file = io.BytesIO()
  onnx.save(model, file)
  _replace(tmp_path / 'new', 'onnx/translator.onnx', file.getvalue())
  with pytest.raises(runtime.BundleFileError, match='unknown opset needs'):
    runtime.load(tmp_path / 'new')
  with pytest.raises(runtime.BundleFileError, match='int4'):
    runtime.load(tmp_path / 'new', precision='int4')


def _replace(folder, name, content):
  (folder / name).write_bytes(content)
  path = folder / 'manifest.json'
  manifest = json.loads(path.read_text())
  manifest['sha256'][name] = runtime._sha256(io.BytesIO(content))
  path.write_text(json.dumps(manifest))


def test_what_has_no_onnx_or_is_of_another_task(tmp_path):
  export_translator(_checkpoint(), tmp_path / 'bundle', formats=())
  with pytest.raises(runtime.BundleFileError, match='--formats=onnx'):
    runtime.load(tmp_path / 'bundle')
  assert not (tmp_path / 'bundle' / 'edtn_runtime.py').exists()
  path = tmp_path / 'bundle' / 'manifest.json'
  manifest = json.loads(path.read_text()) | {'task': 'poetry'}
  path.write_text(json.dumps(manifest))
  with pytest.raises(runtime.BundleFileError, match='poetry'):
    runtime.load(tmp_path / 'bundle')


def test_bundles_of_the_first_format_are_read(tmp_path):
  found = _checkpoint()
  export_translator(found, tmp_path / 'bundle', formats=())
  path = tmp_path / 'bundle' / 'manifest.json'
  manifest = json.loads(path.read_text()) | {'format': 'edtn-bundle-1'}
  for name in ('README.md', 'pose_vector.schema.json'):
    (tmp_path / 'bundle' / name).unlink()
    del manifest['sha256'][name]
  for name in ('num_parameters', 'programs', 'assets'):
    del manifest[name]
  path.write_text(json.dumps(manifest))
  again = bundles.load_model(tmp_path / 'bundle')
  jax.tree.map(np.testing.assert_array_equal, found.params, again.params)
