"""`openloger live`: a source that goes on, into a recording that grows, and into the browser while it does."""

from __future__ import annotations

import importlib.util
import json
import sys
import threading
import webbrowser
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Annotated, Any, Literal

import tyro

from openloger.cli import EXIT_BAD_INPUT
from openloger.cli.advice import about_network, next_step, warnings
from openloger.cli.arguments import MemoryArguments, StorageArguments, WindowArguments
from openloger.cli.reconstruct import summary
from openloger.cli.terminal import print_status, progress_bar
from openloger.errors import InputError, OpenlogerError, counted
from openloger.frames.live import LiveFrames, LiveOptions, Patience, open_live
from openloger.network import NetworkSpec
from openloger.pipeline.options import DEFAULT_NETWORK, recording_begun
from openloger.pipeline.reconstruct import reconstruct as run
from openloger.recording import Recording, open_recording
from openloger.runtime.interrupts import stop_requests
from openloger.runtime.progress import Progress
from openloger.values import PlacedWindow
from openloger.version import install_command
from openloger.viewing import Viewer, ViewOptions
from openloger.viewing.browser.server import free_port

_PATIENCE_S = 5.0


@dataclass(frozen=True)
class ShowArguments:
    """Settings of the viewer during the run."""

    view: bool = True
    """Show the recording in the browser as it grows."""
    port: int = 8080
    """Where to serve; the next that is free where it is in use."""
    host: str = "127.0.0.1"
    """The address to serve at; 0.0.0.0 lets those in the network look who have the printed address."""
    open: bool = False
    """Open the page in this machine's browser."""
    json: bool = False
    """Print a summary for programs on standard output."""


@contextmanager
def shown(recording: Path, arguments: ShowArguments) -> Iterator[Callable[[], None]]:
    """Serves the recording from a thread; what is yielded is called when there is something to be seen.

    Raises InputError where it could not be served; later faults are reported, and do not stop the recording.
    """
    if not arguments.view:
        yield lambda: None
        return
    if importlib.util.find_spec("viser") is None:
        raise InputError(f"the viewer needs the package viser: {install_command('view')}, or give --no-view")
    options = ViewOptions(host=arguments.host, port=free_port(arguments.host, arguments.port))
    begun, ended = threading.Event(), threading.Event()

    def serve() -> None:
        begun.wait()
        if not ended.is_set():
            _serve(recording, options, ended, open_page=arguments.open)

    worker = threading.Thread(target=serve, name="openloger-viewer", daemon=True)
    worker.start()
    try:
        yield begun.set
    finally:
        ended.set()
        begun.set()
        worker.join(_PATIENCE_S)


def _serve(recording: Path, options: ViewOptions, ended: threading.Event, *, open_page: bool) -> None:
    try:
        viewer = Viewer(open_recording(recording), options=options)
        try:
            print_status(f"openloger: {viewer.url} shows {recording} as it grows")
            if open_page:
                webbrowser.open(viewer.url)
            viewer.run(should_stop=ended.is_set)
        finally:
            viewer.close()
    except OpenlogerError as error:
        print_status(f"openloger: nothing is shown: {error}")


@dataclass(frozen=True)
class RecordingArguments(MemoryArguments, StorageArguments):
    """The output."""

    resume: bool = False
    """Go on with an interrupted recording, or append to a complete one (begin one where there is none)."""
    overwrite: bool = False
    """Replace a recording that is there."""


@dataclass(frozen=True)
class LiveArguments:
    """Which frames of the source are taken."""

    seconds: float | None = None
    """Stop after so many, by the frames' times."""
    frames: int | None = None
    """Stop after so many frames."""
    keep: Literal["latest", "all"] | None = None
    """When the network is behind: latest thins the frames that wait, evenly, and counts them; all makes the source
    wait. By default latest for cameras and addresses, all for files, folders and pipes."""
    fps: float | None = None
    """Take at most this many frames a second."""
    stride: int = 1
    """Take every Nth frame."""
    size: tuple[int, int] | None = None
    """Height and width of the network's input, in pixels. By default the network's own, at the video's aspect."""
    on_bad_frame: Literal["stop", "repeat", "skip"] = "skip"
    """Action on a frame that cannot be decoded."""
    stall: float = Patience.stall_s
    """A camera, stream or pipe that gives nothing for so many seconds is lost."""
    reconnect: float = Patience.reconnect_s
    """Try for so many seconds to get a lost camera or stream back; 0 for not at all."""
    idle: float = Patience.idle_s
    """A file or folder that has not grown for so many seconds is finished."""

    @property
    def options(self) -> LiveOptions:
        """Checked; raises InputError."""
        return LiveOptions(
            keep=self.keep,
            stride=self.stride,
            fps=self.fps,
            on_bad_frame=self.on_bad_frame,
            seconds=self.seconds,
            most_frames=self.frames,
            patience=Patience(stall_s=self.stall, idle_s=self.idle, reconnect_s=self.reconnect),
        )


_NETWORK = NetworkSpec(DEFAULT_NETWORK)
_WINDOWS, _RECORDING, _SHOW = WindowArguments(), RecordingArguments(), ShowArguments()


