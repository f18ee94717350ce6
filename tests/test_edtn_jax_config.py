"""Configs: every file loads, arguments mean what they say, JSON returns."""

import importlib
import pathlib

import ml_collections
import pytest

from configs import edtn
from edtn_jax import config as config_lib
from edtn_jax.tasks.validate import validate

CONFIGS = sorted(
  p.stem
  for p in pathlib.Path(edtn.__file__).parent.glob('*.py')
  if p.stem != '__init__'
)


# What only the user has: a config names none of them.
USERS_FILES = ('data.path', 'loss.vgg_weights')


@pytest.mark.parametrize('name', CONFIGS)
def test_every_config_is_valid_and_survives_json(name):
  module = importlib.import_module(f'configs.{name}')
  for arg in ('', 'tiny', *getattr(module, 'ARGUMENTS', ())):
    config = module.get_config(arg)
    try:
      validate(config, num_devices=1)
    except config_lib.ConfigError as error:
      missing = {(p.key, p.value) for p in error.problems}
      assert missing <= {(key, '') for key in USERS_FILES}
    again = config_lib.from_json(config_lib.to_json(config))
    assert config_lib.differences(config, again) == {}
    assert again.train.profile_steps == (0, 0)


@pytest.mark.parametrize(
  ('arg', 'weights'),
  [
    ('', (100, 1, 1, 1)),
    ('vertex', (100, 0, 0, 0)),
    ('landmark', (0, 1, 0, 0)),
    ('vertex_landmark', (100, 1, 0, 0)),
    ('code,all', (100, 1, 1, 1)),
  ],
)
def test_table_two_switches_terms_off(arg, weights):
  loss = edtn.get_config(arg).loss
  assert (
    loss.vertex_weight,
    loss.landmark_weight,
    loss.eye_weight,
    loss.mouth_weight,
  ) == weights
  assert loss.reading == ('code' if 'code' in arg else 'paper')


def test_unknown_argument_lists_the_known_ones():
  with pytest.raises(ValueError, match=r'unknown config argument fast.*tiny'):
    edtn.get_config('fast,tiny')


def test_problem_names_key_value_rule_and_remedy():
  config = edtn.get_config('tiny')
  config.data.source = 'dataset'
  with pytest.raises(config_lib.ConfigError) as caught:
    validate(config, num_devices=1)
  (problem,) = caught.value.problems
  assert problem.key == 'data.path'
  assert problem.value == ''
  assert 'edtn prepare' in problem.remedy


def test_missing_key_is_a_problem_of_its_own():
  config = edtn.get_config('tiny')
  del config.loss.reading
  with pytest.raises(config_lib.ConfigError, match=r'loss\.reading.*missing'):
    validate(config, num_devices=1)


def test_all_weights_zero_is_refused():
  config = edtn.get_config('vertex')
  config.loss.vertex_weight = 0.0
  with pytest.raises(config_lib.ConfigError, match=r'loss\.\*_weight'):
    validate(config, num_devices=1)


def test_differences_name_both_values():
  one = ml_collections.ConfigDict({'a': {'b': 1, 'c': (1, 2)}, 'd': 'x'})
  other = ml_collections.ConfigDict({'a': {'b': 2, 'c': (1, 2)}})
  assert config_lib.differences(one, other) == {
    'a.b': (1, 2),
    'd': ('x', None),
  }


def test_json_of_something_else_is_refused():
  with pytest.raises(ValueError, match='JSON object'):
    config_lib.from_json('[1]')


@pytest.mark.parametrize(
  ('key', 'value'),
  [
    ('model.dtype', 'float31'),
    ('model.hidden_sizes', (16, 0)),
    ('model.negative_slope', -1.0),
    ('face.landmarks', 'no.npy'),
    ('train.profile_steps', (1,)),
    ('train.ema_decay', 1.0),
    ('optimizer.b1', 1.0),
    ('optimizer.b2', 1.0),
    ('optimizer.weight_decay', 0.1),
  ],
)
def test_wrong_values_are_found_before_any_work(key, value):
  config = edtn.get_config('tiny')
  config.update_from_flattened_dict({key: value})
  with pytest.raises(config_lib.ConfigError) as caught:
    validate(config, num_devices=1)
  assert [p.key for p in caught.value.problems] == [key]
