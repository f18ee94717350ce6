"""Moving pictures on disk: MP4, GIF, WebP and folders of PNG."""

from data.video.base import VideoError, VideoWriter
from data.video.writer import open_video_writer

__all__ = ['VideoError', 'VideoWriter', 'open_video_writer']
