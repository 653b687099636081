"""Freed memory stays with the process: the system hands out no fresh pages for it."""

from __future__ import annotations

import os
import platform
import subprocess
import sys

import pytest

from openloger.runtime.allocator import give_back_freed_memory, keep_freed_memory

ROUNDS, BYTES = 200, 1 << 20
SCRIPT = f"""
import resource
import numpy as np
from openloger.runtime.allocator import keep_freed_memory

def faults():
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    for _ in range({ROUNDS}):
        [np.ones({BYTES}, np.uint8) for _ in range(8)]
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before

faults()
print(faults(), keep_freed_memory(), faults())
"""
THREADS = """
import sys, threading
import numpy as np
from openloger.runtime.allocator import keep_freed_memory
from openloger.runtime.platform import resident_bytes

if sys.argv[1] == "kept":
    assert keep_freed_memory()

def turn():
    for allowed in turns[threading.current_thread().name]:
        allowed.wait()
        np.ones(8 << 20, np.uint8)
        done.release()

names = [str(number) for number in range(6)]
turns = {name: [threading.Event(), threading.Event()] for name in names}
done = threading.Semaphore(0)
workers = [threading.Thread(target=turn, name=name) for name in names]
for worker in workers:
    worker.start()
sizes = []
for events in zip(*turns.values()):
    for event in events:
        event.set()
        done.acquire()
        sizes.append(resident_bytes())
print((max(sizes) - sizes[0]) >> 20)
"""
GIVEN_BACK = """
import numpy as np
from openloger.runtime.allocator import give_back_freed_memory, keep_freed_memory
from openloger.runtime.platform import resident_bytes

assert keep_freed_memory()
[np.ones(1 << 20, np.uint8) for _ in range(128)]
kept = resident_bytes()
assert give_back_freed_memory()
print((kept - resident_bytes()) >> 20)
"""
NAMES = ("MALLOC_TRIM_THRESHOLD_", "MALLOC_MMAP_THRESHOLD_", "MALLOC_ARENA_MAX", "GLIBC_TUNABLES")
glibc = pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="another C library")


def measured(**environment: str) -> tuple[int, bool, int]:
    """Page faults before, whether the setting was made, page faults after; in a process of its own."""
    clean = {name: value for name, value in os.environ.items() if name not in NAMES}
    run = subprocess.run(
        [sys.executable, "-c", SCRIPT], env=clean | environment, check=True, capture_output=True, text=True
    )
    before, kept, after = run.stdout.split()
    return int(before), kept == "True", int(after)


@glibc
def test_what_is_freed_is_used_again() -> None:
    before, kept, after = measured()
    assert kept
    assert after < before / 20
    assert before > ROUNDS, "glibc gave pages back by itself"


@glibc
def test_what_one_thread_freed_serves_the_next() -> None:
    def growth_mib(how: str) -> int:
        environment = {name: value for name, value in os.environ.items() if name not in NAMES}
        if how == "glibc":  # all is kept there, too, and only the number of heaps differs
            environment |= {"MALLOC_TRIM_THRESHOLD_": "1073741824", "MALLOC_MMAP_THRESHOLD_": "33554432"}
        run = subprocess.run(
            [sys.executable, "-c", THREADS, how], env=environment, check=True, capture_output=True, text=True
        )
        return int(run.stdout)

    assert growth_mib("kept") < 12  # of the second heap, 8
    assert growth_mib("glibc") > 24, "threads share heaps by themselves"


@glibc
@pytest.mark.parametrize(
    ("name", "value"), [("MALLOC_TRIM_THRESHOLD_", "131072"), ("GLIBC_TUNABLES", "glibc.malloc.trim_threshold=131072")]
)
def test_what_the_user_set_is_kept(name: str, value: str) -> None:
    before, kept, after = measured(**{name: value})
    assert not kept
    assert after > before / 2 > 0


@glibc
def test_what_is_kept_can_be_given_back() -> None:
    clean = {name: value for name, value in os.environ.items() if name not in NAMES}
    run = subprocess.run([sys.executable, "-c", GIVEN_BACK], env=clean, check=True, capture_output=True, text=True)
    assert int(run.stdout) > 100


def test_other_libraries_are_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(platform, "libc_ver", lambda: ("musl", "1.2"))
    assert not keep_freed_memory()
    assert not give_back_freed_memory()
