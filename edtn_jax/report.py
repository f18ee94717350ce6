"""One self-contained HTML file that shows what a run did.

Pictures and charts are inside the file; it loads nothing, runs no script and
can be sent by mail. Imports neither jax nor the training code.
"""

from __future__ import annotations

import base64
import dataclasses
import html
import io
import os
import pathlib
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from data import files, pose_vector
from edtn_jax import report_charts
from edtn_jax.pictures.panels import Picture, to_image
from edtn_jax.report_style import STYLE


@dataclasses.dataclass(frozen=True)
class Metric:
  """One number and what it means.

  Attributes:
    name: e.g. `landmark error`.
    value: the number.
    unit: e.g. `mm`, or empty.
    explanation: one line for someone who has not read the paper.
    headline: whether it is shown large at the top.
  """

  name: str
  value: float
  unit: str = ''
  explanation: str = ''
  headline: bool = False


@dataclasses.dataclass(frozen=True)
class Figure:
  """One picture with its title and caption."""

  title: str
  picture: Picture
  caption: str = ''


@dataclasses.dataclass(frozen=True)
class Table:
  """Numbers side by side.

  Attributes:
    title: heading.
    columns: of the numbers.
    rows: name of each row to its numbers; None is left empty.
    caption: what they are.
  """

  title: str
  columns: Sequence[str]
  rows: Mapping[str, Sequence[float | None]]
  caption: str = ''


@dataclasses.dataclass(frozen=True)
class ReportData:
  """Everything a report can show; what is empty is left out.

  Attributes:
    title: heading of the page.
    introduction: a sentence or two below it.
    gif: path of the reenactment GIF.
    gif_caption: what its panels are.
    observations: what to look at, one sentence each.
    curves: `quantity/series` to (steps [N], values [N]).
    metrics: rows of the table; headlines are also shown at the top.
    figures: further pictures.
    tables: further numbers, below them.
    expressions: sheet of the 17 adapter expressions.
    true_coeffs: [N, 17] float in [0, 1].
    predicted_coeffs: [N, 17] float, of the same frames.
    timeline: [T, 20] float, pose vectors of the driver.
    fps: frames a second of the timeline.
    provenance: section to {key: value}; values may be nested.
    commands: (what it does, command) to go on with.
  """

  title: str
  introduction: str = ''
  gif: str | os.PathLike | None = None
  gif_caption: str = ''
  observations: Sequence[str] = ()
  curves: report_charts.Curves = dataclasses.field(default_factory=dict)
  metrics: Sequence[Metric] = ()
  figures: Sequence[Figure] = ()
  tables: Sequence[Table] = ()
  expressions: Picture | None = None
  true_coeffs: np.ndarray | None = None
  predicted_coeffs: np.ndarray | None = None
  timeline: np.ndarray | None = None
  fps: float = 25.0
  provenance: Mapping[str, Mapping[str, Any]] = dataclasses.field(
    default_factory=dict
  )
  commands: Sequence[tuple[str, str]] = ()

  def validate(self) -> None:
    """Checks shapes and files.

    Raises:
      ValueError: naming every problem.
    """
    problems = []
    if self.gif is not None and not pathlib.Path(self.gif).is_file():
      problems.append(f'gif: there is no file {self.gif}')
    if (self.true_coeffs is None) != (self.predicted_coeffs is None):
      problems.append('give both true_coeffs and predicted_coeffs, or neither')
    shapes = {
      np.shape(array)
      for array in (self.true_coeffs, self.predicted_coeffs)
      if array is not None
    }
    count = pose_vector.NUM_COEFFICIENTS
    if len(shapes) > 1 or any(
      len(shape) != 2 or shape[1] != count or not shape[0] for shape in shapes
    ):
      problems.append(f'coefficients are {sorted(shapes)}, wanted [N, {count}]')
    if self.timeline is not None and (
      np.ndim(self.timeline) != 2
      or np.shape(self.timeline)[1] != pose_vector.NUM_POSE
    ):
      problems.append(
        f'timeline is {np.shape(self.timeline)}, wanted '
        f'[T, {pose_vector.NUM_POSE}]'
      )
    for name, (steps, values) in self.curves.items():
      if np.shape(steps) != np.shape(values) or np.ndim(steps) != 1:
        problems.append(
          f'curve {name}: {np.shape(steps)} steps, {np.shape(values)} values'
        )
    if problems:
      raise ValueError('report: ' + '; '.join(problems))


