"""One video of a batch on a worker: fetched if it is elsewhere, reconstructed, exported, stored, and summed up."""

from __future__ import annotations

import hashlib
import json
import logging
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from openloger.batch.listing import Video
from openloger.batch.storage import Storage, download, local_path, upload_recording, version_of
from openloger.batch.workers import WorkerControl
from openloger.errors import OpenlogerError, RecordingError
from openloger.export import export_recording
from openloger.export.formats import find_format
from openloger.frames import open_frames
from openloger.frames.through import FramesThrough
from openloger.frames.world import PREFIX
from openloger.network import NetworkSpec, WindowNetwork
from openloger.network.kernels.choice import Kernels
from openloger.pipeline.options import RunOptions
from openloger.pipeline.reconstruct import reconstruct
from openloger.pipeline.resume import recording_to_resume
from openloger.recording import Recording, open_recording
from openloger.recording.meta import is_recording
from openloger.values import Frame
from openloger.version import __version__
from openloger.viewing.report.summary import summarise

_ROOM_POLL_S = 5.0
_LONGEST_WARNINGS = 20  # kept of one video


@dataclass(frozen=True, kw_only=True)
class VideoResult:
    """A row of the index. Lengths are in the recording's own unit; None: there is none, or it was not measured."""

    name: str
    source: str
    state: str  # complete, interrupted, or failed
    error: str | None  # where it failed
    recording: str  # its address
    exports: tuple[str, ...]  # their addresses
    request: str  # JSON of the source and the options
    source_version: str  # changes when the source does
    network: str
    weights_hash: str | None
    openloger_version: str
    finished_at_s: float  # since 1970
    attempts: int = 1
    frames: int = 0
    height: int | None = None
    width: int | None = None
    duration_s: float | None = None
    bytes: int | None = None
    seconds: float | None = None  # of the network's run
    frames_per_s: float | None = None
    peak_memory_bytes: int | None = None
    device: str | None = None
    confidence: float | None = None  # median over the windows of their medians, 0..1
    residual_px: float | None = None  # by which points from depth and camera miss the network's; median over frames
    focal_px: float | None = None  # median over frames
    path_length: float | None = None
    drift_depth_relative: float | None = None  # disagreement of neighbouring windows: mean, relative
    drift_rotation_deg: float | None = None  # root of the sum of squares
    drift_translation_percent: float | None = None  # of the path, from the root of the sum of squares
    findings: tuple[str, ...] = ()  # what `openloger info` warns of, a line each
    warnings: tuple[str, ...] = ()  # logged while it ran
    kept: str = "{}"  # JSON of the table's `meta_` columns

    @property
    def key(self) -> str:
        """Short, and the same for every result of this video."""
        return video_key(self.name)


def video_key(name: str) -> str:
    """A video's name as a file name."""
    return hashlib.sha256(name.encode()).hexdigest()[:32]


@dataclass(frozen=True)
class VideoJob:
    """The settings of all videos of a batch, for its workers."""

    spec: NetworkSpec
    out: str
    exports: tuple[str, ...]
    scratch: str  # of this machine: for what is on its way from or to other file systems
    least_free_bytes: int  # of the disks that are written to; below it no video is begun
    max_memory_gb: float | None = None  # of a worker

    def __call__(self) -> VideoWorker:
        """The worker, with its network loaded; raises InputError where it cannot be."""
        return VideoWorker(self, self.spec.load_window_network())


