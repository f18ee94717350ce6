"""Moving pictures: files, folders and cameras are read, files written."""

from data.video.base import VideoError, VideoWriter
from data.video.frames import VideoFrame, VideoReader
from data.video.reader import open_video
from data.video.writer import open_video_writer

__all__ = [
  'VideoError',
  'VideoFrame',
  'VideoReader',
  'VideoWriter',
  'open_video',
  'open_video_writer',
]
