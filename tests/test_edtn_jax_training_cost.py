"""What a step costs: operations by hand, peaks, the progress line."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from edtn_jax.training import cost, progress

X = np.zeros((2, 4, 4, 3), np.float32)
K = np.zeros((1, 1, 3, 5), np.float32)


def convolve(x, k, stride=1, gap=1, pad=0):
  return jax.lax.conv_general_dilated(
    x,
    k,
    (stride, stride),
    [(pad, pad)] * 2,
    lhs_dilation=(gap, gap),
    dimension_numbers=('NHWC', 'HWIO', 'NHWC'),
  )


def test_a_product_by_hand():
  a, b = np.zeros((2, 3, 4)), np.zeros((2, 4, 5))
  assert cost.count_flops(jnp.matmul, a, b) == 2 * (2 * 3 * 5) * 4


def test_convolutions_by_hand():
  assert cost.count_flops(convolve, X, K) == 2 * (2 * 16 * 5) * 3
  half = cost.count_flops(lambda x, k: convolve(x, k, stride=2), X, K)
  assert half == 2 * (2 * 4 * 5) * 3
  # One output of a 3x3 kernel on a 4x4 picture meets nothing but pixels: four
  # in a corner of the padded frame, six at a rim, nine inside.
  kernel = np.zeros((3, 3, 3, 5), np.float32)
  padded = cost.count_flops(lambda x, k: convolve(x, k, pad=1), X, kernel)
  assert padded == 2 * (2 * 5 * 3) * (4 * 4 + 8 * 6 + 4 * 9)


@pytest.mark.parametrize('options', [{}, {'stride': 2}, {'gap': 2}])
def test_a_training_step_costs_three_times_its_forward_pass(options):
  kernel = np.zeros((3, 3, 3, 5), np.float32)

  def forward(x, k):
    return convolve(x, k, pad=1, **options)

  def backward(x, k):
    return jax.grad(lambda *a: jnp.square(forward(*a)).sum(), (0, 1))(x, k)

  assert cost.count_flops(backward, X, kernel) == 3 * cost.count_flops(
    forward, X, kernel
  )


def test_loops_and_branches():
  eye = np.eye(4, dtype=np.float32)
  product = 2 * 4**3

  def repeated(x):
    return jax.lax.scan(lambda c, _: (c @ eye, None), x, length=7)[0]

  def chosen(x, late):
    return jax.lax.cond(late, lambda x: x @ x @ x, lambda x: x @ x, x)

  assert cost.count_flops(jax.jit(repeated), eye) == 7 * product
  assert cost.count_flops(chosen, eye, True) == 2 * product


def test_a_measured_step_computes_and_describes_itself():
  eye = np.eye(8, dtype=np.float32)
  step = cost.MeasuredStep(jax.jit(lambda x: x @ x), (2 * eye,))
  np.testing.assert_array_equal(step(3 * eye), 9 * eye)
  line = step.describe()
  assert step.flops == 1024
  assert line.startswith('1024 FLOP; ')
  assert ' MB on each device, ' in line


def test_peaks_go_by_the_longest_name():
  assert cost.peak_flops('NVIDIA H100 80GB HBM3') == 989e12
  assert cost.peak_flops('NVIDIA H100 PCIe') == 756e12
  assert cost.peak_flops('TPU v5 lite') == 197e12
  assert cost.peak_flops('NVIDIA L4') == 121e12
  assert cost.peak_flops('NVIDIA L40S') is None
  assert cost.peak_flops('cpu') is None


def test_units():
  assert cost.format_flops(1.234e12) == '1.23 TFLOP'
  assert cost.format_flops(5e6) == '5 MFLOP'
  assert cost.format_bytes(2.5e9) == '2.50 GB'
  assert cost.format_bytes(1e5) == '0.1 MB'


def test_share_of_the_peak_is_in_the_line_where_it_is_known(monkeypatch):
  clock = iter([0.0, 2.0, 2.0, 4.0, 4.0])
  monkeypatch.setattr(progress.time, 'perf_counter', lambda: next(clock))
  known = progress.Progress(num_steps=9, batch_size=1, peak_flops=100.0)
  known.add({'loss': 1.0}, 10.0)
  known.add({'loss': 1.0}, 30.0)
  values, line = known.flush(2)
  assert values['mfu'] == pytest.approx(40 / 2 / 100)
  assert ' | mfu 20.0 % | ' in line
  known.add({'loss': 1.0})
  values, line = known.flush(3)
  assert 'mfu' not in values
  assert 'mfu' not in line
