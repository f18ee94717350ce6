"""Pose vectors on disk: a CSV for people, an NPZ for programs.

Both are written as frames arrive and appear only when complete.
"""

from __future__ import annotations

import contextlib
import csv
import io
import json
import os
import pathlib
import tempfile
from collections.abc import Iterator, Sequence
from typing import IO

import numpy as np

from data import files, pose_vector

CSV_NAME = 'pose_vectors.csv'
NPZ_NAME = 'pose_vectors.npz'


@contextlib.contextmanager
def open_pose_files(folder: str | os.PathLike) -> Iterator[PoseFiles]:
  """Opens `pose_vectors.csv` and `pose_vectors.npz` in a folder.

  The CSV has the columns `frame` and `data.pose_vector.POSE_NAMES`, with six
  decimals. The NPZ holds `frame` [T] text, `columns` [20] text, `pose_vector`
  [T, 20] float32 and `network_output` [T, 17] float32: what the network said
  before smoothing, calibration and gain. It loads with `allow_pickle=False`.

  Frames go straight to the CSV and to raw temporary files, from which the NPZ
  is packed at the end through a memory map, so memory does not grow with
  length.

  Args:
    folder: an existing folder.

  Yields:
    The writer. When the block raises, files of an earlier run stay as they
    were.
  """
  folder = pathlib.Path(folder)
  with (
    files.atomic_writer(folder / CSV_NAME) as csv_file,
    tempfile.TemporaryFile('w+', encoding='utf-8') as names,
    tempfile.TemporaryFile() as poses,
    tempfile.TemporaryFile() as outputs,
  ):
    text = io.TextIOWrapper(csv_file, 'utf-8', newline='')
    try:
      writer = PoseFiles(text, names, poses, outputs)
      yield writer
    finally:
      text.detach()
    writer.pack(folder / NPZ_NAME)


class PoseFiles:
  """What `open_pose_files` yields.

  Attributes:
    frame_count: frames written so far.
  """

  def __init__(
    self,
    csv_file: IO[str],
    names: IO[str],
    poses: IO[bytes],
    outputs: IO[bytes],
  ):
    """Writes the header row; see `open_pose_files`."""
    self.frame_count = 0
    self._names, self._poses, self._outputs = names, poses, outputs
    self._name_width = 1
    self._csv = csv.writer(csv_file, lineterminator='\n')
    self._csv.writerow(['frame', *pose_vector.POSE_NAMES])

  def add(
    self,
    frames: Sequence[str],
    poses: np.ndarray,
    network_output: np.ndarray,
  ) -> None:
    """Writes the next frames.

    Args:
      frames: T frame names.
      poses: [T, 20] float, pose vectors.
      network_output: [T, 17] float.

    Raises:
      ValueError: if the shapes do not belong together.
    """
    count = len(frames)
    wanted = (
      (count, pose_vector.NUM_POSE),
      (count, pose_vector.NUM_COEFFICIENTS),
    )
    if (poses.shape, network_output.shape) != wanted:
      raise ValueError(
        f'{count} frames with pose vectors {poses.shape} and network output '
        f'{network_output.shape}, wanted {wanted[0]} and {wanted[1]}'
      )
    for name, row in zip(frames, poses.tolist(), strict=True):
      self._csv.writerow([name, *(f'{value:.6f}' for value in row)])
      # One line a name, whatever characters it has.
      self._names.write(json.dumps(name) + '\n')
      self._name_width = max(self._name_width, len(name))
    self._poses.write(np.asarray(poses, np.float32).tobytes())
    self._outputs.write(np.asarray(network_output, np.float32).tobytes())
    self.frame_count += count

  def pack(self, path: str | os.PathLike) -> None:
    """Packs everything added so far into an NPZ."""
    with tempfile.TemporaryFile() as packed_names:
      width = np.dtype(f'<U{self._name_width}')
      self._names.seek(0)
      for line in self._names:
        packed_names.write(np.array(json.loads(line), width).tobytes())
      count = self.frame_count
      output_shape = (count, pose_vector.NUM_COEFFICIENTS)
      files.write_npz(
        path,
        {
          'frame': _map(packed_names, width, (count,)),
          'columns': np.array(pose_vector.POSE_NAMES),
          'pose_vector': _map(
            self._poses, np.float32, (count, pose_vector.NUM_POSE)
          ),
          'network_output': _map(self._outputs, np.float32, output_shape),
        },
      )


def _map(file: IO[bytes], dtype, shape: tuple[int, ...]) -> np.ndarray:
  """The contents of a temporary file as an array that stays on disk."""
  file.flush()
  if not shape[0]:
    return np.zeros(shape, dtype)
  return np.memmap(file, dtype, 'r', shape=shape)
