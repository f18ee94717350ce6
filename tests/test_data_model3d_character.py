"""Characters from files: expressions, turns, framing, renderers, flow."""

import gc
import multiprocessing
import pickle
import threading

import numpy as np
import pytest

pytest.importorskip('pygltflib')

from data.characters.character import Character
from data.characters.model3d.character import ModelCharacter
from data.characters.model3d.errors import CharacterError
from data.characters.model3d.textures import MIRROR
from data.characters.opening import AnimeCharacter
from tests import gltf_samples
from tests.character_samples import pose_of

SIZE = 96
BLUE, SKIN, BROWN, RED = 0, 1, 2, 3


def _write(tmp_path, sample):
  return sample.write(tmp_path / 'model.glb')


@pytest.fixture(scope='module')
def box(tmp_path_factory):
  path = tmp_path_factory.mktemp('box') / 'box.glb'
  return ModelCharacter.from_file(
    gltf_samples.make_sample().write(path), SIZE, 'software'
  )


def _gl(path, size=SIZE):
  try:
    return ModelCharacter.from_file(path, size, 'gl')
  except CharacterError as error:
    pytest.skip(f'no OpenGL: {error.fault}')


def _is(picture, color):
  """Where a picture has a colour of the palette."""
  wanted = gltf_samples.PALETTE.reshape(-1, 4)[color][:3].astype(int)
  near = np.abs(picture[..., :3].astype(int) - wanted).max(-1) < 60
  return near & (picture[..., 3] > 128)


