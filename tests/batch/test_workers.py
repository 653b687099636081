"""Workers without Ray: what its start leaves as it was."""

from __future__ import annotations

import ctypes
import os
import signal
from collections.abc import Iterator

import pytest

from openloger.batch import WorkerPool, WorkerResources, workers


class RayThatTakesSignals:
    """Ray's core sets handlers by the C library, where Python does not notice."""

    def __init__(self) -> None:
        self.library = ctypes.CDLL(None)
        self.library.signal.argtypes = (ctypes.c_int, ctypes.c_void_p)

    def is_initialized(self) -> bool:
        return False

    def init(self, **_: object) -> None:
        for number in (signal.SIGINT, signal.SIGTERM):
            self.library.signal(number, int(signal.SIG_IGN))

    def cluster_resources(self) -> dict[str, float]:
        raise ConnectionError("it is no cluster")

    def shutdown(self) -> None: ...


@pytest.fixture
def seen() -> Iterator[list[int]]:
    """The signals that reach the program."""
    numbers: list[int] = []
    chosen = (signal.SIGINT, signal.SIGTERM)
    before = {number: signal.signal(number, lambda number, _: numbers.append(number)) for number in chosen}
    yield numbers
    for number, handler in before.items():
        signal.signal(number, handler)


@pytest.mark.parametrize("address", [None, "somewhere:6379"])
def test_ray_takes_no_signal_from_the_program(
    address: str | None, seen: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(workers, "import_ray", RayThatTakesSignals)
    with pytest.raises(ConnectionError), WorkerPool(lambda: None, WorkerResources(workers=1, address=address)):
        pass
    for number in (signal.SIGINT, signal.SIGTERM):
        os.kill(os.getpid(), number)
    assert seen == [signal.SIGINT, signal.SIGTERM]
