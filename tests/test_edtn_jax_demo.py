"""The demo: from nothing to a report, and real codes to golden numbers."""

import base64
import json
import re
import sys

import numpy as np
import pytest
from PIL import Image

from data.drivers import DriverError
from data.facemesh import FaceMesh
from data.facemesh.models import ModelError
from data.pose_vector import POSE_NAMES
from edtn_jax.config import ConfigError
from edtn_jax.demo import run_demo
from tests import generator_runs


@pytest.fixture(scope='module')
def face_models():
  pytest.importorskip('ai_edge_litert', reason='extra [facemesh]')
  try:
    FaceMesh()
  except ModelError as error:
    pytest.skip(f'no FaceMesh models: {error}')


@pytest.mark.slow
def test_from_nothing_to_a_report(tmp_path):
  run = str(generator_runs.write_run(tmp_path / 'generator'))
  report = run_demo(tmp_path / 'out', num_steps=30, generator=run)
  page = report.read_text()
  gif = base64.b64decode(
    re.search(r'data:image/gif;base64,([^"]+)', page).group(1)
  )
  stored = tmp_path / 'out' / 'reenactment' / 'reenactment.gif'
  assert gif == stored.read_bytes()
  with Image.open(stored) as picture:
    assert picture.n_frames == 120
    # Two meshes, generated picture, drawn truth, bars.
    assert picture.width == 5 * 248 + 8
  assert f'step {generator_runs.STEP}' in page
  summary = (tmp_path / 'out' / 'reenactment' / 'summary.json').read_text()
  assert json.loads(summary)['generated']['source'].endswith('source.png')
  assert 'coefficient error' in page
  with np.load(tmp_path / 'out' / 'reenactment' / 'pose_vectors.npz') as poses:
    assert poses['pose_vector'].shape == (300, 20)
    assert tuple(poses['columns'].tolist()) == POSE_NAMES
  # Again: nothing is trained, the same report comes out.
  again = run_demo(tmp_path / 'out', num_steps=30, generator=run)
  assert again == report


@pytest.mark.slow
def test_real_codes_reproduce_the_reference(shared_dir, tmp_path):
  real = shared_dir / 'real'
  report = run_demo(
    tmp_path,
    driving=str(real / 'deca'),
    weights=str(real / 'EDTN.pt'),
    pose_adapter=str(real / 'transform_matrix_08_30.npy'),
  )
  assert 'data:image/gif;base64,' in report.read_text()
  golden = np.load(shared_dir / 'golden' / 'edtn_outputs.npz')
  with np.load(tmp_path / 'reenactment' / 'pose_vectors.npz') as poses:
    assert [name.partition('.')[0] for name in poses['frame'].tolist()] == [
      name.partition('.')[0] for name in golden['frames'].tolist()
    ]
    np.testing.assert_allclose(
      poses['network_output'], golden['pose_coefficients'], atol=1e-5
    )


def test_other_weights_are_not_taken_for_the_first(shared_dir, tmp_path):
  real = shared_dir / 'real'
  arguments = {
    'driving': str(real / 'deca'),
    'pose_adapter': str(real / 'transform_matrix_08_30.npy'),
  }
  (tmp_path / 'other.pt').write_text('no weights')
  with pytest.raises(ValueError, match=r'other\.pt'):
    run_demo(tmp_path / 'out', weights=str(tmp_path / 'other.pt'), **arguments)
  assert not (tmp_path / 'out').exists()


@pytest.fixture
def clip(tmp_path):
  """A folder of pictures without a face."""
  folder = tmp_path / 'clip'
  folder.mkdir()
  for i in range(3):
    Image.new('RGB', (64, 64), (90, 120, 40)).save(folder / f'{i}.png')
  return folder


def problems_of(output, **arguments):
  with pytest.raises(ConfigError) as caught:
    run_demo(output, **arguments)
  assert not output.exists()
  return {problem.key: problem.rule for problem in caught.value.problems}


def test_every_missing_argument_is_named(tmp_path):
  output = tmp_path / 'out'
  codes = tmp_path / 'codes'
  codes.mkdir()
  (codes / '0.mat').touch()
  found = problems_of(output, driving=str(codes), frames='none')
  assert found == {
    'frames': 'does not exist',
    'weights': 'is needed where --driving holds codes',
    'pose_adapter': 'is needed where --driving holds codes',
  }
  assert problems_of(output, driving='none.mp4') == {
    'driving': 'does not exist'
  }
  (tmp_path / 'EDTN.pt').touch()
  assert problems_of(output, weights=str(tmp_path / 'EDTN.pt')) == {
    'weights': 'has a meaning only with --driving'
  }


def test_what_belongs_to_codes_is_refused_with_a_clip(tmp_path, clip):
  found = problems_of(
    tmp_path / 'out',
    driving=str(clip),
    weights=str(clip / '0.png'),
    frames=str(clip),
  )
  rule = 'is for codes, and --driving is a moving picture'
  assert found == {'weights': rule, 'frames': rule}


def test_all_extras_that_a_clip_needs_are_named_at_once(tmp_path, monkeypatch):
  def missing(**options):
    raise ModelError('face landmarks need ai-edge-litert')

  monkeypatch.setitem(sys.modules, 'av', None)
  monkeypatch.setattr('edtn_jax.demo.clip.FaceTracker', missing)
  (tmp_path / 'clip.mp4').touch()
  with pytest.raises(ConfigError, match='2 problems') as caught:
    run_demo(tmp_path / 'out', driving=str(tmp_path / 'clip.mp4'))
  for text in ('edtn-jax[video]', 'ai-edge-litert', 'make demo DRIVING='):
    assert text in str(caught.value)
  assert not (tmp_path / 'out').exists()


def test_a_clip_without_a_face_is_told_before_training(
  tmp_path, clip, face_models
):
  with pytest.raises(DriverError, match='no face in any of 3 frames'):
    run_demo(tmp_path / 'out', driving=str(clip))
  assert not (tmp_path / 'out').exists()


@pytest.mark.slow
def test_a_clip_drives(shared_dir, tmp_path, face_models):
  run = str(generator_runs.write_run(tmp_path / 'generator'))
  frames = shared_dir / 'real' / 'frames'
  output = tmp_path / 'out'
  report = run_demo(output, driving=str(frames), num_steps=30, generator=run)
  page = report.read_text()
  assert 'A real face drives' in page
  assert f'--driving={frames}' in page
  assert 'coefficient error' in page
  with Image.open(output / 'reenactment' / 'reenactment.gif') as picture:
    # Frame, two meshes, generated picture, drawn truth, bars.
    assert picture.width == 6 * 248 + 8
  summary = json.loads((output / 'reenactment/summary.json').read_text())
  assert summary['driver']['head'] == 'procedural head'
  assert summary['frames'] == len(list(frames.glob('*.png')))


def test_a_character_that_cannot_be_opened_is_told_before_training(tmp_path):
  with pytest.raises(ValueError, match=r'nofile\.vrm'):
    run_demo(tmp_path / 'out', puppet='nofile.vrm')
  assert not (tmp_path / 'out').exists()
