"""Benchmarks: that they run and what they say; times are not tested."""

import numpy as np
import pytest

from launch import benchmark, benchmark_pictures, benchmark_reenact


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


def test_stages_count_their_own_time_only(monkeypatch):
  now = [0.0]
  monkeypatch.setattr(benchmark_reenact.time, 'perf_counter', lambda: now[0])
  clock = benchmark_reenact.StageClock()

  def decode(count):
    for i in range(count):
      now[0] += 0.5
      yield i

  def draw(frames):
    for _ in clock.timed_each('decode', decode)(len(frames)):
      now[0] += 1.0

  clock.timed('drawing', draw, len)([1, 2])
  clock.timed('drawing', draw, len)([3, 4])
  with clock.stage('encode', frames=0):
    now[0] += 0.25
  clock.timed('encode', lambda: None)()
  assert sum(spent for spent, _ in clock.calls['drawing']) == 4
  assert sum(spent for spent, _ in clock.calls['decode']) == 2
  assert clock.seconds() == 6.25 == now[0]
  rows = {row['what']: row for row in clock.rows(4)}
  assert rows['reenact: drawing']['milliseconds'] == 1000
  assert rows['reenact: drawing']['note'] == 'p50 1,000.00 ms, p95 1,000.00 ms'
  assert rows['reenact: encode']['milliseconds'] == 62.5
  assert rows['reenact: encode']['note'] == 'p50 0.00 ms, p95 0.00 ms'


@pytest.mark.parametrize(
  ('total', 'text'),
  [
    (9.6, 'the sum is -4.0 % off, within 5 %'),
    (10.4, 'the sum is +4.0 % off, within 5 %'),
    (9.4, 'the sum is -6.0 % off, NOT within 5 %'),
  ],
)
def test_sum_and_wall_time_are_compared(total, text):
  rows = benchmark_reenact._walls(100, total, 10.0, 5.0, 2)
  assert [row['milliseconds'] for row in rows] == pytest.approx(
    [10 * total, 100.0, 50.0]
  )
  assert rows[1]['note'] == text
  assert rows[2]['note'] == '20.0 frames/s, 2.00 x as fast'


def test_methods_are_timed_and_given_back(tmp_path):
  before = benchmark_reenact.VideoWriter.add
  clock = benchmark_reenact.StageClock()
  with (
    benchmark_reenact._measured(clock),
    benchmark_reenact.open_video_writer(tmp_path / 'frames', 25) as writer,
  ):
    for _ in range(3):
      writer.add(np.zeros((4, 4, 3), np.uint8))
  with benchmark_reenact._measured(clock):
    reader = benchmark_reenact.open_video(tmp_path / 'frames')
    assert len(list(reader)) == 3
  assert [frames for _, frames in clock.calls['encode']] == [1, 1, 1, 0]
  # The end is looked for as well.
  assert len(clock.calls['decode']) == 4
  assert benchmark_reenact.VideoWriter.add is before
