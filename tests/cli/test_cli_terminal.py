"""Names of files and addresses do nothing to a terminal."""

from __future__ import annotations

import io
import logging
import os
import sys
from pathlib import Path

import pytest

from openloger.cli import _checked, main
from openloger.cli.terminal import SafeFormatter, printable, progress_bar
from openloger.runtime.progress import Progress


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("a\x1b[2Jb", r"a\x1b[2Jb"),
        ("a\rb\x07\x9b", r"a\x0db\x07\x9b"),
        ("a\u202egpj.exe", r"a\u202egpj.exe"),
        (os.fsdecode(b"caf\xe9.mp4"), r"caf\xe9.mp4"),
        ("Übung – 日本\n\tb", "Übung – 日本\n\tb"),
    ],
)
def test_what_moves_a_terminal_is_written_out(text: str, shown: str) -> None:
    assert printable(text) == shown
    record = logging.LogRecord("openloger", logging.INFO, "", 0, "%s", (text,), None)
    assert SafeFormatter("%(message)s").format(record) == shown


def test_errors_are_printed_safely(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["info", "no\x1b[31msuch"])
    assert ended.value.code == 2
    assert "\x1b" not in capsys.readouterr().err


@pytest.mark.parametrize("name", ["[/a].mp4", "[red]x", "a\x1b[2J.mp4", os.fsdecode(b"\xff.mp4")])
def test_a_progress_bar_takes_any_name(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    terminal = Terminal()
    monkeypatch.setattr(sys, "stderr", terminal)
    with progress_bar(name) as show:
        show(Progress(frames=1, total=2, new_frames=1, seconds=1.0, waiting_s=0.0))
    assert printable(name) in terminal.getvalue()
    assert "\x1b[2J.mp4" not in terminal.getvalue()


def test_a_file_whose_name_begins_with_a_dash_is_a_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "-clip.mp4").write_bytes(b"-")
    given = ["reconstruct", "-clip.mp4", "-o", "out", "--fps", "2", "-", "-other.mp4"]
    assert _checked(given) == ["reconstruct", "./-clip.mp4", *given[2:]]
