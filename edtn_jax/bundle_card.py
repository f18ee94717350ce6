"""The model card of a bundle, from its manifest."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

_TITLES = {
  'expression_translation': (
    'Expression translator: human expression to anime pose',
    'FLAME expression [T, 50] and jaw pose [T, 3] (axis-angle, radians) in, '
    '17 pose coefficients in (0, 1) out. With three head angles they are the '
    'pose vector that `pose_vector.json` describes.',
  ),
  'anime_generator': (
    'Anime generator: a picture moved into a pose',
    'One picture of an anime head on white and a pose vector (20 numbers, see '
    '`pose_vector.json`) in, the picture in that pose out.',
  ),
}
_PYTHON = """```python
import edtn_runtime  # the file in this bundle; needs numpy and onnxruntime

model = edtn_runtime.load('.')  # compares every file with its hash
{call}
```"""
_CALLS = {
  'expression_translation': (
    '# [T, 50], [T, 3] -> [T, 17]\ncoefficients = model(expression, jaw_pose)'
  ),
  'anime_generator': (
    '# [{size}, {size}, 3] uint8 RGB on white, [T, 20]\n'
    'for picture in model(source, poses):\n'
    '  show(picture)'
  ),
}


def card(manifest: Mapping[str, Any]) -> str:
  """Writes the card.

  Args:
    manifest: of the bundle, before its hashes.

  Returns:
    Markdown.
  """
  task = manifest['task']
  title, about = _TITLES.get(task, (task, ''))
  sections = [
    f'# {title}\n\n{about}',
    _facts(manifest),
    _use(manifest),
    _programs(manifest.get('programs', {})),
    _left_out(manifest.get('programs_left_out', {})),
    _metrics(manifest.get('metrics', {})),
    _licences(manifest),
    _provenance(manifest),
  ]
  return '\n\n'.join(section for section in sections if section) + '\n'


def _table(head: tuple[str, ...], rows: list[tuple[Any, ...]]) -> str:
  lines = [head, ('---',) * len(head), *rows]
  return '\n'.join('| ' + ' | '.join(map(str, row)) + ' |' for row in lines)


def _facts(manifest) -> str:
  average = ', moving average' if manifest['averaged'] else ''
  rows = [
    ('checkpoint', f'step {manifest["checkpoint_step"]:,}{average}'),
    ('parameters', f'{manifest["num_parameters"]:,}, {manifest["dtype"]}'),
  ]
  if 'image_size' in manifest:
    size = manifest['image_size']
    rows.append(('pictures', f'{size} x {size}, RGB'))
  if manifest.get('rounding_error'):
    error = manifest['rounding_error']
    rows.append(('rounding of the parameters', f'{error:.2g} on the average'))
  return _table(('what', ''), rows)


def _use(manifest) -> str:
  call = _CALLS.get(manifest['task'])
  has_onnx = any(n.startswith('onnx/') for n in manifest.get('programs', {}))
  if not call or not has_onnx:
    return ''
  call = call.format(size=manifest.get('image_size'))
  return '## Use without JAX\n\n' + _PYTHON.format(call=call)


def _programs(programs) -> str:
  if not programs:
    return ''
  rows = []
  for name, entry in programs.items():
    kind = entry.get('precision', 'float32')
    if 'opset' in entry:
      kind += f', opset {entry["opset"]}'
    if 'platforms' in entry:
      kind += f', {", ".join(entry["platforms"])}'
    rows.append(
      (
        f'`{name}`',
        kind,
        f'{entry["max_abs_error"]:.2g}',
        f'{entry["mean_abs_error"]:.2g}',
        f'{entry["allowed_max_abs_error"]:.2g}',
      )
    )
  head = ('file', '', 'largest difference', 'mean', 'allowed')
  return (
    '## Programs\n\nCompared with the network when they were written, on '
    'random inputs in its range, at several batch sizes.\n\n'
    + _table(head, rows)
  )


def _left_out(reasons) -> str:
  return '\n'.join(f'Left out: {reason}.' for reason in reasons.values())


def _metrics(metrics) -> str:
  if not metrics:
    return ''
  # Those of single coefficients, and of other pictures, are in the manifest.
  whole = {name: v for name, v in metrics.items() if '/' not in name}
  rows = [(name, f'{value:.4g}') for name, value in whole.items()]
  return "## Validation\n\nOf the run, at this checkpoint's step.\n\n" + _table(
    ('metric', 'value'), rows
  )


def _licences(manifest) -> str:
  text = f'## Licence\n\n{manifest.get("license", "not set")}'
  rows = [
    (asset['role'], asset['name'], asset['license'])
    for asset in manifest.get('assets', [])
  ]
  if not rows:
    return text
  return f'{text}\n\n{_table(("went in as", "what", "its licence"), rows)}'


def _provenance(manifest) -> str:
  runs = manifest.get('training', [])
  made = manifest.get('provenance', {})
  rows = [
    (
      what,
      run.get('started', ''),
      run.get('commit', ''),
      run.get('versions', {}).get('jax', ''),
      f'{run.get("devices", "")} {run.get("device_kind", "")}'.strip(),
    )
    for what, run in (*(('trained', run) for run in runs), ('exported', made))
  ]
  head = ('', 'when', 'commit', 'jax', 'devices')
  return (
    '## Provenance\n\n'
    + _table(head, rows)
    + '\n\n`manifest.json` has the whole, and sha256 of every file.'
  )