def write_report(path: str | os.PathLike, data: ReportData) -> pathlib.Path:
  """Writes the report.

  Args:
    path: the HTML file; its folder must exist.
    data: what to show.

  Returns:
    The path.

  Raises:
    ValueError: if `data` is wrong, naming every problem.
  """
  data.validate()
  sections = [
    _section('What you see', 'see', _observations(data)),
    _section('How good it is', 'metrics', _metrics(data.metrics)),
    _section('Training', 'training', _training(data.curves)),
    _section('Predicted against true', 'scatter', _scatter(data)),
    _section('The driver over time', 'timeline', _timeline(data)),
    _section('The 17 expressions', 'expressions', _expressions(data)),
    *(
      _section(figure.title, f'figure-{i}', _figure(figure))
      for i, figure in enumerate(data.figures)
    ),
    *(
      _section(table.title, f'table-{i}', _table(table))
      for i, table in enumerate(data.tables)
    ),
    _section('How to go on', 'commands', _commands(data.commands)),
    _section('Where this comes from', 'provenance', _provenance(data)),
  ]
  page = _PAGE.format(
    title=_text(data.title),
    style=STYLE,
    hero=_hero(data),
    sections='\n'.join(filter(None, sections)),
  )
  path = pathlib.Path(path)
  with files.atomic_writer(path) as file:
    file.write(page.encode('utf-8'))
  return path


_PAGE = """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<title>{title}</title>
<style>
{style}
</style>
</head>
<body>
<main>
{hero}
{sections}
</main>
</body>
</html>
"""


def _text(value: Any) -> str:
  return html.escape(str(value), quote=True)


def _paragraph(text: str, kind: str = '') -> str:
  name = f' class="{kind}"' if kind else ''
  return f'<p{name}>{_text(text)}</p>' if text else ''


def _section(title: str, name: str, body: str) -> str:
  if not body:
    return ''
  return f'<section id="{name}">\n<h2>{_text(title)}</h2>\n{body}\n</section>'


def _hero(data: ReportData) -> str:
  parts = [
    f'<h1>{_text(data.title)}</h1>',
    _paragraph(data.introduction, 'introduction'),
  ]
  if data.gif is not None:
    encoded = base64.b64encode(pathlib.Path(data.gif).read_bytes()).decode()
    parts.append(
      '<figure class="hero">'
      f'<img alt="the reenactment, moving" src="data:image/gif;base64,'
      f'{encoded}">{_caption(data.gif_caption)}</figure>'
    )
  headlines = [metric for metric in data.metrics if metric.headline]
  if headlines:
    tiles = ''.join(
      f'<div><b>{format_number(metric.value)}'
      f'<small>{_text(metric.unit)}</small></b>'
      f'<span>{_text(metric.name)}</span></div>'
      for metric in headlines
    )
    parts.append(f'<div class="headlines">{tiles}</div>')
  return '<header>\n' + '\n'.join(filter(None, parts)) + '\n</header>'


def _caption(text: str) -> str:
  return f'<figcaption>{_text(text)}</figcaption>' if text else ''


def _observations(data: ReportData) -> str:
  items = ''.join(f'<li>{_text(line)}</li>' for line in data.observations)
  return f'<ul class="observations">{items}</ul>' if items else ''


def _metrics(metrics: Sequence[Metric]) -> str:
  if not metrics:
    return ''
  rows = ''.join(
    f'<tr><th scope="row">{_text(metric.name)}</th>'
    f'<td class="number">{format_number(metric.value)}'
    f'{" " + _text(metric.unit) if metric.unit else ""}</td>'
    f'<td>{_text(metric.explanation)}</td></tr>'
    for metric in metrics
  )
  return f'<div class="wide"><table>{rows}</table></div>'


