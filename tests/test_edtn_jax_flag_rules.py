"""Flags that would be ignored are told: which, why, what to do."""

import inspect

import pytest

from edtn_jax import flag_rules
from edtn_jax.commands import COMMANDS
from edtn_jax.config import ConfigError


@pytest.mark.parametrize(
  ('given', 'told'),
  [
    ({'driving': 'x', 'workdir': 'y'}, {}),
    (
      {'pose': 'yaw=3', 'driving': 'x', 'smoothing': False, 'puppet': '7'},
      {'driving': '--pose', 'smoothing': '--pose'},
    ),
    ({'pose': 'sweep', 'puppet': '7', 'puppet_size': 99}, {}),
    ({'pose': 'sweep', 'source': 'x', 'batch_size': 2}, {}),
    (
      {'pose': 'sweep', 'source': 'x', 'puppet_size': 99},
      {'puppet_size': '--puppet'},
    ),
    (
      {'live': True, 'media': 'mp4', 'frames': 'x', 'port': 1, 'source': 'y'},
      {'media': '--live', 'frames': '--live'},
    ),
    ({'live': True, 'source': 'y', 'batch_size': 2}, {'batch_size': '--live'}),
    ({'port': 1, 'host': '::1'}, {'port': '--live', 'host': '--live'}),
    ({'media': 'mp4', 'gif_every': 1}, {'gif_every': 'Add gif'}),
    ({'media': 'none', 'gif_max_frames': 1}, {'gif_max_frames': 'Add gif'}),
    ({'media': 'mp4,webp', 'gif_every': 1}, {}),
    ({'batch_size': 2}, {'batch_size': '--source'}),
    (
      {'bundle': 'x', 'workdir': 'y', 'generator': 'z', 'engine': 'onnx'},
      {'workdir': '--bundle', 'generator': '--bundle'},
    ),
    ({'engine': 'onnx'}, {'engine': '--bundle'}),
    ({'engine': 'onnx', 'workdir': 'y'}, {}),
    ({'engine': 'jax', 'bundle': 'x', 'pose': 'sweep', 'source': 'y'}, {}),
    ({'landmarks': 'x.npy'}, {'landmarks': '--face'}),
    ({'landmarks': 'x.npy', 'face': 'y.pkl'}, {}),
  ],
)
def test_flags_that_reenact_would_ignore(given, told):
  assert (
    given.keys() <= inspect.signature(COMMANDS['reenact']).parameters.keys()
  )
  if not told:
    flag_rules.check_reenact(given)
    return
  with pytest.raises(ConfigError) as caught:
    flag_rules.check_reenact(given)
  problems = {problem.key: problem for problem in caught.value.problems}
  assert problems.keys() == told.keys()
  for name, text in told.items():
    assert problems[name].value == given[name]
    assert text in str(problems[name])


def test_commands_are_checked_before_any_work(tmp_path):
  with pytest.raises(ConfigError, match='4 problems'):
    COMMANDS['reenact'](
      str(tmp_path), pose='sweep', puppet='7', live=True, fps=3.0, clip='a',
      port=80,
    )  # fmt: skip
  with pytest.raises(ConfigError, match='2 problems') as caught:
    COMMANDS['prepare'](
      str(tmp_path / 'x.npy'), fit_adapter=True, videos='x', size=3
    )
  assert 'videos' in str(caught.value)
  assert not list(tmp_path.iterdir())


def test_changed_is_what_differs_from_the_default():
  def command(output: str, step: int = -1, raw: bool = False):
    pass

  values = {'output': 'x', 'step': -1, 'raw': True, 'other': 3}
  assert flag_rules.changed(command, values) == {'output': 'x', 'raw': True}
