"""AniMo: by hand and against the reference."""

import dataclasses
import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from data import pose_vector
from data.pose_vector import POSE_INDEX
from edtn_jax.convert.table import ConversionError, Rule, convert_arrays
from generator.animo import DOMAINS, FULL, TINY, JointGenerator, joint_pose
from generator.animo.joint_generator import WarpedEditingNetwork
from generator.animo.params import TABLE
from generator.pirenderer.config import PRESETS
from generator.pirenderer.editing import EditingDecoder, EditingEncoder
from tests.golden_weights import channels_last, draw_all

RULES = tuple(Rule(*row) for row in TABLE)
SMALL = dataclasses.replace(
  FULL,
  descriptor_size=32,
  warping_channels=8,
  editing_channels=16,
  max_channels=48,
  compat=True,
)


def expected_params(config, image=(2, 64, 64, 3)):
  return jax.eval_shape(
    JointGenerator(config).init,
    jax.random.key(0),
    jax.ShapeDtypeStruct(image, np.float32),
    jax.ShapeDtypeStruct((image[0], 70), np.float32),
  )['params']


def test_joint_pose_by_hand():
  basis = np.arange(17 * 64, dtype=np.float32).reshape(17, 64)
  pose = np.zeros(20, np.float32)
  pose[2], pose[5] = 1, 0.5
  pose[POSE_INDEX['pitch']] = 18
  pose[POSE_INDEX['roll']] = -9
  pose[POSE_INDEX['yaw']] = 36
  found = joint_pose(jnp.asarray(pose), basis)
  np.testing.assert_allclose(found[:64], basis[2] + 0.5 * basis[5], rtol=1e-6)
  np.testing.assert_allclose(
    found[64:], [np.pi / 10, np.pi / 5, -np.pi / 20, 0, 0, 0], rtol=1e-6
  )
  shifted = joint_pose(pose[None], basis, np.array([[1, 2, 3]], np.float32))
  np.testing.assert_array_equal(shifted[0, :67], found[:67])
  np.testing.assert_array_equal(shifted[0, 67:], [1, 2, 3])
  with pytest.raises(ValueError, match=r'\(17, 257\)'):
    joint_pose(pose, np.zeros((17, 257)))


def test_leaves_agree_on_the_pose_vector():
  # `generator` imports nothing of ours: sizes and order of the pose vector,
  # which `data.pose_vector` declares, are written there once more.
  for config in PRESETS.values():
    assert config.pose_size == pose_vector.NUM_POSE
  count = pose_vector.NUM_COEFFICIENTS
  basis = np.eye(count, 64, dtype=np.float32)
  coefficients = np.linspace(0.1, 0.9, count, dtype=np.float32)
  turn = np.float32([0.1, -0.2, 0.3])
  found = joint_pose(pose_vector.make_pose_vector(coefficients, turn), basis)
  np.testing.assert_allclose(found[:count], coefficients, rtol=1e-6)
  np.testing.assert_array_equal(found[count:64], 0)
  # The angles' order goes to the pose vector's and back.
  np.testing.assert_allclose(found[64:67], turn, rtol=1e-6)


def test_the_basis_is_a_part_of_the_public_adapter(shared_dir):
  adapter = np.load(shared_dir / 'real' / 'pose_coeffs.npy')
  pose = np.zeros(20, np.float32)
  pose[12] = 1
  found = joint_pose(pose, adapter[:, 80:144])
  np.testing.assert_allclose(found[:64], adapter[12, 80:144], rtol=1e-6)


def random_params(expected, seed=0):
  random = np.random.default_rng(seed)
  return jax.tree.map(
    lambda x: random.standard_normal(x.shape).astype(np.float32) * 0.2, expected
  )


