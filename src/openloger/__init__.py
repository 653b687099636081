"""openloger turns long videos into 3-D: one pass, no optimisation afterwards, memory that does not grow.

import openloger
recording = openloger.reconstruct("walk.mp4", "out")
recording.world_from_cam, recording.points_world(0)
"""

from typing import Any

from openloger import export, worlds
from openloger.errors import BadFrameError, InputError, OpenlogerError, RecordingError, WeightsError
from openloger.frames import Frame, FrameSource, open_frames
from openloger.network import Network, load_network
from openloger.reconstruct import RunOptions, reconstruct
from openloger.recording import Recording, open_recording
from openloger.recording.looks import look_with
from openloger.streaming import PlacedWindow, Stream
from openloger.version import __version__

__all__ = [
    "BadFrameError",
    "Frame",
    "FrameSource",
    "InputError",
    "Network",
    "OpenlogerError",
    "PlacedWindow",
    "Recording",
    "RecordingError",
    "RunOptions",
    "Stream",
    "WeightsError",
    "__version__",
    "export",
    "load_network",
    "open_frames",
    "open_recording",
    "reconstruct",
    "worlds",
]


def _viewing() -> Any:
    """Loaded when a recording is first looked at."""
    from openloger import viewing

    return viewing


look_with(_viewing)
