import subprocess
import sys

import numpy as np
import tensorflow_datasets as tfds
from PIL import Image

from data import anime_rows, anime_tree
from data.builders import anime_frames


def make_table(root):
  """Three identities, six frames; one picture has no alpha."""
  rng = np.random.default_rng(0)
  rows = []
  for identity in range(3):
    pose = tuple(rng.random(20, np.float32))
    row = anime_rows.PoseRow(str(identity), '0', f'{identity}_ï.png', pose)
    rows.append(row)
    for kind in anime_rows.KINDS:
      path = root / anime_rows.picture_path(kind, row.cluster, row.name)
      path.parent.mkdir(parents=True)
      channels = 3 if identity == 1 else 4
      picture = rng.integers(0, 256, (5, 7, channels), np.uint8)
      Image.fromarray(picture).save(path)
  anime_rows.write_csv(root, rows)
  return anime_tree.read_tree(root)


def test_records_survive_array_record(tmp_path):
  table = make_table(tmp_path / 'tree')
  members = {
    'train': table.frames_of(['2', '0']),
    'test': table.frames_of(['1']),
  }
  builder = anime_frames.AnimeFrames(
    data_dir=tmp_path,
    frames_by_split={
      split: anime_frames.table_frames(table, frames)
      for split, frames in members.items()
    },
  )
  builder.download_and_prepare(download_dir=tmp_path / 'downloads')
  opened = tfds.builder_from_directory(
    tmp_path / anime_frames.NAME / anime_frames.FORMAT_VERSION
  )
  assert members['train'].tolist() == [0, 1, 4, 5]
  for split, frames in members.items():
    records = opened.as_data_source(split=split)
    assert len(records) == len(frames)
    for place in reversed(range(len(frames))):  # Random access.
      found = anime_frames.record_to_frame(records[place])
      frame = frames[place]
      assert found.identity == table.identity_of(frame)
      assert found.kind == table.kinds[frame]
      assert found.path == table.paths[frame]
      assert found.pose.dtype == np.float32
      np.testing.assert_array_equal(found.pose, table.pose[frame])
      path = table.root / table.paths[frame]
      assert found.image == path.read_bytes()
      picture = anime_tree.decode_picture(found.image)
      np.testing.assert_array_equal(picture, anime_tree.read_picture(path))
      assert picture.shape == (5, 7, 4)


def test_needs_neither_tensorflow_nor_jax():
  code = (
    'import sys; from data.builders import anime_frames;'
    'assert not {"tensorflow", "jax"} & set(sys.modules)'
  )
  subprocess.run([sys.executable, '-c', code], check=True)
