"""Bundles that are given without saying what they are of."""

from __future__ import annotations

from edtn_jax import bundles
from edtn_jax.config import ConfigError, Problem

# Task of a bundle, and the flag that takes a bundle of it.
_FLAGS = {'expression_translation': 'workdir', 'anime_generator': 'generator'}


def split_bundles(text: str, *, source: str, pose: str) -> dict[str, str]:
  """Tells the bundle of a translator from that of a generator.

  Args:
    text: one or two paths, comma-separated.
    source: picture that a generator moves, or ''.
    pose: what is drawn instead of a translator's poses, or ''.

  Returns:
    Paths by `workdir` and `generator`; '' where no bundle is of that task.

  Raises:
    ConfigError: if a path is of something else, two are of one task, or there
      is nothing that one could do; with all problems.
    BundleError: if a bundle is damaged.
  """
  found = dict.fromkeys(_FLAGS.values(), '')
  problems = []

  def add_problem(path, rule, remedy):
    problems.append(Problem('bundle', path, rule, remedy))

  for path in filter(None, text.split(',')):
    if not bundles.is_bundle(path):
      remedy = 'Give a run by --workdir or --generator, or edtn export it.'
      add_problem(path, 'is no bundle', remedy)
      continue
    task = bundles.read_manifest(path)['task']
    flag = _FLAGS.get(task)
    if flag is None:
      rule = f'is of the task {task!r}'
      add_problem(path, rule, f'Wanted: {", ".join(_FLAGS)}.')
    elif found[flag]:
      rule = f'is of the same task as {found[flag]}'
      add_problem(path, rule, 'Leave out one of them.')
    else:
      found[flag] = path
  if found['generator'] and not source:
    rule = 'is a generator, which has nothing to move without --source'
    add_problem(found['generator'], rule, 'Give --source=PICTURE.')
  if found['workdir'] and pose:
    rule = 'is a translator, which has no meaning with --pose'
    remedy = 'Leave it out, or leave out --pose.'
    add_problem(found['workdir'], rule, remedy)
  if problems:
    raise ConfigError(problems)
  return found
