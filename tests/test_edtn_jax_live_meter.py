"""Rate, latency, times by stage."""

import pytest

from edtn_jax.live.meter import Meter, percentiles


def test_percentiles_by_hand():
  assert percentiles([]) == {'p50': None, 'p95': None}
  assert percentiles([0.002]) == {'p50': 2.0, 'p95': 2.0}
  values = [i / 1000 for i in range(101)]
  assert percentiles(values) == {'p50': 50.0, 'p95': 95.0}


def test_recent_forgets_and_the_summary_does_not():
  meter = Meter()
  assert meter.recent(0.0)['frames_per_second'] == 0
  assert meter.summary()['frames_per_second'] == 0
  for i in range(11):
    meter.add(0.5, now=100 + 0.1 * i)
  for i in range(5):
    meter.add(0.02, now=200 + 0.25 * i)
  now = meter.recent(201.0)
  assert now == {
    'frames_per_second': 4.0,
    'latency_ms': {'p50': 20.0, 'p95': 20.0},
  }
  whole = meter.summary()
  assert whole['frames_per_second'] == pytest.approx(15 / 101, abs=0.01)
  assert whole['latency_ms'] == {'p50': 500.0, 'p95': 500.0}
  assert meter.recent(300.0)['latency_ms'] == {'p50': None, 'p95': None}


def test_stages_are_named():
  meter = Meter()
  for name in ('fit', 'draw', 'fit'):
    with meter.stage(name):
      pass
  assert set(meter.summary()['stage_ms']) == {'fit', 'draw'}
