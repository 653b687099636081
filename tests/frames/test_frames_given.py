"""Standard input, memory, other sources and worlds."""

from __future__ import annotations

import io
import os
import sys
import threading
import types
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import accumulate
from pathlib import Path

import numpy as np
import pytest
from frame_clips import cut, number_of, numbered, read, write_video

from openloger import worlds
from openloger.errors import BadFrameError, InputError
from openloger.frames import open_frames
from openloger.runtime.prefetch import prefetch
from openloger.values import Frame, FrameSource

# ---------------------------------------------------------------------------------------------------- standard input


@pytest.fixture
def piped(monkeypatch: pytest.MonkeyPatch) -> Iterator[object]:
    """Feeds bytes to standard input through a real pipe, a little at a time."""
    feeders: list[threading.Thread] = []

    def feed(data: bytes) -> None:
        reading, writing = os.pipe()

        def write() -> None:
            with open(writing, "wb", buffering=0) as pipe:
                for at in range(0, len(data), 3000):
                    pipe.write(data[at : at + 3000])

        feeders.append(threading.Thread(target=write))
        feeders[-1].start()
        stdin = io.TextIOWrapper(io.BufferedReader(io.FileIO(reading)))
        monkeypatch.setattr(sys, "stdin", stdin)

    yield feed
    sys.stdin.close()
    for feeder in feeders:
        feeder.join()


PIPED = {"mpegts": ("libx264", "clip.ts", {}), "mjpeg": ("mjpeg", "clip.mjpeg", {"strict": "unofficial"})}


@pytest.mark.parametrize("kind", PIPED)
def test_video_on_standard_input(kind: str, piped: object, tmp_path: Path) -> None:
    codec, name, encoder = PIPED[kind]
    piped(write_video(tmp_path / name, 30, codec=codec, encoder=encoder).read_bytes())  # type: ignore[operator]
    source = open_frames("-")
    frames = list(prefetch(source.frames()))
    assert source.name == "standard input"
    assert source.length is None
    assert [number_of(frame.rgb) for frame in frames] == list(range(30))
    assert np.diff([frame.timestamp_s for frame in frames]) == pytest.approx(np.full(29, 1 / 30), abs=1e-4)
    with pytest.raises(InputError, match=r"standard input.*once"):
        next(iter(source))


def test_a_live_pipe_is_not_waited_for_to_end(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """All that was sent is given, up to what a decoder of 16 threads keeps back; no buffer must fill up first."""
    small = [numbered(number, 48, 64) for number in range(250)]
    path = write_video(tmp_path / "live.mjpeg", small, codec="mjpeg", encoder={"strict": "unofficial"})
    jpegs = [b"\xff\xd8" + rest for rest in path.read_bytes().split(b"\xff\xd8")[1:]]
    sent = sum(total < 2.9 * 32_768 for total in accumulate(len(jpeg) for jpeg in jpegs))  # the third buffer not full
    data, given_at_least = b"".join(jpegs[:sent]), sent - 18
    assert sum(len(jpeg) for jpeg in jpegs[:given_at_least]) > 2 * 32_768
    reading, writing = os.pipe()
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BufferedReader(io.FileIO(reading))))
    sending = threading.Thread(target=_send, args=(writing, data))
    sending.start()
    give_up = threading.Timer(60, os.close, [writing])
    give_up.start()
    frames = open_frames("-").frames()
    numbers = [number_of(next(frames).rgb) for _ in range(given_at_least)]
    waited_in_vain = not give_up.is_alive()
    sending.join()
    if not waited_in_vain:
        give_up.cancel()
        give_up.join()
        os.close(writing)
    frames.close()
    sys.stdin.close()
    assert not waited_in_vain, "frames came only when the pipe was closed"
    assert numbers == list(range(given_at_least))


def _send(writing: int, data: bytes) -> None:
    for at in range(0, len(data), 3000):
        os.write(writing, data[at : at + 3000])


def test_choosing_from_standard_input(piped: object, tmp_path: Path) -> None:
    piped(write_video(tmp_path / "clip.ts", 30).read_bytes())  # type: ignore[operator]
    frames = list(open_frames("-", start=3, stop=21, fps=10, stride=2))
    assert [number_of(frame.rgb) for frame in frames] == [3, 9, 15]


