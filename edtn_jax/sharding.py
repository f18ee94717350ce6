r"""How a run's arrays are spread over devices: a mesh, and a list of rules.

    config.sharding.mesh = {'data': -1, 'model': 1}
    config.sharding.rules = (('batch', 'rows(data)'), ('.*', 'replicate'))

The mesh names how many devices lie along each of its two axes; -1 takes what
is left. A rule is a pair: a regular expression and what to do with the arrays
whose whole name it matches. The first that matches counts. Names are `batch`
(all of it), `step`, `rng`, `params/<group>/<layer>/...`, and likewise
`ema_params/...` and `opt_state/...`. What to do is one of

    replicate       every device holds all of it
    rows(AXIS,...)  the first axis is split over these axes of the mesh; the
                    batch must be split so, and nothing else may be
    largest(AXIS)   the largest axis that divides is split; an array without
                    one stays whole
    last(AXIS)      the last axis is split, if it divides
    fsdp            largest(data): parameters are gathered where they are used

or several, joined by `+`, of which each takes an axis of its own:
`last(model)+fsdp`. So training with sharded state is

    --config.sharding.rules="(('batch','rows(data)'),('.*','fsdp'))"

and with a second mesh axis

    --config.sharding.mesh.model=2
    --config.sharding.rules="(('batch','rows(data)'),
      ('.*kernel','last(model)+fsdp'),('.*','replicate'))"
"""

from __future__ import annotations

import dataclasses
import math
import re
from collections.abc import Mapping, Sequence
from typing import Any

import jax
import ml_collections
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from edtn_jax.config import Checker, ConfigError, Problem
from edtn_jax.devices import AXES, DATA_AXIS

BATCH = 'batch'
# What configs of before this section had.
_DEFAULT_RULES = ((BATCH, f'rows({DATA_AXIS})'), ('.*', 'replicate'))
_FORMS = 'replicate, fsdp, largest(AXIS), last(AXIS) or rows(AXIS,...)'


@dataclasses.dataclass(frozen=True)
class Rule:
  """One line of `config.sharding.rules`.

  Attributes:
    pattern: of whole names.
    parts: `(kind, mesh axes)` each; none replicates.
  """

  pattern: str
  parts: tuple[tuple[str, tuple[str, ...]], ...]

  def spec(self, shape: Sequence[int], mesh: Mesh) -> PartitionSpec:
    """Which axes of an array of this shape are split over which of the mesh."""
    taken: dict[int, tuple[str, ...]] = {}
    for kind, axes in self.parts:
      ways = math.prod(mesh.shape[axis] for axis in axes)
      free = [i for i in range(len(shape)) if i not in taken]
      fitting = [i for i in free if shape[i] and shape[i] % ways == 0]
      if kind == 'last':
        fitting = [i for i in fitting if i == len(shape) - 1]
      if fitting:
        taken[max(fitting, key=lambda i: (shape[i], i))] = axes
    return PartitionSpec(*(taken.get(i) for i in range(len(shape))))


def parse_rule(pattern: str, text: str) -> Rule:
  """Reads one rule.

  Args:
    pattern: regular expression.
    text: see the module's docstring.

  Raises:
    ValueError: what is wrong with it.
  """
  try:
    re.compile(pattern)
  except re.error as error:
    raise ValueError(f'{pattern!r} is no regular expression: {error}') from None
  parts = []
  for word in text.replace(' ', '').split('+'):
    word = f'largest({DATA_AXIS})' if word == 'fsdp' else word
    match = re.fullmatch(r'(rows|largest|last)\(([\w,]+)\)', word)
    if match:
      parts.append((match[1], tuple(match[2].split(','))))
    elif word != 'replicate':
      raise ValueError(f'{word!r} is none of {_FORMS}')
  axes = [axis for _, axes in parts for axis in axes]
  for axis in axes:
    if axis not in AXES:
      raise ValueError(f'{axis!r} is no axis of the mesh ({", ".join(AXES)})')
  if len(set(axes)) < len(axes):
    raise ValueError('an axis of the mesh can split only one axis of an array')
  return Rule(pattern, tuple(parts))


def rules_of(config: ml_collections.ConfigDict) -> tuple[Rule, ...]:
  """The rules of a valid config."""
  return tuple(parse_rule(*pair) for pair in _raw_rules(config))


def batch_axes(rules: Sequence[Rule]) -> tuple[str, ...]:
  """The axes of the mesh that a batch's rows are split over."""
  rule = _first(rules, BATCH)
  return rule.parts[0][1] if rule else ()


def mesh_shape(
  config: ml_collections.ConfigDict, num_devices: int
) -> dict[str, int]:
  """Devices along each axis of the mesh.

  Raises:
    ValueError: if the devices cannot be laid out so.
  """
  wanted = {DATA_AXIS: -1, 'model': 1, **_raw_mesh(config)}
  unknown = sorted(set(wanted) - set(AXES))
  if unknown:
    raise ValueError(f'{unknown} are no axes; the mesh has {", ".join(AXES)}')
  if any(
    not isinstance(n, int) or (n < 1 and n != -1) for n in wanted.values()
  ):
    raise ValueError('every axis has 1 or more devices, or -1 for the rest')
  free = [axis for axis, size in wanted.items() if size == -1]
  if len(free) > 1:
    raise ValueError('only one axis can be -1')
  fixed = math.prod(size for size in wanted.values() if size != -1)
  if free and num_devices % fixed == 0:
    wanted[free[0]] = num_devices // fixed
  if math.prod(wanted.values()) != num_devices:
    raise ValueError(f'must divide the {num_devices} devices, without rest')
  return {axis: wanted[axis] for axis in AXES}


