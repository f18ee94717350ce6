"""Whether all processes of a run reach process 0, and share a directory."""

from __future__ import annotations

import contextlib
import json
import pathlib
import secrets
import socket
import time
from collections.abc import Iterator

from launch.processes import Place

_MOST_BYTES = 1 << 16


class RendezvousError(OSError):
  """Processes that do not find each other, or not the same files.

  Attributes:
    remedy: what to do.
  """

  def __init__(self, problem: str, remedy: str):
    super().__init__(f'{problem}. {remedy}')
    self.problem, self.remedy = problem, remedy


def meet(place: Place, directory: pathlib.Path | None, wait: float) -> None:
  """Meets the other processes, which all call this.

  Process 0 opens the coordinator's port, and puts a file into `directory`; the
  others come and look for it.

  Args:
    place: which process this is.
    directory: of the run, or the first above it that exists; None is one that
      needs no such test.
    wait: seconds.

  Raises:
    RendezvousError: in every process, saying what is wrong.
  """
  if place.number == 0:
    _host(place, directory, wait)
  else:
    _visit(place, wait)


def _host(place: Place, directory: pathlib.Path | None, wait: float) -> None:
  port = int(place.coordinator.rpartition(':')[2])
  deadline = time.monotonic() + wait
  told: dict[int, list[str]] = {}
  with contextlib.ExitStack() as stack:
    try:
      server = socket.create_server(('', port))
    except OSError as error:
      raise RendezvousError(
        f'process 0 cannot open port {port}: {error}',
        'Choose another, in all processes.',
      ) from error
    stack.enter_context(server)
    mark = stack.enter_context(_marked(directory))
    guests = []
    while len(told) < place.count - 1:
      server.settimeout(max(0.01, deadline - time.monotonic()))
      try:
        guest, _ = server.accept()
      except TimeoutError:
        break
      stack.enter_context(guest)
      guest.settimeout(5)
      with contextlib.suppress(OSError, ValueError):
        _send(guest, mark)
        answer = _receive(guest)
        told[int(answer['number'])] = answer['problem']
        guests.append(guest)
    problem = _judged(place, told, wait)
    for guest in guests:
      with contextlib.suppress(OSError):
        _send(guest, {'problem': problem})
  if problem:
    raise RendezvousError(*problem)


def _judged(place: Place, told: dict[int, list[str]], wait: float) -> list[str]:
  """Problem and remedy, or nothing."""
  missing = sorted(set(range(1, place.count)) - set(told))
  if missing:
    return [
      f'process {", ".join(map(str, missing))} of {place.count} did not reach '
      f'{place.coordinator} within {wait:.0f} s',
      'Start all of them at once, with one coordinator; let the network pass '
      'that port.',
    ]
  return next((problem for problem in told.values() if problem), [])


def _visit(place: Place, wait: float) -> None:
  host, _, port = place.coordinator.rpartition(':')
  deadline = time.monotonic() + wait
  while True:
    try:
      connection = socket.create_connection((host.strip('[]'), int(port)), 5)
      break
    except OSError as error:
      if time.monotonic() > deadline:
        raise RendezvousError(
          f'the coordinator {place.coordinator} cannot be reached within '
          f'{wait:.0f} s: {error}',
          'Start process 0 there, check the address, and that the network lets '
          'this port through.',
        ) from error
    time.sleep(0.1)
  with connection:
    connection.settimeout(wait + 5)
    try:
      problem = _unshared(place, _receive(connection))
      _send(connection, {'number': place.number, 'problem': problem})
      problem = _receive(connection)['problem']
    except (OSError, ValueError, KeyError) as error:
      raise RendezvousError(
        f'what answers at {place.coordinator} is not our process 0: {error}',
        'Choose another port, in all processes.',
      ) from error
  if problem:
    raise RendezvousError(*problem)


def _unshared(place: Place, mark: dict[str, str]) -> list[str]:
  """What is wrong with the directory, seen from here, and the remedy."""
  if not mark['file']:
    return []
  path = pathlib.Path(mark['file'])
  # A network file system may show a new file a moment late.
  for _ in range(30):
    with contextlib.suppress(OSError):
      if path.read_text() == mark['content']:
        return []
    time.sleep(0.1)
  return [
    f'process {place.number} on {socket.gethostname()} does not see the '
    f'{path.parent} of process 0',
    'Put --workdir on a file system that all machines share, or into gs://.',
  ]


@contextlib.contextmanager
def _marked(directory: pathlib.Path | None) -> Iterator[dict[str, str]]:
  """A file for the others to find."""
  if directory is None:
    yield {'file': '', 'content': ''}
    return
  content = secrets.token_hex(8)
  path = directory.absolute() / f'.doctor_{content}'
  try:
    path.write_text(content)
  except OSError:  # Reported by another check.
    yield {'file': '', 'content': ''}
    return
  try:
    yield {'file': str(path), 'content': content}
  finally:
    path.unlink(missing_ok=True)


def _send(connection: socket.socket, message: dict) -> None:
  connection.sendall(json.dumps(message).encode() + b'\n')


def _receive(connection: socket.socket) -> dict:
  content = b''
  while not content.endswith(b'\n') and len(content) < _MOST_BYTES:
    piece = connection.recv(4096)
    if not piece:
      raise ValueError('the connection ended')
    content += piece
  return json.loads(content)
