"""A person's face codes drive an anime character: codes in, pose vectors out.

    driver -> translate -> smooth -> calibrate -> gain -> clamp -> files,
                                                         moving pictures

Everything streams in chunks; memory does not grow with length. Where the
neutral face is wanted, the driver is read twice: once to find it, once to use
it.
"""

from __future__ import annotations

import collections.abc
import contextlib
import dataclasses
import json
import os
import pathlib
import types
from typing import Any

from data import codes, files, pose_vector
from data.video.png_folder import check_png_folder
from edtn_jax import reenact_summary as summary_lib
from edtn_jax.pictures.meshes import MeshScene
from edtn_jax.pictures.puppet import Puppet
from edtn_jax.pictures.storyboard import FramePicture
from edtn_jax.pose_files import CSV_NAME, NPZ_NAME, open_pose_files
from edtn_jax.reenact_options import ReenactOptions
from edtn_jax.reenact_pictures import ReenactPictures, picture_names
from edtn_jax.reenact_process import (
  PoseProcess,
  ReenactError,
  Translate,
  run_translator,
)
from edtn_jax.signal.neutral import Neutral, NeutralFinder
from edtn_jax.stopwatch import Stopwatch

SUMMARY_NAME = 'summary.json'
_FORMAT = 'edtn_reenactment'

# Of a driver that does not say.
DEFAULT_FPS = 25.0


def reenact(
  driver: collections.abc.Iterable[codes.CodeClip],
  translate: Translate,
  output_dir: str | os.PathLike,
  *,
  options: ReenactOptions | None = None,
  scene: MeshScene | None = None,
  frame_picture: FramePicture | None = None,
  puppets: collections.abc.Mapping[str, Puppet] = types.MappingProxyType({}),
  overlap: bool = True,
) -> dict[str, Any]:
  """Turns a driver into pose vectors and moving pictures.

  Writes `pose_vectors.csv`, `pose_vectors.npz` (see `pose_files`),
  `summary.json` and, for each kind of `options.media`, `reenactment.*` (driver,
  meshes, characters and bars side by side) and `<name>.*` (each character
  alone). An earlier reenactment is replaced; other data is never. Nothing is
  left half written, but for a PNG sequence that ends early: see
  `data.video.png_folder`.

  Args:
    driver: yields chunks of one person's video, such as
      `data.drivers.open_driver` gives; iterated twice when the neutral face
      is needed. One that bridges broken frames lists them in `skipped`.
    translate: network, from expression [T, 50] and jaw_pose [T, 3] (both
      float32, radians) to pose coefficients [T, 17] in [0, 1]; one that has a
      `description` is described by it.
    output_dir: folder for the results, made if absent.
    options: see `ReenactOptions`; defaults when None.
    scene: draws the meshes of the storyboard; left out when None.
    frame_picture: gives the driving frame for a frame name, or None; such as
      `pictures.frames.FrameFolder`.
    puppets: draw the characters that are driven, by names of
      `pictures.storyboard.TITLES`, such as
      `animation.puppet.CharacterChoice.open` gives.
    overlap: whether files are written while the next frames are drawn; off,
      the time of each stage can be measured.

  Returns:
    The summary, as in `summary.json`: frames, skipped frames, statistics a
    coefficient, jitter before and after, closed eyes, clamped frames, the
    characters, frames by moving picture, times.

  Raises:
    ConfigError: if options are wrong.
    ReenactError: if the driver has no frames, holds several clips or cannot
      be read twice, the network's output is wrong, or `output_dir` holds other
      data.
    VideoError: if a moving picture cannot be written.
    NeutralError: if a named neutral frame is not there.
  """
  options = options or ReenactOptions()
  options.validate()
  output_dir = pathlib.Path(output_dir)
  results = [
    CSV_NAME,
    NPZ_NAME,
    *picture_names(options.media, puppets),
  ]
  _check_output(output_dir, results, options.media)
  clock = Stopwatch()
  neutral = None
  if options.needs_neutral:
    neutral = _find_neutral(driver, translate, options, clock)
  output_dir.mkdir(parents=True, exist_ok=True)
  fps = options.fps or getattr(driver, 'fps', None) or DEFAULT_FPS
  process = PoseProcess(options, neutral, fps)
  statistics = summary_lib.Statistics()
  with contextlib.ExitStack() as stack:
    pose_files = stack.enter_context(open_pose_files(output_dir))
    pictures = stack.enter_context(
      ReenactPictures(
        output_dir,
        media=options.media,
        fps=fps,
        every=options.gif_every,
        max_frames=options.gif_max_frames,
        panel_size=options.panel_size,
        scene=scene,
        frame_picture=frame_picture,
        puppets=puppets,
        audio_from=_audio(driver, options),
        progress=summary_lib.ProgressLine(getattr(driver, 'num_frames', None)),
        overlap=overlap,
      )
    )
    for chunk in clock.each('read', _one_clip(driver)):
      with clock('translate'):
        output = run_translator(
          translate,
          chunk.frames,
          chunk.expression,
          chunk.jaw_pose,
          process.code_offset,
        )
      with clock('signal'):
        before, smoothed, poses = process(output, chunk.global_pose)
        statistics.add(before, smoothed, poses)
      with clock('write'):
        pose_files.add(chunk.frames, poses, output)
      with clock('pictures'):
        shown = chunk.expression
        if scene and scene.is_approximate and neutral:
          shown = shown - neutral.expression
        pictures.add(
          chunk.frames, shown, chunk.jaw_pose, chunk.global_pose, poses
        )
    if not pose_files.frame_count:
      raise ReenactError('the driver has no frames')
    with clock('write'):
      stack.close()
  summary = {
    'format': _FORMAT,
    'frames': pose_files.frame_count,
    'fps': round(fps, 4),
    **_skipped_summary(driver),
    **_driver_summary(driver),
    'pictures': pictures.frame_counts(),
    'clamped_frames': process.clamp.clamped_frames,
    **statistics.summary(),
    **_neutral_summary(neutral),
    **getattr(translate, 'description', {}),
    **_puppets_summary(puppets),
    'options': {
      **dataclasses.asdict(options),
      'neutral_frames': list(options.neutral_frames),
      'media': list(options.media),
    },
    'files': results,
    'seconds': clock.seconds(),
  }
  files.write_json(output_dir / SUMMARY_NAME, summary)
  return summary


