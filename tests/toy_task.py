"""A task in the form that `edtn_jax.tasks.registry` wants: linear regression.

Small enough that a test of the loop compiles in a moment, and proof that the
loop knows no faces.
"""

import jax
import jax.numpy as jnp
import numpy as np

from configs import edtn
from edtn_jax.tasks.base import Task, TrainData

SIZE = 3
WEIGHTS = np.array([1.0, -2.0, 0.5], np.float32)


def toy_config(**overrides):
  """Config of a run of this task, which the registry must know as `toy`."""
  config = edtn.get_config('tiny')
  config.task = 'toy'
  config.train.accumulation = 1
  config.data.bad_step = -1
  config.update_from_flattened_dict(overrides)
  return config


def rows(start, count):
  rng = np.random.default_rng([7, start])
  x = rng.standard_normal((count, SIZE)).astype(np.float32)
  return {'x': x, 'y': x @ WEIGHTS}


class ToyTask(Task):
  @property
  def constants(self):
    return {'offset': np.float32(0.0)}

  def init(self, rng):
    return {'model': {'w': 0.1 * jax.random.normal(rng, (SIZE,))}}

  def portable_constants(self):
    return {'offset': np.zeros(1, np.float32)}

  def losses(self, group, params, constants, batch, rng, step):
    out = batch['x'] @ params['model']['w'] + constants['offset']
    loss = jnp.square(out - batch['y']).mean()
    return loss, {'noise': jax.random.normal(rng)}

  def predict(self, params, constants, batch):
    return {'y': batch['x'] @ params['model']['w']}

  def evaluate(self, params, constants, batches):
    errors = [
      float(jnp.square(self.predict(params, {}, b)['y'] - b['y']).mean())
      for b in batches
    ]
    return {'loss': float(np.mean(errors))}


class ToyData(TrainData):
  examples_per_pass = 64

  def __init__(self, config):
    self.batch_size = config.train.batch_size
    self.bad_step = config.data.bad_step

  def batches(self, step):
    per_process = self.batch_size // jax.process_count()
    begin = per_process * jax.process_index()
    while True:
      batch = rows(step, self.batch_size)
      if step == self.bad_step:
        batch['y'][0] = np.nan
      yield {k: v[begin : begin + per_process] for k, v in batch.items()}
      step += 1

  def position(self, step):
    return {'global_next_index': step * self.batch_size}

  def validation(self):
    yield rows(10_000, 32)


def build(config, constants):
  del config, constants
  return ToyTask()


def build_data(config, task, mesh):
  del task, mesh
  return ToyData(config)


def build_validation(config, task):
  del task
  return list(ToyData(config).validation())


def validate(check):
  check.at_least('data.bad_step', -1)
