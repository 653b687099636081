"""`openloger batch`: many videos in, a recording each."""

from __future__ import annotations

import json as json_module
import os
import signal
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path
from typing import Annotated, Literal

import tyro

from openloger.batch import (
    BatchOptions,
    BatchProgress,
    BatchSummary,
    VideoOptions,
    VideoResult,
    WorkerResources,
    list_videos,
    run_batch,
)
from openloger.cli import EXIT_BAD_INPUT, EXIT_INTERRUPTED
from openloger.cli.arguments import MemoryArguments, StorageArguments, WindowArguments
from openloger.cli.terminal import print_status, printable
from openloger.errors import InputError, counted
from openloger.frames.masks import PREDICTED
from openloger.network import NetworkSpec
from openloger.pipeline.options import DEFAULT_NETWORK
from openloger.runtime.interrupts import stop_requests

_LINE_EVERY_S = 30.0  # where no bar is drawn


@dataclass(frozen=True)
class BatchArguments:
    """The options that most batches need."""

    out: Annotated[str, tyro.conf.arg(aliases=["-o"])]
    """The folder of all recordings and of their index: a path, or an address such as s3://bucket/walks."""
    network: str = DEFAULT_NETWORK
    """A preset; `openloger networks` lists them."""
    weights: str | None = None
    """A file, a folder, a Hugging Face id (user/repo), or "random". By default what the box or the hub has."""
    device: str = "auto"
    """cpu, cuda, mps, or auto."""
    dtype: str = "auto"
    """float32, bfloat16, float16, or auto: bfloat16 where the device is fast in it (`openloger info --device`)."""
    export: tuple[
        Literal["ply", "splat", "las", "laz", "mesh", "glb", "colmap", "nerfstudio", "tum", "kitti", "usd", "rerun"],
        ...,
    ] = ()
    """Formats that every complete recording is exported to, beside it."""
    skip_failed: bool = False
    """Leave videos alone that failed in an earlier run; by default they are tried again."""
    json: bool = False
    """Print a summary for programs on standard output."""


@dataclass(frozen=True)
class PoolArguments:
    """The number of workers, and where they run."""

    workers: int | None = None
    """Number of workers; by default as many as there is room for."""
    cpus_per_worker: int = 1
    """CPUs, and torch's threads, of each."""
    gpus_per_worker: float | None = None
    """GPUs of each; 0.25 puts four workers of a small network on one card. By default one card each, where there are
    any."""
    ray_address: str | None = None
    """A Ray cluster, as "auto" or HOST:6379; by default Ray runs on this machine. openloger must be installed there,
    and the paths be the same."""

    def resources(self) -> WorkerResources:
        return WorkerResources(
            workers=self.workers,
            cpus_per_worker=self.cpus_per_worker,
            gpus_per_worker=self.gpus_per_worker,
            address=self.ray_address,
        )


@dataclass(frozen=True)
class WorkerArguments(MemoryArguments, PoolArguments):
    """Workers; each reconstructs one video at a time."""

    attempts: int = 3
    """At one video, where a worker dies or a disk fails, before it is reported as failed."""
    stall_minutes: float = 30.0
    """Without a window done, after which a worker is replaced and its video tried again; 0: never."""
    min_free_gb: float = 10.0
    """A worker begins no video while its disk has less room; it waits."""
    scratch: Path | None = None
    """A folder on each worker for copies of files that come from, or go to, an address. By default one in /tmp."""

    def resources(self) -> WorkerResources:
        if self.stall_minutes < 0:
            raise InputError(f"--stall-minutes is {self.stall_minutes:g}: give 0 or more")
        stall_s = 60 * self.stall_minutes or None
        return replace(super().resources(), attempts=self.attempts, stall_s=stall_s)


@dataclass(frozen=True)
class VideoArguments(StorageArguments, WindowArguments):
    """Options of every video; a table's row may have its own."""

    start: int = 0
    """First frame of a source to take."""
    stop: int | None = None
    """First frame not to take."""
    stride: int = 1
    """Take every Nth frame."""
    fps: float | None = None
    """Take at most this many frames a second, by their timestamps."""
    on_bad_frame: Literal["stop", "repeat", "skip"] = "stop"
    """Action on a frame that cannot be decoded."""
    size: tuple[int, int] | None = None
    """Height and width of the network's input, in pixels. By default the network's own, at the video's aspect."""

    def of_a_video(self) -> VideoOptions:
        """Raises InputError where --camera or --intrinsics cannot be used."""
        camera = self.options(resume=True, overwrite=False).camera  # it is read once, here, to find what is wrong
        names = {field.name for field in fields(VideoOptions)} - {"camera", "mask", "mask_static"}
        masks = tuple(one if one in PREDICTED else os.path.abspath(one) for one in self.mask)
        static = None if self.mask_static is None else os.path.abspath(self.mask_static)
        text = self.camera if self.intrinsics is None or camera is None else getattr(camera, "text", None)
        return VideoOptions(
            camera=text, mask=masks, mask_static=static, **{name: getattr(self, name) for name in names}
        )


