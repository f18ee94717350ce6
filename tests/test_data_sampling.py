import pickle
import threading

import numpy as np
import pytest

from data import sampling

OFFSETS = np.array([0, 3, 4, 11, 13, 20])


def identity_of(frames):
  return np.searchsorted(OFFSETS, frames, side='right') - 1


def test_every_pass_visits_every_identity_once():
  sampler = sampling.IdentitySampler(OFFSETS, seed=7)
  frames = sampler.frame_index(np.arange(5 * 40)).reshape(40, 5)
  assert frames.min() >= 0
  assert frames.max() < 20
  identities = identity_of(frames)
  np.testing.assert_array_equal(
    np.sort(identities, axis=1), np.tile(np.arange(5), (40, 1))
  )
  # Passes are in different orders, and all frames come up.
  assert len(np.unique(identities, axis=0)) > 20
  assert len(np.unique(frames)) == 20


def test_frames_and_orders_are_uniform():
  sampler = sampling.IdentitySampler(OFFSETS, seed=0)
  frames = sampler.frame_index(np.arange(5 * 4000)).reshape(4000, 5)
  counts = np.bincount(frames.ravel(), minlength=20)
  lengths = np.diff(OFFSETS)
  expected = 4000 / np.repeat(lengths, lengths)
  # Binomial: five standard deviations.
  assert (np.abs(counts - expected) <= 5 * np.sqrt(expected)).all()
  first = np.bincount(identity_of(frames[:, 0]), minlength=5)
  assert (np.abs(first - 800) < 5 * np.sqrt(640)).all()


def test_random_access_in_any_order():
  forward = sampling.IdentitySampler(OFFSETS, seed=3)
  expected = forward.frame_index(np.arange(100))
  backward = sampling.IdentitySampler(OFFSETS, seed=3)
  order = np.random.default_rng(0).permutation(100)
  np.testing.assert_array_equal(backward.frame_index(order), expected[order])
  assert [backward.frame_at(p) for p in range(100)] == expected.tolist()
  far = np.array([10**15, 3])
  assert forward.frame_index(far)[1] == expected[3]


def test_the_order_never_changes():
  # A resumed run must go on as it began, also under a later numpy.
  sampler = sampling.IdentitySampler(OFFSETS, seed=42)
  assert sampler.frame_index(np.arange(10)).tolist() == [
    *(1, 3, 18, 7, 12),
    *(12, 18, 4, 2, 3),
  ]


def test_seeds_differ_and_repeat():
  positions = np.arange(50)
  one, again, other = (
    sampling.IdentitySampler(OFFSETS, seed).frame_index(positions)
    for seed in (1, 1, 2)
  )
  np.testing.assert_array_equal(one, again)
  assert (one != other).any()


def test_threads_and_pickles_share_nothing():
  sampler = sampling.IdentitySampler(OFFSETS, seed=5)
  expected = sampler.frame_index(np.arange(500))
  found = {}

  def read(part):
    copy = pickle.loads(pickle.dumps(sampler)) if part == 0 else sampler
    found[part] = [copy.frame_at(p) for p in range(part, 500, 3)]

  threads = [threading.Thread(target=read, args=(p,)) for p in range(3)]
  for thread in threads:
    thread.start()
  for thread in threads:
    thread.join()
  for part in range(3):
    assert found[part] == expected[part::3].tolist()


def test_bad_arguments():
  with pytest.raises(ValueError) as error:
    sampling.IdentitySampler(np.array([0, 3, 3]), seed=-1)
  assert 'at least one frame an identity' in str(error.value)
  assert 'seed is -1' in str(error.value)
  with pytest.raises(ValueError, match='must rise'):
    sampling.IdentitySampler(np.array([0]), seed=0)
