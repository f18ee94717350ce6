"""Fills the report of the demo."""

from __future__ import annotations

import pathlib
import shlex
from collections.abc import Mapping
from typing import Any

import numpy as np

from data.codes import CodeClip
from edtn_jax import workdir as workdir_lib
from edtn_jax.faces import Face
from edtn_jax.metric_words import WORDS, known_metrics
from edtn_jax.pictures.expressions import expression_sheet
from edtn_jax.pictures.face_scene import face_scene
from edtn_jax.pose_files import NPZ_NAME
from edtn_jax.reenact_pictures import GIF_NAME
from edtn_jax.report import ReportData, write_report
from edtn_jax.training.writer import read_metrics

REPORT_NAME = 'report.html'
_REENACTMENT = 'reenactment'
_CURVES = tuple(name for name in WORDS if name != 'frames')


def demo_report(
  output: pathlib.Path,
  *,
  workdir: pathlib.Path,
  face: Face,
  evaluation: Mapping[str, Any],
  summary: Mapping[str, Any],
  driving: str,
  clip: CodeClip,
  generated: str,
  predicted: np.ndarray,
  times: Mapping[str, float],
) -> pathlib.Path:
  """Writes the report of a demo that trained its own network.

  Args:
    output: directory of the demo; holds `reenactment`.
    workdir: of the run.
    face: head model and adapter.
    evaluation: the `result` of `evaluation.run.evaluate`.
    summary: what `reenact_run` returned.
    driving: clip of a face that drove; '' if `clip` did.
    clip: a driver with true coefficients, saved as `driver.npz`.
    generated: sentence on the generated picture.
    predicted: [T, 17] network output for `clip`.
    times: seconds by phase.

  Returns:
    Path of the HTML file.
  """
  metrics = evaluation['metrics']
  say = _say_of_a_clip if driving else _say_of_made_codes
  driver = shlex.quote(driving or str(output / 'driver.npz'))
  data = ReportData(
    **say(summary, generated),
    gif=output / _REENACTMENT / GIF_NAME,
    curves=_curves(workdir),
    metrics=known_metrics(metrics),
    expressions=_expressions(face),
    true_coeffs=clip.true_pose_coeffs,
    predicted_coeffs=predicted,
    timeline=_poses(output),
    fps=summary['fps'],
    provenance=_provenance(evaluation['protocol'], summary, times),
    commands=(
      (
        'Train with the paper’s numbers (50 epochs over 18,503 people)',
        'edtn train --config=configs/edtn.py --workdir=runs/edtn',
      ),
      (
        'Sweep the weight of the vertex loss',
        'python -m launch.sweep --config=configs/edtn.py '
        '--workdir=runs/lambda_ver',
      ),
      (
        'Drive another character, or look at one in every pose',
        f'edtn reenact --driving={driver} --workdir={workdir} '
        '--puppet=8 --output=out\n'
        'edtn reenact --puppet=8 --pose=sweep --output=out',
      ),
      (
        'Drive a picture of your own, by a generator',
        f'edtn reenact --driving={driver} --workdir={workdir} '
        '--source=PICTURE.png --output=out',
      ),
      *_clip_commands(driving),
      (
        'Use real DECA codes with the released weights',
        'edtn demo --driving=DIR --weights=EDTN.pt --pose_adapter=MATRIX.npy',
      ),
    ),
  )
  return write_report(output / REPORT_NAME, data)


def driving_report(
  output: pathlib.Path,
  *,
  face: Face,
  driving: str,
  summary: Mapping[str, Any],
  generated: str,
  times: Mapping[str, float],
) -> pathlib.Path:
  """Writes the report of released weights on real codes.

  Args:
    output: directory of the demo; holds `reenactment`.
    face: head model and adapter.
    driving: where the codes came from.
    summary: what `reenact_run` returned.
    generated: sentence on the generated picture.
    times: seconds by phase.

  Returns:
    Path of the HTML file.
  """
  data = ReportData(
    title='A real face drives an anime character',
    introduction=(
      'Face codes of a real video, translated by the released network.'
    ),
    gif=output / _REENACTMENT / GIF_NAME,
    gif_caption=f'Meshes: {face.description}.',
    observations=(generated, *_driving_observations(face, summary)),
    expressions=_expressions(face),
    timeline=_poses(output),
    provenance=_provenance({'driving': driving}, summary, times),
  )
  return write_report(output / REPORT_NAME, data)


