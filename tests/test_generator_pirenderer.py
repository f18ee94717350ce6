"""PIRenderer: parts by hand, invariants, both faults, released numbers."""

import dataclasses

import jax
import jax.export
import jax.numpy as jnp
import numpy as np
import pytest

from edtn_jax.tasks.anime_generator_init import draw_parameters
from generator.ops.warp import warp_by_flow
from generator.pirenderer.config import FULL, LITE, TINY, PIRendererConfig
from generator.pirenderer.editing import ResidualBlock
from generator.pirenderer.face_generator import FaceGenerator
from generator.pirenderer.mapping import MappingNetwork
from tests.generator_goldens import (
  config_of,
  foreign_weights,
  golden_inputs,
  golden_outputs,
  shapes_of,
)

KEY = jax.random.key(0)
COMPAT = dataclasses.replace(TINY, compat=True)


def inputs(batch=2, size=16, seed=0):
  rng = np.random.default_rng(seed)
  image = rng.random((batch, size, size, 3), np.float32)
  pose = rng.uniform(-1, 1, (batch, 20)).astype(np.float32)
  return image, pose


@pytest.fixture(scope='module')
def tiny_params():
  """Parameters of TINY with a scale at which everything has an effect."""
  shapes = shapes_of(TINY)
  rng = np.random.default_rng(0)
  return jax.tree.map(
    lambda s: rng.normal(0, 0.3, s.shape).astype(np.float32), shapes
  )


def run(config, params, *args, **kwargs):
  model = FaceGenerator(config, **kwargs)
  return jax.jit(lambda p, *a: model.apply({'params': p}, *a))(params, *args)


@pytest.fixture(scope='module')
def tiny_out(tiny_params):
  return run(TINY, tiny_params, *inputs())


def test_shapes_types_and_ranges(tiny_out):
  assert tiny_out['flow'].shape == (2, 4, 4, 2)
  assert tiny_out['warped_image'].shape == (2, 16, 16, 3)
  assert tiny_out['image'].shape == (2, 16, 16, 3)
  assert {x.dtype for x in tiny_out.values()} == {jnp.dtype('float32')}
  assert np.abs(tiny_out['image']).max() < 1
  assert np.std(tiny_out['flow']) > 0.1


def test_warped_image_is_the_source_warped_by_the_flow(tiny_out):
  warped = warp_by_flow(inputs()[0], tiny_out['flow'])
  np.testing.assert_allclose(tiny_out['warped_image'], warped, atol=1e-6)


def test_samples_do_not_see_one_another(tiny_params, tiny_out):
  image, pose = inputs()
  alone = run(TINY, tiny_params, image[1:], pose[1:])
  for name, value in alone.items():
    np.testing.assert_allclose(value, tiny_out[name][1:], atol=2e-5)


def test_without_editing_the_rest_is_the_same(tiny_params, tiny_out):
  model = FaceGenerator(TINY)
  out = jax.jit(lambda p, *a: model.apply({'params': p}, *a, edit=False))(
    tiny_params, *inputs()
  )
  assert set(out) == {'flow', 'warped_image'}
  for name, value in out.items():
    np.testing.assert_allclose(value, tiny_out[name], atol=1e-5)


def test_zero_flow_leaves_the_picture_unless_compat(tiny_params):
  params = jax.tree.map(np.array, tiny_params)
  params['warping']['flow'] = jax.tree.map(
    np.zeros_like, params['warping']['flow']
  )
  image, pose = inputs()
  clean = run(TINY, params, image, pose)
  np.testing.assert_array_equal(clean['flow'], 0)
  np.testing.assert_array_equal(clean['warped_image'], image)
  compat = run(COMPAT, params, image, pose)
  assert np.abs(compat['warped_image'] - image).max() > 0.1


