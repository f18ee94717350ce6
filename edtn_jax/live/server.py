"""Serves the newest picture to browsers: one page, one stream, its numbers.

Nothing else is served, no file is read. By default only programs on this
computer reach it; and a page of somebody else's that gets its name to point
here (DNS rebinding) is refused by the name it asks for.
"""

from __future__ import annotations

import contextlib
import functools
import http
import http.server
import ipaddress
import json
import socket
import socketserver
import threading
import urllib.parse
from collections.abc import Callable
from typing import Any

from absl import logging

from edtn_jax.config import ConfigError, Problem
from edtn_jax.live.page import PAGE

DEFAULT_HOST, DEFAULT_PORT = '127.0.0.1', 8765

_BOUNDARY = b'picture'
# A picture is sent again after this; it also finds out who has left.
_REPEAT_S = 5.0
# A viewer that takes nothing for so long has left.
_PATIENCE_S = 15.0
_MOST_VIEWERS = 16
# What waits in the system for a slow viewer is old when it arrives: one or two
# pictures, not the megabytes that systems offer.
_SEND_BUFFER = 1 << 16
# Browsers are to run and load only what the page holds, and no other page is
# to show this one or its pictures.
_HEADERS = {
  'Cache-Control': 'no-store',
  'X-Content-Type-Options': 'nosniff',
  'Cross-Origin-Resource-Policy': 'same-origin',
  'Content-Security-Policy': "default-src 'none'; img-src 'self'; "
  "connect-src 'self'; script-src 'unsafe-inline'; "
  "style-src 'unsafe-inline'; frame-ancestors 'none'",
}


class NewestPicture:
  """One picture that is replaced, and who waits for the next."""

  def __init__(self):
    self._changed = threading.Condition()
    self._picture = b''
    self._number = 0
    self._closed = False

  def put(self, picture: bytes) -> None:
    """Replaces the picture; nobody is waited for."""
    with self._changed:
      self._picture = picture
      self._number += 1
      self._changed.notify_all()

  def get(self, after: int, timeout_s: float) -> tuple[int, bytes] | None:
    """The newest picture, as soon as it is another one.

    Args:
      after: number of the picture that is known, 0 for none.
      timeout_s: after this the known one is given again.

    Returns:
      Its number, which counts pictures, and the picture, b'' if there is none
      yet; None after the end, once the last picture is known.
    """
    with self._changed:
      self._changed.wait_for(
        lambda: self._closed or self._number > after, timeout_s
      )
      if self._closed and self._number <= after:
        return None
      return self._number, self._picture

  def close(self) -> None:
    """Ends it for all who wait."""
    with self._changed:
      self._closed = True
      self._changed.notify_all()


class LiveServer:
  """Holds a port while its block lasts, and serves from `start` on.

  Who asks before `start` waits.

  Attributes:
    url: where the page is.
  """

  def __init__(self, host: str, port: int):
    """Binds, so that errors come before all slow work.

    Args:
      host: address or name to bind to; anything but loopback opens it to the
        network.
      port: 0 takes a free one.

    Raises:
      ConfigError: if it cannot be bound to.
    """
    self._newest = NewestPicture()
    self._names = {host.lower(), 'localhost'}
    self._thread: threading.Thread | None = None
    self._server = _bind(host, port)
    address = self._server.server_address
    shown = f'[{address[0]}]' if ':' in address[0] else address[0]
    self.url = f'http://{shown}:{address[1]}/'
    if not ipaddress.ip_address(address[0]).is_loopback:
      logging.warning(
        '%s is open to the network: whoever reaches this computer sees the '
        'pictures. Without --host only this computer does',
        self.url,
      )

  def start(
    self,
    *,
    status: Callable[[], dict[str, Any]],
    calibrate: Callable[[], None],
  ) -> None:
    """Serves from now on.

    Args:
      status: numbers for the page; called from any thread.
      calibrate: what the button does; called from any thread.
    """
    self._server.RequestHandlerClass = functools.partial(
      _Handler,
      newest=self._newest,
      status=status,
      calibrate=calibrate,
      names=self._names,
      viewers=threading.BoundedSemaphore(_MOST_VIEWERS),
    )
    self._thread = threading.Thread(
      target=self._server.serve_forever, args=(0.1,), daemon=True
    )
    self._thread.start()

  def show(self, picture: bytes) -> None:
    """Gives viewers their next picture, a JPEG file; waits for nobody."""
    self._newest.put(picture)

  def __enter__(self) -> LiveServer:
    return self

  def __exit__(self, *error) -> None:
    self._newest.close()
    if self._thread:
      self._server.shutdown()
    self._server.server_close()


