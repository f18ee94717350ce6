"""Files of public weights of any model, turned into runs."""

import dataclasses
import json

import jax
import numpy as np
import pytest

from edtn_jax import bundles, checkpoints, commands
from edtn_jax import workdir as workdir_lib
from edtn_jax.animation.generator import load_generator
from edtn_jax.animation.network import build_generator
from edtn_jax.convert import networks, sizes
from edtn_jax.convert.fomm import convert_fomm
from edtn_jax.convert.generators import weights_in
from edtn_jax.convert.recognize import MODELS, recognize_model
from edtn_jax.convert.run import convert_run
from edtn_jax.convert.table import ConversionError
from edtn_jax.convert.torch_file import TorchFileError
from edtn_jax.encoders.deca import face_crop, load_deca_encoder, split_codes
from generator import animo, fomm
from generator.pirenderer.config import FULL, TINY
from generator.pirenderer.face_generator import FaceGenerator
from tests import deca_samples, generator_goldens
from tests.generator_samples import drawn, foreign_shapes, weights_file
from tests.golden_weights import channels_last, draw, draw_all, draw_fomm

RELEASED_TINY = dataclasses.replace(TINY, compat=True)


@pytest.fixture(scope='module')
def tiny():
  """A small anime generator's weights, without a prefix."""
  return drawn(foreign_shapes(FaceGenerator(RELEASED_TINY)))


@pytest.fixture(scope='module')
def lightning(tiny):
  """The same as Lightning keeps them; the average is twice as large."""
  arrays = {f'generator.{name}': x for name, x in tiny.items()}
  arrays |= {f'generator_ema.{name}': 2 * x for name, x in tiny.items()}
  arrays['criterion.vgg19.features.0.bias'] = np.zeros(64, np.float32)
  return arrays


@pytest.fixture(scope='module')
def checkpoint(tmp_path_factory, lightning):
  path = tmp_path_factory.mktemp('checkpoint') / 'last.ckpt'
  path.write_bytes(weights_file(lightning, lightning=True))
  return path


def save(path, arrays):
  path.write_bytes(weights_file(arrays))
  return path


# Which model it is.


@pytest.mark.parametrize('model', MODELS)
def test_a_model_is_told_from_its_example(model):
  example = MODELS[model].example
  assert recognize_model([example.replace('[generator_ema.]', '')], 'f') == (
    model
  )
  with_prefix = example.replace('[', '').replace(']', '')
  names = ['criterion.vgg.features.0.weight', with_prefix]
  assert recognize_model(names, 'f') == model
  assert recognize_model(names, 'f', model) == model


def test_unknown_ambiguous_and_other_files_say_what_was_expected():
  with pytest.raises(ConversionError) as caught:
    recognize_model(['fc.weight', 'fc.bias'], 'resnet.pth')
  text = str(caught.value)
  assert 'resnet.pth holds no weights of a known model' in text
  assert 'begins with fc.weight, fc.bias' in text
  for model, known in MODELS.items():
    assert f'{model}: {known.title}' in text
    assert known.example in text
  both = ['E_flame.encoder.conv1.weight', 'main.0.weight']
  with pytest.raises(ConversionError, match=r'edtn and deca; say which .*edtn'):
    recognize_model(both, 'f')
  assert recognize_model(both, 'f', 'deca') == 'deca'
  with pytest.raises(ConversionError, match=r'like --model=deca\. Exp'):
    recognize_model(both[:1], 'f', 'fomm')
  with pytest.raises(ConversionError, match=r"no model 'thing'; there"):
    recognize_model(both, 'f', 'thing')


def test_kinds_of_weights_in_a_file(tiny, lightning):
  assert weights_in('pirenderer', tiny) == ('bare',)
  assert weights_in('pirenderer', lightning) == ('ema', 'raw')
  assert weights_in('fomm', ['kp_detector.kp.bias']) == ('raw',)
  assert weights_in('fomm', ['discriminator.conv.bias']) == ()


