"""Collectives are counted in programs; predictions follow from them."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import PartitionSpec as P

from configs import edtn
from edtn_jax import devices
from launch import benchmark_scaling as scaling


def counted(function, *shapes, specs, out):
  """Bytes of a hand-made program on four devices."""
  mesh = devices.data_mesh(4)
  mapped = jax.shard_map(
    function, mesh=mesh, in_specs=specs, out_specs=out, check_vma=False
  )
  arrays = [jax.ShapeDtypeStruct(s, jnp.float32) for s in shapes]
  program = jax.jit(mapped).lower(*arrays).compile().as_text()
  return scaling.collective_bytes(program, 4)


def test_an_all_reduce_counts_the_array():
  found = counted(
    lambda x: jax.lax.psum(x, 'data'), (8, 3), specs=P('data'), out=P()
  )
  assert found == {'all-reduce': 2 * 3 * 4}


def test_an_all_gather_counts_the_part_of_a_device():
  found = counted(
    lambda x: jax.lax.all_gather(x, 'data', tiled=True),
    (8, 3),
    specs=P('data'),
    out=P(),
  )
  assert found == {'all-gather': 2 * 3 * 4}


def test_a_reduce_scatter_counts_the_array():
  found = counted(
    lambda x: jax.lax.psum_scatter(x, 'data', tiled=True),
    (8, 3),
    specs=P(),
    out=P('data'),
  )
  assert found == {'reduce-scatter': 8 * 3 * 4}


def test_several_arrays_add_up():
  found = counted(
    lambda x, y: (jax.lax.psum(x, 'data'), jax.lax.psum(y, 'data')),
    (8, 3),
    (4,),
    specs=(P('data'), P('data')),
    out=(P(), P()),
  )
  assert found == {'all-reduce': 2 * 3 * 4 + 4}


def test_a_gradient_is_exchanged_once():
  """Of a data-parallel product: its weights, and the loss."""
  mesh = devices.data_mesh(4)
  step = jax.jit(
    jax.value_and_grad(lambda w, x: jnp.square(x @ w).sum()),
    in_shardings=(devices.replicated(mesh), devices.batch_sharded(mesh)),
    out_shardings=devices.replicated(mesh),
  )
  program = step.lower(jnp.ones((5, 7)), jnp.ones((8, 5))).compile().as_text()
  found = scaling.collective_bytes(program, 4)
  assert found == {'all-reduce': 4 * (5 * 7 + 1)}


def test_one_device_exchanges_nothing():
  program = jax.jit(jnp.sum).lower(jnp.ones(4)).compile().as_text()
  assert scaling.collective_bytes(program, 1) == {}


@pytest.mark.parametrize(
  ('line', 'found'),
  [
    (
      '%a = (bf16[2,3]{1,0}, bf16[4]{0}) all-reduce(%p, %q), '
      'replica_groups={{0,1},{2,3}}, to_apply=%add',
      {'all-reduce': 20},
    ),
    (
      '%a = (f32[2]{0}, f32[8]{0}) all-gather-start(f32[2]{0} %p), '
      'replica_groups=[1,4]<=[4], dimensions={0}',
      {'all-gather': 8},
    ),
    ('%a = f32[8]{0} all-gather-done(%s)', {}),
    (
      '%a = f32[2]{0} all-reduce(%p), replica_groups={{0},{1}}, to_apply=%s',
      {},
    ),
    (
      '%a = (f32[6]{0}, f32[6]{0}) collective-permute-start(%p), '
      'source_target_pairs={{0,1},{1,0}}',
      {'collective-permute': 24},
    ),
  ],
)
def test_lines_of_other_backends(line, found):
  assert scaling.collective_bytes(line, 4) == found


def test_a_prediction_by_hand():
  machine = scaling.Machine('m', 4, 1e12, 1e9, 1, 1e-3, 'made up')
  found = scaling.predict(1e11, {'all-reduce': 10**8}, machine, 0.5)
  assert found.compute == pytest.approx(0.2)
  # 2 * 3/4 of 0.1 GB at 1 GB/s, and 2 * 3 hops.
  assert found.communicate == pytest.approx(0.15 + 0.006)
  assert found.worst == pytest.approx(0.2 / 0.356)
  assert found.best == 1.0
  alone = scaling.predict(1e11, {}, machine, 0.5)
  assert (alone.communicate, alone.worst) == (0, 1)
  row = scaling.prediction_row(
    'network', 1e11, {'all-reduce': 10**8}, machine, 0.5
  )
  assert row['what'].startswith('PREDICTED, not measured')
  assert row['calls'] == 0
  assert 'Assumed from: made up' in row['note']


def test_gathered_parts_travel_once():
  machine = scaling.Machine('m', 4, 1e12, 1e9, 2, 0.0, 'made up')
  data = {'all-gather': 10**8, 'reduce-scatter': 4 * 10**8}
  found = scaling.predict(1e11, data, machine, 0.5)
  # 3/4 of 0.4 GB each, on two axes.
  assert found.communicate == pytest.approx((0.3 + 0.3) / 2)


@pytest.mark.slow
def test_a_training_step_exchanges_its_gradient():
  config = edtn.get_config('tiny')
  config.train.batch_size = 4
  rows = scaling.rows_of(scaling.Case('EDTN', config), 0.0)
  assert len(rows) == len(scaling.DEVICE_COUNTS) + len(scaling.MACHINES)
  assert 'no collectives' in rows[0]['note']
  only = scaling.rows_of(scaling.Case('EDTN', config, runs=False), 0.0)
  assert len(only) == 1 + len(scaling.MACHINES)
  assert 'compiled and not run' in only[0]['note']
  assert only[1:] == rows[-len(scaling.MACHINES) :]
  compiled, flops, call = scaling.compiled_step(config, 2)
  assert flops > 0
  found = scaling.collective_bytes(compiled.as_text(), 2)
  parameters = sum(x.size for x in jax.tree.leaves(_params(config)))
  exchanged = found['all-reduce'] / 4
  # And a few scalars: terms of the loss.
  assert parameters <= exchanged <= parameters + 16
  assert np.isfinite(float(call()['loss']))


def _params(config):
  from edtn_jax.tasks import build_task

  return jax.eval_shape(build_task(config).init, jax.random.key(0))
