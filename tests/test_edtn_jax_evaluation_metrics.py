"""Picture metrics: by hand, per part, and in any order of batches."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from edtn_jax.evaluation.metrics import PARTS, Means, picture_values

SIZE = 16
# Eyes: the upper half's middle; mouth: four pixels further down.
BOXES = jnp.asarray(
  [[[0.25, 0.25, 0.75, 0.5], [0.5, 0.625, 0.625, 0.75]]], jnp.float32
)


def compute(prediction, target, boxes=BOXES, mask=None):
  count = len(prediction)
  boxes = jnp.broadcast_to(boxes, (count, 2, 4))
  mask = jnp.ones(count) if mask is None else mask
  values = picture_values(prediction, target, boxes, mask)
  return Means.empty().update(values).compute()


def test_equal_pictures():
  one = jnp.asarray(np.random.default_rng(0).random((2, SIZE, SIZE, 3)))
  found = compute(one, one)
  assert len(found) == 3 * (1 + len(PARTS))
  for name, value in found.items():
    wanted = {'l1': 0.0, 'psnr': 100.0, 'ssim': 1.0}[name.split('_')[0]]
    assert value == pytest.approx(wanted, abs=1e-5), name


def test_an_error_is_where_it_is():
  target = jnp.zeros((1, SIZE, SIZE, 3))
  # The mouth's box is 2 x 2 of 256 pixels; one colour channel of three is
  # wrong by 0.3.
  prediction = target.at[:, 10:12, 8:10, 0].set(0.3)
  found = compute(prediction, target)
  assert found['l1_mouth'] == pytest.approx(0.1)
  assert found['l1'] == pytest.approx(0.1 * 4 / 256)
  assert found['l1_eyes'] == found['l1_rest'] == 0
  assert found['psnr_mouth'] == pytest.approx(-10 * np.log10(0.03))
  assert found['psnr_eyes'] == pytest.approx(100)
  assert found['ssim_mouth'] < found['ssim'] < 1


def test_psnr_of_a_constant_shift():
  target = jnp.full((1, SIZE, SIZE, 3), 0.5)
  found = compute(target + 0.1, target)
  assert found['psnr'] == pytest.approx(20, rel=1e-5)
  assert found['l1'] == pytest.approx(0.1, rel=1e-5)


def test_filling_is_not_counted():
  target = jnp.zeros((2, SIZE, SIZE, 3))
  prediction = target.at[0].add(0.1).at[1].set(jnp.nan)
  found = compute(prediction, target, mask=jnp.asarray([1.0, 0.0]))
  assert found['l1'] == pytest.approx(0.1)


def test_a_part_outside_the_picture_has_no_weight():
  target = jnp.zeros((1, SIZE, SIZE, 3))
  boxes = BOXES.at[0, 1].set(jnp.asarray([1.1, 0.2, 1.2, 0.3]))
  found = compute(target + 0.1, target, boxes)
  assert 'l1_mouth' not in found
  assert found['l1_eyes'] == pytest.approx(0.1)


def test_batches_in_any_order():
  rng = np.random.default_rng(0)
  one, other = jnp.asarray(rng.random((2, 6, SIZE, SIZE, 3)))
  boxes = jnp.broadcast_to(BOXES, (6, 2, 4))
  whole = compute(one, other)

  @jax.jit
  def state(rows):
    values = picture_values(
      one[rows], other[rows], boxes[rows], jnp.ones(len(rows))
    )
    return Means.empty().update(values)

  first, second = state(jnp.arange(4)), state(jnp.arange(4, 6))
  for merged in (first.merge(second), second.merge(first)):
    for name, value in merged.compute().items():
      assert value == pytest.approx(whole[name], rel=1e-5)


def test_nothing_evaluated_is_an_error():
  with pytest.raises(ValueError, match='the split is empty'):
    Means.empty().compute()
