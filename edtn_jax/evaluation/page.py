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
from edtn_jax.evaluation.run import Evaluation, run_name
from edtn_jax.metric_words import WORDS, known_metrics
from edtn_jax.pictures import style
from edtn_jax.report import Figure, ReportData, Table, write_report

_DPI = 110
# Whose pictures are compared with the truth, by the prefix of the metrics.
_PICTURES = {
  'copy/': 'the source, as it is',
  'warped/': 'warped',
  '': 'result',
  'cross/': "result, another identity's pose",
}
_PARTS = ('eyes', 'mouth', 'rest')
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
    title=f'Evaluation of {run_name(protocol["checkpoint"])}',
    introduction=f'{protocol["task"]}, step {protocol["step"]:,}, on '
    f'{protocol["data"]} ({protocol["split"]}).',
    metrics=known_metrics(metrics),
    tables=_tables(metrics),
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


def _tables(metrics: dict[str, float]) -> list[Table]:
  """What has no words of its own: a row for each distance and part."""
  columns = _PICTURES if 'l1' in metrics else {'': 'value'}
  rows: dict[str, list[float | None]] = {}
  for name in metrics:
    prefix, _, stem = name.rpartition('/')
    if name in WORDS or prefix == 'coefficient':
      continue
    values = [metrics.get(before + stem) for before in columns]
    rows[_with_part(stem)] = values
  rows = {name: rows[name] for name in sorted(rows, key=str.lower)}
  return [Table('By part', tuple(columns.values()), rows)] if rows else []


def _with_part(name: str) -> str:
  """`l1_eyes` as `L1, eyes`."""
  stem, _, part = name.rpartition('_')
  if part in _PARTS and stem in WORDS:
    return f'{WORDS[stem][0]}, {part}'
  return WORDS[name][0] if name in WORDS else name


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
  colors = ('head', 'eyebrow', 'mouth', 'eye')
  kinds = [
    (prefix, label, style.GROUP_COLORS[color])
    for (prefix, label), color in zip(_PICTURES.items(), colors, strict=True)
    if f'{prefix}l1_eyes' in metrics
  ]
  plot, axes = _plot(6.4, 3.6)
  height = 0.8 / len(kinds)
  for k, (prefix, label, color) in enumerate(kinds):
    axes.barh(
      np.arange(len(_PARTS)) + k * height,
      [metrics[f'{prefix}l1_{part}'] for part in _PARTS],
      height=0.9 * height,
      color=style.hex_color(color),
      label=label,
    )
  axes.set_yticks(np.arange(len(_PARTS)) + 0.4 - height / 2, _PARTS)
  axes.invert_yaxis()
  axes.set_xlabel('L1, less is better')
  # Above the bars: beside them it would lie on the longest.
  axes.legend(frameon=False, loc='lower left', bbox_to_anchor=(0, 1), ncols=2)
  return Figure(
    'L1 by part', _picture(plot), 'Mean absolute difference, less is better.'
  )


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