def batch(
    sources: tyro.conf.Positional[tuple[str, ...]],
    /,
    *,
    usual: tyro.conf.OmitArgPrefixes[BatchArguments],
    workers: tyro.conf.OmitArgPrefixes[WorkerArguments] = WorkerArguments(),
    videos: tyro.conf.OmitArgPrefixes[VideoArguments] = VideoArguments(),
) -> int:
    """Reconstruct many videos on Ray's workers: a recording each, and an index of all with quality figures.

    Given again, the same command goes on: what is complete stays, what was cut off is continued. A video that fails is
    reported, and the others go on. Ctrl-C finishes the windows in hand.

    Args:
        sources: Folders of videos, globs, lists (.txt), tables (.csv, .parquet: source, name, options), or videos;
            paths, or addresses such as s3://bucket/walks.
    """
    if workers.min_free_gb < 0:
        raise InputError(f"--min-free-gb is {workers.min_free_gb}: give 0 or more")
    options = BatchOptions(
        network=NetworkSpec(usual.network, usual.weights, usual.device, usual.dtype),
        exports=usual.export,
        workers=workers.resources(),
        least_free_bytes=int(workers.min_free_gb * 1e9),
        scratch=workers.scratch,
        retry_failed=not usual.skip_failed,
        max_memory_gb=workers.max_memory_gb,
    )
    listed = list_videos(sources, videos.of_a_video())
    with stop_requests((signal.SIGINT, signal.SIGTERM), on_request=_announce_stop) as stopping, _progress() as show:
        summary = run_batch(
            listed, usual.out, options, on_result=_report_failure, on_progress=show, should_stop=stopping
        )
    _print_summary(summary, as_json=usual.json)
    if summary.left:
        return EXIT_INTERRUPTED
    return EXIT_BAD_INPUT if summary.failed else 0


def _announce_stop() -> None:
    print("openloger: finishing the windows in hand; again to stop at once", file=sys.stderr)


def _report_failure(result: VideoResult) -> None:
    if result.state == "failed":
        print_status(f"openloger: {result.name}: failed: {result.error}")


def _print_summary(summary: BatchSummary, *, as_json: bool) -> None:
    if as_json:
        value = asdict(summary) | {"failed": {one.name: one.error for one in summary.failed}, "left": summary.left}
        print(json_module.dumps(value))
        return
    before = f", {summary.already_complete} of them before" if summary.already_complete else ""
    failed = f", {len(summary.failed)} failed" if summary.failed else ""
    left = f", {summary.left} left; the same command goes on" if summary.left else ""
    print_status(
        f"{summary.complete} of {counted(summary.videos, 'video')} complete{before}{failed}{left}; "
        f"{counted(summary.frames, 'frame')} in {summary.seconds:.0f} s on {counted(summary.workers, 'worker')}"
    )
    print(printable(summary.index))


@contextmanager
def _progress() -> Iterator[Callable[[BatchProgress], None]]:
    """A bar over the videos where standard error is a terminal; elsewhere a line now and then."""
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, SpinnerColumn, TextColumn
    from rich.progress import Progress as Bar

    is_terminal = sys.stderr.isatty()
    columns = (
        SpinnerColumn(),
        TextColumn("videos"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("{task.fields[text]}"),
    )
    with Bar(*columns, console=Console(stderr=True), disable=not is_terminal) as bar:
        task, said_s, noted = bar.add_task("", total=None, text=""), time.monotonic(), ""

        def show(progress: BatchProgress) -> None:
            nonlocal said_s, noted
            bar.update(task, completed=progress.done, total=progress.total, text=progress_text(progress))
            if not is_terminal and time.monotonic() - said_s >= _LINE_EVERY_S:
                said_s = time.monotonic()
                done = f"{progress.done} of {counted(progress.total, 'video')}"
                print_status(f"openloger: {done} · {progress_text(progress)}")
            note = progress.notes[0] if progress.notes else ""
            if note and not noted:
                print_status(f"openloger: waiting: {note}")
            noted = note

        yield show


def progress_text(progress: BatchProgress) -> str:
    """Speed, time left and failures."""
    parts = [f"{progress.frames_per_s:.1f} frames/s"]
    if (left := progress.remaining_s) is not None:
        parts.append(f"{int(left) // 3600}:{int(left) // 60 % 60:02d}:{int(left) % 60:02d} left")
    if progress.failed:
        parts.append(f"{progress.failed} failed")
    return " · ".join(parts)
