"""What a sweep found: one table (CSV, Markdown) and one plot."""

from __future__ import annotations

import csv
import io
import json
import pathlib
import statistics
from collections.abc import Sequence
from typing import Any

from edtn_jax import workdir as workdir_lib
from edtn_jax.pictures import style
from launch.trials import Sweep, SweepError, Trial

TABLE, MARKDOWN, PLOT = 'table.csv', 'table.md', 'plot.png'
_SEED = 'seed'
# A swept number that spans more than this gets a logarithmic axis.
_WIDE = 50.0

Row = dict[str, Any]


def collect(sweep: Sweep, metric: str = '') -> list[Row]:
  """Writes table and plot of the trials that are finished.

  Args:
    sweep: what was run.
    metric: what the plot shows; '' takes the config's choice.

  Returns:
    One row a finished trial: its label, overrides, `step`, final metrics, and
    what stands beside.

  Raises:
    SweepError: if there is no such metric; the tables are written first.
  """
  done = [trial for trial in sweep.trials if sweep.finished(trial)]
  rows = [_row(sweep, trial) for trial in done]
  sweep.workdir.mkdir(parents=True, exist_ok=True)
  write_table(sweep.workdir, rows, _keys(sweep.trials))
  if rows:
    metric = metric or sweep.metric or 'loss'
    _require_metric(rows, metric, _keys(sweep.trials))
    write_plot(sweep.workdir / PLOT, done, rows, metric)
  return rows


def _row(sweep: Sweep, trial: Trial) -> Row:
  path = sweep.directory(trial) / workdir_lib.RESULT
  result = json.loads(path.read_text())
  metrics = {k: v for k, v in result['metrics'].items() if '/' not in k}
  label = {'trial': trial.label} if trial.label else {}
  return {
    **label,
    **trial.overrides,
    'step': result['step'],
    **metrics,
    **trial.beside,
  }


def _keys(trials: Sequence[Trial]) -> list[str]:
  """Columns that say which trial a row is."""
  keys = ['trial'] if any(t.label for t in trials) else []
  return list(dict.fromkeys([*keys, *(k for t in trials for k in t.overrides)]))


def _require_metric(rows: list[Row], metric: str, keys: list[str]) -> None:
  known = [
    k
    for k, v in rows[0].items()
    if k not in keys and isinstance(v, int | float)
  ]
  if any(metric not in row for row in rows):
    raise SweepError(
      f'no metric {metric!r} to plot; take --metric={"|".join(known)}'
    )


def write_table(workdir: pathlib.Path, rows: list[Row], keys: list[str]):
  """Writes `table.csv` (all trials) and `table.md` (mean ± std over seeds).

  Args:
    workdir: where to.
    rows: one a trial.
    keys: columns that say which trial it is.
  """
  columns = list(dict.fromkeys([*keys, *(key for row in rows for key in row)]))
  text = io.StringIO()
  writer = csv.DictWriter(text, columns, lineterminator='\n')
  writer.writeheader()
  writer.writerows(rows)
  workdir_lib.write_text(workdir / TABLE, text.getvalue())
  # What a label tells in words, columns of numbers need not tell again.
  shown = [
    key
    for key in columns
    if key != _SEED and not ('trial' in keys and key in keys[1:])
  ]
  groups = _by_trial(rows, [key for key in keys if key != _SEED])
  numbers = [all(_is_number(r.get(k, 0)) for r in rows) for k in shown]
  lines = [shown, ['---:' if number else '---' for number in numbers]]
  lines += [
    [_cell([r.get(key, '') for r in group]) for key in shown]
    for group in groups
  ]
  markdown = '\n'.join(f'| {" | ".join(line)} |' for line in lines)
  seeds = len({row.get(_SEED) for row in rows})
  note = f'\nMean ± standard deviation over {seeds} seeds.\n'
  note = note if seeds > 1 else ''
  workdir_lib.write_text(workdir / MARKDOWN, f'{markdown}\n{note}')


def _by_trial(rows: list[Row], keys: list[str]) -> list[list[Row]]:
  """Rows that differ only in their seed, together."""
  groups: dict[tuple, list[Row]] = {}
  for row in rows:
    groups.setdefault(tuple(str(row.get(k)) for k in keys), []).append(row)
  return list(groups.values())


def _is_number(value: Any) -> bool:
  return isinstance(value, int | float) and not isinstance(value, bool)


def _cell(values: list[Any]) -> str:
  if len(set(map(str, values))) == 1:
    return f'{values[0]:.4g}' if _is_number(values[0]) else str(values[0])
  if not all(map(_is_number, values)):
    return ', '.join(dict.fromkeys(map(str, values)))
  return f'{statistics.mean(values):.4g} ± {statistics.stdev(values):.2g}'


def write_plot(
  path: pathlib.Path, trials: Sequence[Trial], rows: list[Row], metric: str
) -> None:
  """Draws a metric against what is swept; a dot a trial, a line their mean.

  Args:
    path: PNG file.
    trials: finished ones.
    rows: theirs.
    metric: column of the rows.
  """
  from matplotlib.figure import Figure  # takes a second to import

  swept = _swept_number(trials)
  figure = Figure(figsize=(6, 3.8), dpi=150, layout='constrained')
  axes = figure.add_subplot()
  values = [row[metric] for row in rows]
  color = style.hex_color(style.GROUP_COLORS['eye'])
  if swept:
    places = [float(trial.overrides[swept]) for trial in trials]
    _scale(axes, places)
    axes.set_xlabel(swept)
  else:
    names = [t.label or _without_seed(t).name for t in trials]
    order = list(dict.fromkeys(names))
    places = [float(order.index(name)) for name in names]
    axes.set_xticks(range(len(order)), order)
    axes.set_xlim(-0.5, len(order) - 0.5)
  means = {
    x: statistics.mean(v for p, v in zip(places, values, strict=True) if p == x)
    for x in sorted(set(places))
  }
  if swept:
    axes.plot(list(means), list(means.values()), color=color, linewidth=1.5)
  else:
    axes.plot(
      list(means), list(means.values()), '_', color=color, markersize=28
    )
  axes.plot(places, values, 'o', color=color, markersize=5, alpha=0.7)
  axes.set_ylabel(metric)
  axes.grid(color=style.hex_color(style.TRACK), linewidth=0.6)
  axes.spines[['top', 'right']].set_visible(False)
  buffer = io.BytesIO()
  figure.savefig(buffer, format='png')
  workdir_lib.write_bytes(path, buffer.getvalue())


def _without_seed(trial: Trial) -> Trial:
  overrides = {k: v for k, v in trial.overrides.items() if k != _SEED}
  return Trial(overrides, trial.label)


def _swept_number(trials: Sequence[Trial]) -> str:
  """The one key whose number makes the difference between trials, or ''."""
  if any(trial.label for trial in trials):
    return ''
  keys = {k for t in trials for k in t.overrides if k != _SEED}
  if len(keys) != 1:
    return ''
  (key,) = keys
  numbers = all(_is_number(t.overrides.get(key)) for t in trials)
  return key if numbers else ''


def _scale(axes: Any, places: list[float]) -> None:
  above = sorted({x for x in places if x > 0})
  if not above or min(places) < 0 or above[-1] <= _WIDE * above[0]:
    return
  if 0.0 in places:
    # Zero stands a decade below the smallest, where a logarithm has none.
    axes.set_xscale('symlog', linthresh=above[0], linscale=0.5)
  else:
    axes.set_xscale('log')
