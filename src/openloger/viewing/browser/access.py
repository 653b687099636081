"""Access to what is served: this machine's own pages, and where the network can reach the server, who has the token.

A web page from anywhere can make a browser connect to 127.0.0.1; the browser names the page in `Origin`, and a name
that was made to point here shows in `Host`. On a loopback address both must be of this machine. On any other address,
a random token must come with the page's address; a cookie carries it on to the page's own requests.
"""

from __future__ import annotations

import http
import ipaddress
import secrets
import threading
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.cookies import CookieError, SimpleCookie
from typing import Any
from urllib.parse import parse_qs, urlsplit

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
        if origin is not None and urlsplit(origin).netloc.lower() != (host or "").lower():
            return "the request comes from another site's page"
        if self.token is None or self._has_token(path, cookie, cookie_name):
            return None
        return "the token is missing: open the address that openloger printed"

    def brings_token(self, path: str) -> bool:
        """Whether the address itself holds the token."""
        given = parse_qs(urlsplit(path).query).get("token", [""])[0]
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
    try:
        return urlsplit(f"//{host}").hostname if host else None
    except ValueError:
        return None


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
