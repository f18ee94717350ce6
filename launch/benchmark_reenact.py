"""Where the time of a reenactment goes, for `launch.benchmark`.

A clip goes through `edtn_jax.reenact` as it is: once on one thread with every
stage timed, once with the stages overlapping, and the wall times stand beside
the sum.
"""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import pathlib
import tempfile
import time
from collections.abc import Callable, Iterator
from unittest import mock

import jax
import numpy as np
from PIL import Image

from configs import edtn as edtn_config
from data import procedural_codes
from data.characters import Character
from data.facemesh.eyes import EyeFinder
from data.facemesh.mesh import FaceMesh
from data.facemesh.tracking import FaceTracker
from data.video import VideoReader, VideoWriter, open_video, open_video_writer
from edtn_jax import checkpoints, faces
from edtn_jax.animation.puppet import GENERATED, CharacterChoice
from edtn_jax.encoders.clip_encoders import ClipEncoder
from edtn_jax.encoders.landmark_fit import LandmarkEncoder
from edtn_jax.encoders.opening import open_encoder
from edtn_jax.encoders.video_driver import VideoDriver
from edtn_jax.pictures.face_scene import face_scene
from edtn_jax.pictures.puppet import Puppet
from edtn_jax.pictures.storyboard import Storyboard
from edtn_jax.reenact import reenact
from edtn_jax.reenact_options import ReenactOptions
from edtn_jax.translation.inference import Translate, make_translate
from edtn_jax.translation.network import build_translator
from launch.benchmark_table import Row

# The clip that is made where none is given.
_FRAMES = 200
_SIZE = 256
_FPS = 25
_PUPPET = 7
# How far the sum of the stages may be from the wall time.
TOLERANCE = 0.05
_OPTIONS = ReenactOptions(media=('mp4',))


class StageClock:
  """Time by stage; what runs inside another stage counts only once."""

  def __init__(self):
    self.calls: dict[str, list[tuple[float, float]]] = {}
    self._inner = [0.0]

  @contextlib.contextmanager
  def stage(self, name: str, frames: float = 1) -> Iterator[None]:
    """Times a block.

    Args:
      name: of the stage.
      frames: how many frames the block works on; 0 counts its time, but not
        as a sample of what a frame takes.
    """
    began = time.perf_counter()
    self._inner.append(0.0)
    try:
      yield
    finally:
      spent = time.perf_counter() - began
      own = spent - self._inner.pop()
      self._inner[-1] += spent
      self.calls.setdefault(name, []).append((own, frames))

  def timed(self, name: str, call: Callable, count=lambda *a, **k: 1):
    """A function that is timed; `count` tells the frames by its arguments."""

    @functools.wraps(call)
    def run(*arguments, **options):
      with self.stage(name, count(*arguments, **options)):
        return call(*arguments, **options)

    return run

  def timed_each(self, name: str, iterate: Callable):
    """A function that gives an iterator, whose items are timed."""

    def run(*arguments):
      iterator, end = iter(iterate(*arguments)), object()
      while True:
        with self.stage(name):
          item = next(iterator, end)
        if item is end:
          return
        yield item

    return run

  def rows(self, num_frames: int) -> list[Row]:
    """A row for each stage: milliseconds a frame of the clip."""
    rows = []
    for name, calls in self.calls.items():
      spent, frames = np.array(calls).T
      samples = frames > 0
      # A stage may see a frame several times, such as both of its eyes.
      each = frames.sum() / num_frames
      times = spent[samples] / frames[samples] * each
      p50, p95 = 1e3 * np.percentile(times, [50, 95])
      note = f'p50 {p50:,.2f} ms, p95 {p95:,.2f} ms'
      rows.append(_row(name, spent.sum() / num_frames, len(calls), note))
    return rows

  def seconds(self) -> float:
    """Of all stages together."""
    return sum(spent for calls in self.calls.values() for spent, _ in calls)


def _row(what: str, seconds: float, calls: int, note: str) -> Row:
  return {
    'what': f'reenact: {what}',
    'milliseconds': 1e3 * seconds,
    'calls': calls,
    'note': note,
  }


@contextlib.contextmanager
def _measured(clock: StageClock) -> Iterator[None]:
  """Times what `reenact` calls, wherever it calls it."""
  each = clock.timed_each
  places = [
    (VideoReader, '__iter__', functools.partial(each, 'decode')),
    (FaceMesh, 'find', _once(clock, 'landmarks: mesh')),
    (FaceMesh, 'detect', _once(clock, 'landmarks: mesh', frames=0)),
    (EyeFinder, 'find', _once(clock, 'landmarks: eyes')),
    (LandmarkEncoder, 'calibrate', _many(clock, 'encoder: calibration', 1)),
    (LandmarkEncoder, 'encode', _many(clock, 'encoder: fit', 1)),
    (Storyboard, 'draw', _many(clock, 'drawing', 1)),
    (VideoWriter, 'add', _once(clock, 'encode')),
    (VideoWriter, 'close', _once(clock, 'encode', frames=0)),
  ]
  with contextlib.ExitStack() as stack:
    for owner, name, wrap in places:
      call = wrap(getattr(owner, name))
      stack.enter_context(mock.patch.object(owner, name, call))
    yield