@pytest.mark.slow
def test_every_encoder_map_is_warped():
  random = np.random.default_rng(1)
  image = random.random((1, 32, 32, 3)).astype(np.float32)
  z = random.standard_normal((1, TINY.descriptor_size)).astype(np.float32)
  # Two pixels to the right, on a quarter of the image.
  flow = np.zeros((1, 8, 8, 2), np.float32)
  flow[..., 0] = 2
  model = WarpedEditingNetwork(TINY)
  params = random_params(
    jax.eval_shape(model.init, jax.random.key(0), image, image, flow, z)[
      'params'
    ]
  )
  found = jax.jit(model.apply)({'params': params}, image, image, flow, z)

  @jax.jit
  def by_hand(params):
    maps = EditingEncoder(TINY).apply({'params': params['encoder']}, image)
    sizes = [x.shape[2] for x in maps]
    assert sizes == [32, 16, 8]
    maps = [
      x[:, :, np.minimum(np.arange(size) + size // 4, size - 1)]
      for x, size in zip(maps, sizes, strict=True)
    ]
    decoder = EditingDecoder(TINY)
    return decoder.apply({'params': params['decoder']}, maps, z, image)

  assert set(found) == {'image'}
  assert np.abs(found['image']).max() < 1
  np.testing.assert_allclose(
    found['image'], by_hand(params)['image'], atol=1e-5
  )


def test_motion_is_shared_and_the_rest_is_not():
  expected = expected_params(TINY, (1, 32, 32, 3))
  assert sorted(expected) == [
    'editing_anime',
    'editing_human',
    'mapping',
    'warping_anime',
    'warping_human',
  ]
  for net in ('warping', 'editing'):
    anime, human = (
      jax.tree.map(lambda x: x.shape, expected[f'{net}_{d}']) for d in DOMAINS
    )
    assert anime == human


def test_wrong_input_is_refused():
  apply = functools.partial(
    jax.eval_shape, JointGenerator(TINY).init, jax.random.key(0)
  )
  with pytest.raises(ValueError, match='multiples of 8'):
    apply(np.zeros((1, 32, 44, 3)), np.zeros((1, 70)))
  with pytest.raises(ValueError, match=r'\[B, 70\]'):
    apply(np.zeros((1, 32, 32, 3)), np.zeros((1, 20)))
  with pytest.raises(ValueError, match="domain 'manga'"):
    jax.eval_shape(
      functools.partial(JointGenerator(TINY).init, domain='manga'),
      jax.random.key(0),
      np.zeros((1, 32, 32, 3)),
      np.zeros((1, 70)),
    )


@pytest.fixture(scope='module')
def golden(shared_dir):
  return np.load(shared_dir / 'golden' / 'animo_small.npz')


def test_names_are_complete_both_ways(golden):
  arrays = draw_all(golden['keys'])
  del arrays['editing_netV.decoder.final.model.0.bias']
  arrays['warpping_netB.hourglass.extra'] = np.zeros(3)
  with pytest.raises(ConversionError, match='2 problem') as caught:
    convert_arrays(arrays, RULES, expected_params(SMALL))
  text = str(caught.value)
  assert 'nothing fills editing_human/decoder/final/bias' in text
  assert 'warpping_netB.hourglass.extra (3,) is not known' in text


@pytest.mark.slow
def test_animo_golden(golden):
  params = convert_arrays(
    draw_all(golden['keys']), RULES, expected_params(SMALL)
  )
  apply = jax.jit(JointGenerator(SMALL).apply, static_argnames='domain')
  image = channels_last(golden['image'])
  for letter, domain in (('A', 'anime'), ('V', 'human')):
    out = apply({'params': params}, image, golden['pose'], domain=domain)
    for ours, theirs in (
      ('flow', 'flow_field'),
      ('warped_image', 'warp_image'),
      ('image', 'fake_image'),
    ):
      np.testing.assert_allclose(
        out[ours],
        channels_last(golden[f'{theirs}_{letter}']),
        atol=5e-5,
        err_msg=f'{ours} {letter}',
      )
