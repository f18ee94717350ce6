"""Runs, data and outputs in buckets."""

import json
import pathlib
import re
import shutil

import jax.numpy as jnp
import numpy as np
import pytest
from etils import epath

from data import codes, dataset, prepare, remote
from edtn_jax import checkpoints, places, workdir
from edtn_jax.tasks import registry
from edtn_jax.training import trace, train_and_evaluate, writer
from tests import bucket
from tests.toy_task import toy_config


@pytest.fixture
def buckets(monkeypatch, tmp_path):
  monkeypatch.setitem(registry._MODULES, 'toy', 'tests.toy_task')
  return bucket.make_buckets(monkeypatch, tmp_path / 'buckets')


def test_a_run_in_a_bucket_is_written_and_resumed(
  monkeypatch, buckets, tmp_path
):
  monkeypatch.chdir(tmp_path)
  place = 'gs://runs/one'
  train_and_evaluate(toy_config(**{'train.num_steps': 4}), place, num_devices=1)
  whole = toy_config()
  resumed = train_and_evaluate(whole, place, num_devices=1)
  straight = train_and_evaluate(whole, tmp_path / 'straight', num_devices=1)
  np.testing.assert_array_equal(
    resumed.state.params['model']['w'], straight.state.params['model']['w']
  )
  steps = [row['step'] for row in writer.read_metrics(place)]
  assert steps == [
    row['step'] for row in writer.read_metrics(tmp_path / 'straight')
  ]
  folder = buckets['gs'] / 'runs' / 'one'
  assert json.loads((folder / 'result.json').read_text())['step'] == 8
  assert len(list(folder.glob('events.out.tfevents*'))) == 2
  found = checkpoints.load_checkpoint(place)
  assert found.step == 8
  assert found.path == 'gs://runs/one/checkpoints/8'
  # Nothing went into a folder with the name of the scheme.
  assert sorted(p.name for p in tmp_path.iterdir()) == ['buckets', 'straight']


def test_a_trace_reaches_its_bucket_or_stays(monkeypatch, buckets, caplog):
  place = epath.Path('gs://runs/one')
  state = jnp.zeros(3)

  def traced():
    steps = trace.StepTrace(place, (1, 2))
    for step in range(4):
      steps.before(step, state)
    steps.end(state)

  traced()
  folder = buckets['gs'] / 'runs' / 'one' / 'profile'
  assert len(list(folder.rglob('*.xplane.pb'))) == 1

  def fails(*_):
    raise remote.RemotePathError('no bucket')

  monkeypatch.setattr(remote, 'copy_out', fails)
  traced()
  kept = re.search(r'stays in (\S+): no bucket', caplog.text)[1]
  assert list(pathlib.Path(kept).rglob('*.xplane.pb'))
  shutil.rmtree(kept)


def test_what_a_run_logs_reaches_its_bucket_while_it_trains(
  monkeypatch, buckets
):
  monkeypatch.setattr(writer, '_COPY_EVERY_S', 0.0)
  metrics = writer.MetricWriter(
    workdir.absolute('gs://runs/two'), active=True, start_step=0
  )
  metrics.scalars(1, {'loss': 2.0}, prefix='train')
  (row,) = writer.read_metrics('gs://runs/two')
  assert (row['step'], row['train/loss']) == (1, 2.0)
  metrics.close()


def test_a_bucket_that_fails_for_a_moment_loses_no_line(monkeypatch, buckets):
  monkeypatch.setattr(writer, '_COPY_EVERY_S', 0.0)
  copy_out, failures = remote.copy_out, [remote.RemotePathError('gone')]

  def failing(source, path):
    if failures:
      raise failures.pop()
    copy_out(source, path)

  monkeypatch.setattr(remote, 'copy_out', failing)
  metrics = writer.MetricWriter(
    workdir.absolute('gs://runs/three'), active=True, start_step=0
  )
  metrics.scalars(1, {'loss': 2.0}, prefix='train')
  assert writer.read_metrics('gs://runs/three') == []
  metrics.close()
  assert [r['step'] for r in writer.read_metrics('gs://runs/three')] == [1]


@pytest.mark.parametrize(
  ('scheme', 'package', 'extra'), [('gs', 'gcsfs', 'gcs'), ('s3', 's3fs', 's3')]
)
def test_a_missing_extra_is_named(monkeypatch, scheme, package, extra):
  import fsspec

  def absent(_):
    raise ImportError('install it')

  monkeypatch.setattr(fsspec, 'get_filesystem_class', absent)
  said = rf'needs {package}, .*edtn-jax\[{extra}\]'
  with pytest.raises(remote.RemotePathError, match=said):
    workdir.check_directory(f'{scheme}://runs/one')
  values = {'output': f'{scheme}://out'}
  with (
    pytest.raises(remote.RemotePathError, match=rf'edtn-jax\[{extra}\]'),
    places.local_arguments('export', values),
  ):
    raise AssertionError('not reached')


