"""Serving the page: its address, who has access, and viser's server, started and stopped without output.

Access: this machine's own pages, and where the network can reach the server, who has the token. A web page from
anywhere can make a browser connect to 127.0.0.1; the browser names the page in `Origin`, and a name that was made to
point here shows in `Host`. On a loopback address both must be of this machine. On any other address, a random token
must come with the page's address; a cookie carries it on to the page's own requests.
"""

from __future__ import annotations

import contextlib
import http
import ipaddress
import logging
import secrets
import socket
import threading
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.cookies import CookieError, SimpleCookie
from typing import Any
from urllib.parse import SplitResult, parse_qs, urlsplit

from openloger.errors import InputError
from openloger.version import install_command

_LOOPBACK_NAMES = frozenset({"localhost", "127.0.0.1", "::1"})
_starting = threading.Lock()


def is_loopback(host: str) -> bool:
    """Whether only this machine can reach a server at `host`."""
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return host.lower() == "localhost"


@dataclass(frozen=True)
class Access:
    """The rule for a server at `host`."""

    host: str
    token: str | None = field(default=None, repr=False)  # None: on a loopback address

    @classmethod
    def at(cls, host: str) -> Access:
        """With a new token where the network can reach `host`."""
        return cls(host, None if is_loopback(host) else secrets.token_urlsafe(24))

    def url(self, port: int) -> str:
        """The address to open in a browser."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"http://{host}:{port}" + (f"/?token={self.token}" if self.token else "")

    def refusal(self, *, host: str | None, origin: str | None, path: str, cookie: str, cookie_name: str) -> str | None:
        """The reason to refuse a request; None where it may pass. The arguments are its headers and its path."""
        name = _hostname(host)
        if name is None:
            return "the request names no host"
        if self.token is None and name not in {*_LOOPBACK_NAMES, self.host.lower()}:
            return f"{name} is not this machine"
        if origin is not None and _split(origin).netloc.lower() != (host or "").lower():
            return "the request comes from another site's page"
        if self.token is None or self._has_token(path, cookie, cookie_name):
            return None
        return "the token is missing: open the address that openloger printed"

    def brings_token(self, path: str) -> bool:
        """Whether the address itself holds the token."""
        given = parse_qs(_split(path).query).get("token", [""])[0]
        return self.token is not None and secrets.compare_digest(given.encode(), self.token.encode())

    def _has_token(self, path: str, cookie: str, cookie_name: str) -> bool:
        try:
            kept = SimpleCookie(cookie).get(cookie_name)
        except CookieError:
            kept = None
        assert self.token is not None
        return self.brings_token(path) or (
            kept is not None and secrets.compare_digest(kept.value.encode(), self.token.encode())
        )


def _hostname(host: str | None) -> str | None:
    return _split(f"//{host}").hostname if host else None


def _split(address: str) -> SplitResult:
    """Of what is no address, nothing."""
    try:
        return urlsplit(address)
    except ValueError:
        return SplitResult("", "", "", "", "")


Process = Callable[[Any, Any], Any]


def guarded(process: Process | None, access: Access) -> Process:
    """`process_request` of a websockets server, behind `access`."""

    async def check(connection: Any, request: Any) -> Any:
        headers = request.headers
        hosts, origins = headers.get_all("Host"), headers.get_all("Origin")
        cookie_name = f"openloger-{connection.local_address[1]}"  # cookies do not distinguish ports
        reason = "a header comes twice" if len(hosts) > 1 or len(origins) > 1 else None
        reason = reason or access.refusal(
            host=next(iter(hosts), None),
            origin=next(iter(origins), None),
            path=request.path,
            cookie="; ".join(headers.get_all("Cookie")),
            cookie_name=cookie_name,
        )
        if reason is not None:
            return connection.respond(http.HTTPStatus.FORBIDDEN, f"openloger: {reason}\n")
        response = process(connection, request) if process is not None else None
        response = await response if isinstance(response, Awaitable) else response
        if response is not None:
            response.headers["Referrer-Policy"] = "no-referrer"
            if access.brings_token(request.path):
                response.headers["Set-Cookie"] = f"{cookie_name}={access.token}; HttpOnly; SameSite=Strict; Path=/"
        return response

    return check


@contextmanager
def guarding(access: Access) -> Iterator[None]:
    """Puts what viser serves meanwhile behind `access`: it makes its own handler, and offers no place for another.

    Raises RuntimeError where nothing was served, so that a viser that serves otherwise is never left open.
    """
    import websockets.asyncio.server as server

    with _starting:
        serve, put = server.serve, threading.Event()

        def guarded_serve(*given: Any, **named: Any) -> Any:
            put.set()
            return serve(*given, **{**named, "process_request": guarded(named.get("process_request"), access)})

        server.serve = guarded_serve  # type: ignore[misc,assignment]
        try:
            yield
        finally:
            server.serve = serve  # type: ignore[misc]
    if not put.is_set():
        raise RuntimeError("this version of viser serves in a way that openloger cannot protect")


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
