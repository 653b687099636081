"""Where frames come from: a video, a folder, a list, standard input, a test world, or memory; always lazy.

source = open_frames("walk.mp4", stride=2)
for frame in prefetch(resized(source, (434, 574)).frames()):
    ...

Sources that go on while they are read (cameras, streams, growing files and folders) are in `frames.live`.
"""

from openloger.frames.open import open_frames
from openloger.frames.resize import resize_frame, resize_rgb, resized

__all__ = [
    "open_frames",
    "resize_frame",
    "resize_rgb",
    "resized",
]
