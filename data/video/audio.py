"""Takes the sound of a file over into an MP4."""

from __future__ import annotations

import fractions
import os
import pathlib
from collections.abc import Iterator
from typing import Any

from absl import logging

from data.video.file_reader import first_picture_s, open_container

# What every player expects in MP4; all else becomes AAC.
_COPIED = frozenset({'aac', 'mp3'})
_CODEC, _BIT_RATE = 'aac', 160_000
# Rates that AAC can be encoded at (ISO/IEC 14496-3, table 1.18).
_RATES = frozenset(
  {8000, 11025, 12000, 16000, 22050, 24000, 32000, 44100, 48000, 64000}
  | {88200, 96000}
)
_OTHER_RATE = 48000


class AudioTrack:
  """Sound of a file, given out piece by piece beside the pictures.

  Time 0 is the file's first picture, as for a `VideoReader`; what sounds
  before is left out. Packets are copied where they are AAC or MP3, so nothing
  is lost; else they are encoded as AAC, stereo at most. Where the sound cannot
  be read further it ends, with a warning: the pictures are what matters.

  Attributes:
    exists: whether the file has sound.
  """

  def __init__(self, av: Any, path: str | os.PathLike):
    """Opens the file.

    Args:
      av: PyAV.
      path: a file with or without sound, with or without pictures.

    Raises:
      VideoError: if the file cannot be read.
    """
    self._av = av
    self._path = pathlib.Path(path)
    self._start = first_picture_s(av, self._path)
    self._container = open_container(av, self._path)
    audio = self._container.streams.audio
    self._source = next((s for s in audio if s.codec_context), None)
    self.exists = self._source is not None
    self._packets: Iterator[Any] = iter(())
    self._next: Any = None

  def attach(self, output: Any) -> None:
    """Adds the stream to a container before anything is written there.

    Args:
      output: PyAV's container.
    """
    if not self.exists:
      return
    try:
      packets = self._packets_for(output)
    # A codec that MP4 cannot hold, or sound that no encoder takes.
    except (self._av.error.FFmpegError, ValueError) as error:
      logging.warning(
        '%s: its sound cannot be taken over (%s); the result is silent',
        self._path,
        error,
      )
      self.exists = False
      return
    self._packets = self._as_far_as_good(packets)
    self._next = next(self._packets, None)

  def _packets_for(self, output: Any) -> Iterator[Any]:
    """Adds the stream; returns the packets to come in it."""
    context = self._source.codec_context
    if context.codec.canonical_name in _COPIED:
      stream = output.add_stream_from_template(self._source)
      return self._copied(stream)
    rate = context.rate if context.rate in _RATES else _OTHER_RATE
    # Not the layout's own name: plain samples have none.
    layout = 'mono' if context.channels == 1 else 'stereo'
    stream = output.add_stream(_CODEC, rate=rate, layout=layout)
    stream.bit_rate = _BIT_RATE
    return self._encoded(stream)

  def until(self, time_s: fractions.Fraction) -> Iterator[Any]:
    """Packets to be written next.

    Args:
      time_s: those whose middle is before this.

    Yields:
      PyAV's packets, in order, each once.
    """
    while self._next is not None and _middle_s(self._next) < time_s:
      yield self._next
      self._next = next(self._packets, None)

  def close(self) -> None:
    """Closes the file that was read."""
    self._next = None
    self._container.close()

  def _as_far_as_good(self, packets: Iterator[Any]) -> Iterator[Any]:
    try:
      yield from packets
    # ValueError: what the resampler says of sound that changes its kind.
    except (self._av.error.FFmpegError, ValueError) as error:
      logging.warning(
        '%s: its sound cannot be read to the end (%s); the rest stays silent',
        self._path,
        error,
      )

  def _copied(self, stream: Any) -> Iterator[Any]:
    for packet in self._container.demux(self._source):
      if packet.pts is None or not packet.size:
        continue
      shift = round(self._start / packet.time_base)
      packet.pts -= shift
      packet.dts = packet.pts if packet.dts is None else packet.dts - shift
      # A decoder needs the packet before the first that is heard.
      length = max(packet.duration or 0, 1)
      if packet.pts + 2 * length > 0:
        packet.stream = stream
        yield packet

  def _encoded(self, stream: Any) -> Iterator[Any]:
    for frame in self._container.decode(self._source):
      if frame.pts is None:
        continue
      frame.pts -= round(self._start / frame.time_base)
      if frame.pts * frame.time_base * frame.rate + frame.samples > 0:
        yield from stream.encode(frame)
    yield from stream.encode(None)


def _middle_s(packet: Any) -> fractions.Fraction:
  return (packet.pts + fractions.Fraction(packet.duration or 0, 2)) * (
    packet.time_base
  )
