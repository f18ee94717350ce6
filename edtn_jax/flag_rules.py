"""Flags that have no meaning beside others: told, never silently ignored."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Collection, Iterator, Mapping
from typing import Any

from edtn_jax.config import ConfigError, Problem

# What `edtn reenact --pose` and `edtn prepare --fit_adapter` look at.
_OF_POSE = frozenset(
  {'output', 'pose', 'puppet', 'puppet_size', 'source', 'generator', 'crop'}
  | {'batch_size', 'bundle', 'engine'}
)
_OF_FIT = frozenset({'output', 'fit_adapter', 'face', 'landmarks'})
# With `edtn reenact --live` there are no files but the summary.
_NOT_LIVE = frozenset(
  {'frames', 'clip', 'split', 'audio', 'media', 'gif_every', 'gif_max_frames'}
  | {'batch_size'}
)
_OF_LIVE = frozenset({'host', 'port'})
_OF_ANIMATION = frozenset({'gif_every', 'gif_max_frames'})
_NETWORKS = frozenset({'workdir', 'generator'})


def changed(
  function: Callable[..., Any], values: Mapping[str, Any]
) -> dict[str, Any]:
  """Arguments that are not what they are by default.

  Args:
    function: whose arguments they are.
    values: argument to value; others are left out.

  Returns:
    Those that differ, in the order of the signature.
  """
  return {
    name: values[name]
    for name, parameter in inspect.signature(function).parameters.items()
    if name in values and values[name] != parameter.default
  }


def check_reenact(given: Mapping[str, Any]) -> None:
  """Refuses flags of `edtn reenact` that its way of working ignores.

  Args:
    given: what `changed` gives.

  Raises:
    ConfigError: with every such flag.
  """
  _refuse(_reenact_problems(given))


def check_prepare(given: Mapping[str, Any]) -> None:
  """Refuses flags of `edtn prepare` that `--fit_adapter` ignores.

  Args:
    given: what `changed` gives.

  Raises:
    ConfigError: with every such flag.
  """
  if given.get('fit_adapter'):
    _refuse(_without(given, given.keys() - _OF_FIT, 'fit_adapter'))


def _reenact_problems(given: Mapping[str, Any]) -> Iterator[Problem]:
  if given.get('pose'):
    yield from _without(given, given.keys() - _OF_POSE, 'pose')
  elif given.get('live'):
    yield from _without(given, _NOT_LIVE, 'live')
  else:
    yield from _with(given, _OF_LIVE, 'live', 'Add --live')
    if not {'gif', 'webp'} & set(given.get('media', 'gif').split(',')):
      yield from _with(given, _OF_ANIMATION, 'media=gif', 'Add gif to --media')
  if not given.get('live'):
    yield from _with_unless(
      given, 'source', {'batch_size'}, 'Give --source=PICTURE'
    )
  yield from _with_unless(given, 'puppet', {'puppet_size'}, 'Give --puppet=7')
  if given.get('bundle'):
    yield from _without(given, _NETWORKS, 'bundle')
  elif not _NETWORKS & given.keys():
    yield from _with(given, {'engine'}, 'bundle', 'Give --bundle=BUNDLE')
  if not given.get('pose'):
    yield from _with_unless(
      given, 'face', {'landmarks'}, 'Give --face=MODEL.pkl'
    )


def _with_unless(
  given: Mapping[str, Any], other: str, names: Collection[str], remedy: str
) -> Iterator[Problem]:
  if not given.get(other):
    yield from _with(given, names, other, remedy)


def _with(
  given: Mapping[str, Any], names: Collection[str], other: str, remedy: str
) -> Iterator[Problem]:
  for name in given:
    if name in names:
      rule = f'has a meaning only with --{other}'
      yield Problem(name, given[name], rule, f'{remedy}, or leave it out.')


def _without(
  given: Mapping[str, Any], names: Collection[str], other: str
) -> Iterator[Problem]:
  for name in given:
    if name in names:
      rule = f'has no meaning with --{other}'
      remedy = f'Leave it out, or leave out --{other}.'
      yield Problem(name, given[name], rule, remedy)


def _refuse(problems: Iterator[Problem]) -> None:
  found = list(problems)
  if found:
    raise ConfigError(found)
