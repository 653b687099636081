"""What a pass that is cut leaves beside a recording."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest

from openloger.recording.unfinished import UnfinishedPass


@pytest.mark.parametrize("is_there", [True, False])
def test_only_what_is_there_and_cannot_be_removed_is_said(
    is_there: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, openloger_log: pytest.LogCaptureFixture
) -> None:
    """A file system that is read-only refuses to remove a file that is not there, too."""

    def refused(path: object) -> None:
        raise OSError(errno.EROFS, "Read-only file system", path)

    left = UnfinishedPass(tmp_path, "a recording")
    if is_there:
        left.write([{"place": 1}])
    monkeypatch.setattr(os, "unlink", refused)
    left.remove()
    assert ("it is of no more use" in openloger_log.text) == is_there