def live(
    source: tyro.conf.Positional[str],
    /,
    out: Annotated[Path, tyro.conf.arg(aliases=["-o"])],
    *,
    taken: tyro.conf.OmitArgPrefixes[LiveArguments] = LiveArguments(),
    network: tyro.conf.OmitArgPrefixes[NetworkSpec] = _NETWORK,
    windows: tyro.conf.OmitArgPrefixes[WindowArguments] = _WINDOWS,
    recording: tyro.conf.OmitArgPrefixes[RecordingArguments] = _RECORDING,
    show: tyro.conf.OmitArgPrefixes[ShowArguments] = _SHOW,
) -> int:
    """Reconstruct a camera, a stream, a file being written or a folder being filled, and show it as it grows.

    Ctrl-C finishes the last window, and the recording is complete; --resume appends to it.

    Args:
        source: A camera's number (0) or device, an address (rtsp, http, udp, ...), a video file that is being written,
            a folder that is being filled with pictures, or "-" for standard input.
        out: The recording's folder.
    """
    opened = open_live(source, options=taken.options)
    requested = replace(
        recording.options(resume=recording.resume, overwrite=recording.overwrite),
        max_memory_gb=recording.max_memory_gb,
    )
    begun = recording_begun(
        out,
        opened,
        requested,
        network=network.preset,
        window=windows.window,
        overlap=windows.overlap,
        size=taken.size,
    )
    with shown(out, show) as on_first_window:
        loaded = network.continuing(None if begun is None else begun.meta.settings).load_window_network()
        meter = LatencyMeter(opened, on_first_window)
        with _stopped_by_signals(opened), progress_bar(opened.name, also=meter.progress_text) as draw:
            options = replace(requested, on_window=meter.take, on_progress=meter.passing_on(draw))
            result = run(opened, out, network=loaded, size=taken.size, options=options, **windows.windowing())
    _print_summary(result, opened, meter, as_json=show.json)
    return EXIT_BAD_INPUT if opened.lost else 0


@dataclass
class LatencyMeter:
    """Latency: from the arrival of a frame at this machine to the placement of its window."""

    source: LiveFrames
    on_first_window: Callable[[], None] = lambda: None
    frames: int = 0
    worst_s: float = 0.0
    last_s: float = 0.0  # of the newest frame that was placed
    progress: Progress | None = None
    _sum_s: float = field(default=0.0, init=False)

    @property
    def mean_s(self) -> float | None:
        return self._sum_s / self.frames if self.frames else None

    def take(self, placed: PlacedWindow) -> None:
        """A window is placed; a frame counts when it first is."""
        for frame in placed.frames:
            waited_s = self.source.waited_s(frame.index)
            if waited_s is not None:
                self.frames += 1
                self._sum_s += waited_s
                self.worst_s, self.last_s = max(self.worst_s, waited_s), waited_s
        if placed.number == 0 or self.progress is None:
            self.on_first_window()

    def passing_on(self, draw: Callable[[Progress], None]) -> Callable[[Progress], None]:
        """Keeps the last progress, and draws it."""

        def on_progress(progress: Progress) -> None:
            self.progress = progress
            draw(progress)

        return on_progress

    def progress_text(self) -> str:
        """For the progress line."""
        dropped = f" · {self.source.dropped} dropped" if self.source.dropped else ""
        return f" · {self.last_s:.2f} s behind{dropped}" if self.frames else dropped


@contextmanager
def _stopped_by_signals(source: LiveFrames) -> Iterator[None]:
    """The first Ctrl-C or SIGTERM ends the source; a second one stops at once."""

    def stop() -> None:
        source.stop()
        print("openloger: finishing the last window; Ctrl-C again stops at once", file=sys.stderr)

    with stop_requests(on_request=stop):
        try:
            yield
        finally:
            source.stop()


def _print_summary(recording: Recording, source: LiveFrames, meter: LatencyMeter, *, as_json: bool) -> None:
    if as_json:
        print(json.dumps(_summary(recording, source, meter)))
        return
    progress = meter.progress
    speed = f" at {progress.frames_per_s:.1f} frames/s" if progress else ""
    waited = f"; placed {meter.mean_s:.2f} s after they came, {meter.worst_s:.2f} s at worst" if meter.mean_s else ""
    print_status(f"{counted(len(recording), 'frame')}{speed} in {recording.path}{waited}")
    if source.dropped:
        print(
            f"{source.dropped} of {counted(source.captured, 'frame')} dropped, as the network was slower than "
            "the source; --fps takes fewer, --keep all makes the source wait",
            file=sys.stderr,
        )
    for line in warnings(recording):
        print_status(line)
    for line in filter(None, (about_network(recording.meta), next_step(recording.path, complete=recording.complete))):
        print_status(line)


def _summary(recording: Recording, source: LiveFrames, meter: LatencyMeter) -> dict[str, Any]:
    return {
        **summary(recording, meter.progress),
        "keep": source.keep,
        "captured": source.captured,
        "dropped": source.dropped,
        "latency_mean_s": meter.mean_s,
        "latency_worst_s": meter.worst_s if meter.frames else None,
        "lost": source.lost,
    }