def test_mjpeg_carries_no_times_to_thin_by(piped: object, tmp_path: Path) -> None:
    data = write_video(tmp_path / "clip.mjpeg", 8, codec="mjpeg", encoder={"strict": "unofficial"}).read_bytes()
    piped(data)  # type: ignore[operator]
    with pytest.raises(InputError, match=r"fps=10.*standard input"):
        list(open_frames("-", fps=10))


def test_a_pipe_that_breaks_off_within_a_picture(piped: object, tmp_path: Path) -> None:
    path = write_video(tmp_path / "clip.mjpeg", 30, codec="mjpeg", encoder={"strict": "unofficial"})
    piped(cut(path, 0.5).read_bytes())  # type: ignore[operator]
    frames, error = read(open_frames("-"))
    assert len(frames) > 5
    assert error is not None
    assert [number_of(frame.rgb) for frame in frames] == list(range(error.index))


@pytest.mark.parametrize("data", [b"", b"hello\n" * 1000])
def test_no_video_on_standard_input(data: bytes, piped: object) -> None:
    piped(data)  # type: ignore[operator]
    with pytest.raises(InputError, match=r"standard input.*video"):
        list(open_frames("-"))


def test_a_terminal_is_no_source(monkeypatch: pytest.MonkeyPatch) -> None:
    class Terminal(io.BytesIO):
        def isatty(self) -> bool:
            return True

    monkeypatch.setattr(sys, "stdin", types.SimpleNamespace(buffer=Terminal()))
    with pytest.raises(InputError, match="source '-'"):
        open_frames("-")


# ------------------------------------------------------------------------------------------------------------ memory


def test_arrays_in_memory() -> None:
    arrays = [numbered(number) for number in range(5)]
    for given in (arrays, tuple(arrays), np.stack(arrays)):
        source = open_frames(given)
        assert isinstance(source, FrameSource)
        assert source.length == 5
        assert [number_of(frame.rgb) for frame in source] == list(range(5))
        assert [frame.timestamp_s for frame in source] == pytest.approx([number / 30 for number in range(5)])
    assert next(iter(source)).rgb.base is not None, "a stack of arrays is not copied"


def test_frames_in_memory_keep_what_they_say() -> None:
    given = [Frame(numbered(number), 10 + 3 * number, 0.25 * number, f"cam/{number}.png") for number in range(4)]
    source = open_frames(given, start=13)
    assert [(frame.index, frame.timestamp_s, frame.name) for frame in source] == [
        (13, 0.25, "cam/1.png"),
        (16, 0.5, "cam/2.png"),
        (19, 0.75, "cam/3.png"),
    ]
    assert source.length == 3
    assert [frame.index for frame in source.frames(14)] == [16, 19]


def test_frames_out_of_order() -> None:
    given = [Frame(numbered(0), index, 0.0, "") for index in (3, 3)]
    with pytest.raises(InputError, match=r"index 3.*index 3.*order"):
        list(open_frames(given))


def test_an_iterator_is_read_lazily_and_once() -> None:
    made: list[int] = []

    def camera() -> Iterator[np.ndarray]:
        for number in range(100):
            made.append(number)
            yield numbered(number)

    source = open_frames(camera(), stride=2)
    assert source.length is None
    assert made == []
    frames = iter(source)
    assert [next(frames).index for _ in range(3)] == [0, 2, 4]
    assert made == [0, 1, 2, 3, 4]
    with pytest.raises(InputError, match=r"iterator.*give a list"):
        next(iter(source))


@pytest.mark.parametrize(
    "array",
    [
        np.zeros((4, 5, 3), np.float32),
        np.zeros((4, 5), np.uint8),
        np.zeros((4, 5, 4), np.uint8),
        np.zeros((0, 5, 3), np.uint8),
    ],
)
def test_arrays_that_are_no_pictures(array: np.ndarray) -> None:
    with pytest.raises(InputError, match=r"frame 1 .*uint8.*\(height, width, 3\)"):
        list(open_frames([np.zeros((4, 5, 3), np.uint8), array]))


@pytest.mark.parametrize("nothing", [[], b"bytes", {"a": 1}])
def test_what_is_no_source(nothing: object) -> None:
    with pytest.raises(InputError, match=r"give (paths or arrays|a path)"):
        open_frames(nothing)  # type: ignore[arg-type]


