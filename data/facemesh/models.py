"""The model files: where they come from and how they are run.

The models are Google's, under the Apache License 2.0, and lie in the wheel
of mediapipe 0.10.21. That package asks for numpy < 2, so it is not installed:
pip downloads the wheel, the files needed are taken out, checked against the
sums below and kept in a cache (`EDTN_CACHE`, else `~/.cache/edtn_jax`, below
it `facemesh`). After the first use no network is needed.
"""

from __future__ import annotations

import dataclasses
import hashlib
import os
import pathlib
import subprocess
import sys
import tempfile
import zipfile

import numpy as np
from absl import logging

from data import files

_REQUIREMENT = 'mediapipe==0.10.21'
# The files are the same in the wheels of every system; this one exists for
# sure, and is only unpacked.
_PIP_ARGUMENTS = (
  '--no-deps',
  '--only-binary=:all:',
  '--platform=manylinux_2_28_x86_64',
  '--python-version=3.11',
)
_INSTALL = 'pip install edtn-jax[facemesh]'


class ModelError(RuntimeError):
  """A model that cannot be had or run; the message says what to do."""


@dataclasses.dataclass(frozen=True)
class ModelFile:
  """A file in the wheel.

  Attributes:
    member: its path there.
    sha256: what its bytes must sum to.
  """

  member: str
  sha256: str


MODELS: dict[str, ModelFile] = {
  'face_detection_short_range': ModelFile(
    'mediapipe/modules/face_detection/face_detection_short_range.tflite',
    'bbff11cebd1eb27a1e004cae0b0e63ec8c551cbf34a4451148b4908b8db3eca8',
  ),
  'face_detection_full_range_sparse': ModelFile(
    'mediapipe/modules/face_detection/face_detection_full_range_sparse.tflite',
    '2c3728e6da56f21e21a320433396fb06d40d9088f2247c05e5635a688d45dfe1',
  ),
  'face_landmark': ModelFile(
    'mediapipe/modules/face_landmark/face_landmark.tflite',
    '1055cb9d4a9ca8b8c688902a3a5194311138ba256bcc94e336d8373a5f30c814',
  ),
  'iris_landmark': ModelFile(
    'mediapipe/modules/iris_landmark/iris_landmark.tflite',
    'd1744d2a09c25f501d39eba4faff47e53ecca8852c5ce19bce8eeac39357521f',
  ),
}


def default_cache_dir() -> pathlib.Path:
  """Where the models are kept: `$EDTN_CACHE/facemesh`, else in the home."""
  base = os.environ.get('EDTN_CACHE') or '~/.cache/edtn_jax'
  return pathlib.Path(base).expanduser() / 'facemesh'


def fetch_models(
  cache_dir: str | os.PathLike | None = None,
) -> dict[str, pathlib.Path]:
  """Paths of the model files; gets them on the first call.

  Args:
    cache_dir: where they are kept; by default `default_cache_dir()`.

  Returns:
    Name (a key of `MODELS`) to path of a `.tflite` file whose sum is right.

  Raises:
    ModelError: if the files cannot be downloaded, or are not what they must
      be. Nothing wrong is kept.
  """
  cache = pathlib.Path(cache_dir) if cache_dir else default_cache_dir()
  paths = {name: cache / f'{name}.tflite' for name in MODELS}
  if all(_is_right(path, MODELS[name]) for name, path in paths.items()):
    return paths
  try:
    cache.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as folder:
      contents = _read_wheel(_download(pathlib.Path(folder)))
    for name, path in paths.items():
      with files.atomic_writer(path) as file:
        file.write(contents[name])
  except OSError as error:
    raise ModelError(
      f'{cache}: cannot keep the FaceMesh models here ({error}); set '
      'EDTN_CACHE to a folder that can be written'
    ) from error
  logging.info('FaceMesh models are in %s', cache)
  return paths


def _is_right(path: pathlib.Path, model: ModelFile) -> bool:
  try:
    return hashlib.sha256(path.read_bytes()).hexdigest() == model.sha256
  except OSError:
    return False


def _download(folder: pathlib.Path) -> pathlib.Path:
  """Lets pip put the wheel into a folder; pip knows the user's mirrors."""
  logging.info('Downloading %s for its FaceMesh models ...', _REQUIREMENT)
  command = [sys.executable, '-m', 'pip', 'download', *_PIP_ARGUMENTS]
  command += [f'--dest={folder}', _REQUIREMENT]
  done = subprocess.run(command, capture_output=True, text=True, check=False)
  wheels = sorted(folder.glob('*.whl'))
  if done.returncode or len(wheels) != 1:
    lines = (done.stderr or done.stdout).strip().splitlines()
    raise ModelError(
      f'cannot download {_REQUIREMENT}, which carries the FaceMesh models: '
      f'{lines[-1] if lines else "pip gave no wheel"}. They are needed once; '
      'with a network, or with a pip index that has this package, run again'
    )
  return wheels[0]


def _read_wheel(wheel: pathlib.Path) -> dict[str, bytes]:
  """The bytes of every model, all of them checked."""
  contents: dict[str, bytes] = {}
  faults = []
  try:
    with zipfile.ZipFile(wheel) as archive:
      names = set(archive.namelist())
      for name, model in MODELS.items():
        if model.member not in names:
          faults.append(f'{model.member} is missing')
          continue
        contents[name] = archive.read(model.member)
        found = hashlib.sha256(contents[name]).hexdigest()
        if found != model.sha256:
          faults.append(
            f'{model.member} has sha256 {found}, wanted {model.sha256}'
          )
  except zipfile.BadZipFile as error:
    faults.append(f'not a wheel ({error})')
  if faults:
    raise ModelError(
      f'{wheel.name} is not the file that was published, nothing is kept: '
      + '; '.join(faults)
    )
  return contents


class Model:
  """A `.tflite` file that is run on one thread.

  Args:
    path: the file.

  Raises:
    ModelError: if the library that runs it is not installed, or it is broken.
  """

  def __init__(self, path: str | os.PathLike):
    try:
      from ai_edge_litert.interpreter import Interpreter
    except ImportError as error:
      raise ModelError(
        'face landmarks need ai-edge-litert, which is not installed: '
        f'{_INSTALL}'
      ) from error
    try:
      self._interpreter = Interpreter(model_path=os.fspath(path), num_threads=1)
      self._interpreter.allocate_tensors()
    except (ValueError, RuntimeError) as error:
      raise ModelError(f'{path}: not a usable model ({error})') from error
    [self._input] = self._interpreter.get_input_details()
    self._outputs = self._interpreter.get_output_details()

  @property
  def input_size(self) -> int:
    """Height and width of its input picture."""
    return int(self._input['shape'][1])

  def __call__(self, picture: np.ndarray) -> dict[int, np.ndarray]:
    """Runs it.

    Args:
      picture: [S, S, 3] float32 of the range that the model wants.

    Returns:
      Output arrays by their number of elements, which tells them apart in
      every model used here.
    """
    self._interpreter.set_tensor(self._input['index'], picture[None])
    self._interpreter.invoke()
    found = [self._interpreter.get_tensor(o['index']) for o in self._outputs]
    return {array.size: array for array in found}
