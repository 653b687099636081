"""Breaking off and coming back: when it is tried again, for how long, and how the frames are numbered on."""

from __future__ import annotations

import threading
from collections.abc import Generator
from dataclasses import dataclass, field

import pytest
from live_sources import HandClock, slot

from openloger.errors import InputError
from openloger.frames.lazy import CutShortError, LazyFrame
from openloger.frames.live.reconnect import Reconnecting, SourceLostError


@dataclass
class Scripted:
    """A connection of so many frames, which then ends, or breaks off for a reason."""

    count: int
    broken: str | None = None
    finite: bool = False
    closed: bool = False

    def slots(self) -> Generator[LazyFrame, None, None]:
        yield from map(slot, range(self.count))
        if self.broken is not None:
            raise CutShortError(self.broken, index=self.count)

    def close(self) -> None:
        self.closed = True


@dataclass
class Server:
    """Gives its connections one after the other; None is an attempt that fails, as is every one after the last."""

    script: list[Scripted | None]
    attempts_s: list[float] = field(default_factory=list)
    hand: HandClock = field(default_factory=HandClock)
    stop: threading.Event = field(default_factory=threading.Event)

    def connect(self) -> Scripted:
        self.attempts_s.append(self.hand.now - 100)
        connection = self.script.pop(0) if self.script else None
        if connection is None:
            raise InputError("nobody answers")
        return connection

    def read(self, *, limit_s: float = 60.0, first: int = 0) -> tuple[list[int], str | None]:
        """The indices that came, and why no more did."""
        indices = []
        source = Reconnecting("cam", self.connect, limit_s, self.hand.clock)
        try:
            for one in source.slots(first, self.stop):
                assert one.name == f"frame_{one.index:06d}"
                indices.append(one.index)
        except SourceLostError as error:
            return indices, str(error)
        return indices, None


def test_frames_are_numbered_on_over_connections() -> None:
    connections = [Scripted(3, "reset"), Scripted(2), Scripted(4, finite=True)]
    server = Server(list(connections))
    assert server.read(first=10) == ([10, 11, 12, 13, 14, 15, 16, 17, 18], None)
    assert server.attempts_s == [0.0, 0.5, 1.0]
    assert all(connection.closed for connection in connections)


def test_each_wait_is_twice_as_long_up_to_the_limit() -> None:
    server = Server([Scripted(1, "reset")])
    indices, lost = server.read(limit_s=60.0)
    assert indices == [0]
    assert lost == "reset, and then nobody answers"
    assert server.attempts_s == pytest.approx([0.0, 0.5, 1.5, 3.5, 7.5, 15.5, 30.5, 45.5, 60.0])


def test_a_frame_makes_good_for_all() -> None:
    server = Server([Scripted(1), None, None, Scripted(1), Scripted(1, finite=True)])
    assert server.read(limit_s=5.0) == ([0, 1, 2], None)
    assert server.attempts_s == pytest.approx([0.0, 0.5, 1.5, 3.5, 4.0])


def test_a_connection_without_a_frame_does_not() -> None:
    """A server that accepts and says nothing must not be asked for ever, nor twice a second."""
    server = Server([Scripted(1), *[Scripted(0, "silence") for _ in range(20)]])
    indices, lost = server.read(limit_s=10.0)
    assert indices == [0]
    assert lost == "silence"
    assert server.attempts_s == pytest.approx([0.0, 0.5, 1.5, 3.5, 7.5, 10.0])


def test_a_limit_of_nothing_does_not_try() -> None:
    server = Server([Scripted(2), Scripted(2)])
    assert server.read(limit_s=0.0) == ([0, 1], "the connection was ended")
    assert server.attempts_s == [0.0]


def test_what_has_an_end_is_not_begun_again() -> None:
    assert Server([Scripted(2, finite=True), Scripted(2)]).read() == ([0, 1], None)
    assert Server([Scripted(2, "cut off", finite=True), Scripted(2)]).read() == ([0, 1], "cut off")


def test_the_first_connection_is_for_the_user_to_mend() -> None:
    with pytest.raises(InputError, match="nobody answers"):
        Server([None]).read()


def test_stopping_while_it_waits() -> None:
    server = Server([Scripted(1)])
    server.hand.after(5, server.stop.set)
    assert server.read(limit_s=1e6) == ([0], None)
    assert server.hand.now - 100 < 10
