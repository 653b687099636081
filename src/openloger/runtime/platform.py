"""The differences between systems: locks, memory, processors, and files that another program has open.

The only module that imports what exists on some systems alone (`fcntl`, `msvcrt`, `resource`) or reads `/proc`. On a
system without one of them its function returns None or False; it never fails.

On Windows a file cannot be replaced, removed or opened while another program has it open in certain ways. Virus
scanners, indexers and our own viewer hold files for moments, so `patiently` repeats what was refused for that reason.
"""

from __future__ import annotations

import errno
import os
import platform
import stat
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from io import BufferedReader
from pathlib import Path
from typing import TypeVar

ResultT = TypeVar("ResultT")
AnyPath = str | os.PathLike[str]
WINDOWS = os.name == "nt"
SHARING_PATIENCE_S = 3.0  # for a file that another program holds
_PROC = Path("/proc")
_LOCKED_BYTE = 1 << 40  # Windows' locks keep others from reading what is locked: a byte behind every file's end
_FIRST_WAIT_S, _LONGEST_WAIT_S = 0.002, 0.1
_sleep = time.sleep


def try_lock(descriptor: int) -> bool | None:
    """Lock an open file for this process; the lock ends when the descriptor is closed, or with the process.

    True: it is ours. False: another process, or another descriptor of this one, holds it. None: the system or the file
    system has no locks. On Windows an open file cannot be deleted, so lock one that stays.
    """
    try:
        import fcntl
    except ImportError:
        return _try_lock_on_windows(descriptor)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError:
        return None
    return True


def _try_lock_on_windows(descriptor: int) -> bool | None:
    try:
        import msvcrt
    except ImportError:
        return None
    os.lseek(descriptor, _LOCKED_BYTE, os.SEEK_SET)
    try:
        msvcrt.locking(descriptor, msvcrt.LK_NBLCK, 1)  # type: ignore[attr-defined]
    except PermissionError:
        return False
    except OSError:
        return None
    return True


def patiently(work: Callable[[], ResultT]) -> ResultT:
    """`work()`, repeated for a while where Windows refuses it because another program has the file open.

    Raises:
        OSError: what `work` raises, at once on other systems.
    """
    wait_s, until_s = _FIRST_WAIT_S, time.monotonic() + SHARING_PATIENCE_S
    while True:
        try:
            return work()
        except PermissionError:
            if not WINDOWS or time.monotonic() > until_s:
                raise
        _sleep(wait_s)
        wait_s = min(2 * wait_s, _LONGEST_WAIT_S)


def replace_file(source: AnyPath, target: AnyPath) -> None:
    """`os.replace`, `patiently`.

    Raises:
        OSError: what the file system reported; `target` is as it was.
    """
    patiently(lambda: os.replace(source, target))


def rename(before: AnyPath, after: AnyPath) -> None:
    """`os.rename`, of a folder too, `patiently`.

    Raises:
        OSError: what the file system reported; both are as they were.
    """
    patiently(lambda: os.rename(before, after))


def place_file(source: AnyPath, target: AnyPath) -> None:
    """Give a file the name `target` where nothing has it; `source` may still name it, too.

    Raises:
        FileExistsError: something has the name, and is as it was.
        OSError: what the file system reported.
    """
    try:
        patiently(lambda: os.link(source, target))
    except FileExistsError:
        raise
    except OSError:  # a file system without hard links
        if os.path.lexists(target):
            raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST), str(target)) from None
        replace_file(source, target)


def remove_file(path: AnyPath) -> None:
    """Remove a file, `patiently`; one that is not there is no error.

    Raises:
        OSError: what the file system reported.
    """
    with suppress(FileNotFoundError):
        patiently(lambda: os.unlink(path))


def read_bytes(path: AnyPath) -> bytes:
    """The whole of a regular file that may be replaced at any moment, `patiently`.

    Raises:
        OSError: what the file system reported, or it is no regular file.
    """

    def read() -> bytes:
        with open_regular(path) as file:
            return file.read()

    return patiently(read)


_NON_BLOCKING = getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_CLOEXEC", 0) | getattr(os, "O_BINARY", 0)
_KINDS = {
    stat.S_IFIFO: "a named pipe",
    stat.S_IFCHR: "a device",
    stat.S_IFBLK: "a device",
    stat.S_IFSOCK: "a socket",
    stat.S_IFDIR: "a folder",
}