# How large it is.


def test_sizes_are_read_off_the_shapes(tiny):
  assert sizes.pirenderer_config(tiny) == RELEASED_TINY
  lite = dataclasses.replace(
    FULL, descriptor_size=24, max_channels=96, adain_hidden=7, compat=True
  )
  shapes = foreign_shapes(FaceGenerator(lite))
  arrays = {name: np.broadcast_to(0, shape) for name, shape in shapes.items()}
  assert sizes.pirenderer_config(arrays) == lite
  joint = dataclasses.replace(animo.TINY, editing_blocks=2, compat=True)
  shapes = foreign_shapes(animo.JointGenerator(joint))
  arrays = {name: np.broadcast_to(0, shape) for name, shape in shapes.items()}
  assert sizes.animo_config(arrays) == joint


@pytest.mark.parametrize('file', ['pirender_small.npz', 'pirender_full.npz'])
def test_sizes_of_the_reference(shared_dir, file):
  with np.load(shared_dir / 'golden' / file) as golden:
    arrays = generator_goldens.arrays_of(golden)
    wanted = generator_goldens.config_of(golden)
  bare = {name.removeprefix('generator.'): x for name, x in arrays.items()}
  assert sizes.pirenderer_config(bare) == wanted
  if 'full' in file:
    assert wanted == dataclasses.replace(FULL, compat=True)


def test_weights_of_other_poses_are_refused(tiny):
  for name, shape, message in (
    ('mapping_net.first.0.weight', (16, 73), 'poses of 73 numbers'),
    ('mapping_net.first.0.weight', (16, 73, 7), 'windows of frames'),
    ('editing_net.encoder.first.model.0.weight', (4,), 'array of 4 axes'),
    ('x.conv_0.weight_orig', (1,), 'spectral norm'),
  ):
    with pytest.raises(ConversionError, match=message):
      sizes.pirenderer_config({**tiny, name: np.zeros(shape)})
  for name in ('mapping_net.first.0.weight', 'mapping_net.encoder0.1.weight'):
    fewer = {key: x for key, x in tiny.items() if key != name}
    with pytest.raises(ConversionError, match=r'missing|at least 1'):
      sizes.pirenderer_config(fewer)
  with pytest.raises(ConversionError, match='AniMo takes 70'):
    sizes.animo_config(
      {
        name.replace('_net.', '_netA.', 1) if 'mapping' not in name else name: x
        for name, x in tiny.items()
      }
    )
  with pytest.raises(ConversionError, match=r'of kp_detector\.predictor'):
    sizes.fomm_config({})


# Runs.


def test_a_generator_for_reenact(tmp_path, checkpoint, lightning, capsys):
  workdir = tmp_path / 'run'
  assert commands.convert(str(checkpoint), str(workdir), size=32) == 0
  printed = capsys.readouterr().out
  assert 'anime generator' in printed
  assert 'reenact --generator=' in printed
  generator = load_generator(workdir)
  assert generator.size == 32
  assert not generator.description['generator_averaged']
  bias = 'warpping_net.flow_out.2.bias'
  np.testing.assert_array_equal(
    generator.params['warping']['flow']['bias'],
    lightning[f'generator_ema.{bias}'],
  )
  found = checkpoints.load_checkpoint(workdir)
  assert found.config == workdir_lib.read_config(workdir)
  converted = found.config.converted
  assert converted.file == 'last.ckpt'
  assert converted.weights == 'ema'
  assert len(converted.sha256) == 64
  assert build_generator(found.config.model).config == RELEASED_TINY
  commands.convert(str(checkpoint), str(tmp_path / 'raw'), weights='raw')
  raw = load_generator(tmp_path / 'raw')
  assert raw.size == 256
  np.testing.assert_array_equal(
    raw.params['warping']['flow']['bias'], lightning[f'generator.{bias}']
  )


