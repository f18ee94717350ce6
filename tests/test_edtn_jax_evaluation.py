"""Evaluation of a run: setting, extra measurements, page."""

import re
import types

import jax
import numpy as np
import pytest

from configs import anime_generator, edtn
from data import anime_tree
from data.character_frames import CharacterFrames
from data.pose_vector import NUM_COEFFICIENTS, NUM_POSE
from edtn_jax import checkpoints
from edtn_jax.config import ConfigError
from edtn_jax.evaluation import extras, poses
from edtn_jax.evaluation.metrics.ms_ssim import WEIGHTS, ms_ssim, num_scales
from edtn_jax.evaluation.page import write_page
from edtn_jax.evaluation.run import Evaluation, evaluate
from edtn_jax.evaluation.setting import evaluation_config
from edtn_jax.export import export_run
from edtn_jax.losses import pictures
from edtn_jax.tasks.validate import validate
from edtn_jax.translation.network import build_translator
from tests import generator_runs


def _found(config, constants=None):
  return checkpoints.Checkpoint(config, {}, constants or {}, 0, 'a/run', False)


def _noise(size, seed=0):
  return np.random.default_rng(seed).random((2, size, size, 3), np.float32)


def test_ms_ssim_of_one_scale_is_ssim():
  one, other = _noise(16), _noise(16, 1)
  assert num_scales(16) == 1
  # The mean of products over channels is that of SSIM's map.
  np.testing.assert_allclose(
    ms_ssim(one, one + 0.1 * other),
    pictures.ssim(one, one + 0.1 * other),
    atol=1e-5,
  )
  np.testing.assert_allclose(ms_ssim(one, one), 1, atol=1e-6)


def test_ms_ssim_of_flat_pictures_by_hand():
  one, other = (np.full((1, 44, 44, 3), x, np.float32) for x in (0.2, 0.6))
  assert [num_scales(size) for size in (10, 11, 44, 88, 175, 176, 999)] == [
    *(0, 1, 3, 4, 4, 5, 5),
  ]
  # No contrast: those terms are 1; the luminance counts at the third scale.
  luminance = (2 * 0.2 * 0.6 + 1e-4) / (0.2**2 + 0.6**2 + 1e-4)
  wanted = luminance ** (WEIGHTS[2] / sum(WEIGHTS[:3]))
  np.testing.assert_allclose(ms_ssim(one, other), wanted, rtol=1e-3)
  with pytest.raises(ValueError, match='at least 11'):
    ms_ssim(_noise(8), _noise(8))


def test_nothing_that_only_training_needs_is_asked_for(tmp_path):
  paper = anime_generator.get_config('256')
  paper.loss.vgg_weights = str(tmp_path / 'not_here.pth')
  paper.data.source = 'characters'
  lite = anime_generator.get_config('lite')
  for config, data_path in ((paper, ''), (lite, str(tmp_path))):
    changed = config.copy_and_resolve_references()
    if data_path:
      changed.data.source, changed.data.path = 'dataset', data_path
    with pytest.raises(ConfigError):
      validate(changed, num_devices=1)
    ready, _ = evaluation_config(_found(config), data_path=data_path)
    validate(ready, num_devices=1)
  assert paper.loss.objective == 'vgg'


def test_a_run_spread_over_devices_is_evaluated_on_one():
  config = anime_generator.get_config('tiny')
  config.sharding.mesh.model = 2
  with pytest.raises(ConfigError, match=r'sharding\.mesh'):
    validate(config, num_devices=1)
  ready, _ = evaluation_config(_found(config))
  validate(ready, num_devices=1)
  assert config.sharding.mesh.model == 2


def test_arguments_without_a_meaning_are_all_told():
  found = _found(anime_generator.get_config('tiny'))
  with pytest.raises(ConfigError) as caught:
    evaluation_config(found, split='test', pose_adapter='adapter.npy')
  text = str(caught.value)
  assert "a run of 'anime_generator', which has no face model" in text
  assert 'a meaning only for a prepared data set' in text


def test_the_plane_keeps_distances():
  rng = np.random.default_rng(0)
  flat = np.zeros((60, NUM_COEFFICIENTS))
  flat[:, 3:5] = rng.random((60, 2))
  plane = poses.pose_plane(flat[:20], flat)
  assert plane.variance == pytest.approx(1)
  assert plane.distance == pytest.approx(0, abs=1e-6)
  apart = np.linalg.norm(flat[0] - flat[7])
  assert np.linalg.norm(plane.human[0] - plane.human[7]) == pytest.approx(apart)
  away = flat[:20].copy()
  away[:, 16] = 1
  assert poses.pose_plane(away, flat).distance > 5
  anime = poses.anime_coefficients()
  assert anime.shape == (2000, NUM_COEFFICIENTS)
  assert poses.pose_plane(anime[:9], anime).human.shape == (9, 2)


