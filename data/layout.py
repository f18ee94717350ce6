"""Where the files of a prepared data set of human codes are.

output_dir/
  .partial/                    work in progress, removed at the end
  deca_codes/1.0.0/            what `tfds.builder_from_directory` opens
    dataset_info.json, features.json
    deca_codes-<split>.array_record-*
    clips-<split>.npz          which record is whose, and how long
    manifest.json              counts, what was skipped and why
"""

from __future__ import annotations

import os
import pathlib

NAME = 'deca_codes'
FORMAT_VERSION = '1.0.0'

# Order in which splits are written and listed.
SPLITS = ('train', 'validation', 'test')

MANIFEST_NAME = 'manifest.json'
PARTIAL_NAME = '.partial'


def final_dir(output_dir: str | os.PathLike) -> pathlib.Path:
  """Where the finished data set of an output folder is."""
  return pathlib.Path(output_dir, NAME, FORMAT_VERSION)


def index_name(split: str) -> str:
  """File name of a split's clip index."""
  return f'clips-{split}.npz'
