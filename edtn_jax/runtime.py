"""Runs a bundle of `edtn export` with onnxruntime and numpy; no JAX needed.

This file travels inside every bundle with ONNX files as `edtn_runtime.py`:

    import edtn_runtime                    # pip install numpy onnxruntime

    translator = edtn_runtime.load('translator_bundle')      # folder or .zip
    generator = edtn_runtime.load('generator_bundle.zip', threads=2)
    coefficients = translator(expression, jaw_pose)   # [T, 50], [T, 3] -> 17
    poses = numpy.concatenate([coefficients, angles_deg], 1)       # [T, 20]
    for picture in generator(source, poses):          # [S, S, 3] uint8, RGB
      show(picture)

`python edtn_runtime.py BUNDLE` compares every file with its hash, runs the
network once, and says how long that takes. A bundle is data: nothing in it is
executed but its networks, by onnxruntime.
"""

from __future__ import annotations

import functools
import hashlib
import json
import os
import pathlib
import stat
import sys
import time
import zipfile
from collections.abc import Callable, Iterable, Iterator
from typing import Any, BinaryIO

import numpy as np

FORMATS = ('edtn-bundle-1', 'edtn-bundle-2')
MANIFEST = 'manifest.json'
PRECISIONS = ('float32', 'float16', 'int8')
# A file that unpacks to more is no bundle, and one that unpacks to so many
# times its size is a trap: parameters hardly shrink, texts ten times.
MAX_BYTES = 8 << 30
MAX_RATIO = 100
# A flow of a network's size moves sources of up to so many times that size.
MAX_ENLARGEMENT = 4
_MAX_MANIFEST_BYTES = 16 << 20
_KEYS = ('task', 'checkpoint_step', 'averaged', 'sha256')
_PIECE = 1 << 20


class BundleFileError(ValueError):
  """A bundle that cannot be read; says which file, and why."""


class BundleFiles:
  """The files of a bundle, a folder or a .zip, each compared with its hash.

  Attributes:
    path: of the bundle.
    manifest: content of `manifest.json`.
  """

  def __init__(self, path: str | os.PathLike):
    """Reads the manifest and every file that it names.

    Args:
      path: folder or .zip file.

    Raises:
      BundleFileError: if it is no bundle, incomplete, changed, or a zip with
        names that lead elsewhere; names every file that is wrong.
    """
    self.path = pathlib.Path(path)
    self._is_zip = self.path.is_file()
    if self._is_zip:
      self._check_zip()
    self.manifest = self._read_manifest()
    self._check_hashes()

  @property
  def names(self) -> tuple[str, ...]:
    """Names of all files but the manifest, `/`-separated."""
    return tuple(self.manifest['sha256'])

  def read(self, name: str) -> bytes:
    """Content of a file that the manifest names.

    Raises:
      BundleFileError: if it does not, or the file cannot be read.
    """
    if name not in self.manifest['sha256']:
      raise BundleFileError(f'{self.path} has no {name}')
    return self._bytes(name)

  def _bytes(self, name: str) -> bytes:
    try:
      if not self._is_zip:
        return (self.path / name).read_bytes()
      with zipfile.ZipFile(self.path) as archive:
        return archive.read(name)
    # What zipfile raises depends on where the damage lies.
    except Exception as error:
      raise BundleFileError(
        f'{self.path}: {name} cannot be read ({_reason(error)})'
      ) from error

  def _check_zip(self) -> None:
    try:
      with zipfile.ZipFile(self.path) as archive:
        entries = archive.infolist()
    except (OSError, zipfile.BadZipFile) as error:
      raise BundleFileError(
        f'{self.path} is no zip file that can be read ({_reason(error)})'
      ) from error
    problems = _zip_problems(entries)
    if problems:
      raise BundleFileError(
        f'{self.path} is refused: {"; ".join(problems)}. No bundle is written '
        'like that; get it again from where it comes from.'
      )

  def _read_manifest(self) -> dict[str, Any]:
    where, content = self.path / MANIFEST, self._bytes(MANIFEST)
    try:
      content = json.loads(content)
    except ValueError as error:
      raise BundleFileError(f'{where} cannot be read: {error}') from error
    found = content.get('format') if isinstance(content, dict) else None
    if found not in FORMATS:
      raise BundleFileError(
        f'{where} is no manifest of the format {" or ".join(FORMATS)} '
        f'(it says {found!r}); a newer edtn-jax may have written it'
      )
    hashes = content.get('sha256')
    missing = [key for key in _KEYS if key not in content]
    if missing or not isinstance(hashes, dict):
      raise BundleFileError(
        f'{where} is damaged: it lacks {missing or "hashes"}'
      )
    strange = [name for name in hashes if not is_safe_name(name)]
    if strange:
      raise BundleFileError(f'{where} is damaged: strange names {strange}')
    return content

  def _check_hashes(self) -> None:
    problems = []
    for name, digest in self.manifest['sha256'].items():
      try:
        same = self._digest(name) == digest
      except FileNotFoundError:
        problems.append(f'{name} is missing')
      except Exception as error:
        problems.append(f'{name} cannot be read ({_reason(error)})')
      else:
        if not same:
          problems.append(f'{name} is not the file that was written (sha256)')
    if problems:
      raise BundleFileError(
        f'{self.path} is damaged: {"; ".join(problems)}. Export or copy it '
        'again.'
      )

  def _digest(self, name: str) -> str:
    if not self._is_zip:
      with open(self.path / name, 'rb') as file:
        return _sha256(file)
    with zipfile.ZipFile(self.path) as archive:
      if name not in archive.namelist():
        raise FileNotFoundError(name)
      with archive.open(name) as file:
        return _sha256(file)


