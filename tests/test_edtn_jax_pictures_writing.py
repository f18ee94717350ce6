"""Writing beside drawing: order, bounded memory, errors, nothing left."""

import threading

import numpy as np
import pytest
from PIL import Image

from data.video import VideoError, VideoWriter
from edtn_jax.pictures import media
from edtn_jax.pictures.writing import BackgroundWriter

# Long enough for any machine; what waits so long has failed.
PATIENCE_S = 30


class Writer(VideoWriter):
  """Remembers the first pixel of its frames; can be held up and broken."""

  def __init__(self, path, breaks_at=None, breaks_at_end=False):
    super().__init__(path, 25)
    self.log = []
    self.threads = set()
    self.free = threading.Event()
    self.free.set()
    self._breaks_at = breaks_at
    self._breaks_at_end = breaks_at_end

  def _write(self, frame):
    assert self.free.wait(PATIENCE_S)
    self.threads.add(threading.get_ident())
    if self.frame_count == self._breaks_at:
      raise VideoError('the disk is full')
    self.log.append(int(frame[0, 0, 0]))

  def _finish(self):
    if self._breaks_at_end:
      raise VideoError('no index')
    self.log.append('finished')

  def _discard(self, error):
    self.log.append(f'discarded: {error}')


def frames(count):
  return [np.full((2, 2, 3), i, np.uint8) for i in range(count)]


def write(background, count, error=None):
  with background:
    for frame in frames(count):
      background.add(frame)
    if error:
      raise error


def test_frames_are_written_in_order_by_one_other_thread(tmp_path):
  writer = Writer(tmp_path / 'x')
  with BackgroundWriter(writer, waiting=2) as background:
    for frame in frames(40):
      background.add(frame)
    assert background.frame_count == 40
  assert writer.log == [*range(40), 'finished']
  assert len(writer.threads) == 1
  assert threading.get_ident() not in writer.threads


def test_few_frames_wait(tmp_path):
  writer = Writer(tmp_path / 'x')
  writer.free.clear()
  added = []

  def draw():
    with BackgroundWriter(writer, waiting=3) as background:
      for frame in frames(20):
        background.add(frame)
        added.append(1)

  drawing = threading.Thread(target=draw)
  drawing.start()
  drawing.join(0.2)
  # Three that wait and the one that is held up.
  assert len(added) <= 4
  writer.free.set()
  drawing.join(PATIENCE_S)
  assert writer.log == [*range(20), 'finished']


def test_an_error_comes_to_who_adds_and_all_is_discarded(tmp_path):
  writer = Writer(tmp_path / 'x', breaks_at=3)
  background = BackgroundWriter(writer, waiting=1)
  with pytest.raises(VideoError, match='disk is full'):
    write(background, 200)
  assert background.frame_count < 200
  assert writer.log == [0, 1, 2, 'discarded: the disk is full']


@pytest.mark.parametrize(
  ('fault', 'end'),
  [
    ({'breaks_at': 2}, ['discarded: the disk is full']),
    ({'breaks_at_end': True}, [2]),
  ],
)
def test_an_error_at_the_end_is_raised_by_leaving(tmp_path, fault, end):
  writer = Writer(tmp_path / 'x', **fault)
  with pytest.raises(VideoError):
    write(BackgroundWriter(writer), 3)
  assert writer.log == [0, 1, *end]


def test_an_error_of_the_block_discards(tmp_path):
  before = threading.active_count()
  writer = Writer(tmp_path / 'x')
  with pytest.raises(KeyError):
    write(BackgroundWriter(writer), 1, KeyError('drawing'))
  assert writer.log[-1] == "discarded: 'drawing'"
  assert threading.active_count() == before


@pytest.mark.parametrize('kind', ['png', 'gif', 'webp'])
def test_files_are_the_same_with_and_without_overlap(tmp_path, kind):
  names = []
  for overlap in (True, False):
    folder = tmp_path / str(overlap)
    folder.mkdir()
    with media.MovingPicture(
      folder, 'x', (kind,), 20.0, every=2, overlap=overlap
    ) as movie:
      for i, frame in enumerate(frames(7)):
        movie.add(i, Image.fromarray(30 * frame))
      counts = movie.frame_counts()
    assert counts == {media.media_name('x', kind): 7 if kind == 'png' else 4}
    names.append(sorted(p.relative_to(folder) for p in folder.rglob('*.*')))
  assert names[0] == names[1]
  for name in names[0]:
    first, second = ((tmp_path / o / name) for o in ('True', 'False'))
    assert first.read_bytes() == second.read_bytes()
