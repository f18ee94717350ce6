"""Human-like motion of anime coefficients and of the head, made from seeds.

Everything is a *track*: a sequence of slots (a mood, a blink with the pause
after it, a syllable, a glance), each with a random length and random targets.
Tracks are computed for many people at once, frame by frame in arrays
[people, frames, ...]; a person's randomness depends on the seed and on the
person's number alone. Moods keep apart what excludes each other (surprise and
anger, raised and lowered brows); lids that blink or wink take precedence over
wide eyes, speech over the mouth of a mood.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import numpy as np

from data import pose_vector

# Frames simulated before the first one, so that clips start in mid-motion.
_LEAD_SECONDS = 2.0

_INDEX = pose_vector.POSE_INDEX
_VOWELS = pose_vector.group_indices('mouth')
_EYES_AND_BROWS = 12

# How often each mood comes up, before a person's own taste.
_MOOD_WEIGHTS = {
  'neutral': 0.22,
  'happy': 0.22,
  'surprised': 0.16,
  'angry': 0.16,
  'worried': 0.16,
  'brow_flash': 0.08,
}

# Seconds that a filtered target takes to settle to 1/e, twice over.
_MOOD_TAU = 0.09
_SPEECH_TAU = 0.03
_HEAD_TAU = 0.16

# Head targets: standard deviation in degrees of (nod x, turn y, tilt z),
# their bound, and how often and how far a person looks well aside.
_HEAD_STD = (6.0, 9.0, 4.0)
_HEAD_LIMIT = 20.0
_LARGE_TURN_CHANCE = 0.06
_LARGE_TURN = (22.0, 40.0)


class Draws:
  """Random numbers of several people, each from a generator of their own.

  Args:
    seed: 0 or more, below 2**64.
    people: their numbers.
  """

  def __init__(self, seed: int, people: Sequence[int]):
    self._generators = [
      np.random.Generator(
        np.random.Philox(key=np.array([seed, person], np.uint64))
      )
      for person in people
    ]

  def uniform(
    self, *shape: int, low: float = 0.0, high: float = 1.0
  ) -> np.ndarray:
    """[people, *shape] numbers in [low, high)."""
    numbers = np.stack([g.random(shape) for g in self._generators])
    return low + (high - low) * numbers

  def normal(self, *shape: int) -> np.ndarray:
    """[people, *shape] standard normal numbers."""
    return np.stack([g.standard_normal(shape) for g in self._generators])

  def __len__(self) -> int:
    return len(self._generators)


@dataclasses.dataclass(frozen=True)
class _Track:
  """Which slot every frame is in.

  Attributes:
    slot: [people, frames] index of the slot.
    phase: [people, frames] frames since the slot began.
  """

  slot: np.ndarray
  phase: np.ndarray

  def spread(self, values: np.ndarray) -> np.ndarray:
    """[people, slots, ...] values of slots to [people, frames, ...]."""
    return values[np.arange(len(values))[:, None], self.slot]


def _make_track(lengths: np.ndarray, num_frames: int) -> _Track:
  """Lays slots end to end.

  Args:
    lengths: [people, slots] whole frames, 1 or more; together enough.
    num_frames: frames to cover.

  Returns:
    The track.
  """
  ends = np.cumsum(lengths, axis=1)
  # Counting the ends that lie behind a frame takes time linear in frames,
  # where comparing all frames with all ends would be quadratic.
  marks = np.zeros((len(lengths), num_frames + 1), np.int64)
  people = np.broadcast_to(np.arange(len(lengths))[:, None], ends.shape)
  np.add.at(marks, (people, np.minimum(ends, num_frames)), 1)
  slot = np.cumsum(marks, axis=1)[:, :num_frames]
  starts = (ends - lengths)[np.arange(len(lengths))[:, None], slot]
  return _Track(slot, np.arange(num_frames) - starts)


def _num_slots(num_frames: int, shortest: int) -> int:
  return num_frames // shortest + 1


def _exponential(uniform: np.ndarray, mean: np.ndarray | float) -> np.ndarray:
  return -np.log1p(-uniform) * mean


def _follow(values: np.ndarray, gain: float, keep: float) -> np.ndarray:
  """The recursion y[t] = keep * y[t - 1] + gain * x[t] along axis 1.

  `scipy.signal.lfilter` does the same, but takes a second to import.

  Args:
    values: x, [people, frames, ...].
    gain: of the new value.
    keep: of the old result.

  Returns:
    y, with y[0] = x[0].
  """
  result = np.empty_like(values)
  result[:, 0] = values[:, 0]
  for t in range(1, values.shape[1]):
    result[:, t] = keep * result[:, t - 1] + gain * values[:, t]
  return result


def _settle(targets: np.ndarray, tau_frames: float) -> np.ndarray:
  """Critically damped approach to targets along axis 1; never overshoots."""
  keep = np.exp(-1 / max(tau_frames, 1e-3))
  return _follow(_follow(targets, 1 - keep, keep), 1 - keep, keep)


def autoregressive_noise(noise: np.ndarray, correlation: float) -> np.ndarray:
  """Turns white noise into noise that drifts (AR(1)), of the same variance.

  Args:
    noise: [people, frames, ...] standard normal numbers.
    correlation: of neighbouring frames, in [0, 1).

  Returns:
    Stationary noise of variance 1, same shape.
  """
  return _follow(noise, np.sqrt(1 - correlation**2), correlation)


def pose_coefficients(draws: Draws, num_frames: int, fps: float) -> np.ndarray:
  """Expressions over time.

  Args:
    draws: the people's randomness.
    num_frames: T.
    fps: frames per second.

  Returns:
    [people, T, 17] in [0, 1], in the order of the pose vector.
  """
  lead = round(_LEAD_SECONDS * fps)
  total = num_frames + lead
  mood, mood_mouth = _moods(draws, total, fps)
  lids = _lids(draws, total, fps)
  speech = _speech(draws, total, fps)
  coeffs = np.concatenate([mood, mood_mouth], axis=-1)
  # A closing lid ends wide eyes, and a smiling one need not close further.
  for side in ('left', 'right'):
    wink = _INDEX[f'eye_wink_{side}']
    lid = lids[..., wink]
    coeffs[..., _INDEX[f'eye_surprised_{side}']] *= 1 - lid
    coeffs[..., wink] = lid * (
      1 - coeffs[..., _INDEX[f'eye_happy_wink_{side}']]
    )
  quiet = 1 - speech.sum(axis=-1, keepdims=True)
  coeffs[..., _VOWELS] = speech + quiet * coeffs[..., _VOWELS]
  return np.clip(coeffs[:, lead:], 0, 1)


def _moods(
  draws: Draws, total: int, fps: float
) -> tuple[np.ndarray, np.ndarray]:
  """Eyes and brows [people, frames, 12], mouth [people, frames, 5]."""
  shortest = max(2, round(0.5 * fps))
  slots = _num_slots(total, shortest)
  pace = draws.uniform(1, low=0.6, high=1.6)
  lengths = shortest + np.rint(
    np.minimum(_exponential(draws.uniform(slots), pace), 4) * fps
  ).astype(np.int64)
  track = _make_track(lengths, total)
  kind = _draw_moods(draws, slots)
  # Eyes, brows and mouth take part in a mood to different degrees.
  strength = np.minimum(draws.uniform(slots, 3, low=0.1, high=1.15), 1)
  strength *= draws.uniform(1, 3, low=0.75, high=1.15)
  parts = np.zeros((len(draws), slots, pose_vector.NUM_COEFFICIENTS))
  _fill_moods(parts, kind, strength, draws.uniform(slots, 3))
  _take_sides(parts, kind, draws)
  settled = _settle(track.spread(np.clip(parts, 0, 1)), _MOOD_TAU * fps)
  settled *= _faltering(draws, total, fps)
  return settled[..., :_EYES_AND_BROWS], settled[..., _EYES_AND_BROWS:]


def _faltering(draws: Draws, total: int, fps: float) -> np.ndarray:
  """Slow factors up to 1: nobody holds a face like a statue."""
  slow = np.exp(-1 / max(0.5 * fps, 1e-3))
  drift = autoregressive_noise(draws.normal(total, 2), slow)
  drift = _settle(drift, 0.1 * fps)
  eyes_and_brows, mouth = np.moveaxis(1 - 0.12 * np.tanh(np.abs(drift)), -1, 0)
  columns = np.arange(pose_vector.NUM_COEFFICIENTS)
  return np.where(
    columns < _EYES_AND_BROWS, eyes_and_brows[..., None], mouth[..., None]
  )


def _draw_moods(draws: Draws, slots: int) -> np.ndarray:
  """[people, slots] index into `_MOOD_WEIGHTS`; each person has a taste."""
  weights = np.array(list(_MOOD_WEIGHTS.values()))
  taste = weights * draws.uniform(len(weights), low=0.4, high=1.6)
  edges = np.cumsum(taste / taste.sum(axis=1, keepdims=True), axis=1)
  picks = draws.uniform(slots)[:, :, None] >= edges[:, None, :-1]
  return picks.sum(axis=-1)


def _fill_moods(
  parts: np.ndarray, kind: np.ndarray, strength: np.ndarray, pick: np.ndarray
) -> None:
  """Writes the targets of every slot into `parts` [people, slots, 17]."""
  eye, brow, mouth = np.moveaxis(strength, -1, 0)

  def put(mood: str, name: str, value: np.ndarray) -> None:
    chosen = kind == list(_MOOD_WEIGHTS).index(mood)
    if name in _INDEX:
      columns = [_INDEX[name]]
    else:
      columns = [_INDEX[f'{name}_left'], _INDEX[f'{name}_right']]
    for column in columns:
      parts[..., column] += np.where(chosen, value, 0)

  put('happy', 'eye_happy_wink', eye)
  put('happy', 'eyebrow_raised', 0.5 * brow * (pick[..., 0] < 0.4))
  put('happy', 'mouth_i', mouth * (pick[..., 1] < 0.5))
  put('happy', 'mouth_e', mouth * (pick[..., 1] >= 0.5))
  put('surprised', 'eye_surprised', eye)
  put('surprised', 'eyebrow_raised', brow)
  put('surprised', 'mouth_o', mouth * (pick[..., 1] < 0.5))
  put('surprised', 'mouth_a', mouth * (pick[..., 1] >= 0.5))
  put('angry', 'eyebrow_lowered', brow)
  put('angry', 'mouth_i', 0.7 * mouth * (pick[..., 1] < 0.4))
  put('angry', 'mouth_u', 0.7 * mouth * (pick[..., 1] >= 0.7))
  put('worried', 'eyebrow_troubled', brow)
  put('worried', 'eye_surprised', 0.5 * eye * (pick[..., 0] < 0.3))
  put('worried', 'mouth_u', mouth * (pick[..., 1] < 0.4))
  put('worried', 'mouth_o', 0.6 * mouth * (pick[..., 1] >= 0.8))
  put('brow_flash', 'eyebrow_raised', brow)


def _take_sides(parts: np.ndarray, kind: np.ndarray, draws: Draws) -> None:
  """Makes slots lopsided: a little mostly, one side alone now and then."""
  slots = kind.shape[1]
  own = 0.06 * draws.normal(1, 2)
  tilt = own + 0.04 * draws.normal(slots, 2)
  alone = draws.uniform(slots, 2)
  happy = kind == list(_MOOD_WEIGHTS).index('happy')
  for part, group in enumerate(('eye', 'eyebrow')):
    # One brow is easily raised alone; of the eyes, only a smiling one.
    chance = np.where(happy, 0.2, 0.0) if group == 'eye' else 0.16
    for sign, side in ((1, 'left'), (-1, 'right')):
      low = 0.0 if side == 'left' else 0.5
      missing = (alone[..., part] >= low * chance) & (
        alone[..., part] < (low + 0.5) * chance
      )
      factor = np.where(missing, 0.0, 1 + sign * tilt[..., part])
      columns = pose_vector.group_indices(group, side)
      parts[..., columns] *= factor[..., None]


def _lids(draws: Draws, total: int, fps: float) -> np.ndarray:
  """Blinks, winks and drowsy lids: [people, frames, 2] (left, right)."""
  gap_shortest = max(1, round(0.4 * fps))
  shortest = 3 + gap_shortest
  slots = _num_slots(total, shortest)
  kind = draws.uniform(slots)
  wink, drowsy = kind < 0.14, kind > 0.9
  length = np.floor(draws.uniform(slots, low=3, high=8))
  slow = np.floor(draws.uniform(slots, low=0.3, high=1.2) * fps)
  length = np.where(wink | drowsy, np.maximum(slow, 3), length)
  mean_gap = draws.uniform(1, low=0.6, high=3.5)
  gap = gap_shortest + np.rint(
    _exponential(draws.uniform(slots), mean_gap) * fps
  )
  track = _make_track((length + gap).astype(np.int64), total)
  height = np.where(
    drowsy,
    draws.uniform(slots, low=0.15, high=1.0),
    np.minimum(draws.uniform(slots, low=0.85, high=1.05), 1),
  )
  sides = np.stack([height, height], axis=-1)
  sides *= 1 - 0.05 * draws.uniform(slots, 2)
  closed = draws.uniform(slots)
  rest = np.where(wink, draws.uniform(slots, high=0.25), 1.0)
  sides[..., 0] *= np.where(closed < 0.5, rest, 1)
  sides[..., 1] *= np.where(closed < 0.5, 1, rest)
  # Fast lids rise and fall at once, slow ones rest closed in between.
  ramp = np.where(wink | drowsy, 0.25, 0.4)
  share = (track.phase + 0.5) / track.spread(length)
  edge = np.clip(np.minimum(share, 1 - share) / track.spread(ramp), 0, 1)
  pulse = edge * edge * (3 - 2 * edge)
  return pulse[..., None] * track.spread(sides)


def _speech(draws: Draws, total: int, fps: float) -> np.ndarray:
  """Vowels of people who talk and pause: [people, frames, 5], sum <= 1."""
  talking = _talking(draws, total, fps)
  shortest = max(1, round(0.1 * fps))
  slots = _num_slots(total, shortest)
  long = draws.uniform(slots) < 0.25
  seconds = np.where(
    long,
    draws.uniform(slots, low=0.3, high=0.7),
    draws.uniform(slots, low=0.1, high=0.28),
  )
  length = np.maximum(np.rint(seconds * fps), shortest).astype(np.int64)
  track = _make_track(length, total)
  loud = np.minimum(draws.uniform(slots, low=0.25, high=1.3), 1)
  loud *= draws.uniform(1, low=0.8, high=1.0)
  # A vowel takes some colour from another one.
  mix = draws.uniform(slots, low=-0.4, high=0.4).clip(0)
  first, second = (np.floor(draws.uniform(slots) * 5) for _ in range(2))
  vowels = np.arange(5)
  shape = (first[..., None] == vowels) * (1 - mix[..., None])
  shape += (second[..., None] == vowels) * mix[..., None]
  target = track.spread(shape * loud[..., None])
  # Half of the syllables end in a consonant, which closes the mouth.
  last = track.phase == track.spread(length) - 1
  closes = track.spread(draws.uniform(slots) < 0.5)
  target *= np.where(last & closes, 0.2, 1.0)[..., None]
  return _settle(target * talking[..., None], _SPEECH_TAU * fps)


def _talking(draws: Draws, total: int, fps: float) -> np.ndarray:
  """[people, frames] 1 where a person talks."""
  shortest = max(1, round(0.4 * fps))
  slots = _num_slots(total, shortest)
  chatty = draws.uniform(1, low=0.3, high=2.0)
  talks = (np.arange(slots) + np.floor(2 * draws.uniform(1))) % 2 == 0
  mean = np.where(talks, chatty, 0.9)
  lengths = shortest + np.rint(
    np.minimum(_exponential(draws.uniform(slots), mean), 5) * fps
  ).astype(np.int64)
  return _make_track(lengths, total).spread(talks.astype(np.float64))


def head_rotation(draws: Draws, num_frames: int, fps: float) -> np.ndarray:
  """Head motion: glances between resting poses, with a little sway.

  Args:
    draws: the people's randomness.
    num_frames: T.
    fps: frames per second.

  Returns:
    [people, T, 3] radians about x (nod), y (turn), z (tilt), mostly within 20
    degrees, with larger turns now and then.
  """
  lead = round(_LEAD_SECONDS * fps)
  total = num_frames + lead
  shortest = max(1, round(0.5 * fps))
  slots = _num_slots(total, shortest)
  lengths = shortest + np.rint(
    np.minimum(_exponential(draws.uniform(slots), 1.1), 5) * fps
  ).astype(np.int64)
  track = _make_track(lengths, total)
  lively = draws.uniform(1, 1, low=0.5, high=1.3)
  target = draws.normal(slots, 3) * _HEAD_STD * lively
  target = _HEAD_LIMIT * np.tanh(target / _HEAD_LIMIT)
  far = draws.uniform(slots, low=_LARGE_TURN[0], high=_LARGE_TURN[1])
  far *= np.where(draws.uniform(slots) < 0.5, -1, 1)
  turns = draws.uniform(slots) < _LARGE_TURN_CHANCE
  target[..., 1] = np.where(turns, far, target[..., 1])
  angles = _settle(track.spread(target), _HEAD_TAU * fps)
  sway = autoregressive_noise(draws.normal(total, 3), 0.9)
  angles += 0.5 * _settle(sway, 0.1 * fps)
  return np.deg2rad(angles[:, lead:])
