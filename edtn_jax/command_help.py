"""Help texts of commands, made from their signatures and docstrings."""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable, Mapping, Sequence
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


def required_arguments(function: Command) -> list[str]:
  """Arguments without a default."""
  parameters = inspect.signature(function).parameters
  return [n for n, p in parameters.items() if p.default is p.empty]


def config_reason(error: Exception) -> str:
  """One line on why a config argument was refused."""
  # The last line is the reason; before it stand nested stack traces.
  reason = str(error).replace('\\n', ' ').strip().splitlines()[-1].strip()
  # What ml_collections raises for a key that is not in the config.
  unknown = isinstance(error, KeyError | AttributeError)
  return f'no such key: {reason}' if unknown else reason


def told(error: BaseException) -> str:
  """An error and its notes, such as where an unfinished result is kept."""
  interrupted = isinstance(error, KeyboardInterrupt)
  text = 'interrupted' if interrupted else str(error)
  return '\n  '.join([text, *getattr(error, '__notes__', ())])


def joined_config_words(words: Sequence[str]) -> list[str]:
  """Turns `--config.key value` into `--config.key=value`, as absl would."""
  joined, waiting = [], False
  for word in words:
    if waiting and not word.startswith('--'):
      joined[-1] += f'={word}'
      waiting = False
    else:
      joined.append(word)
      waiting = bool(re.fullmatch(r'--?config(\.[\w.]+)?', word))
  return joined


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
