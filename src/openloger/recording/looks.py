"""How a recording is looked at from Python. The methods are the recording's; what draws is the room above, which
`openloger/__init__.py` names here, and which is loaded when it is first needed.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol, runtime_checkable


@runtime_checkable
class Looks(Protocol):
    """What draws: `openloger.viewing`."""

    @property
    def show(self) -> Callable[..., Any]: ...
    @property
    def plot_trajectory(self) -> Callable[..., Any]: ...
    @property
    def plot_depth(self) -> Callable[..., Any]: ...


_named: list[Callable[[], Looks]] = []


def look_with(load: Callable[[], Looks]) -> None:
    """Name what draws; `load` gives it."""
    _named[:] = [load]


def looks() -> Looks:
    """What draws."""
    assert _named, "openloger/__init__.py names what draws"
    return _named[0]()
