"""Public weights of the first-order motion model, by name and by file."""

import dataclasses

import numpy as np
import pytest

from edtn_jax.convert.fomm import convert_fomm, fomm_arrays
from edtn_jax.convert.generators import read_generator_arrays
from edtn_jax.convert.table import ConversionError
from generator.fomm import TINY
from tests import torch_samples as samples
from tests.golden_weights import draw_fomm


@pytest.fixture
def released(shared_dir):
  return draw_fomm(np.load(shared_dir / 'golden' / 'fomm_small.npz')['keys'])


def test_names_are_complete_both_ways(released):
  del released['kp_detector.kp.bias']
  released['generator.extra.weight'] = np.zeros(3)
  with pytest.raises(ConversionError, match='2 problem') as caught:
    convert_fomm(released, TINY)
  text = str(caught.value)
  assert 'nothing fills params/keypoint_detector/heatmap/bias' in text
  assert 'generator.extra.weight (3,) is not known' in text


def test_another_band_limiting_kernel_is_refused(released):
  released['kp_detector.down.weight'] = np.zeros((3, 1, 13, 13), np.float32)
  with pytest.raises(ConversionError, match=r'kp_detector\.down\.weight'):
    convert_fomm(released, TINY)
  config = dataclasses.replace(TINY, motion_downsample=2)
  with pytest.raises(ConversionError, match='motion_downsample = 2'):
    convert_fomm(released, config)


def torch_file(names, lightning=False):
  """A file of torch.save with one number for each name."""

  def number(name):
    stored = samples.storage('torch.FloatStorage', name, 1)
    return samples.tensor(stored, (1,), (1,))

  if lightning:
    contents = {
      'state_dict': samples.mapping({name: number(name) for name in names})
    }
  else:
    networks = {}
    for name in names:
      network, inner = name.split('.', 1)
      networks.setdefault(network, {})[inner] = number(name)
    contents = {k: samples.mapping(x) for k, x in networks.items()}
  contents['epoch'] = samples.number(99)
  values = {
    name: np.float32(i).tobytes() for i, name in enumerate(names, start=1)
  }
  return samples.zip_file(samples.mapping(contents), values)


@pytest.mark.parametrize('lightning', [False, True])
def test_checkpoints_of_both_forms(tmp_path, lightning):
  names = ['generator.a.bias', 'kp_detector.b.bias', 'discriminator.c.bias']
  path = tmp_path / 'vox.pth.tar'
  path.write_bytes(torch_file(names, lightning))
  arrays = fomm_arrays(read_generator_arrays(path), path)
  assert {k: float(x[0]) for k, x in arrays.items()} == {
    'generator.a.bias': 1,
    'kp_detector.b.bias': 2,
  }
  path.write_bytes(torch_file(names[::2], lightning))
  with pytest.raises(ConversionError, match='no weights of kp_detector'):
    fomm_arrays(read_generator_arrays(path), path)
