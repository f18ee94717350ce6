"""Buckets: `gs://` and `s3://` paths, and how their files come here.

What reads and writes objects by itself (a run's directory in `gs://`) is given
such a path as it is. What needs files (array_record, NumPy, FFmpeg) gets a copy
on this machine, and what makes files makes them here first.

A bucket cannot rename a folder when it is whole. One that is being copied, or
removed, piece by piece holds the object `INCOMPLETE`, first in and last out;
whoever reads leaves such a folder out.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import json
import os
import pathlib
import posixpath
import shutil
import tempfile
from collections.abc import Iterator
from typing import Any

from absl import logging

from data import files

# Scheme -> the package that speaks it, and the extra that brings it.
_PACKAGES = {'gs': ('gcsfs', 'gcs'), 's3': ('s3fs', 's3')}
_CACHE_VARIABLE = 'EDTN_REMOTE_CACHE'
_CACHE = '~/.cache/edtn_jax/remote'
_LISTING = '.listing.json'
# What says that a folder is complete goes into a bucket after all the rest.
_LAST = ('manifest.json', 'config.json')
# In a folder of which not all is there.
INCOMPLETE = '.incomplete'
# A run that is trained removes what another process is about to copy.
_ATTEMPTS = 3


class RemotePathError(ValueError):
  """A path in a bucket that cannot be read or written."""


def is_remote(path: str | os.PathLike) -> bool:
  """Whether a path is in a bucket."""
  scheme, mark, _ = os.fspath(path).partition('://')
  return bool(mark) and scheme in _PACKAGES


def check(path: str | os.PathLike) -> None:
  """Checks that this installation can reach a path, without any traffic.

  Args:
    path: local or in a bucket.

  Raises:
    RemotePathError: naming the extra that has to be installed.
  """
  if is_remote(path):
    _filesystem_class(os.fspath(path))


def _filesystem_class(path: str) -> Any:
  import fsspec  # comes with etils[epath]; costs time that most do not need

  scheme = path.partition('://')[0]
  try:
    return fsspec.get_filesystem_class(scheme)
  except ImportError as error:
    package, extra = _PACKAGES[scheme]
    raise RemotePathError(
      f'{path}: {scheme}:// needs {package}, which is not installed. Install '
      f"the extra [{extra}]: pip install 'edtn-jax[{extra}]'"
    ) from error


def is_folder(path: str | os.PathLike) -> bool:
  """Whether a folder is there, or a bucket has objects below a path.

  Raises:
    RemotePathError: if the bucket cannot be reached.
  """
  if not is_remote(path):
    return pathlib.Path(path).is_dir()
  with _told(os.fspath(path)):
    filesystem, root = _open(path)
    return filesystem.isdir(root)


def _open(path: str | os.PathLike) -> tuple[Any, str]:
  path = os.fspath(path).rstrip('/')
  filesystem = _filesystem_class(path)()
  return filesystem, filesystem._strip_protocol(path)


def cache() -> pathlib.Path:
  """Folder of this machine for what belongs into buckets, or is from there."""
  return pathlib.Path(os.environ.get(_CACHE_VARIABLE) or _CACHE).expanduser()


def local_copy(path: str | os.PathLike) -> pathlib.Path:
  """A file or folder on this machine's disk.

  What is in a bucket is copied once to `~/.cache/edtn_jax/remote`, or to
  `$EDTN_REMOTE_CACHE`, and again when a size or a version there has changed.
  Processes of one machine share the copy. Folders that are `INCOMPLETE` are
  left out.

  Args:
    path: local, then returned as it is, or in a bucket.

  Returns:
    The local path.

  Raises:
    RemotePathError: if it cannot be reached, or does not fit on the disk.
    FileNotFoundError: if nothing is there.
  """
  if not is_remote(path):
    return pathlib.Path(path)
  uri = os.fspath(path).rstrip('/')
  place = place_of(uri, cache())
  place.parent.mkdir(parents=True, exist_ok=True)
  with _locked(place.with_suffix('.lock')):
    for attempts_left in reversed(range(_ATTEMPTS)):
      found = whole(objects(uri))
      if not found:
        raise FileNotFoundError(f'{uri}: nothing is there')
      try:
        if stored_listing(place) != {'uri': uri, 'objects': found}:
          download(uri, found, place)
        break
      except FileNotFoundError:
        if not attempts_left:
          raise
    return place / posixpath.basename(uri)


def place_of(uri: str, folder: pathlib.Path) -> pathlib.Path:
  """Folder of one path in a bucket; what it holds lies below its last name."""
  return folder / hashlib.sha256(uri.encode()).hexdigest()[:16]


def origin(path: str | os.PathLike) -> str:
  """Where a path is from: the bucket of what `local_copy` brought, or itself.

  Args:
    path: local or in a bucket.
  """
  found = pathlib.Path(path)
  for place in found.parents:
    listing = stored_listing(place)
    if listing is not None:
      inner = found.relative_to(place).parts[1:]
      return '/'.join((listing['uri'], *inner))
  return os.fspath(path)


@contextlib.contextmanager
def _locked(path: pathlib.Path) -> Iterator[None]:
  with open(path, 'w') as handle:
    fcntl.flock(handle, fcntl.LOCK_EX)
    yield


@contextlib.contextmanager
def _told(uri: str) -> Iterator[None]:
  """Every error of a bucket names the path, and what may be wrong."""
  try:
    yield
  except (FileNotFoundError, RemotePathError):
    raise
  except Exception as error:  # each package has errors of its own
    raise RemotePathError(
      f'{uri}: {type(error).__name__}: {error}. Check the name, the network '
      'and the credentials of this machine.'
    ) from error


def objects(uri: str) -> dict[str, list[Any]]:
  """Lists a path in a bucket.

  Args:
    uri: the path.

  Returns:
    Relative name to size and version of every object; '' is a file itself.
    Empty if nothing is there.

  Raises:
    FileNotFoundError: if there is no such bucket.
    RemotePathError: if the bucket cannot be reached.
  """
  with _told(uri):
    filesystem, root = _open(uri)
    # Another process may have written since the last look.
    filesystem.invalidate_cache()
    try:
      found = filesystem.find(root, detail=True)
    except FileNotFoundError as error:
      raise FileNotFoundError(f'{uri}: no such bucket') from error
  return {
    name[len(root) :].lstrip('/'): [entry['size'], _version(entry)]
    for name, entry in sorted(found.items())
  }


def whole(listed: dict[str, list[Any]]) -> dict[str, list[Any]]:
  """What `objects` listed, without the folders that are `INCOMPLETE`."""
  marked = tuple(
    name.removesuffix(INCOMPLETE)
    for name in listed
    if posixpath.basename(name) == INCOMPLETE
  )
  return {k: v for k, v in listed.items() if not k.startswith(marked)}


def put(source: pathlib.Path, uri: str) -> None:
  """Copies one local file to a path in a bucket.

  Raises:
    FileNotFoundError: if there is no such file.
    RemotePathError: if it cannot be written.
  """
  with _told(uri):
    filesystem, target = _open(uri)
    try:
      filesystem.put_file(os.fspath(source), target)
    except FileNotFoundError as error:
      if not source.exists():
        raise
      raise RemotePathError(f'{uri}: no such bucket') from error


def put_bytes(content: bytes, uri: str) -> None:
  """Writes one object.

  Raises:
    RemotePathError: if it cannot be written.
  """
  with _told(uri):
    filesystem, target = _open(uri)
    try:
      filesystem.pipe_file(target, content)
    except FileNotFoundError as error:
      raise RemotePathError(f'{uri}: no such bucket') from error


def get_bytes(uri: str) -> bytes:
  """Reads one object.

  Raises:
    FileNotFoundError: if there is none.
    RemotePathError: if it cannot be read.
  """
  with _told(uri):
    filesystem, source = _open(uri)
    return filesystem.cat_file(source)


def remove(uri: str) -> None:
  """Removes one object, if it is there.

  Raises:
    RemotePathError: if it cannot be removed.
  """
  with _told(uri), contextlib.suppress(FileNotFoundError):
    filesystem, target = _open(uri)
    filesystem.rm_file(target)


def _version(entry: dict[str, Any]) -> str:
  for key in ('etag', 'ETag', 'md5Hash', 'mtime', 'LastModified', 'created'):
    if entry.get(key):
      return str(entry[key])
  return ''


def stored_listing(place: pathlib.Path) -> Any:
  """What `store_listing` or `download` left in a folder, or None."""
  try:
    found = json.loads((place / _LISTING).read_text())
  except (OSError, ValueError):
    return None
  is_listing = isinstance(found, dict) and 'objects' in found
  return found if is_listing else None


def store_listing(
  uri: str, listed: dict[str, list[Any]], place: pathlib.Path
) -> None:
  """Writes down of which path a folder is, and what of it."""
  files.write_json(place / _LISTING, {'uri': uri, 'objects': listed})


def download(
  uri: str, listed: dict[str, list[Any]], place: pathlib.Path
) -> None:
  """Copies what was listed to this machine, all or nothing.

  Args:
    uri: path in a bucket.
    listed: of its `objects`, those to copy.
    place: folder to make, or to replace; see `place_of`.

  Raises:
    FileNotFoundError: if one has gone.
    RemotePathError: if it cannot be reached, or does not fit on the disk.
  """
  with _told(uri):
    _download(uri, listed, place)


def _download(
  uri: str, listed: dict[str, list[Any]], place: pathlib.Path
) -> None:
  name = posixpath.basename(uri)
  size = sum(entry[0] for entry in listed.values())
  free = shutil.disk_usage(place.parent).free
  if size > free:
    raise RemotePathError(
      f'{uri} has {size / 1e9:.1f} GB, {place.parent} has {free / 1e9:.1f} GB '
      f'left. Make room, or set {_CACHE_VARIABLE} to a larger disk.'
    )
  logging.info('Copying %s (%.1f MB) to %s', uri, size / 1e6, place)
  filesystem, root = _open(uri)
  partial = pathlib.Path(tempfile.mkdtemp(dir=place.parent, prefix='.partial'))
  try:
    for relative in listed:
      # An object's name is another's word: it must not lead out of the copy.
      if '..' in relative.split('/'):
        raise RemotePathError(f'{uri}: refuses the object name {relative!r}')
      target = partial / name / relative if relative else partial / name
      target.parent.mkdir(parents=True, exist_ok=True)
      source = f'{root}/{relative}' if relative else root
      filesystem.get_file(source, os.fspath(target))
    store_listing(uri, listed, partial)
    shutil.rmtree(place, ignore_errors=True)
    os.replace(partial, place)
  except BaseException:
    shutil.rmtree(partial, ignore_errors=True)
    raise


@contextlib.contextmanager
def output_folder(path: str | os.PathLike) -> Iterator[pathlib.Path]:
  """A folder to write to that ends up at `path`, complete or not at all.

  Args:
    path: local, then yielded as it is, or in a bucket.

  Yields:
    A local folder that does not exist yet, if `path` is in a bucket; its files
    are copied there when the block ends without an error.

  Raises:
    RemotePathError: if the bucket cannot be reached or holds something there.
  """
  if not is_remote(path):
    yield pathlib.Path(path)
    return
  uri = os.fspath(path).rstrip('/')
  with _told(uri):
    filesystem, root = _open(uri)
    if filesystem.exists(root):
      raise RemotePathError(
        f'{uri}: something is there; in a bucket, choose another --output'
      )
  with tempfile.TemporaryDirectory(prefix='edtn_output_') as temporary:
    folder = pathlib.Path(temporary, posixpath.basename(uri))
    yield folder
    copy_out(folder, uri)


def copy_out(source: pathlib.Path, path: str | os.PathLike) -> None:
  """Copies a local file or folder into a bucket, manifests last.

  Args:
    source: what to copy.
    path: where to, in a bucket.

  Raises:
    RemotePathError: if it cannot be written.
  """
  with _told(os.fspath(path)):
    filesystem, root = _open(path)
    names = [p for p in sorted(source.rglob('*')) if p.is_file()]
    for file in sorted(names, key=lambda p: p.name in _LAST):
      target = f'{root}/{file.relative_to(source).as_posix()}'
      # Buckets know no folders; a file system behind the same interface does.
      filesystem.makedirs(posixpath.dirname(target), exist_ok=True)
      filesystem.put_file(os.fspath(file), target)
    if source.is_file():
      filesystem.put_file(os.fspath(source), root)
