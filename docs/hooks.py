"""What the docs take from the program itself when they are built, so that it cannot drift.

<!-- commands -->            the help of every command
<!-- fields a.module.Name -->  a dataclass's docstring and fields, with the comments that say what they are
"""

from __future__ import annotations

import contextlib
import importlib
import inspect
import io
import os
import re
from typing import Any

from openloger.cli import Group, commands, main

COMMANDS = "<!-- commands -->"
FIELDS = re.compile(r"<!-- fields ([\w.]+) -->")
COLUMNS = 94


def on_page_markdown(markdown: str, **known: Any) -> str:
    """MkDocs asks this of every page."""
    if COMMANDS in markdown:
        markdown = markdown.replace(COMMANDS, command_pages())
    return FIELDS.sub(lambda found: fields_of(found[1]), markdown)


def fields_of(path: str) -> str:
    """A dataclass as its file has it, up to its first method."""
    module, _, name = path.rpartition(".")
    source = inspect.getsource(getattr(importlib.import_module(module), name))
    head = re.split(r"\n+    (?:@\w+|def )", source)[0].rstrip()
    head = re.sub(r"^( +)(\S.*?)  (# .*)$", _comment_above, head, flags=re.M)
    return f"### {name}\n\n```python\n{head}\n```"


def _comment_above(line: re.Match[str]) -> str:
    """A long line's comment goes above it, where it can be read without scrolling."""
    indent, code, comment = line.groups()
    return line[0] if len(line[0]) <= COLUMNS else f"{indent}{comment}\n{indent}{code}"


def command_pages() -> str:
    """A heading and the help of every command, in the order of `openloger --help`."""
    parts: list[str] = []
    for name, entry in commands().items():
        if isinstance(entry, Group):
            parts.append(f"## `openloger {name}`\n\n{entry.about}")
            parts += [section((name, one), level=3) for one in entry.commands]
        else:
            parts.append(section((name,), level=2))
    return "\n\n".join(parts)


def section(command: tuple[str, ...], *, level: int) -> str:
    """A command's heading and its help."""
    return f"{'#' * level} `openloger {' '.join(command)}`\n\n```text\n{help_of(command)}\n```"


def help_of(command: tuple[str, ...]) -> str:
    """What `openloger COMMAND --help` prints on a terminal without colours."""
    before = {name: os.environ.get(name) for name in ("COLUMNS", "NO_COLOR", "TERM")}
    os.environ |= {"COLUMNS": str(COLUMNS), "NO_COLOR": "1", "TERM": "dumb"}
    said = io.StringIO()
    try:
        with contextlib.redirect_stdout(said), contextlib.suppress(SystemExit):
            main([*command, "--help"])
    finally:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value
    text = re.sub(r"\x1b\[[0-9;]*m", "", said.getvalue())
    return "\n".join(line.rstrip() for line in text.strip().splitlines())
