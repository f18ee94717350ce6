"""The generator's task: directions, stages, jitter, learning, validation."""

import colorsys
import dataclasses
import functools
import json

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from flax.traverse_util import flatten_dict

from configs import anime_generator
from data.pose_vector import NUM_POSE, POSE_INDEX
from edtn_jax import checkpoints, devices
from edtn_jax.config import ConfigError
from edtn_jax.losses import pictures as distances
from edtn_jax.tasks import anime_generator as task_module
from edtn_jax.tasks import anime_generator_data, build_task
from edtn_jax.tasks.anime_generator_init import draw_parameters
from edtn_jax.tasks.anime_generator_jitter import color_jitter, turn_hue
from edtn_jax.tasks.anime_generator_metrics import summary
from edtn_jax.tasks.anime_generator_pictures import flow_picture
from edtn_jax.tasks.validate import validate
from edtn_jax.training import train_and_evaluate
from generator.ops.conv import NORMAL_INIT
from generator.ops.warp import warp_by_flow
from generator.pirenderer.config import PRESETS
from generator.pirenderer.face_generator import FaceGenerator

SIZE = 32


def tiny(**overrides):
  config = anime_generator.get_config('tiny')
  config.update_from_flattened_dict(overrides)
  return config


def leaves(tree):
  return [np.asarray(x) for x in jax.tree.leaves(tree)]


def flat(tree):
  return np.concatenate([x.ravel() for x in leaves(tree)])


@pytest.fixture(scope='module')
def batch():
  """Eight drawn pairs with the true flow."""
  data = anime_generator_data.MemoryPairData(tiny(), devices.data_mesh(1))
  return jax.tree.map(lambda x: x[:8], data.resident)


@pytest.fixture(scope='module')
def task():
  return build_task(tiny(**{'data.color_jitter': 0.0}))


@pytest.fixture(scope='module')
def params(task):
  return task.init(jax.random.key(0))


def loss_of(task, params, batch, step=0):
  return task.losses(
    'model', params, task.constants, batch, jax.random.key(1), step
  )


