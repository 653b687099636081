"""Many videos, one recording each, on the workers of a Ray cluster or of this machine.

`openloger batch` is `run_batch`. What a recording holds is decided by `pipeline.reconstruct` alone: here it is only
decided where and when it runs, and what is kept of the result. `WorkerPool` runs any other work in the same way.
"""

from openloger.batch.listing import Video, VideoOptions, list_videos
from openloger.batch.run import BatchOptions, BatchProgress, BatchSummary, run_batch
from openloger.batch.video import VideoResult
from openloger.batch.workers import Finished, WorkerControl, WorkerPool, WorkerResources

__all__ = [
    "BatchOptions",
    "BatchProgress",
    "BatchSummary",
    "Finished",
    "Video",
    "VideoOptions",
    "VideoResult",
    "WorkerControl",
    "WorkerPool",
    "WorkerResources",
    "list_videos",
    "run_batch",
]
