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
  table_frames = [
    anime_frames.Frame(
      image=(table.root / path).read_bytes(),
      pose=table.pose[i],
      identity=table.identity_of(i),
      kind=table.kinds[i],
      path=path,
    )
    for i, path in enumerate(table.paths)
  ]
  # A file may be empty, if all of its pictures are damaged.
  members = {'train': [[0, 1, 4], [], [5]], 'test': [[2, 3]]}
  sizes = {}
  for split, shards in members.items():
    sizes[split] = []
    for number, frames in enumerate(shards):
      path = tmp_path / anime_frames.shard_name(split, number, len(shards))
      num_bytes = anime_frames.write_shard(
        path, [table_frames[i] for i in frames]
      )
      assert anime_frames.count_records(path) == len(frames)
      sizes[split].append((len(frames), num_bytes))
  anime_frames.write_description(tmp_path, sizes)
  opened = tfds.builder_from_directory(tmp_path)
  for split, shards in members.items():
    frames = [frame for shard in shards for frame in shard]
    records = opened.as_data_source(split=split)
    assert len(records) == len(frames)
    for place in reversed(range(len(frames))):  # Random access.
      found = anime_frames.record_to_frame(records[place])
      expected = table_frames[frames[place]]
      assert found.pose.dtype == np.float32
      np.testing.assert_array_equal(found.pose, expected.pose)
      for name in ('identity', 'kind', 'path', 'image'):
        assert getattr(found, name) == getattr(expected, name)
      assert anime_tree.decode_picture(found.image).shape == (5, 7, 4)


def test_a_file_that_cannot_be_read_has_no_records(tmp_path):
  path = tmp_path / 'x'
  path.write_bytes(b'no records')
  assert anime_frames.count_records(path) == 0
  assert anime_frames.count_records(tmp_path / 'none') == 0


def test_needs_neither_tensorflow_nor_jax():
  code = (
    'import sys; from data.builders import anime_frames;'
    'assert not {"tensorflow", "jax"} & set(sys.modules)'
  )
  subprocess.run([sys.executable, '-c', code], check=True)
