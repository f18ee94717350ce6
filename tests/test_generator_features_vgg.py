"""VGG19's features by hand, and the user's torchvision file."""

import jax
import numpy as np
import pytest

from edtn_jax.convert.table import ConversionError
from edtn_jax.convert.torch_file import TorchFileError
from edtn_jax.convert.vgg import (
  MissingWeightsError,
  convert_vgg19,
  load_vgg19,
)
from generator.features.vgg import FEATURES, STAGES, VGG19Features

# torchvision numbers the layers between the convolutions too.
CONVOLUTIONS = (0, 2, 5, 7, 10, 12, 14, 16, 19, 21, 23, 25, 28, 30, 32, 34)
WIDTHS = (64, 64, 128, 128, *4 * (256,), *8 * (512,))


def state_dict(prefix=''):
  """Weights that pass the first channel on and keep the others at zero."""
  arrays, before = {}, 3
  for index, width in zip(CONVOLUTIONS, WIDTHS, strict=True):
    weight = np.zeros((width, before, 3, 3), np.float32)
    weight[0, 0, 1, 1] = 1
    arrays[f'{prefix}features.{index}.weight'] = weight
    arrays[f'{prefix}features.{index}.bias'] = np.zeros(width, np.float32)
    before = width
  arrays[f'{prefix}classifier.0.weight'] = np.zeros((2, 2), np.float32)
  return arrays


def test_one_channel_passes_through_the_maxima():
  images = np.random.default_rng(0).standard_normal((2, 36, 32, 3))
  params = convert_vgg19(state_dict())
  maps = VGG19Features().apply({'params': params}, images.astype(np.float32))
  wanted = np.maximum(images[..., 0], 0)
  assert len(maps) == len(FEATURES)
  for features in maps:
    assert features.shape[1:3] == wanted.shape[1:]
    np.testing.assert_allclose(features[..., 0], wanted, rtol=1e-6)
    assert not np.asarray(features[..., 1:]).any()
    height, width = (n // 2 for n in wanted.shape[1:])
    cells = wanted[:, : 2 * height, : 2 * width]
    wanted = cells.reshape(2, height, 2, width, 2).max((2, 4))
  assert [x.shape[-1] for x in maps] == [64, 128, 256, 512, 512]


def test_kernels_keep_their_orientation():
  arrays = state_dict()
  # Output channel 5 sees the green pixel to the left and above.
  arrays['features.0.weight'][5, 1, 0, 0] = 2
  params = convert_vgg19(arrays)
  images = np.zeros((1, 16, 16, 3), np.float32)
  images[0, 3, 7, 1] = 1
  first = VGG19Features().apply({'params': params}, images)[0]
  expected = np.zeros((16, 16))
  expected[4, 8] = 2
  np.testing.assert_array_equal(first[0, ..., 5], expected)


@pytest.mark.parametrize('prefix', ['', 'vgg19.', 'criterion.vgg19.'])
def test_names_are_complete_both_ways(prefix):
  params = convert_vgg19(state_dict(prefix))
  assert sorted(params) == sorted(name for stage in STAGES for name, _ in stage)
  arrays = state_dict(prefix)
  del arrays[f'{prefix}features.28.bias']
  arrays[f'{prefix}features.36.weight'] = np.zeros(1)
  with pytest.raises(ConversionError, match='2 problem') as caught:
    convert_vgg19(arrays)
  assert 'nothing fills conv5_1/bias' in str(caught.value)
  assert 'features.36.weight (1,) is not known' in str(caught.value)


def test_a_missing_file_says_where_to_get_it(tmp_path):
  with pytest.raises(MissingWeightsError) as caught:
    load_vgg19(tmp_path / 'weights.pth')
  text = str(caught.value)
  for part in (
    'weights.pth does not exist',
    'vgg19-dcbb9e9d.pth',
    'BSD-3',
    'curl -L -o',
    'https://download.pytorch.org/models/vgg19-dcbb9e9d.pth',
  ):
    assert part in text
  (tmp_path / 'weights.pth').write_bytes(b'<html>')
  with pytest.raises(TorchFileError, match=r'weights\.pth'):
    load_vgg19(tmp_path / 'weights.pth')


def test_wrong_images_are_refused():
  with pytest.raises(ValueError, match='16x16'):
    jax.eval_shape(
      VGG19Features().init, jax.random.key(0), np.zeros((1, 16, 8, 3))
    )
  with pytest.raises(ValueError, match=r'\[B, H, W, 3\]'):
    jax.eval_shape(
      VGG19Features().init, jax.random.key(0), np.zeros((16, 16, 3))
    )