def open_regular(path: AnyPath) -> BufferedReader:
    """The file, opened to be read; links are followed. It never waits, as opening a named pipe otherwise does.

    Raises:
        OSError: as `open` does, and IrregularFileError for what is no regular file.
        ValueError: the path holds a NUL.
    """
    descriptor = os.open(path, os.O_RDONLY | _NON_BLOCKING)
    kind = stat.S_IFMT(os.fstat(descriptor).st_mode)
    if kind != stat.S_IFREG:
        os.close(descriptor)
        what = f"{_KINDS.get(kind, 'something else')}, not a regular file"
        raise IrregularFileError(errno.EINVAL, what, os.fspath(path))
    return os.fdopen(descriptor, "rb")


class IrregularFileError(OSError):
    """What is read as a file is a pipe, a device, a socket or a folder; `strerror` says which."""


def sync_folder(folder: AnyPath) -> None:
    """Wait until the disk holds the names in a folder, which a rename changed. Windows does this by itself.

    Raises:
        OSError: what the file system reported.
    """
    if WINDOWS:
        return
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def peak_resident_bytes() -> int | None:
    """The largest resident size of this process so far; None where the system does not count it."""
    status = _PROC / "self" / "status"
    if status.is_file():  # getrusage would start with the parent's peak
        line = next(line for line in status.read_text(encoding="utf-8").splitlines() if line.startswith("VmHWM"))
        return int(line.split()[1]) * 1024
    try:
        import resource
    except ImportError:
        return _windows_memory("PeakWorkingSetSize")
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024  # macOS counts in bytes, the others in KiB


def resident_bytes() -> int | None:
    """The resident size of this process now; None where the system does not report it."""
    sizes = _PROC / "self" / "statm"
    if sizes.is_file():
        return int(sizes.read_bytes().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    return _windows_memory("WorkingSetSize")


def _windows_memory(field: str) -> int | None:
    """One number of the process's counters, in bytes; None on other systems."""
    import ctypes

    if not hasattr(ctypes, "windll"):
        return None
    fields = ["cb", "PageFaultCount", "PeakWorkingSetSize", "WorkingSetSize"]
    fields += [f"Quota{kind}{pool}Usage" for pool in ("PagedPool", "NonPagedPool") for kind in ("Peak", "")]
    fields += ["PagefileUsage", "PeakPagefileUsage"]
    kinds = [ctypes.c_uint32, ctypes.c_uint32] + [ctypes.c_size_t] * 8
    counters = type("Counters", (ctypes.Structure,), {"_fields_": list(zip(fields, kinds, strict=True))})()
    counters.cb = ctypes.sizeof(counters)
    kernel = ctypes.windll.kernel32
    kernel.GetCurrentProcess.restype = ctypes.c_void_p
    kernel.K32GetProcessMemoryInfo.argtypes = [ctypes.c_void_p, ctypes.c_void_p, ctypes.c_uint32]
    if not kernel.K32GetProcessMemoryInfo(kernel.GetCurrentProcess(), ctypes.byref(counters), counters.cb):
        return None
    return int(getattr(counters, field))


def limit_data_bytes(limit: int) -> bool:
    """Let no allocation bring this process's data beyond `limit`; False where the system has no such limit."""
    try:
        import resource
    except ImportError:
        return False
    if not hasattr(resource, "RLIMIT_DATA"):
        return False
    _, hard = resource.getrlimit(resource.RLIMIT_DATA)
    resource.setrlimit(resource.RLIMIT_DATA, (limit, hard))
    return True


def cache_folder() -> Path:
    """The user's folder for what can be made anew, of this package alone: in XDG_CACHE_HOME, by default ~/.cache."""
    root = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(root) / "openloger"


def usable_cores() -> int:
    """The number of processors that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def load_per_core() -> float:
    """Tasks a core that ran or waited for one in the last minute; 0 where the system does not count them."""
    return os.getloadavg()[0] / usable_cores() if hasattr(os, "getloadavg") else 0.0


def processor_name() -> str:
    """The display name of the processor."""
    listed = _PROC / "cpuinfo"
    lines = listed.read_text(encoding="utf-8").splitlines() if listed.is_file() else []
    named = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return next(named, platform.processor() or platform.machine())


def physical_memory_bytes() -> int | None:
    """The machine's memory; None where the system does not report it."""
    if not hasattr(os, "sysconf") or "SC_PHYS_PAGES" not in os.sysconf_names:
        return None
    return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")


def open_descriptors() -> int | None:
    """The number of files that this process has open; None where the system gives none."""
    for folder in (_PROC / "self" / "fd", Path("/dev/fd")):
        if folder.is_dir():
            return len(os.listdir(folder)) - 1  # without the one that lists them
    return None
