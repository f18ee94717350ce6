"""Validation metrics of the generator: its pictures beside a copied source.

Of the result they have no prefix, of the warped picture `warped/`, of the
source itself `copy/`: whoever copies the source is best at the rest of a
picture and has nothing in the parts that move.
"""

from __future__ import annotations

from collections.abc import Mapping

import jax
import jax.numpy as jnp
import numpy as np

from edtn_jax.evaluation.metrics import Means, picture_values
from edtn_jax.losses import pictures as distances
from edtn_jax.tasks.base import Batch

_PART_ERRORS = ('l1_eyes', 'l1_mouth', 'l1_rest')


def pair_metrics(out: Mapping[str, jax.Array], batch: Batch) -> Means:
  """State of one padded batch of pairs.

  Args:
    out: what `AnimeGeneratorTask.predict` gives of it.
    batch: pairs, pictures [B, H, W, 3] float32 in [0, 1]; `_mask` [B] float32,
      1 for real pairs and 0 for padding.

  Returns:
    Means of `picture_values` under all three prefixes; where the true flow is
    known also of `flow_error` and `copy/flow_error`, pixels of the picture.
  """
  target, mask = batch['driving_image'], batch['_mask']
  values = {}
  for prefix, picture in (
    ('', out['image']),
    ('warped/', out['warped_image']),
    ('copy/', batch['source_image']),
  ):
    found = picture_values(picture, target, batch['part_boxes'], mask)
    values |= {f'{prefix}{name}': value for name, value in found.items()}
  if 'flow' in batch:
    factor = target.shape[1] / out['flow'].shape[1]
    weight = batch['flow_mask']
    known = mask * weight.sum((1, 2))
    for name, flow in (
      ('flow_error', out['flow']),
      ('copy/flow_error', jnp.zeros_like(out['flow'])),
    ):
      error = distances.flow_distance(flow, batch['flow'], weight)
      values[name] = factor * error, known
  return Means.empty().update(values)


def summary(values: Mapping[str, float]) -> dict[str, float]:
  """Adds what follows from computed metrics.

  Args:
    values: what the `compute` of all `pair_metrics` together gives.

  Returns:
    They and `l1_parts`, the mean of L1 in eyes, mouth and rest;
    `gain_<part>`, the share of the copy's L1 error that the result does away
    with.
  """
  parts = [key for key in _PART_ERRORS if key in values]
  result = dict(values)
  result['l1_parts'] = float(np.mean([values[key] for key in parts]))
  for key in ('l1', *parts):
    copied = values[f'copy/{key}']
    if copied > 0:
      name = key.replace('l1', 'gain', 1)
      result[name] = 1 - values[key] / copied
  return result
