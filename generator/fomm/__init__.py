"""First-order motion model (FOMM), a baseline driven by images."""

from generator.fomm.config import FULL, TINY, FOMMConfig
from generator.fomm.keypoints import Keypoints
from generator.fomm.network import FirstOrderMotion

__all__ = ['FULL', 'TINY', 'FOMMConfig', 'FirstOrderMotion', 'Keypoints']
