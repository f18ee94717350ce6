"""The page and the stream over real sockets of this computer."""

import http.client
import itertools
import json
import socket
import threading

import pytest

from edtn_jax.config import ConfigError
from edtn_jax.live.server import LiveServer, NewestPicture

PATIENCE_S = 30


@pytest.fixture
def server():
  asked = []
  with LiveServer('127.0.0.1', 0) as live:
    live.start(
      status=lambda: {'state': 'driving', 'dropped': 3},
      calibrate=lambda: asked.append(1),
    )
    live.asked = asked
    yield live


def address(server):
  host, _, port = server.url.removeprefix('http://').strip('/').rpartition(':')
  return host, int(port)


def ask(server, path, method='GET', **headers):
  """Status, content type and body of an answer."""
  connection = http.client.HTTPConnection(*address(server), timeout=PATIENCE_S)
  connection.request(method, path, headers=headers)
  answer = connection.getresponse()
  body = answer.read()
  connection.close()
  return answer.status, answer.headers['Content-Type'], body


def test_page_loads_nothing_from_elsewhere(server):
  status, kind, body = ask(server, '/')
  assert (status, kind) == (200, 'text/html; charset=utf-8')
  assert b'src="stream"' in body
  assert b'http' not in body.replace(b'<!doctype html>', b'')
  for name in (b'PAPER', b'INK', b'MUTED', b'GROUND', b'ALARM'):
    assert name not in body


def test_status_is_json(server):
  status, kind, body = ask(server, '/status')
  assert (status, kind) == (200, 'application/json')
  assert json.loads(body) == {'state': 'driving', 'dropped': 3}


@pytest.mark.parametrize(
  'path', ['/etc/passwd', '/../setup.cfg', '/streams', '/calibrate', '//x']
)
def test_nothing_else_is_served(server, path):
  assert ask(server, path)[0] == 404


@pytest.mark.parametrize(
  ('host', 'status'),
  [
    ('127.0.0.1:9', 200),
    ('localhost', 200),
    ('LOCALHOST:80', 200),
    ('[::1]:8765', 200),
    ('192.168.1.5:8765', 200),
    ('evil.example', 403),
    ('localhost.evil.example', 403),
    ('127.0.0.1.evil.example:8765', 403),
    ('', 403),
    ('[', 403),
  ],
)
def test_foreign_names_are_refused(server, host, status):
  """A rebound name is what a browser sends as the host."""
  for path in ('/', '/status'):
    assert ask(server, path, Host=host)[0] == status
  if status == 403:
    assert ask(server, '/stream', Host=host)[0] == 403
    assert ask(server, '/calibrate', 'POST', Host=host)[0] == 403
    assert not server.asked


def test_only_our_page_may_calibrate(server):
  host = server.url.removeprefix('http://').strip('/')
  foreign = {'Host': host, 'Origin': 'http://evil.example'}
  assert ask(server, '/calibrate', 'POST', **foreign)[0] == 403
  assert ask(server, '/calibrate', 'POST', Origin='null')[0] == 403
  assert not server.asked
  ours = {'Host': host, 'Origin': f'http://{host}'}
  assert ask(server, '/calibrate', 'POST', **ours)[0] == 200
  assert ask(server, '/calibrate', 'POST')[0] == 200
  assert len(server.asked) == 2
  assert ask(server, '/other', 'POST')[0] == 404


class Viewer:
  """Reads a stream picture by picture, with a small buffer."""

  def __init__(self, server):
    self.socket = socket.socket()
    self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 14)
    self.socket.settimeout(PATIENCE_S)
    self.socket.connect(address(server))
    self.socket.sendall(b'GET /stream HTTP/1.1\r\nHost: localhost\r\n\r\n')
    self.file = self.socket.makefile('rb')
    head = self._lines()
    assert b'multipart/x-mixed-replace; boundary=picture' in b''.join(head)
    assert self.file.readline() == b'--picture\r\n'

  def _lines(self):
    return list(itertools.takewhile(bytes.strip, self.file))

  def picture(self):
    """The next one; None at the end."""
    head = self._lines()
    if not head:
      return None
    assert head[0] == b'Content-Type: image/jpeg\r\n'
    body = self.file.read(int(head[1].split()[1]))
    assert self.file.readline() == b'\r\n'
    assert self.file.readline() == b'--picture\r\n'
    return body

  def close(self):
    self.file.close()
    self.socket.close()


