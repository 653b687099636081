"""The command line: one thin file per command, and the one place where errors become a line and an exit code.

Exit codes: 0 done, 2 bad input, 130 interrupted.
"""

from __future__ import annotations

import logging
import re
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from openloger.cli.terminal import SafeFormatter, say
from openloger.errors import OpenlogerError

EXIT_BAD_INPUT = 2
EXIT_INTERRUPTED = 130


@dataclass(frozen=True)
class Group:
    """Commands that share their first word."""

    about: str
    commands: Mapping[str, Callable[..., Any]]


def commands() -> dict[str, Callable[..., Any] | Group]:
    """Every command by its name."""
    from openloger.cli import bench, evaluate, worlds
    from openloger.cli.export import export
    from openloger.cli.info import info
    from openloger.cli.live import live
    from openloger.cli.networks import networks
    from openloger.cli.reconstruct import reconstruct
    from openloger.cli.report import report
    from openloger.cli.train import train
    from openloger.cli.view import view

    return {
        "reconstruct": reconstruct,
        "live": live,
        "export": export,
        "info": info,
        "view": view,
        "report": report,
        "networks": networks,
        "worlds": Group("Look at procedural worlds, or write them out as a dataset.", worlds.commands()),
        "train": train,
        "evaluate": Group("Measure against ground truth.", evaluate.commands()),
        "bench": Group("Measure speed and memory on this machine.", bench.commands()),
    }


def main(arguments: Sequence[str] | None = None) -> None:
    """The `openloger` program."""
    _log_to_stderr()
    try:
        code = _run(commands(), _files_as_paths(sys.argv[1:] if arguments is None else arguments), "openloger")
    except OpenlogerError as error:
        say(f"openloger: {error}")
        sys.exit(EXIT_BAD_INPUT)
    except KeyboardInterrupt:
        print("openloger: interrupted", file=sys.stderr)
        sys.exit(EXIT_INTERRUPTED)
    sys.exit(code or 0)


def _files_as_paths(arguments: Sequence[str]) -> list[str]:
    """The arguments, where a file's name that begins with a dash is a path: "-clip.mp4" becomes "./-clip.mp4"."""
    return [f"./{one}" if re.fullmatch(r"-[^-].*\.\w+", one) and Path(one).is_file() else one for one in arguments]


def _run(known: Mapping[str, Callable[..., Any] | Group], arguments: list[str], program: str) -> int | None:
    """Read the arguments by the command's signature and run it; a group's name leads to its own commands."""
    import tyro

    chosen = known.get(arguments[0]) if arguments else None
    if isinstance(chosen, Group):
        return _run(chosen.commands, arguments[1:], f"{program} {arguments[0]}")
    listed = {name: _named(entry) if isinstance(entry, Group) else entry for name, entry in known.items()}
    return tyro.extras.subcommand_cli_from_dict(
        listed, args=arguments, prog=program, description="Long videos into 3-D, in one pass."
    )


def _named(group: Group) -> Callable[[], None]:
    """A stand-in for the list of commands: its name alone leads to the group."""

    def stand_in() -> None: ...

    stand_in.__doc__ = group.about
    return stand_in


def _log_to_stderr() -> None:
    handler = logging.StreamHandler()
    handler.setFormatter(SafeFormatter("openloger: %(message)s"))
    log = logging.getLogger("openloger")
    log.handlers[:] = [handler]
    log.setLevel(logging.INFO)
    log.propagate = False