def _table(table: Table) -> str:
  head = ''.join(
    f'<th scope="col" class="number">{_text(name)}</th>'
    for name in table.columns
  )
  rows = ''.join(
    f'<tr><th scope="row">{_text(name)}</th>'
    + ''.join(
      f'<td class="number">{"" if x is None else format_number(x)}</td>'
      for x in numbers
    )
    + '</tr>'
    for name, numbers in table.rows.items()
  )
  return (
    _paragraph(table.caption) + f'<div class="wide"><table class="numbers">'
    f'<tr><td></td>{head}</tr>{rows}</table></div>'
  )


def format_number(value: float) -> str:
  """Four significant digits, without noise: `0.01234`, `12.3`, `18,503`.

  Args:
    value: any number.

  Returns:
    Text for a table.
  """
  if float(value).is_integer() and abs(value) < 1e9:
    return f'{int(value):,}'
  if abs(value) >= 1000:
    return f'{value:,.0f}'
  return f'{value:.4g}'


def _training(curves: report_charts.Curves) -> str:
  return _grid(report_charts.curve_charts(curves)) if curves else ''


def _grid(charts: Sequence[str]) -> str:
  cells = ''.join(f'<div class="card">{chart}</div>' for chart in charts)
  return f'<div class="grid">{cells}</div>'


def _scatter(data: ReportData) -> str:
  if data.true_coeffs is None:
    return ''
  chart = report_charts.scatter_chart(
    np.asarray(data.true_coeffs), np.asarray(data.predicted_coeffs)
  )
  return (
    _paragraph(
      'Each dot is a frame whose true coefficients are known. On the line, the '
      'network is right. Expressions that look alike on the mesh may stand in '
      'for each other, and then both leave it.'
    )
    + f'<div class="card wide">{chart}</div>'
  )


def _timeline(data: ReportData) -> str:
  if data.timeline is None or not len(data.timeline):
    return ''
  charts = report_charts.timeline_charts(np.asarray(data.timeline), data.fps)
  return _paragraph(
    'What the character is told to do, frame by frame. Solid is the '
    'character’s left side, faint its right.'
  ) + _grid(charts)


def _expressions(data: ReportData) -> str:
  if data.expressions is None:
    return ''
  return _paragraph(
    'The pose adapter gives each anime coefficient a face: this is what the '
    'head model does when one coefficient is 1 and all others are 0.'
  ) + _figure(Figure('the 17 expressions', data.expressions))


def _figure(figure: Figure) -> str:
  buffer = io.BytesIO()
  to_image(figure.picture).save(buffer, 'PNG', optimize=True)
  encoded = base64.b64encode(buffer.getvalue()).decode()
  return (
    f'<figure><img alt="{_text(figure.title)}" '
    f'src="data:image/png;base64,{encoded}">{_caption(figure.caption)}</figure>'
  )


def _commands(commands: Sequence[tuple[str, str]]) -> str:
  return ''.join(
    f'<div class="command">{_paragraph(meaning)}'
    f'<pre><code>{_text(command)}</code></pre></div>'
    for meaning, command in commands
  )


def _provenance(data: ReportData) -> str:
  parts = []
  for i, (title, values) in enumerate(data.provenance.items()):
    rows = ''.join(
      f'<tr><th scope="row">{_text(key)}</th><td>{_text(value)}</td></tr>'
      for key, value in _flatten(values)
    )
    parts.append(
      f'<details{"" if i else " open"}><summary>{_text(title)}</summary>'
      f'<div class="wide"><table class="small">{rows}</table></div></details>'
    )
  return ''.join(parts)


def _flatten(values: Mapping[str, Any], prefix: str = ''):
  for key, value in values.items():
    if isinstance(value, Mapping):
      yield from _flatten(value, f'{prefix}{key}.')
    elif isinstance(value, list | tuple):
      yield prefix + str(key), ', '.join(map(str, value))
    else:
      yield prefix + str(key), value
