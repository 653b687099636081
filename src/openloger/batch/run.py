"""A batch: what is left to do of a list of videos, given to workers; their results gathered in an index."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field, replace
from pathlib import Path

from openloger.batch.index import INDEX_FILE, Index
from openloger.batch.listing import Video
from openloger.batch.storage import Storage, version_of
from openloger.batch.video import (
    RESULTS_FOLDER,
    VideoJob,
    VideoResult,
    request_of,
    video_key,
    write_result,
)
from openloger.batch.workers import Finished, PoolProgress, WorkerPool, WorkerResources, import_ray
from openloger.export.formats import find_format
from openloger.frames.world import PREFIX
from openloger.network import NetworkSpec
from openloger.outputs import one_at_a_time
from openloger.pipeline.options import DEFAULT_NETWORK
from openloger.recording.layout import COMMITTED_FILE
from openloger.version import __version__

LEAST_FREE_BYTES = 10 * 10**9
_INDEX_EVERY_S = 600.0
_READ_AT_ONCE = 32  # videos of an earlier run, by threads: an object store answers in tens of milliseconds
_LOCK_FILE = "lock"


@dataclass(frozen=True, kw_only=True)
class BatchOptions:
    """Options of a batch; those of a single video are its own."""

    network: NetworkSpec = field(default_factory=lambda: NetworkSpec(DEFAULT_NETWORK))
    exports: tuple[str, ...] = ()  # formats that each complete recording is exported to
    workers: WorkerResources = field(default_factory=WorkerResources)
    least_free_bytes: int = LEAST_FREE_BYTES  # of a worker's disk; below it no video is begun
    scratch: Path | None = None  # on every worker, for files from and to other file systems; None: the system's place
    retry_failed: bool = True  # those that failed in an earlier run
    max_memory_gb: float | None = None  # 10⁹ bytes, of each worker, as of `RunOptions`


@dataclass(frozen=True)
class BatchProgress:
    """A moment of a batch."""

    done: int  # videos, those of earlier runs and failed ones included
    failed: int
    total: int
    frames: int  # of this run, videos in hand included
    seconds: float  # of this run
    done_now: int  # videos of this run
    notes: tuple[str, ...]  # what workers wait for

    @property
    def frames_per_s(self) -> float:
        return self.frames / self.seconds if self.seconds else 0.0

    @property
    def remaining_s(self) -> float | None:
        """As if the videos that are left were like those of this run."""
        return (self.total - self.done) * self.seconds / self.done_now if self.done_now else None


@dataclass(frozen=True)
class BatchSummary:
    """The end of a batch."""

    index: str  # the address of the index
    videos: int
    complete: int  # those of earlier runs included
    already_complete: int
    failed: tuple[VideoResult, ...]
    frames: int  # of this run
    seconds: float
    workers: int

    @property
    def left(self) -> int:
        """Videos that an interrupt left for the next run."""
        return self.videos - self.complete - len(self.failed)


def run_batch(
    videos: Sequence[Video],
    out: str,
    options: BatchOptions | None = None,
    *,
    on_result: Callable[[VideoResult], None] = lambda result: None,
    on_progress: Callable[[BatchProgress], None] = lambda progress: None,
    should_stop: Callable[[], bool] = lambda: False,
) -> BatchSummary:
    """Reconstruct every video into a folder of its name below `out`, a path or an address that fsspec reads.

    What an earlier run has done is kept, and an unfinished recording continued, as `reconstruct` does with
    `existing="resume"`. A video that fails is reported in its result and does not stop the others. Once `should_stop`
    is true the windows in hand are finished.

    Raises:
        InputError: the options, the output or the network cannot be used, or Ray is missing.
    """
    options = options or BatchOptions()
    for name in options.exports:
        find_format(name)
    import_ray()
    storage = Storage(out)
    job = _job(storage, options)
    with _alone(storage):
        index = Index(storage)
        done, waiting = _divide(videos, index, job, storage, retry_failed=options.retry_failed)
        counts = _Counts(len(videos), done, on_progress)
        workers = 0
        if waiting:
            with WorkerPool(job, _enough(options.workers, len(waiting))) as pool:
                workers = pool.worker_count
                for finished in pool.run(waiting, on_progress=counts.update, should_stop=should_stop):
                    result = _result(finished, storage, job)
                    if result.state != "interrupted":
                        index.add(result)
                    counts.add(result)
                    on_result(result)
                    if counts.is_time_for_index():
                        index.write()
        index.write()
    return BatchSummary(
        index=storage.at(INDEX_FILE),
        videos=len(videos),
        complete=counts.complete,
        already_complete=sum(result.state == "complete" for result in done),
        failed=tuple(counts.failed),
        frames=counts.frames,
        seconds=counts.seconds,
        workers=workers,
    )


class _Counts:
    """The results so far."""

    def __init__(self, total: int, done: Iterable[VideoResult], on_progress: Callable[[BatchProgress], None]) -> None:
        earlier = list(done)
        self._total, self._on_progress, self._began_s = total, on_progress, time.perf_counter()
        self._indexed_s = self._began_s
        self.failed = [result for result in earlier if result.state == "failed"]
        self.complete = len(earlier) - len(self.failed)
        self._done_now, self.frames = 0, 0

    @property
    def seconds(self) -> float:
        return time.perf_counter() - self._began_s

    def add(self, result: VideoResult) -> None:
        self.frames += result.frames
        self._done_now += result.state != "interrupted"
        self.complete += result.state == "complete"
        if result.state == "failed":
            self.failed.append(result)

    def update(self, pool: PoolProgress) -> None:
        done = self.complete + len(self.failed)
        moment = BatchProgress(
            done,
            len(self.failed),
            self._total,
            self.frames + pool.done,
            self.seconds,
            self._done_now,
            pool.notes,
        )
        self._on_progress(moment)

    def is_time_for_index(self) -> bool:
        now_s = time.perf_counter()
        if now_s - self._indexed_s < _INDEX_EVERY_S:
            return False
        self._indexed_s = now_s
        return True


def _job(storage: Storage, options: BatchOptions) -> VideoJob:
    scratch = options.scratch or Path(tempfile.gettempdir()) / f"openloger-batch-{video_key(storage.address)[:12]}"
    return VideoJob(
        options.network,
        storage.address,
        options.exports,
        str(scratch.absolute()),
        options.least_free_bytes,
        options.max_memory_gb,
    )


def _enough(resources: WorkerResources, videos: int) -> WorkerResources:
    """No more workers than videos, where their number was chosen."""
    return resources if resources.workers is None else replace(resources, workers=min(resources.workers, videos))


def _alone(storage: Storage) -> AbstractContextManager[None]:
    """One batch at a time in a folder; at an address nothing can be locked."""
    folder = storage.path(RESULTS_FOLDER)
    if folder is None:
        return nullcontext()
    return one_at_a_time(folder / _LOCK_FILE, at=storage.address, other="another batch is writing there")


def _divide(
    videos: Sequence[Video], index: Index, job: VideoJob, storage: Storage, *, retry_failed: bool
) -> tuple[list[VideoResult], list[Video]]:
    """The results that stand, and the videos that are to be done."""
    done: list[VideoResult] = []
    waiting: list[Video] = []

    def standing(video: Video) -> VideoResult | None:
        result = index.get(video.name)
        if result is None or (result.state == "failed" and retry_failed) or result.request != request_of(video, job):
            return None
        is_there = result.state == "failed" or storage.exists(f"{video.name}/{COMMITTED_FILE}")
        return result if is_there and _version(video) == result.source_version else None

    with ThreadPoolExecutor(_READ_AT_ONCE) as threads:
        for video, result in zip(videos, threads.map(standing, videos), strict=True):
            if result is None:
                waiting.append(video)
            else:
                done.append(result)
    return done, waiting


def _version(video: Video) -> str:
    return "" if video.source.startswith(PREFIX) else version_of(video.source)


def _result(finished: Finished[Video, VideoResult], storage: Storage, job: VideoJob) -> VideoResult:
    """The worker's result; where every attempt failed, one that says so, stored like the others."""
    video = finished.item
    if finished.result is not None:
        return replace(finished.result, attempts=finished.attempts)
    result = VideoResult(
        name=video.name,
        source=video.shown_source,
        state="failed",
        error=finished.error and finished.error.replace(video.source, video.shown_source),
        recording=storage.at(video.name),
        exports=(),
        request=request_of(video, job),
        source_version=_version(video),
        network=job.spec.network,
        weights_hash=None,
        openloger_version=__version__,
        finished_at_s=time.time(),
        attempts=finished.attempts,
    )
    write_result(storage, result)
    return result
