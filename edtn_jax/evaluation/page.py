"""An evaluation as one HTML page."""

from __future__ import annotations

import os
import pathlib
import shlex
from typing import Any

import matplotlib
import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure as Plot

from data.pose_vector import COEFFICIENT_NAMES, NUM_COEFFICIENTS, POSE_NUMBERS
from edtn_jax.evaluation.poses import PosePlane
from edtn_jax.evaluation.run import Evaluation
from edtn_jax.pictures import style
from edtn_jax.report import Figure, Metric, ReportData, write_report

_DPI = 110
# Title, unit, explanation, whether it is shown large.
_METRICS = {
  'loss': ('loss', '', 'weighted sum of the terms', True),
  'landmark_error_mm': ('landmark error', 'mm', 'mean of 68 landmarks', True),
  'vertex_error_mm': ('vertex error', 'mm', 'root mean square', False),
  'lid_error_mm': ('lid error', 'mm', 'how far lids open', False),
  'lip_error_mm': ('lip error', 'mm', 'how far lips open', False),
  'coefficient_error': ('coefficient error', '', 'against the truth', True),
  'anime_distance': (
    'distance to anime poses',
    '',
    '1: as near to an anime pose as those are to one another',
    True,
  ),
  'l1': ('L1', '', 'mean absolute difference, colours in 0 to 1', True),
  'l1_parts': ('L1 of parts', '', 'mean of eyes, mouth and rest', False),
  'psnr': ('PSNR', 'dB', 'more is better', True),
  'ssim': ('SSIM', '', '1 is equal', True),
  'ms_ssim': ('MS-SSIM', '', '1 is equal, over several scales', True),
  'gain': ('gain', '', "share of a copy's L1 that is done away with", False),
}
_TITLES = {
  'self_reenactment': 'Own pose',
  'cross_identity': "Another identity's pose",
  'target_and_predicted': 'Target and prediction',
}
_CAPTIONS = {
  'self_reenactment': 'Source, driving frame, warped, result, flow.',
  'cross_identity': 'Source, driving frame, warped, result, flow.',
  'target_and_predicted': 'Above the head of the codes, below that of the '
  'predicted coefficients.',
}


def write_page(path: str | os.PathLike, evaluation: Evaluation) -> pathlib.Path:
  """Writes the page.

  Args:
    path: HTML file; its folder must exist.
    evaluation: with pictures.

  Returns:
    The path.
  """
  protocol = evaluation.result['protocol']
  metrics = evaluation.result['metrics']
  extra = evaluation.extra
  figures = [
    Figure(_TITLES.get(name, name), picture, _CAPTIONS.get(name, ''))
    for name, picture in evaluation.pictures.items()
  ]
  if extra.plane is not None:
    figures.append(_plane_figure(extra.plane))
    figures.append(_coefficient_figure(metrics))
  if any(name.startswith('l1_') for name in metrics):
    figures.append(_parts_figure(metrics))
  data = ReportData(
    title=f'Evaluation of {_name(protocol["checkpoint"])}',
    introduction=f'{protocol["task"]}, step {protocol["step"]:,}, on '
    f'{protocol["data"]} ({protocol["split"]}).',
    metrics=_rows(metrics),
    figures=figures,
    true_coeffs=extra.true_coefficients,
    predicted_coeffs=None
    if extra.true_coefficients is None
    else extra.coefficients,
    provenance={'protocol': protocol},
    commands=(
      (
        'These numbers',
        f'edtn evaluate --workdir={shlex.quote(str(protocol["checkpoint"]))}',
      ),
    ),
  )
  return write_report(path, data)


def _name(checkpoint: str) -> str:
  """Name of a bundle, or of the run that <run>/checkpoints/<step> is of."""
  path = pathlib.PurePath(checkpoint)
  return path.parts[-3] if path.parts[-2:-1] == ('checkpoints',) else path.name


def _rows(metrics: dict[str, float]) -> list[Metric]:
  """Known metrics with their words, then the rest as they are called."""
  rows = [
    Metric(title, metrics[name], unit, text, headline)
    for name, (title, unit, text, headline) in _METRICS.items()
    if name in metrics
  ]
  others = (
    name
    for name in metrics
    if name not in _METRICS and not name.startswith('coefficient/')
  )
  return rows + [Metric(name, metrics[name]) for name in others]