def test_blend_starts_near_the_warp():
  config = dataclasses.replace(TINY, blend=True)
  image, pose = inputs()
  model = FaceGenerator(config)
  shapes = jax.eval_shape(model.init, KEY, image, pose)['params']
  # As a run begins; `init` itself compiles for half a minute.
  params = draw_parameters(shapes, KEY)
  out = run(config, params, image, pose)
  distance = np.abs(out['image'] - out['warped_image']).mean()
  level = np.abs(out['warped_image']).mean()
  assert 0 < distance < 0.2 * level
  # Where the network is sure, it alone is seen.
  final = params['editing']['decoder']['final']
  assert final['kernel'].shape[-1] == final['bias'].shape[0] == 4
  final['bias'] = final['bias'] + np.array([0, 0, 0, 50.0])
  painted = run(config, params, image, pose)['image']
  final['bias'] = final['bias'] - np.array([0, 0, 0, 100.0])
  untouched = run(config, params, image, pose)
  # A fresh network paints dark colours.
  assert np.abs(painted).mean() < 0.6 * level
  np.testing.assert_allclose(painted, out['painted_image'], atol=0.05)
  np.testing.assert_allclose(
    untouched['image'], untouched['warped_image'], atol=1e-6
  )


def test_compat_drops_a_convolution():
  x, z = inputs(1, 4)[0], np.ones((1, 3), np.float32)
  for compat in (True, False):
    block = ResidualBlock(dataclasses.replace(TINY, compat=compat))
    params = block.init(KEY, x, z)['params']
    assert set(params) == {'conv_0', 'norm_0', 'conv_1', 'norm_1'}
    out = block.apply({'params': params}, x, z)
    params['conv_0']['kernel'] = params['conv_0']['kernel'][::-1]
    changed = block.apply({'params': params}, x, z)
    assert bool((out == changed).all()) == compat


@pytest.mark.slow
def test_recomputing_blocks_changes_no_gradient(tiny_params):
  image, pose = inputs(1)

  def gradient(config):
    model = FaceGenerator(config)

    def loss(params):
      out = model.apply({'params': params}, image, pose)
      return jnp.square(out['image']).mean() + out['warped_image'].mean()

    return jax.jit(jax.grad(loss))(tiny_params)

  kept = gradient(TINY)
  recomputed = gradient(dataclasses.replace(TINY, remat=True))
  jax.tree.map(
    lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-3, atol=1e-5),
    kept,
    recomputed,
  )
  still = [
    jax.tree_util.keystr(path)
    for path, value in jax.tree_util.tree_leaves_with_path(kept)
    if not np.abs(value).max() > 0
  ]
  assert not still


def test_bfloat16_is_close(tiny_params, tiny_out):
  out = run(TINY, tiny_params, *inputs(), dtype=jnp.bfloat16)
  assert {x.dtype for x in out.values()} == {jnp.dtype('float32')}
  difference = np.abs(out['flow'] - tiny_out['flow'])
  assert 0 < difference.mean() < 0.1 * np.std(tiny_out['flow'])


def test_exports_with_any_batch_for_every_platform(tiny_params, tiny_out):
  (batch,) = jax.export.symbolic_shape('b')
  model = FaceGenerator(TINY)
  exported = jax.export.export(
    jax.jit(
      lambda image, pose: model.apply({'params': tiny_params}, image, pose)
    ),
    platforms=['cpu', 'cuda', 'tpu'],
  )(
    jax.ShapeDtypeStruct((batch, 16, 16, 3), jnp.float32),
    jax.ShapeDtypeStruct((batch, 20), jnp.float32),
  )
  for name, value in exported.call(*inputs()).items():
    np.testing.assert_allclose(value, tiny_out[name], atol=2e-5)