def _check_output(
  folder: pathlib.Path, results: list[str], media: tuple[str, ...]
) -> None:
  """Refuses a folder in which somebody else's file would be replaced."""
  if folder.exists() and not folder.is_dir():
    raise ReenactError(f'{folder} is a file; name a folder for the results')
  for name in results if 'png' in media else ():
    if not pathlib.Path(name).suffix:
      check_png_folder(folder / name)
  try:
    summary = json.loads((folder / SUMMARY_NAME).read_bytes())
  except (OSError, ValueError):
    summary = None
  if isinstance(summary, dict) and summary.get('format') == _FORMAT:
    return
  taken = [n for n in [SUMMARY_NAME, *results] if (folder / n).is_file()]
  if taken:
    raise ReenactError(
      f'{folder} holds other data ({", ".join(taken)}) and is left alone; '
      'choose another output folder'
    )


def _one_clip(driver) -> collections.abc.Iterator[codes.CodeClip]:
  """The driver's chunks, refusing a second clip: state belongs to one face."""
  first = None
  for chunk in driver:
    clip = (chunk.identity, chunk.name)
    first = first or clip
    if clip != first:
      raise ReenactError(
        f'the driver holds several clips ({first[1]}, {clip[1]}); reenact '
        'them one at a time: each face has its own neutral expression'
      )
    yield chunk


def _find_neutral(driver, translate, options, clock) -> Neutral:
  if iter(driver) is driver:
    raise ReenactError(
      'the neutral face needs a first look at the whole driver, which can be '
      'read only once; give a driver that starts anew at each iteration, or '
      'set neutral=none'
    )
  finder = NeutralFinder(options.neutral_frames)
  with clock('neutral'):
    for chunk in _one_clip(driver):
      output = run_translator(
        translate, chunk.frames, chunk.expression, chunk.jaw_pose
      )
      finder.add(chunk.frames, chunk.expression, chunk.global_pose, output)
    return finder.find()


def _skipped_summary(driver) -> dict[str, Any]:
  skipped = getattr(driver, 'skipped', ())
  return {
    'skipped_frames': len(skipped),
    'skipped': [f'{frame.path}: {frame.reason}' for frame in skipped],
  }


def _driver_summary(driver) -> dict[str, Any]:
  return dict(driver.summary()) if hasattr(driver, 'summary') else {}


def _audio(driver, options: ReenactOptions) -> str | None:
  return getattr(driver, 'audio_path', None) if options.audio else None


def _puppets_summary(puppets) -> dict[str, Any]:
  return {
    name: puppet.description
    for name, puppet in puppets.items()
    if getattr(puppet, 'description', None)
  }


def _neutral_summary(neutral: Neutral | None) -> dict[str, Any]:
  if neutral is None:
    return {}
  named = zip(
    pose_vector.COEFFICIENT_NAMES, neutral.pose_coeffs.tolist(), strict=True
  )
  return {
    'neutral_frames': list(neutral.frames),
    'neutral_pose_coeffs': {name: round(value, 4) for name, value in named},
  }
