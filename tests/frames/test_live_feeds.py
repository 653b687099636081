"""Names of live sources, and names of none; cameras, and pipes."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from frame_clips import number_of, write_video
from live_sources import UNIX_S, HandClock

from openloger.errors import InputError
from openloger.frames import open_frames
from openloger.frames.live import LiveFrames, LiveOptions, Patience, feeds, is_captured, open_live
from openloger.frames.live import camera as camera_module
from openloger.frames.live.network_stream import Address
from openloger.values import FrameSource


@pytest.fixture
def devices(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "dev"
    folder.mkdir()
    monkeypatch.setattr(camera_module, "DEVICES", folder)
    monkeypatch.setattr(camera_module.sys, "platform", "linux")
    return folder


def test_no_camera_of_that_number(devices: Path) -> None:
    with pytest.raises(InputError, match=r"no camera 3\b.*no camera is connected"):
        open_live("3")
    (devices / "video0").touch()
    with pytest.raises(InputError, match=r"no camera 3\b.*video0"):
        open_live("3")


def test_a_device_that_is_no_camera(devices: Path) -> None:
    (devices / "video0").touch()
    live = open_live("0")
    assert live.name == "camera 0"
    assert live.keep == "latest"
    with pytest.raises(InputError, match="camera 0"):
        list(live)


def test_a_camera_without_a_pyav_that_reads_cameras(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(camera_module, "_CAPTURE", {"linux": "abacus"})
    monkeypatch.setattr(camera_module.sys, "platform", "linux")
    with pytest.raises(InputError, match=r"PyAV.*abacus"):
        open_live("0")
    monkeypatch.setattr(camera_module.sys, "platform", "plan9")
    with pytest.raises(InputError, match="plan9"):
        open_live("0")


def test_a_camera_is_captured_with_its_own_times() -> None:
    """FFmpeg's made-up device stands in for one: it is opened and read as a camera is."""
    address = Address("camera 0", "testsrc=size=64x48:rate=25:duration=1", format="lavfi")
    feed = feeds.CapturedFeed(address, 0.0, HandClock().clock)
    live = LiveFrames(feed, LiveOptions(keep="all"))
    frames = list(live)
    assert [frame.index for frame in frames] == list(range(25))
    assert [frame.timestamp_s for frame in frames] == pytest.approx([UNIX_S + 100 + n / 25 for n in range(25)])
    assert frames[0].rgb.shape == (48, 64, 3)
    assert isinstance(live, FrameSource)


@pytest.mark.parametrize(
    ("source", "said"),
    [
        ("ftp://host/walk.mp4", "'ftp'.*rtsp, "),
        ("rtsp://", "names no host"),
        ("http://host:99999/", "is not an address"),
        ("walk.ts", "'walk.ts'.*number"),
        ("world:street:7", "openloger reconstruct"),
        ("/dev/null", "not a regular file"),
    ],
)
def test_what_is_no_live_source(source: str, said: str) -> None:
    with pytest.raises(InputError, match=said):
        open_live(source)


def test_a_protocol_that_pyav_was_built_without(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(feeds, "SCHEMES", ("tape",))
    with pytest.raises(InputError, match=r"PyAV.*tape"):
        list(open_live("tape://host/reel"))


def test_a_password_is_told_to_nobody() -> None:
    address = feeds.address("rtsp://me:hush@cam.local:554/live?x=1", patience_s=1.0)
    assert address.name == "rtsp://me:…@cam.local:554/live?x=1"
    assert address.url == "rtsp://me:hush@cam.local:554/live?x=1"
    assert "hush" not in address.name
    for text, name in {
        "https://cam.local/live?token=hush&channel=12&pin=4711#hush": "https://cam.local/live?token=…&channel=12&pin=…",
        "rtsp://cam.local/live?hush": "rtsp://cam.local/live?…",
        "http://me:hush@cam.local/live": "http://me:…@cam.local/live",
    }.items():
        assert feeds.address(text, patience_s=1.0).name == name
        assert feeds.address(text, patience_s=1.0).url == text
    for text in ("rtsp://me:hush@[cam/live", "tape://cam/?token=hush", "rtsp:///?token=hush", "rtsp://me:hush@cam:x/"):
        with pytest.raises(InputError) as raised:
            feeds.address(text, patience_s=1.0)
        assert "hush" not in str(raised.value)
    with pytest.raises(InputError, match=r"https://….*openloger live") as raised:
        open_frames("https://me:hush@cam.local/a.mp4?token=hush")
    assert "hush" not in str(raised.value)


@pytest.mark.parametrize("name", ["0", "camera 1", "/dev/video0", "rtsp://cam/1", "-"])
def test_names_of_sources_that_give_their_frames_once(name: str) -> None:
    assert is_captured(name)


@pytest.mark.parametrize("name", ["walk.ts", "./0", "shots", "world:street:7", "/dev/shm/walk.ts"])
def test_names_of_sources_that_can_be_read_again(name: str) -> None:
    assert not is_captured(name)


@pytest.mark.parametrize("name", ["stall_s", "idle_s", "reconnect_s"])
@pytest.mark.parametrize("seconds", [-1.0, float("nan"), float("inf")])
def test_patience_that_cannot_be(name: str, seconds: float) -> None:
    with pytest.raises(InputError, match=name.removesuffix("_s")):
        Patience(**{name: seconds})


@pytest.mark.parametrize(("name", "value"), [("seconds", 0.0), ("most_frames", 0), ("stride", 0), ("fps", -2.0)])
def test_options_that_cannot_be(name: str, value: float, tmp_path: Path) -> None:
    with pytest.raises(InputError):
        open_live(tmp_path, options=LiveOptions(**{name: value}))


@pytest.fixture
def piped(monkeypatch: pytest.MonkeyPatch):
    """The writing end of a pipe that is standard input."""
    reading, writing = os.pipe()
    monkeypatch.setattr(feeds, "_piped_descriptor", lambda: reading)
    yield writing
    os.close(reading)


def test_a_pipe_is_timed_as_it_comes(piped: int, tmp_path: Path) -> None:
    data = write_video(tmp_path / "clip.ts", 8).read_bytes()
    os.set_blocking(piped, True)
    os.write(piped, data[:60000])
    os.close(piped)
    live = open_live("-", clock=HandClock().clock)
    frames = list(live)
    assert len(data) < 60000
    assert [number_of(frame.rgb) for frame in frames] == list(range(8))
    assert [frame.timestamp_s for frame in frames] == pytest.approx([UNIX_S + 100 + n / 30 for n in range(8)], abs=1e-4)
    assert live.lost is None


def test_a_pipe_that_falls_silent_is_lost(piped: int, tmp_path: Path) -> None:
    os.write(piped, write_video(tmp_path / "clip.ts", 8).read_bytes())
    live = open_live("-", options=LiveOptions(patience=Patience(stall_s=0.3)))
    assert 7 <= len(list(live)) <= 8
    assert live.lost == "nothing came for 0.3 s"
    os.close(piped)


def test_a_pipe_that_is_stopped_does_not_hold_the_run(piped: int, tmp_path: Path) -> None:
    os.write(piped, write_video(tmp_path / "clip.ts", 8).read_bytes())
    live = open_live("-", options=LiveOptions(patience=Patience(stall_s=1e6)))
    frames = live.frames()
    assert next(frames).index == 0
    live.stop()
    assert len(list(frames)) <= 7
    os.close(piped)
