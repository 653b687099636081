"""Files that one long job writes again and again, such as the weights of a training run."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from openloger.outputs.manifest import first_foreign, is_ours
from openloger.outputs.staging import staged_file, staged_folder
from openloger.runtime.platform import rename

_log = logging.getLogger("openloger")


@contextmanager
def replace_file(path: Path, *, made_by: str) -> Iterator[Path]:
    """Gives a path to write to, and moves it to `path` at the end, in the place of an earlier version.

    A file that `made_by` cannot prove to have written is not removed but renamed, with a warning: a job of days must
    neither lose a file nor stop for one.

    Raises InputError where it cannot be written.
    """
    if os.path.lexists(path) and not is_ours(path, made_by=made_by):
        set_aside(path)
    with staged_file(path, made_by=made_by, overwrite=True) as draft:
        yield draft


@contextmanager
def replace_folder(path: Path, *, made_by: str) -> Iterator[Path]:
    """The same for a folder that is written as a whole."""
    if os.path.lexists(path) and (not path.is_dir() or first_foreign(path, made_by=made_by)):
        set_aside(path)
    with staged_folder(path, made_by=made_by, overwrite=True) as draft:
        yield draft


def set_aside(path: Path) -> Path:
    """Rename a file or folder that is in the way to the first free name of `NAME.kept-1`, `NAME.kept-2`, …"""
    number = 1
    while os.path.lexists(kept := path.with_name(f"{path.name}.kept-{number}")):
        number += 1
    rename(path, kept)
    _log.warning("%s was not written by this job, or has changed since: it is kept as %s", path, kept.name)
    return kept
