import json
import os
import pathlib
import signal
import subprocess
import sys
import time

import numpy as np
import pytest

from data import (
  anime_rows,
  anime_sampling,
  anime_tree,
  character_pictures,
  files,
  prepare_characters,
)
from data.characters.character import Character
from data.characters.style import style_of
from data.dataset_writer import TIME_KEYS
from data.output_folder import OutputFolder

ROOT = pathlib.Path(__file__).resolve().parents[1]
SMALL = {
  'num_identities': 3,
  'frames_per_identity': 4,
  'size': 32,
  'seed': 5,
  'first_seed': 499,
  'test_fraction': 0.3,
  'styles': ['flat', 'soft', 'line_art'],
}


def prepare(output, **changes):
  return prepare_characters.prepare_characters(output, **{**SMALL, **changes})


def tree_files(output):
  """Every file's bytes; the manifest without its times."""
  root = prepare_characters.tree_dir(output)
  contents = {
    path.relative_to(root).as_posix(): path.read_bytes()
    for path in root.rglob('*')
    if path.is_file()
  }
  manifest = json.loads(contents['manifest.json'])
  for key in TIME_KEYS:
    del manifest[key]
  return {**contents, 'manifest.json': manifest}


@pytest.fixture(scope='module')
def whole(tmp_path_factory):
  """A data set that was drawn without interruption."""
  output = tmp_path_factory.mktemp('whole')
  calls = []
  manifest = prepare(output, progress=lambda *args: calls.append(args))
  assert calls == [('draw', 1, 3), ('draw', 2, 3), ('draw', 3, 3)]
  return output, manifest


def test_the_tree_holds_what_the_characters_show(whole):
  output, manifest = whole
  table = anime_tree.read_tree(
    prepare_characters.tree_dir(output), check_pictures=True
  )
  assert table.skipped == ()
  assert table.identities == ('499', '500', '501')
  assert table.kinds == ('frontal', 'rotation') * 6
  assert table.paths[0] == 'frontal/0/499/499_0000.png'
  assert table.paths[-1] == 'rotation/1/501/501_0001.png'
  size = 0
  for place, name in enumerate(table.identities):
    style = manifest['identity_styles'][name]
    assert style == style_of(5, int(name), SMALL['styles'])
    character = Character.from_seed(int(name), 32, style)
    neutral = table.root / table.basis[name]
    size += os.path.getsize(neutral)
    np.testing.assert_array_equal(
      anime_tree.read_picture(neutral), character.neutral()
    )
    for rotate, kind in enumerate(anime_rows.KINDS):
      poses = anime_sampling.identity_poses(5, int(name), 2, bool(rotate))
      frames = [4 * place + rotate, 4 * place + rotate + 2]
      np.testing.assert_array_equal(table.pose[frames], poses)
      for frame, pose in zip(frames, poses, strict=True):
        path = table.root / table.paths[frame]
        size += path.stat().st_size
        assert table.kinds[frame] == kind
        np.testing.assert_array_equal(
          anime_tree.read_picture(path), character.render(pose)
        )
  assert manifest['num_bytes'] == size
  assert manifest['source'] == {'kind': 'characters', **SMALL}
  assert (
    prepare_characters.identity_styles(table.root)
    == manifest['identity_styles']
  )
  assert len(set(manifest['identity_styles'].values())) > 1
  assert (table.root / 'combined_pose.csv').read_text().splitlines()[0] == (
    ','.join(anime_rows.HEADER)
  )


def test_styles_are_unknown_of_a_tree_without_a_manifest(tmp_path):
  assert prepare_characters.identity_styles(tmp_path) == {}
  (tmp_path / 'manifest.json').write_text('{"format": "characters"}')
  assert prepare_characters.identity_styles(tmp_path) == {}
  (tmp_path / 'manifest.json').write_text('[]')
  with pytest.raises(files.BrokenFileError, match='not a manifest'):
    prepare_characters.identity_styles(tmp_path)


def test_a_run_with_other_styles_draws_again(whole, tmp_path, monkeypatch):
  monkeypatch.setattr(OutputFolder, 'publish', lambda *args: None)
  prepare(tmp_path, styles=['cel'])
  monkeypatch.undo()
  # The order in which styles are given, or a repetition, changes nothing.
  prepare(tmp_path, styles=['soft', 'line_art', 'flat', 'soft'])
  assert tree_files(tmp_path) == tree_files(whole[0])


def test_splits_are_by_identity_and_cover_all(whole):
  output, manifest = whole
  root = prepare_characters.tree_dir(output)
  train, test = (
    anime_tree.read_identity_list(root / name)
    for name in (anime_tree.TRAIN_LIST_NAME, anime_tree.TEST_LIST_NAME)
  )
  assert sorted(train + test) == ['499', '500', '501']
  assert train
  assert test
  assert manifest['splits'] == {
    'train': {'identities': len(train), 'frames': 4 * len(train)},
    'test': {'identities': len(test), 'frames': 4 * len(test)},
  }
  assert not (output / '.partial_characters').exists()


def test_two_processes_write_the_same(whole, tmp_path):
  prepare(tmp_path, num_processes=2)
  assert tree_files(tmp_path) == tree_files(whole[0])


def test_a_crash_is_resumed_without_drawing_again(whole, tmp_path, monkeypatch):
  drawn = []
  render = Character.render

  def failing(self, pose, **kwargs):
    drawn.append(self)
    # One picture an identity is drawn to compare, five to be kept.
    if len(drawn) == 6 + 4:
      raise OSError('no space left on device')
    return render(self, pose, **kwargs)

  monkeypatch.setattr(Character, 'render', failing)
  with pytest.raises(OSError, match='no space left'):
    prepare(tmp_path)
  assert not prepare_characters.tree_dir(tmp_path).exists()
  drawn.clear()
  monkeypatch.setattr(
    Character, 'render', lambda *args: drawn.append(0) or render(*args)
  )
  prepare(tmp_path)
  assert len(drawn) == 1 + 6 + 6
  assert tree_files(tmp_path) == tree_files(whole[0])


