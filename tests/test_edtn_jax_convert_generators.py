"""Public checkpoints of generators: layouts, choice of weights, faults."""

import dataclasses

import numpy as np
import pytest

from edtn_jax.convert.generators import (
  FORMATS,
  convert_generator,
  read_generator_arrays,
)
from edtn_jax.convert.table import LAYOUTS, ConversionError
from generator.ops.conv import Conv2d, ConvTranspose2d
from generator.pirenderer.config import TINY
from tests import torch_samples
from tests.generator_goldens import arrays_of, config_of, draw, shapes_of


def test_layout_of_a_convolution():
  # One output channel that copies input channel 1 from the pixel to the right.
  weight = np.zeros((1, 2, 3, 3), np.float32)
  weight[0, 1, 1, 2] = 1
  x = np.arange(12, dtype=np.float32).reshape(1, 2, 3, 2)
  params = {'kernel': LAYOUTS['conv'](weight), 'bias': np.zeros(1)}
  out = Conv2d(1, 3, padding=1).apply({'params': params}, x)
  np.testing.assert_array_equal(out[0, :, :, 0], [[3, 5, 0], [9, 11, 0]])


def test_layout_of_a_transposed_convolution():
  # PyTorch stamps weight[i, o] at every pixel times the stride.
  weight = np.arange(9, dtype=np.float32).reshape(1, 1, 3, 3)
  params = {'kernel': LAYOUTS['conv_transpose'](weight), 'bias': np.zeros(1)}
  x = np.float32([[1, 0], [0, 10]]).reshape(1, 2, 2, 1)
  out = ConvTranspose2d(1, 3, 2, 1, 1).apply({'params': params}, x)
  expected = np.zeros((6, 6))
  expected[0:3, 0:3] += weight[0, 0]
  expected[2:5, 2:5] += 10 * weight[0, 0]
  np.testing.assert_array_equal(out[0, :, :, 0], expected[1:5, 1:5])


def test_layouts_of_vectors():
  np.testing.assert_array_equal(
    LAYOUTS['channel'](np.float32([[[1]], [[2]]])), [1, 2]
  )
  assert LAYOUTS['conv1d'](np.zeros((5, 3, 7))).shape == (7, 3, 5)


@pytest.fixture(scope='module')
def tiny():
  """Foreign names and shapes of TINY, made by turning the table round."""
  names = {
    'mapping_net.first.0.weight': (16, 20),
    'mapping_net.first.0.bias': (16,),
    'mapping_net.encoder0.1.weight': (16, 16),
    'mapping_net.encoder0.1.bias': (16,),
  }
  return {name: draw(name, shape) for name, shape in names.items()}


def test_kinds_of_weights_and_strangers(tiny):
  shapes = {'mapping': shapes_of(TINY)['mapping']}
  arrays = {f'generator.{k}': v for k, v in tiny.items()}
  arrays |= {f'generator_ema.{k}': 2 * v for k, v in tiny.items()}
  arrays['criterionVGG.features.0.weight'] = np.zeros((64, 3, 3, 3))
  arrays['loss.vgg19.features.0.bias'] = np.zeros(64)
  ema = convert_generator('pirenderer', arrays, shapes)
  raw = convert_generator('pirenderer', arrays, shapes, weights='raw')
  bare = convert_generator('pirenderer', tiny, shapes, weights='bare')
  kernel = tiny['mapping_net.first.0.weight'].T
  np.testing.assert_array_equal(ema['mapping']['first']['kernel'], 2 * kernel)
  np.testing.assert_array_equal(raw['mapping']['first']['kernel'], kernel)
  np.testing.assert_array_equal(bare['mapping']['first']['kernel'], kernel)


def test_every_problem_is_in_one_error(tiny):
  shapes = {'mapping': shapes_of(TINY)['mapping']}
  arrays = {f'generator.{k}': v for k, v in tiny.items()}
  del arrays['generator.mapping_net.first.0.bias']
  arrays['generator.mapping_net.first.0.weight'] = np.zeros((16, 20, 7))
  arrays['generator.mapping_net.encoder9.1.bias'] = np.zeros(16)
  arrays['discriminator.conv.weight'] = np.zeros(3)
  with pytest.raises(ConversionError) as caught:
    convert_generator('pirenderer', arrays, shapes, weights='raw')
  text = str(caught.value)
  assert text.startswith('4 problem(s)')
  assert 'nothing fills mapping/first/bias (16,)' in text
  assert "first.0.weight (16, 20, 7) is no 'linear' weight" in text
  assert 'mapping/layer_9/bias, which the model does not have' in text
  assert 'discriminator.conv.weight (3,) is not known' in text


