"""The arrows between packages, and what a default install must not need."""

import ast
import pathlib
import subprocess
import sys

import pytest

ROOT = pathlib.Path(__file__).resolve().parents[1]
LEAVES = ('flame_jax', 'generator', 'data', 'configs')
OURS = (*LEAVES, 'edtn_jax', 'launch', 'main', 'tests')

# Package -> packages of ours it may import besides itself.
ALLOWED = {
  **{leaf: set() for leaf in LEAVES},
  'edtn_jax': set(LEAVES),
  'launch': {*LEAVES, 'edtn_jax', 'main'},
  'main': {*LEAVES, 'edtn_jax'},
}
# Inside edtn_jax: room -> rooms it must not import.
FORBIDDEN_ROOMS = {
  'translation': {'tasks', 'training', 'evaluation'},
  'losses': {'tasks', 'training', 'evaluation'},
  'convert': {'tasks', 'training', 'evaluation'},
  'tasks': {'training', 'evaluation'},
  'pictures': {'training'},
  'signal': {'training'},
  'export': {'training'},
  'live': {'training'},
  'animation': {'tasks', 'training', 'evaluation'},
  'bundles': {'tasks', 'training', 'evaluation'},
  'network_choice': {'training'},
  'driver_choice': {'training'},
  'reenact': {'training'},
  'reenact_process': {'training'},
  'reenact_run': {'training'},
}
# What a task's `evaluate` adds up with: a room of its own below the tasks.
LOWER_ROOMS = ('edtn_jax.evaluation.metrics',)
FORBIDDEN_LIBRARIES = {
  'data': {'jax', 'flax', 'optax', 'orbax'},
  'flame_jax': {'flax', 'optax', 'orbax', 'grain', 'scipy'},
}


def _imports(path):
  tree = ast.parse(path.read_text())
  for node in ast.walk(tree):
    if isinstance(node, ast.Import):
      yield from (alias.name for alias in node.names)
    elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
      yield node.module
      yield from (f'{node.module}.{alias.name}' for alias in node.names)


def _files(package):
  if package == 'main':
    return [ROOT / 'main.py']
  return sorted((ROOT / package).rglob('*.py'))


@pytest.mark.parametrize('package', ALLOWED)
def test_packages_import_only_along_the_arrows(package):
  files = _files(package)
  assert files
  wrong = [
    f'{path.relative_to(ROOT)} imports {name}'
    for path in files
    for name in _imports(path)
    if (top := name.partition('.')[0]) in OURS
    and top != package
    and top not in ALLOWED[package]
  ]
  assert not wrong


@pytest.mark.parametrize('room', FORBIDDEN_ROOMS)
def test_rooms_of_edtn_jax_import_only_downwards(room):
  base = ROOT / 'edtn_jax' / room
  files = sorted(base.rglob('*.py')) or [base.with_suffix('.py')]
  wrong = [
    f'{path.relative_to(ROOT)} imports {name}'
    for path in files
    for name in _imports(path)
    if name.split('.')[0] == 'edtn_jax'
    and len(name.split('.')) > 1
    and name.split('.')[1] in FORBIDDEN_ROOMS[room]
    and not name.startswith(LOWER_ROOMS)
  ]
  assert not wrong


@pytest.mark.parametrize('package', FORBIDDEN_LIBRARIES)
def test_leaves_stay_light(package):
  wrong = [
    f'{path.relative_to(ROOT)} imports {name}'
    for path in _files(package)
    for name in _imports(path)
    if name.partition('.')[0] in FORBIDDEN_LIBRARIES[package]
  ]
  assert not wrong


def test_only_main_and_launch_read_flags():
  # grain's workers need parsed flags; the pipeline asks whether they are.
  asks = {pathlib.Path('data/streams.py')}
  readers = [
    path.relative_to(ROOT)
    for package in ('flame_jax', 'generator', 'data', 'edtn_jax', 'configs')
    for path in _files(package)
    if any(name.startswith('absl.flags') for name in _imports(path))
  ]
  assert set(readers) <= asks


def test_no_heavy_framework_is_imported():
  code = (
    'import sys; import edtn_jax.training, edtn_jax.reenact_run, '
    'edtn_jax.evaluation.run, edtn_jax.export, data.pipelines, data.prepare; '
    'print([m for m in ("tensorflow", "torch", "chumpy") if m in sys.modules])'
  )
  done = subprocess.run(
    [sys.executable, '-c', code], capture_output=True, text=True, cwd=ROOT
  )
  assert done.returncode == 0, done.stderr
  assert done.stdout.strip() == '[]'
