"""Speed and memory, measured the same way for `openloger bench`, for `benchmarks/` and for the tests.

A result names the machine, the versions and the settings that it was made with. What needs a peak of memory of its own
runs in a process of its own.
"""

from openloger.benchmarking.inputs import BenchmarkNetwork, MovingPicture, WorldVideo, write_clip
from openloger.benchmarking.ledger import Ledger

__all__ = ["BenchmarkNetwork", "Ledger", "MovingPicture", "WorldVideo", "write_clip"]
