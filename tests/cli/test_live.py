"""`openloger live` as it is typed: it ends cleanly, goes on where it ended, shows itself, and refuses in one line."""

from __future__ import annotations

import importlib.util
import json
import os
import signal
import socket
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
from cli.small import SMALL

import openloger
from openloger.cli import main
from openloger.errors import RecordingError
from openloger.frames.live import camera as camera_module
from openloger.frames.live import source as live_source
from openloger.frames.live.clock import Clock
from openloger.frames.live.network_stream import Address

QUIET = (*SMALL, "--no-view", "--idle", "0.2")
COUNT = 14


def run(*arguments: str | Path) -> int:
    with pytest.raises(SystemExit) as left:
        main([str(argument) for argument in arguments])
    return int(left.value.code or 0)


@pytest.fixture(scope="module")
def video(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("clip") / "clip.ts"
    generator = np.random.default_rng(0)
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=10, options={"g": "1"})
        stream.width, stream.height, stream.pix_fmt = 96, 80, "yuv420p"
        for number in range(COUNT):
            rgb = np.kron(generator.integers(0, 256, (10, 12, 3), dtype=np.uint8), np.ones((8, 8, 1), dtype=np.uint8))
            frame = av.VideoFrame.from_ndarray(rgb, format="rgb24")
            frame.pts, frame.time_base = number, Fraction(1, 10)
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    return path


@pytest.fixture
def camera(monkeypatch: pytest.MonkeyPatch) -> None:
    """FFmpeg's made-up device as camera 0; it is unplugged after 20 frames."""
    made_up = Address("camera 0", "testsrc=size=96x80:rate=10:duration=2", format="lavfi")
    monkeypatch.setattr(camera_module, "by_number", lambda number, patience_s: made_up)


def said(capsys: pytest.CaptureFixture[str]) -> str:
    """The one line that a refused command ends with."""
    lines = [line for line in capsys.readouterr().err.splitlines() if line.startswith("openloger: ")]
    assert lines
    return lines[-1]


def assert_same(one: openloger.Recording, other: openloger.Recording) -> None:
    assert len(one) == len(other)
    for name in ("world_from_cam", "intrinsics", "timestamps_s", "source_index"):
        assert np.array_equal(getattr(one, name), getattr(other, name)), name
    for number in range(len(one)):
        assert np.array_equal(one.depth(number), other.depth(number)), number
        assert np.array_equal(one.rgb(number), other.rgb(number)), number
    assert one.names == other.names


def when_recorded(out: Path, count: int, action: Callable[[], object]) -> threading.Thread:
    """Does it in a thread as soon as so many frames are committed."""

    def wait() -> None:
        deadline = time.monotonic() + 300
        while time.monotonic() < deadline:
            try:
                if len(openloger.open_recording(out)) >= count:
                    break
            except RecordingError:
                pass  # not begun yet
            time.sleep(0.02)
        action()

    worker = threading.Thread(target=wait)
    worker.start()
    return worker


def test_a_file_that_was_written_meanwhile_is_what_reconstruct_makes_of_it(video, tmp_path, capsys):
    assert run("live", video, "-o", tmp_path / "live", "--json", *QUIET) == 0
    told = json.loads(capsys.readouterr().out)
    assert (told["frames"], told["complete"], told["captured"], told["dropped"]) == (COUNT, True, COUNT, 0)
    assert told["keep"] == "all"
    assert told["lost"] is None
    assert 0 < told["latency_mean_s"] <= told["latency_worst_s"]
    assert run("reconstruct", video, "-o", tmp_path / "whole", *SMALL) == 0
    assert_same(openloger.open_recording(tmp_path / "live"), openloger.open_recording(tmp_path / "whole"))


@pytest.mark.parametrize("first", [3, 9])
def test_a_recording_that_ended_goes_on_to_the_same_result(first, video, tmp_path):
    out = tmp_path / "cut"
    assert run("live", video, "-o", out, "--frames", str(first), *QUIET) == 0
    assert len(openloger.open_recording(out)) == first
    assert openloger.open_recording(out).complete
    assert run("live", video, "-o", out, "--resume", *QUIET) == 0
    assert run("live", video, "-o", tmp_path / "whole", *QUIET) == 0
    assert_same(openloger.open_recording(out), openloger.open_recording(tmp_path / "whole"))


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_it_with_a_complete_recording(number, video, tmp_path, capsys):
    out = tmp_path / "out"
    asking = when_recorded(out, 1, lambda: os.kill(os.getpid(), number))
    assert run("live", video, "-o", out, *SMALL, "--no-view", "--idle", "1000") == 0
    asking.join()
    kept = openloger.open_recording(out)
    assert kept.complete
    assert 6 < len(kept) <= COUNT
    assert kept.source_index.tolist() == list(range(len(kept)))
    assert "finishing the last window" in capsys.readouterr().err


