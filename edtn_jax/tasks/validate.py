"""Checks a whole config before any device work."""

from __future__ import annotations

import ml_collections

from edtn_jax import sharding
from edtn_jax.config import Checker
from edtn_jax.tasks.registry import task_module, task_names

OPTIMIZERS = ('adam', 'adamw', 'sgd', 'staged_adam')
SCHEDULES = ('constant', 'cosine', 'drop')


def validate(
  config: ml_collections.ConfigDict,
  *,
  num_devices: int,
  devices_per_process: int | None = None,
) -> None:
  """Checks a training config.

  Args:
    config: see `configs/edtn.py`.
    num_devices: devices of the run, over all processes.
    devices_per_process: if there are several.

  Raises:
    ConfigError: with every problem: key, value, rule, remedy.
  """
  check = Checker(config)
  check.one_of('task', task_names())
  if not check.problems:
    task_module(config).validate(check)
  ways = sharding.validate(check, num_devices, devices_per_process)
  _validate_training(check, ways)
  _validate_optimizer(check)
  check.done()


def _validate_training(check: Checker, ways: int) -> None:
  check.at_least('train.batch_size', 1)
  check.at_least('train.eval_batch_size', 1)
  _validate_batch(check, ways)
  for key in ('num_steps', 'num_epochs', 'log_every', 'eval_every'):
    check.at_least(f'train.{key}', 0)
  check.at_least('train.checkpoint_every', 0)
  if not check.get('train.num_steps') and not check.get('train.num_epochs'):
    check.add(
      'train.num_epochs',
      0,
      'num_steps or num_epochs must be above 0',
      'Set --config.train.num_epochs=50.',
    )
  _validate_decay(check, 'train.ema_decay')
  profile = check.get('train.profile_steps')
  if profile is not None and len(profile) != 2:
    check.add(
      'train.profile_steps',
      profile,
      'must be the first step to trace and the one after the last',
      'Set --config.train.profile_steps="(10, 20)".',
    )
  check.at_least('seed', 0)


def _validate_decay(check: Checker, key: str) -> None:
  """At 1 a moving average would never see what it averages."""
  value = check.get(key)
  if value is not None and not 0 <= value < 1:
    check.add(
      key, value, 'must be at least 0 and below 1', f'Set --config.{key}=0.9.'
    )


def _validate_batch(check: Checker, ways: int) -> None:
  """A batch is split over so many devices; a device cuts it into parts."""
  batch = check.get('train.batch_size')
  # Not in configs of before it was there: one part.
  accumulation = check.config.get('train', {}).get('accumulation', 1)
  if accumulation < 1:
    check.add(
      'train.accumulation',
      accumulation,
      'must be at least 1',
      'Set --config.train.accumulation=1.',
    )
    return
  parts = ways * accumulation
  if batch and batch % parts:
    cut = f' times {accumulation} parts' if accumulation > 1 else ''
    check.add(
      'train.batch_size',
      batch,
      f'must be divisible by the {ways} devices{cut}',
      f'Set --config.train.batch_size={-(-batch // parts) * parts}.',
    )


def _validate_optimizer(check: Checker) -> None:
  check.one_of('optimizer.name', OPTIMIZERS)
  check.one_of('optimizer.schedule', SCHEDULES)
  for key in ('learning_rate', 'clip_norm', 'weight_decay', 'warmup_steps'):
    check.at_least(f'optimizer.{key}', 0)
  for key in ('b1', 'b2'):
    _validate_decay(check, f'optimizer.{key}')
  name, decay = check.get('optimizer.name'), check.get('optimizer.weight_decay')
  if decay and name != 'adamw':
    check.add(
      'optimizer.weight_decay',
      decay,
      f'is not used by {name}',
      'Set --config.optimizer.name=adamw, or leave it 0.',
    )
  if 'restart_step' in check.config.optimizer:
    check.at_least('optimizer.restart_step', 0)
    schedule = check.get('optimizer.schedule')
    if check.get('optimizer.restart_step') and schedule != 'cosine':
      check.add(
        'optimizer.restart_step',
        check.get('optimizer.restart_step'),
        f'is not used by the schedule {schedule}',
        'Set --config.optimizer.schedule=cosine, or restart_step to 0.',
      )
  # A drop at step 0 would be a lower learning rate under another name.
  drops = check.get('optimizer.schedule') == 'drop'
  check.at_least('optimizer.drop_step', 1 if drops else 0)
  check.at_least('optimizer.drop_factor', 0, high=1)
