"""Charts of the report as inline SVG that follows the page's colours."""

from __future__ import annotations

import html
import io
import itertools
import re
from collections.abc import Mapping

import numpy as np

from data import pose_vector
from edtn_jax.pictures import style
from edtn_jax.pictures.bars import row_labels

# Matplotlib writes fixed colours; these stand for the page's variables.
_VARIABLES = {
  '#010203': 'var(--ink)',
  '#010204': 'var(--muted)',
  '#010205': 'var(--line)',
  **{
    style.hex_color(color): f'var(--{group})'
    for group, color in style.GROUP_COLORS.items()
  },
}
_INK, _MUTED, _LINE = list(_VARIABLES)[:3]
_SERIES = [style.hex_color(color) for color in style.GROUP_COLORS.values()]
_SETTINGS = {
  'svg.fonttype': 'none',
  # Element names then depend on the contents alone: equal data, equal file.
  'svg.hashsalt': 'edtn',
  'font.size': 9.0,
  'font.family': 'DejaVu Sans',
  'text.color': _INK,
  'axes.edgecolor': _LINE,
  'axes.labelcolor': _MUTED,
  'axes.linewidth': 0.8,
  'axes.spines.top': False,
  'axes.spines.right': False,
  'axes.titlesize': 9.5,
  'axes.titlelocation': 'left',
  'axes.grid': True,
  'axes.axisbelow': True,
  'grid.color': _LINE,
  'grid.linewidth': 0.6,
  'xtick.color': _LINE,
  'ytick.color': _LINE,
  'xtick.labelcolor': _MUTED,
  'ytick.labelcolor': _MUTED,
  'legend.frameon': False,
  'legend.fontsize': 8.5,
  'lines.linewidth': 1.5,
}
_DASHES = ('-', (0, (5, 1.5)), (0, (1.2, 1.2)))
# More points than this cannot be seen in a chart of this width.
_MOST_POINTS = 500
_MOST_DOTS = 1500

Curves = Mapping[str, tuple[np.ndarray, np.ndarray]]


def curve_charts(curves: Curves) -> list[str]:
  """Draws training curves, one chart a quantity.

  Args:
    curves: name to (steps [N], values [N]). Names `quantity/series` share
      the chart of their quantity.

  Returns:
    SVG texts, in order of first appearance. Positive quantities that span
    more than a factor of 20 get a logarithmic axis.
  """
  charts: dict[str, dict[str, tuple[np.ndarray, np.ndarray]]] = {}
  for name, (steps, values) in curves.items():
    quantity, _, series = name.partition('/')
    charts.setdefault(quantity, {})[series] = (
      np.asarray(steps, float),
      np.asarray(values, float),
    )
  return [_curve_chart(quantity, lines) for quantity, lines in charts.items()]


def _curve_chart(quantity: str, lines) -> str:
  with _settings():
    figure, axes = _figure(3.5, 2.3)
    for color, (series, (steps, values)) in zip(
      _cycle(_SERIES), lines.items(), strict=False
    ):
      steps, values = _thin(steps, values)
      marker = 'o' if len(steps) < 12 else None
      axes.plot(
        steps, values, color=color, label=series, marker=marker, markersize=3
      )
    values = np.concatenate([v for _, v in lines.values()])
    finite = values[np.isfinite(values)]
    if len(finite) and finite.min() > 0 and finite.max() > 20 * finite.min():
      axes.set_yscale('log')
    else:
      axes.ticklabel_format(axis='y', style='sci', scilimits=(-2, 4))
      if len(finite) and finite.min() >= 0:
        # From zero up: a difference looks as large as it is.
        axes.set_ylim(bottom=0)
    axes.locator_params(axis='x', nbins=5)
    axes.set_title(_words(quantity))
    axes.set_xlabel('step')
    if len(lines) > 1:
      axes.legend(loc='upper right')
    return _svg(figure, f'{_words(quantity)} against training step')


def scatter_chart(true_coeffs: np.ndarray, predicted_coeffs: np.ndarray) -> str:
  """Draws predicted against true coefficients, one square a coefficient.

  Args:
    true_coeffs: [N, 17] float in [0, 1].
    predicted_coeffs: [N, 17] float in [0, 1].

  Returns:
    SVG text; the dots are a picture inside it, at most 1500 a square.
  """
  error = np.abs(true_coeffs - predicted_coeffs).mean(axis=0)
  chosen = np.linspace(
    0, len(true_coeffs) - 1, min(len(true_coeffs), _MOST_DOTS)
  ).astype(int)
  numbers = pose_vector.POSE_NUMBERS[: pose_vector.NUM_COEFFICIENTS]
  with _settings():
    figure, grid = _figure(10.2, 5.9, rows=3, columns=6)
    figure.subplots_adjust(
      left=0.03, right=0.995, top=0.95, bottom=0.05, wspace=0.22, hspace=0.38
    )
    for i, (axes, number) in enumerate(zip(grid.flat, numbers, strict=False)):
      axes.plot([0, 1], [0, 1], color=_MUTED, linewidth=0.8, zorder=1)
      axes.scatter(
        true_coeffs[chosen, i],
        predicted_coeffs[chosen, i],
        s=5,
        alpha=0.35,
        linewidths=0,
        color=style.hex_color(style.GROUP_COLORS[number.group]),
        rasterized=True,
      )
      axes.set_title(_words(number.name), fontsize=8.5)
      axes.text(
        0.04,
        0.93,
        f'error {error[i]:.3f}',
        fontsize=7.5,
        color=_MUTED,
        va='top',
      )
      axes.set_xlim(-0.03, 1.03)
      axes.set_ylim(-0.03, 1.03)
      axes.set_xticks([0, 0.5, 1], ['0', '', '1'])
      axes.set_yticks([0, 0.5, 1], ['0', '', '1'])
      axes.tick_params(labelsize=7.5)
    last = grid.flat[-1]
    last.set_axis_off()
    last.text(
      0.08,
      0.5,
      f'across: true\nup: predicted\n\nmean error\n{error.mean():.3f}',
      color=_MUTED,
      va='center',
      linespacing=1.5,
    )
    return _svg(figure, 'predicted against true coefficients')