def validate(
  check: Checker, num_devices: int, devices_per_process: int | None = None
) -> int:
  """Checks the section `sharding` of a config, which may be absent.

  Args:
    check: takes the problems.
    num_devices: devices of the run, over all processes.
    devices_per_process: if there are several.

  Returns:
    Over how many devices the rows of a batch are split.
  """
  rules = _validate_rules(check)
  try:
    shape = mesh_shape(check.config, num_devices)
  except ValueError as error:
    check.add(
      'sharding.mesh',
      dict(_raw_mesh(check.config)),
      str(error),
      'Set --config.sharding.mesh.data=-1 and --config.sharding.mesh.model '
      'to a divisor of the number of devices.',
    )
    return num_devices
  axes = batch_axes(rules) if rules else (DATA_AXIS,)
  alone = 'model' in axes or not devices_per_process
  if not alone and devices_per_process % shape['model']:
    check.add(
      'sharding.mesh.model',
      shape['model'],
      f'must divide the {devices_per_process} devices of each process, or '
      'processes would have to read the same rows',
      "Set a divisor, or let the batch's rule be rows(data,model).",
    )
  return math.prod(shape[axis] for axis in axes)


def _validate_rules(check: Checker) -> tuple[Rule, ...]:
  rules, remedy = [], f'Rules are pairs of a pattern and {_FORMS}.'
  for pair in _raw_rules(check.config):
    try:
      rule = parse_rule(*pair)
    except (AttributeError, TypeError, ValueError) as error:
      check.add('sharding.rules', pair, str(error), remedy)
      continue
    rules.append(rule)
    splits_rows = [kind for kind, _ in rule.parts] == ['rows']
    if rule is _first(rules, BATCH) and not splits_rows:
      check.add(
        'sharding.rules',
        pair,
        'is the first that matches the batch, whose rows must be split',
        f'Put {_DEFAULT_RULES[0]} before it.',
      )
    elif rule is not _first(rules, BATCH) and any(
      kind == 'rows' for kind, _ in rule.parts
    ):
      check.add('sharding.rules', pair, 'rows(...) is for the batch', remedy)
  bad = len(rules) < len(_raw_rules(check.config))
  if not bad and _first(rules, BATCH) is None:
    check.add(
      'sharding.rules',
      _raw_rules(check.config),
      'none matches the batch',
      f'Put {_DEFAULT_RULES[0]} first.',
    )
  return () if bad or check.problems else tuple(rules)


def state_shardings(state: Any, rules: Sequence[Rule], mesh: Mesh) -> Any:
  """Where each array of a training state lies.

  Args:
    state: pytree of arrays or `jax.ShapeDtypeStruct`.
    rules: see the module's docstring.
    mesh: devices.

  Returns:
    The tree with a `NamedSharding` for every array.

  Raises:
    ConfigError: with every array that no rule matches, and every rule that
      is the first to match nothing.
  """
  used = {_first(rules, BATCH)}
  missed = []

  def sharding(path, leaf):
    name = jax.tree_util.keystr(path, simple=True, separator='/')
    rule = _first(rules, name)
    used.add(rule)
    if rule is None:
      missed.append(name)
      return None
    return NamedSharding(mesh, rule.spec(leaf.shape, mesh))

  shardings = jax.tree_util.tree_map_with_path(sharding, state)
  problems = [
    Problem(
      'sharding.rules',
      rule.pattern,
      'matches no array that an earlier rule does not match',
      f'Names are such as {_examples(state)}; take the rule out or mend it.',
    )
    for rule in rules
    if rule not in used
  ]
  if missed:
    problems.append(
      Problem(
        'sharding.rules',
        ', '.join(missed[:3]) + (', ...' if len(missed) > 3 else ''),
        f'{len(missed)} array(s) are matched by no rule',
        f'Put {_DEFAULT_RULES[-1]} last.',
      )
    )
  if problems:
    raise ConfigError(problems)
  return shardings


def gathered(shardings: Any) -> Any:
  """The shardings without a split over `data`: what computations use."""

  def without_data(sharding):
    spec = (
      None if part and DATA_AXIS in part else part for part in sharding.spec
    )
    return NamedSharding(sharding.mesh, PartitionSpec(*spec))

  return jax.tree.map(without_data, shardings)


def is_sharded(shardings: Any) -> bool:
  """Whether any array is split."""
  return any(not s.is_fully_replicated for s in jax.tree.leaves(shardings))


def _first(rules: Sequence[Rule], name: str) -> Rule | None:
  fitting = (rule for rule in rules if re.fullmatch(rule.pattern, name))
  return next(fitting, None)


def _examples(state: Any) -> str:
  paths = jax.tree_util.tree_leaves_with_path(state)
  names = [
    jax.tree_util.keystr(path, simple=True, separator='/') for path, _ in paths
  ]
  return ', '.join(names[:: max(1, len(names) // 3)][:4])


def _raw_rules(config: ml_collections.ConfigDict) -> tuple[Any, ...]:
  return config.get('sharding', {}).get('rules', _DEFAULT_RULES)


def _raw_mesh(config: ml_collections.ConfigDict) -> Mapping[str, int]:
  return config.get('sharding', {}).get('mesh', {})
