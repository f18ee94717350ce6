import os

import pytest

from data import workers


def look(number):
  if number < 0:
    raise KeyError(number)
  names = ('OPENBLAS_NUM_THREADS', 'OMP_NUM_THREADS', 'OF_A_TEST')
  return number, os.getpid(), [os.environ.get(name) for name in names]


def test_one_process_is_this_one(monkeypatch):
  monkeypatch.setenv('OMP_NUM_THREADS', '7')
  found = list(workers.map_in_processes(look, [3, 1], 1))
  assert [row[:2] for row in found] == [(3, os.getpid()), (1, os.getpid())]
  assert found[0][2][1] == '7'


def test_processes_keep_the_order_and_have_one_thread_each(monkeypatch):
  monkeypatch.setenv('OMP_NUM_THREADS', '7')
  monkeypatch.delenv('OF_A_TEST', raising=False)
  before = dict(os.environ)
  found = list(
    workers.map_in_processes(
      look, [5, 2, 9], 2, environment={'OF_A_TEST': 'yes'}
    )
  )
  assert [row[0] for row in found] == [5, 2, 9]
  assert os.getpid() not in {row[1] for row in found}
  assert [row[2] for row in found] == [['1', '1', 'yes']] * 3
  assert dict(os.environ) == before


def test_what_a_process_raises_arrives():
  found = workers.map_in_processes(look, [4, -1, 5], 2)
  assert next(found)[0] == 4
  with pytest.raises(KeyError, match='-1'):
    list(found)