def _plane_figure(plane: PosePlane) -> Figure:
  plot, axes = _plot(6.4, 4.6)
  for points, label, color in (
    (plane.anime, 'anime poses', style.GROUP_COLORS['eye']),
    (plane.human, 'human codes, translated', style.GROUP_COLORS['mouth']),
  ):
    axes.scatter(
      *points.T,
      s=7,
      alpha=0.45,
      linewidths=0,
      color=style.hex_color(color),
      label=label,
    )
  axes.legend(frameon=False, markerscale=2.5)
  axes.set_xlabel('first principal component')
  axes.set_ylabel('second')
  return Figure(
    'Human and anime pose vectors',
    _picture(plot),
    'The plane of the first two principal components of anime pose vectors, '
    f'which shows {plane.variance:.0%} of their variance. A network that '
    'serves keeps human ones among them. (The paper shows t-SNE here.)',
  )


def _coefficient_figure(metrics: dict[str, float]) -> Figure:
  values = {
    column: np.array(
      [metrics[f'coefficient/{name}/{column}'] for name in COEFFICIENT_NAMES]
    )
    for column in ('mean', 'std', 'low', 'high')
  }
  plot, axes = _plot(6.4, 4.6)
  rows = np.arange(NUM_COEFFICIENTS)[::-1]
  for i, number in enumerate(POSE_NUMBERS[:NUM_COEFFICIENTS]):
    color = style.hex_color(style.GROUP_COLORS[number.group])
    mean, spread = values['mean'][i], values['std'][i]
    ends = (values['low'][i], values['high'][i])
    axes.plot(ends, (rows[i],) * 2, color=color, linewidth=1, alpha=0.5)
    near = np.clip((mean - spread, mean + spread), 0, 1)
    thick = {'linewidth': 5, 'alpha': 0.6, 'solid_capstyle': 'butt'}
    axes.plot(near, (rows[i],) * 2, color=color, **thick)
    axes.plot(mean, rows[i], 'o', color=color, markersize=6)
  axes.set_yticks(rows, [n.replace('_', ' ') for n in COEFFICIENT_NAMES])
  axes.set_xlim(-0.02, 1.02)
  return Figure(
    'Coefficients',
    _picture(plot),
    'Mean, one standard deviation around it, and the smallest and largest '
    'value over the split.',
  )


def _parts_figure(metrics: dict[str, float]) -> Figure:
  """L1 of each part: the result beside the warped picture and a copy."""
  parts = [p for p in ('eyes', 'mouth', 'rest') if f'l1_{p}' in metrics]
  kinds = [
    (prefix, label, color)
    for prefix, label, color in (
      ('copy/', 'the source, as it is', style.GROUP_COLORS['head']),
      ('warped/', 'warped', style.GROUP_COLORS['eyebrow']),
      ('', 'result', style.GROUP_COLORS['mouth']),
      ('cross/', "result, another identity's pose", style.GROUP_COLORS['eye']),
    )
    if f'{prefix}l1_{parts[0]}' in metrics
  ]
  plot, axes = _plot(6.4, 3.6)
  height = 0.8 / len(kinds)
  for k, (prefix, label, color) in enumerate(kinds):
    axes.barh(
      np.arange(len(parts)) + k * height,
      [metrics[f'{prefix}l1_{part}'] for part in parts],
      height=0.9 * height,
      color=style.hex_color(color),
      label=label,
    )
  axes.set_yticks(np.arange(len(parts)) + 0.4 - height / 2, parts)
  axes.invert_yaxis()
  axes.set_xlabel('L1, less is better')
  axes.legend(frameon=False)
  return Figure('By part', _picture(plot), 'Mean absolute difference.')


def _plot(width: float, height: float) -> tuple[Plot, Any]:
  # Plot itself, not pyplot: nothing global, no window system.
  plot = Plot(figsize=(width, height), layout='tight', dpi=_DPI)
  axes = plot.subplots()
  axes.spines[['top', 'right']].set_visible(False)
  axes.tick_params(labelsize=8)
  return plot, axes


def _picture(plot: Plot) -> np.ndarray:
  with matplotlib.rc_context({'font.size': 9}):
    canvas = FigureCanvasAgg(plot)
    canvas.draw()
  return np.asarray(canvas.buffer_rgba())[..., :3].copy()