def _once(clock, name, frames=1):
  return lambda call: clock.timed(name, call, lambda *a, **k: frames)


def _many(clock, name, position):
  """For functions of arrays of frames, at a position of the arguments."""
  return lambda call: clock.timed(
    name, call, lambda *arguments, **k: len(arguments[position])
  )


@dataclasses.dataclass(frozen=True)
class _Parts:
  """What all runs share, so that everything is compiled once."""

  video: str
  encoder: ClipEncoder
  tracker: FaceTracker
  translate: Translate
  face: faces.Face
  puppets: dict[str, Puppet]


def benchmark_reenact(seconds: float, video: str = '') -> list[Row]:
  """Stages of a reenactment, their sum, and the wall time with overlap.

  Args:
    seconds: both ways take turns for so long, at least once each; the quickest
      of each counts, because other programs only ever add to them.
    video: clip of a face; '' makes one of the project's own head.

  Returns:
    Rows for `launch.benchmark.table`; milliseconds are of one frame.
  """
  with tempfile.TemporaryDirectory() as directory:
    folder = pathlib.Path(directory)
    face = faces.load_face(edtn_config.get_config().face)
    parts = _Parts(
      video or str(_make_video(folder / 'head.mp4', face)),
      open_encoder('landmarks', face),
      FaceTracker(),
      _translator(),
      face,
      _characters(folder),
    )
    _run(parts, folder / 'out')  # compiles
    alone, together = [], []
    began = time.perf_counter()
    while not alone or time.perf_counter() - began < seconds:
      clock = StageClock()
      with _measured(clock):
        wall, frames = _run(parts, folder / 'out', clock)
      alone.append((wall, clock))
      together.append(_run(parts, folder / 'out')[0])
  wall, clock = min(alone, key=lambda pair: pair[0])
  return [
    *clock.rows(frames),
    *_walls(frames, clock.seconds(), wall, min(together), len(alone)),
  ]


def _walls(
  frames: int, total: float, alone: float, together: float, runs: int
) -> list[Row]:
  off = total / alone - 1
  verdict = 'within' if abs(off) <= TOLERANCE else 'NOT within'
  limit = f'{verdict} {100 * TOLERANCE:.0f} %'
  return [
    _row('sum of the stages', total / frames, 1, f'{frames} frames'),
    _row(
      'wall time, one stage after the other',
      alone / frames,
      runs,
      f'the sum is {100 * off:+.1f} % off, {limit}',
    ),
    _row(
      'wall time, stages overlapping',
      together / frames,
      runs,
      f'{frames / together:,.1f} frames/s, {alone / together:.2f} x as fast',
    ),
  ]


def _run(
  parts: _Parts, output: pathlib.Path, clock: StageClock | None = None
) -> tuple[float, int]:
  """Seconds and frames of a reenactment; on one thread with a clock."""
  translate, puppets = parts.translate, parts.puppets
  if clock:
    translate = clock.timed('EDTN', translate, lambda e, j: len(e))
    puppets = {
      name: clock.timed(
        'generator' if name == GENERATED else 'puppet',
        lambda poses, draw=draw: list(draw(poses)),
        len,
      )
      for name, draw in puppets.items()
    }
  began = time.perf_counter()
  with VideoDriver(
    open_video(parts.video), parts.encoder, parts.tracker, overlap=not clock
  ) as driver:
    summary = reenact(
      driver,
      translate,
      output,
      options=_OPTIONS,
      scene=face_scene(parts.face, _OPTIONS.panel_size),
      frame_picture=driver.frame_picture,
      puppets=puppets,
      overlap=not clock,
    )
  return time.perf_counter() - began, summary['frames']


def _make_video(path: pathlib.Path, face: faces.Face) -> pathlib.Path:
  """A procedural person who talks and turns."""
  [clip] = procedural_codes.procedural_clips(
    face.pose_adapter,
    seed=0,
    num_identities=1,
    frames_per_identity=_FRAMES,
    fps=_FPS,
  )
  pictures = face_scene(face, _SIZE).driving(
    clip.expression, clip.jaw_pose, clip.global_pose
  )
  with open_video_writer(path, _FPS) as writer:
    for picture in pictures:
      writer.add(np.asarray(picture))
  return path


def _translator() -> Translate:
  """The network with random parameters: as quick as a trained one."""
  config = edtn_config.get_config()
  codes = np.zeros((1, 50), np.float32), np.zeros((1, 3), np.float32)
  params = build_translator(config.model).init(jax.random.key(0), *codes)
  return make_translate(
    checkpoints.Checkpoint(
      config=config,
      params={'model': params['params']},
      constants={},
      step=0,
      path='random parameters',
      averaged=False,
    )
  )


def _characters(folder: pathlib.Path) -> dict[str, Puppet]:
  """A drawn character, moved by the generator that comes with the project."""
  path = folder / 'source.png'
  character = Character.from_seed(_PUPPET, _OPTIONS.puppet_size)
  Image.fromarray(character.render(np.zeros(20))).save(path)
  return CharacterChoice(source=str(path)).open(_OPTIONS.puppet_size)