def test_outputs(task, params, batch):
  out = task.predict(params, task.constants, batch)
  assert out['image'].shape == out['warped_image'].shape == (8, SIZE, SIZE, 3)
  assert out['flow'].shape == (8, SIZE // 4, SIZE // 4, 2)
  assert 0 <= float(out['image'].min()) <= float(out['image'].max()) <= 1
  floats = {**batch, 'source_image': batch['source_image'] / 255}
  same = task.predict(params, task.constants, floats)
  np.testing.assert_allclose(out['image'], same['image'], atol=1e-5)


def test_both_directions_by_hand(batch):
  both = task_module.both_directions(batch)
  for name in ('image', 'pose'):
    source, driving = both[f'source_{name}'], both[f'driving_{name}']
    np.testing.assert_array_equal(source[::2], batch[f'source_{name}'])
    np.testing.assert_array_equal(driving[::2], batch[f'driving_{name}'])
    np.testing.assert_array_equal(source[1::2], batch[f'driving_{name}'])
    np.testing.assert_array_equal(driving[1::2], batch[f'source_{name}'])
  assert float(both['flow_mask'][1::2].max()) == 0
  np.testing.assert_array_equal(both['flow_mask'][::2], batch['flow_mask'])


@pytest.mark.parametrize('step', [0, 4])
def test_the_directions_count_alike(params, batch, step):
  flow = {'loss.flow_weight': 0.0, 'loss.flow_weight_editing': 0.0}
  task = build_task(tiny(**flow, **{'data.color_jitter': 0.0}))
  without = {k: v for k, v in batch.items() if not k.startswith('flow')}
  exchanged = {
    **without,
    **{f'source_{k}': batch[f'driving_{k}'] for k in ('image', 'pose')},
    **{f'driving_{k}': batch[f'source_{k}'] for k in ('image', 'pose')},
  }
  one, _ = loss_of(task, params, without, step)
  other, _ = loss_of(task, params, exchanged, step)
  assert float(one) == pytest.approx(float(other), rel=1e-5)
  one_way = dataclasses.replace(task, exchange=False)
  there, _ = loss_of(one_way, params, without, step)
  back, _ = loss_of(one_way, params, exchanged, step)
  assert float(there) != pytest.approx(float(back), rel=1e-3)
  assert float(one) == pytest.approx(float(there + back) / 2, rel=1e-5)


def test_stages_are_a_function_of_the_step(task, params, batch):
  assert [task.stage(step) for step in (0, 3, 4, 9)] == [0, 0, 1, 1]

  @jax.jit(static_argnums=0)
  def gradient(stage):
    fixed = task.at_stage(stage)
    # The stage is the task's, whatever the step says.
    return jax.grad(lambda p: loss_of(fixed, p, batch, None)[0])(params)

  early, late = gradient(0)['model'], gradient(1)['model']
  assert max(np.abs(x).max() for x in leaves(early['editing'])) == 0
  assert min(np.abs(x).max() for x in leaves(early['mapping'])) > 0
  assert max(np.abs(x).max() for x in leaves(late['editing'])) > 0
  (early, terms), (late, more) = (
    loss_of(task, params, batch, step) for step in (3, 4)
  )
  assert float(early) == pytest.approx(
    float(2.5 * terms['warped'] + 0.3 * 2 * terms['flow']), rel=1e-5
  )
  assert float(late) == pytest.approx(
    float(2.5 * more['warped'] + 4 * more['image'] + 0.1 * more['flow']),
    rel=1e-5,
  )


def test_blending_networks_train_mask_and_paint(batch):
  overrides = {
    'data.color_jitter': 0.0,
    'loss.painted_weight': 3.0,
    'loss.share_weight': 5.0,
    'loss.freeze_warp': True,
    'model.sizes': {'blend': True},
  }
  config = tiny(**overrides)
  task = build_task(config)
  params = task.init(jax.random.key(0))

  @jax.jit(static_argnums=0)
  def gradient(task):
    return jax.value_and_grad(
      lambda p: loss_of(task, p, batch, 4), has_aux=True
    )(params)

  (loss, terms), found = gradient(task)
  found = found['model']
  assert float(loss) == pytest.approx(
    float(
      2.5 * terms['warped']
      + 4 * terms['image']
      + 3 * terms['painted']
      + 5 * terms['share']
      + 0.1 * terms['flow']
    ),
    rel=1e-5,
  )
  for name in ('mapping', 'warping'):
    assert max(np.abs(x).max() for x in leaves(found[name])) == 0
  assert max(np.abs(x).max() for x in leaves(found['editing'])) > 0
  early, first = loss_of(task, params, batch, 0)
  assert not {'painted', 'share'} & first.keys()
  assert np.isfinite(early)


def test_only_blending_networks_have_a_mask():
  found = problems(
    tiny(**{'loss.painted_weight': 1.0, 'loss.share_weight': 1.0})
  )
  for key in ('loss.painted_weight', 'loss.share_weight'):
    assert 'networks that blend' in found[key]


def test_the_true_flow_has_little_error(task, batch):
  """Drawn flow and network flow mean the same: units, sign, axes."""
  source = batch['source_image'].astype(jnp.float32) / 255
  target = batch['driving_image'].astype(jnp.float32) / 255
  known = jnp.repeat(jnp.repeat(batch['flow_mask'], 4, 1), 4, 2)[..., None]
  warped = warp_by_flow(source, batch['flow'])
  back = warp_by_flow(source, -batch['flow'])

  def error(picture):
    return float((known * jnp.abs(picture - target)).sum())

  assert error(warped) < 0.8 * error(source) < 0.8 * error(back)


def test_a_step_without_a_stage_is_refused(task, params, batch):
  with pytest.raises(ValueError, match=r'task\.at_stage'):
    jax.jit(lambda step: loss_of(task, params, batch, step)[0])(0)


@pytest.mark.slow
def test_one_batch_is_learnt(task, params, batch):
  optimizer = optax.adam(3e-3)

  @jax.jit
  def step(params, state):
    (loss, _), gradient = jax.value_and_grad(
      lambda p: loss_of(task, p, batch, 100), has_aux=True
    )(params)
    updates, state = optimizer.update(gradient, state)
    return optax.apply_updates(params, updates), state, loss

  state, found = optimizer.init(params), []
  for _ in range(120):
    params, state, loss = step(params, state)
    found.append(float(loss))
  assert found[-1] < found[0] / 3


def test_weights_of_parts_reach_the_loss(batch, params):
  task = build_task(tiny(**{'loss.part_weight': 0.0, 'data.color_jitter': 0.0}))
  weighted = build_task(tiny(**{'data.color_jitter': 0.0}))
  plain, _ = loss_of(task, params, batch, 100)
  heavy, _ = loss_of(weighted, params, batch, 100)
  assert float(heavy) != pytest.approx(float(plain), rel=1e-3)


def test_validation_reports_the_copy_beside_the_result(task, params):
  config = tiny()
  data = anime_generator_data.ValidationPairs(config)
  found = task.evaluate(params, task.constants, iter(data))
  for metric in ('l1', 'psnr', 'ssim'):
    for part in ('', '_eyes', '_mouth', '_rest'):
      for prefix in ('', 'warped/', 'copy/'):
        assert np.isfinite(found[f'{prefix}{metric}{part}'])
  assert found['gain_eyes'] == pytest.approx(
    1 - found['l1_eyes'] / found['copy/l1_eyes']
  )
  assert found['copy/flow_error'] > 0
  # Who copies the source is best at the rest and has nothing in the parts.
  copied = summary(
    {k.removeprefix('copy/'): v for k, v in found.items() if 'copy' in k}
    | {k: v for k, v in found.items() if 'copy' in k}
  )
  assert copied['gain_eyes'] == copied['gain_mouth'] == 0


def test_pictures(task, params):
  [first, *_] = anime_generator_data.ValidationPairs(tiny())
  sheets = task.pictures(params, task.constants, first)
  assert set(sheets) == {'self_reenactment', 'cross_identity'}
  for sheet in sheets.values():
    assert sheet.dtype == np.uint8
    assert sheet.shape == (4 * SIZE + 3 * 2, 5 * SIZE + 4 * 2, 3)
  np.testing.assert_array_equal(
    sheets['self_reenactment'][:SIZE, :SIZE], first['source_image'][0]
  )
  # The second row's driving frame drives the first row across identities.
  np.testing.assert_array_equal(
    sheets['cross_identity'][:SIZE, SIZE + 2 : 2 * SIZE + 2],
    first['driving_image'][1],
  )


def test_flow_picture_by_hand():
  flow = np.array([[[0.0, 0.0], [2.0, 0.0], [-1.0, 0.0]]])
  found = flow_picture(flow)
  np.testing.assert_array_equal(found[0, 0], [255, 255, 255])
  np.testing.assert_array_equal(found[0, 1], [255, 0, 0])
  np.testing.assert_array_equal(found[0, 2], [128, 255, 255])


def test_hue_turns_as_in_hsv():
  colors = np.random.default_rng(0).random((50, 3)).astype(np.float32)
  colors[:4] = [[0, 0, 0], [1, 1, 1], [0.5, 0.5, 0.5], [1, 0, 0]]
  for turn in (0.0, 1 / 3, -0.1):
    wanted = []
    for color in colors:
      h, s, v = colorsys.rgb_to_hsv(*color)
      wanted.append(colorsys.hsv_to_rgb((h + turn) % 1, s, v))
    np.testing.assert_allclose(turn_hue(colors, turn), wanted, atol=1e-5)
  red = turn_hue(jnp.asarray([1.0, 0.0, 0.0]), 1 / 3)
  np.testing.assert_allclose(red, [0, 1, 0], atol=1e-6)


def test_jitter_is_one_map_of_colours():
  """The same colour in both frames is the same colour afterwards."""
  colors = np.random.default_rng(0).random((2, 1, 4, 4, 3))
  frames = np.concatenate([colors, colors[:, :, ::-1]], 1)
  found = np.asarray(color_jitter(jax.random.key(0), jnp.asarray(frames), 0.1))
  np.testing.assert_allclose(found[:, 0], found[:, 1, ::-1], atol=1e-6)
  assert np.abs(found - frames).max() > 0.02
  # Every pair has a draw of its own.
  same = jnp.asarray(frames[:1].repeat(2, 0))
  other = np.asarray(color_jitter(jax.random.key(0), same, 0.1))
  assert np.abs(other[0] - other[1]).max() > 0.01
  none = color_jitter(jax.random.key(0), jnp.asarray(frames), 0.0)
  np.testing.assert_allclose(none, frames, atol=1e-5)


def test_fan_in_hears_coefficients_and_angles_alike():
  task = build_task(tiny())
  params = task.init(jax.random.key(0))['model']
  first = np.asarray(params['mapping']['first']['kernel'])
  angles = [POSE_INDEX[name] for name in ('pitch', 'roll', 'yaw')]
  assert 0.5 < 20 * first[angles].std() / first[:17].std() < 2
  assert first[:17].std() == pytest.approx(20**-0.5, rel=0.3)
  paper = build_task(tiny(**{'model.init': 'paper'}))
  first = paper.init(jax.random.key(0))['model']['mapping']['first']['kernel']
  assert np.std(first) == pytest.approx(0.02, rel=0.2)


@pytest.mark.parametrize('preset', sorted(PRESETS))
def test_parameters_begin_as_the_modules_say(preset, monkeypatch):
  """`draw_parameters` knows by a name what each module says by a function."""
  asked = {}
  param = nn.Module.param

  def recorded(module, name, initializer, *arguments, **options):
    asked[(*module.path, name)] = initializer
    return param(module, name, initializer, *arguments, **options)

  monkeypatch.setattr(nn.Module, 'param', recorded)
  model = FaceGenerator(PRESETS[preset])
  example = np.zeros((1, 64, 64, 3)), np.zeros((1, NUM_POSE))
  shapes = jax.eval_shape(model.init, jax.random.key(0), *example)['params']
  draw = jax.jit(functools.partial(draw_parameters, shapes))
  drawn = flatten_dict(draw(jax.random.key(0)))
  assert len(asked) == len(drawn)
  kernels = []
  for path, initializer in asked.items():
    value = np.asarray(drawn[path])
    if initializer is NORMAL_INIT:
      kernels.append(value.ravel())
    else:
      wanted = {nn.initializers.ones: 1, nn.initializers.zeros: 0}[initializer]
      assert (value == wanted).all(), path
  normal = np.concatenate(kernels)
  assert normal.std() == pytest.approx(0.02, rel=0.02)
  assert abs(normal.mean()) < 1e-4
  # Every kernel has numbers of its own.
  assert len({tuple(kernel[:8]) for kernel in kernels}) == len(kernels)


def test_a_parameter_without_a_rule_is_refused():
  shapes = {'gate': {'gain': jax.ShapeDtypeStruct((3,), np.float32)}}
  with pytest.raises(ValueError, match='gain'):
    draw_parameters(shapes, jax.random.key(0))


@pytest.mark.slow
def test_the_objective_is_named_in_the_result(tmp_path):
  config = tiny()
  straight = train_and_evaluate(config, tmp_path / 'straight', num_devices=1)
  result = json.loads((tmp_path / 'straight' / 'result.json').read_text())
  assert result['objective'] == 'structural'
  assert result['about'].startswith('DEVIATION')
  runs = json.loads((tmp_path / 'straight' / 'provenance.json').read_text())
  assert runs['runs'][0]['objective'] == 'structural'

  # A run that is interrupted in stage 1 and goes on into stage 2 is the same.
  short = tiny(**{'train.num_steps': 3})
  train_and_evaluate(short, tmp_path / 'resumed', num_devices=1)
  resumed = train_and_evaluate(config, tmp_path / 'resumed', num_devices=1)
  for a, b in zip(leaves(straight.state), leaves(resumed.state), strict=True):
    np.testing.assert_array_equal(a, b)
  assert straight.metrics == resumed.metrics


@pytest.mark.slow
def test_one_device_equals_eight(tmp_path):
  config = tiny(
    **{
      'train.batch_size': 16,
      'train.num_steps': 2,
      'train.checkpoint_every': 1,
      'loss.edit_from_step': 0,  # one stage to compile, the larger one
      # Adam makes full steps of gradients that are nothing but rounding, as
      # those of a bias before a norm are.
      'optimizer.name': 'sgd',
      'optimizer.learning_rate': 0.01,
    }
  )
  one = train_and_evaluate(config, tmp_path / 'one', num_devices=1)
  eight = train_and_evaluate(config, tmp_path / 'eight', num_devices=8)

  # Where two pictures are equal the L1 distance has a corner, and rounding
  # picks the side: single numbers differ, the way does not.
  def way_of(result, name):
    first = checkpoints.load_checkpoint(tmp_path / name, step=1, averaged=False)
    return flat(result.state.params) - flat(first.params)

  way, other = way_of(one, 'one'), way_of(eight, 'eight')
  assert np.linalg.norm(way) > 0.005
  assert np.linalg.norm(way - other) < 0.01 * np.linalg.norm(way)
  assert eight.metrics['l1'] == pytest.approx(one.metrics['l1'], rel=1e-3)


@pytest.mark.slow
def test_stream_and_memory_train(tmp_path):
  config = tiny(**{'data.pipeline': 'stream', 'train.num_steps': 2})
  result = train_and_evaluate(config, tmp_path, num_devices=1)
  assert np.isfinite(result.metrics['l1'])


def problems(config):
  with pytest.raises(ConfigError) as caught:
    validate(config, num_devices=1)
  return {p.key: str(p) for p in caught.value.problems}


@pytest.mark.parametrize('argument', anime_generator.ARGUMENTS)
def test_configs_are_complete(argument, tmp_path):
  (tmp_path / 'vgg.pth').touch()
  config = anime_generator.get_config(argument)
  if config.loss.objective == 'vgg':
    config.loss.vgg_weights = str(tmp_path / 'vgg.pth')
    config.data.path = str(tmp_path)
  validate(config, num_devices=1)


def test_missing_weights_and_data_say_where_to_get_them():
  found = problems(anime_generator.get_config())
  assert set(found) == {'loss.vgg_weights', 'data.path'}
  text = found['loss.vgg_weights']
  assert 'vgg19-dcbb9e9d.pth' in text
  assert 'https://download.pytorch.org' in text
  assert 'curl' in text
  assert '--config.loss.objective=structural' in text


@pytest.mark.parametrize(
  ('key', 'value'),
  [
    ('model.preset', 'huge'),
    ('model.dtype', 'float8'),
    ('model.init', 'zeros'),
    ('loss.objective', 'l2'),
    ('loss.image_weight', 0.0),
    ('loss.flow_weight', -1.0),
    ('loss.part_weight', -1.0),
    ('data.source', 'web'),
    ('data.pipeline', 'disk'),
    ('data.background', 'sky'),
    ('data.size', 36),
    ('data.color_jitter', 2.0),
    ('data.num_identities', 0),
    ('data.rotated_fraction', 1.5),
    ('data.styles', ('oil',)),
    ('data.validation_pairs', 0),
    ('optimizer.name', 'lion'),
  ],
)
def test_each_wrong_value_is_named(key, value):
  assert set(problems(tiny(**{key: value}))) == {key}


def test_what_does_not_go_together_is_named(tmp_path):
  (tmp_path / 'vgg.pth').touch()
  found = problems(
    tiny(
      **{
        'loss.objective': 'vgg',
        'loss.vgg_weights': str(tmp_path / 'vgg.pth'),
        'data.source': 'dataset',
        'data.path': str(tmp_path),
      }
    )
  )
  assert set(found) == {
    'loss.part_weight',
    'loss.vgg_scales',
    'loss.flow_weight',
    'loss.flow_weight_editing',
    'data.pipeline',
  }
  silent = {f'loss.{k}_weight': 0.0 for k in ('l1', 'gradient', 'ssim')}
  assert set(problems(tiny(**silent))) == {'loss.*_weight'}
  config = tiny()
  config.model.sizes.unlock()
  config.model.sizes.wings = 2
  assert 'wings' in problems(config)['model.sizes']


def test_sizes_fit_the_network_and_the_scales_that_are_compared():
  config = tiny(**{'data.size': 36})
  assert 'multiple of 8 for this network' in problems(config)['data.size']
  # A network that would take multiples of 4.
  config.model.sizes.unlock()
  config.model.sizes.update(warping_down=2, warping_up=1)
  text = problems(config)['data.size']
  assert 'multiple of 8 for multi-scale L1' in text
  assert '--config.data.size=40' in text
  config.loss.l1_weight = 0.0
  validate(config, num_devices=1)
  # The rule is that of the distance itself.
  for size, fits in ((36, False), (40, True)):
    picture = jnp.zeros((1, size, size, 3))
    if fits:
      assert distances.multi_scale_l1(picture, picture) == 0
    else:
      with pytest.raises(ValueError, match='cannot be halved'):
        distances.multi_scale_l1(picture, picture)


def test_an_unknown_argument_is_named():
  with pytest.raises(ValueError, match='unknown config argument big; known'):
    anime_generator.get_config('big')


def test_the_papers_numbers():
  config = anime_generator.get_config()
  assert config.train.num_steps == 200 * 31_116
  assert config.loss.edit_from_step == 100 * 31_116
  assert config.optimizer.drop_step == 150 * 31_116
  assert config.train.ema_decay == pytest.approx(0.99778, abs=1e-5)