class VideoWorker:
    """Reconstructs video after video with one network."""

    def __init__(self, job: VideoJob, network: WindowNetwork) -> None:
        self._job, self._network = job, network
        self._scratch = Path(job.scratch)

    @cached_property
    def _out(self) -> Storage:
        return Storage(self._job.out)

    def __call__(self, video: Video, control: WorkerControl) -> VideoResult:
        """The video's result, complete or not; it is stored before this returns.

        Raises:
            OSError, or a RecordingError that one causes: the disk or the network failed, and may work again.
        """
        with _logged_warnings() as warnings:
            result = self._finish(video, control)
        result = replace(result, warnings=tuple(warnings))
        if result.state != "interrupted":
            write_result(self._out, result)
        return result

    def _finish(self, video: Video, control: WorkerControl) -> VideoResult:
        version = "" if video.source.startswith(PREFIX) else version_of(video.source)
        folder = self._out.path(video.name) or self._scratch / "recordings" / video.name
        if not self._has_room(folder, control):
            return self._result(video, "interrupted", None, (), version)
        try:
            recording = self._reconstruct(video, folder, control)
            exports = self._export(recording, video, folder) if recording.complete else ()
            if self._out.path(video.name) is None and recording.complete:
                upload_recording(folder, self._out, video.name)
            state, error = ("complete", None) if recording.complete else ("interrupted", None)
        except OpenlogerError as failure:
            if isinstance(failure, RecordingError) and isinstance(failure.__cause__, OSError):
                raise  # a full disk, or another run that still holds the recording
            state, error, exports = "failed", str(failure).replace(video.source, video.shown_source), ()
            recording = open_recording(folder) if is_recording(folder) else None
        result = self._result(video, state, error, exports, version)
        figures = {} if recording is None or len(recording) == 0 else figures_of(recording)
        if self._out.path(video.name) is None and state == "complete":
            _remove_scratch(folder)
            _remove_scratch(self._source_folder(video))
        return replace(result, **figures)

    def _reconstruct(self, video: Video, folder: Path, control: WorkerControl) -> Recording:
        chosen = video.options
        frames = open_frames(
            self._fetched(video),
            start=chosen.start,
            stop=chosen.stop,
            stride=chosen.stride,
            fps=chosen.fps,
            on_bad_frame=chosen.on_bad_frame,  # type: ignore[arg-type] - VideoOptions checked it
        )
        options = RunOptions(
            existing="resume",
            lens=chosen.lens,  # type: ignore[arg-type]
            camera=chosen.camera,
            mask=chosen.mask,
            mask_static=chosen.mask_static,
            depth_dtype=chosen.depth_dtype,  # type: ignore[arg-type]
            max_memory_gb=self._job.max_memory_gb,
            on_progress=lambda progress: control.report(progress.new_frames),
            should_stop=control.should_stop,
        )
        return reconstruct(
            frames if _is_here(video) else _Renamed(frames, _as_they_are, video.shown_source),
            folder,
            network=self._network_for(folder),
            window=chosen.window,
            overlap=chosen.overlap,
            placement=chosen.placement,
            reset_every=chosen.reset_every,
            size=chosen.size,
            keyframes=chosen.keyframes,
            options=options,
        )

    def _network_for(self, folder: Path) -> WindowNetwork:
        """The worker's; for a recording that was begun with another precision or other kernels, one of its own: a
        measurement may choose anew between two runs, and the videos after this one keep to the worker's."""
        begun = recording_to_resume(folder)
        if begun is None or begun.complete:
            return self._network
        settings, own = begun.meta.settings, self._network.run_settings()
        same = settings.get("precision") == own.get("precision")
        if same and Kernels.of_recording(settings) == Kernels.of_recording(own):
            return self._network
        return self._job.spec.continuing(settings).load_window_network()

    def _fetched(self, video: Video) -> str:
        """A path that `open_frames` can open: the source itself, or its copy on this machine."""
        if _is_here(video):
            return video.source
        return str(download(video.source, self._source_folder(video)))

    def _source_folder(self, video: Video) -> Path:
        return self._scratch / "sources" / video_key(video.name)

    def _export(self, recording: Recording, video: Video, folder: Path) -> tuple[str, ...]:
        written: list[str] = []
        for name in self._job.exports:
            ending = find_format(name).ending
            path = folder.with_name(folder.name + ending)
            export_recording(recording, name, path, overwrite=True)  # of ours alone, where an attempt was cut off here
            if self._out.path(video.name) is None:
                _upload_export(path, self._out, video.name + ending)
                _remove_scratch(path)
            written.append(self._out.at(video.name + ending))
        return tuple(written)

    def _has_room(self, folder: Path, control: WorkerControl) -> bool:
        """True once the disk has room, which is waited for; False where a stop comes first: nothing is begun that would
        fill it."""
        place = next(parent for parent in folder.parents if parent.exists())
        while (free := shutil.disk_usage(place).free) < self._job.least_free_bytes:
            if control.should_stop():
                return False
            control.report(0, f"{place} has {free / 1e9:.1f} GB free; a video begins from {self._least_gb} GB on")
            time.sleep(_ROOM_POLL_S)
        control.report(0)
        return True

    @property
    def _least_gb(self) -> str:
        return f"{self._job.least_free_bytes / 1e9:.1f}"

    def _result(
        self, video: Video, state: str, error: str | None, exports: tuple[str, ...], version: str
    ) -> VideoResult:
        return VideoResult(
            name=video.name,
            source=video.shown_source,
            state=state,
            error=error,
            recording=self._out.at(video.name),
            exports=exports,
            request=request_of(video, self._job),
            source_version=version,
            network=self._network.config.name,
            weights_hash=None,
            openloger_version=__version__,
            finished_at_s=time.time(),
            kept=json.dumps(dict(video.kept), sort_keys=True),
        )


