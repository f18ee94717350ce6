"""Validation metrics: by hand, padded, merged."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from configs import edtn
from data.pose_vector import COEFFICIENT_NAMES
from edtn_jax import checkpoints, faces
from edtn_jax.config import ConfigError
from edtn_jax.evaluation.run import evaluate, markdown_row
from edtn_jax.losses import Geometry, loss_terms
from edtn_jax.tasks.expression_metrics import ExpressionMetrics
from edtn_jax.translation.network import build_translator

NUM_VERTICES = 10


def metrics_of(seed, count, *, mask=None, truth=True):
  rng = np.random.default_rng(seed)
  geometry = Geometry(
    vertex_error=jnp.asarray(rng.random(count), jnp.float32),
    target_landmarks=jnp.asarray(rng.normal(size=(count, 68, 3)), jnp.float32),
    predicted_landmarks=jnp.asarray(
      rng.normal(size=(count, 68, 3)), jnp.float32
    ),
    num_vertices=NUM_VERTICES,
  )
  terms = loss_terms(geometry, 'paper')
  coeffs = jnp.asarray(rng.random((count, 17)), jnp.float32)
  return ExpressionMetrics.from_batch(
    geometry=geometry,
    terms={**terms, 'loss': terms['eye']},
    pose_coeffs=coeffs,
    true_pose_coeffs=coeffs + 0.25 if truth else None,
    mask=jnp.ones(count) if mask is None else jnp.asarray(mask),
  )


def test_millimetres_by_hand():
  target = np.zeros((2, 68, 3), np.float32)
  predicted = target.copy()
  predicted[0, 0] = (0.003, 0.004, 0)  # 5 mm on one of 68 points
  predicted[1, 37, 1] = 0.008  # one of four lid pairs opens by 8 mm
  geometry = Geometry(
    vertex_error=jnp.array([NUM_VERTICES * 4e-6, 0.0]),
    target_landmarks=jnp.asarray(target),
    predicted_landmarks=jnp.asarray(predicted),
    num_vertices=NUM_VERTICES,
  )
  terms = loss_terms(geometry, 'paper')
  result = ExpressionMetrics.from_batch(
    geometry=geometry,
    terms={**terms, 'loss': terms['landmark']},
    pose_coeffs=jnp.tile(jnp.array([[0.2], [0.6]]), (1, 17)),
    true_pose_coeffs=jnp.tile(jnp.array([[0.2], [0.5]]), (1, 17)),
    mask=jnp.ones(2),
  ).compute()
  assert result['landmark_error_mm'] == pytest.approx((5 + 8) / 68 / 2)
  assert result['lid_error_mm'] == pytest.approx(8 / 4 / 2)
  assert result['lip_error_mm'] == 0
  assert result['vertex_error_mm'] == pytest.approx(2 / 2)
  assert result['coefficient_error'] == pytest.approx(0.05, rel=1e-5)
  name = COEFFICIENT_NAMES[3]
  assert result[f'coefficient/{name}/low'] == pytest.approx(0.2)
  assert result[f'coefficient/{name}/high'] == pytest.approx(0.6)
  assert result[f'coefficient/{name}/mean'] == pytest.approx(0.4)
  assert result[f'coefficient/{name}/std'] == pytest.approx(0.2, rel=1e-4)
  assert result['frames'] == 2


def test_padding_counts_for_nothing():
  mask = [1, 1, 1, 0, 0]
  padded = metrics_of(0, 5, mask=mask).compute()
  rng_same = metrics_of(0, 5)
  assert padded['frames'] == 3
  assert padded['coefficient_error'] == pytest.approx(0.25, rel=1e-5)
  assert rng_same.compute()['frames'] == 5
  assert padded['loss'] != pytest.approx(rng_same.compute()['loss'])


def test_merge_is_the_mean_over_all_frames_in_any_order():
  parts = [metrics_of(seed, count) for seed, count in ((1, 2), (2, 5), (3, 1))]
  one = ExpressionMetrics.empty()
  other = ExpressionMetrics.empty()
  for part in parts:
    one = one.merge(part)
  for part in reversed(parts):
    other = part.merge(other)
  one, other = one.compute(), other.compute()
  assert one['frames'] == 8
  for key, value in one.items():
    assert other[key] == pytest.approx(value, rel=1e-5, abs=1e-6), key
  weighted = sum(
    p.compute()['landmark'] * c for p, c in zip(parts, (2, 5, 1), strict=True)
  )
  assert one['landmark'] == pytest.approx(weighted / 8, rel=1e-5)


def test_unknown_truth_gives_no_error_column():
  result = metrics_of(0, 4, truth=False).compute()
  assert 'coefficient_error' not in result
  assert not any(key.endswith('/error') for key in result)


def test_no_frames_is_an_error():
  with pytest.raises(ValueError, match='no frame'):
    ExpressionMetrics.empty().compute()


def test_markdown_row_has_one_column_a_metric():
  result = {
    'metrics': {'loss': 0.123456, 'coefficient/mouth_a/mean': 0.5, 'frames': 9},
    'protocol': {'step': 40},
  }
  assert markdown_row(result).splitlines() == [
    '| step | loss | frames |',
    '| --- | --- | --- |',
    '| 40 | 0.1235 | 9 |',
  ]


def make_run(workdir, config, constants=None):
  """A run with random parameters, as training leaves it."""
  model = build_translator(config.model)
  params = model.init(jax.random.key(0), np.zeros((1, 50)), np.zeros((1, 3)))
  manager = checkpoints.CheckpointManager(workdir, best_metric='loss')
  manager.save(
    0,
    {'params': {'model': params['params']}, 'constants': constants},
    data={},
    config=config,
    metrics=None,
  )
  manager.close()


def test_a_split_of_procedural_data_is_refused(tmp_path):
  make_run(tmp_path, edtn.get_config('tiny'))
  with pytest.raises(ConfigError, match=r'split.*prepared data set.*--data'):
    evaluate(tmp_path, split='train')


def test_the_stored_adapter_counts_whatever_became_of_its_file(tmp_path):
  config = edtn.get_config('tiny')
  adapter = faces.procedural_adapter()
  np.save(tmp_path / 'adapter.npy', adapter)
  config.face.pose_adapter = str(tmp_path / 'adapter.npy')
  make_run(tmp_path / 'run', config, {'pose_adapter': adapter})
  (tmp_path / 'adapter.npy').rename(tmp_path / 'moved.npy')
  stored = evaluate(tmp_path / 'run').result['metrics']
  given = evaluate(
    tmp_path / 'run', pose_adapter=str(tmp_path / 'moved.npy')
  ).result
  assert stored == given['metrics']
  np.save(tmp_path / 'other.npy', 0.5 * adapter)
  other = evaluate(
    tmp_path / 'run', pose_adapter=str(tmp_path / 'other.npy')
  ).result
  assert other['metrics']['vertex'] != stored['vertex']
