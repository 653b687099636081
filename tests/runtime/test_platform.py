"""Windows and macOS, simulated: modules that are not there, files that others hold, no /proc."""

from __future__ import annotations

import ast
import builtins
import ctypes
import errno
import os
import sys
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import pytest

from openloger.runtime import platform

UNIX_ALONE = {"fcntl", "resource", "pwd", "grp", "termios"}


@pytest.fixture
def blocked(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Makes the import of modules fail, as where they do not exist."""

    def block(*names: str) -> None:
        real = builtins.__import__

        def imported(name: str, *others: object, **named: object) -> object:
            if name.partition(".")[0] in names:
                raise ImportError(f"No module named {name!r}")
            return real(name, *others, **named)

        for name in names:
            monkeypatch.delitem(sys.modules, name, raising=False)
        monkeypatch.setattr(builtins, "__import__", imported)

    return block


def lock_of(path: Path) -> tuple[int, bool | None]:
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT)
    return descriptor, platform.try_lock(descriptor)


def test_a_lock_has_one_holder_and_ends_with_its_descriptor(tmp_path: Path) -> None:
    pytest.importorskip("fcntl")
    first, held = lock_of(tmp_path / "lock")
    second, also_held = lock_of(tmp_path / "lock")
    assert (held, also_held) == (True, False)
    os.close(first)
    assert platform.try_lock(second) is True
    os.close(second)


def test_a_lock_on_windows_leaves_what_is_in_the_file_readable(
    tmp_path: Path, blocked: Callable[..., None], monkeypatch: pytest.MonkeyPatch
) -> None:
    locked: set[int] = set()

    def locking(descriptor: int, mode: int, count: int) -> None:
        at = os.lseek(descriptor, 0, os.SEEK_CUR)
        if at in locked:
            raise PermissionError(13, "Permission denied")
        assert (mode, count) == (2, 1)
        assert at > 1 << 30, "within the file, others could not read it"
        locked.add(at)

    blocked("fcntl")
    monkeypatch.setitem(sys.modules, "msvcrt", SimpleNamespace(locking=locking, LK_NBLCK=2))
    first, held = lock_of(tmp_path / "lock")
    second, also_held = lock_of(tmp_path / "lock")
    assert (held, also_held) == (True, False)
    os.close(first)
    os.close(second)


def test_without_locks_it_says_so(
    tmp_path: Path, blocked: Callable[..., None], monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> None:
        raise OSError(95, "Operation not supported")

    with monkeypatch.context() as patched:
        patched.setattr("fcntl.flock", refuse)
        descriptor, held = lock_of(tmp_path / "lock")
        assert held is None
    blocked("fcntl", "msvcrt")
    assert platform.try_lock(descriptor) is None
    os.close(descriptor)


class Sharing:
    """A file that another program lets go after some tries."""

    def __init__(self, tries: int, monkeypatch: pytest.MonkeyPatch) -> None:
        self.left, self.waited_s = tries, 0.0
        monkeypatch.setattr(platform, "_sleep", self._wait)
        monkeypatch.setattr(platform.time, "monotonic", lambda: self.waited_s)

    def _wait(self, seconds: float) -> None:
        self.waited_s += seconds

    def __call__(self) -> str:
        self.left -= 1
        if self.left >= 0:
            raise PermissionError(13, "The process cannot access the file", "meta.json", 32)
        return "done"


def test_a_file_that_another_program_holds_is_waited_for_on_windows(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(platform, "WINDOWS", True)
    held = Sharing(20, monkeypatch)
    assert platform.patiently(held) == "done"
    assert 0 < held.waited_s < platform.SHARING_PATIENCE_S
    with pytest.raises(PermissionError):
        platform.patiently(Sharing(10**6, monkeypatch))


def test_elsewhere_a_refusal_is_final(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(platform, "WINDOWS", False)
    held = Sharing(1, monkeypatch)
    with pytest.raises(PermissionError):
        platform.patiently(held)
    assert held.waited_s == 0


def test_files_are_replaced_read_and_removed_once_they_are_free(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tries: list[Sharing] = []

    def held_twice(function: Callable[..., object]) -> Callable[..., object]:
        held = Sharing(2, monkeypatch)
        tries.append(held)

        def wrapper(*arguments: object, **named: object) -> object:
            held()
            return function(*arguments, **named)

        return wrapper

    monkeypatch.setattr(platform, "WINDOWS", True)
    old, new = tmp_path / "old", tmp_path / "new"
    old.write_bytes(b"old")
    new.write_bytes(b"new")
    monkeypatch.setattr(os, "replace", held_twice(os.replace))
    platform.replace_file(new, old)
    with monkeypatch.context() as opening:
        opening.setattr(os, "open", held_twice(os.open))
        assert platform.read_bytes(old) == b"new"
    monkeypatch.setattr(os, "rename", held_twice(os.rename))
    platform.rename(old, tmp_path / "kept")
    monkeypatch.setattr(os, "unlink", held_twice(os.unlink))
    platform.remove_file(tmp_path / "kept")
    assert list(tmp_path.iterdir()) == []
    assert [held.left for held in tries] == [-1] * 4  # refused twice, and done with the third
    platform.sync_folder(tmp_path / "not there")  # nothing to do


@pytest.mark.parametrize("links", [True, False])
def test_a_file_gets_a_free_name_and_no_other(links: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """On file systems with hard links and without."""

    def refused(*names: object) -> None:
        raise PermissionError(errno.EPERM, "Operation not permitted")

    if not links:
        monkeypatch.setattr(os, "link", refused)
    draft, place = tmp_path / "draft", tmp_path / "place"
    draft.write_bytes(b"first")
    platform.place_file(draft, place)
    assert place.read_bytes() == b"first"
    other = tmp_path / "other"
    other.write_bytes(b"other")
    with pytest.raises(FileExistsError):
        platform.place_file(other, place)
    assert place.read_bytes() == b"first"


@pytest.mark.skipif(sys.platform == "win32", reason="Windows syncs folders by itself")
def test_a_folder_is_synced(tmp_path: Path) -> None:
    platform.sync_folder(tmp_path)
    with pytest.raises(FileNotFoundError):
        platform.sync_folder(tmp_path / "not there")


def test_without_proc_and_resource_memory_is_not_counted(
    blocked: Callable[..., None], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    assert (platform.resident_bytes() or 0) > 1e6
    monkeypatch.setattr(platform, "_PROC", tmp_path)
    assert (platform.peak_resident_bytes() or 0) > 1e6, "macOS has resource"
    assert platform.resident_bytes() is None
    assert platform.processor_name()
    blocked("resource")
    assert platform.peak_resident_bytes() is None
    assert platform.limit_data_bytes(1 << 40) is False


def test_memory_on_windows_is_read_from_its_counters(monkeypatch: pytest.MonkeyPatch) -> None:
    def info(process: object, counters: object, size: int) -> int:
        held = counters._obj  # type: ignore[attr-defined]
        assert size == ctypes.sizeof(held) == held.cb
        held.PeakWorkingSetSize, held.WorkingSetSize = 300 << 20, 200 << 20
        return 1

    class Function:
        def __init__(self, work: Callable[..., object]) -> None:
            self.work = work

        def __call__(self, *arguments: object) -> object:
            return self.work(*arguments)

    kernel = SimpleNamespace(GetCurrentProcess=Function(lambda: 1), K32GetProcessMemoryInfo=Function(info))
    monkeypatch.setattr(ctypes, "windll", SimpleNamespace(kernel32=kernel), raising=False)
    assert platform._windows_memory("PeakWorkingSetSize") == 300 << 20
    assert platform._windows_memory("WorkingSetSize") == 200 << 20


def test_only_one_module_uses_what_one_system_alone_has() -> None:
    """Read from the source, so that an import inside a function counts as well."""
    root = Path(platform.__file__).parents[1]
    found = [
        f"{path.relative_to(root).as_posix()}: {name}"
        for path in root.rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        for name in _names(node)
        if path != Path(platform.__file__)
    ]
    assert found == []


def _names(node: ast.AST) -> list[str]:
    """Names in a piece of source that exist on one system alone."""
    if isinstance(node, ast.Import):
        return [alias.name for alias in node.names if alias.name in UNIX_ALONE | {"msvcrt"}]
    if isinstance(node, ast.ImportFrom):
        return [node.module] if node.module in UNIX_ALONE | {"msvcrt"} else []
    if isinstance(node, ast.Constant) and isinstance(node.value, str) and node.value.startswith("/proc"):
        return [node.value]
    if isinstance(node, ast.Attribute) and node.attr in {"sched_getaffinity", "sysconf", "fork", "geteuid", "getuid"}:
        return [node.attr]
    return []


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="named pipes are of POSIX")
@pytest.mark.timeout(20)
def test_only_regular_files_are_read(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "endless").symlink_to("/dev/zero")
    for name, said in (("pipe", "a named pipe"), ("endless", "a device")):
        with pytest.raises(platform.IrregularFileError, match=said):
            platform.read_bytes(tmp_path / name)