def test_the_crossed_truth_is_the_source_in_the_others_pose():
  config = anime_generator.get_config('tiny')
  first = config.data.first_identity + config.data.num_identities
  rng = np.random.default_rng(0)
  batch = {
    'identity': np.array([first, first + 1, first, first]),
    'driving_pose': rng.random((4, NUM_POSE)).astype(np.float32),
    'driving_image': np.zeros((4, 32, 32, 3), np.uint8),
    'flow_mask': np.ones((4, 8, 8), np.float32),
    '_mask': np.array([1, 1, 1, 0], np.float32),
  }
  [crossed] = extras._crossed([batch], config)
  np.testing.assert_array_equal(
    crossed['driving_pose'], batch['driving_pose'][[1, 2, 3, 0]]
  )
  # The third one's driver fills the batch up.
  assert crossed['_mask'].tolist() == [1, 1, 0, 0]
  assert not crossed['flow_mask'].any()
  frames = CharacterFrames(
    range(first, first + 2), 32, config.seed, styles=config.data.styles
  )
  drawn = frames.character(first + 1).render(batch['driving_pose'][2])
  np.testing.assert_array_equal(
    crossed['driving_image'][1], anime_tree.on_white(drawn)
  )


@pytest.fixture(scope='module')
def translator_run(tmp_path_factory):
  """A run of a tiny translator with random parameters."""
  workdir = tmp_path_factory.mktemp('translator')
  config = edtn.get_config('tiny')
  model = build_translator(config.model)
  params = model.init(jax.random.key(0), np.zeros((1, 50)), np.zeros((1, 3)))
  manager = checkpoints.CheckpointManager(workdir, best_metric='loss')
  manager.save(
    5,
    {'params': {'model': params['params']}},
    data={},
    config=config,
    metrics=None,
  )
  manager.close()
  return workdir


def test_translator_with_page_and_from_its_bundle(translator_run, tmp_path):
  found = evaluate(translator_run, pictures=True)
  metrics, protocol = found.result['metrics'], found.result['protocol']
  assert metrics['anime_distance'] > 0
  assert len(found.extra.coefficients) == metrics['frames']
  assert protocol['step'] == 5
  assert len(protocol['parameters_sha256']) == 64
  path = write_page(tmp_path / 'page.html', found)
  page = path.read_text()
  for word in ('Human and anime pose vectors', 'Coefficients', 'anime poses'):
    assert word in page
  assert 'src="http' not in page
  export_run(translator_run, tmp_path / 'bundle.zip', formats=())
  bundled = evaluate(tmp_path / 'bundle.zip').result
  assert bundled['metrics'] == metrics
  assert (
    bundled['protocol']['parameters_sha256'] == protocol['parameters_sha256']
  )


@pytest.mark.slow
def test_generator_with_page(tmp_path):
  found = evaluate(generator_runs.write_run(tmp_path / 'run'), pictures=True)
  metrics = found.result['metrics']
  for name in ('l1', 'l1_eyes', 'psnr_mouth', 'ssim_rest', 'l1_parts'):
    assert np.isfinite(metrics[name])
    assert np.isfinite(metrics[f'cross/{name}'])
  assert 0 <= metrics['ms_ssim'] <= 1
  assert found.result['protocol']['ms_ssim_scales'] == 2
  assert 'cross/flow_error' not in metrics
  page = write_page(tmp_path / 'page.html', found).read_text()
  assert 'By part' in page
  assert 'Own pose' in page


def test_a_page_has_a_row_for_each_distance_and_part(tmp_path):
  metrics = {
    'l1': 0.5,
    'copy/l1': 0.75,
    'l1_eyes': 0.125,
    'copy/l1_eyes': 0.375,
    'warped/l1_eyes': 0.25,
    **{
      f'{prefix}l1_{part}': 0.1
      for prefix in ('', 'warped/', 'copy/')
      for part in ('mouth', 'rest')
    },
    'ms_ssim': 0.875,
    'unheard_of': 3.0,
  }
  protocol = {
    'checkpoint': 'runs/lite/checkpoints/12',
    'task': 'anime_generator',
    'step': 12,
    'data': 'characters',
    'split': 'test',
  }
  found = Evaluation(
    {'metrics': metrics, 'protocol': protocol},
    task=None,
    extra=extras.Extra(metrics, protocol),
    pictures={},
  )
  page = write_page(tmp_path / 'page.html', found).read_text()
  table = page[page.index('id="table-0"') :]
  rows = [
    re.findall(r'<t[hd][^>]*>(.*?)</t[hd]>', row)
    for row in re.findall(r'<tr>(.*?)</tr>', table.partition('</table>')[0])
  ]
  assert rows == [
    [
      '',
      'the source, as it is',
      'warped',
      'result',
      'result, another identity&#x27;s pose',
    ],
    ['L1', '0.75', '', '0.5', ''],
    ['L1, eyes', '0.375', '0.25', '0.125', ''],
    ['L1, mouth', '0.1', '0.1', '0.1', ''],
    ['L1, rest', '0.1', '0.1', '0.1', ''],
    ['unheard_of', '', '', '3', ''],
  ]
  assert page.count('0.875') >= 2  # large, and in its own row


def test_without_truth_there_is_no_cross_identity(monkeypatch):
  config = anime_generator.get_config('tiny')
  config.data.source = 'dataset'
  total = types.SimpleNamespace(compute=lambda: {'ms_ssim': 0.5})
  monkeypatch.setattr(
    extras.Means, 'empty', lambda: types.SimpleNamespace(merge=lambda _: total)
  )
  monkeypatch.setattr(extras, '_ms_ssim_batch', lambda *_: None)
  found = extras.extra(
    extras.Evaluated(None, config, None, None, [{}], lambda batch: batch)
  )
  assert found.metrics == {'ms_ssim': 0.5}
  assert found.protocol['cross_identity'].startswith('not measured')
