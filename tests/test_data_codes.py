import dataclasses

import numpy as np
import pytest

from data import codes


def make_clip(identity='a', name='clip', num_frames=3, value=0.0, **changes):
  fields = {
    key: np.full((num_frames, width), value + 0.1 * i, np.float32)
    for i, (key, width) in enumerate(codes.CLIP_FIELDS.items())
    if key != 'true_pose_coeffs'
  }
  fields.update(changes)
  frames = [f'{t:07d}' for t in range(num_frames)]
  return codes.CodeClip(identity, name, frames, **fields)


def test_flame_code_is_shape_expression_global_jaw():
  code = make_clip(value=1.0).flame_code()
  assert code.shape == (3, 156)
  assert code.dtype == np.float32
  edges = [0, 99, 100, 149, 150, 152, 153, 155]
  wanted = [1.3, 1.3, 1.0, 1.0, 1.2, 1.2, 1.1, 1.1]
  np.testing.assert_allclose(code[1, edges], wanted, rtol=1e-6)


def test_clip_casts_to_float32():
  clip = make_clip(expression=np.ones((3, 50), np.float64))
  assert clip.expression.dtype == np.float32


def test_clip_lists_every_problem_at_once():
  broken = np.zeros((3, 50))
  broken[1, 7] = np.nan
  with pytest.raises(codes.CodesError) as error:
    make_clip(
      name='bad',
      expression=broken,
      jaw_pose=np.zeros((3, 4)),
      shape=np.zeros((2, 100)),
      true_pose_coeffs=np.full((3, 17), 1.5),
      expression_space='',
    )
  message = str(error.value)
  for part in (
    "clip 'bad'",
    'expression has NaN or inf in 1 frames (first: frame 1)',
    'jaw_pose is [3, 4], wanted [T, 3]',
    'shape has 2 frames, wanted 3',
    'true_pose_coeffs spans [1.5, 1.5], wanted [0, 1]',
    "expression_space is ''",
  ):
    assert part in message


def test_clip_without_frames_is_refused():
  with pytest.raises(codes.CodesError, match='no frames'):
    make_clip(num_frames=0)


def test_words_for_numbers_are_refused():
  with pytest.raises(codes.CodesError, match='must be numbers'):
    make_clip(jaw_pose=[['x'] * 3] * 3)


def test_numbers_beyond_float32_are_refused():
  with pytest.raises(codes.CodesError, match='NaN or inf'):
    make_clip(expression=np.full((3, 50), 1e300))


def test_clip_survives_saving(tmp_path):
  clip = make_clip(identity='ü', true_pose_coeffs=np.full((3, 17), 0.5))
  clip.save(tmp_path / 'clip.npz')
  loaded = codes.CodeClip.load(tmp_path / 'clip.npz')
  assert loaded.identity == 'ü'
  assert loaded.frames == clip.frames
  assert loaded.expression_space == clip.expression_space
  for name, value in clip.arrays().items():
    np.testing.assert_array_equal(getattr(loaded, name), value)


def test_table_sorts_frames_by_identity_then_clip():
  clips = [
    make_clip('b', 'one', 1, 3.0),
    make_clip('a', 'clip10', 2, 2.0),
    make_clip('a', 'clip2', 1, 1.0),
  ]
  table = codes.CodeTable.from_clips(iter(clips))
  assert table.identity_names == ('a', 'b')
  np.testing.assert_array_equal(table.identity_offsets, [0, 3, 4])
  assert table.identity_offsets.dtype == np.int64
  np.testing.assert_array_equal(table.expression[:, 0], [1, 2, 2, 3])
  assert table.true_pose_coeffs is None
  assert (table.num_frames, table.num_identities) == (4, 2)


def test_table_survives_saving(tmp_path):
  coeffs = np.linspace(0, 1, 3 * 17).reshape(3, 17)
  clip = make_clip(true_pose_coeffs=coeffs, expression_space='procedural')
  table = codes.CodeTable.from_clips([clip])
  table.save(tmp_path / 'table.npz')
  loaded = codes.CodeTable.load(tmp_path / 'table.npz')
  assert loaded.identity_names == table.identity_names
  assert loaded.expression_space == 'procedural'
  np.testing.assert_array_equal(loaded.identity_offsets, [0, 3])
  for name, value in table.arrays().items():
    np.testing.assert_array_equal(getattr(loaded, name), value)


def test_same_table_is_the_same_file(tmp_path):
  table = codes.CodeTable.from_clips([make_clip()])
  for name in ('one', 'two'):
    table.save(tmp_path / name)
  first, second = (tmp_path / n for n in ('one', 'two'))
  assert first.read_bytes() == second.read_bytes()
  assert sorted(p.name for p in tmp_path.iterdir()) == ['one', 'two']


def test_table_needs_clips():
  with pytest.raises(codes.CodesError, match='no clips'):
    codes.CodeTable.from_clips([])


def test_mixed_clips_are_refused_with_both_reasons():
  known = make_clip(
    true_pose_coeffs=np.zeros((3, 17)), expression_space='procedural'
  )
  with pytest.raises(codes.CodesError) as error:
    codes.CodeTable.from_clips([make_clip(), known])
  assert "different expression spaces: ['flame', 'procedural']" in str(
    error.value
  )
  assert '1 of 2 clips have true_pose_coeffs' in str(error.value)


@pytest.mark.parametrize(
  ('changes', 'message'),
  [
    ({'identity_offsets': np.array([0, 2])}, 'rise from 0 to the number'),
    ({'identity_offsets': np.array([0, 1, 3])}, r'wanted int64 \[2\]'),
    ({'identity_offsets': np.array([0.0, 3.0])}, 'float64'),
    ({'identity_names': ('b', 'a')}, 'not ascending'),
    ({'jaw_pose': np.zeros((2, 3))}, 'jaw_pose has 2 frames, wanted 3'),
    ({'global_pose': np.full((3, 3), np.inf)}, 'global_pose has NaN or inf'),
  ],
)
def test_table_rules(changes, message):
  table = codes.CodeTable.from_clips([make_clip()])
  with pytest.raises(codes.CodesError, match=message):
    dataclasses.replace(table, **changes)


def test_loading_wrong_files(tmp_path):
  with pytest.raises(FileNotFoundError, match='no such file'):
    codes.CodeTable.load(tmp_path / 'absent.npz')
  make_clip().save(tmp_path / 'clip.npz')
  with pytest.raises(codes.CodesError, match="kind is 'code_clip'"):
    codes.CodeTable.load(tmp_path / 'clip.npz')
  np.savez(tmp_path / 'part.npz', kind='code_table', expression=np.zeros(3))
  with pytest.raises(codes.CodesError, match='identity_offsets is missing'):
    codes.CodeTable.load(tmp_path / 'part.npz')
  np.savez(tmp_path / 'part.npz', kind='code_clip', shape=np.zeros(3))
  with pytest.raises(codes.CodesError, match='camera is missing'):
    codes.CodeClip.load(tmp_path / 'part.npz')
