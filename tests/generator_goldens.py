"""Rebuilds the reference's random generators from their goldens."""

from __future__ import annotations

import ast
import json
import zlib

import jax
import numpy as np

from edtn_jax.convert.generators import convert_generator
from generator.pirenderer.config import PIRendererConfig
from generator.pirenderer.face_generator import FaceGenerator

_OUTPUTS = {
  'flow': 'flow_field',
  'warped_image': 'warp_image',
  'image': 'fake_image',
}


def draw(name: str, shape: tuple[int, ...]) -> np.ndarray:
  """The tensor that a golden's network had under a PyTorch name."""
  rng = np.random.RandomState(zlib.crc32(name.encode()))
  normal = rng.standard_normal(shape).astype(np.float32)
  last = name.rsplit('.', 1)[-1]
  if last == 'num_batches_tracked':
    return np.zeros((), np.int64)
  if last == 'running_var':
    return 1 + np.float32(0.1) * np.abs(normal)
  if last in ('running_mean', 'bias'):
    return np.float32(0.1) * normal
  if len(shape) <= 1 or shape[1:] == (1, 1):
    return 1 + np.float32(0.1) * normal
  return (normal / np.sqrt(np.prod(shape[1:]))).astype(np.float32)


def arrays_of(golden) -> dict[str, np.ndarray]:
  """Every tensor a golden names, by its PyTorch name."""
  lines = (str(line).split(' ', 1) for line in golden['keys'])
  return {name: draw(name, ast.literal_eval(shape)) for name, shape in lines}


def config_of(golden) -> PIRendererConfig:
  """Our config of the reference's."""
  theirs = json.loads(str(golden['config']))
  return PIRendererConfig(
    pose_size=theirs['mapping']['coeff_nc'],
    descriptor_size=theirs['mapping']['descriptor_nc'],
    mapping_layers=theirs['mapping']['layer'],
    warping_channels=theirs['warping']['base_nc'],
    warping_down=theirs['warping']['encoder_layer'],
    warping_up=theirs['warping']['decoder_layer'],
    editing_channels=theirs['editing']['base_nc'],
    editing_levels=theirs['editing']['layer'],
    editing_blocks=theirs['editing']['num_res_blocks'],
    max_channels=theirs['common']['max_nc'],
    compat=True,
  )


def shapes_of(config: PIRendererConfig):
  """Shapes of the parameters of a generator."""
  size = config.size_multiple
  image = np.zeros((1, size, size, config.image_channels), np.float32)
  pose = np.zeros((1, config.pose_size), np.float32)
  init = FaceGenerator(config).init
  return jax.eval_shape(init, jax.random.key(0), image, pose)['params']


def foreign_weights(golden, config):
  """A golden's weights as our parameters."""
  return convert_generator(
    'pirenderer', arrays_of(golden), shapes_of(config), weights='raw'
  )


def golden_inputs(golden) -> tuple[np.ndarray, np.ndarray]:
  """Picture, NHWC, and pose."""
  return golden['image'].transpose(0, 2, 3, 1), golden['pose']


def golden_outputs(golden):
  """Name -> (values, NHWC, mean of all, standard deviation of all)."""
  return {
    ours: (
      golden[theirs].transpose(0, 2, 3, 1),
      golden[f'{theirs}_mean'],
      golden[f'{theirs}_std'],
    )
    for ours, theirs in _OUTPUTS.items()
  }