@dataclass(frozen=True)
class _Renamed(FramesThrough):
    """A source under the address that it was fetched from, in the place of its copy's path."""

    address: str

    @property
    def name(self) -> str:
        return self.address


def _is_here(video: Video) -> bool:
    return video.source.startswith(PREFIX) or local_path(video.source) is not None


def _as_they_are(frames: Iterator[Frame]) -> Iterator[Frame]:
    return frames


RESULTS_FOLDER = ".openloger-batch"


def write_result(out: Storage, result: VideoResult) -> None:
    """Store a result where the driver, this one or the next, finds it.

    Raises:
        OSError: what the file system reported.
    """
    name = f"{RESULTS_FOLDER}/{result.key}.{result.finished_at_s:.6f}.json"
    if (path := out.path(name)) is not None:
        path.parent.mkdir(parents=True, exist_ok=True)
    out.write(name, json.dumps(asdict(result)).encode())


def request_of(video: Video, job: VideoJob) -> str:
    """All that a result depends on, as a text that can be compared."""
    asked = {"video": json.loads(video.request), "network": asdict(job.spec), "exports": list(job.exports)}
    if job.max_memory_gb is not None:
        asked["max_memory_gb"] = job.max_memory_gb
    return json.dumps(asked, sort_keys=True)


def figures_of(recording: Recording) -> dict[str, Any]:
    """The figures of a `VideoResult` that a recording gives."""
    summary = summarise(recording)
    cost, drift = summary.cost, summary.drift
    measured = [window.measures.confidence for window in recording.windows if window.measures is not None]
    confidences = [confidence for confidence in measured if confidence is not None]
    return {
        "frames": summary.frames,
        "height": summary.height,
        "width": summary.width,
        "weights_hash": summary.weights_hash,
        "duration_s": summary.duration_s,
        "bytes": summary.bytes,
        "seconds": None if cost is None else cost.seconds,
        "frames_per_s": None if cost is None else cost.frames_per_s,
        "peak_memory_bytes": None if cost is None else cost.peak_memory_bytes,
        "device": None if cost is None else ", ".join(cost.devices),
        "confidence": float(np.median(confidences)) if confidences else None,
        "residual_px": summary.residual_px,
        "focal_px": None if summary.focal_px is None else summary.focal_px[1],
        "path_length": summary.path_length,
        "drift_depth_relative": None if drift is None else drift.depth_relative,
        "drift_rotation_deg": None if drift is None else drift.rotation_deg,
        "drift_translation_percent": None if drift is None else drift.translation_percent,
        "findings": tuple(finding.text for finding in recording.findings),
    }


def _upload_export(path: Path, out: Storage, name: str) -> None:
    if path.is_file():
        out.write(name, path.read_bytes())
        return
    for file in sorted(one for one in path.rglob("*") if one.is_file()):
        out.write(f"{name}/{file.relative_to(path).as_posix()}", file.read_bytes())


def _remove_scratch(path: Path) -> None:
    """Remove what this batch put into its scratch folder and has stored elsewhere since."""
    if path.is_file():
        path.unlink()
    else:
        shutil.rmtree(path, ignore_errors=True)


@contextmanager
def _logged_warnings() -> Iterator[list[str]]:
    """The first warnings that openloger logs meanwhile."""
    found: list[str] = []

    class Keep(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            if len(found) < _LONGEST_WARNINGS:
                found.append(record.getMessage())

    log, handler = logging.getLogger("openloger"), Keep(logging.WARNING)
    log.addHandler(handler)
    try:
        yield found
    finally:
        log.removeHandler(handler)
