"""Data sets from paths, and pose adapters fitted to a head model."""

from __future__ import annotations

import json
import os
import pathlib
import time
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from absl import logging

from configs import edtn as edtn_config
from data import (
  files,
  picture_codec,
  prepare,
  prepare_anime_frames,
  prepare_characters,
  procedural_codes,
)
from data.characters.style import STYLES, check_styles
from edtn_jax import faces, flag_rules
from edtn_jax.config import ConfigError, Problem
from edtn_jax.encoders.choice import EncoderChoice
from edtn_jax.pictures.expressions import expression_sheet
from edtn_jax.pictures.face_scene import face_scene
from edtn_jax.prepare_videos import prepare_videos

# Which sources look at an option; those that are not named all do.
_OPTIONS_OF = {
  'frames_per_identity': ('procedural', 'characters'),
  'size': ('characters',),
  'seed': ('procedural', 'characters'),
  'image_format': ('characters', 'anime'),
  'train_list': ('anime',),
  'test_list': ('anime',),
  'styles': ('characters',),
  'num_processes': ('input', 'characters', 'anime', 'videos'),
  'encoder': ('videos',),
  'encoder_weights': ('videos',),
  'face': ('videos',),
  'landmarks': ('videos',),
  'landmark_map': ('videos',),
}
# Between two lines of progress.
_LOG_SECONDS = 5.0


def prepare_run(
  output: str | os.PathLike,
  *,
  input_dir: str = '',
  procedural: int = 0,
  characters: int = 0,
  anime: str = '',
  videos: str = '',
  frames_per_identity: int = 50,
  size: int = 256,
  seed: int = 0,
  validation_fraction: float = 0.02,
  image_format: str = 'png',
  train_list: str = '',
  test_list: str = '',
  styles: Sequence[str] = (),
  encoder: EncoderChoice | None = None,
  num_processes: int = 1,
  overwrite: bool = False,
) -> dict[str, Any]:
  """Makes a data set of codes or of anime pictures, from one source.

  Args:
    output: directory to make.
    input_dir: VoxCeleb + DECA tree or any folder of .mat, or ''.
    procedural: so many procedural identities (codes), or 0.
    characters: so many characters drawn by code (pictures), or 0.
    anime: tree of pictures in AnimeCeleb's format, or ''.
    videos: tree of videos of people (codes), or ''.
    frames_per_identity: of procedural identities and of characters.
    size: side of the characters' pictures, pixels.
    seed: of procedural identities, and of the characters' poses.
    validation_fraction: share of the identities held out, in [0, 1); the
      `test` split of anime pictures without lists.
    image_format: of anime pictures in the records: png, webp or jpeg.
    train_list: for `anime`: file with one identity a line; needs `test_list`.
    test_list: likewise.
    styles: shading styles of `characters`; () for all.
    encoder: of `videos`; None for the default.
    num_processes: processes that read, encode or draw.
    overwrite: replace a finished data set.

  Returns:
    The manifest.

  Raises:
    ConfigError: if arguments contradict each other; nothing is written.
    Others: see `data.prepare`, `data.prepare_characters`,
      `data.prepare_anime_frames` and `edtn_jax.prepare_videos`.
  """
  given = flag_rules.changed(prepare_run, locals())
  sources = {
    'input': input_dir,
    'procedural': procedural,
    'characters': characters,
    'anime': anime,
    'videos': videos,
  }
  source = _one_source(sources)
  _check_options(source, given, encoder, image_format, train_list, test_list)
  if characters:
    return _characters_run(
      output,
      num_identities=characters,
      frames_per_identity=frames_per_identity,
      size=size,
      seed=seed,
      test_fraction=validation_fraction,
      styles=list(check_styles(styles or STYLES)),
      num_processes=num_processes,
      image_format=image_format,
      overwrite=overwrite,
    )
  if anime:
    return prepare_anime_frames.prepare_anime_frames(
      anime,
      output,
      image_format=image_format,
      train_list=train_list,
      test_list=test_list,
      test_fraction=validation_fraction,
      num_threads=num_processes,
      overwrite=overwrite,
      progress=_log_progress,
    )
  if input_dir:
    return prepare.prepare_codes(
      input_dir,
      output,
      validation_fraction=validation_fraction,
      num_processes=num_processes,
      overwrite=overwrite,
      progress=_log_progress,
    )
  if videos:
    return prepare_videos(
      videos,
      output,
      encoder=encoder,
      validation_fraction=validation_fraction,
      num_processes=num_processes,
      overwrite=overwrite,
      progress=_TimedProgress(),
    )
  _check_procedural(procedural, frames_per_identity, validation_fraction)
  held_out = round(procedural * validation_fraction)
  if validation_fraction:
    held_out = max(1, held_out)
  adapter = faces.procedural_adapter()

  def clips(count: int, first: int):
    return procedural_codes.procedural_clips(
      adapter,
      seed=seed,
      num_identities=count,
      frames_per_identity=frames_per_identity,
      first_identity=first,
    )

  splits = {'train': clips(procedural - held_out, 0)}
  if held_out:
    splits['validation'] = clips(held_out, procedural - held_out)
  return prepare.prepare_procedural(
    output,
    splits,
    source={
      'seed': seed,
      'num_identities': procedural,
      'frames_per_identity': frames_per_identity,
    },
    overwrite=overwrite,
  )


def _one_source(sources: Mapping[str, Any]) -> str:
  given = {name: value for name, value in sources.items() if value}
  if len(given) != 1:
    raise ConfigError(
      [
        Problem(
          ', '.join(sources),
          given,
          'exactly one must be given',
          'Use --videos=DIR or --input=DIR for people, --procedural=200 for '
          'codes made up, --characters=100 for anime pictures, --anime=TREE '
          'for your own.',
        )
      ]
    )
  return next(iter(given))


