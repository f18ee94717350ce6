"""Waits for what other processes do."""

from __future__ import annotations

import time


def wait_for(condition):
  """Returns when a condition holds; fails after 30 s."""
  for _ in range(600):
    if condition():
      return
    time.sleep(0.05)
  raise AssertionError('waited for 30 s')
