"""The command line: one thin file per command, and the one place where errors become a line and an exit code.

Exit codes: 0 done, 2 bad input or a damaged recording, 130 interrupted, 141 where a pipe has lost its reader
(`openloger info x | head -1`).
"""

from __future__ import annotations

import ast
import importlib
import importlib.util
import logging
import multiprocessing
import os
import re
import signal
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from openloger.cli.terminal import SafeFormatter, print_status
from openloger.errors import InputError, OpenlogerError
from openloger.runtime.prefetch import Worker

EXIT_BAD_INPUT = 2
EXIT_INTERRUPTED = 130
EXIT_NO_READER = 141  # as of a program that SIGPIPE ended
_LONGEST_NAME = 200  # letters of a file's name in a message
_LONG_NAME = re.compile(rf"(\S{{{_LONGEST_NAME}}})\S{{100,}}?(?=:?\s|$)")
_FILE_WITH_A_DASH = re.compile(r"-[^-].*\.[A-Za-z]\w*")


@dataclass(frozen=True)
class Command:
    """A command in a module of its name, which is imported when the command is used: torch takes seconds."""

    name: str

    @property
    def about(self) -> str:
        """Its docstring, read from the source without importing it."""
        spec = importlib.util.find_spec(f"openloger.cli.{self.module}")
        assert spec is not None
        assert spec.origin is not None
        tree = ast.parse(Path(spec.origin).read_text(encoding="utf-8"))
        found = next(node for node in tree.body if isinstance(node, ast.FunctionDef) and node.name == self.module)
        return ast.get_docstring(found) or ""

    def load(self) -> Callable[..., Any]:
        return getattr(importlib.import_module(f"openloger.cli.{self.module}"), self.module)

    @property
    def module(self) -> str:
        """The name of its module, and of its function."""
        return self.name.replace("-", "_")


@dataclass(frozen=True)
class Group:
    """Commands that share their first word, in a module of its name, which is imported when one is used."""

    name: str
    about: str

    @property
    def commands(self) -> Mapping[str, Callable[..., Any]]:
        return importlib.import_module(f"openloger.cli.{self.name}").commands()


def commands() -> dict[str, Command | Group]:
    """Every command by its name, in the order of the help."""
    known: tuple[Command | Group, ...] = (
        *map(
            Command,
            ("reconstruct", "live", "batch", "align", "close-loops", "export", "info", "view", "report", "networks"),
        ),
        *map(Command, ("export-network", "web-demo")),
        Group("worlds", "Look at procedural worlds, or write them out as a dataset."),
        Group("datasets", "Prepare datasets for training."),
        Command("train"),
        Group("evaluate", "Measure against ground truth."),
        Group("bench", "Measure speed and memory on this machine."),
    )
    return {entry.name: entry for entry in known}


def main(arguments: Sequence[str] | None = None) -> None:
    """The `openloger` program."""
    _log_to_stderr()
    try:
        code = _run_and_flush(_checked(sys.argv[1:] if arguments is None else arguments))
    except OpenlogerError as error:
        print_status(f"openloger: {_shortened(str(error))}")
        sys.exit(EXIT_BAD_INPUT)
    except BrokenPipeError:
        _discard_output()
        sys.exit(EXIT_NO_READER)
    except OSError as error:  # of the system, not of a line of ours: a full disk, a folder without permission
        print_status(f"openloger: {_shortened(_of_the_system(error))}")
        sys.exit(EXIT_BAD_INPUT)
    except KeyboardInterrupt:
        while True:  # no function around it: a second Ctrl-C may come before its first line
            try:
                signal.signal(signal.SIGINT, signal.SIG_IGN)
                break
            except KeyboardInterrupt:
                continue
        print("openloger: interrupted", file=sys.stderr)
        sys.exit(EXIT_INTERRUPTED)
    sys.exit(code or 0)


def program() -> None:
    """The `openloger` program as it is installed: `main`, which then waits for no thread.

    One that is blocked on live input may last for ever, and Python aborts where it ends under one that computes.
    """
    try:
        main()
    except SystemExit as end:
        if not Worker.are_running():
            raise
        for child in multiprocessing.active_children():
            child.terminate()
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(int(end.code or 0))


def _run_and_flush(arguments: list[str]) -> int | None:
    """A reader that has gone is found here, not when Python has ended."""
    try:
        return _run(commands(), arguments, "openloger")
    finally:
        sys.stdout.flush()


def _discard_output() -> None:
    """Discard the output that is still buffered, so that Python does not report a broken pipe as it ends."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    try:
        os.dup2(nowhere, sys.stdout.fileno())
    except OSError:  # standard output is no file, or closed
        return
    finally:
        os.close(nowhere)


def _of_the_system(error: OSError) -> str:
    name = "" if error.filename is None else f"{os.fsdecode(error.filename)}: "
    return f"{name}{error.strerror or error}; fix that and run the command again"


def _shortened(text: str) -> str:
    """In one line, without what is secret in addresses: names may be long, and hold line feeds."""
    from openloger.frames.addresses import hide_secrets

    return _LONG_NAME.sub(r"\1…", hide_secrets(text).replace("\n", "\\n"))


def _checked(arguments: Sequence[str]) -> list[str]:
    """The arguments, where a file's name that begins with a dash is a path: "-clip.mp4" becomes "./-clip.mp4".

    Raises InputError for what no command can use.
    """
    for number, argument in enumerate(arguments, start=1):
        if not argument:
            raise InputError(f"argument {number} is empty; is a variable of the shell not set?")
        if "\0" in argument:
            raise InputError(f"{argument[:_LONGEST_NAME]!r} holds a NUL, which no path and no value can")
    return [f"./{one}" if _is_file_with_a_dash(one) else one for one in arguments]


def _is_file_with_a_dash(argument: str) -> bool:
    return bool(_FILE_WITH_A_DASH.fullmatch(argument)) and (argument[1] not in "ho" or os.path.isfile(argument))


def _run(known: Mapping[str, Callable[..., Any] | Command | Group], arguments: list[str], program: str) -> int | None:
    """Read the arguments by the command's signature and run it; a group's name leads to its own commands."""
    import tyro

    chosen = known.get(arguments[0]) if arguments else None
    if isinstance(chosen, Group):
        return _run(chosen.commands, arguments[1:], f"{program} {arguments[0]}")
    listed = {name: _listed(entry, load=entry is chosen) for name, entry in known.items()}
    return tyro.extras.subcommand_cli_from_dict(
        listed, args=arguments, prog=program, description="Long videos into 3-D, in one pass."
    )


def _listed(entry: Callable[..., Any] | Command | Group, *, load: bool) -> Callable[..., Any]:
    """The chosen command; of the others, which are in the list alone, a stand-in with their docstring."""
    if isinstance(entry, Command) and load:
        return entry.load()
    if not isinstance(entry, Command | Group):
        return entry

    def stand_in() -> None: ...

    stand_in.__doc__ = entry.about
    return stand_in


def _log_to_stderr() -> None:
    handler = logging.StreamHandler()
    handler.setFormatter(SafeFormatter("openloger: %(message)s"))
    log = logging.getLogger("openloger")
    log.handlers[:] = [handler]
    log.setLevel(logging.INFO)
    log.propagate = False