@pytest.mark.slow
def test_the_references_checkpoint_draws_the_references_frames(
  shared_dir, tmp_path
):
  folder = shared_dir / 'golden'
  model = convert_run(
    folder / 'pirender_small.ckpt', tmp_path / 'run', weights='raw', size=64
  )
  assert model == 'pirenderer'
  found = bundles.load_model(tmp_path / 'run')
  network = build_generator(found.config.model)
  with np.load(folder / 'pirender_small.npz') as golden:
    inputs = generator_goldens.golden_inputs(golden)
    wanted = generator_goldens.golden_outputs(golden)
  out = jax.jit(network.apply)({'params': found.params['model']}, *inputs)
  for name, (values, _, _) in wanted.items():
    np.testing.assert_allclose(out[name], values, atol=1e-3, err_msg=name)
  source = (inputs[0][0] * 255).round().astype(np.uint8)
  [frame] = load_generator(tmp_path / 'run').animate(
    source, np.zeros((1, 20)), batch_size=1
  )
  assert frame.shape == (64, 64, 3)


def test_animo_as_a_bare_state_dict(tmp_path):
  network = animo.JointGenerator(dataclasses.replace(animo.TINY, compat=True))
  arrays = drawn(foreign_shapes(network))
  source = save(tmp_path / 'animo.pt', arrays)
  assert convert_run(source, tmp_path / 'run') == 'animo'
  again, variables = networks.load_network(tmp_path / 'run')
  assert again == network
  np.testing.assert_array_equal(
    variables['params']['editing_human']['decoder']['final']['bias'],
    arrays['editing_netV.decoder.final.model.0.bias'],
  )
  with pytest.raises(checkpoints.CheckpointError, match="of 'animo'"):
    load_generator(tmp_path / 'run')
  # A domain that is not as large as the other.
  name = 'editing_netV.decoder.final.model.0.weight'
  odd = save(tmp_path / 'odd.pt', {**arrays, name: draw(name, (3, 9, 7, 7))})
  with pytest.raises(ConversionError, match=r'editing_netV.*\(7, 7, 9, 3\)'):
    convert_run(odd, tmp_path / 'odd')
  assert not (tmp_path / 'odd').exists()


def test_first_order_motion(shared_dir, tmp_path):
  with np.load(shared_dir / 'golden' / 'fomm_small.npz') as golden:
    arrays = draw_fomm(golden['keys'])
  config = dataclasses.replace(fomm.TINY, compat=True)
  assert sizes.fomm_config(arrays) == config
  source = save(tmp_path / 'vox.pth', arrays)
  assert convert_run(source, tmp_path / 'run') == 'fomm'
  network, variables = networks.load_network(tmp_path / 'run')
  assert network == fomm.FirstOrderMotion(config)
  jax.tree.map(
    np.testing.assert_array_equal, variables, convert_fomm(arrays, config)
  )
  arrays['kp_detector.down.weight'] = np.zeros((3, 1, 12, 12), np.float32)
  with pytest.raises(ConversionError, match='12 pixels, which belongs to no'):
    sizes.fomm_config(arrays)
  del arrays['kp_detector.down.weight']
  assert sizes.fomm_config(arrays).motion_downsample == 1


@pytest.fixture(scope='module')
def deca_arrays():
  """All weights of DECA's encoder as zeros, and some of its detail model."""
  arrays = {
    name: np.zeros(shape, np.int64 if not shape else np.float32)
    for name, shape in deca_samples.shapes().items()
  }
  arrays['E_detail.layers.2.bias'] = np.zeros(128, np.float32)
  arrays['D_detail.conv.weight'] = np.zeros((4, 4, 3, 3), np.float32)
  arrays['E_flame.layers.2.bias'][:] = np.arange(236)
  return arrays


@pytest.fixture(scope='module')
def deca_run(tmp_path_factory, deca_arrays):
  folder = tmp_path_factory.mktemp('deca')
  source = save(folder / 'deca_model.tar', deca_arrays)
  assert convert_run(source, folder / 'run') == 'deca'
  source.unlink()
  return folder / 'run'


