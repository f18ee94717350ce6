"""How to reenact: every number and switch, with its check."""

from __future__ import annotations

import dataclasses

from data.video import VideoError
from data.video.pyav import require_av
from edtn_jax.config import ConfigError, Problem
from edtn_jax.pictures.media import MEDIA

NEUTRAL_MODES = ('output', 'code', 'none')
HEAD_POSES = ('absolute', 'relative')


@dataclasses.dataclass(frozen=True)
class ReenactOptions:
  """How to reenact.

  Attributes:
    neutral: how a person's standing offset is removed. `output` (default)
      maps the network's output for the neutral face to 0 and keeps 1 at 1
      (`signal.pose.CalibrateNeutral`); `code` subtracts the neutral
      expression before the network; `none` leaves all as the network says.
      On 200 real frames the released weights hold the brows at 0.84 whatever
      the face does. `output` brings the picked neutral frames to 0 and keeps
      the blinks; `code` only trades one offset for another (0.7 brows, 0.5
      widened eyes), because those weights do not map a zero code to zero.
      For a network that does, `code` is the cleaner way.
    neutral_frames: names of frames that show the neutral face; empty picks
      the calmest tenth.
    mouth_gain: factor of the mouth coefficients.
    eye_gain: factor of the eye coefficients.
    smoothing: whether to run the one-euro filter (`signal.pose.SMOOTHING`).
    head_pose: `absolute` passes the head rotation on; `relative` measures it
      from the neutral frames, or from the first frame without calibration.
    angle_limit_deg: head angles are clamped to plus and minus this.
    fps: frames a second of the driver; 0 takes what it says, else 25.
    audio: whether an MP4 gets the sound of a driver that has some.
    media: kinds of moving picture to draw, of `pictures.media.MEDIA`.
    gif_every: GIF and WebP take one frame in so many.
    gif_max_frames: GIF and WebP end after so many pictures.
    panel_size: height of the storyboard's panels, pixels.
    puppet_size: side of the pictures of the character alone, pixels.
  """

  neutral: str = 'output'
  neutral_frames: tuple[str, ...] = ()
  mouth_gain: float = 1.0
  eye_gain: float = 1.0
  smoothing: bool = True
  head_pose: str = 'absolute'
  angle_limit_deg: float = 35.0
  fps: float = 0.0
  audio: bool = True
  media: tuple[str, ...] = ('gif',)
  gif_every: int = 2
  gif_max_frames: int = 120
  panel_size: int = 240
  puppet_size: int = 512

  def validate(self) -> None:
    """Checks every option.

    Raises:
      ConfigError: with every problem: key, value, rule, remedy.
    """
    problems = []
    for key, allowed in (('neutral', NEUTRAL_MODES), ('head_pose', HEAD_POSES)):
      value = getattr(self, key)
      if value not in allowed:
        rule = f'must be one of {", ".join(allowed)}'
        problems.append(Problem(key, value, rule, f'Use {key}={allowed[0]}.'))
    for key, low, high in (
      ('mouth_gain', 0, 10),
      ('eye_gain', 0, 10),
      ('angle_limit_deg', 1, 180),
      ('gif_every', 1, 10_000),
      ('gif_max_frames', 1, 1000),
      ('panel_size', 128, 1024),
      ('puppet_size', 64, 1024),
    ):
      value = getattr(self, key)
      if not low <= value <= high:
        rule = f'must be {low} to {high}'
        default = type(self).__dataclass_fields__[key].default
        problems.append(Problem(key, value, rule, f'The default is {default}.'))
    if self.fps and not 1 <= self.fps <= 1000:
      problems.append(
        Problem(
          'fps', self.fps, 'must be 1 to 1000, or 0', 'Leave it out, or say 25.'
        )
      )
    if self.neutral_frames and not self.needs_neutral:
      problems.append(
        Problem(
          'neutral_frames',
          self.neutral_frames,
          'has no effect with neutral=none and an absolute head pose',
          'Use neutral=output.',
        )
      )
    problems += self._media_problems()
    if problems:
      raise ConfigError(problems)

  def _media_problems(self) -> list[Problem]:
    known = f'must be of {", ".join(MEDIA)}, or none'
    problems = [
      Problem('media', kind, known, 'The default is gif.')
      for kind in self.media
      if kind not in MEDIA
    ]
    if 'mp4' in self.media:
      try:
        require_av('--media=mp4')
      except VideoError as error:
        problems.append(
          Problem('media', 'mp4', str(error), 'Or use --media=webp,gif.')
        )
    return problems

  @property
  def needs_neutral(self) -> bool:
    """Whether the driver must be read once before to find the neutral face."""
    named_head = self.head_pose == 'relative' and bool(self.neutral_frames)
    return self.neutral != 'none' or named_head
