"""The demo: from nothing to a report, and real codes to golden numbers."""

import base64
import json
import re

import numpy as np
import pytest
from PIL import Image

from data.pose_vector import POSE_NAMES
from edtn_jax.config import ConfigError
from edtn_jax.demo import run_demo
from tests import generator_runs


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


def test_every_missing_argument_is_named(tmp_path):
  with pytest.raises(ConfigError) as caught:
    run_demo(tmp_path / 'out', driving=str(tmp_path / 'none'))
  assert {p.key for p in caught.value.problems} == {
    'weights',
    'pose_adapter',
    'driving',
  }
  with pytest.raises(ConfigError, match='only with --driving'):
    run_demo(tmp_path / 'out', weights='EDTN.pt')
  assert not (tmp_path / 'out').exists()


def test_a_character_that_cannot_be_opened_is_told_before_training(tmp_path):
  with pytest.raises(ValueError, match=r'nofile\.vrm'):
    run_demo(tmp_path / 'out', puppet='nofile.vrm')
  assert not (tmp_path / 'out').exists()