def test_decas_encoder(deca_run):
  encoder = load_deca_encoder(deca_run)
  assert encoder.description['encoder_file'] == 'deca_model.tar'
  assert len(encoder.description['encoder_sha256']) == 64
  frame = np.full((90, 120, 3), 77, np.uint8)
  crop = face_crop(frame, box=[20, 20, 80, 70])
  codes = encoder.encode(np.stack([crop.image] * 3), batch_size=2)
  # Only the last bias is not zero.
  wanted = split_codes(np.tile(np.arange(236, dtype=np.float32), (3, 1)))
  assert set(codes) == set(wanted)
  for name, part in wanted.items():
    assert codes[name].dtype == np.float32
    np.testing.assert_array_equal(codes[name], part)
  for images, message in (
    (crop.image, 'cut them with face_crop'),
    (np.zeros((0, 224, 224, 3)), 'no images'),
    (np.zeros((1, 224, 224, 3), np.uint8), 'divide bytes by 255'),
    (np.full((1, 224, 224, 3), 2.0), 'divide bytes by 255'),
    (np.full((1, 224, 224, 3), np.nan), 'divide bytes by 255'),
  ):
    with pytest.raises(ValueError, match=message):
      encoder.encode(images)
  with pytest.raises(ValueError, match='batch_size is 0'):
    encoder.encode(crop.image[None], batch_size=0)


@pytest.mark.slow
def test_decas_file_gives_the_references_codes(shared_dir, tmp_path):
  with np.load(shared_dir / 'golden' / 'deca_encoder.npz') as golden:
    source = save(tmp_path / 'deca_model.tar', draw_all(golden['keys']))
    images = channels_last(golden['image']).astype(np.float32)
    wanted = golden['parameters']
  commands.convert(str(source), str(tmp_path / 'run'))
  codes = load_deca_encoder(tmp_path / 'run').encode(images, batch_size=1)
  for name, part in split_codes(wanted).items():
    np.testing.assert_allclose(codes[name], part, atol=1e-3, err_msg=name)


# What is refused; nothing is written.


def test_deca_files_that_are_incomplete_or_more(deca_arrays, tmp_path):
  arrays = {name: x for name, x in deca_arrays.items() if x.size < 1000}
  arrays['E_expression.layers.0.bias'] = np.zeros(9, np.float32)
  source = save(tmp_path / 'deca_model.tar', arrays)
  with pytest.raises(ConversionError) as caught:
    convert_run(source, tmp_path / 'run')
  text = str(caught.value)
  assert 'E_expression.layers.0.bias (9,) is not known' in text
  assert 'nothing fills params/hidden/kernel (2048, 1024)' in text
  assert 'nothing fills params/stages_3/shortcut/conv/kernel' in text
  assert not (tmp_path / 'run').exists()


def test_an_encoder_from_other_places(checkpoint, deca_run, tmp_path):
  convert_run(checkpoint, tmp_path / 'generator')
  with pytest.raises(checkpoints.CheckpointError) as caught:
    load_deca_encoder(tmp_path / 'generator')
  assert "'anime_generator'; one of 'deca_encoder'" in str(caught.value)
  for path, message in (
    (checkpoint, 'is a file. Convert the deca_model.tar'),
    (tmp_path / 'none', 'does not exist.*Convert the deca_model.tar'),
    (tmp_path, 'no finished checkpoint.*Convert the deca_model.tar'),
  ):
    with pytest.raises(checkpoints.CheckpointError, match=message):
      load_deca_encoder(path)
  with pytest.raises(checkpoints.CheckpointError, match="of 'deca_encoder'"):
    load_generator(deca_run)
  with pytest.raises(checkpoints.CheckpointError, match='wanted animo or fom'):
    networks.load_network(deca_run)


