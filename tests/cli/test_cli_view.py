"""`openloger view`: where it serves, what it follows, the page to share, and one line for what cannot be."""

from __future__ import annotations

import json
import socket
import urllib.request
from pathlib import Path

import pytest
from viewing import scenes

from openloger.cli import main
from openloger.recording import Recording
from openloger.viewing import Viewer


@pytest.fixture(scope="module")
def walk(tmp_path_factory: pytest.TempPathFactory) -> Recording:
    return scenes.write_recording(tmp_path_factory.mktemp("walk") / "walk", scenes.room(20, size=(24, 32)))


def run(*arguments: str | Path) -> int:
    with pytest.raises(SystemExit) as left:
        main(["view", *map(str, arguments)])
    return int(left.value.code or 0)


@pytest.fixture
def visits(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """A visitor who fetches the page once all is read, and then presses Ctrl-C; what he was shown."""
    pages: list[str] = []

    def visited(viewer: Viewer) -> None:
        while viewer.latest is None or viewer.latest.blocks_read < viewer.latest.blocks:
            viewer.tick()
        with urllib.request.urlopen(viewer.url, timeout=60) as answer:
            pages.append(answer.read().decode())
        raise KeyboardInterrupt

    monkeypatch.setattr(Viewer, "run", visited)
    return pages


def test_it_serves_this_machine_alone_until_interrupted(
    walk: Recording, visits: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(walk.path, "--port", "8840", "--points", "5000") == 0
    said = capsys.readouterr().err
    assert f"openloger: http://127.0.0.1:8840 shows {walk.path}; Ctrl-C ends" in said
    assert "viser" in visits[0].lower()
    with pytest.raises(ConnectionRefusedError), socket.create_connection(("127.0.0.1", 8840), timeout=5):
        pass


def test_a_port_in_use_gives_the_next_one_and_is_said(
    walk: Recording, visits: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 8850))
        taken.listen()
        assert run(walk.path, "--port", "8850", "--points", "5000") == 0
    said = capsys.readouterr().err
    assert "port 8850 is in use; serving at 8851" in said
    assert "http://127.0.0.1:8851 shows" in said
    assert len(visits) == 1


def test_the_page_to_share_is_written_and_nothing_served(
    walk: Recording, visits: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    page = tmp_path / "scene.html"
    assert run(walk.path, "--share", page, "--points", "5000") == 0
    assert capsys.readouterr().out == f"{page}\n"
    assert "__VISER_EMBED_DATA__" in page.read_text()
    assert run(walk.path, "--share", page) == 2
    assert "exists: choose another path, or give --overwrite" in capsys.readouterr().err
    assert visits == []


def test_what_cannot_be_viewed_is_one_line(
    walk: Recording, tmp_path: Path, visits: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    other = scenes.write_recording(tmp_path / "other", scenes.room(4, size=(12, 16)))
    meta = json.loads((other.path / "meta.json").read_text())
    (other.path / "meta.json").write_text(json.dumps(meta | {"format_version": 99}))
    (other.path / "meta.copy.json").unlink()
    truth = tmp_path / "truth.txt"
    truth.write_text("1 2 3\n")
    for arguments, said in (
        ([tmp_path / "nothing"], "nothing"),
        ([tmp_path], str(tmp_path)),
        ([other.path], "99"),
        ([walk.path, "--points", "10"], "10 points are too few to show a scene"),
        ([walk.path, "--port", "70000"], "port 70000 cannot be"),
        ([walk.path, "--host", "192.0.2.7"], "'192.0.2.7' is no address of this machine"),
        ([walk.path, "--truth", tmp_path / "none.txt"], "none.txt"),
        ([walk.path, "--truth", truth], "truth.txt"),
    ):
        assert run(*arguments) == 2
        error = capsys.readouterr().err
        assert error.startswith("openloger: ")
        assert error.count("\n") == 1
        assert said in error
    assert visits == []