class _Server(http.server.ThreadingHTTPServer):
  daemon_threads = True

  def server_bind(self) -> None:
    # The one of HTTPServer asks the network for this computer's name.
    socketserver.TCPServer.server_bind(self)

  def handle_error(self, request, client_address) -> None:
    # Browsers leave whenever they like.
    logging.debug('viewer %s', client_address, exc_info=True)


def _bind(host: str, port: int) -> _Server:
  try:
    # The system would quietly take it modulo 65536.
    if not 0 <= port < 1 << 16:
      raise OverflowError('ports are 0 to 65535')
    [(family, *_, address), *_] = socket.getaddrinfo(
      host, port, type=socket.SOCK_STREAM
    )
    kind = type('Server', (_Server,), {'address_family': family})
    return kind(address, _Handler)
  except (OSError, OverflowError, UnicodeError) as error:
    raise ConfigError(
      [
        Problem(
          'host, port',
          f'{host}, {port}',
          f'must be an address of this computer and a free port ({error})',
          'Leave out --host; give another --port, or --port=0 for any.',
        )
      ]
    ) from error


class _Handler(http.server.BaseHTTPRequestHandler):
  """Answers one request."""

  timeout = _PATIENCE_S
  server_version, sys_version = 'EDTN', ''

  def __init__(self, *arguments, newest, status, calibrate, names, viewers):
    self._newest = newest
    self._status = status
    self._calibrate = calibrate
    self._names = names
    self._viewers = viewers
    super().__init__(*arguments)  # answers, so it comes last

  def do_GET(self) -> None:
    path = urllib.parse.urlsplit(self.path).path
    if not self._is_welcome():
      self._refuse(http.HTTPStatus.FORBIDDEN)
    elif path == '/':
      self._answer('text/html; charset=utf-8', PAGE.encode())
    elif path == '/status':
      self._answer('application/json', json.dumps(self._status()).encode())
    elif path != '/stream':
      self._refuse(http.HTTPStatus.NOT_FOUND)
    elif not self._viewers.acquire(blocking=False):
      self._refuse(http.HTTPStatus.SERVICE_UNAVAILABLE)
    else:
      try:
        self._stream()
      finally:
        self._viewers.release()

  def do_POST(self) -> None:
    # A browser says which page a post comes from.
    origin = self.headers.get('Origin')
    ours = origin in (None, f'http://{self.headers.get("Host")}')
    if not self._is_welcome() or not ours:
      self._refuse(http.HTTPStatus.FORBIDDEN)
    elif self.path != '/calibrate':
      self._refuse(http.HTTPStatus.NOT_FOUND)
    else:
      self._calibrate()
      self._answer('application/json', b'{}')

  def _is_welcome(self) -> bool:
    """Whether we are asked for by a name that nobody else can have."""
    host = self.headers.get('Host', '')
    try:
      name = urllib.parse.urlsplit(f'//{host}').hostname or ''
    except ValueError:
      return False
    if name in self._names:
      return True
    with contextlib.suppress(ValueError):
      ipaddress.ip_address(name)
      return True
    return False

  def _stream(self) -> None:
    self.connection.setsockopt(
      socket.SOL_SOCKET, socket.SO_SNDBUF, _SEND_BUFFER
    )
    self._begin(
      f'multipart/x-mixed-replace; boundary={_BOUNDARY.decode()}', None
    )
    self.wfile.write(b'--' + _BOUNDARY + b'\r\n')
    number = 0
    while (found := self._newest.get(number, _REPEAT_S)) is not None:
      number, picture = found
      if picture:
        head = b'Content-Type: image/jpeg\r\nContent-Length: %d\r\n\r\n'
        # Browsers show a picture when they see the boundary after it.
        end = b'\r\n--%b\r\n' % _BOUNDARY
        self.wfile.write(head % len(picture) + picture + end)

  def _answer(self, kind: str, body: bytes) -> None:
    self._begin(kind, len(body))
    self.wfile.write(body)

  def _begin(self, kind: str, length: int | None) -> None:
    self.send_response(http.HTTPStatus.OK)
    self.send_header('Content-Type', kind)
    if length is not None:
      self.send_header('Content-Length', str(length))
    for name, value in _HEADERS.items():
      self.send_header(name, value)
    self.end_headers()

  def _refuse(self, status: http.HTTPStatus) -> None:
    self.send_error(status)

  def log_message(self, format: str, *arguments) -> None:
    logging.debug('viewer: ' + format, *arguments)
