"""Measured numbers as a table."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

# `what`, `milliseconds` (None of what was not run), `calls`, `note`.
Row = dict[str, Any]


def table(rows: Sequence[Row]) -> str:
  """The rows of a benchmark as Markdown."""
  lines = ['| what | ms | calls | |', '| --- | ---: | ---: | --- |']
  for row in rows:
    took = row['milliseconds']
    lines.append(
      f'| {row["what"]} | {"" if took is None else f"{took:,.3f}"} '
      f'| {row["calls"]} | {row["note"]} |'
    )
  return '\n'.join(lines)
