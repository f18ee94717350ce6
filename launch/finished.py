"""Exits with 0 if a run has taken its last step, else with 75 (try again).

    python -m launch.finished --workdir=s3://bucket/run

A bucket that cannot be asked is an error: 1.

A training that a signal ends saves and exits with 0, as one that is over does;
a scheduler has to tell them apart.
"""

from __future__ import annotations

import os
import sys

from absl import app, flags
from etils import epath

from data import remote
from edtn_jax import workdir as workdir_lib


def is_finished(workdir: str) -> bool:
  """Whether a run's result is there; in a bucket it is the last to come.

  Raises:
    FileNotFoundError: if there is no such bucket.
    RemotePathError: if it cannot be reached.
  """
  if remote.is_remote(workdir):
    return bool(remote.objects(f'{workdir.rstrip("/")}/{workdir_lib.RESULT}'))
  return (epath.Path(workdir) / workdir_lib.RESULT).exists()


def main(argv: list[str]) -> None:
  """Looks for the result."""
  del argv
  try:
    finished = is_finished(flags.FLAGS.workdir)
  except (remote.RemotePathError, FileNotFoundError) as error:
    sys.exit(f'launch.finished: {error}')
  sys.exit(0 if finished else os.EX_TEMPFAIL)


if __name__ == '__main__':
  flags.DEFINE_string('workdir', None, 'of the training', required=True)
  app.run(main)