def test_a_camera_that_is_unplugged_and_one_that_goes_on(camera, tmp_path, capsys, monkeypatch):
    out = tmp_path / "out"
    arguments = ("live", "0", "-o", out, "--keep", "all", "--reconnect", "0", *QUIET)
    assert run(*arguments, "--frames", "9") == 0
    monkeypatch.setattr(live_source, "Clock", lambda: Clock(unix_s=lambda: time.time() + 60))
    assert run(*arguments, "--resume") == 2
    assert "camera 0: the connection was ended" in capsys.readouterr().err
    kept = openloger.open_recording(out)
    assert kept.complete
    assert kept.source_index.tolist() == list(range(29))
    steps_s = np.diff(kept.timestamps_s)
    assert steps_s[:8] == pytest.approx(0.1, abs=1e-5)
    assert steps_s[9:] == pytest.approx(0.1, abs=1e-5)
    assert steps_s[8] > 59  # the minute between the runs, less the 0.8 s by which the made-up camera may be ahead
    assert run("info", out) == 0


def test_it_is_shown_while_it_records(video, tmp_path, capsys):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    out, pages = tmp_path / "out", []

    def look() -> None:
        deadline = time.monotonic() + 300
        while time.monotonic() < deadline and not pages:
            try:
                with urllib.request.urlopen(f"http://127.0.0.1:{port}/", timeout=10) as page:
                    pages.append(page.read())
            except (urllib.error.URLError, TimeoutError):
                time.sleep(0.05)
        os.kill(os.getpid(), signal.SIGINT)

    asking = when_recorded(out, 1, look)
    assert run("live", video, "-o", out, *SMALL, "--idle", "1000", "--port", str(port)) == 0
    asking.join()
    assert b"<html" in pages[0]
    assert f"http://127.0.0.1:{port} shows {out} as it grows" in capsys.readouterr().err
    assert openloger.open_recording(out).complete


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        (("99",), "no camera 99"),
        (("rtsp://",), "names no host"),
        (("gopher://host/x",), "'gopher'"),
        (("nothing.ts",), "'nothing.ts'"),
        (("VIDEO", "--seconds", "0"), "seconds=0"),
        (("VIDEO", "--stall", "-1"), "stall -1"),
        (("VIDEO", "--resume", "--overwrite"), "--resume and --overwrite"),
        (("VIDEO", "--fps", "0"), "fps=0"),
        (("VIDEO", "--max-memory", "0"), "--max-memory 0: give a positive number of GB"),
        (("VIDEO", "--max-memory", "0.01"), "--max-memory 0.01: pocket needs"),
        (("EMPTY",), "stayed without a picture for 0.2 s"),
    ],
)
def test_what_cannot_be(arguments, named, video, tmp_path, capsys):
    (tmp_path / "empty").mkdir()
    places = {"VIDEO": video, "EMPTY": tmp_path / "empty"}
    source, *rest = [places.get(argument, argument) for argument in arguments]
    assert run("live", source, "-o", tmp_path / "out", *QUIET, *rest) == 2
    assert named in said(capsys)
    assert not (tmp_path / "out").exists()


def test_it_keeps_to_its_memory_and_goes_on_as_planned(video, tmp_path):
    out = tmp_path / "out"
    assert run("live", video, "-o", out, "--frames", "9", "--max-memory", "64", *QUIET) == 0
    assert run("live", video, "-o", out, "--resume", *QUIET) == 0
    kept = openloger.open_recording(out)
    assert (len(kept), kept.meta.settings["max_memory_gb"], kept.meta.settings["window"]) == (COUNT, 64.0, 6)


def test_a_recording_that_is_there(video, tmp_path, capsys):
    assert run("live", video, "-o", tmp_path / "out", "--frames", "2", *QUIET) == 0
    assert run("live", video, "-o", tmp_path / "out", *QUIET) == 2
    assert "--resume" in said(capsys)
    assert run("live", video, "-o", tmp_path / "out", "--overwrite", "--frames", "3", *QUIET) == 0
    assert len(openloger.open_recording(tmp_path / "out")) == 3


def test_a_recording_that_kept_no_state_is_not_appended_to(video, tmp_path, capsys):
    assert run("reconstruct", video, "-o", tmp_path / "out", *SMALL) == 0
    assert run("live", video, "-o", tmp_path / "out", "--resume", *QUIET) == 2
    assert "cannot be appended to" in said(capsys)
    assert len(openloger.open_recording(tmp_path / "out")) == COUNT


def test_without_the_viewers_package(video, tmp_path, capsys, monkeypatch):
    find_spec = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name == "viser" else find_spec(name))
    assert run("live", video, "-o", tmp_path / "out", *SMALL) == 2
    assert "--no-view" in said(capsys)
