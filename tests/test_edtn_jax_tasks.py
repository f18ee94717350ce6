"""Every task and input: a batch is learnt, a run resumes, devices agree."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from configs import edtn
from data.prepare import prepare_procedural
from data.procedural_codes import procedural_clips
from edtn_jax import faces
from edtn_jax.losses import LossWeights, sparsity_term, total_loss
from edtn_jax.tasks import build_task, code_data
from edtn_jax.tasks.expression_translation import ExpressionTranslationTask
from edtn_jax.training import train_and_evaluate
from edtn_jax.translation import ExpressionTranslator
from tests.support import random_head


@pytest.fixture(scope='module')
def dataset(tmp_path_factory):
  """A prepared set of procedural codes on disk."""
  path = tmp_path_factory.mktemp('codes') / 'set'
  adapter = faces.procedural_adapter()

  def clips(count, first):
    return procedural_clips(
      adapter,
      seed=0,
      num_identities=count,
      frames_per_identity=4,
      first_identity=first,
    )

  prepare_procedural(path, {'train': clips(24, 0), 'validation': clips(3, 24)})
  return path


def config_of(pipeline, dataset, form='projected', reading='paper'):
  config = edtn.get_config(f'tiny,{reading}')
  config.loss.form = form
  if pipeline == 'stream':
    config.data.source = 'dataset'
    config.data.path = str(dataset)
    config.data.pipeline = 'stream'
  return config


def leaves(tree):
  return [np.asarray(x) for x in jax.tree.leaves(tree)]


@pytest.mark.parametrize('reading', ['paper', 'code'])
@pytest.mark.parametrize('form', ['projected', 'mesh'])
def test_one_batch_is_learnt(form, reading):
  rng = np.random.default_rng(0)
  adapter = rng.standard_normal((17, 50)).astype(np.float32)
  coeffs = rng.random((8, 17)).astype(np.float32)
  task = ExpressionTranslationTask(
    model=ExpressionTranslator(hidden_sizes=(64, 64)),
    face=faces.Face(random_head(40), adapter, 'procedural', 'random'),
    reading=reading,
    form=form,
    weights=LossWeights(),
  )
  batch = {
    'human': {
      'expression': jnp.asarray(coeffs @ adapter),
      'jaw_pose': jnp.zeros((8, 3)),
    }
  }
  constants = task.constants
  batch = task.encode(constants, batch)
  params = task.init(jax.random.key(0))
  optimizer = optax.adam(3e-3)
  opt_state = optimizer.init(params)

  @jax.jit
  def step(params, opt_state):
    def loss_of(p):
      return task.losses('model', p, constants, batch, None, None)[0]

    loss, gradient = jax.value_and_grad(loss_of)(params)
    updates, opt_state = optimizer.update(gradient, opt_state)
    return optax.apply_updates(params, updates), opt_state, loss

  losses = []
  for _ in range(600):
    params, opt_state, loss = step(params, opt_state)
    losses.append(float(loss))
  assert losses[-1] < losses[0] / 10
  found = task.predict(params, constants, batch)['pose_coeffs']
  assert np.abs(np.asarray(found) - coeffs).mean() < 0.1


@pytest.mark.slow
@pytest.mark.parametrize('pipeline', ['memory', 'stream'])
def test_resumed_equals_uninterrupted(tmp_path, dataset, pipeline):
  config = config_of(pipeline, dataset)
  config.train.ema_decay = 0.9
  straight = train_and_evaluate(config, tmp_path / 'straight')
  short = config.copy_and_resolve_references()
  short.train.num_steps = 3
  train_and_evaluate(short, tmp_path / 'resumed')
  resumed = train_and_evaluate(config, tmp_path / 'resumed')
  for a, b in zip(leaves(straight.state), leaves(resumed.state), strict=True):
    np.testing.assert_array_equal(a, b)
  assert straight.metrics == resumed.metrics


@pytest.mark.slow
@pytest.mark.parametrize('form', ['projected', 'mesh'])
def test_one_device_equals_eight(tmp_path, dataset, form):
  config = config_of('memory', dataset, form)
  one = train_and_evaluate(config, tmp_path / 'one', num_devices=1)
  eight = train_and_evaluate(config, tmp_path / 'eight', num_devices=8)
  for a, b in zip(
    leaves(one.state.params), leaves(eight.state.params), strict=True
  ):
    np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-6)
  assert eight.metrics['loss'] == pytest.approx(one.metrics['loss'], rel=1e-4)


def test_memory_and_stream_train_alike(tmp_path, dataset):
  stream = config_of('stream', dataset)
  memory = stream.copy_and_resolve_references()
  memory.data.pipeline = 'memory'
  one = train_and_evaluate(stream, tmp_path / 'stream')
  other = train_and_evaluate(memory, tmp_path / 'memory')
  for a, b in zip(
    leaves(one.state.params), leaves(other.state.params), strict=True
  ):
    # The targets are computed in one program here, in another there.
    np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-6)


def test_foreign_codes_and_missing_splits_are_refused(tmp_path, dataset):
  config = config_of('memory', dataset)
  config.data.source, config.data.path = 'dataset', str(dataset)
  config.data.validation_split = 'test'
  with pytest.raises(code_data.DataError, match='no split'):
    train_and_evaluate(config, tmp_path / 'run')
  foreign = faces.Face(None, None, 'flame', 'other')
  config.data.validation_split = 'validation'
  with pytest.raises(code_data.DataError, match="'procedural' codes"):
    code_data._dataset_table(config, foreign, 'validation')


def test_a_missing_training_split_is_refused(tmp_path, dataset):
  config = config_of('stream', dataset)
  config.data.train_split = 'trian'
  with pytest.raises(code_data.DataError, match=r"no split 'trian'.*train"):
    train_and_evaluate(config, tmp_path / 'run')
  assert not (tmp_path / 'run').exists()


def test_sparsity_prefers_the_calm_pose():
  calm, busy = jnp.zeros((1, 17)), jnp.full((1, 17), 0.5)
  terms = {'vertex': jnp.ones(1)}

  def cost(coeffs, weight):
    weights = LossWeights(1, 0, 0, 0, sparsity=weight)
    return float(
      total_loss({**terms, 'sparsity': sparsity_term(coeffs)}, weights)[0]
    )

  assert cost(calm, 0.0) == cost(busy, 0.0) == 1.0
  assert cost(busy, 0.1) - cost(calm, 0.1) == pytest.approx(0.05)


def test_config_reaches_the_task():
  config = edtn.get_config('tiny,code,vertex')
  config.loss.sparsity_weight = 0.25
  task = build_task(config)
  assert task.reading == 'code'
  assert task.form == 'projected'
  assert task.weights == LossWeights(100.0, 0.0, 0.0, 0.0, 0.25)
  assert task.model.hidden_sizes == (16, 16)
  assert task.portable_constants()['pose_adapter'].shape == (17, 50)


def test_picture_shows_target_above_prediction():
  task = build_task(edtn.get_config('tiny'))
  params = task.init(jax.random.key(0))
  batch = {
    'human': {
      'expression': np.zeros((8, 50), np.float32),
      'jaw_pose': np.zeros((8, 3), np.float32),
    }
  }
  pictures = task.pictures(params, task.constants, batch)
  picture = pictures['target_and_predicted']
  assert picture.dtype == np.uint8
  assert picture.shape[2] == 3
  # Both rows show a head: neither is blank.
  top, bottom = np.array_split(picture, 2)
  assert top.std() > 20
  assert bottom.std() > 20
