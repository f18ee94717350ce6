"""EDTN in JAX: a human face drives an anime character.

Usage: edtn <command> [flags]; `edtn <command> --help` lists the flags.

Only wiring: every command is a function of `edtn_jax.commands`, its arguments
are the flags and its docstring is their help.
"""

from __future__ import annotations

import inspect
import pathlib
import re
import sys
from collections.abc import Callable
from typing import Any

from absl import app, flags
from ml_collections import config_flags

from edtn_jax import command_help, logs, places
from edtn_jax.commands import COMMANDS

_DEFAULTS = {'config': 'configs/edtn.py'}
_DEFINE = {
  'bool': flags.DEFINE_bool,
  'float': flags.DEFINE_float,
  'int': flags.DEFINE_integer,
  'str': flags.DEFINE_string,
}


def _define_config(argv: list[str], values: flags.FlagValues) -> None:
  config_flags.DEFINE_config_file(
    'config',
    str(_installed(_DEFAULTS['config'])),
    flag_values=values,
    lock_config=True,
    sys_argv=argv,
  )


def _installed(path: str) -> str:
  """A config file of the project, wherever the command is run."""
  file = path.partition(':')[0]
  beside = pathlib.Path(__file__).resolve().parent
  found = not pathlib.Path(file).exists() and (beside / file).exists()
  return str(beside / path) if found else path


def _with_installed_config(argv: list[str]) -> list[str]:
  match = re.compile(r'(--?config=)(.+)').fullmatch
  words = command_help.joined_config_words(argv)
  return [m[1] + _installed(m[2]) if (m := match(w)) else w for w in words]


def _define_flags(function: Callable[..., Any], argv: list[str]) -> None:
  texts = command_help.argument_texts(function)
  for name, entry in inspect.signature(function).parameters.items():
    if name == 'config':
      _define_config(argv, flags.FLAGS)
      continue
    default = None if entry.default is entry.empty else entry.default
    _DEFINE[entry.annotation](name, default, texts[name])
  flags.DEFINE_bool('traceback', False, 'show where an error arose')


def _config_problems(argv: list[str]) -> list[str]:
  """What is wrong with each `--config...` argument, tried one by one."""
  files = [a for a in argv if re.match(r'--?config(=|$)', a)]
  overrides = [a for a in argv if re.match(r'--?config\.', a)]
  problems = []
  for arguments in [files, *([*files, a] for a in overrides)]:
    values, tried = flags.FlagValues(), [argv[0], *arguments]
    try:
      _define_config(tried, values)
      values(tried)
      list(values.config)  # a config file's error waits for the first look
    except Exception as error:  # whatever a config file or override raises
      reason = command_help.config_reason(error)
      problems.append(f'{" ".join(arguments[-1:])}: {reason}')
      if arguments is files:
        break
  return problems


def _parse(command: str, argv: list[str]) -> list[str]:
  try:
    words = flags.FLAGS(argv)[1:]
  except flags.Error as error:
    _fail(command, [str(error)])
  problems = [f'{word!r} is no flag' for word in words]
  if not problems:
    required = command_help.required_arguments(COMMANDS[command])
    missing = [n for n in required if flags.FLAGS[n].value in (None, '')]
    problems = [f'--{name}=... is required' for name in missing]
  if problems:
    _fail(command, problems)
  return argv[:1]


def _fail(command: str, problems: list[str]) -> None:
  text = '\n  '.join([*problems, f'See: edtn {command} --help'])
  print(f'edtn {command}: {text}', file=sys.stderr)
  sys.exit(2)


def _run(command: str) -> int:
  logs.set_up()
  names = inspect.signature(COMMANDS[command]).parameters
  given = {n: flags.FLAGS[n].value for n in names}
  try:
    return places.call(COMMANDS[command], given)
  except (ValueError, OSError, RuntimeError) as error:
    if flags.FLAGS.traceback:
      raise
    print(f'edtn {command}: {command_help.told(error)}', file=sys.stderr)
    return 2
  except KeyboardInterrupt as error:
    print(f'edtn {command}: {command_help.told(error)}', file=sys.stderr)
    return 130


def console_main() -> None:
  """Entry point of `main.py` and of the console script `edtn`."""
  program, *words = _with_installed_config(sys.argv)
  command = words[0] if words else '--help'
  if command in ('-h', '--help', 'help'):
    print(command_help.usage(COMMANDS))
  elif command not in COMMANDS:
    usage = command_help.usage(COMMANDS)
    print(f'edtn: no command {command!r}\n\n{usage}', file=sys.stderr)
    sys.exit(2)
  elif {'-h', '--help'} & set(words):
    print(command_help.command_help(command, COMMANDS[command], _DEFAULTS))
  else:
    argv = [program, *words[1:]]
    problems = _config_problems(argv) if command == 'train' else []
    if problems:
      _fail(command, problems)
    _define_flags(COMMANDS[command], argv)
    app.run(
      lambda _: _run(command),
      argv=argv,
      flags_parser=lambda args: _parse(command, args),
    )


if __name__ == '__main__':
  console_main()
