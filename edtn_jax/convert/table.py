"""Conversion of foreign checkpoints by a declared table.

A rule says which foreign names it covers, where each goes and how its layout
changes. Conversion is complete both ways: every foreign array is covered or
ignored by a rule, every parameter of ours is filled, and every problem is in
one error.
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import jax
import numpy as np


class ConversionError(ValueError):
  """A foreign checkpoint that does not match the table or our model."""


# Foreign (PyTorch) layout -> ours.
LAYOUTS: dict[str, Callable[[np.ndarray], np.ndarray]] = {
  'same': lambda x: x,
  'linear': lambda x: x.transpose(1, 0),  # [out, in] -> [in, out]
  'conv': lambda x: x.transpose(2, 3, 1, 0),  # OIHW -> HWIO
  'conv1d': lambda x: x.transpose(2, 1, 0),  # OIK -> KIO
  # IOHW -> HWIO, turned by 180 degrees: as the kernel of the convolution that
  # `generator.ops.conv.ConvTranspose2d` computes.
  'conv_transpose': lambda x: x.transpose(2, 3, 0, 1)[::-1, ::-1],
  'channel': lambda x: x.reshape(len(x)),  # [C, 1, 1] -> [C]
}


@dataclasses.dataclass(frozen=True)
class Rule:
  r"""One line of a conversion table.

  Attributes:
    source: regular expression that a whole foreign name must match.
    target: our path, `/`-separated, with `\1`-style groups of the match;
      None ignores the array.
    layout: key of `LAYOUTS`.
  """

  source: str
  target: str | None
  layout: str = 'same'


def convert_arrays(
  source: Mapping[str, np.ndarray], rules: Sequence[Rule], expected: Any
) -> Any:
  """Converts foreign arrays into a tree of our parameters.

  Args:
    source: foreign arrays by name.
    rules: the table; the first rule that matches a name wins.
    expected: our parameters' shapes and dtypes, a tree of arrays or
      `jax.ShapeDtypeStruct` made of nested dicts.

  Returns:
    A tree like `expected`, numpy arrays.

  Raises:
    ConversionError: listing every uncovered name, unfilled parameter, wrong
      shape, double target and value that is not finite.
  """
  problems: list[str] = []
  shapes = _flatten(expected)
  filled: dict[str, np.ndarray] = {}
  named: set[str] = set()
  for name, array in source.items():
    rule = next((r for r in rules if re.fullmatch(r.source, name)), None)
    if rule is None:
      problems.append(f'{name} {np.shape(array)} is not known')
      continue
    if rule.target is None:
      continue
    path = re.fullmatch(rule.source, name).expand(rule.target)
    named.add(path)
    try:
      value = LAYOUTS[rule.layout](np.asarray(array))
    except (ValueError, TypeError):
      problems.append(f'{name} {np.shape(array)} is no {rule.layout!r} weight')
      continue
    problem = _problem(name, path, value, shapes, filled)
    if problem:
      problems.append(problem)
    else:
      # Not `ascontiguousarray`, which gives a single number an axis.
      filled[path] = np.array(value, shapes[path].dtype, order='C')
  problems += [
    f'nothing fills {path} {tuple(shapes[path].shape)}'
    for path in shapes
    if path not in named
  ]
  if problems:
    raise ConversionError(
      f'{len(problems)} problem(s):\n  ' + '\n  '.join(problems)
    )
  return _nest(filled)


def _problem(name, path, value, shapes, filled) -> str | None:
  """What keeps one array, in our layout, from its place, or None."""
  if path not in shapes:
    return f'{name} goes to {path}, which the model does not have'
  if path in filled:
    return f'{name} goes to {path}, which is filled already'
  wanted = tuple(shapes[path].shape)
  if value.shape != wanted:
    return f'{name} gives {path} the shape {value.shape}, wanted {wanted}'
  if not np.isfinite(value).all():
    return f'{name} holds NaN or infinity'
  return None


def _flatten(tree: Any) -> dict[str, Any]:
  leaves, _ = jax.tree_util.tree_flatten_with_path(tree)
  return {
    jax.tree_util.keystr(path, simple=True, separator='/'): leaf
    for path, leaf in leaves
  }


def _nest(flat: Mapping[str, np.ndarray]) -> dict[str, Any]:
  tree: dict[str, Any] = {}
  for path, value in flat.items():
    node = tree
    *parents, last = path.split('/')
    for part in parents:
      node = node.setdefault(part, {})
    node[last] = value
  return tree
