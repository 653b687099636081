"""A signal is a request to stop; the second one acts as if nobody had asked."""

from __future__ import annotations

import signal
import subprocess
import sys
import threading
from collections.abc import Iterator

import pytest

from openloger.runtime.interrupts import stop_requests

SIGNALS = (signal.SIGINT, signal.SIGTERM)


@pytest.mark.parametrize("number", SIGNALS)
def test_the_first_signal_is_a_request(number: signal.Signals) -> None:
    heard: list[str] = []
    with stop_requests(on_request=lambda: heard.append("once")) as request:
        assert not request()
        signal.raise_signal(number)
        assert request()
        assert heard == ["once"]


@pytest.fixture
def interruptible() -> Iterator[None]:
    """Python's own handler of Ctrl-C, which a shell's background jobs start without."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


def test_a_second_interrupt_stops_at_once(interruptible: None) -> None:
    with stop_requests() as request:
        signal.raise_signal(signal.SIGINT)
        assert request.requested
        with pytest.raises(KeyboardInterrupt):
            signal.raise_signal(signal.SIGINT)


@pytest.mark.skipif(not hasattr(signal, "pthread_sigmask"), reason="signals that wait are those of POSIX")
@pytest.mark.parametrize("beforehand", [False, True])
def test_two_signals_that_come_together_are_no_error(beforehand: bool) -> None:
    """A busy machine ran the handlers of Ctrl-C and SIGTERM in one go, and a traceback was printed."""
    program = f"""
import os, signal
from openloger.runtime.interrupts import stop_requests
with stop_requests():
    both = {{signal.SIGINT, signal.SIGTERM}}
    if {beforehand}:
        signal.raise_signal(signal.SIGINT)
        both = {{signal.SIGTERM}}
    signal.pthread_sigmask(signal.SIG_BLOCK, both)
    for number in both:
        os.kill(os.getpid(), number)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, both)
print("went on")
"""
    ended = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60)
    assert (ended.returncode, ended.stdout, ended.stderr) == (-signal.SIGTERM, "", "")


@pytest.mark.parametrize("requested", [False, True])
def test_handlers_are_put_back(requested: bool) -> None:
    before = [signal.getsignal(number) for number in SIGNALS]
    with stop_requests():
        assert [signal.getsignal(number) for number in SIGNALS] != before
        if requested:
            signal.raise_signal(signal.SIGTERM)
    assert [signal.getsignal(number) for number in SIGNALS] == before


def test_other_threads_leave_signals_alone() -> None:
    before = signal.getsignal(signal.SIGINT)
    found: list[object] = []

    def work() -> None:
        with stop_requests() as request:
            found.append((signal.getsignal(signal.SIGINT), request()))

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert found == [(before, False)]
