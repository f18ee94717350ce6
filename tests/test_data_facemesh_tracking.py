"""Following a face: its states by a made-up model, and real frames."""

import itertools

import numpy as np
import pytest
from PIL import Image

from data.facemesh import detector, eyes, mesh, models, tracking


class _Stage:
  """Stands in for the models: faces are squares that the test puts up."""

  def __init__(self, cache_dir=None):
    self.faces = []
    self.clinging = None
    self.detections = 0

  def detect(self, image):
    self.detections += 1
    boxes = [np.array([x, y, x + side, y + side]) for x, y, side in self.faces]
    found = [
      detector.Detection(box.astype(float), np.zeros((6, 2)), 0.9)
      for box in boxes
    ]
    return sorted(found, key=lambda one: -one.area)

  def find(self, image, *, near=None):
    if near is not None:
      center = near.points[:, :2].mean(axis=0)
      for x, y, side in [*self.faces, *filter(None, [self.clinging])]:
        if np.abs(center - [x + side / 2, y + side / 2]).max() < side / 2:
          return _face(x, y, side, 'track')
    for found in self.detect(image):
      return _face(*found.box[:2], found.box[2] - found.box[0], 'detector')
    return None


def _face(x, y, side, source):
  points = np.zeros((468, 3))
  points[::2], points[1::2] = [x, y, 1], [x + side, y + side, 1]
  region = mesh.Region(np.array([x, y]) + side / 2, side, 0.0)
  return mesh.Face(points, 0.75, region, source)


class _Eyes:
  def __init__(self, cache_dir=None):
    pass

  def find(self, image, points, side):
    contour = np.zeros((71, 2))
    contour[[11, 12, 13], 1] = -3.0 if side == 'left' else -1.0
    return eyes.EyeContour(contour, np.ones((5, 2)), width=10.0)


@pytest.fixture
def stage(monkeypatch):
  monkeypatch.setattr(tracking.mesh, 'FaceMesh', _Stage)
  monkeypatch.setattr(tracking, 'EyeFinder', _Eyes)


_IMAGE = np.zeros((100, 100, 3), np.uint8)


def test_the_largest_is_followed_lost_and_found_again(stage):
  tracker = tracking.FaceTracker()
  faces = tracker._mesh
  faces.faces = [(10, 10, 20), (50, 50, 30)]
  first = tracker.update(_IMAGE)
  assert (first.status, first.presence) == ('detected', 0.75)
  np.testing.assert_array_equal(first.points[0], [50, 50, 1])
  assert first.points.dtype == np.float32
  assert first.lids == pytest.approx({'left': 0.3, 'right': 0.1})
  assert first.eye_contours['left'].shape == (71, 2)
  assert first.irises['right'].shape == (5, 2)
  # Another that grows larger does not take over.
  faces.faces = [(10, 10, 40), (52, 52, 30)]
  second = tracker.update(_IMAGE)
  assert second.status == 'tracked'
  np.testing.assert_array_equal(second.points[0], [52, 52, 1])
  faces.faces = []
  for _ in range(2):
    lost = tracker.update(_IMAGE)
    assert (lost.points, lost.status, lost.presence) == (None, 'lost', 0)
    assert lost.lids == lost.eye_contours == lost.irises == {}
  faces.faces = [(10, 10, 40), (52, 52, 30)]
  again = tracker.update(_IMAGE)
  assert again.status == 'detected'
  np.testing.assert_array_equal(again.points[0], [10, 10, 1])


def test_what_clings_to_no_face_is_noticed(stage):
  tracker = tracking.FaceTracker(redetect_every=3, eyes=False)
  faces = tracker._mesh
  faces.faces = [(50, 50, 30)]
  assert tracker.update(_IMAGE).status == 'detected'
  # A cut: the face is elsewhere, but landmarks are still found here.
  faces.clinging, faces.faces = (50, 50, 30), [(10, 10, 20)]
  states = [tracker.update(_IMAGE) for _ in range(4)]
  assert [s.status for s in states] == [
    'tracked',
    'tracked',
    'detected',
    'tracked',
  ]
  np.testing.assert_array_equal(states[3].points[0], [10, 10, 1])
  assert states[3].lids == {}


def test_a_face_the_detector_misses_is_kept(stage):
  tracker = tracking.FaceTracker(redetect_every=2)
  faces = tracker._mesh
  faces.faces = [(50, 50, 30)]
  tracker.update(_IMAGE)
  faces.clinging, faces.faces = (50, 50, 30), []
  states = [tracker.update(_IMAGE).status for _ in range(6)]
  assert states == ['tracked'] * 6
  assert faces.detections == 1 + 3
  never = tracking.FaceTracker(redetect_every=0)
  never._mesh.faces = [(50, 50, 30)]
  for _ in range(6):
    never.update(_IMAGE)
  assert never._mesh.detections == 1
  with pytest.raises(ValueError, match='redetect_every is -1'):
    tracking.FaceTracker(redetect_every=-1)


def test_reset_forgets(stage):
  tracker = tracking.FaceTracker()
  tracker._mesh.faces = [(50, 50, 30)]
  assert tracker.update(_IMAGE).status == 'detected'
  assert tracker.update(_IMAGE).status == 'tracked'
  tracker.reset()
  assert tracker.update(_IMAGE).status == 'detected'


@pytest.fixture(scope='module')
def tracker():
  pytest.importorskip('ai_edge_litert', reason='extra [facemesh]')
  try:
    return tracking.FaceTracker()
  except models.ModelError as error:
    pytest.skip(f'no FaceMesh models: {error}')


def test_real_frames_are_followed(shared_dir, tracker):
  paths = sorted((shared_dir / 'real' / 'frames').glob('*.png'))[:4]
  pictures = [np.asarray(Image.open(path).convert('RGB')) for path in paths]
  tracker.reset()
  states = [tracker.update(picture) for picture in pictures]
  assert [s.status for s in states] == ['detected'] + ['tracked'] * 3
  for before, after in itertools.pairwise(states):
    shift = np.linalg.norm((after.points - before.points)[:, :2], axis=-1)
    assert shift.mean() < 10
    for side in tracking.SIDES:
      assert 0.02 < after.lids[side] < 0.7
      iris = after.irises[side][0]
      contour = after.eye_contours[side]
      assert (contour.min(axis=0) < iris).all()
      assert (iris < contour.max(axis=0)).all()
  assert tracker.update(np.zeros((64, 64, 3), np.uint8)).status == 'lost'


def test_every_frame_of_a_real_video_has_a_face(shared_dir, tracker):
  pytest.importorskip('av', reason='extra [video]')
  from data.video import open_video

  tracker.reset()
  with open_video(shared_dir / 'real' / 'example.mp4') as reader:
    # One in eleven, which also tries how far a face may move in between.
    states = [tracker.update(f.image) for f in reader if not f.index % 11]
    assert reader.skipped == []
  assert len(states) == 28
  assert all(state.presence > 0.9 for state in states)
  assert states[0].status == 'detected'