def timeline_charts(poses: np.ndarray, frame_rate: float) -> list[str]:
  """Draws pose vectors over time, one chart a row of the bars picture.

  Args:
    poses: [T, 20] float, pose vectors.
    frame_rate: frames a second.

  Returns:
    SVG texts: eyes, brows, mouth, then the head. Left sides are solid, right
    sides faint.
  """
  seconds = np.arange(len(poses)) / frame_rate
  charts = []
  for label, group, names in row_labels():
    lines = [(name, name.endswith('_right')) for name in names]
    charts.append(_timeline_chart(label, group, lines, seconds, poses))
  head = [(name, False) for name in pose_vector.ANGLE_NAMES]
  charts.append(_timeline_chart('head, degrees', 'head', head, seconds, poses))
  return charts


def _timeline_chart(label, group, lines, seconds, poses) -> str:
  with _settings():
    figure, axes = _figure(3.5, 1.25)
    color = style.hex_color(style.GROUP_COLORS[group])
    for (name, faint), dashes in zip(lines, _DASHES, strict=False):
      x, y = _thin(seconds, poses[:, pose_vector.POSE_INDEX[name]])
      axes.plot(
        x,
        y,
        color=color,
        alpha=0.42 if faint else 1.0,
        # Sides differ in strength, head angles in dashes.
        linestyle=dashes if group == 'head' else '-',
        linewidth=1.2,
        label=name,
      )
    if group == 'head':
      axes.legend(
        loc='lower right',
        bbox_to_anchor=(1.02, 0.93),
        ncols=3,
        fontsize=7.5,
        handlelength=1.8,
        columnspacing=1.0,
      )
    else:
      axes.set_ylim(-0.04, 1.04)
      axes.set_yticks([0, 0.5, 1], ['0', '', '1'])
    if len(seconds) > 1:
      axes.set_xlim(seconds[0], seconds[-1])
    axes.set_title(label)
    axes.xaxis.set_major_formatter('{x:g} s')
    axes.locator_params(axis='x', nbins=5)
    return _svg(figure, f'{label} over time')


def _settings():
  import matplotlib

  return matplotlib.rc_context(_SETTINGS)


def _figure(width: float, height: float, rows: int = 1, columns: int = 1):
  from matplotlib.figure import Figure

  # Figure itself, not pyplot: nothing global, no window system.
  figure = Figure(figsize=(width, height))
  figure.set_layout_engine('tight' if rows == columns == 1 else 'none', pad=0.3)
  return figure, figure.subplots(rows, columns)


def _svg(figure, description: str) -> str:
  buffer = io.StringIO()
  figure.savefig(
    buffer,
    format='svg',
    transparent=True,
    dpi=180,
    metadata={'Date': None, 'Creator': None, 'Format': None, 'Type': None},
  )
  text = buffer.getvalue()
  text = text[text.index('<svg') :]
  text = re.sub(r'<metadata>.*?</metadata>', '', text, flags=re.DOTALL)
  for color, variable in _VARIABLES.items():
    text = text.replace(color, variable)
  # Several charts on a page must not share names.
  prefix = re.sub(r'\W+', '-', description)
  text = re.sub(r'(\bid="|url\(#|href="#)', rf'\g<1>{prefix}-', text)
  text = re.sub(r"font: ([\d.]+px) '[^']*'", r'font: \1 inherit', text)
  # The page sets the size; viewBox keeps the proportions.
  text = re.sub(r'(<svg[^>]*?) width="[^"]*"', r'\1', text, count=1)
  text = re.sub(r'(<svg[^>]*?) height="[^"]*"', r'\1', text, count=1)
  label = html.escape(description, quote=True)
  return text.replace('<svg', f'<svg role="img" aria-label="{label}"', 1)


def _thin(x: np.ndarray, y: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
  """Keeps the smallest and largest value of each run of points."""
  if len(x) <= _MOST_POINTS:
    return x, y
  edges = np.linspace(0, len(x), _MOST_POINTS // 2 + 1).astype(int)
  chosen = [
    index
    for start, end in itertools.pairwise(edges)
    for index in sorted(
      {
        start + int(np.argmin(y[start:end])),
        start + int(np.argmax(y[start:end])),
      }
    )
  ]
  return x[chosen], y[chosen]


def _cycle(colors):
  while True:
    yield from colors


def _words(name: str) -> str:
  words = name.replace('_', ' ')
  return re.sub(r' mm$', ', mm', words)
