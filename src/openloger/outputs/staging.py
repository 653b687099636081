"""An output is prepared beside its place and moved there when it is whole, so no half of one is ever found."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from fnmatch import fnmatchcase
from pathlib import Path

from openloger.errors import InputError
from openloger.outputs.atomic import make_folder, sync_file
from openloger.outputs.manifest import (
    DESK_PREFIX,
    MANIFEST,
    first_foreign,
    is_clutter,
    is_ours,
    record_file,
    record_folder,
    remove_folder,
)
from openloger.runtime.platform import WINDOWS, place_file, remove_file, rename, replace_file, sync_folder, try_lock

_ELSEWHERE = "choose another path, or move it away"
_OVERWRITE = "choose another path, or give --overwrite (overwrite=True)"


def check_place(path: Path, *, made_by: str, overwrite: bool = False, folder: bool = False) -> None:
    """Check that an output of the command `made_by`, a file or a whole `folder`, may be written to `path`.

    Raises InputError where something is there: without `overwrite` always (an empty folder excepted), with it where
    not every file of it is one that `made_by` wrote, unchanged since; and where the system refuses new files there.
    """
    if "\0" in str(path):
        raise InputError(f"cannot write {str(path)!r}: a path holds no NUL")
    try:
        path = _followed(path)
        _check_permission(path if folder and path.is_dir() else path.parent, path)
        if not path.is_symlink() and not path.exists():
            return
    except OSError as error:
        raise InputError(f"cannot write {path}: {error.strerror or error}") from error
    if folder and path.exists() and not path.is_dir():
        raise InputError(f"{path} is a file, and {made_by} writes a folder: choose another path")
    if not folder and path.is_dir():
        raise InputError(f"{path} is a folder, and {made_by} writes one file: choose another path")
    try:
        if folder and not _entries(path):
            return
        if not overwrite:
            raise InputError(f"{path} exists: {_OVERWRITE}")
        foreign = first_foreign(path, made_by=made_by) if folder else _foreign_file(path, made_by)
    except OSError as error:
        raise InputError(f"cannot read {path}, which is to be replaced: {error.strerror or error}") from error
    if foreign is not None:
        raise InputError(
            f"{foreign} is not what `{made_by}` wrote, or has changed since, so it is not replaced: {_ELSEWHERE}"
        )


def _check_permission(home: Path, path: Path) -> None:
    """Raises InputError where no file can be made in `home`, or in the first of its parents that is there."""
    there = next((one for one in (home, *home.parents) if one.is_dir()), None)
    if there is not None and not os.access(there, os.W_OK | os.X_OK):
        raise InputError(f"cannot write {path}: {there} is read-only, or another user's; choose another path")


@contextmanager
def staged_file(path: Path, *, made_by: str, overwrite: bool = False) -> Iterator[Path]:
    """Gives a path to write one file to, and moves it to `path` at the end. See `staged_folder`."""
    check_place(path, made_by=made_by, overwrite=overwrite)
    path = _followed(path)
    with _desk(path.parent, path, made_by) as desk:
        draft = desk / path.name
        yield draft
        sync_file(draft)
        check_place(path, made_by=made_by, overwrite=overwrite)
        record_file(path, content=draft, made_by=made_by)
        try:
            (replace_file if overwrite else place_file)(draft, path)
        except FileExistsError as error:  # by another run, this very moment
            raise InputError(f"{path} exists: {_OVERWRITE}") from error
        sync_folder(path.parent)


@contextmanager
def staged_folder(path: Path, *, made_by: str, overwrite: bool = False) -> Iterator[Path]:
    """Gives an empty folder to write to, and moves it to `path` at the end, in the place of an earlier one.

    Where the block fails or is interrupted, nothing is left behind and what stood at `path` stays.

    Raises InputError as `check_place` does, at the beginning and again at the end, and where it cannot be written.
    """
    check_place(path, made_by=made_by, overwrite=overwrite, folder=True)
    path = _followed(path)
    within = path.is_dir()  # it may be a mount, or somebody's working directory: it stays, and its contents change
    with _desk(path if within else path.parent, path, made_by) as desk:
        draft = desk / "new"
        draft.mkdir()
        yield draft
        record_folder(draft, made_by=made_by)
        with _alone_in(path) if within else nullcontext():
            check_place(path, made_by=made_by, overwrite=overwrite, folder=True)
            if within:
                _swap(draft, path, aside=desk / "replaced", made_by=made_by)
            else:
                _move(draft, path)
        sync_folder(path if within else path.parent)


def write_output(path: Path, data: bytes | str, *, made_by: str, overwrite: bool = False) -> None:
    """Write one file, whole or not at all.

    Raises InputError as `check_place` does, and where it cannot be written.
    """
    with staged_file(path, made_by=made_by, overwrite=overwrite) as draft:
        draft.write_bytes(data.encode() if isinstance(data, str) else data)


def remove_drafts(home: Path, name: str, *, made_by: str) -> None:
    """Remove the drafts of single files that killed runs of `made_by` left in the folder `home`.

    They are the folders that carry the command's name and hold nothing but files whose own names match `name`, as a
    shell matches them. Call it where no other run of the command can be at work on such files.

    Raises:
        OSError: what the file system reported.
    """
    for desk in sorted(home.glob(f"{_desk_prefix(made_by)}????????")):
        if desk.is_symlink() or not desk.is_dir():
            continue
        drafts = list(desk.iterdir())
        if all(fnmatchcase(draft.name, name) and draft.is_file() and not draft.is_symlink() for draft in drafts):
            for draft in drafts:
                remove_file(draft)
            desk.rmdir()


def _desk_prefix(made_by: str) -> str:
    return f"{DESK_PREFIX}{made_by.replace(' ', '-')}-"


@contextmanager
def _desk(home: Path, path: Path, made_by: str) -> Iterator[Path]:
    """A folder of our own in `home`; removed at the end, unless something that is not ours lies in it."""
    try:
        make_folder(home)
        desk = Path(tempfile.mkdtemp(prefix=_desk_prefix(made_by), dir=home))
    except OSError as error:
        raise InputError(f"cannot write {path}: {error.strerror or error}") from error
    try:
        yield desk
    except OSError as error:
        raise InputError(f"writing {path} failed, and nothing of it was kept: {error}") from error
    finally:
        for draft in [entry for entry in desk.iterdir() if entry.name != "replaced"]:
            shutil.rmtree(draft) if draft.is_dir() else remove_file(draft)
        if not any(desk.iterdir()):
            desk.rmdir()


@contextmanager
def _alone_in(folder: Path) -> Iterator[None]:
    """One run at a time exchanges the entries of a folder; on Windows, where folders have no locks, nothing is held.

    Raises InputError where another run does.
    """
    if WINDOWS:
        yield
        return
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        if try_lock(descriptor) is False:
            raise InputError(f"{folder}: another run is writing there; wait for it, or end it")
        yield
    finally:
        os.close(descriptor)


def _swap(draft: Path, path: Path, *, aside: Path, made_by: str) -> None:
    """The entries of `draft` into `path`, and those that are there aside and away; or all as it was."""
    aside.mkdir()
    moved: list[tuple[Path, Path]] = []
    try:
        for entry in _entries(path):
            moved.append(_move(entry, aside / entry.name))
        for entry in sorted(draft.iterdir(), key=lambda entry: entry.name == MANIFEST):  # the proof last
            moved.append(_move(entry, path / entry.name))
    except OSError:
        for before, after in reversed(moved):
            _move(after, before)
        aside.rmdir()
        raise
    remove_folder(aside, made_by=made_by)
    if aside.exists():
        raise InputError(f"{path} is written; what else was in it now lies in {aside}: take it from there")


def _move(before: Path, after: Path) -> tuple[Path, Path]:
    rename(before, after)
    return before, after


def _entries(path: Path) -> list[Path]:
    """The entries of a folder that count."""
    return [one for one in path.iterdir() if not (is_clutter(one.name) or one.name.startswith(DESK_PREFIX))]


def _foreign_file(path: Path, made_by: str) -> Path | None:
    return None if is_ours(path, made_by=made_by) else path


def _followed(path: Path) -> Path:
    """Where a link leads: what it leads to is replaced, and the link stays."""
    return path.resolve() if path.is_symlink() else path
