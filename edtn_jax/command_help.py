"""Help texts of commands, made from their signatures and docstrings."""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable, Mapping
from typing import Any

Command = Callable[..., Any]


def summary(function: Command) -> str:
  """First line of the docstring."""
  return inspect.getdoc(function).splitlines()[0]


def argument_texts(function: Command) -> dict[str, str]:
  """Texts of the `Args:` section of the docstring, by argument."""
  section = re.search(
    r'Args:\n(.*?)\n\n', f'{inspect.getdoc(function)}\n\n', re.S
  )
  entries = re.findall(r'^ {2}(\w+): (.*(?:\n {4}.*)*)', section[1], re.M)
  return {name: re.sub(r'\s+', ' ', text) for name, text in entries}


def usage(commands: Mapping[str, Command]) -> str:
  """One line a command."""
  lines = [f'  {name:10s} {summary(f)}' for name, f in commands.items()]
  return '\n'.join(
    [
      'EDTN in JAX: a human face drives an anime character.',
      '',
      'Usage: edtn <command> [flags]; `edtn <command> --help` lists the flags.',
      '',
      'Commands:',
      *lines,
    ]
  )


def command_help(
  name: str, function: Command, defaults: Mapping[str, Any]
) -> str:
  """All flags of one command.

  Args:
    name: of the command.
    function: what it runs.
    defaults: default values that the signature does not tell.

  Returns:
    The text.
  """
  lines = [f'edtn {name}: {summary(function)}', '', 'Flags:']
  texts = argument_texts(function)
  for flag, parameter in inspect.signature(function).parameters.items():
    default = defaults.get(flag, parameter.default)
    required = default is inspect.Parameter.empty
    shown = 'required' if required else f'default {default!r}'
    lines += [f'  --{flag}  ({shown})', f'      {texts[flag]}']
  lines += ['  --traceback  (default False)', '      show where an error arose']
  return '\n'.join(lines)
