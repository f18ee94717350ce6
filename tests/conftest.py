"""Shared fixtures: eight virtual CPU devices, parsed flags, shared data."""

import os
import pathlib

from tests import shared_programs

# Before the first import of jax: tests check 1 device against 8.
os.environ.setdefault('JAX_NUM_CPU_DEVICES', '8')
os.environ.setdefault('JAX_PLATFORMS', 'cpu')
# Parallel test workers that each start BLAS threads wait for one another.
os.environ.setdefault('OPENBLAS_NUM_THREADS', '1')
os.environ[shared_programs.VARIABLE] = shared_programs.folder()
os.environ.setdefault('JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS', '0.2')

import pytest
from absl import flags

ROOT = pathlib.Path(__file__).resolve().parents[1]
SHARED = ROOT.parent / 'shared'


def pytest_configure():
  # grain's worker processes read absl flags; pytest never parses them.
  flags.FLAGS.mark_as_parsed()


@pytest.fixture(scope='session')
def shared_dir() -> pathlib.Path:
  """Reference data beside the checkout; tests skip by name without it."""
  if not SHARED.is_dir():
    pytest.skip(f'no reference data at {SHARED}')
  return SHARED
