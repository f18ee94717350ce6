"""Configs: check them before any work, store them, read them back."""

from __future__ import annotations

import dataclasses
import json
import pathlib
from typing import Any

import ml_collections


@dataclasses.dataclass(frozen=True)
class Problem:
  """One thing wrong with a config or an argument.

  Attributes:
    key: the config key or flag.
    value: what it is.
    rule: what it has to be.
    remedy: what to type or change.
  """

  key: str
  value: Any
  rule: str
  remedy: str

  def __str__(self):
    return f'{self.key} = {self.value!r}: {self.rule}. {self.remedy}'


class ConfigError(ValueError):
  """A config or set of arguments that cannot be run; lists every problem."""

  def __init__(self, problems: list[Problem]):
    self.problems = list(problems)
    lines = '\n'.join(f'  - {p}' for p in problems)
    count = len(self.problems)
    super().__init__(f'{count} problem{"s" * (count != 1)}:\n{lines}')


class Checker:
  """Collects problems and raises them all at once."""

  def __init__(self, config: ml_collections.ConfigDict):
    self.config = config
    self.problems: list[Problem] = []

  def get(self, key: str) -> Any:
    """Value of a dotted key; a missing key is a problem and gives None."""
    node = self.config
    for part in key.split('.'):
      if not isinstance(node, ml_collections.ConfigDict) or part not in node:
        self.add(key, None, 'is missing', 'Take a config of this version.')
        return None
      node = node[part]
    return node

  def add(self, key: str, value: Any, rule: str, remedy: str) -> None:
    """Records a problem."""
    self.problems.append(Problem(key, value, rule, remedy))

  def one_of(self, key: str, allowed: tuple[str, ...]) -> None:
    """Requires one of the named values."""
    value = self.get(key)
    if value is not None and value not in allowed:
      self.add(
        key,
        value,
        f'must be one of {", ".join(allowed)}',
        f'Set --config.{key}={allowed[0]}.',
      )

  def at_least(
    self, key: str, low: float, *, high: float = float('inf')
  ) -> None:
    """Requires a number in [low, high]."""
    value = self.get(key)
    if value is None:
      return
    if not low <= value <= high:
      bound = f'at least {low}' if high == float('inf') else f'{low} to {high}'
      self.add(key, value, f'must be {bound}', f'Set --config.{key}=...')

  def file(self, key: str, *, words: tuple[str, ...] = ()) -> None:
    """Requires an existing file, or one of some reserved words."""
    value = self.get(key)
    if value is None or value in words:
      return
    if not pathlib.Path(value).is_file():
      hint = f' or use {", ".join(map(repr, words))}' if words else ''
      self.add(key, value, 'is not a file', f'Give an existing path{hint}.')

  def done(self) -> None:
    """Raises ConfigError if anything was recorded."""
    if self.problems:
      raise ConfigError(self.problems)


def to_json(config: ml_collections.ConfigDict) -> str:
  """Readable JSON of a config, stable in order."""
  return json.dumps(config.to_dict(), indent=2, sort_keys=True)


def from_json(text: str) -> ml_collections.ConfigDict:
  """Reads what `to_json` wrote; lists come back as tuples.

  Raises:
    ValueError: if the text is not a JSON object.
  """
  data = json.loads(text)
  if not isinstance(data, dict):
    raise ValueError('a config file holds one JSON object')
  return ml_collections.ConfigDict(_tuples(data))


def _tuples(node: Any) -> Any:
  if isinstance(node, dict):
    return {k: _tuples(v) for k, v in node.items()}
  if isinstance(node, list):
    return tuple(_tuples(v) for v in node)
  return node


def differences(
  one: ml_collections.ConfigDict, other: ml_collections.ConfigDict
) -> dict[str, tuple[Any, Any]]:
  """Dotted keys whose values differ, with both values."""
  a, b = _flat(one.to_dict()), _flat(other.to_dict())
  return {
    k: (a.get(k), b.get(k))
    for k in sorted(a.keys() | b.keys())
    if a.get(k) != b.get(k)
  }


def _flat(node: dict[str, Any], prefix: str = '') -> dict[str, Any]:
  flat = {}
  for key, value in node.items():
    if isinstance(value, dict):
      flat.update(_flat(value, f'{prefix}{key}.'))
    else:
      flat[prefix + key] = tuple(value) if isinstance(value, list) else value
  return flat
