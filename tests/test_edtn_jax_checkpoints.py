"""A save that fails is told, and costs nothing that was saved before."""

import os
import resource

import numpy as np
import pytest

from configs import edtn
from edtn_jax import checkpoints, workdir


@pytest.fixture
def little_room():
  """A limit for the size of files, instead of a full disk."""
  before = resource.getrlimit(resource.RLIMIT_FSIZE)

  def limit(size):
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))

  yield limit
  resource.setrlimit(resource.RLIMIT_FSIZE, before)


def save(manager, step):
  # Noise: what repeats would be compressed.
  values = np.random.default_rng(step).random((512, 256), np.float32)
  manager.save(
    step,
    {'params': {'model': {'w': values}}},
    data={},
    config=edtn.get_config('tiny'),
    metrics=None,
  )
  return values


def save_and_wait(manager, step):
  save(manager, step)
  manager.wait()


def test_a_full_disk_leaves_the_older_checkpoint(tmp_path, little_room):
  manager = checkpoints.CheckpointManager(tmp_path, best_metric='loss')
  first = save(manager, 4)
  manager.wait()
  little_room(1 << 16)
  with pytest.raises(
    checkpoints.CheckpointError,
    match=r'could not be written to .*those of steps \[4\] are kept',
  ):
    save_and_wait(manager, 8)
  little_room(1 << 40)
  assert checkpoints.finished_steps(tmp_path) == [4]
  found = checkpoints.load_checkpoint(tmp_path)
  np.testing.assert_array_equal(found.params['model']['w'], first)
  # The same command, once there is room.
  again = checkpoints.CheckpointManager(tmp_path, best_metric='loss')
  second = save(again, 8)
  again.close()
  found = checkpoints.load_checkpoint(tmp_path)
  assert found.step == 8
  np.testing.assert_array_equal(found.params['model']['w'], second)


def test_a_failed_save_is_noticed_without_waiting_for_the_next(
  tmp_path, monkeypatch
):
  manager = checkpoints.CheckpointManager(tmp_path, best_metric='loss')
  manager.check()
  manager.close()

  def failing():
    raise OSError(28, 'No space left on device')

  monkeypatch.setattr(manager._manager, 'check_for_errors', failing)
  with pytest.raises(
    checkpoints.CheckpointError, match=r'No space left.*there is none'
  ):
    manager.check()


def test_a_directory_without_rights_is_told_before_any_work(
  tmp_path, monkeypatch
):
  monkeypatch.setattr(os, 'access', lambda path, mode: False)
  with pytest.raises(
    workdir.WorkdirError, match=r'cannot write to .*read-only'
  ):
    workdir.check_directory(tmp_path / 'run')


def test_a_directory_that_cannot_be_made_is_told(tmp_path, monkeypatch):
  target = workdir.epath.Path(tmp_path / 'run')

  def refused(*args, **kwargs):
    raise PermissionError(13, 'Permission denied')

  monkeypatch.setattr(type(target), 'mkdir', refused)
  with pytest.raises(workdir.WorkdirError, match=r'Permission denied\. Choose'):
    workdir.make(target)
