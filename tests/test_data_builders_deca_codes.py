import subprocess
import sys

import numpy as np
import pytest
import tensorflow_datasets as tfds

from data import codes
from data.builders import deca_codes


def make_clip(index, num_frames, known):
  rng = np.random.default_rng(index)
  fields = {
    name: rng.random((num_frames, width), np.float32)
    for name, width in codes.CLIP_FIELDS.items()
  }
  if not known:
    fields['true_pose_coeffs'] = None
  frames = tuple(f'{t:07d}' for t in range(num_frames))
  return codes.CodeClip(f'ïd{index}', f'clip{index}', frames, **fields)


def same(left, right):
  for name in ('identity', 'name', 'frames', 'expression_space'):
    assert getattr(left, name) == getattr(right, name)
  assert list(left.arrays()) == list(right.arrays())
  for name, value in left.arrays().items():
    np.testing.assert_array_equal(getattr(right, name), value)


@pytest.mark.parametrize('known', [False, True])
def test_records_survive_array_record(tmp_path, known):
  clips = [make_clip(i, length, known) for i, length in enumerate((3, 1, 7))]
  builder = deca_codes.DecaCodes(
    data_dir=tmp_path,
    clips_by_split={'train': iter(clips), 'test': iter(clips[:1])},
  )
  builder.download_and_prepare(download_dir=tmp_path / 'downloads')
  opened = tfds.builder_from_directory(tmp_path / 'deca_codes' / '1.0.0')
  records = opened.as_data_source(split='train')
  assert len(records) == 3
  for i in (2, 0, 1):  # Random access, in the order written.
    same(deca_codes.record_to_clip(records[i]), clips[i])
  raw = opened.as_data_source(split='test')[0]
  assert raw['true_pose_coeffs'].shape == (3 if known else 0, 17)
  assert raw['expression'].dtype == np.float32
  assert bool(raw['has_true_pose_coeffs']) == known


def test_chosen_fields_only():
  record = deca_codes.clip_to_record(make_clip(1, 4, known=False))
  serialized = deca_codes.code_features().serialize_example(record)
  features = deca_codes.code_features(('jaw_pose',))
  decoded = features.deserialize_example_np(serialized)
  assert list(decoded) == ['jaw_pose']
  np.testing.assert_array_equal(decoded['jaw_pose'], record['jaw_pose'])


def test_needs_neither_tensorflow_nor_jax():
  code = (
    'import sys; import data.prepare, data.dataset, data.builders.deca_codes;'
    'print([m for m in ("tensorflow", "jax", "torch") if m in sys.modules])'
  )
  done = subprocess.run(
    [sys.executable, '-c', code], capture_output=True, text=True, check=True
  )
  assert done.stdout.strip() == '[]'
