"""Which public model a file of weights belongs to, told from its names."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Iterable

from edtn_jax.convert.table import ConversionError

_LIGHTNING = r'(generator(_ema)?\.)?'


@dataclasses.dataclass(frozen=True)
class PublicModel:
  """A model whose weights can be converted.

  Attributes:
    title: what it is.
    mark: regular expression of whole names that no other model has.
    example: such a name.
    use: what can be done with the converted run.
  """

  title: str
  mark: str
  example: str
  use: str


MODELS = {
  'edtn': PublicModel(
    'expression translator (EDTN.pt)',
    r'main\.\d+\.(weight|bias)',
    'main.0.weight',
    'use it by: edtn reenact --workdir=DIR, evaluate, export',
  ),
  'pirenderer': PublicModel(
    'anime generator (Lightning .ckpt of AnimeCeleb or EDTN)',
    rf'{_LIGHTNING}(warpping|editing)_net\..*',
    '[generator_ema.]warpping_net.flow_out.2.weight',
    'use it by: edtn reenact --generator=DIR, export',
  ),
  'animo': PublicModel(
    'AniMo, joint generator of AnimeCeleb',
    rf'{_LIGHTNING}(warpping|editing)_net[AV]\..*',
    '[generator_ema.]warpping_netA.flow_out.2.weight',
    'no command animates with it yet; load it by '
    'edtn_jax.convert.networks.load_network',
  ),
  'fomm': PublicModel(
    'first-order motion model',
    r'kp_detector\..*',
    'kp_detector.kp.weight',
    'no command animates with it yet; load it by '
    'edtn_jax.convert.networks.load_network',
  ),
  'deca': PublicModel(
    "DECA's coarse encoder (deca_model.tar)",
    r'E_flame\..*',
    'E_flame.encoder.conv1.weight',
    'use it by: edtn reenact --driving=VIDEO --encoder=deca '
    '--encoder_weights=DIR, edtn prepare --videos=DIRS likewise',
  ),
}


def recognize_model(names: Iterable[str], path: str, model: str = '') -> str:
  """Tells the model of a file, or checks the one that the user named.

  Args:
    names: of the file's weights.
    path: of the file, for messages.
    model: key of `MODELS`, or empty.

  Returns:
    Key of `MODELS`.

  Raises:
    ConversionError: if there is no such model, or the file holds weights of
      none, of several, or of another one; says what names were expected.
  """
  if model and model not in MODELS:
    raise ConversionError(f'no model {model!r}; there are {", ".join(MODELS)}')
  names = list(names)
  found = [
    key
    for key, known in MODELS.items()
    if any(re.fullmatch(known.mark, name) for name in names)
  ]
  if model in found or (not model and len(found) == 1):
    return model or found[0]
  if model:
    looks = f'; it looks like --model={" or ".join(found)}' if found else ''
    raise ConversionError(
      f'{path} holds no weights of {model}{looks}. Expected names such as '
      f'{MODELS[model].example}; it begins with {_first(names)}'
    )
  if found:
    raise ConversionError(
      f'{path} holds weights of {" and ".join(found)}; say which to convert: '
      f'--model={found[0]}'
    )
  expected = '\n  '.join(
    f'{key}: {known.title}, names such as {known.example}'
    for key, known in MODELS.items()
  )
  raise ConversionError(
    f'{path} holds no weights of a known model; it begins with '
    f'{_first(names)}. Expected one of\n  {expected}'
  )


def _first(names: list[str]) -> str:
  return ', '.join(names[:3]) or 'nothing'
