"""torch's threads beside ours: on two cores a small network is faster with one, as decoding and writing take the other.

torch cuts each operation into a piece for every thread and waits for all of them. Where another thread holds a core,
the piece there comes late, and the waiting spins: with `pocket`, two threads on two cores made a run slower (×0.87) and
took a quarter more processor time, and twice as much where others were at work too. A large network's operations take
so long, and decoding and writing beside them so little, that every core is worth having.

Rendering and measures are thousands of small operations. With two threads on two busy cores, twelve frames of a world
took 1.7 to 2.7 times as long as with one, and 1.5 to 2.2 times the processor time, so they always run with one.
"""

from __future__ import annotations

import os
import threading
import time
import zlib
from collections.abc import Iterator
from contextlib import contextmanager

import torch

from openloger.runtime.platform import usable_cores

SMALL_WORK = 5e8  # multiplications a frame; `pocket` takes 1.6e8, `compact` 1.7e9


def threads_beside_pipeline(threads: int, *, work: float) -> int:
    """The number of torch's `threads`, one a core, to use for a network of `work` multiplications a frame.

    One where there are two and the work is small; otherwise all, as more cores have not been measured.
    """
    return 1 if threads == 2 and work < SMALL_WORK else threads


def free_threads() -> int | None:
    """The number of torch's threads, where nobody chose it; None: it is kept.

    It is chosen where OMP_NUM_THREADS is set, or torch.set_num_threads to other than the number of cores.
    """
    threads = torch.get_num_threads()
    return None if "OMP_NUM_THREADS" in os.environ or threads != usable_cores() else threads


@contextmanager
def cores_shared(*, work: float, measured: int | None = None, beside: int = 0) -> Iterator[None]:
    """While it lasts, torch has the `measured` number of threads, or that of `threads_beside_pipeline`; one less for
    each of the processes `beside`, at least one. A number that the user chose is kept (`free_threads`)."""
    free = free_threads()
    if free is None:
        yield
        return
    wanted = threads_beside_pipeline(free, work=work) if measured is None else min(measured, free)
    with threads_set(max(wanted - beside, 1)):
        yield


@contextmanager
def small_operations() -> Iterator[None]:
    """While it lasts, torch has one thread, unless the user chose another number; it decorates functions, too."""
    with cores_shared(work=0.0, measured=1):
        yield


@contextmanager
def threads_set(threads: int) -> Iterator[None]:
    """So many of torch's threads while it lasts."""
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        yield
    finally:
        torch.set_num_threads(before)


@contextmanager
def beside_neighbour(share: float) -> Iterator[None]:
    """While it lasts, a thread computes for this share (0..1) of the time, as decoding and writing do in a run."""
    ended = threading.Event()
    neighbour = threading.Thread(target=_compress, args=(min(share, 1.0), ended), daemon=True)
    neighbour.start()
    try:
        yield
    finally:
        ended.set()
        neighbour.join()


def _compress(share: float, ended: threading.Event) -> None:
    """In pieces of about a millisecond, without Python's lock, until it is `ended`."""
    block = bytes(range(256)) * 256
    while not ended.is_set():
        began_s = time.perf_counter()
        zlib.compress(block)
        ended.wait((time.perf_counter() - began_s) * (1 - share) / max(share, 1e-3))