def test_absent_weights_and_unknown_models_are_named(tiny):
  arrays = {f'generator.{k}': v for k, v in tiny.items()}
  with pytest.raises(ConversionError, match="Try weights='raw'"):
    convert_generator('pirenderer', arrays, {})
  with pytest.raises(ConversionError, match="Try weights='bare'"):
    convert_generator('pirenderer', tiny, {})
  with pytest.raises(
    ConversionError, match="no weights 'best'; there are bare"
  ):
    convert_generator('pirenderer', arrays, {}, weights='best')
  with pytest.raises(ConversionError, match="no generator 'gan'"):
    convert_generator('gan', arrays, {})


def test_every_layout_in_a_table_exists():
  for form in FORMATS.values():
    assert {line[2] for line in form.table} <= set(LAYOUTS)


def checkpoint(path, contents):
  data = np.arange(6, dtype=np.float32).tobytes()
  path.write_bytes(torch_samples.zip_file(contents, {'0': data}))
  return path


def weight():
  stored = torch_samples.storage('torch.FloatStorage', '0', 6)
  return torch_samples.tensor(stored, (2, 3), (3, 1))


def test_what_a_lightning_file_holds_besides_weights_is_left_out(tmp_path):
  # As `callbacks` are: an object of a class that must never be made.
  stranger = b'cos\nsystem\n(' + torch_samples.text('false') + b'tR'
  contents = torch_samples.mapping(
    {
      'epoch': torch_samples.number(3),
      'callbacks': stranger,
      'hyper_parameters': torch_samples.mapping({'lr': stranger}),
      'state_dict': torch_samples.mapping({'generator.first': weight()}),
    }
  )
  arrays = read_generator_arrays(checkpoint(tmp_path / 'a.ckpt', contents))
  assert list(arrays) == ['generator.first']
  np.testing.assert_array_equal(
    arrays['generator.first'], [[0, 1, 2], [3, 4, 5]]
  )


def test_a_file_with_several_networks_gives_names_with_theirs(tmp_path):
  inner = torch_samples.mapping({'first.weight': weight()})
  contents = torch_samples.mapping(
    {'generator': inner, 'kp_detector': inner, 'epoch': b'K\x03'}
  )
  arrays = read_generator_arrays(checkpoint(tmp_path / 'a.pth', contents))
  assert set(arrays) == {'generator.first.weight', 'kp_detector.first.weight'}


def test_a_file_without_weights_is_refused(tmp_path):
  contents = torch_samples.mapping({'epoch': torch_samples.number(3)})
  with pytest.raises(ConversionError, match='holds no weights'):
    read_generator_arrays(checkpoint(tmp_path / 'empty.ckpt', contents))


@pytest.mark.parametrize('weights', ['raw', 'ema'])
def test_lightning_checkpoint_of_the_reference(shared_dir, weights):
  golden_folder = shared_dir / 'golden'
  arrays = read_generator_arrays(golden_folder / 'pirender_small.ckpt')
  with np.load(golden_folder / 'pirender_small.npz') as golden:
    expected = shapes_of(config_of(golden))
    drawn = arrays_of(golden)
  params = convert_generator('pirenderer', arrays, expected, weights=weights)
  prefix = FORMATS['pirenderer'].prefixes[weights]
  theirs = arrays[
    f'{prefix}warpping_net.hourglass.decoder.decoder3.conv_s.bias'
  ]
  ours = params['warping']['up_3']['conv_skip']['bias']
  np.testing.assert_array_equal(ours, theirs)
  if weights == 'raw':
    again = convert_generator('pirenderer', drawn, expected, weights='raw')
    _assert_trees_equal(params, again)


@pytest.mark.parametrize('file', ['pirender_small.npz', 'pirender_full.npz'])
def test_table_and_model_cover_the_reference_both_ways(shared_dir, file):
  with np.load(shared_dir / 'golden' / file) as golden:
    arrays, config = arrays_of(golden), config_of(golden)
  shapes = shapes_of(config)
  convert_generator('pirenderer', arrays, shapes, weights='raw')
  more = shapes_of(
    dataclasses.replace(config, mapping_layers=config.mapping_layers + 1)
  )
  with pytest.raises(ConversionError, match='nothing fills mapping/layer_3'):
    convert_generator('pirenderer', arrays, more, weights='raw')


def _assert_trees_equal(a, b):
  assert set(a) == set(b)
  for key in a:
    if isinstance(a[key], dict):
      _assert_trees_equal(a[key], b[key])
    else:
      np.testing.assert_array_equal(a[key], b[key])
