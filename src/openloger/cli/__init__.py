"""The command line: one thin file per command, and the one place where errors become a line and an exit code.

Exit codes: 0 done, 2 bad input, 130 interrupted.
"""

from __future__ import annotations

import logging
import sys
from collections.abc import Callable, Sequence
from typing import Any

from openloger.errors import OpenlogerError

EXIT_BAD_INPUT = 2
EXIT_INTERRUPTED = 130


def commands() -> dict[str, Callable[..., Any]]:
    """Every command by its name; a name of two words is a command in a group."""
    from openloger.cli.export import export
    from openloger.cli.info import info
    from openloger.cli.networks import networks
    from openloger.cli.reconstruct import reconstruct
    from openloger.cli.train import train

    return {
        "reconstruct": reconstruct,
        "export": export,
        "info": info,
        "networks": networks,
        "train": train,
    }


def main(arguments: Sequence[str] | None = None) -> None:
    """The `openloger` program."""
    import tyro

    _log_to_stderr()
    try:
        code = tyro.extras.subcommand_cli_from_dict(
            commands(), args=arguments, prog="openloger", description="Long videos into 3-D, in one pass."
        )
    except OpenlogerError as error:
        print(f"openloger: {error}", file=sys.stderr)
        sys.exit(EXIT_BAD_INPUT)
    except KeyboardInterrupt:
        print("openloger: interrupted", file=sys.stderr)
        sys.exit(EXIT_INTERRUPTED)
    sys.exit(code or 0)


def _log_to_stderr() -> None:
    handler = logging.StreamHandler()
    handler.setFormatter(logging.Formatter("openloger: %(message)s"))
    log = logging.getLogger("openloger")
    log.handlers[:] = [handler]
    log.setLevel(logging.INFO)
    log.propagate = False
