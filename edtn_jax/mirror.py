"""A run in `s3://`: written to a folder of this machine, copied to its bucket.

Orbax writes arrays to file systems and to `gs://`, not to `s3://`. The folder
is in `remote.cache()` and is removed when its bucket has all of it; one that
is found at the start was left by a run that could not copy its end.
"""

from __future__ import annotations

import contextlib
import json
import os
import pathlib
import posixpath
import shutil
import threading
import time
from collections.abc import Callable, Collection, Iterator
from typing import Any

import jax
from absl import logging
from etils import epath

from data import remote
from edtn_jax import agreement, checkpoints
from edtn_jax import workdir as workdir_lib

_COPY_EVERY_S = 60.0
# The last copy is tried again, within what a machine grants after SIGTERM.
_LAST_ATTEMPTS = 3
_PAUSE_S = 3.0
_FOLDER = 'runs'
_REMEDY = (
  'A run in s3:// is written on one machine and copied from there. For several '
  'machines choose a --workdir in gs://, or in a shared or mounted directory, '
  'or set EDTN_REMOTE_CACHE to one.'
)


def is_needed(workdir: str | os.PathLike) -> bool:
  """Whether a run cannot be written where it shall be."""
  return os.fspath(workdir).startswith('s3://')


def cache() -> pathlib.Path:
  """Where runs are written that are copied to a bucket."""
  return remote.cache() / _FOLDER


class Mirror:
  """Where a run is written.

  Attributes:
    folder: the run's directory, which may be local while its bucket is not.
  """

  def __init__(self, folder: epath.Path, copier: _Copier | None = None):
    self.folder = folder
    self._copier = copier

  def follow(self, kept: Callable[[], Collection[int]]) -> None:
    """Copies to the bucket from now on, if there is one, about once a minute.

    Args:
      kept: gives the steps of the checkpoints that are not being removed.
    """
    if self._copier:
      self._copier.start(kept)


@contextlib.contextmanager
def opened(
  workdir: str | os.PathLike, *, fresh: bool = False
) -> Iterator[Mirror]:
  """Gives a run a directory that can be written.

  What its bucket holds of the run has been brought there; what the block writes
  is in the bucket when it has ended. Every process must call it.

  Args:
    workdir: of the run; one that is not in `s3://` is used as it is.
    fresh: whether it holds no run, and an error shall leave none.

  Yields:
    Where to write.

  Raises:
    WorkdirError: if another process of this machine trains in it, or processes
      of several machines shall.
    RemotePathError: if the bucket cannot be reached or written; at the end it
      says where the run is.
  """
  if not is_needed(workdir):
    yield Mirror(epath.Path(workdir))
    return
  uri = os.fspath(workdir).rstrip('/')
  copier = _Copier(uri) if jax.process_index() == 0 else None
  place = remote.place_of(uri, cache().absolute())
  with contextlib.ExitStack() as stack:
    if copier:
      place.mkdir(parents=True, exist_ok=True)
      # Beside the folder, which is replaced by what is brought.
      lock = place.with_suffix('.lock')
      lock.touch()
      stack.enter_context(workdir_lib.claim(lock, uri))
    agreement.check_shared_directory(epath.Path(place), _REMEDY)
    if copier:
      copier.begin(place, fresh=fresh)
    agreement.meet('mirror is there')
    try:
      yield Mirror(epath.Path(place / posixpath.basename(uri)), copier)
    except BaseException as error:
      if copier:
        copier.abandon(error, fresh=fresh)
      raise
    # The folder is removed: nobody may look into it any more.
    agreement.meet('mirror is written')
    if copier:
      copier.finish()
    agreement.meet('mirror is copied')


