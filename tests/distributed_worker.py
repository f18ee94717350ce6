"""One of two processes that train together; see test_edtn_jax_distributed.

    python -m tests.distributed_worker HOST:PORT,COUNT,NUMBER FOLDER DATASET

One pair of processes goes through everything, because starting it is most of
the work. What a process saw lies in `FOLDER/<number>.json` and `.npz`.
"""

from __future__ import annotations

import json
import os
import pathlib
import signal
import sys

import jax
import numpy as np
from absl import flags, logging

from configs import anime_generator, edtn
from edtn_jax import distributed, logs
from edtn_jax.config import ConfigError
from edtn_jax.tasks import build_data, build_task, registry
from edtn_jax.training import train_and_evaluate
from tests import toy_task

FSDP = (('batch', 'rows(data)'), ('.*', 'fsdp'))
PREEMPTED_AT = 3


def memory_config():
  """Codes in memory; state whole on every device."""
  config = edtn.get_config('tiny')
  config.train.num_steps = 6
  config.train.eval_every = 3
  config.train.pictures = True
  return config


def stream_config(dataset):
  """Codes from disk; state spread over the devices."""
  config = edtn.get_config('tiny')
  config.data.source = 'dataset'
  config.data.path = str(dataset)
  config.data.pipeline = 'stream'
  config.train.num_steps = 4
  config.train.ema_decay = 0.9
  config.sharding.rules = FSDP
  return config


def pairs_config():
  """Characters that are drawn while training; one stage, few numbers."""
  config = anime_generator.get_config('tiny')
  config.data.pipeline = 'stream'
  config.data.num_threads = 0
  config.data.validation_pairs = 6
  config.loss.edit_from_step = 0
  config.loss.exchange = False
  config.train.batch_size = 4
  config.train.num_steps = 2
  config.train.log_every = 1
  return config


def toy_config():
  """A line that is fitted to points."""
  config = edtn.get_config('tiny')
  config.task = 'toy'
  config.data.bad_step = -1
  config.train.num_steps = 1000
  config.train.checkpoint_every = 1000
  return config


def flat(tree):
  """Arrays by name."""
  leaves = jax.tree_util.tree_leaves_with_path(tree)
  return {
    jax.tree_util.keystr(path, simple=True, separator='/'): leaf
    for path, leaf in leaves
  }


def _error(config, workdir):
  try:
    train_and_evaluate(config, workdir)
  except ConfigError as error:
    return str(error)
  return ''


def _interrupted(folder):
  """Process 1 gets a signal; both save."""
  batches = toy_task.ToyData.batches

  def interrupting(self, step):
    for i, batch in enumerate(batches(self, step), step):
      if i == PREEMPTED_AT and jax.process_index() == 1:
        os.kill(os.getpid(), signal.SIGTERM)
      yield batch

  toy_task.ToyData.batches = interrupting
  return train_and_evaluate(toy_config(), folder / 'preempted')


def main(setting, folder, dataset):
  """Goes through everything."""
  flags.FLAGS.mark_as_parsed()
  logging.use_absl_handler()
  logs.set_up()
  registry._MODULES['toy'] = 'tests.toy_task'
  folder = pathlib.Path(folder)
  with distributed.joined(setting):
    number = jax.process_index()
    train_and_evaluate(memory_config(), folder / 'memory')
    train_and_evaluate(pairs_config(), folder / 'pairs')
    spread = train_and_evaluate(stream_config(dataset), folder / 'stream')
    arrays = {
      name: np.asarray(
        jax.experimental.multihost_utils.process_allgather(x, tiled=True)
      )
      for name, x in flat(spread.state).items()
    }
    config = stream_config(dataset)
    data = build_data(config, build_task(config), None)
    with data.batches(0) as stream:
      arrays['rows'] = next(stream)['human']['expression']
    uneven, other = memory_config(), memory_config()
    uneven.train.batch_size = 6
    other.loss.vertex_weight = 1.0 + number
    seen = {
      'uneven': _error(uneven, folder / 'never'),
      'other': _error(other, folder / 'never'),
    }
    result = _interrupted(folder)
    seen |= {'preempted': result.preempted, 'step': result.step}
  np.savez(folder / f'{number}.npz', **arrays)
  (folder / f'{number}.json').write_text(json.dumps(seen))


if __name__ == '__main__':
  main(*sys.argv[1:])
