"""The one setting that says which process of how many this is."""

from __future__ import annotations

import dataclasses
import re

from edtn_jax.config import ConfigError, Problem

# Looked at where no flag is given, so that a launcher can set it once.
VARIABLE = 'EDTN_PROCESSES'
FORM = '--processes=HOST:PORT,COUNT,NUMBER'
AUTO = 'auto'


@dataclasses.dataclass(frozen=True)
class Processes:
  """Which process this is.

  Attributes:
    coordinator: `host:port` of process 0; '' lets JAX find it.
    count: number of processes; None lets JAX find it.
    number: which of them this one is, from 0; None lets JAX find it.
    heartbeat: seconds of silence after which a process counts as dead.
    join: seconds to wait for the others at the start.
  """

  coordinator: str = ''
  count: int | None = None
  number: int | None = None
  heartbeat: int = 100
  join: int = 300


def parse(text: str) -> Processes | None:
  """Reads a setting.

  Args:
    text: `HOST:PORT,COUNT,NUMBER` (address of process 0, how many processes,
      which of them this is, from 0), or `auto` (ask SLURM, a TPU slice, Open
      MPI or Kubernetes); either may be followed by `,heartbeat=SECONDS` and
      `,join=SECONDS`. Or '', for a process of its own.

  Returns:
    The setting, or None for ''.

  Raises:
    ConfigError: with everything that is wrong with it.

  Example:
    >>> parse('10.0.0.1:1234,8,3').number
    3
  """
  if not text:
    return None
  problems: list[Problem] = []

  def wrong(value, rule):
    problems.append(
      Problem('processes', value, rule, f'Give {FORM} or --processes={AUTO}.')
    )

  words = [word.strip() for word in text.split(',')]
  named = [word for word in words if '=' in word]
  plain = [word for word in words if '=' not in word]
  values = _seconds(named, wrong)
  if plain != [AUTO]:
    values |= _address(text, plain, wrong)
  if problems:
    raise ConfigError(problems)
  return Processes(**values)


def _seconds(words: list[str], wrong) -> dict[str, int]:
  values = {}
  for word in words:
    match = re.fullmatch(r'(heartbeat|join)=([1-9]\d*)', word)
    if match:
      values[match[1]] = int(match[2])
    else:
      wrong(word, 'must be heartbeat=SECONDS or join=SECONDS, whole, above 0')
  return values


def _address(text: str, words: list[str], wrong) -> dict[str, str | int]:
  if len(words) != 3:
    wrong(text, 'must have three parts')
    return {}
  address, count, number = words
  port = re.fullmatch(r'.+:(\d+)', address)
  if not port or not 0 < int(port[1]) < 1 << 16:
    wrong(address, 'must be HOST:PORT, the port 1 to 65535')
  if not re.fullmatch(r'[1-9]\d*', count):
    wrong(count, 'the count must be a whole number above 0')
  elif not number.isdecimal() or int(number) >= int(count):
    wrong(number, f'the number must be 0 to {int(count) - 1}')
  else:
    return {
      'coordinator': address,
      'count': int(count),
      'number': int(number),
    }
  return {}
