"""openloger turns long videos into 3-D: one pass, no optimisation afterwards, memory that does not grow.

import openloger
recording = openloger.reconstruct("walk.mp4", "out")
recording.world_from_cam, recording.points_world(0)
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
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
    from openloger.streaming import RigStream, Stream
    from openloger.values import Disagreement, Frame, FrameSource, PlacedWindow
    from openloger.version import __version__
    from openloger.viewing import plot_depth, plot_trajectory, show

_NAMES = {
    "openloger.errors": ("BadFrameError", "InputError", "OpenlogerError", "RecordingError", "WeightsError"),
    "openloger.export": ("export_recording",),
    "openloger.frames": ("open_frames",),
    "openloger.frames.lenses": ("read_camera", "undistorted"),
    "openloger.frames.live": ("LiveFrames", "LiveOptions", "open_live"),
    "openloger.network": ("Network", "load_network"),
    "openloger.pipeline.options": ("RunOptions",),
    "openloger.pipeline.reconstruct": ("reconstruct",),
    "openloger.recording": ("Recording", "open_recording"),
    "openloger.runtime.progress": ("Progress",),
    "openloger.streaming": ("RigStream", "Stream"),
    "openloger.values": ("Disagreement", "Frame", "FrameSource", "PlacedWindow"),
    "openloger.version": ("__version__",),
    "openloger.viewing": ("plot_depth", "plot_trajectory", "show"),
}
_HOMES = {name: module for module, names in _NAMES.items() for name in names}


def __getattr__(name: str) -> Any:
    """Imported when it is used, so that `import openloger` and `openloger --help` do not wait for torch."""
    if name in _HOMES:
        value = getattr(importlib.import_module(_HOMES[name]), name)
    else:
        try:
            value = importlib.import_module(f"openloger.{name}")  # a subpackage
        except ModuleNotFoundError as error:
            if error.name != f"openloger.{name}":
                raise
            raise AttributeError(f"module 'openloger' has no attribute {name!r}") from None
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})


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
    "RigStream",
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