def is_safe_name(name: Any) -> bool:
  """Whether a name stays below its folder on every system."""
  if not isinstance(name, str) or not name or name != name.strip():
    return False
  strange = {'\\', ':', '\0'} & set(name)
  return not strange and all(
    part not in ('', '.', '..') for part in name.split('/')
  )


def _zip_problems(entries: Iterable[zipfile.ZipInfo]) -> list[str]:
  problems, seen, total = [], set(), 0
  for entry in entries:
    name = entry.filename.removesuffix('/')
    if not is_safe_name(name) or entry.orig_filename != entry.filename:
      problems.append(f'the name {entry.orig_filename!r} leads elsewhere')
    if stat.S_ISLNK(entry.external_attr >> 16):
      problems.append(f'{name} is a link')
    if name.lower() in seen:
      problems.append(f'{name} is there twice')
    seen.add(name.lower())
    total += entry.file_size
    if entry.file_size > max(MAX_RATIO * entry.compress_size, _PIECE):
      problems.append(f'{name} unpacks to {entry.file_size:,} bytes')
    if entry.flag_bits & 1:
      problems.append(f'{name} is encrypted')
    if name == MANIFEST and entry.file_size > _MAX_MANIFEST_BYTES:
      problems.append(f'{name} has {entry.file_size:,} bytes')
  if total > MAX_BYTES:
    problems.append(f'it unpacks to {total:,} bytes')
  return problems


def _sha256(file: BinaryIO) -> str:
  digest = hashlib.sha256()
  while piece := file.read(_PIECE):
    digest.update(piece)
  return digest.hexdigest()


def _reason(error: Exception) -> str:
  text = str(error).strip()
  return text.splitlines()[0] if text else type(error).__name__


