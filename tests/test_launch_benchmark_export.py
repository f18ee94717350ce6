"""Benchmark of what is exported: that it runs and what it says."""

import pytest

from generator.pirenderer.config import TINY
from launch import benchmark_export


@pytest.mark.slow
def test_every_network_is_compared_with_the_limit_beside_it(monkeypatch):
  monkeypatch.setattr(benchmark_export, '_MATRIX', 32)
  monkeypatch.setattr(benchmark_export, '_GENERATORS', (('tiny', TINY, 16, 2),))
  rows = benchmark_export.benchmark_export(0.0)
  runners = ['JAX', 'ONNX Runtime, 1 thread', 'ONNX Runtime, 2 threads']
  assert [row['what'].rpartition(': ')[2] for row in rows[3:]] == 3 * runners
  assert all('GFLOP/s' in row['note'] for row in rows[:3])
  assert all('1.00 x JAX' in row['note'] for row in rows[3::3])
  assert rows[-1]['what'].startswith('generator tiny, 16 x 16, batch 2')
  assert rows[-1]['note'].endswith('of the limit')


def test_calls_take_turns_and_the_best_counts(monkeypatch):
  now, order = [0.0], []

  def call(name, times):
    order.append(name)
    now[0] += times.pop(0)

  monkeypatch.setattr(benchmark_export.time, 'perf_counter', lambda: now[0])
  took = benchmark_export._turns(
    {
      'a': lambda times=[9.0, 3.0, 1.0, 2.0]: call('a', times),
      'b': lambda times=[9.0, 4.0, 4.0, 5.0]: call('b', times),
    },
    0.0,
  )
  assert order == ['a', 'b'] * 4
  assert took == {'a': (1.0, 3), 'b': (4.0, 3)}
