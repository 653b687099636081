"""Files on this machine or at an address that fsspec reads (`s3://`, `gs://`, `memory://`, …), in one way.

Credentials and endpoints are fsspec's own: environment variables (`AWS_ENDPOINT_URL`, …) and its configuration files.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path, PurePosixPath
from typing import Any

from openloger.errors import InputError, RecordingError
from openloger.frames.addresses import host_and_path, without_secrets
from openloger.frames.files import open_regular
from openloger.outputs import partial_of, put_in_place, write_atomically
from openloger.recording.layout import COMMITTED_FILE, LOCK_FILE, META_FILE

_SCHEME = re.compile(r"([A-Za-z][A-Za-z0-9+.-]+)://")


def local_path(address: str) -> Path | None:
    """The path that an address stands for; None where it is on another file system than this machine's."""
    found = _SCHEME.match(address)
    if found is None and "::" not in address:
        return Path(address)
    if found is not None and found[1] in ("file", "local") and "::" not in address:
        return Path(address[found.end() :])
    return None


def file_system(address: str) -> tuple[Any, str]:
    """fsspec's file system of an address, and the path in it.

    Raises:
        InputError: there is none of its kind, or a package for it is missing.
    """
    import fsspec
    from fsspec.core import url_to_fs

    scheme = address.partition("://")[0]
    try:
        return url_to_fs(str(local_path(address) or address))
    except ImportError as error:
        raise InputError(f"{scheme}://… needs a package that is not installed: {error}") from error
    except ValueError as error:
        known = ", ".join(sorted(fsspec.available_protocols()))
        raise InputError(f"{scheme}://… is no file system that fsspec has ({error}); there are {known}") from error


class Storage:
    """A folder here or at an address; names within it are relative, with slashes."""

    def __init__(self, address: str) -> None:
        """Raises InputError where no file system fits the address."""
        self.local = local_path(address)
        self.address = str(self.local.absolute()) if self.local is not None else address.rstrip("/")
        self._system, self._root = file_system(self.address)

    def at(self, name: str) -> str:
        """The address of a file or folder in it."""
        return f"{self.address}/{name}"

    def path(self, name: str) -> Path | None:
        """The path on this machine; None where it is elsewhere."""
        return None if self.local is None else Path(self.address) / name

    def exists(self, name: str) -> bool:
        return bool(self._system.exists(self._within(name)))

    def read(self, name: str) -> bytes | None:
        """The whole of a file; None where there is none.

        Raises:
            OSError: what the file system reported; it names the file.
        """
        try:
            return self._system.cat_file(self._within(name))
        except FileNotFoundError:
            return None
        except OSError as error:
            if error.filename is None:
                error.filename = without_secrets(self.at(name))
            raise

    def write(self, name: str, data: bytes) -> None:
        """Put a file there, whole or not at all.

        Raises:
            OSError: what the file system reported.
        """
        if (path := self.path(name)) is not None:
            write_atomically(path, data)
        else:
            self._system.pipe_file(self._within(name), data)

    def remove(self, name: str) -> None:
        """Remove a file; one that is not there is no error."""
        try:
            self._system.rm_file(self._within(name))
        except FileNotFoundError:
            return

    def names(self, folder: str) -> list[str]:
        """The names of the files in a folder of it; none where there is no such folder."""
        self._system.invalidate_cache()
        try:
            entries = self._system.ls(self._within(folder), detail=True)
        except FileNotFoundError:
            return []
        return sorted(PurePosixPath(entry["name"]).name for entry in entries if entry["type"] == "file")

    def _within(self, name: str) -> str:
        return f"{self._root}/{name}" if name else self._root


def version_of(address: str) -> str:
    """A text that changes when the file or folder at an address does; "" where the file system gives none."""
    system, path = file_system(address)
    try:
        info = system.info(path)
    except FileNotFoundError:
        return ""
    changed = [info.get(key) for key in ("ETag", "etag", "md5Hash", "mtime", "LastModified", "updated", "created")]
    return " ".join(map(str, [info.get("size"), *(one for one in changed if one is not None)][:2]))


def download(address: str, folder: Path) -> Path:
    """The file at an address, or every file below it, in `folder`; what is there in its full size is kept.

    Raises:
        InputError: nothing is there.
        OSError: what the file system reported.
    """
    system, root = file_system(address)
    system.invalidate_cache()
    if system.isfile(root):
        files = {root: folder / PurePosixPath(host_and_path(root)).name}
        place = files[root]
    else:
        place = folder / PurePosixPath(root).name
        files = {file: place / PurePosixPath(file).relative_to(root) for file in system.find(root)}
    if not files:
        raise InputError(f"there is nothing at {without_secrets(address)}; check the address")
    for file, path in files.items():
        path.parent.mkdir(parents=True, exist_ok=True)
        if path.exists() and path.stat().st_size == system.size(file):
            continue
        system.get_file(file, partial_of(path))
        put_in_place(path)
    return place


def upload_recording(recording: Path, storage: Storage, name: str) -> None:
    """Copy a complete recording: what identifies it first, what counts its frames last, so that no half of one is read.

    Raises:
        RecordingError: something else is there.
        OSError: what the file system reported.
    """
    ours = (recording / META_FILE).read_bytes()
    there = storage.read(f"{name}/{META_FILE}")
    if there != ours and (there is not None or storage.names(name)):
        raise RecordingError(f"{storage.at(name)}: something else than this recording is there; give another --out")
    paths = (path for path in recording.rglob("*") if path.is_file() and path.name != LOCK_FILE)
    files = sorted(path.relative_to(recording).as_posix() for path in paths)
    files.sort(key=lambda file: (file != META_FILE, file == COMMITTED_FILE))
    for file in files:
        storage.write(f"{name}/{file}", (recording / file).read_bytes())  # chunks and tables: a few MB each


@contextmanager
def readable(address: str) -> Iterator[Any]:
    """A file at an address, opened to be read.

    Raises:
        InputError: it cannot be.
    """
    system, path = file_system(address)
    local = local_path(address)
    try:
        file = system.open(path, "rb") if local is None else open_regular(local)
    except OSError as error:
        reason = str(error.strerror or error).replace(address, without_secrets(address))
        raise InputError(f"{without_secrets(address)} cannot be read ({reason}); check the address") from error
    with file:
        yield file