class Translator:
  """Human expression to anime pose coefficients.

  Attributes:
    manifest: of its bundle.
  """

  def __init__(self, files: BundleFiles, session: Any):
    """Made by `load`."""
    self.manifest = files.manifest
    self._session = session

  def __call__(self, expression: np.ndarray, jaw_pose: np.ndarray):
    """Translates codes.

    Args:
      expression: [T, 50] float, FLAME expression coefficients.
      jaw_pose: [T, 3] float, axis-angle, radians.

    Returns:
      [T, 17] float32 in (0, 1); `pose_vector.json` names them.

    Raises:
      ValueError: if a shape is wrong.
    """
    expression = np.asarray(expression, np.float32)
    jaw_pose = np.asarray(jaw_pose, np.float32)
    count = len(expression)
    if expression.shape != (count, 50) or jaw_pose.shape != (count, 3):
      raise ValueError(
        f'wanted expression [T, 50] and jaw_pose [T, 3], got '
        f'{expression.shape} and {jaw_pose.shape}'
      )
    if not count:
      return np.zeros((0, 17), np.float32)
    inputs = {'expression': expression, 'jaw_pose': jaw_pose}
    return self._session.run(['pose_coeffs'], inputs)[0]

  def example(self) -> tuple[np.ndarray, ...]:
    """Arguments of one frame."""
    return np.zeros((1, 50), np.float32), np.zeros((1, 3), np.float32)


class Generator:
  """Moves a picture of an anime character.

  Attributes:
    manifest: of its bundle.
    size: side of the pictures that its network sees, pixels.
    largest: side of the largest source that it moves: four times as much if
      the network blends what it paints with the warped source.
  """

  def __init__(self, files: BundleFiles, session: Any):
    """Made by `load`."""
    self.manifest = files.manifest
    self.size = int(files.manifest['image_size'])
    numbers = json.loads(files.read('pose_vector.json'))
    self._low, self._high = (
      np.array([number[end] for number in numbers], np.float32)
      for end in ('low', 'high')
    )
    self._session = session
    blends = 'share' in {output.name for output in session.get_outputs()}
    self.largest = self.size * (MAX_ENLARGEMENT if blends else 1)

  def __call__(
    self, source: np.ndarray, poses: np.ndarray, batch_size: int = 1
  ) -> Iterator[np.ndarray]:
    """Draws a picture in some poses.

    Args:
      source: [S, S, 3] uint8 RGB on white; S from `size` to `largest`. A
        larger one than the network's keeps its lines: the network sees a small
        copy, and what it says moves the source itself.
      poses: [T, 20] float: 17 coefficients in [0, 1], then pitch, roll and
        yaw in degrees; clamped to the range that `pose_vector.json` gives.
      batch_size: pictures computed at once.

    Yields:
      [S, S, 3] uint8 RGB.

    Raises:
      ValueError: if a shape or type is wrong, or a pose is not finite.
    """
    side = len(source) if np.ndim(source) else 0
    poses = np.asarray(poses, np.float32)
    if np.shape(source) != (side, side, 3) or source.dtype != np.uint8:
      raise ValueError('source must be uint8 [S, S, 3]')
    if not self.size <= side <= self.largest:
      raise ValueError(
        f'source is {side} pixels a side; this network takes {self.size} to '
        f'{self.largest}'
      )
    if poses.ndim != 2 or poses.shape[1] != len(self._low):
      raise ValueError(f'poses are {poses.shape}, wanted [T, {len(self._low)}]')
    if not np.isfinite(poses).all():
      raise ValueError('poses hold numbers that are not finite')
    poses = np.clip(poses, self._low, self._high)
    whole = source.astype(np.float32) / 255
    seen = resized(whole, self.size, 'lanczos3')
    for begin in range(0, len(poses), batch_size):
      pose = poses[begin : begin + batch_size]
      if side == self.size:
        images = self.outputs(seen, pose, ('image',))['image']
      else:
        parts = self.outputs(seen, pose, ('painted_image', 'share', 'flow'))
        images = [blended(whole, *x) for x in zip(*parts.values(), strict=True)]
      for image in images:
        yield np.rint(np.clip(image, 0, 1) * 255).astype(np.uint8)

  def outputs(
    self, picture: np.ndarray, poses: np.ndarray, names: Iterable[str]
  ) -> dict[str, np.ndarray]:
    """Runs the network as it is: nothing is checked or clamped.

    Args:
      picture: [size, size, 3] float32 in [0, 1].
      poses: [B, 20] float32.
      names: of its outputs, such as `image`; only these are computed.

    Returns:
      Each by name, [B, ...] float32.
    """
    sources = np.ascontiguousarray(
      np.broadcast_to(picture, (len(poses), *picture.shape))
    )
    inputs = {'source_image': sources, 'pose': poses}
    found = self._session.run(list(names), inputs)
    return dict(zip(names, found, strict=True))

  def example(self) -> tuple[np.ndarray, ...]:
    """Arguments of one frame."""
    source = np.full((self.size, self.size, 3), 255, np.uint8)
    return source, np.zeros((1, len(self._low)), np.float32)