class _Copier:
  """Keeps the copy of a run in its bucket like the run.

  Args:
    uri: of the run, in a bucket.
  """

  def __init__(self, uri: str):
    self._uri = uri
    # Name -> size and time of what the bucket has.
    self._copied: dict[str, tuple[int, int]] = {}
    # Steps of which the bucket has objects; those that are not what is here;
    # and those that this process has marked as not whole.
    self._there: set[int] = set()
    self._stale: set[int] = set()
    self._marked: set[int] = set()
    self._kept: Callable[[], Collection[int]] | None = None
    self._stop = threading.Event()
    self._thread: threading.Thread | None = None

  def begin(self, place: pathlib.Path, *, fresh: bool) -> None:
    """Brings the run here, unless what was left here goes further."""
    self._place = place
    self._folder = place / posixpath.basename(self._uri)
    listed = remote.objects(self._uri)
    # Not after hours of training.
    self._check_writable()
    whole = remote.whole(listed)
    if fresh or not self._is_ahead(whole):
      shutil.rmtree(place)
      if whole and not fresh:
        remote.download(self._uri, whole, place)
      else:
        place.mkdir()
        remote.store_listing(self._uri, {}, place)
    else:
      logging.warning(
        '%s goes on from %s, which did not reach it', self._uri, self._folder
      )
    self._compare(listed, whole)

  def _check_writable(self) -> None:
    probe = f'{self._uri}/.writable'
    remote.put_bytes(b'', probe)
    remote.remove(probe)

  def _is_ahead(self, whole: dict[str, list[Any]]) -> bool:
    """Whether the folder here is of the bucket's run, and has newer steps."""
    here = max(checkpoints.finished_steps(self._folder), default=-1)
    if here <= max(_steps(whole), default=-1):
      return False
    ours = self._folder / workdir_lib.PROVENANCE
    if workdir_lib.PROVENANCE not in whole:
      # The bucket had the run and lost it, or never got anything of it.
      return not (remote.stored_listing(self._place) or {}).get('objects')
    theirs = remote.get_bytes(f'{self._uri}/{workdir_lib.PROVENANCE}')
    return ours.is_file() and _beginning(ours.read_bytes()) == _beginning(
      theirs
    )

  def _compare(
    self, listed: dict[str, list[Any]], whole: dict[str, list[Any]]
  ) -> None:
    """Finds out what the bucket has of the folder."""
    for name, (size, _) in whole.items():
      file = self._folder / name
      if file.is_file() and file.stat().st_size == size:
        self._copied[name] = _state(file)
    self._there = _steps(listed)
    for step in self._there:
      prefix = _prefix(step)
      theirs = {n for n in listed if n.startswith(prefix)}
      if theirs != set(self._files(prefix)) or not theirs <= set(self._copied):
        self._stale.add(step)

  def start(self, kept: Callable[[], Collection[int]]) -> None:
    """Copies about once a minute, in a thread."""
    self._kept = kept
    self._thread = threading.Thread(
      target=self._run, name='edtn-mirror', daemon=True
    )
    self._thread.start()

  def _run(self) -> None:
    while not self._stop.wait(_COPY_EVERY_S):
      try:
        self.copy()
      except (remote.RemotePathError, OSError) as error:
        logging.warning('The run does not reach its bucket, for now: %s', error)

  def copy(self, *, last: bool = False) -> None:
    """Makes the bucket's copy like the folder; whole checkpoints only.

    Args:
      last: whether nothing writes to the folder any more. The result is copied
        then, after all the rest: a run that has one has everything else.
    """
    # Looked at first: what is gone by then has a successor that is there now.
    before = set(checkpoints.finished_steps(self._folder))
    now = set(checkpoints.finished_steps(self._folder))
    for step in sorted(self._stale):
      self._remove_step(step)
    self._put_loose(lambda name: name != workdir_lib.RESULT)
    for step in sorted(now):
      self._put_step(step)
    for step in sorted(self._there - before - now):
      self._remove_step(step)
    if last:
      self._put_loose(lambda name: name == workdir_lib.RESULT)
    listed = {name: [size, ''] for name, (size, _) in self._copied.items()}
    remote.store_listing(self._uri, listed, self._place)

  def _put_loose(self, wanted: Callable[[str], bool]) -> None:
    """Copies what is no checkpoint, and not hidden."""
    for name in self._files(''):
      parts = name.split('/')
      hidden = any(part.startswith('.') for part in parts)
      if parts[0] == workdir_lib.CHECKPOINTS or hidden or not wanted(name):
        continue
      with contextlib.suppress(FileNotFoundError):  # written under two names
        self._put(name)

  def _put_step(self, step: int) -> None:
    """Copies a checkpoint, which is marked until all of it is there."""
    names = self._files(_prefix(step))
    # A step leaves this set before its first file is removed: one that is still
    # in it now was seen whole.
    if self._kept is not None and step not in self._kept():
      return
    try:
      changed = any(self._has_changed(name) for name in names)
      if not changed and step not in self._marked:
        return
      self._mark(step)
      for name in names:
        self._put(name)
    except FileNotFoundError:  # Removed since: stays marked, until it is there.
      return
    self._unmark(step)

  def _remove_step(self, step: int) -> None:
    """Removes a checkpoint, which is marked until nothing of it is there."""
    prefix = _prefix(step)
    self._mark(step)
    for name in remote.objects(f'{self._uri}/{prefix}'.rstrip('/')):
      if name != remote.INCOMPLETE:
        remote.remove(f'{self._uri}/{prefix}{name}')
    for name in [n for n in self._copied if n.startswith(prefix)]:
      del self._copied[name]
    self._unmark(step)
    self._there.discard(step)
    self._stale.discard(step)

  def _mark(self, step: int) -> None:
    self._there.add(step)
    self._marked.add(step)
    remote.put_bytes(b'', f'{self._uri}/{_prefix(step)}{remote.INCOMPLETE}')

  def _unmark(self, step: int) -> None:
    remote.remove(f'{self._uri}/{_prefix(step)}{remote.INCOMPLETE}')
    self._marked.discard(step)

  def _has_changed(self, name: str) -> bool:
    return self._copied.get(name) != _state(self._folder / name)

  def _put(self, name: str) -> None:
    """Copies a file, unless the bucket has it."""
    file = self._folder / name
    # Before it is read: what is appended meanwhile is copied the next time.
    state = _state(file)
    if self._copied.get(name) != state:
      remote.put(file, f'{self._uri}/{name}')
      self._copied[name] = state

  def _files(self, prefix: str) -> list[str]:
    """Names of all files below a folder; '' is the run's."""
    found = []
    for place, _, names in os.walk(self._folder / prefix):
      inner = pathlib.Path(place).relative_to(self._folder)
      found += [(inner / name).as_posix() for name in names]
    return sorted(found)

  def finish(self) -> None:
    """Copies what is left, and removes the folder.

    Raises:
      RemotePathError: if that fails; the folder stays.
    """
    self._end_thread()
    for attempts_left in reversed(range(_LAST_ATTEMPTS)):
      try:
        self.copy(last=True)
        break
      except (remote.RemotePathError, OSError) as error:
        if not attempts_left:
          raise remote.RemotePathError(
            f'{error}. Nothing is lost: all is in {self._folder}. Copy it from '
            'there, or train with the same command on this machine: it goes '
            'on from there.'
          ) from error
        logging.warning('%s is not whole, tries again: %s', self._uri, error)
        time.sleep(_PAUSE_S)
    shutil.rmtree(self._place)

  def abandon(self, error: BaseException, *, fresh: bool) -> None:
    """Ends after an error, which is the one to tell."""
    self._end_thread()
    if fresh:
      shutil.rmtree(self._place)
    elif isinstance(error, Exception):
      try:
        self.finish()
      except remote.RemotePathError as failure:
        logging.error('%s', failure)
    else:  # somebody is in a hurry
      logging.warning(
        'What %s does not have yet is in %s', self._uri, self._folder
      )

  def _end_thread(self) -> None:
    self._stop.set()
    if self._thread:
      self._thread.join()


def _prefix(step: int) -> str:
  return f'{workdir_lib.CHECKPOINTS}/{step}/'


def _steps(names: Collection[str]) -> set[int]:
  """Steps of which there are objects."""
  parts = [name.split('/') for name in names]
  return {
    int(p[1])
    for p in parts
    if len(p) > 2 and p[0] == workdir_lib.CHECKPOINTS and p[1].isdigit()
  }


def _state(file: pathlib.Path) -> tuple[int, int]:
  found = file.stat()
  return found.st_size, found.st_mtime_ns


def _beginning(provenance: bytes) -> Any:
  """What tells one run from another: how it was started first."""
  return json.loads(provenance)['runs'][0]
