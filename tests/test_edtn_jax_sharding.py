"""Rules say where arrays lie; the numbers stay the same."""

import jax
import numpy as np
import pytest
from absl import flags
from jax.sharding import PartitionSpec as P
from ml_collections import config_flags

from configs import edtn
from edtn_jax import devices, sharding
from edtn_jax.config import Checker, ConfigError
from edtn_jax.training import train_and_evaluate

ROWS = ('batch', 'rows(data)')
REST = ('.*', 'replicate')


def config_with(rules=(ROWS, REST), **mesh):
  config = edtn.get_config('tiny')
  config.sharding.rules = rules
  config.sharding.mesh.update(mesh)
  return config


@pytest.mark.parametrize(
  ('rule', 'shape', 'spec'),
  [
    ('replicate', (8, 8), P(None, None)),
    ('fsdp', (53, 16), P(None, ('data',))),
    ('fsdp', (16, 8), P(('data',), None)),
    ('fsdp', (8, 8), P(None, ('data',))),
    ('fsdp', (3, 5), P(None, None)),
    ('fsdp', (), P()),
    ('last(model)', (8, 6), P(None, ('model',))),
    ('last(model)', (8, 5), P(None, None)),
    ('last(model)+fsdp', (8, 16), P(('data',), ('model',))),
    ('fsdp + last(model)', (8, 16), P(None, ('data',))),
    ('largest(data,model)', (4, 24), P(None, ('data', 'model'))),
  ],
)
def test_a_rule_picks_axes(rule, shape, spec):
  mesh = devices.data_mesh(8, model=2)
  assert sharding.parse_rule('.*', rule).spec(shape, mesh) == spec


def test_the_first_rule_that_matches_counts():
  mesh = devices.data_mesh(8)
  rules = [
    sharding.parse_rule(*pair) for pair in (ROWS, ('.*kernel', 'fsdp'), REST)
  ]
  state = {'params': {'kernel': np.zeros((8, 2)), 'bias': np.zeros(8)}}
  found = sharding.state_shardings(state, rules, mesh)['params']
  assert found['kernel'].spec == P(('data',), None)
  assert found['bias'].is_fully_replicated
  assert sharding.is_sharded(found)
  whole = sharding.gathered(found)
  assert not sharding.is_sharded(whole)


def test_everything_wrong_is_told_at_once():
  config = config_with(
    (ROWS, ('(', 'fsdp'), ('.*', 'scatter'), ('x',)), data=3, model=2
  )
  check = Checker(config)
  sharding.validate(check, 8)
  assert [p.key for p in check.problems] == ['sharding.rules'] * 3 + [
    'sharding.mesh'
  ]
  text = '\n'.join(map(str, check.problems))
  assert 'is no regular expression' in text
  assert "'scatter' is none of replicate, fsdp" in text
  assert 'must divide the 8 devices' in text


@pytest.mark.parametrize(
  ('rules', 'said'),
  [
    ((('.*', 'fsdp'), ROWS), 'whose rows must be split'),
    ((('params.*', 'fsdp'),), 'none matches the batch'),
    ((ROWS, ('.*', 'rows(data)')), r'rows\(...\) is for the batch'),
    ((ROWS, ('.*', 'last(time)')), "'time' is no axis of the mesh"),
    ((ROWS, ('.*', 'last(data)+fsdp')), 'can split only one axis'),
  ],
)
def test_a_wrong_rule_is_told(rules, said):
  check = Checker(config_with(rules))
  sharding.validate(check, 8)
  with pytest.raises(ConfigError, match=said):
    check.done()


@pytest.mark.parametrize(
  ('mesh', 'shape'),
  [
    ({}, {'data': 8, 'model': 1}),
    ({'model': 2}, {'data': 4, 'model': 2}),
    ({'data': 2, 'model': -1}, {'data': 2, 'model': 4}),
  ],
)
def test_the_mesh_takes_all_devices(mesh, shape):
  assert sharding.mesh_shape(config_with(**mesh), 8) == shape


def test_several_processes_need_rows_of_their_own():
  check = Checker(config_with(model=4))
  assert sharding.validate(check, 8, devices_per_process=2) == 2
  with pytest.raises(ConfigError, match='the same rows'):
    check.done()
  rules = (('batch', 'rows(data,model)'), REST)
  check = Checker(config_with(rules, model=4))
  assert sharding.validate(check, 8, devices_per_process=2) == 8
  check.done()


def test_configs_of_before_are_data_parallel():
  config = config_with()
  del config.sharding
  check = Checker(config)
  assert sharding.validate(check, 8) == 8
  assert sharding.batch_axes(sharding.rules_of(config)) == ('data',)


def test_rules_can_be_given_on_the_command_line():
  values = flags.FlagValues()
  argv = [
    'edtn',
    '--config=configs/edtn.py:tiny',
    "--config.sharding.rules=(('batch','rows(data)'),('.*','fsdp'))",
    '--config.sharding.mesh.model=2',
  ]
  config_flags.DEFINE_config_file(
    'config', flag_values=values, lock_config=True, sys_argv=argv
  )
  values(argv)
  assert values.config.sharding.rules == (ROWS, ('.*', 'fsdp'))
  assert values.config.sharding.mesh.model == 2


def test_rules_without_arrays_and_arrays_without_rules(tmp_path):
  rules = (ROWS, ('.*kernle', 'fsdp'), ('params/.*', 'fsdp'))
  with pytest.raises(ConfigError) as caught:
    train_and_evaluate(config_with(rules), tmp_path / 'run')
  unused, missed = caught.value.problems
  assert (unused.value, unused.key) == ('.*kernle', 'sharding.rules')
  assert 'matched by no rule' in missed.rule
  assert not (tmp_path / 'run').exists()


def bytes_on_one_device(tree):
  leaves = jax.tree.leaves(tree)
  return sum(x.addressable_shards[0].data.nbytes for x in leaves)


@pytest.mark.slow
def test_sharded_state_trains_alike_in_less_memory(tmp_path):
  """Against state that is whole on every device."""

  def train(name, rules, model=1):
    config = config_with(rules, model=model)
    config.train.num_steps = 4
    config.train.accumulation = 2
    return train_and_evaluate(config, tmp_path / name, num_devices=8)

  whole = train('whole', (ROWS, REST))
  rows = ('batch', 'rows(data,model)')
  for name, rules, model, share in (
    # All but the last layer's 17 columns divide by 8, and two biases.
    ('fsdp', (ROWS, ('.*', 'fsdp')), 1, 0.2),
    # Biases are whole. The first kernel's columns are halved by the model
    # axis; its 53 rows do not divide by 4.
    ('both', (ROWS, ('.*kernel', 'last(model)+fsdp'), REST), 2, 0.45),
    ('flat', (rows, ('.*', 'largest(data,model)')), 4, 0.2),
  ):
    spread = train(name, rules, model)
    assert spread.metrics == pytest.approx(whole.metrics, rel=1e-4, abs=1e-6)
    for part in ('params', 'opt_state'):
      one, other = getattr(whole.state, part), getattr(spread.state, part)
      assert bytes_on_one_device(other) < share * bytes_on_one_device(one)
      for a, b in zip(
        jax.tree.leaves(one), jax.tree.leaves(other), strict=True
      ):
        np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-6)