def test_mapping_by_hand():
  config = dataclasses.replace(
    TINY, pose_size=2, descriptor_size=2, mapping_layers=1
  )
  eye = np.eye(2, dtype=np.float32)
  params = {
    'first': {'kernel': eye, 'bias': np.float32([0, -1])},
    'layer_0': {'kernel': 2 * eye, 'bias': np.float32([0, 5])},
  }
  z = MappingNetwork(config).apply({'params': params}, np.ones((1, 2)))
  # [1, 0] passes the ReLU as it is.
  np.testing.assert_allclose(z, [[3, 5]], atol=1e-6)
  z = MappingNetwork(config).apply({'params': params}, -np.ones((1, 2)))
  # [-1, -2] leaks a tenth: + [-0.2, -0.4 + 5].
  np.testing.assert_allclose(z, [[-1.2, 2.6]], atol=1e-6)


def test_mapping_of_a_window():
  config = dataclasses.replace(FULL, pose_size=73, pose_window=27)
  network = MappingNetwork(config)
  shapes = jax.eval_shape(network.init, KEY, np.zeros((1, 27, 73)))['params']
  assert shapes['first']['kernel'].shape == (7, 73, 256)
  assert shapes['layer_2']['kernel'].shape == (3, 256, 256)
  small = dataclasses.replace(
    TINY, pose_size=1, pose_window=15, descriptor_size=1, mapping_layers=1
  )
  params = {
    'first': {
      'kernel': np.eye(7, dtype=np.float32)[3].reshape(7, 1, 1),
      'bias': np.zeros(1, np.float32),
    },
    'layer_0': {
      'kernel': np.float32([1, 0, 0]).reshape(3, 1, 1),
      'bias': np.zeros(1, np.float32),
    },
  }
  poses = np.arange(15, dtype=np.float32).reshape(1, 15, 1)
  z = MappingNetwork(small).apply({'params': params}, poses)
  # First keeps 3..11, the crop 6..8; the layer adds what is 3 before: 3..5.
  np.testing.assert_allclose(z, [[7 + 4]])


@pytest.mark.parametrize(
  ('config', 'millions'), [(FULL, 22.0), (LITE, 2.4), (COMPAT, None)]
)
def test_number_of_parameters(config, millions):
  leaves = jax.tree.leaves(shapes_of(config))
  total = sum(leaf.size for leaf in leaves)
  if millions is None:
    assert total == sum(x.size for x in jax.tree.leaves(shapes_of(TINY)))
  else:
    assert round(total / 1e6, 1) == millions


def test_lite_fits_eight_megabytes_in_half_precision():
  total = sum(x.size for x in jax.tree.leaves(shapes_of(LITE)))
  assert 2 * total < 8e6


def test_faults_are_named():
  with pytest.raises(ValueError) as caught:
    PIRendererConfig(warping_up=6, pose_window=20, adain_hidden=0)
  text = str(caught.value)
  assert 'warping_up = 6' in text
  assert 'pose_window = 20 must be 1, or at least 25' in text
  assert 'adain_hidden = 0' in text
  with pytest.raises(ValueError, match='multiples of 8'):
    FaceGenerator(TINY).init(KEY, *inputs(1, 20))
  with pytest.raises(ValueError, match=r'pose \(1, 3\) must be \[B, 20\]'):
    FaceGenerator(TINY).init(KEY, inputs(1)[0], np.zeros((1, 3)))


def check_golden(golden, every, atol):
  config = config_of(golden)
  params = foreign_weights(golden, config)
  out = run(config, params, *golden_inputs(golden))
  for name, (values, mean, std) in golden_outputs(golden).items():
    ours = np.asarray(out[name])
    np.testing.assert_allclose(ours[:, ::every, ::every], values, atol=atol)
    np.testing.assert_allclose(ours.mean(), mean, atol=1e-5)
    np.testing.assert_allclose(ours.std(), std, atol=1e-5)


def test_released_weights_small(shared_dir):
  with np.load(shared_dir / 'golden' / 'pirender_small.npz') as golden:
    check_golden(golden, every=1, atol=1e-4)


@pytest.mark.slow
def test_released_weights_full(shared_dir):
  with np.load(shared_dir / 'golden' / 'pirender_full.npz') as golden:
    check_golden(golden, every=4, atol=1e-4)
