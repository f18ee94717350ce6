r"""Finds what would stop a training, before it compiles anything.

    python -m launch.doctor --config=configs/edtn.py --workdir=runs/edtn
    srun python -m launch.doctor --config=... --workdir=... --processes=auto

Takes the arguments of `edtn train`, looks at versions, devices, batch and mesh,
write access, disk, data, and whether the processes reach each other and share
the directory (start it in all of them at once), and tells every problem with
its remedy. Exit status: 0 if all is well, 1 if not, 2 for wrong arguments.
"""

from __future__ import annotations

import sys
from typing import Any

from absl import app, flags
from ml_collections import config_flags

from edtn_jax import command_help
from edtn_jax.config import ConfigError
from launch import doctor_checks as checks
from launch.doctor_checks import Finding
from launch.processes import ClusterError, Place, find_place


def examine(
  config: Any,
  workdir: str,
  place: Place | None,
  *,
  expected_devices: int = 0,
  wait: float = 60.0,
) -> list[Finding]:
  """Looks at everything; a check that cannot be made does not hide another.

  Args:
    config: of the training.
    workdir: of the training.
    place: which process of several this is, or None.
    expected_devices: of the whole run; 0 takes what is there.
    wait: seconds for the other processes.

  Returns:
    All findings, good and bad.
  """
  findings = checks.check_versions()
  if place is not None and place.count > 1:
    findings += checks.check_peers(place, workdir, wait)
  devices, found = checks.probe_devices(place)
  findings += found
  configured = []
  if devices is not None:
    findings += checks.check_count(devices, expected_devices)
    configured = checks.check_config(config, devices, place)
    findings += configured
  findings += checks.check_workdir(workdir)
  # What a wrong config says of size and data means nothing.
  if configured and not any(f.remedy for f in configured):
    findings += checks.check_disk(workdir, checks.state_bytes(config))
    findings += checks.check_data(config)
  return findings


def report(findings: list[Finding], place: Place | None = None) -> str:
  """The findings as lines, problems last."""
  prefix = f'[{place.number}/{place.count}] ' if place else ''
  good = [f for f in findings if not f.remedy]
  bad = [f for f in findings if f.remedy]
  lines = [f'{prefix}ok       {f.subject}: {f.text}' for f in good]
  for finding in bad:
    lines.append(f'{prefix}PROBLEM  {finding.subject}: {finding.text}')
    lines.append(f'{prefix}         -> {finding.remedy}')
  count = len(bad)
  lines.append(
    f'{prefix}{count} problem{"s" * (count != 1)}'
    if count
    else f'{prefix}all is well'
  )
  return '\n'.join(lines)


def main(argv: list[str]) -> None:
  """Examines what the flags say."""
  given = flags.FLAGS
  if argv[1:]:
    _refuse(f'{" ".join(argv[1:])}: no such argument')
  # The devices are looked at by a process of their own; this one must not
  # take them.
  import jax

  jax.config.update('jax_platforms', 'cpu')
  try:
    place = find_place(given.processes)
  except (ClusterError, ConfigError) as error:
    _refuse(str(error))
  try:
    config = given.config
    list(config)  # a config file's error waits for the first look
  except Exception as error:  # whatever a config file raises
    _refuse(command_help.config_reason(error))
  findings = examine(
    config,
    given.workdir,
    place,
    expected_devices=given.devices,
    wait=given.wait,
  )
  print(report(findings, place))
  sys.exit(1 if any(f.remedy for f in findings) else 0)


def parse(argv: list[str]) -> list[str]:
  """Reads the flags; a wrong one ends the program with one line."""
  try:
    return flags.FLAGS(command_help.joined_config_words(argv))
  except Exception as error:  # whatever a config file or override raises
    _refuse(command_help.config_reason(error))


def _refuse(reason: str) -> None:
  print(f'launch.doctor: {reason}', file=sys.stderr)
  sys.exit(2)


def define_flags() -> None:
  """Defines the flags; only of the module that is run."""
  config_flags.DEFINE_config_file(
    'config', str(checks.ROOT / 'configs' / 'edtn.py')
  )
  flags.DEFINE_string('workdir', None, 'of the training', required=True)
  flags.DEFINE_string('processes', '', 'as for edtn train')
  flags.DEFINE_integer('devices', 0, 'expected in the whole run; 0: any')
  flags.DEFINE_float('wait', 60.0, 'seconds to wait for other processes')


if __name__ == '__main__':
  define_flags()
  app.run(main, flags_parser=parse)
