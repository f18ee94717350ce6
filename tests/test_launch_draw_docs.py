"""Sheets of the documentation, small."""

import types

import numpy as np
from PIL import Image

from data.characters import Character, style_of
from launch import draw_docs


def test_characters_stand_row_by_row():
  sheet = np.asarray(draw_docs.character_sheet([5, 9, 2], 2, 42))
  assert sheet.shape == (84, 84, 3)
  # The fourth place is empty.
  assert (sheet[42:, 42:] == draw_docs._BACKGROUND).all()
  whole = round(42 / 0.84)
  picture = Character.from_seed(2, whole, style_of(0, 2)).neutral()
  left, upper = round(0.08 * whole), round(0.10 * whole)
  cut = picture[upper : upper + 42, left : left + 42]
  solid = cut[..., 3] == 255
  assert solid.any()
  np.testing.assert_array_equal(sheet[42:, :42][solid], cut[solid][:, :3])


class Still:
  """A generator that moves nothing."""

  largest = 24

  def animate(self, source, poses):
    assert source.shape == (24, 24, 3)
    return [source] * len(poses)


def test_generated_pictures_stand_above_the_truth():
  sheet = np.asarray(draw_docs.generated_sheet(Still(), [3, 8], 20))
  columns = len(draw_docs._POSES)
  assert sheet.shape == (80, 20 * columns, 3)
  cells = sheet.reshape(4, 20, columns, 20, 3).swapaxes(1, 2)
  for drawn, truth in (cells[:2], cells[2:]):
    # The first pose is that of the source, the others are not.
    np.testing.assert_array_equal(drawn[0], truth[0])
    assert all((drawn[0] != cell).any() for cell in truth[1:])


def test_all_sheets_are_written(tmp_path, monkeypatch):
  given = types.SimpleNamespace(
    seeds=['5', '9'],
    columns=2,
    size=24,
    swept='40',
    generated=['3'],
    folder=str(tmp_path),
  )
  monkeypatch.setattr(draw_docs, 'load_generator', Still)
  monkeypatch.setattr(draw_docs, 'flags', types.SimpleNamespace(FLAGS=given))
  swept = []

  def sweep(puppet, **options):
    swept.append(next(iter(puppet(np.zeros((1, 20))))).shape)
    return Image.new('RGB', (30, 20), (9, 8, 7))

  monkeypatch.setattr(draw_docs, 'sweep_sheet', sweep)
  draw_docs.main([])
  assert swept == [(256, 256, 4)]
  with Image.open(tmp_path / 'characters.png') as sheet:
    assert sheet.size == (48, 24)
  with Image.open(tmp_path / 'sweep.png') as sheet:
    assert sheet.convert('RGB').getpixel((3, 3)) == (9, 8, 7)
  with Image.open(tmp_path / 'generated.png') as sheet:
    assert sheet.size == (128 * len(draw_docs._POSES), 256)
