"""The docs build strictly, ask for nothing from outside, and show nothing that does not work."""

import contextlib
import functools
import io
import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

import openloger
from openloger import cli
from openloger.datasets.writing import VideoWriter
from openloger.training.config import load_config
from openloger.worlds import World

ROOT = Path(__file__).resolve().parents[1]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
FENCE = re.compile(r"^```(\w*)\n(.*?)^```", re.M | re.S)
OUTSIDE = re.compile(
    r"""<(?:script|img|iframe|link|source|video)\b[^>]*?\b(?:src|href|srcset)=["']?(?:https?:)?//[^"' >]+"""
)


def blocks(page: Path, language: str) -> list[str]:
    return [body for name, body in FENCE.findall(page.read_text(encoding="utf-8")) if name == language]


def shown_commands(page: Path) -> list[str]:
    """The `openloger …` lines of a page's blocks: fenced ones, and those indented by four."""
    text = page.read_text(encoding="utf-8")
    fenced = "\n".join(body for name, body in FENCE.findall(text) if name in ("", "sh"))
    indented = "\n".join(line[4:] for line in FENCE.sub("", text).splitlines() if line.startswith("    "))
    lines = [line.split(" #")[0].strip() for line in (fenced + "\n" + indented).splitlines()]
    return [line for line in lines if line.startswith("openloger ")]


def read_only(command):
    """The same command, which only reads its arguments."""
    return functools.wraps(command)(lambda *args, **options: None)


class HarmlessCommand(cli.Command):
    def load(self):
        return read_only(super().load())


class HarmlessGroup(cli.Group):
    @property
    def commands(self):
        return {name: read_only(command) for name, command in super().commands.items()}


@pytest.fixture(scope="module")
def harmless():
    return {
        name: HarmlessGroup(name, entry.about) if isinstance(entry, cli.Group) else HarmlessCommand(name)
        for name, entry in cli.commands().items()
    }


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_command_shown_is_accepted(page, harmless, monkeypatch, capsys):
    monkeypatch.setattr(cli, "commands", lambda: harmless)
    for line in shown_commands(page):
        if re.search(r"\b[A-Z]{3,}\b", line):  # a form to fill in, not a command
            continue
        with pytest.raises(SystemExit) as ended:
            cli.main(shlex.split(line)[1:])
        assert ended.value.code == 0, f"{page.name}: {line}\n{capsys.readouterr()}"


def test_commands_are_found_and_wrong_ones_refused(harmless, monkeypatch):
    assert "openloger info walk" in shown_commands(ROOT / "README.md")
    assert len([line for page in PAGES for line in shown_commands(page)]) > 20
    monkeypatch.setattr(cli, "commands", lambda: harmless)
    with pytest.raises(SystemExit) as ended, contextlib.redirect_stderr(io.StringIO()):
        cli.main(["info", "walk", "--colour", "green"])
    assert ended.value.code != 0


def test_python_of_the_readme_and_the_pages_runs(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    shown: list[openloger.Recording] = []
    monkeypatch.setattr(openloger, "show", shown.append)  # it would serve a viewer
    with VideoWriter(tmp_path / "walk.mp4", fps=4.0) as video:
        for sample in World("street", seed=7, size=(64, 80), fps=4, frames=10):
            video.write(sample.rgb)
    first, own_loop = blocks(ROOT / "README.md", "python")[:2]
    smaller = blocks(ROOT / "docs" / "quick-start.md", "python")[0].replace("frames=24", "frames=9&size=64x80")
    loop = own_loop.replace('"loger", weights="latest.pt", device="cuda"', '"pocket"').replace("window=32", "window=8")
    assert loop != own_loop
    known: dict = {}
    for code in (first, loop, smaller, *blocks(ROOT / "docs" / "formats.md", "python")):
        exec(compile(code, "<docs>", "exec"), known)
    assert known["recording"].complete
    assert len(shown) == 1
    assert known["depth"].shape == (128, 160)
    assert known["world_from_cam"].shape == (9, 4, 4)


def test_the_recipe_shown_is_one(tmp_path):
    (shown,) = blocks(ROOT / "docs" / "training.md", "toml")
    (tmp_path / "own.toml").write_text(shown, encoding="utf-8")
    config = load_config(tmp_path / "own.toml")
    assert [stage.name for stage in config.stages] == ["own"]
    assert config.stages[0].clips.datasets[0].name == "folder"


def test_the_tree_in_the_readme_is_the_tree():
    """Every subpackage has a line at its level, and every module that a line names is in that subpackage."""
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    lines = readme.partition("```\nsrc/openloger/\n")[2].partition("\nexamples/")[0].splitlines()
    source, room, listed = ROOT / "src" / "openloger", "", set()
    for line in lines:
        if heading := re.match(r"^( +)(\w+)/ ", line):
            inner = len(heading[1]) == 4
            room = f"{room.partition('/')[0]}/{heading[2]}" if inner else heading[2]
            listed.add(room)
        elif re.match(r"^  \w+\.py", line):
            room = ""
        for module in re.findall(r"\b\w+\.py\b", line):
            places = [source / room, source / room.partition("/")[0]]  # after an inner room come files of the outer one
            assert any((place / module).is_file() for place in places), f"{room}: {module}"
    packages = {path.parent.relative_to(source).as_posix() for path in source.glob("*/__init__.py")}
    assert packages <= listed
    assert all((source / room).is_dir() for room in listed)


def test_every_example_is_shown():
    text = (ROOT / "docs" / "examples.md").read_text(encoding="utf-8")
    missing = [path.name for path in (ROOT / "examples").glob("*.py") if f'--8<-- "examples/{path.name}"' not in text]
    assert missing == []


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    pytest.importorskip("material", reason="needs the docs extra")
    out = tmp_path_factory.mktemp("site")
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--quiet", "--site-dir", str(out)]
    environment = os.environ | {"NO_MKDOCS_2_WARNING": "1"}
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=280, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return out


def test_the_site_asks_nobody(site):
    pages = list(site.rglob("*.html"))
    assert len(pages) > 12
    for page in pages:
        assert OUTSIDE.findall(page.read_text(encoding="utf-8")) == [], page.name
    for sheet in site.rglob("*.css"):
        assert not re.search(r"(?:url\(|@import)\s*[\"']?(?:https?:)?//", sheet.read_text(encoding="utf-8")), sheet.name


def test_the_site_shows_every_command_and_field(site):
    text = (site / "command-line.html").read_text(encoding="utf-8")
    for name, entry in cli.commands().items():
        for inner in entry.commands if isinstance(entry, cli.Group) else ("",):
            assert f"usage: openloger {name} {inner}".rstrip() in text
    assert "--on-bad-frame" in text
    python = (site / "python.html").read_text(encoding="utf-8")
    assert "should_stop" in python  # a field of RunOptions, with its comment
    assert "called between windows" in python
    assert "&lt;!-- " not in python
    assert "def main" in re.sub(r"<[^>]+>", "", (site / "examples.html").read_text(encoding="utf-8"))
