"""Streams over the network: a server of the test's sends MPEG-TS, breaks off, comes back, or falls silent."""

from __future__ import annotations

import http.server
import logging
import socket
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from frame_clips import number_of, numbered, write_video
from live_sources import UNIX_S, HandClock

from openloger.errors import InputError
from openloger.frames.live import LiveFrames, LiveOptions, Patience, network_stream, open_live
from openloger.frames.live.clock import Clock


@dataclass
class Answer:
    """The server's answer to one request."""

    data: bytes = b""
    status: int = 200
    says_length: bool = False
    holds: bool = False  # keep the connection, and say no more
    kind: str = "video/mp2t"


@dataclass
class Server:
    """Answers in turn; when it has no answer left, it is unavailable."""

    url: str
    answers: list[Answer] = field(default_factory=list)
    asked: int = 0
    let_go: threading.Event = field(default_factory=threading.Event)


@pytest.fixture
def server() -> Iterator[Server]:
    class Handler(http.server.BaseHTTPRequestHandler):
        def log_message(self, *arguments: object) -> None: ...

        def do_GET(self) -> None:
            state.asked += 1
            answer = state.answers.pop(0) if state.answers else Answer(status=503)
            self.send_response(answer.status)
            self.send_header("Content-Type", answer.kind)
            if answer.says_length:
                self.send_header("Content-Length", str(len(answer.data)))
            self.end_headers()
            self.wfile.write(answer.data)
            if answer.holds:
                state.let_go.wait(60)

    listening = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    listening.daemon_threads = True
    state = Server(f"http://127.0.0.1:{listening.server_port}/cam.ts")
    worker = threading.Thread(target=listening.serve_forever, kwargs={"poll_interval": 0.02})
    worker.start()
    yield state
    state.let_go.set()
    listening.shutdown()
    worker.join()
    listening.server_close()


@pytest.fixture(scope="module")
def clips(tmp_path_factory: pytest.TempPathFactory) -> list[bytes]:
    """Three of ten frames each, numbered on."""
    folder = tmp_path_factory.mktemp("clips")
    parts = [[numbered(number) for number in range(start, start + 10)] for start in (0, 10, 20)]
    return [write_video(folder / f"{number}.ts", part).read_bytes() for number, part in enumerate(parts)]


def watch(
    url: str, *, clock: Clock | None = None, stall_s: float = 30.0, reconnect_s: float = 0.0, **options: object
) -> LiveFrames:
    patience = Patience(stall_s=stall_s, reconnect_s=reconnect_s)
    return open_live(url, options=LiveOptions(patience=patience, **{"keep": "all", **options}), clock=clock)


def test_a_stream_is_taken_in_with_the_times_of_its_capture(server: Server, clips: list[bytes]) -> None:
    server.answers = [Answer(clips[0])]
    live = watch(server.url, clock=HandClock().clock)
    frames = list(live)
    assert [number_of(frame.rgb) for frame in frames] == list(range(10))
    assert [frame.timestamp_s for frame in frames] == pytest.approx(
        [UNIX_S + 100 + n / 30 for n in range(10)], abs=1e-4
    )
    assert live.length is None
    assert live.lost is not None
    assert server.asked == 1


def test_a_connection_that_breaks_off_is_made_again_and_the_gap_stays(
    server: Server, clips: list[bytes], caplog: pytest.LogCaptureFixture
) -> None:
    server.answers = [Answer(clips[0]), Answer(status=503), Answer(clips[1])]
    hand = HandClock()
    live = watch(server.url, clock=hand.clock, reconnect_s=4.0)
    with caplog.at_level(logging.INFO, "openloger"):
        frames = list(live)
    assert [number_of(frame.rgb) for frame in frames] == list(range(20))
    assert [frame.index for frame in frames] == list(range(20))
    assert frames[10].timestamp_s == pytest.approx(UNIX_S + 100 + 0.5 + 1.0)
    assert hand.waits == pytest.approx([0.5, 1.0, 0.5, 1.0, 2.0, 0.5])
    assert server.asked == 1 + 2 + 4
    assert live.lost == "the connection was ended, and then 127.0.0.1 answers 'Server returned 5XX Server Error reply'"
    said = [record.message for record in caplog.records]
    assert sum("trying to connect again for 4 s" in line for line in said) == 2
    assert sum("connected again after 1.5 s" in line for line in said) == 1


def test_a_stream_that_falls_silent_is_lost(server: Server, clips: list[bytes]) -> None:
    server.answers = [Answer(clips[0], holds=True)]
    live = watch(server.url, stall_s=4.0)
    frames = list(live)
    assert [number_of(frame.rgb) for frame in frames] == list(range(len(frames)))
    assert len(frames) >= 9  # the last waits in the parser for what follows it
    assert live.lost == "nothing came for 4 s"


def test_a_finished_video_at_an_address_ends(server: Server, clips: list[bytes]) -> None:
    server.answers = [Answer(clips[2], says_length=True), Answer(clips[1])]
    live = watch(server.url, reconnect_s=60.0)
    assert [number_of(frame.rgb) for frame in live] == list(range(20, 30))
    assert live.lost is None
    assert server.asked == 1


def test_motion_jpeg_is_timed_by_its_arrival(server: Server, tmp_path: Path) -> None:
    jpegs = write_video(tmp_path / "clip.mjpeg", 6, codec="mjpeg", encoder={"strict": "unofficial"}).read_bytes()
    parts = [b"\xff\xd8" + rest for rest in jpegs.split(b"\xff\xd8")[1:]]
    assert len(parts) == 6
    body = b"".join(b"--next\r\nContent-Type: image/jpeg\r\n\r\n" + part + b"\r\n" for part in parts) + b"--next--\r\n"
    server.answers = [Answer(body, kind="multipart/x-mixed-replace;boundary=next")]
    frames = list(watch(server.url, clock=HandClock().clock))
    assert [number_of(frame.rgb) for frame in frames] == list(range(len(frames)))
    assert len(frames) >= 5
    assert {frame.timestamp_s for frame in frames} == {UNIX_S + 100}


def test_a_later_run_numbers_on(server: Server, clips: list[bytes]) -> None:
    server.answers = [Answer(clips[0])]
    assert [frame.index for frame in watch(server.url).frames(70)] == list(range(70, 80))


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        (Answer(status=404), "127.0.0.1.*404"),
        (Answer(status=401), "password"),
        (Answer(b"<html>no camera here</html>" * 50, says_length=True), "127.0.0.1.*not a video"),
        (Answer(b""), "no video.*127.0.0.1"),
    ],
    ids=["not there", "not allowed", "a web page", "nothing"],
)
def test_a_server_without_a_video(server: Server, answer: Answer, said: str) -> None:
    server.answers = [answer]
    with pytest.raises(InputError, match=said):
        list(watch(server.url, reconnect_s=60.0))
    assert server.asked == 1


def test_nobody_there(monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        url = f"http://user:hush@127.0.0.1:{taken.getsockname()[1]}/cam"
        with pytest.raises(InputError, match=r"127\.0\.0\.1.*Connection refused") as refused:
            list(watch(url))
        assert "hush" not in str(refused.value)

        def unknown(*arguments: object) -> None:
            raise socket.gaierror(-2, "Name or service not known")

        monkeypatch.setattr(network_stream.socket, "getaddrinfo", unknown)
        with pytest.raises(InputError, match=r"no host '127\.0\.0\.1'"):
            list(watch(url))
