"""Programs of `launch` can be imported beside each other."""

import importlib
import pkgutil

from absl import flags

import launch


def test_importing_defines_no_flags():
  """Two programs may both have an `--output`; only what runs defines it."""
  names = [
    found.name for found in pkgutil.walk_packages(launch.__path__, 'launch.')
  ]
  assert {'launch.check_characters', 'launch.check_encoder'} <= set(names)
  for name in names:
    importlib.import_module(name)
  defined = flags.FLAGS.flags_by_module_dict()
  assert not [name for name in defined if name.startswith('launch')]