def test_missing_and_extra_entries_are_all_named(tmp_path, tiny):
  arrays = dict(tiny)
  del arrays['warpping_net.flow_out.2.bias']
  arrays['warpping_net.flow_out.3.bias'] = np.zeros(2, np.float32)
  source = save(tmp_path / 'g.pt', arrays)
  with pytest.raises(ConversionError) as caught:
    convert_run(source, tmp_path / 'run')
  text = str(caught.value)
  assert text.startswith('2 problem(s)')
  assert 'nothing fills warping/flow/bias (2,)' in text
  assert 'warpping_net.flow_out.3.bias (2,) is not known' in text
  assert not (tmp_path / 'run').exists()


def test_a_truncated_file(checkpoint, tmp_path):
  content = checkpoint.read_bytes()
  for share in (0, 0.5, 0.99):
    cut = tmp_path / 'cut.ckpt'
    cut.write_bytes(content[: int(share * len(content))])
    with pytest.raises(TorchFileError, match=r'cut\.ckpt'):
      convert_run(cut, tmp_path / 'run')
  assert not (tmp_path / 'run').exists()


@pytest.mark.parametrize(
  ('options', 'message'),
  [
    ({'model': 'fomm'}, 'no weights of fomm; it looks like --model=pirend'),
    ({'model': 'gan'}, 'no model .gan.'),
    ({'weights': 'best'}, 'wanted ema, raw, bare'),
    ({'weights': 'bare'}, "without a prefix.*Try weights='ema'"),
    ({'size': 30}, 'must be a multiple of 8'),
    ({'size': -8}, 'must be at least 1'),
    ({'pose_adapter': 'a.npy'}, 'belongs to edtn, this is pirenderer'),
  ],
)
def test_options_that_do_not_go_with_the_file(
  checkpoint, tmp_path, options, message
):
  with pytest.raises(ConversionError, match=message):
    convert_run(checkpoint, tmp_path / 'run', **options)
  assert not (tmp_path / 'run').exists()


def test_options_of_other_models(deca_arrays, tmp_path):
  small = {k: x for k, x in deca_arrays.items() if x.size < 1000}
  source = save(tmp_path / 'deca_model.tar', small)
  with pytest.raises(ConversionError) as caught:
    convert_run(source, tmp_path / 'run', weights='ema', size=64)
  text = str(caught.value)
  assert "weights = 'ema': deca has 'bare' only" in text
  assert 'size = 64: deca does not ask for it' in text


def test_a_directory_of_other_things_is_left_alone(checkpoint, tmp_path):
  (tmp_path / 'photos').mkdir()
  (tmp_path / 'photos' / 'a.png').write_bytes(b'a')
  with pytest.raises(workdir_lib.WorkdirError, match=r'other files \(a\.png\)'):
    convert_run(checkpoint, tmp_path / 'photos')
  assert [p.name for p in (tmp_path / 'photos').iterdir()] == ['a.png']
  with pytest.raises(workdir_lib.WorkdirError, match='is a file'):
    convert_run(checkpoint, tmp_path / 'photos' / 'a.png')
  (tmp_path / 'empty').mkdir()
  (tmp_path / 'empty' / '.keep').touch()
  convert_run(checkpoint, tmp_path / 'empty')
  before = json.loads((tmp_path / 'empty' / 'config.json').read_text())
  with pytest.raises(workdir_lib.WorkdirError, match='already holds a run'):
    convert_run(checkpoint, tmp_path / 'empty', weights='raw')
  after = json.loads((tmp_path / 'empty' / 'config.json').read_text())
  assert after == before


@pytest.mark.parametrize('existed', [False, True])
def test_nothing_stays_of_a_run_that_cannot_be_written(
  checkpoint, tmp_path, monkeypatch, existed
):
  def full(*_):
    raise OSError('No space left on device')

  monkeypatch.setattr(workdir_lib, 'write_config', full)
  workdir = tmp_path / 'run'
  if existed:
    workdir.mkdir()
  with pytest.raises(OSError, match='No space left'):
    convert_run(checkpoint, workdir)
  assert workdir.exists() == existed
  if existed:
    assert list(workdir.iterdir()) == []
