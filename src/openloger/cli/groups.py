"""Commands within a command: `openloger evaluate recording`."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Annotated, Any, Union

import tyro


def grouped(commands: Mapping[str, Callable[..., Any]], *, about: str) -> Callable[[Any], Any]:
    """One command out of several (at least two); it gives what the chosen one gives. `about` is its help."""

    def choose(chosen: Any) -> Any:
        return chosen

    kinds = tuple(
        Annotated[Any, tyro.conf.subcommand(name=name, constructor=command)] for name, command in commands.items()
    )
    one_of = Union[kinds]  # pyright: ignore[reportInvalidTypeArguments]  # noqa: UP007  # made while running
    choose.__annotations__["chosen"] = tyro.conf.OmitSubcommandPrefixes[tyro.conf.OmitArgPrefixes[one_of]]
    choose.__doc__ = about
    return choose
