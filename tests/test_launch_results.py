"""The page of results: what stands in the files stands in its tables."""

import json

import pytest

from launch import results

RUN = {
  'started': '2026-01-02T03:04:05+00:00',
  'commit': 'abc',
  'python': '3.11.7',
  'versions': {'jax': '0.10.2'},
  'device_kind': 'cpu',
  'devices': 2,
  'argv': ['train', '--config=configs/edtn.py', '--workdir=x'],
}
START = 1_767_323_045  # the same moment in seconds


def write_trial(folder, name, lid):
  run = folder / name
  run.mkdir(parents=True)
  (run / 'result.json').write_text(
    json.dumps({'step': 8, 'metrics': {'lid_error_mm': lid, 'loss': 1.0}})
  )
  (run / 'provenance.json').write_text(json.dumps({'runs': [RUN]}))
  (run / 'metrics.jsonl').write_text(json.dumps({'time': START + 90}) + '\n')


def test_seeds_of_a_trial_are_one_row(tmp_path):
  write_trial(tmp_path / 'table2', 'all,seed=0', 0.2)
  write_trial(tmp_path / 'table2', 'all,seed=1', 0.4)
  write_trial(tmp_path / 'table2', 'vertex,seed=0', 0.5)
  text = results.sweep_section(tmp_path / 'table2')
  assert (
    '3 runs on 2 x cpu, Python 3.11.7, jax 0.10.2, commit abc, '
    '--config=configs/edtn.py.'
  ) in text
  assert '| all | 2 | 0.3 ± 0.1 | 1.5 min |' in text
  assert '| vertex | 1 | 0.5 | 1.5 min |' in text
  assert 'loss' not in text


def test_a_sweep_that_has_not_run_is_refused(tmp_path):
  with pytest.raises(results.ResultsError, match=r'run launch\.sweep first'):
    results.sweep_section(tmp_path)


def test_generators_stand_beside_warp_and_source(tmp_path):
  metrics = {
    f'{prefix}{name}': value
    for prefix, value in (('', 0.1), ('warped/', 0.2), ('copy/', 0.3))
    for name in ('l1', 'l1_eyes', 'l1_mouth', 'l1_rest', 'ssim', 'psnr')
  }
  protocol = {
    'task': 'anime_generator',
    'checkpoint': 'runs/lite/checkpoints/12000',
    'step': 12_000,
    'num_parameters': 2_441_495,
    'image_size': 96,
    'devices': '2 x cpu',
    'commit': 'abc',
    'data': 'characters',
    'split': 'test',
    'wall_time_s': 41.6,
  }
  path = tmp_path / 'lite.json'
  path.write_text(json.dumps({'metrics': metrics, 'protocol': protocol}))
  text = results.evaluation_section([path])
  assert '2 x cpu, commit abc, data characters (test), in 42 s' in text
  four = ' | '.join(['0.2000'] * 4)
  name = 'lite: 2.44 M parameters, 96 pixels, step 12,000'
  assert f'| {name} | warp | {four} | 0.2 | 0.2 |' in text
  del protocol['image_size']
  path.write_text(json.dumps({'metrics': metrics, 'protocol': protocol}))
  with pytest.raises(results.ResultsError, match='image_size; an older'):
    results.evaluation_section([path])
  protocol['task'] = 'expression_translation'
  path.write_text(json.dumps({'metrics': metrics, 'protocol': protocol}))
  with pytest.raises(results.ResultsError, match='no evaluation'):
    results.evaluation_section([path])


def test_benchmarks_keep_their_notes(tmp_path):
  path = tmp_path / 'speed.json'
  row = {'what': 'step', 'milliseconds': 12.5, 'calls': 7, 'note': 'fast'}
  machine = {**RUN, 'cpu_count': 2}
  path.write_text(json.dumps({'machine': machine, 'rows': [row]}))
  text = results.benchmark_section(path)
  assert '## Speed: speed' in text
  assert '2 CPU cores' in text
  assert '| step | 12.500 | 7 | fast |' in text


def test_what_is_no_json_is_told(tmp_path):
  with pytest.raises(results.ResultsError, match='No such file'):
    results.benchmark_section(tmp_path / 'none.json')
  (tmp_path / 'bad.json').write_text('{')
  with pytest.raises(results.ResultsError, match='no JSON'):
    results.benchmark_section(tmp_path / 'bad.json')
