"""Proof that a file is openloger's: each folder that it writes to holds a list of what it wrote there.

`.openloger-files.jsonl` has one line a file:

    {"file": "images/frame_000000.jpg", "bytes": 1234, "sha256": "…", "made_by": "export colmap"}

Lines are appended before the file moves to its place, so no file of ours is ever without its line. A file is ours where
a line has its name, size, hash and command; one that was added, edited or replaced since is the user's, and no command
removes it. A folder written as a whole lists its own files; a single file is listed in the folder that holds it.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from openloger.runtime.platform import remove_file, sync_folder

MANIFEST = ".openloger-files.jsonl"
DESK_PREFIX = ".openloger-partial-"  # of the folders that outputs are prepared in
_BLOCK = 1 << 20


@dataclass(frozen=True)
class WrittenFile:
    """One line of a manifest."""

    file: str  # relative to the manifest's folder, with slashes
    bytes: int
    sha256: str
    made_by: str  # the command


def record_file(path: Path, *, content: Path, made_by: str) -> None:
    """Declare that `path` is about to become what `content` holds; call it before the file is moved there.

    Raises:
        OSError: what the file system reported.
    """
    _append(path.parent, [_fingerprint(content, path.name, made_by)])


def record_folder(folder: Path, *, made_by: str) -> None:
    """Declare every file below `folder` to be written by `made_by`.

    Raises:
        OSError: what the file system reported.
    """
    files = (path for path in _files_below(folder) if path.name != MANIFEST)
    _append(folder, [_fingerprint(path, path.relative_to(folder).as_posix(), made_by) for path in files])


def is_ours(path: Path, *, made_by: str) -> bool:
    """Whether a single file is one that `made_by` wrote, unchanged since."""
    return _proven(path, path.name, _read(path.parent), made_by)


def first_foreign(folder: Path, *, made_by: str) -> Path | None:
    """The first file below `folder` that `made_by` did not write, or that has changed; None where all are ours."""
    lines = _read(folder)
    for path in _files_below(folder):
        ours = path == folder / MANIFEST or _proven(path, path.relative_to(folder).as_posix(), lines, made_by)
        if not ours:
            return path
    return None


def damaged_file(folder: Path) -> Path | None:
    """The first file of the manifest that is missing or differs from what was written; None where all are whole.

    Where a file was written several times, any of its versions is whole. Without a manifest nothing can be judged.
    """
    lines = _read(folder)
    for name, versions in lines.items():
        path = folder / name
        if not any(_proven(path, name, lines, version.made_by) for version in versions):
            return path
    return None


def remove_folder(folder: Path, *, made_by: str) -> None:
    """Remove a folder that `made_by` wrote as a whole; one that holds anything else, or nothing proven, stays as it is.

    Raises:
        OSError: what the file system reported.
    """
    if first_foreign(folder, made_by=made_by) is not None:
        return
    for path in sorted(_files_below(folder), key=lambda path: path.name == MANIFEST):  # the proof last
        remove_file(path)
    for top, _, names in os.walk(folder, topdown=False):
        for name in filter(is_clutter, names):
            remove_file(Path(top, name))
        if not os.listdir(top):
            os.rmdir(top)


def _files_below(folder: Path) -> Iterator[Path]:
    """Files, links and whatever else is no folder, in order; without clutter and unfinished outputs.

    Raises OSError for a folder that cannot be listed: what it holds is not known.
    """
    for top, folders, names in os.walk(folder, onerror=_raise):
        linked = [name for name in folders if os.path.islink(os.path.join(top, name))]
        folders[:] = sorted(name for name in folders if not (_is_passed_over(name) or name in linked))
        yield from (Path(top, name) for name in sorted([*names, *linked]) if not is_clutter(name))


def _raise(error: OSError) -> None:
    raise error


def _is_passed_over(name: str) -> bool:
    return is_clutter(name) or name.startswith(DESK_PREFIX)


def _fingerprint(path: Path, name: str, made_by: str) -> WrittenFile:
    digest, size = hashlib.sha256(), 0
    with path.open("rb") as file:
        while block := file.read(_BLOCK):
            digest.update(block)
            size += len(block)
    return WrittenFile(name, size, digest.hexdigest(), made_by)


def _proven(path: Path, name: str, lines: dict[str, set[WrittenFile]], made_by: str) -> bool:
    if name not in lines or path.is_symlink() or not path.is_file():
        return False
    size = path.stat().st_size
    candidates = {line for line in lines[name] if line.bytes == size and line.made_by == made_by}
    return bool(candidates) and _fingerprint(path, name, made_by) in candidates


def _append(folder: Path, lines: Iterable[WrittenFile]) -> None:
    path = folder / MANIFEST
    text = "".join(json.dumps(asdict(line)) + "\n" for line in lines)
    is_new = not path.exists()
    with path.open("a+b") as file:
        if _is_cut_off(path):
            text = "\n" + text  # the line that a kill cut off must not swallow the next
        file.write(text.encode())
        file.flush()
        os.fsync(file.fileno())
    if is_new:
        sync_folder(folder)


def _is_cut_off(path: Path) -> bool:
    with path.open("rb") as file:
        end = file.seek(0, os.SEEK_END)
        if not end:
            return False
        file.seek(end - 1)
        return file.read(1) != b"\n"


def _read(folder: Path) -> dict[str, set[WrittenFile]]:
    """By name; lines that are cut off or damaged prove nothing."""
    path = folder / MANIFEST
    if path.is_symlink() or not path.is_file():
        return {}
    lines: dict[str, set[WrittenFile]] = {}
    for text in path.read_bytes().split(b"\n"):
        line = _parsed(text)
        if line is not None:
            lines.setdefault(line.file, set()).add(line)
    return lines


def _parsed(text: bytes) -> WrittenFile | None:
    try:
        value: Any = json.loads(text)
        line = WrittenFile(**value)
    except (ValueError, TypeError, RecursionError):
        return None
    return line if all(isinstance(value[name], str) for name in ("file", "sha256", "made_by")) else None


_NAMES = {".ds_store", "thumbs.db", "desktop.ini", "__macosx", "@eadir", ".fseventsd", ".spotlight-v100", ".trashes"}


def is_clutter(name: str) -> bool:
    """Whether a file or folder of this name is clutter: `.DS_Store`, `Thumbs.db`, AppleDouble's `._NAME` and such."""
    return name.startswith("._") or name.lower() in _NAMES
