"""No traceback and no dead end: one line for what the system refuses, and a way on from every mistake."""

from __future__ import annotations

import errno
import json
import os
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable
from importlib import metadata
from pathlib import Path

import pytest
from PIL import Image
from recording import recorded_values as values

import openloger.cli
from openloger.cli import main
from openloger.cli.arguments import default_out
from openloger.errors import InputError
from openloger.network import NetworkSpec
from openloger.recording import create_recording
from openloger.version import install_command

LONG = "a" * 5000


@pytest.fixture(scope="module")
def walk(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("walk") / "walk"
    with create_recording(folder, values.meta()) as writer:
        for placed in values.placed_windows(20):
            writer.append(placed)
        writer.finish()
    return folder


@pytest.fixture
def pictures(tmp_path: Path) -> Path:
    folder = tmp_path / "pictures"
    folder.mkdir()
    for number in range(3):
        Image.new("RGB", (64, 48), (number, 9, 9)).save(folder / f"p{number}.png")
    return folder


@pytest.fixture
def unloaded(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing may load a network."""

    def load(spec: NetworkSpec) -> object:
        raise AssertionError(f"{spec.network} was loaded")

    monkeypatch.setattr(NetworkSpec, "load", load)


def refused(capsys: pytest.CaptureFixture[str], *arguments: str | Path) -> str:
    """The one line that a command is refused with."""
    with pytest.raises(SystemExit) as left:
        main([str(argument) for argument in arguments])
    said = capsys.readouterr().err
    assert left.value.code == 2, said
    assert said.count("\n") == 1
    assert len(said) < 1000
    return said


@pytest.mark.parametrize("option", [(), ("--resume",), ("--overwrite",)])
@pytest.mark.parametrize("place", ["file", "file/below", LONG, f"new/{LONG}"])
def test_where_no_recording_can_be_is_said_before_a_network_is_loaded(
    option: tuple[str, ...], place: str, pictures: Path, tmp_path: Path, unloaded: None, capsys: pytest.CaptureFixture
) -> None:
    (tmp_path / "file").touch()
    said = refused(capsys, "reconstruct", pictures, "-o", tmp_path / place, *option)
    assert "choose" in said or "give a folder" in said


def test_a_recording_that_is_to_be_kept_is_said_before_a_network_is_loaded(
    walk: Path, pictures: Path, unloaded: None, capsys: pytest.CaptureFixture[str]
) -> None:
    assert "--resume" in refused(capsys, "reconstruct", pictures, "-o", walk)
    assert "--resume" in refused(capsys, "live", pictures, "-o", walk, "--no-view")


@pytest.mark.parametrize(
    ("source", "options", "named"),
    [
        ("other", (), r"from '.*pictures', not from '.*other'"),
        ("pictures", ("--network", "loger"), r"network 'pocket', not 'loger'"),
        ("pictures", ("--network", "pocket", "--window", "6"), r"window \d+, not 6"),
        ("pictures", ("--network", "pocket", "--size", "70", "70"), r"size \(\d+, \d+\), not \(70, 70\)"),
        ("pictures", ("--network", "pocket", "--lens", "fixed"), r"lens 'varying', not 'fixed'"),
        ("pictures", ("--network", "pocket", "--mask-static", "other/p0.png"), r"no masks, not with these"),
    ],
)
def test_what_cannot_be_resumed_is_refused_before_a_network_is_loaded(
    source: str,
    options: tuple[str, ...],
    named: str,
    pictures: Path,
    tmp_path: Path,
    request: pytest.FixtureRequest,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    shutil.copytree(pictures, tmp_path / "other")
    Image.new("RGB", (80, 64), "white").save(tmp_path / "other" / "p0.png")
    out = tmp_path / "out"
    with pytest.raises(SystemExit, match="0"):
        main(["reconstruct", str(pictures), "--network", "pocket", "--out", str(out)])
    request.getfixturevalue("unloaded")
    with pytest.raises(SystemExit, match="0"):  # it is done
        main(["reconstruct", str(pictures), "--network", "pocket", "--out", str(out), "--resume"])
    capsys.readouterr()
    line = refused(capsys, "reconstruct", tmp_path / source, "--out", out, "--resume", *options)
    assert re.search(named, line)
    assert "--overwrite" in line


def test_fps_on_pictures_without_times_is_refused_before_a_network_is_loaded(
    pictures: Path, tmp_path: Path, unloaded: None, capsys: pytest.CaptureFixture[str]
) -> None:
    said = refused(capsys, "reconstruct", pictures, "-o", tmp_path / "out", "--fps", "2", "--network", "loger")
    assert "give stride, or list the times" in said


@pytest.mark.parametrize(
    "arguments",
    [
        ("reconstruct", "a\0b.mp4", "-o", "out"),
        ("info", "re\0c"),
        ("export", "WALK", "--to", "ply", "--out", "a\0b.ply"),
        ("report", "WALK", "--out", "a\0b.html"),
        ("worlds", "render", "street", "--out", "a\0b"),
    ],
)
def test_a_nul_is_refused_wherever_it_is_given(
    arguments: tuple[str, ...], walk: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert "holds a NUL" in refused(capsys, *[str(walk) if one == "WALK" else one for one in arguments])


@pytest.mark.parametrize(
    "arguments",
    [
        ("info",),
        ("export", "--to", "ply"),
        ("report",),
        ("train", "--out", "t"),
        ("datasets", "pack", "folder", "-o", "p"),
    ],
)
@pytest.mark.parametrize(
    ("address", "shown"),
    [
        ("http://127.0.0.1/a.mp4?token=S3cret", "a.mp4?token=…"),
        ("rtsp://user:S3cret@127.0.0.1/x", "user:…@127.0.0.1/x"),
        ("https://S3cret@127.0.0.1/x", "…@127.0.0.1/x"),
        ("http://127.0.0.1/a.m3u8#S3cret", "127.0.0.1/a.m3u8"),
        ("http://u:S3cret@[bad/x", "http:"),
    ],
)
def test_what_is_secret_in_an_address_is_in_no_error(
    arguments: tuple[str, ...], address: str, shown: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """Where a folder or a file is wanted, too."""
    command, *more = arguments
    more.insert(2 if command == "datasets" else 0, address)
    said = refused(capsys, command, *more)
    assert "S3cret" not in said
    assert shown in said


def test_an_empty_argument_is_a_variable_that_is_not_set(capsys: pytest.CaptureFixture[str]) -> None:
    assert "argument 2 is empty" in refused(capsys, "info", "")


@pytest.mark.parametrize(
    "arguments",
    [
        ("reconstruct", LONG + ".mp4", "-o", "out"),
        ("info", LONG),
        ("view", LONG),
        ("export", "WALK", "--to", "ply", "--out", LONG),
        ("export", "WALK", "--to", "colmap", "--out", "new", "--images", LONG),
        ("report", "WALK", "--out", LONG),
        ("report", "WALK", "--out", "new.html", "--truth", LONG),
        ("live", LONG, "-o", "out", "--no-view"),
        ("evaluate", "recording", "WALK", "--truth", LONG),
        ("train", LONG + ".toml", "--out", "out"),
        ("reconstruct", "world:street:1?frames=2", "-o", "out", "--weights", LONG + ".pt"),
    ],
)
def test_a_name_that_is_too_long_is_shortened_in_one_line(
    arguments: tuple[str, ...],
    walk: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    said = refused(capsys, *[str(walk) if one == "WALK" else one for one in arguments])
    assert "too long" in said or "there is no" in said or "recipe" in said


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), "walk/meta.json"), "walk/meta.json: No space left on device"),
        (OSError(errno.EIO, os.strerror(errno.EIO)), "Input/output error"),
        (PermissionError(errno.EACCES, "Permission denied", b"a\xff"), "a\\xff: Permission denied"),
    ],
)
def test_what_the_system_refuses_is_one_line(
    error: OSError, said: str, walk: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def commands() -> dict[str, Callable[[], None]]:
        def info(recording: Path) -> None:
            raise error

        return {"info": info, "other": lambda: None}

    monkeypatch.setattr(openloger.cli, "commands", commands)
    assert said in refused(capsys, "info", "--recording", walk)


@pytest.mark.parametrize("arguments", [("info", "WALK"), ("info", "WALK", "--json"), ("reconstruct", "--help")])
@pytest.mark.skipif(sys.platform == "win32", reason="pipes of POSIX")
def test_a_reader_that_goes_ends_the_command_quietly(arguments: tuple[str, ...], walk: Path) -> None:
    command = [sys.executable, "-m", "openloger", *(str(walk) if one == "WALK" else one for one in arguments)]
    reading, writing = os.pipe()
    os.close(reading)  # it has gone before the first word
    try:
        done = subprocess.run(command, stdout=writing, stderr=subprocess.PIPE, check=False, text=True)
    finally:
        os.close(writing)
    assert (done.returncode, done.stderr) == (141, "")


# ------------------------------------------------------------------------------------------- names and what is said


@pytest.mark.parametrize(
    ("source", "out"),
    [
        ("walk.mp4", "walk"),
        ("clips/walk.v2.mp4", "walk.v2"),
        ("frames", "frames-recording"),
        ("clips/frames", "frames-recording"),  # "frames" is there, and is no recording
        ("clips/*.png", "clips-recording"),
        ("done.mp4", "done"),
        ("world:street:3?frames=5", "world-street-3"),
        (".", "here-recording"),
    ],
)
def test_a_recording_without_a_name_is_named_as_its_source(
    source: str, out: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    here = tmp_path / "here"
    for folder in ("frames", "clips/frames", "here"):
        (here / folder).mkdir(parents=True)
    for file in ("walk.mp4", "clips/walk.v2.mp4", "done.mp4"):
        (here / file).touch()
    create_recording(here / "done", values.meta()).close()
    monkeypatch.chdir(here)
    assert default_out(source) == Path(out)


def test_standard_input_needs_a_name() -> None:
    with pytest.raises(InputError, match="-o FOLDER"):
        default_out("-")


def test_where_it_goes_and_what_comes_next_are_said(
    pictures: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "desk").mkdir()
    monkeypatch.chdir(tmp_path / "desk")
    with pytest.raises(SystemExit) as left:
        main(["reconstruct", str(pictures), "--network", "pocket", "--size", "40", "48"])
    said = capsys.readouterr().err
    assert left.value.code == 0
    assert f"the recording goes to pictures{os.sep}\n" in said
    assert said.endswith("look at it: openloger view pictures\n")


def test_the_help_begins_with_eight_options(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["reconstruct", "--help"])
    usual, _, advanced = capsys.readouterr().out.partition("advanced options")
    wanted = ("--out", "--network", "--device", "--start", "--stop", "--fps", "--resume", "--overwrite")
    assert all(f"{option} " in usual or f"{option}," in usual for option in wanted)
    assert "--window" not in usual
    assert all(option in advanced for option in ("--window", "--weights", "--size", "--json"))


@pytest.mark.parametrize("name", ["-none.mp4", "-none.JPG"])
def test_a_missing_file_with_a_dash_is_named(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert f"'{name}'" in refused(capsys, "reconstruct", name, "-o", "out")


@pytest.mark.parametrize("numbers", [("inf", "1", "1", "1"), ("nan", "1", "1", "1"), ("9", "9", "inf", "1")])
def test_intrinsics_are_finite(
    numbers: tuple[str, ...], pictures: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    options = ("--network", "pocket", "--size", "40", "48")
    with pytest.raises(SystemExit) as left:
        main(["reconstruct", str(pictures), "-o", str(tmp_path / "out"), *options, "--intrinsics", *numbers])
    assert left.value.code == 2
    assert "not finite" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


class Installed:
    """A package as pip notes it."""

    def __init__(self, direct_url: str | None) -> None:
        self.direct_url = direct_url

    def read_text(self, name: str) -> str | None:
        assert name == "direct_url.json"
        return self.direct_url


def test_an_extra_is_never_fetched_by_a_name_that_is_not_ours(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "pyproject.toml").touch()
    checkout = json.dumps({"url": tmp_path.as_uri(), "dir_info": {}})
    wheel = json.dumps({"url": (tmp_path / "openloger-1-py3-none-any.whl").as_uri(), "archive_info": {}})
    found = {"checkout": Installed(checkout), "wheel": Installed(wheel)}
    for how, where in (("checkout", tmp_path), ("wheel", "openloger")):  # pip keeps to the wheel that is installed
        monkeypatch.setattr(metadata, "distribution", lambda name, how=how: found[how])
        assert install_command("view") == f"pip install '{where}[view]'"
    root = Path(openloger.cli.__file__).parents[3]
    monkeypatch.setattr(metadata, "distribution", _not_installed)
    assert install_command("view") == f"pip install '{root}[view]'"


def _not_installed(name: str) -> None:
    raise metadata.PackageNotFoundError(name)


def test_a_page_that_needs_an_extra_says_how_to_get_it(
    walk: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(sys.modules, "rerun", None)
    said = refused(capsys, "export", walk, "--to", "rerun", "--out", tmp_path / "walk.rrd")
    assert install_command("rerun") in said


class _PressedAgain:
    """Standard error; Ctrl-C is pressed once more as the first one is reported."""

    def __init__(self) -> None:
        self.said: list[str] = []

    def write(self, text: str) -> int:
        self.said.append(text)
        if "interrupted" in text:
            signal.raise_signal(signal.SIGINT)
        return len(text)

    def flush(self) -> None: ...


def test_a_second_interrupt_while_the_first_is_reported_is_no_traceback(monkeypatch: pytest.MonkeyPatch) -> None:
    def commands() -> dict[str, Callable[[], None]]:
        return {"info": lambda: signal.raise_signal(signal.SIGINT), "other": lambda: None}

    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    monkeypatch.setattr(openloger.cli, "commands", commands)
    monkeypatch.setattr(sys, "stderr", pressed := _PressedAgain())
    try:
        with pytest.raises(SystemExit) as left:
            main(["info"])
    finally:
        signal.signal(signal.SIGINT, before)
    assert left.value.code == 130
    assert "".join(pressed.said) == "openloger: interrupted\n"
