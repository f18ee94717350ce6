"""Optimizers and schedules: first steps and rates by hand."""

import jax.numpy as jnp
import numpy as np
import optax
import pytest

from configs import edtn
from edtn_jax.config import ConfigError
from edtn_jax.tasks.validate import validate
from edtn_jax.training.optimizer import build_optimizer, learning_rate


def settings(**overrides):
  config = edtn.get_config().optimizer
  config.learning_rate = 0.1
  config.update(overrides)
  return config


def rates(config, steps, num_steps=10):
  schedule = learning_rate(config, num_steps)
  return [float(schedule(step)) for step in steps]


def first_step(config, params, gradient):
  optimizer = build_optimizer(config, 10)
  updates, _ = optimizer.update(
    jnp.asarray(gradient), optimizer.init(jnp.asarray(params)), params
  )
  return np.asarray(optax.apply_updates(jnp.asarray(params), updates))


def test_constant_cosine_and_drop():
  assert rates(settings(), [0, 9]) == pytest.approx([0.1, 0.1])
  cosine = settings(schedule='cosine')
  assert rates(cosine, [0, 5, 10]) == pytest.approx([0.1, 0.05, 0.0])
  drop = settings(schedule='drop', drop_step=4, drop_factor=0.2)
  assert rates(drop, [0, 3, 4, 9]) == pytest.approx([0.1, 0.1, 0.02, 0.02])


def test_a_cosine_can_begin_anew():
  twice = settings(schedule='cosine', restart_step=4)
  assert rates(twice, [0, 2, 4, 7, 10]) == pytest.approx(
    [0.1, 0.05, 0.1, 0.05, 0.0]
  )
  late = settings(schedule='cosine', restart_step=6, warmup_steps=2)
  assert rates(late, [0, 1, 2, 4, 6, 8, 10]) == pytest.approx(
    [0, 0.05, 0.1, 0.05, 0.1, 0.05, 0.0]
  )
  # A shorter run ends before.
  assert rates(twice, [0, 2], num_steps=3) == pytest.approx([0.1, 0.05])
  config = edtn.get_config('tiny')
  config.optimizer.restart_step = 3
  with pytest.raises(ConfigError, match=r'optimizer\.restart_step'):
    validate(config, num_devices=1)


def test_warmup_rises_and_leaves_the_rest_in_its_place():
  constant = settings(warmup_steps=4)
  assert rates(constant, [0, 1, 4, 9]) == pytest.approx([0, 0.025, 0.1, 0.1])
  drop = settings(schedule='drop', drop_step=6, drop_factor=0.5, warmup_steps=4)
  assert rates(drop, [4, 5, 6]) == pytest.approx([0.1, 0.1, 0.05])
  cosine = settings(schedule='cosine', warmup_steps=4)
  assert rates(cosine, [4, 7, 10]) == pytest.approx([0.1, 0.05, 0.0])


def test_first_steps_by_hand():
  params, gradient = np.array([1.0, 2.0]), np.array([3.0, -4.0])
  # Adam's first step is the rate times the sign of the gradient.
  np.testing.assert_allclose(
    first_step(settings(), params, gradient), [0.9, 2.1], rtol=1e-5
  )
  decayed = settings(name='adamw', weight_decay=0.5)
  np.testing.assert_allclose(
    first_step(decayed, params, gradient),
    [1 - 0.1 * (1 + 0.5), 2 - 0.1 * (-1 + 1.0)],
    rtol=1e-5,
  )
  np.testing.assert_allclose(
    first_step(settings(name='sgd'), params, gradient), [0.7, 2.4], rtol=1e-5
  )
  # The gradient's length is 5; clipped to 1 it is (0.6, -0.8).
  clipped = settings(name='sgd', clip_norm=1.0)
  np.testing.assert_allclose(
    first_step(clipped, params, gradient), [0.94, 2.08], rtol=1e-5
  )


def test_a_drop_needs_its_step():
  config = edtn.get_config('tiny')
  config.optimizer.schedule = 'drop'
  with pytest.raises(ConfigError, match=r'optimizer\.drop_step'):
    validate(config, num_devices=1)
  config.optimizer.drop_step = 3
  validate(config, num_devices=1)


def test_staged_adam_counts_from_the_first_gradient():
  late = settings(name='staged_adam', b1=0.5, b2=0.999)
  plain = settings(name='adam', b1=0.5, b2=0.999)
  gradients = [jnp.asarray(g) for g in (2.0, -1.0, 0.0, 3.0)]

  def run(config, gradients):
    optimizer, found = build_optimizer(config, 10), []
    state = optimizer.init({'a': jnp.zeros(())})
    for gradient in gradients:
      update, state = optimizer.update({'a': gradient}, state)
      found.append(float(update['a']))
    return found

  wanted = run(plain, gradients)
  np.testing.assert_allclose(run(late, gradients), wanted, rtol=1e-5)
  waiting = [jnp.zeros(())] * 100
  found = run(late, waiting + gradients)
  assert found[:100] == [0.0] * 100
  np.testing.assert_allclose(found[100:], wanted, rtol=1e-4)
  # What it is for: the first step of a late array is not longer than others.
  assert abs(run(plain, waiting + gradients)[100]) > 1.4 * abs(found[100])
