"""torch's threads beside ours: on two cores a small network is faster with one, as decoding and writing take the other.

torch cuts each operation into a piece for every thread and waits for all of them. Where another thread holds a core,
the piece there comes late, and the waiting spins: with `pocket`, two threads on two cores made a run slower (×0.87) and
took a quarter more processor time, and twice as much where others were at work too. A large network's operations take
so long, and decoding and writing beside them so little, that every core is worth having.
"""

from __future__ import annotations

import os
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


@contextmanager
def cores_shared(*, work: float) -> Iterator[None]:
    """`threads_beside_pipeline` while it lasts.

    Where OMP_NUM_THREADS is set, or torch.set_num_threads to other than the number of cores, that is kept.
    """
    threads = torch.get_num_threads()
    if "OMP_NUM_THREADS" in os.environ or threads != usable_cores():
        yield
        return
    torch.set_num_threads(threads_beside_pipeline(threads, work=work))
    try:
        yield
    finally:
        torch.set_num_threads(threads)