def _eye_areas(picture):
  """Blue pixels in the picture's left and right half."""
  blue = _is(picture, 1)
  return blue[:, : SIZE // 2].sum(), blue[:, SIZE // 2 :].sum()


def _center(mask):
  rows, columns = np.nonzero(mask)
  return np.array([columns.mean(), rows.mean()]) + 0.5


def test_it_is_an_anime_character(box):
  assert isinstance(box, AnimeCharacter)
  assert isinstance(Character.from_seed(1, 64), AnimeCharacter)
  picture = box.neutral()
  assert picture.shape == (SIZE, SIZE, 4)
  assert picture.dtype == np.uint8
  assert box.size == SIZE
  assert picture[0, 0, 3] == 0
  assert picture[SIZE // 2, SIZE // 2, 3] == 255
  assert box.renderer_name == 'software'


def test_the_background_is_filled(box):
  picture = box.render(pose_of(), background=(10, 20, 30))
  np.testing.assert_array_equal(picture[0, 0], [10, 20, 30, 255])
  assert (picture[..., 3] == 255).all()


def test_the_characters_left_eye_is_the_pictures_right(box):
  left, right = _eye_areas(box.neutral())
  assert left == right > 20
  a, b = _eye_areas(box.render(pose_of(eye_wink_left=1)))
  assert a == left
  assert b < 0.3 * right
  a, b = _eye_areas(box.render(pose_of(eye_wink_right=1)))
  assert a < 0.3 * left
  assert b == right


def test_closing_an_eye_twice_closes_it_once(box):
  once = box.render(pose_of(eye_wink_left=1))
  twice = box.render(pose_of(eye_wink_left=1, eye_happy_wink_left=1))
  np.testing.assert_array_equal(once, twice)


def test_half_a_coefficient_is_half_the_way(box):
  areas = [
    _eye_areas(box.render(pose_of(eye_wink_left=k)))[1]
    for k in (0, 0.25, 0.5, 0.75, 1)
  ]
  assert all(np.diff(areas) < 0)


@pytest.mark.parametrize('backwards', [False, True])
def test_turns_go_the_drawn_characters_way(tmp_path, backwards):
  sample = gltf_samples.vrm0_sample() if backwards else None
  path = _write(tmp_path, sample or gltf_samples.make_sample())
  character = ModelCharacter.from_file(path, SIZE, 'software')
  rest = _center(_is(character.neutral(), 1))
  yaw = _center(_is(character.render(pose_of(yaw=20)), 1)) - rest
  assert yaw[0] > 2
  pitch = _center(_is(character.render(pose_of(pitch=20)), 1)) - rest
  assert pitch[1] > 2
  roll = character.render(pose_of(roll=20))
  # Leans to the picture's left; its eye on the picture's right is higher.
  assert _center(_is(roll, 1))[0] - rest[0] < -2
  eyes = _is(roll, 1)
  middle = int(_center(eyes)[0])
  higher = _center(eyes[:, middle:])[1]
  assert higher < _center(eyes[:, :middle])[1] - 2


def test_the_body_stays_and_the_neck_goes_half_the_way(box):
  still = box.neutral()[-8:]
  np.testing.assert_array_equal(box.render(pose_of(yaw=20))[-8:], still)
  surface = box._surface
  points, _ = surface.place(pose_of(roll=20))
  angle = []
  for group in (1, 2):
    rows = np.flatnonzero(surface.follow[:, group] == 1)
    a, b = surface.positions[rows[[0, -1]]]
    before = np.arctan2(*(b - a)[1::-1])
    a, b = points[rows[[0, -1]]]
    angle.append(np.rad2deg(np.arctan2(*(b - a)[1::-1]) - before))
  np.testing.assert_allclose(angle, [8, 20], atol=1e-6)


def test_the_neck_and_the_head_stay_together(box):
  surface = box._surface
  pivot = surface.pivots[1]
  follow = np.array([[0.0, 1, 0], [0, 0, 1]])
  from data.characters.model3d.surface import turn

  points, _ = turn(
    np.stack([pivot, pivot]),
    np.zeros((2, 3)),
    follow,
    surface.pivots,
    np.array([10.0, -15, 20]),
    surface.neck_share,
  )
  np.testing.assert_allclose(points[0], points[1], atol=1e-12)


def test_the_head_is_framed_like_a_drawn_one(box):
  picture = box.neutral()
  skin = _is(picture, 0)
  rows = np.flatnonzero(skin[:, SIZE // 2 - 12])
  scale = 256 / SIZE
  # Crown and chin of the drawn characters, in pixels of 256.
  assert abs(rows[0] * scale - 62) < 4
  chin = box._surface.view.project(np.array([[0, gltf_samples.CHIN, 0.0]]), 256)
  np.testing.assert_allclose(chin[0, :2], [128, 192])
  body = np.flatnonzero(Character.from_seed(3, 256).neutral()[..., 3].max(1))
  assert body[-1] == 255
  assert picture[-1, SIZE // 2, 3] == 255


@pytest.mark.parametrize(
  'make', [gltf_samples.make_sample, gltf_samples.vrm0_sample,
           gltf_samples.vrm1_sample]
)  # fmt: skip
def test_both_renderers_draw_the_same(tmp_path, make):
  path = _write(tmp_path, make())
  gl = _gl(path)
  software = ModelCharacter.from_file(path, SIZE, 'software')
  assert gl.renderer_name == 'gl'
  for pose in (pose_of(), pose_of(yaw=17, pitch=-9, roll=5, mouth_a=1)):
    a = gl.render(pose, background=(255, 255, 255)).astype(int)
    b = software.render(pose, background=(255, 255, 255)).astype(int)
    assert np.abs(a - b).mean() < 0.3


def test_both_renderers_mirror_textures(tmp_path):
  """A texture turned around in the copy beside its own place."""
  sample = gltf_samples.make_sample()
  plain = ModelCharacter.from_file(_write(tmp_path, sample), SIZE, 'software')
  document, binary = sample.json, bytearray(sample.binary)
  document['samplers'] = [{'wrapS': MIRROR, 'wrapT': MIRROR}]
  for primitive in document['meshes'][0]['primitives']:
    accessor = document['accessors'][primitive['attributes']['TEXCOORD_0']]
    view = document['bufferViews'][accessor['bufferView']]
    uvs = np.frombuffer(
      binary, np.float32, 2 * accessor['count'], view.get('byteOffset', 0)
    )
    uvs[:] = 2 - uvs
  path = _write(tmp_path, gltf_samples.Sample(document, bytes(binary)))
  wanted = plain.neutral().astype(int)
  software = ModelCharacter.from_file(path, SIZE, 'software').neutral()
  assert np.abs(software - wanted).mean() < 0.3
  assert np.abs(_gl(path).neutral() - wanted).mean() < 0.3


def test_contexts_of_opengl_are_given_back(tmp_path, monkeypatch):
  path = _write(tmp_path, gltf_samples.make_sample())
  kept = _gl(path)
  wanted = kept.neutral()
  from data.characters.model3d import gl

  released = []
  release = gl._release
  monkeypatch.setattr(
    gl,
    '_release',
    lambda *arguments: (released.append(1), release(*arguments)),
  )
  for _ in range(2):
    other = _gl(path)
    np.testing.assert_array_equal(other.neutral(), wanted)
    del other
    gc.collect()
  assert len(released) == 2
  np.testing.assert_array_equal(kept.neutral(), wanted)


def _glassy(mode, alpha=0.5, **more):
  """The head's patches over the head, see-through."""
  material = {
    'alphaMode': mode,
    'pbrMetallicRoughness': {'baseColorFactor': [1, 1, 1, alpha]},
    **more,
  }
  return gltf_samples.make_sample(material=material)


def test_see_through_surfaces_mix_with_what_is_behind(tmp_path):
  path = _write(tmp_path, _glassy('BLEND', 0.5))
  character = ModelCharacter.from_file(path, SIZE, 'software')
  picture = character.neutral()
  # White over nothing at the body; white over white at the head.
  assert abs(int(picture[-3, SIZE // 2 + 20, 3]) - 128) <= 2
  assert abs(int(picture[SIZE // 2, SIZE // 2 - 17, 3]) - 192) <= 2
  gl = _gl(path).neutral().astype(int)
  assert np.abs(gl - picture).mean() < 0.3


def test_cut_out_surfaces_are_there_or_not(tmp_path):
  for alpha, seen in ((0.4, False), (0.6, True)):
    path = _write(tmp_path, _glassy('MASK', alpha, alphaCutoff=0.5))
    character = ModelCharacter.from_file(path, SIZE, 'software')
    alpha = character.neutral()[..., 3]
    assert alpha.max() == (255 if seen else 0)


def test_backs_are_drawn_only_if_double_sided(tmp_path):
  areas = []
  for double in (False, True):
    sample = gltf_samples.make_sample(material={'doubleSided': double})
    character = ModelCharacter.from_file(
      _write(tmp_path, sample), SIZE, 'software'
    )
    areas.append((character.render(pose_of(yaw=120))[..., 3] > 0).sum())
  assert areas[0] < 0.8 * areas[1]


def test_outlines_widen_the_silhouette(tmp_path):
  sample = gltf_samples.vrm1_sample()
  with_outline = ModelCharacter.from_file(
    _write(tmp_path, sample), SIZE, 'software'
  )
  toon = sample.json['materials'][0]['extensions']['VRMC_materials_mtoon']
  toon['outlineWidthMode'] = 'none'
  without = ModelCharacter.from_file(_write(tmp_path, sample), SIZE, 'software')
  assert len(with_outline._surface.hull) > 0
  assert len(without._surface.hull) == 0
  widths = with_outline._surface.hull_width * with_outline._surface.view.scale
  np.testing.assert_allclose(widths, 0.004 * 256)


def _warp(picture, flow):
  size = len(flow)
  y, x = np.mgrid[:size, :size]
  x = np.clip(x + flow[..., 0], 0, size - 1)
  y = np.clip(y + flow[..., 1], 0, size - 1)
  left, top = np.floor(x).astype(int), np.floor(y).astype(int)
  right, below = np.minimum(left + 1, size - 1), np.minimum(top + 1, size - 1)
  across, down = (x - left)[..., None], (y - top)[..., None]
  upper = picture[top, left] * (1 - across) + picture[top, right] * across
  lower = picture[below, left] * (1 - across) + picture[below, right] * across
  return upper * (1 - down) + lower * down


def test_flow_warps_one_pose_into_another(box):
  first, second = pose_of(), pose_of(yaw=15, roll=-8, pitch=6, mouth_a=0.5)
  flow, occlusion = box.flow(first, second)
  assert flow.shape == (SIZE, SIZE, 2)
  assert flow.dtype == occlusion.dtype == np.float32
  white = {'background': (255, 255, 255)}
  source = box.render(first, **white)[..., :3].astype(float)
  target = box.render(second, **white)[..., :3].astype(float)
  seen = occlusion > 0
  error = np.abs(_warp(source, flow) - target)[seen].mean()
  assert error < 0.3 * np.abs(source - target)[seen].mean()
  covered = box.render(second)[..., 3] == 255
  assert 0.8 < seen[covered].mean() < 1
  assert not flow[box.render(second)[..., 3] == 0].any()


def test_no_change_is_no_flow(box):
  pose = pose_of(yaw=10, mouth_o=1)
  flow, occlusion = box.flow(pose, pose)
  np.testing.assert_allclose(flow, 0, atol=1e-5)
  assert occlusion[box.render(pose)[..., 3] == 255].all()


def test_flow_knows_what_was_hidden(box):
  # The side of the back that a turned head shows.
  flow, occlusion = box.flow(pose_of(), pose_of(yaw=35))
  brown = _is(box.render(pose_of(yaw=35)), 2)
  far = brown[:, : int(_center(brown)[0])]
  assert occlusion[:, : far.shape[1]][far].mean() < 0.5
  assert flow.any()


def test_values_out_of_range_are_clamped_and_nonsense_refused(box):
  np.testing.assert_array_equal(
    box.render(pose_of(mouth_a=7)), box.render(pose_of(mouth_a=1))
  )
  with pytest.raises(ValueError, match='pose vector is'):
    box.render(np.zeros(17))
  with pytest.raises(ValueError, match='not finite'):
    box.render(np.full(20, np.nan))


def test_sizes_and_renderers_are_checked(tmp_path):
  path = _write(tmp_path, gltf_samples.make_sample())
  with pytest.raises(ValueError, match='size is 4096'):
    ModelCharacter.from_file(path, 4096, 'software')
  with pytest.raises(ValueError, match="renderer is 'cuda'"):
    ModelCharacter.from_file(path, SIZE, 'cuda')
  for size in (64, 400):
    character = ModelCharacter.from_file(path, size, 'software')
    assert character.neutral().shape == (size, size, 4)


def test_a_missing_driver_is_no_end_for_auto(tmp_path, monkeypatch):
  moderngl = pytest.importorskip('moderngl')

  def fail(**_):
    raise Exception('no display')

  monkeypatch.setattr(moderngl, 'create_context', fail)
  path = _write(tmp_path, gltf_samples.make_sample())
  auto = ModelCharacter.from_file(path, SIZE)
  assert auto.renderer_name == 'software'
  with pytest.raises(CharacterError, match='no display'):
    ModelCharacter.from_file(path, SIZE, 'gl')


def test_what_a_model_lacks_is_said_once(tmp_path, caplog):
  path = _write(tmp_path, gltf_samples.vrm1_sample())
  with caplog.at_level('WARNING', logger='absl'):
    character = ModelCharacter.from_file(path, SIZE, 'software')
  said = [r.getMessage() for r in caplog.records if path in r.getMessage()]
  assert len(said) == 1
  for name in {**character.filled, **character.missing}:
    assert name in said[0]


def _render_in_child(character, queue):
  queue.put((character.renderer_name, character.render(pose_of(yaw=10))))


@pytest.mark.parametrize('renderer', ['gl', 'software'])
@pytest.mark.parametrize('method', ['fork', 'spawn'])
@pytest.mark.slow
def test_other_processes_can_draw(tmp_path, renderer, method):
  path = _write(tmp_path, gltf_samples.make_sample())
  character = (
    _gl(path)
    if renderer == 'gl'
    else ModelCharacter.from_file(path, SIZE, renderer)
  )
  wanted = character.render(pose_of(yaw=10))
  context = multiprocessing.get_context(method)
  queue = context.Queue()
  process = context.Process(target=_render_in_child, args=(character, queue))
  process.start()
  name, found = queue.get(timeout=60)
  process.join(timeout=60)
  assert process.exitcode == 0
  # A fork cannot go on with the parent's OpenGL.
  assert name == ('software' if method == 'fork' else renderer)
  assert np.abs(found.astype(int) - wanted).mean() < 0.3
  np.testing.assert_array_equal(character.render(pose_of(yaw=10)), wanted)


@pytest.mark.parametrize('renderer', ['gl', 'software'])
def test_threads_and_pickles_can_draw(tmp_path, renderer):
  path = _write(tmp_path, gltf_samples.make_sample())
  character = (
    _gl(path)
    if renderer == 'gl'
    else ModelCharacter.from_file(path, SIZE, renderer)
  )
  poses = [pose_of(yaw=k) for k in (0, 10, 20)]
  wanted = [character.render(pose) for pose in poses]
  copy = pickle.loads(pickle.dumps(character))
  np.testing.assert_array_equal(copy.render(poses[1]), wanted[1])
  found = [None] * len(poses)

  def draw(k):
    found[k] = character.render(poses[k])

  threads = [threading.Thread(target=draw, args=(k,)) for k in range(3)]
  for thread in threads:
    thread.start()
  for thread in threads:
    thread.join()
  for a, b in zip(found, wanted, strict=True):
    np.testing.assert_array_equal(a, b)


# A real avatar, when the reference data is there.


@pytest.fixture(scope='module')
def godette(shared_dir):
  path = shared_dir / 'real' / 'vrm' / 'Godette_vrm_v4.vrm'
  if not path.is_file():
    pytest.skip(f'no {path}')
  return ModelCharacter.from_file(path, 128, 'software')


def _changed(character, half, **values):
  """How much of a half of the picture an expression changes."""
  before = character.neutral().astype(int)
  after = character.render(pose_of(**values)).astype(int)
  change = np.abs(after - before).max(-1) > 40
  columns = slice(64, None) if half == 'right' else slice(0, 64)
  return change[:, columns].sum()


@pytest.mark.parametrize('stem', [
  'eye_wink', 'eye_happy_wink', 'eye_surprised', 'eyebrow_raised',
  'eyebrow_lowered', 'eyebrow_troubled',
])  # fmt: skip
def test_a_real_avatar_moves_left_and_right_apart(godette, stem):
  least = 5 if stem == 'eye_surprised' else 15
  assert _changed(godette, 'right', **{f'{stem}_left': 1}) > least
  assert _changed(godette, 'left', **{f'{stem}_left': 1}) == 0
  assert _changed(godette, 'left', **{f'{stem}_right': 1}) > least
  assert _changed(godette, 'right', **{f'{stem}_right': 1}) == 0


def test_a_real_avatar_speaks(godette):
  shapes = [
    godette.render(pose_of(**{f'mouth_{vowel}': 1})).astype(int)
    for vowel in 'aeiou'
  ] + [godette.neutral().astype(int)]
  for i, a in enumerate(shapes):
    for b in shapes[:i]:
      assert (np.abs(a - b).max(-1) > 20).sum() >= 2
  assert godette.missing == {}


def test_a_real_avatar_turns(godette):
  pictures = [
    godette.render(pose_of(**{name: angle})).astype(int)
    for name in ('pitch', 'roll', 'yaw')
    for angle in (-20, 20)
  ]
  for i, a in enumerate(pictures):
    assert a[..., 3].mean() > 60
    for b in pictures[:i]:
      assert np.abs(a - b).mean() > 5