def blended(
  source: np.ndarray, painted: np.ndarray, share: np.ndarray, flow: np.ndarray
) -> np.ndarray:
  """Warps and blends a source in its own size.

  Args:
    source: [S, S, 3] float32.
    painted: [s, s, 3] float32, enlarged here.
    share: [s, s, 1] float32, of `painted` in the result; likewise.
    flow: [h, h, 2] float32, (x, y): pixel p of the result shows the source at
      p + flow(p), in pixels of its own grid.

  Returns:
    [S, S, 3] float32.
  """
  side = len(source)
  share = np.clip(resized(share, side, 'cubic'), 0, 1)
  moved = resized(flow, side, 'linear') * (side / len(flow))
  pixels = np.arange(side, dtype=np.float32)
  x = np.clip(pixels + moved[..., 0], 0, side - 1)
  y = np.clip(pixels[:, None] + moved[..., 1], 0, side - 1)
  left, top = x.astype(np.int32), y.astype(np.int32)
  right, below = (np.minimum(i + 1, side - 1) for i in (left, top))
  x, y = (x - left)[..., None], (y - top)[..., None]
  above = source[top, left] * (1 - x) + source[top, right] * x
  under = source[below, left] * (1 - x) + source[below, right] * x
  warped = above * (1 - y) + under * y
  return share * resized(painted, side, 'cubic') + (1 - share) * warped


def resized(image: np.ndarray, side: int, method: str) -> np.ndarray:
  """A square picture in another size; what is made smaller is smoothed.

  Args:
    image: [s, s, C] float32.
    side: of the result.
    method: `linear`, `cubic` or `lanczos3`, each with the outer edges kept.

  Returns:
    [side, side, C] float32; `image` itself if it has that size.
  """
  if len(image) == side:
    return image
  weights = _resizing_weights(len(image), side, method)
  rows = np.tensordot(weights, image, 1)
  return np.ascontiguousarray(
    np.tensordot(weights, rows, (1, 1)).swapaxes(0, 1), np.float32
  )


@functools.cache
def _resizing_weights(source: int, target: int, method: str) -> np.ndarray:
  """[target, source]: how much of each pixel goes into each new one."""
  scale = source / target
  position = (np.arange(target) + 0.5) * scale - 0.5
  if method == 'linear':
    position = np.clip(position, 0, source - 1)
  distance = np.abs(position[:, None] - np.arange(source)) / max(scale, 1)
  weights = _KERNELS[method](distance)
  return (weights / weights.sum(1, keepdims=True)).astype(np.float32)


def _cubic(x: np.ndarray) -> np.ndarray:
  near = (1.5 * x - 2.5) * x * x + 1
  far = ((-0.5 * x + 2.5) * x - 4) * x + 2
  return np.where(x < 1, near, np.where(x < 2, far, 0))


_KERNELS = {
  'linear': lambda x: np.maximum(1 - x, 0),
  'cubic': _cubic,
  'lanczos3': lambda x: np.where(x < 3, np.sinc(x) * np.sinc(x / 3), 0),
}


_RUNNERS: dict[str, tuple[str, Callable[..., Any]]] = {
  'expression_translation': ('translator', Translator),
  'anime_generator': ('generator', Generator),
}


