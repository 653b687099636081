"""An export is written beside its place and moved there when it is whole, so no half export is ever found."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from openloger.errors import InputError


@contextmanager
def staged(path: Path, *, contents: Sequence[str] = (), overwrite: bool = False) -> Iterator[Path]:
    """Gives a path to write to: a file, or an empty folder that is to hold `contents`; moves it to `path` at the end.

    Where the block fails or is interrupted, nothing is left behind and what stood at `path` stays.

    Raises InputError where `path` exists (with `overwrite`: where it is not an earlier export of this kind), and
    where it cannot be written.
    """
    _check_place(path, contents, overwrite=overwrite)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        desk = Path(tempfile.mkdtemp(prefix=f".{path.name}.partial-", dir=path.parent))
    except OSError as error:
        raise InputError(f"cannot write {path}: {error.strerror}") from error
    try:
        draft = desk / path.name
        if contents:
            draft.mkdir()
        yield draft
        _move(draft, path, aside=desk / "replaced")
    except OSError as error:
        raise InputError(f"the export to {path} failed, and nothing of it was kept: {error}") from error
    finally:
        shutil.rmtree(desk, ignore_errors=True)


def _move(draft: Path, path: Path, *, aside: Path) -> None:
    """Into place; a folder cannot take the place of a full one, so that one steps aside first."""
    if path.is_dir():
        path.rename(aside)
    try:
        os.replace(draft, path)
    except OSError:
        if aside.exists():
            aside.rename(path)
        raise


def _check_place(path: Path, contents: Sequence[str], *, overwrite: bool) -> None:
    if not os.path.lexists(path):
        return
    if not overwrite:
        raise InputError(f"{path} exists: choose another path, or say --overwrite (overwrite=True)")
    if not contents and path.is_dir():
        raise InputError(f"{path} is a folder, and the export is one file: choose another path")
    if contents and not path.is_dir():
        raise InputError(f"{path} is a file, and the export is a folder: choose another path")
    strangers = sorted({entry.name for entry in path.iterdir()} - set(contents)) if contents else []
    if strangers:
        raise InputError(f"{path} holds {strangers[0]!r}, which no such export wrote: choose another path")
