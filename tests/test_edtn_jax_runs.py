"""Commands from paths: adapters fitted, codes matched to networks."""

import shutil

import jax
import numpy as np
import pytest
from PIL import Image

from configs import edtn
from data.facemesh.tracking import FaceFrame
from data.video import open_video
from edtn_jax import checkpoints, driver_choice, faces
from edtn_jax import reenact_run as reenact_run_lib
from edtn_jax import workdir as workdir_lib
from edtn_jax.animation.puppet import CharacterChoice
from edtn_jax.config import ConfigError
from edtn_jax.driver_choice import DriverChoice
from edtn_jax.encoders import opening
from edtn_jax.network_choice import NetworkChoice
from edtn_jax.prepare_run import fit_adapter_run, prepare_run
from edtn_jax.reenact import ReenactError, ReenactOptions
from edtn_jax.reenact_run import reenact_run
from edtn_jax.translation import PoseAdapterError, load_pose_adapter
from edtn_jax.translation.network import build_translator
from flame_jax import save_flame
from flame_jax.procedural import procedural_head
from tests.grey_faces import GreyEncoder


def make_run(workdir, *, space='auto', model='procedural', adapter=None):
  """A run with random parameters, as training leaves it."""
  config = edtn.get_config('tiny')
  config.face.expression_space = space
  config.face.model = model
  model = build_translator(config.model)
  params = model.init(jax.random.key(0), np.zeros((1, 50)), np.zeros((1, 3)))[
    'params'
  ]
  constants = {} if adapter is None else {'pose_adapter': adapter}
  manager = checkpoints.CheckpointManager(workdir, best_metric='loss')
  manager.save(
    0,
    {'params': {'model': params}, 'constants': constants},
    data={},
    config=config,
    metrics=None,
  )
  manager.close()
  workdir_lib.write_config(workdir, config)
  return workdir


def drive(driving, run, output, **options):
  return reenact_run(
    DriverChoice(driving),
    NetworkChoice(run),
    output,
    options=ReenactOptions(**options),
  )


@pytest.fixture
def driver(tmp_path):
  rng = np.random.default_rng(0)
  path = tmp_path / 'driver.npz'
  np.savez(
    path,
    expression=rng.standard_normal((5, 50)).astype(np.float32),
    pose=(0.1 * rng.standard_normal((5, 6))).astype(np.float32),
  )
  return path


def test_adapter_is_fitted_saved_and_drawn(tmp_path):
  picture = fit_adapter_run(tmp_path / 'adapter.npy')
  matrix = load_pose_adapter(tmp_path / 'adapter.npy')
  np.testing.assert_array_equal(matrix, faces.procedural_adapter())
  with Image.open(picture) as image:
    assert image.width > 900
    assert np.asarray(image.convert('L')).std() > 20
  with pytest.raises(ConfigError, match=r'\.npy'):
    fit_adapter_run(tmp_path / 'adapter.txt')


def test_adapter_of_a_model_file_equals_the_models(tmp_path):
  save_flame(tmp_path / 'head.npz', procedural_head())
  fit_adapter_run(tmp_path / 'a.npy', face=str(tmp_path / 'head.npz'))
  np.testing.assert_allclose(
    load_pose_adapter(tmp_path / 'a.npy'),
    faces.procedural_adapter(),
    rtol=1e-5,
    atol=1e-6,
  )


def test_codes_of_another_face_model_are_refused(tmp_path, driver):
  # A plain .npz is taken for FLAME codes; the run speaks procedural ones.
  run = make_run(tmp_path / 'run')
  with pytest.raises(ReenactError, match='mean different things'):
    drive(driver, run, tmp_path / 'out')
  assert not (tmp_path / 'out').exists()


def test_run_on_a_model_file_reads_flame_codes(tmp_path, driver):
  save_flame(tmp_path / 'head.npz', procedural_head())
  run = make_run(
    tmp_path / 'run',
    model=str(tmp_path / 'head.npz'),
    adapter=faces.procedural_adapter(),
  )
  summary = drive(driver, run, tmp_path / 'out', neutral='none')
  assert summary['frames'] == 5
  face = edtn.get_config().face
  assert faces.expression_space(face) == 'procedural'
  face.model = 'head.npz'
  assert faces.expression_space(face) == 'flame'
  face.expression_space = 'procedural'
  assert faces.expression_space(face) == 'procedural'


class Tracker:
  """Takes every picture for the same face."""

  def reset(self):
    pass

  def update(self, image):
    points = np.zeros((468, 3), np.float32)
    points[0] = 12
    return FaceFrame(points, {}, {}, {}, 'tracked', 1.0)


def write_film(path):
  """Six pictures at 25 a second, and a tone."""
  av = pytest.importorskip('av', reason='extra [video]')
  with av.open(str(path), 'w') as container:
    picture = container.add_stream('libx264', rate=25)
    picture.width, picture.height, picture.pix_fmt = 32, 32, 'yuv420p'
    sound = container.add_stream('aac', rate=16000, layout='mono')
    for value in range(6):
      image = np.full((32, 32, 3), 20 * value, np.uint8)
      container.mux(picture.encode(av.VideoFrame.from_ndarray(image, 'rgb24')))
    container.mux(picture.encode(None))
    tone = np.sin(np.arange(4096)).astype(np.float32)[None]
    frame = av.AudioFrame.from_ndarray(tone, 'fltp', 'mono')
    frame.rate = 16000
    container.mux(sound.encode(frame))
    container.mux(sound.encode(None))
  return path