def _check_options(
  source: str,
  given: Mapping[str, Any],
  encoder: EncoderChoice | None,
  image_format: str,
  train_list: str,
  test_list: str,
) -> None:
  """Raises ConfigError for options that are wrong, or that are ignored."""
  problems = []
  formats = picture_codec.IMAGE_FORMATS
  if image_format not in formats:
    rule = f'must be one of {", ".join(formats)}'
    remedy = 'Use webp for half the size of png.'
    problems.append(Problem('image_format', image_format, rule, remedy))
  if bool(train_list) != bool(test_list):
    problems.append(
      Problem(
        'train_list, test_list',
        (train_list, test_list),
        'must be given both or not at all',
        'AnimeCeleb comes with both.',
      )
    )
  chosen = _encoder_options(encoder or EncoderChoice())
  options = {n: v for n, v in given.items() if n != 'encoder'} | chosen
  for name, value in options.items():
    owners = _OPTIONS_OF.get(name, (source,))
    if source not in owners:
      rule = f'is for {" and ".join(f"--{owner}" for owner in owners)}'
      problems.append(Problem(name, value, rule, 'Leave it out.'))
  if problems:
    raise ConfigError(problems)


def _encoder_options(encoder: EncoderChoice) -> dict[str, str]:
  """What is chosen of an encoder, by the names of the flags."""
  options = {
    'encoder': '' if encoder.kind == EncoderChoice.kind else encoder.kind,
    'encoder_weights': encoder.weights,
    'face': encoder.face,
    'landmarks': encoder.landmarks,
    'landmark_map': encoder.landmark_map,
  }
  return {name: value for name, value in options.items() if value}


def _characters_run(
  output: str | os.PathLike,
  *,
  image_format: str,
  overwrite: bool,
  **options: Any,
) -> dict[str, Any]:
  """Draws a tree of pictures and turns it into records.

  A tree that an interrupted call has finished is not drawn again.
  """
  tree = prepare_characters.tree_dir(output)
  if overwrite or not _is_tree_of(tree, options):
    prepare_characters.prepare_characters(
      output, overwrite=overwrite, progress=_log_progress, **options
    )
  return prepare_anime_frames.prepare_anime_frames(
    tree,
    output,
    image_format=image_format,
    num_threads=options['num_processes'],
    overwrite=overwrite,
    progress=_log_progress,
  )


def _is_tree_of(tree: pathlib.Path, options: dict[str, Any]) -> bool:
  """Whether a finished tree holds what these options would draw."""
  try:
    source = json.loads((tree / 'manifest.json').read_text())['source']
  except (OSError, ValueError, KeyError):
    return False
  # The number of processes changes nothing that is drawn.
  drawn = {k: v for k, v in options.items() if k != 'num_processes'}
  return all(source.get(key) == value for key, value in drawn.items())


def fit_adapter_run(
  output: str | os.PathLike,
  *,
  face: str = '',
  landmarks: str = '',
  penalty: float = 1e-3,
) -> pathlib.Path:
  """Fits a pose adapter and draws its 17 expressions.

  Args:
    output: `.npy` file for the [17, 50] matrix; the sheet of pictures stands
      beside it as `.png`.
    face: FLAME file to fit, or '' for the procedural head.
    landmarks: its landmark files, comma-separated.
    penalty: see `edtn_jax.translation.pose_adapter.fit_pose_adapter`.

  Returns:
    Path of the sheet.

  Raises:
    ConfigError: if `output` is no `.npy` name.
    FlameFileError: if the head model cannot be read.
  """
  output = pathlib.Path(output)
  if output.suffix != '.npy':
    raise ConfigError(
      [
        Problem(
          'output', str(output), 'must end in .npy', 'Use --output=adapter.npy.'
        )
      ]
    )
  config = edtn_config.get_config().face
  config.adapter_penalty = penalty
  if face:
    config.model, config.landmarks = face, landmarks
  loaded = faces.load_face(config)
  sheet = expression_sheet(face_scene(loaded, 192))
  output.parent.mkdir(parents=True, exist_ok=True)
  with files.atomic_writer(output) as file:
    np.save(file, loaded.pose_adapter)
  picture = output.with_suffix('.png')
  with files.atomic_writer(picture) as file:
    sheet.save(file, 'PNG')
  return picture


def _check_procedural(identities: int, frames: int, fraction: float) -> None:
  problems = [
    Problem(key, value, rule, 'Choose another value.')
    for key, value, rule, good in (
      ('procedural', identities, 'must be at least 2', identities >= 2),
      ('frames_per_identity', frames, 'must be at least 1', frames >= 1),
      (
        'validation_fraction',
        fraction,
        'must be at least 0 and below 1',
        0 <= fraction < 1,
      ),
    )
    if not good
  ]
  if problems:
    raise ConfigError(problems)


def _log_progress(phase: str, done: int, total: int) -> None:
  if done == total or done % max(1, total // 20) == 0:
    logging.info('%s: %d of %d', phase, done, total)


class _TimedProgress:
  """A line now and then, where one clip takes seconds and another hours."""

  def __init__(self):
    self._began = self._logged = time.perf_counter()

  def __call__(self, phase: str, done: int, total: int) -> None:
    now = time.perf_counter()
    if done == total or now - self._logged > _LOG_SECONDS:
      self._logged = now
      seconds = now - self._began
      logging.info('%s: %d of %d, %.0f s', phase, done, total, seconds)
