"""A seed or a file becomes a character, or a clear error."""

import sys

import numpy as np
import pytest

from data.characters.character import Character
from data.characters.opening import (
  AnimeCharacter,
  CharacterError,
  open_character,
)
from tests import gltf_samples


def test_a_seed_is_a_drawn_character():
  character = open_character('27', 64)
  assert isinstance(character, AnimeCharacter)
  np.testing.assert_array_equal(
    character.neutral(), Character.from_seed(27, 64).neutral()
  )


@pytest.mark.parametrize('suffix', ['.vrm', '.glb', '.GLB'])
def test_a_file_is_a_model(tmp_path, suffix):
  pytest.importorskip('pygltflib')
  path = tmp_path / f'avatar{suffix}'
  gltf_samples.make_sample().write(path)
  character = open_character(str(path), 64, renderer='software')
  assert isinstance(character, AnimeCharacter)
  assert character.renderer_name == 'software'
  assert character.neutral().shape == (64, 64, 4)


@pytest.mark.parametrize('name', ['-3', 'x', '', '1.5', 'avatar.fbx', '٣'])
def test_anything_else_is_refused(name):
  with pytest.raises(CharacterError, match='neither a seed nor a model'):
    open_character(name)


def test_a_file_that_is_not_there_is_named(tmp_path):
  pytest.importorskip('pygltflib')
  path = str(tmp_path / 'none.vrm')
  with pytest.raises(CharacterError, match='no such file') as caught:
    open_character(path)
  assert caught.value.file == path


def test_the_renderer_is_checked_for_seeds_too():
  with pytest.raises(ValueError, match="renderer is 'cuda'"):
    open_character('1', renderer='cuda')


def test_a_missing_library_is_named_with_its_extra(monkeypatch):
  for module in list(sys.modules):
    if module.startswith('data.characters.model3d') and (
      not module.endswith('errors')
    ):
      monkeypatch.delitem(sys.modules, module)
  monkeypatch.setitem(sys.modules, 'pygltflib', None)
  with pytest.raises(CharacterError, match=r'pip install edtn-jax\[vrm\]'):
    open_character('avatar.vrm')


def test_errors_survive_the_way_between_processes():
  import pickle

  error = CharacterError('a.vrm', 'it is cut off', 'download it again')
  copy = pickle.loads(pickle.dumps(error))
  assert str(copy) == 'a.vrm: it is cut off; download it again'
  assert (copy.file, copy.fault) == ('a.vrm', 'it is cut off')
