"""A video of any length through the network, one window in hand at a time."""

from openloger.streaming.placement import Anchor, Placement, disagreement, place, rigid_from_overlap
from openloger.streaming.rig import RigState, RigStream
from openloger.streaming.sizing import network_size
from openloger.streaming.state import StreamState
from openloger.streaming.stream import Stream
from openloger.streaming.windows import windows

__all__ = [
    "Anchor",
    "Placement",
    "RigState",
    "RigStream",
    "Stream",
    "StreamState",
    "disagreement",
    "network_size",
    "place",
    "rigid_from_overlap",
    "windows",
]
