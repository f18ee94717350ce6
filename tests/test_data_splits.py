import pathlib

import pytest

from data import splits, voxceleb


def sources(**clips_by_split):
  """`train='aab'` is two clips of a and one of b."""
  return [
    voxceleb.ClipSource(
      None if split == 'flat' else split,
      identity,
      f'{identity}#{i}',
      pathlib.Path(split, identity),
    )
    for split, identities in clips_by_split.items()
    for i, identity in enumerate(identities)
  ]


def people(plan):
  return {
    split: sorted({clip.identity for clip in clips})
    for split, clips in plan.clips.items()
  }


def test_share_of_many_identities():
  names = [f'id{i:05d}' for i in range(5000)]
  picked = splits.validation_identities(names, 0.02)
  assert 70 < len(picked) < 130
  assert picked == splits.validation_identities(reversed(names), 0.02)


def test_growing_data_keeps_its_split():
  names = [f'id{i:05d}' for i in range(2000)]
  before = splits.validation_identities(names[:1000], 0.1)
  after = splits.validation_identities(names, 0.1)
  assert before == after & set(names[:1000])


@pytest.mark.parametrize('fraction', [1e-9, 0.5, 1 - 1e-9])
def test_one_at_least_on_each_side(fraction):
  picked = splits.validation_identities('ab', fraction)
  assert len(picked) == 1


def test_the_hash_never_changes():
  # A new hash would let training data leak into earlier validation sets.
  # `printf b | sha256sum` starts with 3e, c 2e, d 18, e 3f, f 25: all below
  # 40 (hex), a quarter of the range; a, g and h are above.
  wanted = {'b', 'c', 'd', 'e', 'f'}
  assert splits.validation_identities('abcdefgh', 0.25) == wanted


def test_none_for_one_identity_or_no_share():
  assert splits.validation_identities('a', 0.5) == set()
  assert splits.validation_identities('abc', 0) == set()


def test_given_splits_stay_and_validation_comes_from_train():
  plan = splits.plan_splits(sources(train='aabc', test='xy'), 0.02)
  found = people(plan)
  assert found['test'] == ['x', 'y']
  assert len(found['validation']) == 1
  assert sorted(found['train'] + found['validation']) == ['a', 'b', 'c']
  assert sum(map(len, plan.clips.values())) == 6
  assert not plan.dropped
  assert not plan.notes


def test_given_validation_is_kept():
  plan = splits.plan_splits(sources(train='abc', validation='v'), 0.5)
  assert people(plan) == {'train': ['a', 'b', 'c'], 'validation': ['v']}


def test_flat_trees_are_split_too():
  found = people(splits.plan_splits(sources(flat='abcdef'), 0.2))
  assert sorted(found) == ['train', 'validation']
  assert sorted(found['train'] + found['validation']) == list('abcdef')


def test_identity_in_train_and_test_is_only_tested():
  plan = splits.plan_splits(sources(train='abb', test='bc'), 0)
  assert people(plan) == {'train': ['a'], 'test': ['b', 'c']}
  assert [clip.name for clip in plan.dropped] == ['b#1', 'b#2']
  assert plan.notes[0].startswith('2 clips left out')


def test_notes_say_why_a_split_is_absent():
  plan = splits.plan_splits(sources(flat='aaa'), 0.5)
  assert people(plan) == {'train': ['a']}
  assert plan.notes == ['no validation split: there is only one identity']
  assert splits.plan_splits(sources(flat='ab'), 0).notes == [
    'no validation split: fraction is 0'
  ]
  plan = splits.plan_splits(sources(test='ab'), 0.5)
  assert people(plan) == {'test': ['a', 'b']}
  assert plan.notes[0].startswith('no train split')
