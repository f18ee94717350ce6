"""Conversion tables, and released weights as a run of ours."""

import json
import zipfile

import jax
import numpy as np
import pytest

from configs import edtn
from edtn_jax import checkpoints
from edtn_jax import workdir as workdir_lib
from edtn_jax.convert.expression_translator import write_converted
from edtn_jax.convert.table import ConversionError, Rule, convert_arrays
from edtn_jax.translation.inference import make_translate

RULES = (
  Rule(r'net\.(\w+)\.weight', r'\1/kernel', 'linear'),
  Rule(r'net\.(\w+)\.bias', r'\1/bias'),
  Rule(r'vgg\..*', None),
)
EXPECTED = {
  'first': {
    'kernel': jax.ShapeDtypeStruct((2, 3), np.float32),
    'bias': jax.ShapeDtypeStruct((3,), np.float32),
  }
}


def source():
  return {
    'net.first.weight': np.arange(6.0).reshape(3, 2),
    'net.first.bias': np.array([1, 2, 3], np.float64),
    'vgg.3.weight': np.zeros(9),
  }


def test_names_layouts_and_dtypes_by_hand():
  tree = convert_arrays(source(), RULES, EXPECTED)
  np.testing.assert_array_equal(tree['first']['kernel'], [[0, 2, 4], [1, 3, 5]])
  np.testing.assert_array_equal(tree['first']['bias'], [1, 2, 3])
  assert {x.dtype for x in jax.tree.leaves(tree)} == {np.dtype('float32')}


def test_every_problem_is_in_one_error():
  arrays = source()
  arrays['net.first.weight'] = np.zeros((2, 3))
  del arrays['net.first.bias']
  arrays['net.second.bias'] = np.zeros(3)
  arrays['optimizer'] = np.zeros(1)
  with pytest.raises(ConversionError) as caught:
    convert_arrays(arrays, RULES, EXPECTED)
  text = str(caught.value)
  assert text.startswith('4 problem(s)')
  assert 'net.first.weight gives first/kernel the shape (3, 2)' in text
  assert 'net.second.bias goes to second/bias' in text
  assert 'optimizer (1,) is not known' in text
  assert 'nothing fills first/bias (3,)' in text


def test_two_sources_of_one_parameter_and_bad_values():
  twice = (*RULES, Rule(r'other', 'first/bias'))
  with pytest.raises(ConversionError, match='filled already'):
    convert_arrays({**source(), 'other': np.ones(3)}, twice, EXPECTED)
  arrays = source()
  arrays['net.first.bias'][1] = np.nan
  with pytest.raises(ConversionError, match='NaN'):
    convert_arrays(arrays, RULES, EXPECTED)


def test_released_weights_become_a_run(shared_dir, tmp_path):
  golden = np.load(shared_dir / 'golden' / 'edtn_outputs.npz')
  real = shared_dir / 'real'
  write_converted(
    real / 'EDTN.pt',
    tmp_path / 'run',
    edtn.get_config('code'),
    pose_adapter=str(real / 'transform_matrix_08_30.npy'),
  )
  found = checkpoints.load_checkpoint(tmp_path / 'run')
  assert found.step == 0
  assert found.config.face.expression_space == 'flame'
  np.testing.assert_array_equal(
    found.constants['pose_adapter'],
    np.load(real / 'transform_matrix_08_30.npy').astype(np.float32),
  )
  from data.deca import read_clip

  clip, _ = read_clip(real / 'deca')
  out = make_translate(found)(clip.expression, clip.jaw_pose)
  np.testing.assert_allclose(out, golden['pose_coefficients'], atol=1e-5)
  runs = json.loads((tmp_path / 'run' / 'provenance.json').read_text())['runs']
  assert runs[0]['converted_from'] == 'EDTN.pt'
  with pytest.raises(workdir_lib.WorkdirError, match='already holds'):
    write_converted(real / 'EDTN.pt', tmp_path / 'run', edtn.get_config())
  # Killed before its config was written: nothing is mixed into the rest.
  (tmp_path / 'run' / 'config.json').unlink()
  with pytest.raises(workdir_lib.WorkdirError, match='left of one'):
    write_converted(real / 'EDTN.pt', tmp_path / 'run', edtn.get_config())


def test_other_files_are_refused_and_nothing_is_written(tmp_path):
  junk = tmp_path / 'EDTN.pt'
  junk.write_bytes(b'not a checkpoint')
  with pytest.raises(ValueError, match=r'EDTN\.pt'):
    write_converted(junk, tmp_path / 'run', edtn.get_config())
  empty_zip = tmp_path / 'empty.pt'
  with zipfile.ZipFile(empty_zip, 'w') as file:
    file.writestr('archive/readme', 'hello')
  with pytest.raises(ValueError, match=r'empty\.pt'):
    write_converted(empty_zip, tmp_path / 'run', edtn.get_config())
  with pytest.raises((ValueError, OSError), match=r'none\.pt'):
    write_converted(tmp_path / 'none.pt', tmp_path / 'run', edtn.get_config())
  assert not (tmp_path / 'run').exists()
