"""Buckets for tests: `gs://` and `s3://` that are folders of this machine.

Google's storage is reached in three ways, and all of them are made to end in
the same folder: epath's and ours through fsspec, Orbax's arrays through
tensorstore, and its question whether the bucket has real folders.
"""

import importlib
import pathlib

import pytest
from fsspec.implementations.local import LocalFileSystem


def _bucket(scheme, folder):
  class Bucket(LocalFileSystem):
    protocol = (scheme,)
    cachable = False

    def __init__(self, **options):
      # Buckets have no folders to make.
      super().__init__(auto_mkdir=True, **options)

    @classmethod
    def _strip_protocol(cls, path):
      path = str(path).replace(f'{scheme}://', f'{folder}/', 1)
      return super()._strip_protocol(path)

    def glob(self, path, **kwargs):
      found = super().glob(path, **kwargs)
      return [name.removeprefix(f'{folder}/') for name in found]

  return Bucket


def make_buckets(
  monkeypatch: pytest.MonkeyPatch, folder: pathlib.Path
) -> dict[str, pathlib.Path]:
  """Makes both; everything is undone after the test.

  Args:
    monkeypatch: undoes it.
    folder: for what they hold, and for the copies of it.

  Returns:
    Scheme to the folder that its buckets are in.
  """
  backend = importlib.import_module('etils.epath.backend')
  # The package has an attribute of the same name.
  registry = importlib.import_module('fsspec.registry')
  tensorstore = importlib.import_module(
    'orbax.checkpoint._src.serialization.tensorstore_utils'
  )
  gcs = importlib.import_module('orbax.checkpoint._src.path.gcs_utils')
  places = {scheme: folder / scheme for scheme in ('gs', 's3')}
  classes = {scheme: _bucket(scheme, place) for scheme, place in places.items()}
  classes['gcs'] = classes['gs']
  for name, bucket in classes.items():
    monkeypatch.setitem(registry._registry, name, bucket)
  monkeypatch.setattr(
    backend.fsspec_backend, '_get_filesystem', lambda name: classes[name]()
  )
  monkeypatch.setattr(tensorstore, '_use_gcs_driver', lambda _: False)
  monkeypatch.setattr(
    tensorstore,
    '_normalize_path',
    lambda path: str(path).replace('gs://', f'{places["gs"]}/', 1),
  )
  monkeypatch.setattr(gcs, 'is_hierarchical_namespace_enabled', lambda _: False)
  for place in places.values():
    place.mkdir(parents=True)
  monkeypatch.setenv('EDTN_REMOTE_CACHE', str(folder / 'cache'))
  return places
