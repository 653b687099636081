"""Where frames come from: a video, a folder, a list, standard input, a test world, or memory; always lazy.

source = open_frames("walk.mp4", stride=2)
for frame in run_ahead(resized(source, (434, 574)).frames()):
    ...

And what goes on while it is read: cameras, streams, files being written, folders being filled.

camera = open_live("0")
"""

from openloger.frames.ahead import run_ahead
from openloger.frames.feeds import Patience, is_captured
from openloger.frames.frame import Frame, FrameSource
from openloger.frames.live import LiveFrames, LiveOptions, open_live
from openloger.frames.opening import open_frames
from openloger.frames.sizing import network_size, resize_rgb, resized

__all__ = [
    "Frame",
    "FrameSource",
    "LiveFrames",
    "LiveOptions",
    "Patience",
    "is_captured",
    "network_size",
    "open_frames",
    "open_live",
    "resize_rgb",
    "resized",
    "run_ahead",
]