def test_arguments_come_here_and_outputs_go_there(buckets):
  source = buckets['s3'] / 'b' / 'codes'
  source.mkdir(parents=True)
  (source / 'a.mat').write_text('one')
  values = {
    'driving': 's3://b/codes',
    'output': 's3://b/out/7',
    'fps': 25.0,
    'puppet': '40',
    'bundle': 'here,s3://b/codes',
  }
  with places.local_arguments('reenact', values) as local:
    assert (local['fps'], local['puppet']) == (25.0, '40')
    assert local['driving'].endswith('/codes')
    assert local['bundle'] == f'here,{local["driving"]}'
    with open(f'{local["driving"]}/a.mat') as file:
      assert file.read() == 'one'
    # A protocol names the bucket, not the copy.
    assert remote.origin(local['driving']) == 's3://b/codes'
    inside = f'{local["driving"]}/checkpoints/8'
    assert remote.origin(inside) == 's3://b/codes/checkpoints/8'
    folder = workdir.absolute(local['output'])
    assert not folder.exists()
    (folder / 'deep').mkdir(parents=True)
    (folder / 'deep' / 'frame.png').write_text('picture')
    (folder / 'manifest.json').write_text('{}')
    assert not (buckets['s3'] / 'b' / 'out').exists()
  written = buckets['s3'] / 'b' / 'out' / '7'
  assert (written / 'deep' / 'frame.png').read_text() == 'picture'
  assert (written / 'manifest.json').is_file()


def test_a_path_of_this_machine_is_its_own_origin(tmp_path):
  for content in ('{"no": "copy"}', '7', 'no JSON'):
    (tmp_path / '.listing.json').write_text(content)
    assert remote.origin(tmp_path / 'runs' / '8') == f'{tmp_path}/runs/8'
  assert remote.origin('gs://runs/8') == 'gs://runs/8'


def test_an_output_that_failed_is_not_copied(buckets):
  (buckets['gs'] / 'b').mkdir()

  def fail():
    with remote.output_folder('gs://b/out') as folder:
      folder.mkdir()
      (folder / 'half').write_text('')
      raise ZeroDivisionError

  with pytest.raises(ZeroDivisionError):
    fail()
  assert list((buckets['gs'] / 'b').iterdir()) == []


def test_an_output_in_a_bucket_must_be_new(buckets):
  (buckets['gs'] / 'b' / 'out').mkdir(parents=True)
  with (
    pytest.raises(remote.RemotePathError, match='another --output'),
    remote.output_folder('gs://b/out'),
  ):
    raise AssertionError('not reached')


def test_a_copy_is_taken_again_only_after_a_change(buckets, monkeypatch):
  place = buckets['gs'] / 'b' / 'data'
  place.mkdir(parents=True)
  (place / 'x').write_text('1')
  taken = []
  download = remote._download
  monkeypatch.setattr(
    remote,
    '_download',
    lambda *arguments: (taken.append(1), download(*arguments)),
  )
  for content, copies in (('1', 1), ('1', 1), ('22', 2)):
    if (place / 'x').read_text() != content:
      (place / 'x').write_text(content)
    copy = remote.local_copy('gs://b/data')
    assert (copy / 'x').read_text() == content
    assert len(taken) == copies
  with pytest.raises(FileNotFoundError, match='gs://b/nothing'):
    remote.local_copy('gs://b/nothing')


def test_what_goes_while_it_is_copied_is_left_out(buckets, monkeypatch):
  place = buckets['gs'] / 'b' / 'data'
  place.mkdir(parents=True)
  for name in ('x', 'y'):
    (place / name).write_text(name)
  download = remote.download

  def late(*arguments):
    (place / 'x').unlink(missing_ok=True)
    download(*arguments)

  monkeypatch.setattr(remote, 'download', late)
  copy = remote.local_copy('gs://b/data')
  assert [p.name for p in copy.iterdir()] == ['y']


def test_a_copy_that_does_not_fit_is_refused(buckets, monkeypatch):
  (buckets['gs'] / 'b').mkdir()
  (buckets['gs'] / 'b' / 'x').write_bytes(b'123')
  monkeypatch.setattr(
    remote.shutil, 'disk_usage', lambda _: type('Usage', (), {'free': 2})
  )
  with pytest.raises(remote.RemotePathError, match='EDTN_REMOTE_CACHE'):
    remote.local_copy('gs://b/x')
  assert not list((buckets['gs'].parent / 'cache').glob('.partial*'))


def test_a_single_file_is_copied(buckets):
  (buckets['gs'] / 'b').mkdir()
  (buckets['gs'] / 'b' / 'adapter.npy').write_bytes(b'123')
  copy = remote.local_copy('gs://b/adapter.npy')
  assert copy.name == 'adapter.npy'
  assert copy.read_bytes() == b'123'


def test_a_data_set_in_a_bucket_is_read(buckets):
  fields = {
    key: np.full((3, width), 0.5, np.float32)
    for key, width in codes.CLIP_FIELDS.items()
  }
  clip = codes.CodeClip(
    'a', 'one', ['0', '1', '2'], **fields, expression_space='procedural'
  )
  prepare.prepare_procedural(buckets['s3'] / 'b' / 'out', {'train': [clip]})
  assert remote.is_folder('s3://b/out')
  table = dataset.load_table('s3://b/out', 'train')
  assert table.identity_names == ('a',)
  np.testing.assert_array_equal(table.arrays()['jaw_pose'], fields['jaw_pose'])
