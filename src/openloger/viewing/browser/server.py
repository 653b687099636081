"""Where the page is served, and viser's server, started and stopped without a word."""

from __future__ import annotations

import contextlib
import logging
import socket
from collections.abc import Iterator
from typing import Any

from openloger.errors import InputError
from openloger.version import install_command
from openloger.viewing.browser.access import Access, guarding

_log = logging.getLogger(__name__)
_TRIED = 100


def free_port(host: str, port: int) -> int:
    """The port, or the next free one above it, which is then reported.

    Raises InputError where nothing can be served at the host, or no port is free.
    """
    if not 0 < port < 65536:
        raise InputError(f"port {port} cannot be: choose one from 1 to 65535")
    for candidate in range(port, min(port + _TRIED, 65536)):
        if _is_free(host, candidate):
            if candidate != port:
                _log.warning("port %d is in use; serving at %d", port, candidate)
            return candidate
    raise InputError(f"ports {port} to {min(port + _TRIED, 65536) - 1} are all in use at {host}: choose another --port")


def _is_free(host: str, port: int) -> bool:
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
    except OSError as error:
        raise InputError(f"host {host!r} is not known ({error.strerror}): give an address of this machine") from error
    with socket.socket(family, kind, protocol) as tried:
        tried.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            tried.bind(address)
        except PermissionError:
            return False
        except OSError as error:
            if _is_elsewhere(host):
                raise InputError(
                    f"host {host!r} is no address of this machine ({error.strerror}): give 127.0.0.1, "
                    "or 0.0.0.0 to serve the network"
                ) from error
            return False
    return True


def _is_elsewhere(host: str) -> bool:
    """Whether not even a port of the system's choice can be had there."""
    family, kind, protocol, _, address = socket.getaddrinfo(host, 0, type=socket.SOCK_STREAM)[0]
    with socket.socket(family, kind, protocol) as tried:
        try:
            tried.bind(address)
        except OSError:
            return True
    return False


def start_server(access: Access, port: int, *, label: str | None = None) -> Any:
    """A `viser.ViserServer` at `access.host`, for those whom it lets in; port 0: any that is free.

    Raises InputError where viser is not installed.
    """
    try:
        import viser
    except ImportError as error:
        raise InputError(f"the viewer needs the package viser: {install_command('view')}") from error
    with _quiet(), guarding(access):
        return viser.ViserServer(host=access.host, port=port, label=label, verbose=False)


def stop_server(server: Any) -> None:
    """Close its connections and threads."""
    with _quiet():
        server.stop()


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """viser greets and parts through rich's own console."""
    import rich

    console = rich.get_console()
    before, console.quiet = console.quiet, True
    try:
        yield
    finally:
        console.quiet = before