def _say_of_made_codes(
  summary: Mapping[str, Any], generated: str
) -> dict[str, Any]:
  """Texts where the driver is made up, too."""
  return {
    'title': 'A face drives an anime character',
    'introduction': (
      'No download, no pairs: people, face codes and head model are made by '
      'code. The network learnt to say in 17 anime coefficients what it sees '
      'in 53 human numbers by comparing meshes, the calmest pose among equals.'
    ),
    'gif_caption': (
      'From left: the face of a person the network has never seen; the anime '
      f'pose it chose, carried back to the mesh; {_characters(summary)} in '
      'that pose; the pose itself.'
    ),
    'observations': (
      generated,
      'The eyelids close together: a blink blinks, one frame after the other.',
      'The person opens the mouth by the jaw, the anime pose by an expression: '
      'the network translates one into the other.',
      f'The person’s resting face was read off {len(summary["neutral_frames"])}'
      f' calm frames of {summary["frames"]} and taken off; without this, its '
      'offset would sit in every frame.',
    ),
  }


def _say_of_a_clip(
  summary: Mapping[str, Any], generated: str
) -> dict[str, Any]:
  """Texts where a real face drives."""
  jitter = summary['jitter']['coefficients']
  return {
    'title': 'A real face drives an anime character',
    'introduction': (
      'No restricted file: FaceMesh finds 468 landmarks in each frame, the '
      'project’s own head is fitted to them, and a network that learnt on '
      'people made by code says in 17 anime coefficients what that head does. '
      'It had never met a real face.'
    ),
    'gif_caption': (
      'From left: the clip; the head as fitted to it, a likeness of what the '
      'face does and not of who it is; the anime pose that the network chose, '
      f'carried back to that head; {_characters(summary)} in that pose; the '
      'pose itself.'
    ),
    'observations': (
      generated,
      _faces_found(summary),
      f'Both eyes are closed in {summary["closed_eye_frames"]} frames.',
      'Smoothing took the tremble of the coefficients (mean second difference) '
      f'from {jitter["before"]:.4f} to {jitter["after"]:.4f}.',
      f'The resting face was read off {len(summary["neutral_frames"])} calm '
      'frames and taken off; without this, its offset would sit in every '
      'frame.',
      'The errors below are of people made by code that were held out from '
      'training: of a real face nobody knows the true coefficients.',
    ),
  }


def _faces_found(summary: Mapping[str, Any]) -> str:
  lost, total = summary['driver']['frames_without_face'], summary['frames']
  if not lost:
    return f'Each of the {total} frames shows a face.'
  return f'{lost} of {total} frames show no face; they are bridged.'


def _clip_commands(driving: str) -> tuple[tuple[str, str], ...]:
  """What to try next where a clip drove, or where one could."""
  if not driving:
    return (
      ('Drive by a clip of your own face', 'edtn demo --driving=CLIP.mp4'),
    )
  return (
    (
      'Train on faces of real people: a folder of videos',
      'edtn prepare --videos=DIR --output=codes\n'
      'edtn train --config=configs/edtn.py:dataset --config.data.path=codes '
      '--workdir=runs/edtn',
    ),
  )


def _characters(summary: Mapping[str, Any]) -> str:
  """Panels of the characters, in words."""
  if 'generated' not in summary:
    return 'a character'
  return 'a character as the generator makes it of one picture, and as drawn,'


def _driving_observations(face: Face, summary) -> list[str]:
  lines = [
    f'{summary["frames"]} frames, {summary["skipped_frames"]} of them bridged '
    'because their file could not be read.',
    'The released network has a standing offset on real faces; the neutral '
    'face was found and taken off (see summary.json for its numbers).',
  ]
  if 'procedural' in face.description:
    lines.append(
      'No FLAME file was given, so the meshes are an approximation: the '
      'project’s own head answers to FLAME codes only along the 17 directions '
      'of the pose adapter. The pose vectors do not depend on it.'
    )
  return lines


def _expressions(face: Face):
  return expression_sheet(face_scene(face, 160))


def _poses(output: pathlib.Path) -> np.ndarray:
  with np.load(output / _REENACTMENT / NPZ_NAME) as stored:
    return stored['pose_vector']


def _curves(workdir: pathlib.Path):
  """`quantity/series` -> (steps, values) of everything worth a chart."""
  curves: dict[str, tuple[list[float], list[float]]] = {}
  for row in read_metrics(workdir):
    for key, value in row.items():
      series, _, quantity = key.partition('/')
      if quantity in _CURVES and value is not None:
        steps, values = curves.setdefault(f'{quantity}/{series}', ([], []))
        steps.append(row['step'])
        values.append(value)
  return {k: (np.array(s), np.array(v)) for k, (s, v) in curves.items()}


def _provenance(protocol, summary, times):
  run = workdir_lib.provenance()
  return {
    'This run': {
      'seconds': {k: f'{v:.1f}' for k, v in times.items()},
      'commit': run['commit'],
      'device': f'{run["devices"]} x {run["device_kind"]}',
      'python': run['python'],
      **run['versions'],
    },
    'Evaluation': dict(protocol),
    'Reenactment': dict(summary['options']),
    **({'Driver': summary['driver']} if 'driver' in summary else {}),
    'Characters': {
      key: summary[key] for key in ('generated', 'puppet') if key in summary
    },
  }
