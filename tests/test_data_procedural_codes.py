import numpy as np
import pytest

from data import codes, pose_vector, procedural_codes

INDEX = pose_vector.POSE_INDEX
ADAPTER = np.random.default_rng(0).standard_normal((17, 50)) * 1.5


def make(num_identities=3, frames=20, adapter=ADAPTER, **options):
  options = {'seed': 1, **options}
  return list(
    procedural_codes.procedural_clips(
      adapter,
      num_identities=num_identities,
      frames_per_identity=frames,
      **options,
    )
  )


@pytest.fixture(scope='module')
def crowd():
  """True coefficients [300, 200, 17] and clips of many people."""
  clips = make(300, 200)
  return np.stack([clip.true_pose_coeffs for clip in clips]), clips


def column(coeffs, name):
  return coeffs[..., INDEX[name]]


def test_clips_are_complete_and_sorted():
  clips = make(3, 5, first_identity=9)
  assert [clip.identity for clip in clips] == [
    'procedural_000009',
    'procedural_000010',
    'procedural_000011',
  ]
  for clip in clips:
    assert clip.num_frames == 5
    assert clip.expression_space == 'procedural'
    assert clip.true_pose_coeffs.shape == (5, 17)
  assert codes.CodeTable.from_clips(clips).num_identities == 3


def test_a_person_is_the_same_in_any_company(monkeypatch):
  alone = make(1, 20, first_identity=7)[0]
  among = make(10, 20)[7]
  monkeypatch.setattr(procedural_codes, '_FRAMES_AT_ONCE', 60)
  in_threes = make(10, 20)[7]
  for other in (among, in_threes):
    assert other.identity == alone.identity
    for name, value in alone.arrays().items():
      np.testing.assert_array_equal(getattr(other, name), value)


def test_people_and_seeds_differ():
  first, second = make(2)
  other = make(1, seed=2)[0]
  for clip in (second, other):
    assert np.abs(clip.expression - first.expression).max() > 0.1


def test_every_coefficient_is_used_over_its_range(crowd):
  coeffs, _ = crowd
  assert coeffs.min() >= 0
  assert coeffs.max() <= 1
  for name in pose_vector.COEFFICIENT_NAMES:
    counts, _ = np.histogram(column(coeffs, name), 10, (0, 1))
    share = counts / counts.sum()
    assert share[1:].min() > 0.003, name
    assert share[0] > 0.4, name


def test_what_excludes_each_other(crowd):
  coeffs, _ = crowd
  slack = 1e-6
  for side in ('left', 'right'):
    wink = column(coeffs, f'eye_wink_{side}')
    wide = column(coeffs, f'eye_surprised_{side}')
    smile = column(coeffs, f'eye_happy_wink_{side}')
    assert (wink + wide).max() <= 1 + slack
    assert (wink + smile).max() <= 1 + slack
    raised, lowered, troubled = (
      column(coeffs, f'eyebrow_{kind}_{side}')
      for kind in ('raised', 'lowered', 'troubled')
    )
    # Only while one passes into the other are both up, and then by half.
    for one, other in (
      (raised, lowered),
      (raised, troubled),
      (lowered, troubled),
      (wide, smile),
    ):
      assert np.minimum(one, other).max() <= 0.5 + slack
  mouth = coeffs[..., pose_vector.group_indices('mouth')].sum(axis=-1)
  assert mouth.max() <= 1 + slack


def test_both_sides_move_together_but_not_alike(crowd):
  coeffs, _ = crowd
  for stem in ('eye_surprised', 'eyebrow_raised', 'eyebrow_lowered'):
    left = column(coeffs, f'{stem}_left').ravel()
    right = column(coeffs, f'{stem}_right').ravel()
    assert 0.75 < np.corrcoef(left, right)[0, 1] < 0.999, stem
  # Winks: one eye shut, the other open, now and then.
  left, right = (column(coeffs, f'eye_wink_{s}') for s in ('left', 'right'))
  for one, other in ((left, right), (right, left)):
    assert 0.001 < ((one > 0.8) & (other < 0.3)).mean() < 0.05


def test_blinks_take_three_to_seven_frames(crowd):
  coeffs, _ = crowd
  both = np.minimum(
    column(coeffs, 'eye_wink_left'), column(coeffs, 'eye_wink_right')
  )
  lengths = []
  for person in both:
    edges = np.flatnonzero(np.diff((person > 0).astype(int)))
    starts, ends = edges[:-1], edges[1:]
    lengths += (ends - starts)[person[starts + 1] > 0].tolist()
  lengths = np.array(lengths)
  blinks = np.isin(lengths, [3, 4, 5, 6, 7])
  assert lengths.min() >= 1  # A smile may swallow part of one.
  assert blinks.mean() > 0.6
  # 300 people for 8 seconds: some 20 blinks a minute each.
  per_minute = blinks.sum() / (300 * 8 / 60)
  assert 8 < per_minute < 50


def test_motion_is_smooth(crowd):
  coeffs, clips = crowd
  steps = np.abs(np.diff(coeffs, axis=1)).max(axis=(0, 1))
  brows = pose_vector.group_indices('eyebrow')
  assert steps[brows].max() < 0.3
  assert steps[pose_vector.group_indices('mouth')].max() < 0.75
  head = np.stack([clip.global_pose for clip in clips])
  assert np.rad2deg(np.abs(np.diff(head, axis=1))).max() < 9


