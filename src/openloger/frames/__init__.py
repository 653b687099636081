"""Where frames come from: a video, a folder, a list, standard input, a test world, or memory; always lazy.

source = open_frames("walk.mp4", stride=2)
for frame in run_ahead(resized(source, (434, 574)).frames()):
    ...
"""

from openloger.frames.ahead import run_ahead
from openloger.frames.frame import Frame, FrameSource
from openloger.frames.opening import open_frames
from openloger.frames.sizing import network_size, resize_rgb, resized

__all__ = ["Frame", "FrameSource", "network_size", "open_frames", "resize_rgb", "resized", "run_ahead"]