def load(
  path: str | os.PathLike,
  *,
  precision: str = 'float32',
  threads: int = 0,
  providers: Iterable[str] = ('CPUExecutionProvider',),
) -> Translator | Generator:
  """Opens a bundle for inference.

  Args:
    path: folder or .zip file.
    precision: which ONNX file: `float32`, `float16`, or `int8` where there is
      one.
    threads: of the CPU; 0 takes as many as there are cores.
    providers: of onnxruntime, such as `CUDAExecutionProvider`.

  Returns:
    A `Translator` or a `Generator`, by what is in the bundle.

  Raises:
    BundleFileError: if the bundle or its ONNX file cannot be used.
  """
  return open_files(
    BundleFiles(path), precision=precision, threads=threads, providers=providers
  )


def open_files(
  files: BundleFiles,
  *,
  precision: str = 'float32',
  threads: int = 0,
  providers: Iterable[str] = ('CPUExecutionProvider',),
) -> Translator | Generator:
  """As `load`, of files that were read already."""
  task = files.manifest['task']
  if task not in _RUNNERS:
    raise BundleFileError(
      f'{files.path} is of the task {task!r}; known: {", ".join(_RUNNERS)}'
    )
  stem, runner = _RUNNERS[task]
  if precision not in PRECISIONS:
    raise BundleFileError(f'precision {precision!r} is not of {PRECISIONS}')
  name = onnx_name(stem, precision)
  there = [n for n in files.names if n.startswith('onnx/')]
  if name not in there:
    raise BundleFileError(
      f'{files.path} has no {name}; there: {", ".join(there) or "no ONNX"}. '
      'Export it again with --formats=onnx.'
    )
  return runner(files, _session(files, name, threads, providers))


def onnx_name(stem: str, precision: str) -> str:
  """Name of an ONNX file in a bundle."""
  suffix = {'float32': '', 'float16': '_fp16', 'int8': '_int8'}[precision]
  return f'onnx/{stem}{suffix}.onnx'


def _session(
  files: BundleFiles, name: str, threads: int, providers: Iterable[str]
) -> Any:
  try:
    import onnxruntime
  except ImportError as error:
    raise BundleFileError(
      'ONNX files are run by onnxruntime, which is not installed: pip install '
      'onnxruntime'
    ) from error
  return open_session(
    files.read(name), f'{files.path}: {name}', threads, providers, onnxruntime
  )


def open_session(
  content: bytes,
  what: str,
  threads: int,
  providers: Iterable[str],
  onnxruntime: Any,
) -> Any:
  """An onnxruntime session; BundleFileError if it does not take the file."""
  options = onnxruntime.SessionOptions()
  options.intra_op_num_threads = threads
  options.log_severity_level = 3
  try:
    return onnxruntime.InferenceSession(
      content, options, providers=list(providers)
    )
  # onnxruntime has one class of error for every code of its C++ side.
  except Exception as error:
    raise BundleFileError(
      f'{what} is not run by onnxruntime {onnxruntime.__version__}: '
      f'{_reason(error)}. An unknown opset needs a newer onnxruntime, or an '
      'export with a lower --opset.'
    ) from error


def main(argv: list[str]) -> int:
  """Checks a bundle and times it."""
  if len(argv) != 2:
    print('usage: python edtn_runtime.py BUNDLE', file=sys.stderr)
    return 2
  try:
    runner = load(argv[1])
  except BundleFileError as error:
    print(error, file=sys.stderr)
    return 2
  took = []
  for _ in range(5):
    began = time.perf_counter()
    found = list(runner(*runner.example()))
    took.append(time.perf_counter() - began)
  print(
    f'{argv[1]}: {runner.manifest["task"]}, step '
    f'{runner.manifest["checkpoint_step"]}; all files are as they were '
    f'written; gives {np.shape(found[0])}, {1e3 * min(took):.2f} ms a frame'
  )
  return 0


if __name__ == '__main__':
  sys.exit(main(sys.argv))
