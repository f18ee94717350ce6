"""Buckets: `gs://` and `s3://` paths, and how their files come here.

What reads and writes objects by itself (a run's directory) is given such a
path as it is. What needs files (array_record, NumPy, FFmpeg) gets a copy on
this machine, and what makes files makes them here first.
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
    raise RemotePathError(
      f'{path}: {scheme}:// needs {_PACKAGES[scheme]}, which is not installed. '
      f'Install the extra [{scheme if scheme != "gs" else "gcs"}]: '
      f"pip install 'edtn-jax[{scheme if scheme != 'gs' else 'gcs'}]'"
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


def local_copy(path: str | os.PathLike) -> pathlib.Path:
  """A file or folder on this machine's disk.

  What is in a bucket is copied once to `~/.cache/edtn_jax/remote`, or to
  `$EDTN_REMOTE_CACHE`, and again when a size or a version there has changed.
  Processes of one machine share the copy.

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
  cache = pathlib.Path(os.environ.get(_CACHE_VARIABLE) or _CACHE).expanduser()
  cache.mkdir(parents=True, exist_ok=True)
  place = cache / hashlib.sha256(uri.encode()).hexdigest()[:16]
  with _locked(place.with_suffix('.lock')), _told(uri):
    listing = {'uri': uri, 'objects': _listing(uri)}
    name = posixpath.basename(uri)
    if _stored_listing(place) != listing:
      _download(listing, place, name)
    return place / name


def origin(path: str | os.PathLike) -> str:
  """Where a path is from: the bucket of what `local_copy` brought, or itself.

  Args:
    path: local or in a bucket.
  """
  found = pathlib.Path(path)
  for place in found.parents:
    listing = _stored_listing(place)
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


def _listing(uri: str) -> dict[str, list[Any]]:
  """Relative name -> size and version of every object; '' is a file itself."""
  filesystem, root = _open(uri)
  found = filesystem.find(root, detail=True)
  if not found:
    raise FileNotFoundError(f'{uri}: nothing is there')
  return {
    name[len(root) :].lstrip('/'): [entry['size'], _version(entry)]
    for name, entry in sorted(found.items())
  }


def _version(entry: dict[str, Any]) -> str:
  for key in ('etag', 'ETag', 'md5Hash', 'mtime', 'LastModified', 'created'):
    if entry.get(key):
      return str(entry[key])
  return ''


def _stored_listing(place: pathlib.Path) -> Any:
  try:
    found = json.loads((place / _LISTING).read_text())
  except (OSError, ValueError):
    return None
  return found if 'objects' in found else None


def _download(listing: dict[str, Any], place: pathlib.Path, name: str) -> None:
  uri, objects = listing['uri'], listing['objects']
  size = sum(entry[0] for entry in objects.values())
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
    for relative in objects:
      # An object's name is another's word: it must not lead out of the copy.
      if '..' in relative.split('/'):
        raise RemotePathError(f'{uri}: refuses the object name {relative!r}')
      target = partial / name / relative if relative else partial / name
      target.parent.mkdir(parents=True, exist_ok=True)
      source = f'{root}/{relative}' if relative else root
      filesystem.get_file(source, os.fspath(target))
    files.write_json(partial / _LISTING, listing)
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
