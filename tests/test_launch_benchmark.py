"""Benchmarks: that they run and what they say; times are not tested."""

import pytest

from launch import benchmark, benchmark_pictures


def test_table_has_a_line_for_each_row():
  row = benchmark._row('a step', 0.0015, 7, 'half')
  text = benchmark.table([row]).splitlines()
  assert text[2] == '| a step | 1.500 | 7 | half |'


def test_calls_take_turns():
  order = []
  times = benchmark.measure_together(
    {'a': lambda: order.append('a'), 'b': lambda: order.append('b')}, 0.0
  )
  # Once to compile; then five rounds of one untimed and one timed call each.
  assert order == ['a', 'b'] + ['a', 'a', 'b', 'b'] * 5
  assert [count for _, count in times.values()] == [5, 5]


@pytest.mark.slow
def test_input_is_measured_in_memory_and_streamed():
  rows = benchmark.benchmark_input(0.0)
  assert [row['what'] for row in rows] == [
    'input, batch 512: in memory, on the device',
    'input, batch 512: streamed by grain, after the first pass',
  ]
  assert all(row['note'].endswith(' codes/s') for row in rows)


def test_characters_are_drawn_in_every_style_and_size(monkeypatch):
  drawn = []

  def once(call, seconds):
    drawn.append(call().shape)
    return 0.08, 5

  monkeypatch.setattr(benchmark, 'measure', once)
  monkeypatch.setattr(benchmark, '_PICTURE_SIZES', (16, 32))
  rows = benchmark.benchmark_characters(1.0)
  assert len(rows) == 2 * 4
  assert rows[5]['what'] == 'character, cel, 32 x 32'
  assert rows[5]['note'] == '100 pictures/s'
  assert drawn[5] == (32, 32, 4)


@pytest.mark.slow
def test_pictures_are_measured_by_format_and_readers(monkeypatch):
  monkeypatch.setattr(benchmark_pictures, 'SIZES', (16,))
  monkeypatch.setattr(benchmark_pictures, 'READERS', ((0, 0),))
  monkeypatch.setattr(benchmark_pictures, 'DRAWERS', ((0, 1),))
  monkeypatch.setattr(benchmark_pictures, '_IDENTITIES', 2)
  monkeypatch.setattr(benchmark_pictures, '_FRAMES', 2)
  rows = benchmark_pictures.benchmark_pictures(0.0)
  assert [row['what'].partition(': ')[2] for row in rows] == [
    *['0 workers, 0 threads'] * 3,
    *['0 workers, 1 threads'] * 2,
  ]
  for row, name in zip(
    rows, ('png', 'webp', 'jpeg', 'drawn', 'drawn, with flow'), strict=True
  ):
    assert row['what'].startswith(f'pairs, batch 8, 16 x 16, {name}')
    assert row['note'].endswith(' pictures/s')
    assert row['calls'] == 5
