"""Live sources: cameras, network streams, files being written, folders being filled, pipes.

camera = open_live("0")
"""

from openloger.frames.live.feeds import Patience, is_captured
from openloger.frames.live.source import LiveFrames, LiveOptions, open_live

__all__ = ["LiveFrames", "LiveOptions", "Patience", "is_captured", "open_live"]
