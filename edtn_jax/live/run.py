"""Live driving from paths: opens everything, then the source."""

from __future__ import annotations

import dataclasses
import json
import os
import pathlib
from collections.abc import Mapping
from typing import Any, NamedTuple

from absl import logging

from data import files
from data.drivers import holds_codes
from data.facemesh.tracking import FaceTracker
from data.video import open_video
from edtn_jax import devices, engines
from edtn_jax.animation.puppet import CharacterChoice
from edtn_jax.config import ConfigError, Problem
from edtn_jax.driver_choice import DriverChoice
from edtn_jax.encoders.clip_encoders import ClipEncoder
from edtn_jax.live.driver import LiveDriver
from edtn_jax.live.meter import Meter
from edtn_jax.live.picture import LivePicture
from edtn_jax.live.server import DEFAULT_HOST, DEFAULT_PORT, LiveServer
from edtn_jax.live.session import LiveSession
from edtn_jax.network_choice import NetworkChoice
from edtn_jax.pictures.puppet import Puppet
from edtn_jax.reenact import SUMMARY_NAME
from edtn_jax.reenact_options import ReenactOptions
from edtn_jax.reenact_process import ReenactError

_FORMAT = 'edtn_live'
# As the experiments in `configs` have it.
_COMPILE_CACHE = '~/.cache/edtn_jax'


def live_run(
  driving: DriverChoice,
  network: NetworkChoice,
  output: str | os.PathLike,
  *,
  options: ReenactOptions,
  characters: CharacterChoice,
  host: str = DEFAULT_HOST,
  port: int = DEFAULT_PORT,
) -> dict[str, Any]:
  """Drives a character by a camera and shows it on a page.

  Returns at the end of the source, or at SIGINT (Ctrl-C) or SIGTERM, and
  writes `summary.json`; also when the source fails, before that is raised.

  Args:
    driving: a camera, or a video or folder of pictures, which is played in
      real time.
    network: what turns codes into pose vectors.
    output: directory for the summary.
    options: signal processing, `fps` of a folder and `puppet_size`; what
      concerns files has no meaning here.
    characters: what to drive; one picture is computed at a time.
    host: where the page is served, see `LiveServer`.
    port: where the page is served, see `LiveServer`.

  Returns:
    The summary: `LiveSession.summary`, characters, encoder, options.

  Raises:
    ConfigError: if options are wrong, nothing is to be driven, or the page
      cannot be served.
    VideoError: if the source is not there, or fails.
    ReenactError: if codes and network speak of different face models,
      `output` holds other data, or no resting face was seen.
    CheckpointError, PoseAdapterError, FlameFileError, CharacterError,
      SourceError, ModelError: see there.
  """
  _check(driving, options, characters)
  output = pathlib.Path(output)
  _check_output(output)
  # What can be wrong is told before the models are loaded, which takes long.
  open_video(driving.path, fps=options.fps or None).close()
  with LiveServer(host, port) as server:
    _use_compile_cache()
    models = _load(driving, network, options, characters)
    picture = LivePicture(models.puppets)
    models.driver.warm_up()
    # Again and last: what a camera gives before it is looked at would be late.
    with open_video(driving.path, fps=options.fps or None) as reader:
      session = LiveSession(reader, models.driver, picture, models.meter)
      try:
        session.run(server)
      finally:
        summary = {
          'format': _FORMAT,
          **session.summary(),
          **models.description(),
          'options': _stored(options),
        }
        output.mkdir(parents=True, exist_ok=True)
        files.write_json(output / SUMMARY_NAME, summary)
  return summary


class _Models(NamedTuple):
  """What is loaded before the source is opened."""

  encoder: ClipEncoder
  translator: engines.TranslatorRunner
  puppets: Mapping[str, Puppet]
  driver: LiveDriver
  meter: Meter

  def description(self) -> dict[str, Any]:
    """Encoder, translator and characters, for the summary."""
    puppets = {n: dict(p.description) for n, p in self.puppets.items()}
    networks = {**self.encoder.description, **self.translator.description}
    return {**networks, **puppets}


def _load(
  driving: DriverChoice,
  network: NetworkChoice,
  options: ReenactOptions,
  characters: CharacterChoice,
) -> _Models:
  """Loads the models; see `live_run`."""
  puppets = dataclasses.replace(characters, batch_size=1).open(
    options.puppet_size
  )
  opened = network.open()
  encoder = driving.open_encoder(opened, batch_size=1)
  opened.check_codes(driving.path, encoder.expression_space)
  translator = opened.translator()
  meter = Meter()
  driver = LiveDriver(FaceTracker(), encoder, translator, options, meter)
  return _Models(encoder, translator, puppets, driver, meter)


def _use_compile_cache() -> None:
  """Makes the next start quick, where there is a place for it."""
  try:
    devices.use_compile_cache(_COMPILE_CACHE)
  except OSError as error:
    logging.warning('Programs are compiled at every start: %s', error)


def _stored(options: ReenactOptions) -> dict[str, Any]:
  """The options that have a meaning here."""
  names = (
    'neutral', 'mouth_gain', 'eye_gain', 'smoothing', 'head_pose',
    'angle_limit_deg', 'puppet_size',
  )  # fmt: skip
  return {name: getattr(options, name) for name in names}


def _check(
  driving: DriverChoice, options: ReenactOptions, characters: CharacterChoice
) -> None:
  options.validate()
  problems = []
  if not (characters.puppet or characters.source):
    problems.append(
      Problem(
        'puppet, source',
        '',
        'one of them must be given with --live',
        'Give --puppet=7, or --source=PICTURE for the generator.',
      )
    )
  if holds_codes(driving.path):
    problems.append(
      Problem(
        'driving',
        driving.path,
        'must be a camera or a moving picture with --live',
        'Give --driving=webcam:0, or leave out --live.',
      )
    )
  if options.neutral_frames:
    problems.append(
      Problem(
        'neutral_frames',
        options.neutral_frames,
        'has no meaning with --live: the first seconds show the resting face',
        'Leave it out.',
      )
    )
  if problems:
    raise ConfigError(problems)


def _check_output(folder: pathlib.Path) -> None:
  """Refuses a folder in which another summary would be replaced."""
  if folder.exists() and not folder.is_dir():
    raise ReenactError(f'{folder} is a file; name a folder for the summary')
  path = folder / SUMMARY_NAME
  if not path.exists():
    return
  try:
    stored = json.loads(path.read_bytes())
  except (OSError, ValueError):
    stored = None
  if not isinstance(stored, dict) or stored.get('format') != _FORMAT:
    raise ReenactError(
      f'{path} is of something else and is left alone; choose another output '
      'folder'
    )