def test_head_stays_near_the_front_with_larger_turns(crowd):
  _, clips = crowd
  angles = np.rad2deg(np.abs(np.stack([clip.global_pose for clip in clips])))
  assert 0.9 < (angles < 20).all(axis=-1).mean() < 0.995
  assert angles[..., [0, 2]].max() < 25
  assert 30 < angles[..., 1].max() < 45
  assert angles.mean(axis=(0, 1)).min() > 1.5


def test_clips_begin_in_mid_motion(crowd):
  coeffs, _ = crowd
  first, later = coeffs[:, 0].mean(axis=0), coeffs[:, 100:].mean(axis=(0, 1))
  np.testing.assert_allclose(first, later, atol=0.06)


def test_exact_codes_without_offset_and_noise():
  for clip in make(5, 200, offset_scale=0, noise_scale=0):
    coeffs = clip.true_pose_coeffs.astype(np.float64)
    mouth_a = column(coeffs, 'mouth_a')
    share = clip.jaw_pose[:, 0] @ mouth_a / (mouth_a @ mouth_a) / 0.35
    assert 0 <= share <= 1
    np.testing.assert_allclose(
      clip.jaw_pose[:, 0], share * 0.35 * mouth_a, atol=1e-6
    )
    np.testing.assert_array_equal(clip.jaw_pose[:, 1:], 0)
    coeffs[:, INDEX['mouth_a']] *= 1 - share
    np.testing.assert_allclose(clip.expression, coeffs @ ADAPTER, atol=1e-5)


def test_everybody_opens_the_mouth_in_their_own_way():
  shares = []
  for clip in make(40, 100, noise_scale=0, jaw_open_radians=1.0):
    mouth_a = column(clip.true_pose_coeffs, 'mouth_a')
    if mouth_a.max() > 0.1:
      shares.append(clip.jaw_pose[mouth_a.argmax(), 0] / mouth_a.max())
  assert len(shares) > 30
  assert np.quantile(shares, 0.15) < 0.35
  assert np.quantile(shares, 0.85) > 0.65


def test_offset_is_a_persons_own_and_constant():
  plain = make(4, 30, offset_scale=0, noise_scale=0)
  moved = make(4, 30, offset_scale=0.3, noise_scale=0)
  offsets = np.stack(
    [a.expression - b.expression for a, b in zip(moved, plain, strict=True)]
  )
  np.testing.assert_allclose(offsets, offsets[:, :1].repeat(30, 1), atol=1e-5)
  wanted = 0.3 * np.sqrt(np.mean(ADAPTER**2))
  rms = np.sqrt(np.mean(offsets[:, 0] ** 2, axis=1))
  np.testing.assert_allclose(rms, wanted, rtol=1e-4)
  # 17 of 50 directions hold 34 % of a random vector; of this, 4.4 %.
  basis = np.linalg.svd(ADAPTER, full_matrices=False)[2]
  within = np.mean((offsets[:, 0] @ basis.T) ** 2) * 17
  total = np.mean(offsets[:, 0] ** 2) * 50
  assert within / total < 0.12
  assert np.abs(np.corrcoef(offsets[:, 0])[0, 1:]).max() < 0.5


def test_noise_drifts_and_has_the_size_asked_for():
  plain = make(20, 100, offset_scale=0, noise_scale=0)
  noisy = make(20, 100, offset_scale=0, noise_scale=0.1)
  noise = np.stack(
    [a.expression - b.expression for a, b in zip(noisy, plain, strict=True)]
  )
  wanted = 0.1 * np.sqrt(np.mean(ADAPTER**2))
  np.testing.assert_allclose(noise.std(), wanted, rtol=0.03)
  np.testing.assert_allclose(noise[:, 0].std(), wanted, rtol=0.08)
  correlation = np.mean(noise[:, 1:] * noise[:, :-1]) / np.mean(noise**2)
  np.testing.assert_allclose(correlation, 0.8, atol=0.03)
  jaw = np.stack(
    [a.jaw_pose - b.jaw_pose for a, b in zip(noisy, plain, strict=True)]
  )
  np.testing.assert_allclose(
    jaw.std(axis=(0, 1)), [0.02, 0.006, 0.006], rtol=0.15
  )


@pytest.mark.parametrize('fps', [1.0, 12.5, 60.0])
@pytest.mark.parametrize('frames', [1, 7])
def test_any_rate_and_length(fps, frames):
  (clip,) = make(1, frames, fps=fps)
  assert clip.num_frames == frames


def test_an_adapter_of_zeros_gives_still_faces():
  (clip,) = make(1, 5, adapter=np.zeros((17, 50)))
  np.testing.assert_array_equal(clip.expression, np.zeros((5, 50)))


def test_all_wrong_arguments_in_one_message():
  with pytest.raises(ValueError) as error:
    make(0, 0, adapter=np.zeros((50, 17)), seed=-1, noise_scale=-1, fps=0)
  for part in (
    'pose_adapter is [50, 17], wanted [17, 50]',
    'seed is -1',
    'num_identities is 0',
    'frames_per_identity is 0',
    'noise_scale is -1',
    'fps is 0',
  ):
    assert part in str(error.value)
  with pytest.raises(ValueError, match='pose_adapter has NaN'):
    make(adapter=np.full((17, 50), np.nan))