def test_a_killed_process_is_resumed(whole, tmp_path):
  code = (
    'from data import prepare_characters as p\n'
    f'p.prepare_characters({os.fspath(tmp_path)!r}, **{SMALL | {"size": 64}})'
  )
  process = subprocess.Popen([sys.executable, '-c', code], cwd=ROOT)
  marks = tmp_path / '.partial_characters' / 'done'
  while process.poll() is None and not list(marks.glob('*.json')):
    time.sleep(0.002)
  process.send_signal(signal.SIGKILL)
  process.wait()
  # Left from the other size, which must not show; of a run for more, too.
  tree = tmp_path / '.partial_characters' / 'characters'
  stranger = tree / 'frontal/7/3500'
  stranger.mkdir(parents=True)
  (stranger / '3500_0000.png').touch()
  (tree / '.combined_pose.csv.1.tmp').touch()
  marks.mkdir(exist_ok=True)
  (marks / '3500.json').write_text('{}')
  prepare(tmp_path, overwrite=True)
  assert tree_files(tmp_path) == tree_files(whole[0])
  root = prepare_characters.tree_dir(tmp_path)
  assert not (root / 'frontal/7').exists()


def is_running(pid):
  try:
    stat = pathlib.Path(f'/proc/{pid}/stat').read_text()
  except OSError:
    return False
  return stat.rpartition(')')[2].split()[0] != 'Z'


@pytest.mark.skipif(not os.path.exists('/proc'), reason='needs /proc')
def test_workers_end_with_a_killed_process(tmp_path):
  script = tmp_path / 'script.py'
  script.write_text(
    'import multiprocessing\n'
    'from data import prepare_characters as p\n'
    'def tell(*args):\n'
    '  children = multiprocessing.active_children()\n'
    '  print(*(child.pid for child in children), flush=True)\n'
    'if __name__ == "__main__":\n'
    f'  p.prepare_characters({os.fspath(tmp_path / "out")!r}, '
    'num_identities=1000, num_processes=2, frames_per_identity=2, size=64, '
    'progress=tell)\n'
  )
  with subprocess.Popen(
    [sys.executable, script],
    stdout=subprocess.PIPE,
    env={**os.environ, 'PYTHONPATH': os.fspath(ROOT)},
  ) as process:
    workers = list(map(int, process.stdout.readline().split()))
    process.kill()
  assert workers
  deadline = time.monotonic() + 30
  while any(map(is_running, workers)) and time.monotonic() < deadline:
    time.sleep(0.01)
  assert not any(map(is_running, workers))


@pytest.mark.parametrize('damage', ['picture', 'mark', 'code'])
def test_what_an_earlier_run_left_damaged_is_drawn_again(
  whole, tmp_path, damage, monkeypatch
):
  monkeypatch.setattr(OutputFolder, 'publish', lambda *args: None)
  if damage == 'code':
    monkeypatch.setattr(character_pictures, '_VERSION', 0)
  prepare(tmp_path)
  monkeypatch.undo()
  partial = tmp_path / '.partial_characters'
  picture = partial / 'characters/rotation/1/500/500_0001.png'
  if damage == 'mark':
    (partial / 'done/500.json').write_text('[')
  if damage == 'picture':
    picture.write_bytes(b'')
  else:
    picture.write_bytes(picture.read_bytes()[::-1])
  prepare(tmp_path)
  assert tree_files(tmp_path) == tree_files(whole[0])


def test_a_finished_set_is_replaced_only_on_demand(whole, tmp_path):
  prepare(tmp_path, num_identities=2, seed=9)
  before = tree_files(tmp_path)
  with pytest.raises(FileExistsError, match='--overwrite'):
    prepare(tmp_path)
  assert tree_files(tmp_path) == before
  prepare(tmp_path, overwrite=True)
  assert tree_files(tmp_path) == tree_files(whole[0])
  assert [path.name for path in tmp_path.iterdir()] == ['characters']


def test_other_things_in_the_way_are_left_alone(tmp_path):
  mine = tmp_path / 'characters'
  mine.mkdir()
  (mine / 'manifest.json').write_text('{"format": "holiday"}')
  with pytest.raises(FileExistsError, match='left alone'):
    prepare(tmp_path, overwrite=True)
  assert [path.name for path in tmp_path.iterdir()] == ['characters']
  (tmp_path / 'file').touch()
  with pytest.raises(NotADirectoryError, match='a file is in the way'):
    prepare(tmp_path / 'file')


def test_wrong_options_are_named_all_at_once(tmp_path):
  with pytest.raises(ValueError) as caught:
    prepare(
      tmp_path / 'out',
      num_identities=0,
      frames_per_identity=3,
      size=8,
      seed=-1,
      test_fraction=1,
      num_processes=0,
      styles=('cell', 'oil'),
    )
  for text in (
    'num_identities is 0, wanted at least 1',
    'frames_per_identity is 3, wanted an even number',
    'size is 8',
    'seed is -1',
    'test_fraction is 1',
    'num_processes is 0',
    "style is 'cell', wanted one of flat, cel, soft, line_art; did you mean",
    "style is 'oil'",
  ):
    assert text in str(caught.value)
  assert not (tmp_path / 'out').exists()
