"""One folder of compiled programs for a whole run of the tests.

Most of the time goes into compiling, and often it is the same program again:
runs that are resumed, commands in processes of their own.
"""

import atexit
import os
import shutil
import tempfile

VARIABLE = 'JAX_COMPILATION_CACHE_DIR'


def folder() -> str:
  """The folder; workers and commands inherit it, who made it removes it."""
  if VARIABLE not in os.environ:
    made = tempfile.mkdtemp(prefix='edtn_jax_tests_')
    atexit.register(shutil.rmtree, made, ignore_errors=True)
    return made
  return os.environ[VARIABLE]
