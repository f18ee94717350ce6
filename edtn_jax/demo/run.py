"""Procedural codes -> train -> evaluate -> reenact -> report.

What drives is made up, a clip of a real face, or, with released weights, real
codes.
"""

from __future__ import annotations

import hashlib
import os
import pathlib
import time
from typing import Any

import numpy as np
from absl import logging

from configs import edtn as edtn_config
from data import files, procedural_codes
from data.codes import CodeClip
from data.drivers import holds_codes
from edtn_jax import checkpoints, faces
from edtn_jax.config import ConfigError, Problem
from edtn_jax.convert.expression_translator import write_converted
from edtn_jax.demo.clip import check_clip
from edtn_jax.demo.generated import Cast, cast
from edtn_jax.demo.report import demo_report, driving_report
from edtn_jax.driver_choice import DriverChoice
from edtn_jax.evaluation.run import evaluate
from edtn_jax.network_choice import NetworkChoice
from edtn_jax.reenact_options import ReenactOptions
from edtn_jax.reenact_run import reenact_run
from edtn_jax.training import train_and_evaluate
from edtn_jax.translation.inference import make_translate

# Identity of the driver that the demo shows: none of training or validation.
_DRIVER_IDENTITY = 1_000_000
_DRIVER_FRAMES = 300


def run_demo(
  output: str | os.PathLike,
  *,
  driving: str = '',
  weights: str = '',
  pose_adapter: str = '',
  frames: str = '',
  num_steps: int = 0,
  seed: int = 0,
  puppet: str = '',
  generator: str = '',
) -> pathlib.Path | None:
  """Runs the whole chain once and writes `report.html`.

  Without `driving`, everything is made here: people, codes, network. A clip
  of a face drives that network. Real codes drive the released weights.

  Args:
    output: directory for the results.
    driving: video or folder of pictures of a face; or codes, such as a folder
      of DECA .mat files; or ''.
    weights: released `EDTN.pt`; needed with codes, and only there.
    pose_adapter: released adapter `.npy`; likewise.
    frames: directory of driving frames to show with codes, or ''.
    num_steps: training steps; 0 takes the demo config's.
    seed: of data and training.
    puppet: anime character that is driven, a seed or a file; see
      `pictures.puppet.CharacterPuppet`; '' takes one that the generator has
      never seen.
    generator: bundle or run that moves a picture of that character as well;
      '' takes the shipped one.

  Returns:
    Path of the report; None if a signal ended training early, in which case
    the same call continues it.

  Raises:
    ConfigError: if arguments are missing or contradict each other, or a clip
      needs what is not installed.
    VideoError, DriverError: if a clip cannot be read, or shows no face.
    CharacterError, CheckpointError: if the character or the generator cannot
      be used.
  """
  _check(driving, weights, pose_adapter, frames)
  # Now, not after training: a file that cannot be used.
  by_codes = bool(driving) and holds_codes(driving)
  if driving and not by_codes:
    check_clip(driving)
  driven = cast(puppet, generator)
  output = pathlib.Path(output)
  if by_codes:
    return _drive(output, driving, weights, pose_adapter, frames, driven)
  config = edtn_config.get_config('demo')
  config.seed = config.data.procedural_seed = seed
  config.train.num_steps = num_steps or config.train.num_steps
  times: dict[str, float] = {}
  # Another seed is another run; both may stand in one output directory.
  workdir = output / f'run_seed{seed}'
  with _timed(times, 'train'):
    result = train_and_evaluate(config, workdir)
  if result.preempted:
    return None
  with _timed(times, 'evaluate'):
    evaluation = evaluate(workdir).result
    files.write_json(output / 'evaluation.json', evaluation)
  face = result.task.face
  clip = _procedural_driver(face.pose_adapter, seed)
  clip.save(output / 'driver.npz')
  with _timed(times, 'reenact'):
    summary = reenact_run(
      DriverChoice(driving or output / 'driver.npz'),
      NetworkChoice(workdir),
      output / 'reenactment',
      options=ReenactOptions(),
      characters=driven.choice(output),
    )
  with _timed(times, 'report'):
    return demo_report(
      output,
      workdir=workdir,
      face=face,
      evaluation=evaluation,
      summary=summary,
      driving=driving,
      clip=clip,
      generated=driven.sentence,
      predicted=_translate(workdir, clip),
      times=times,
    )


