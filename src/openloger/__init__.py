"""openloger turns long videos into 3-D: one pass, no optimisation afterwards, memory that does not grow.

import openloger
recording = openloger.reconstruct("walk.mp4", "out")
recording.world_from_cam, recording.points_world(0)
"""

from openloger import export, worlds
from openloger.errors import BadFrameError, InputError, OpenlogerError, RecordingError, WeightsError
from openloger.export import export_recording
from openloger.frames import open_frames
from openloger.frames.lenses import read_camera, undistorted
from openloger.frames.live import LiveFrames, LiveOptions, open_live
from openloger.network import Network, load_network
from openloger.pipeline.options import RunOptions
from openloger.pipeline.reconstruct import reconstruct
from openloger.recording import Recording, open_recording
from openloger.runtime.progress import Progress
from openloger.streaming import Stream
from openloger.values import Disagreement, Frame, FrameSource, PlacedWindow
from openloger.version import __version__
from openloger.viewing import plot_depth, plot_trajectory, show

__all__ = [
    "BadFrameError",
    "Disagreement",
    "Frame",
    "FrameSource",
    "InputError",
    "LiveFrames",
    "LiveOptions",
    "Network",
    "OpenlogerError",
    "PlacedWindow",
    "Progress",
    "Recording",
    "RecordingError",
    "RunOptions",
    "Stream",
    "WeightsError",
    "__version__",
    "export",
    "export_recording",
    "load_network",
    "open_frames",
    "open_live",
    "open_recording",
    "plot_depth",
    "plot_trajectory",
    "read_camera",
    "reconstruct",
    "show",
    "undistorted",
    "worlds",
]