def test_arrays_of_differing_sizes() -> None:
    with pytest.raises(BadFrameError, match=r"frame_000001.*40×50.*96×128"):
        list(open_frames([numbered(0), numbered(1, 40, 50)]))


@dataclass(frozen=True)
class Live:
    """A source without a length, as a camera is."""

    begun_at: list[int]
    name: str = "live"
    length: int | None = None

    def frames(self, first: int = 0) -> Iterator[Frame]:
        self.begun_at.append(first)
        return (Frame(numbered(index), index, index / 20, "") for index in range(first, 60))

    def __iter__(self) -> Iterator[Frame]:
        return self.frames(0)


def test_a_ready_source_is_chosen_from_like_any_other() -> None:
    live = Live([])
    source = open_frames(live, fps=5, stop=20)
    assert (source.name, source.length) == ("live", None)
    assert [frame.index for frame in source] == [0, 4, 8, 12, 16]
    assert [number_of(frame.rgb) for frame in open_frames(live).frames(57)] == [57, 58, 59]
    assert [frame.index for frame in open_frames(live, start=58)] == [58, 59]
    assert live.begun_at == [0, 57, 58], "where frames do not depend on those before, none is made in vain"


# ------------------------------------------------------------------------------------------------------------ worlds


@pytest.fixture
def made_worlds(monkeypatch: pytest.MonkeyPatch) -> list[tuple[object, ...]]:
    """Stands in for the worlds room: says what was asked for, and counts what is drawn."""
    asked: list[tuple[object, ...]] = []

    class World:
        def __getitem__(self, index: int) -> object:
            asked.append(("drawn", index))
            return types.SimpleNamespace(rgb=numbered(index % 256))

    def world(family: str, **settings: object) -> World:
        asked.append((family, settings))
        return World()

    monkeypatch.setitem(sys.modules, "openloger.worlds", types.SimpleNamespace(World=world))
    return asked


def test_a_world(made_worlds: list[tuple[object, ...]]) -> None:
    source = open_frames("world:rooms:7?frames=12&size=48x64&fps=20", stride=5)
    assert made_worlds == [("rooms", {"seed": 7, "size": (48, 64), "fps": 20})]
    assert source.length == 3
    assert source.name == "world:rooms:7?frames=12&size=48x64&fps=20"
    frames = list(source)
    assert [(frame.index, number_of(frame.rgb)) for frame in frames] == [(0, 0), (5, 5), (10, 10)]
    assert [frame.timestamp_s for frame in frames] == pytest.approx([0, 0.25, 0.5])
    assert made_worlds[1:] == [("drawn", 0), ("drawn", 5), ("drawn", 10)]


def test_an_endless_world(made_worlds: list[tuple[object, ...]]) -> None:
    source = open_frames("world:drive:0")
    assert source.length is None
    frames = source.frames(100_000)
    assert next(frames).index == 100_000
    assert open_frames("world:drive:0", stop=50, stride=2).length == 25


def test_a_real_world() -> None:
    frames = list(open_frames("world:rooms:3?size=48x64&fps=20", start=5, stop=12, stride=3))
    ready = list(open_frames(worlds.World("rooms", seed=3, size=(48, 64), fps=20, frames=12), start=5, stride=3))
    for taken in (frames, ready):
        assert [(frame.index, frame.timestamp_s, frame.rgb.shape) for frame in taken] == [
            (5, 0.25, (48, 64, 3)),
            (8, 0.4, (48, 64, 3)),
            (11, 0.55, (48, 64, 3)),
        ]
    assert all(np.array_equal(a.rgb, b.rgb) for a, b in zip(frames, ready, strict=True))
    with pytest.raises(InputError, match="palaces"):
        open_frames("world:palaces:3")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("world:rooms", "world:FAMILY:SEED"),
        ("world:rooms:seven", "world:rooms:seven"),
        ("world:rooms:7?colour=red", "colour"),
        ("world:rooms:7?size=48", "'48'"),
        ("world:rooms:7?frames=0", "'0'"),
        ("world:rooms:7?frames=", "''"),
    ],
)
def test_a_world_that_is_none(text: str, said: str, made_worlds: list[tuple[object, ...]]) -> None:
    with pytest.raises(InputError, match=said):
        open_frames(text)