def _drive(
  output, driving, weights, pose_adapter, frames, driven: Cast
) -> pathlib.Path:
  """Released weights on real codes."""
  workdir = output / f'released_{_digest(weights, pose_adapter)}'
  if not (workdir / 'config.json').exists():
    write_converted(
      weights,
      workdir,
      edtn_config.get_config('code'),
      pose_adapter=pose_adapter,
    )
  times: dict[str, float] = {}
  with _timed(times, 'reenact'):
    summary = reenact_run(
      DriverChoice(driving),
      NetworkChoice(workdir),
      output / 'reenactment',
      options=ReenactOptions(),
      frames=frames,
      characters=driven.choice(output),
    )
  found = checkpoints.load_checkpoint(workdir)
  face = faces.load_face(found.config.face, found.constants['pose_adapter'])
  return driving_report(
    output,
    face=face,
    driving=driving,
    summary=summary,
    generated=driven.sentence,
    times=times,
  )


def _digest(*paths: str) -> str:
  """Short name of some files' content: other weights are another run."""
  digest = hashlib.sha256()
  for path in paths:
    digest.update(pathlib.Path(path).read_bytes())
  return digest.hexdigest()[:12]


def _check(driving, weights, pose_adapter, frames) -> None:
  released = {'weights': weights, 'pose_adapter': pose_adapter}
  given = {k: v for k, v in {**released, 'frames': frames}.items() if v}
  problems = [
    Problem(key, value, 'does not exist', 'Give an existing path.')
    for key, value in {'driving': driving, **given}.items()
    if value and not pathlib.Path(value).exists()
  ]
  if not driving:
    rule, remedy = 'has a meaning only with --driving', 'Give --driving=DIR.'
    problems += [Problem(k, v, rule, remedy) for k, v in given.items()]
  # What it needs depends on what it is.
  elif pathlib.Path(driving).exists():
    problems += _driver_problems(driving, released, given)
  if problems:
    raise ConfigError(problems)


def _driver_problems(driving, released, given) -> list[Problem]:
  """What is missing for codes, or too much for a clip."""
  if holds_codes(driving):
    remedies = {
      'weights': 'Give the released EDTN.pt.',
      'pose_adapter': 'Give the released 17 x 50 matrix (.npy).',
    }
    rule = 'is needed where --driving holds codes'
    return [
      Problem(key, value, rule, remedies[key])
      for key, value in released.items()
      if not value
    ]
  rule = 'is for codes, and --driving is a moving picture'
  remedy = (
    'Leave it out: the demo trains a network. A clip drives released weights '
    'by "edtn convert" and "edtn reenact".'
  )
  return [Problem(key, value, rule, remedy) for key, value in given.items()]


def _procedural_driver(pose_adapter: np.ndarray, seed: int) -> CodeClip:
  """A clip of somebody the network has never seen."""
  clips = procedural_codes.procedural_clips(
    pose_adapter,
    seed=seed,
    num_identities=1,
    frames_per_identity=_DRIVER_FRAMES,
    first_identity=_DRIVER_IDENTITY,
  )
  return next(iter(clips))


def _translate(workdir: pathlib.Path, clip: CodeClip) -> np.ndarray:
  """What the network says of a clip, [T, 17], before any filter."""
  translate = make_translate(checkpoints.load_checkpoint(workdir))
  return translate(clip.expression, clip.jaw_pose)


class _timed:
  """Adds the time of a block to a dict, and logs it."""

  def __init__(self, times: dict[str, Any], name: str):
    self._times, self._name = times, name

  def __enter__(self):
    self._began = time.perf_counter()

  def __exit__(self, *exc_info):
    self._times[self._name] = time.perf_counter() - self._began
    logging.info('%s: %.1f s', self._name, self._times[self._name])