def test_all_viewers_get_a_picture_and_the_end():
  with LiveServer('127.0.0.1', 0) as server:
    server.start(status=dict, calibrate=list)
    viewers = [Viewer(server) for _ in range(3)]
    server.show(b'first')
    assert [viewer.picture() for viewer in viewers] == [b'first'] * 3
    server.show(b'second')
    late = Viewer(server)
    assert late.picture() == b'second'
    # Before the next: pictures are missed by who is slow, here or there.
    assert viewers[1].picture() == b'second'
    viewers[0].close()
    server.show(b'third')
    assert viewers[1].picture() == b'third'
  # The end leaves out nothing that was shown before it.
  assert late.picture() == b'third'
  for viewer in (viewers[1], late):
    assert viewer.picture() is None
    viewer.close()


def test_newest_picture_is_given_before_the_end():
  newest = NewestPicture()
  newest.put(b'a')
  newest.close()
  assert newest.get(0, 0.0) == (1, b'a')
  assert newest.get(1, 0.0) is None


def test_a_slow_viewer_misses_pictures_and_gets_the_newest(server):
  slow = Viewer(server)
  size = 1 << 20
  for number in range(40):
    server.show(bytes([number]) * size)
  seen = []
  while not seen or seen[-1] != 39:
    seen.append(slow.picture()[0])
  assert seen == sorted(set(seen))
  # All that the system may have kept for it, and the newest.
  assert len(seen) < 20
  slow.close()


def test_viewers_are_limited(server, monkeypatch):
  viewers = [Viewer(server) for _ in range(16)]
  assert ask(server, '/stream')[0] == 503
  assert ask(server, '/status')[0] == 200
  for viewer in viewers:
    viewer.close()


def test_newest_picture_waits_and_repeats():
  newest = NewestPicture()
  assert newest.get(0, 0.0) == (0, b'')
  newest.put(b'a')
  newest.put(b'b')
  assert newest.get(0, PATIENCE_S) == (2, b'b')
  assert newest.get(2, 0.0) == (2, b'b')
  found = []
  waiting = threading.Thread(
    target=lambda: found.append(newest.get(2, PATIENCE_S))
  )
  waiting.start()
  newest.close()
  waiting.join(PATIENCE_S)
  assert found == [None]


def test_a_port_that_is_taken_or_impossible_is_refused(server):
  _, port = address(server)
  for host, wrong in (
    ('127.0.0.1', port),
    ('127.0.0.1', 70000),
    ('203.0.113.7', 0),
  ):
    with pytest.raises(ConfigError, match='free port'):
      LiveServer(host, wrong)


def test_an_open_address_warns(caplog):
  with (
    caplog.at_level('WARNING', 'absl'),
    LiveServer('0.0.0.0', 0),
  ):
    assert 'open to the network' in caplog.text


def test_who_asks_before_the_start_waits():
  with LiveServer('127.0.0.1', 0) as server:
    viewer = socket.create_connection(address(server), PATIENCE_S)
    viewer.sendall(b'GET /status HTTP/1.0\r\nHost: localhost\r\n\r\n')
    server.start(status=dict, calibrate=list)
    with viewer.makefile('rb') as answer:
      assert answer.read().endswith(b'{}')
    viewer.close()


def test_a_port_is_given_back_without_a_start():
  with LiveServer('127.0.0.1', 0) as server:
    host, port = address(server)
  with LiveServer(host, port):
    pass