@pytest.mark.parametrize('audio', [True, False])
def test_a_film_keeps_its_sound_unless_told(tmp_path, monkeypatch, audio):
  film = write_film(tmp_path / 'film.mp4')
  monkeypatch.setattr(
    driver_choice, 'open_encoder', lambda *a, **k: GreyEncoder()
  )
  monkeypatch.setattr(opening, 'FaceTracker', Tracker)
  # Meshes take long to compile and make no sound.
  monkeypatch.setattr(reenact_run_lib, '_scene', lambda *arguments: None)
  run = make_run(tmp_path / 'run')
  out = tmp_path / 'out'
  summary = drive(film, run, out, media=('mp4',), audio=audio)
  assert (summary['frames'], summary['fps']) == (6, 25)
  assert summary['driver']['encoder'] == 'of a test'
  with open_video(out / 'reenactment.mp4') as result:
    assert result.has_audio == audio
    assert len(list(result)) == 6


def test_panels_without_a_gif_are_refused(tmp_path, driver):
  run = make_run(tmp_path / 'run', space='flame')
  with pytest.raises(ConfigError) as caught:
    reenact_run(
      DriverChoice(driver),
      NetworkChoice(run),
      tmp_path / 'out',
      options=ReenactOptions(media=()),
      characters=CharacterChoice(puppet='7'),
      frames='somewhere',
    )
  assert {p.key for p in caught.value.problems} == {'puppet', 'frames'}
  assert not (tmp_path / 'out').exists()


def test_flame_codes_without_an_adapter_give_poses_but_no_meshes(
  tmp_path, driver
):
  run = make_run(tmp_path / 'run', space='flame')
  summary = drive(driver, run, tmp_path / 'out', neutral='none')
  assert summary['frames'] == 5
  with Image.open(tmp_path / 'out' / 'reenactment.gif') as alone:
    narrow = alone.width
  adapter = 0.5 * np.random.default_rng(1).standard_normal((17, 50))
  run = make_run(tmp_path / 'b', space='flame', adapter=adapter.astype('f4'))
  drive(driver, run, tmp_path / 'out2', neutral='none')
  with Image.open(tmp_path / 'out2' / 'reenactment.gif') as meshes:
    assert meshes.width > 2 * narrow


def test_procedural_head_answers_to_foreign_codes_along_the_adapter():
  config = edtn.get_config().face
  config.expression_space = 'flame'
  rng = np.random.default_rng(0)
  adapter = np.linalg.qr(rng.standard_normal((50, 17)))[0].T.astype('f4') * 5
  face = faces.load_face(config, adapter)
  own = np.asarray(face.shown_assets.expressiondirs)[..., :50]
  wanted = own @ face.shown_adapter.T
  found = np.asarray(face.assets.expressiondirs) @ adapter.T
  # Orthogonal rows of one length: the ridge shrinks every meaning alike.
  np.testing.assert_allclose(found * (1 + faces._RIDGE), wanted, atol=2e-6)
  with pytest.raises(PoseAdapterError, match='need the pose adapter'):
    faces.load_face(config)


def test_contradicting_sources_are_refused(tmp_path):
  for arguments in ({}, {'input_dir': 'x', 'procedural': 3}):
    with pytest.raises(ConfigError, match='exactly one'):
      prepare_run(tmp_path / 'set', **arguments)
  with pytest.raises(ConfigError) as caught:
    prepare_run(
      tmp_path / 'set',
      procedural=1,
      frames_per_identity=0,
      validation_fraction=1.0,
    )
  assert len(caught.value.problems) == 3
  assert not (tmp_path / 'set').exists()


def test_options_of_other_pictures_are_refused(tmp_path):
  with pytest.raises(ConfigError) as caught:
    prepare_run(
      tmp_path / 'set',
      procedural=2,
      size=64,
      image_format='bmp',
      train_list='a.txt',
      styles=['cel'],
      num_processes=2,
    )
  assert [problem.key for problem in caught.value.problems] == [
    'image_format',
    'train_list, test_list',
    'size',
    'image_format',
    'train_list',
    'styles',
    'num_processes',
  ]
  assert not (tmp_path / 'set').exists()


def test_characters_become_a_tree_and_records(tmp_path):
  arguments = {'characters': 3, 'frames_per_identity': 4, 'size': 48}
  manifest = prepare_run(tmp_path / 'set', validation_fraction=0.3, **arguments)
  counts = manifest['splits']
  assert {k: v['identities'] for k, v in counts.items()} == {
    'train': 2,
    'train_neutral': 2,
    'test': 1,
    'test_neutral': 1,
  }
  tree = tmp_path / 'set' / 'characters'
  assert len(list((tree / 'rotation').rglob('*.png'))) == 6
  # The tree stands alone: records of it, made again, have the same frames.
  again = prepare_run(tmp_path / 'other', anime=str(tree), image_format='webp')
  assert again['splits'] == counts
  assert again['image_format'] == 'webp'
  # Interrupted between the two: the finished tree is not drawn again.
  shutil.rmtree(tmp_path / 'set' / 'anime_frames')
  before = (tree / 'manifest.json').stat().st_mtime_ns
  third = prepare_run(tmp_path / 'set', validation_fraction=0.3, **arguments)
  assert third['splits'] == counts
  assert (tree / 'manifest.json').stat().st_mtime_ns == before
  with pytest.raises(FileExistsError):
    prepare_run(tmp_path / 'set', validation_fraction=0.3, **arguments)
