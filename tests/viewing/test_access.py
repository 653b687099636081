"""Who gets in where a scene is served: raw requests as another site, a rebound name or a stranger sends them."""

from __future__ import annotations

import http.client
import socket
from collections.abc import Iterator
from contextlib import closing, contextmanager
from typing import Any

import pytest

from openloger.viewing.browser.server import Access, guarding, is_loopback, start_server, stop_server

pytest.importorskip("viser")
OWN = {"Host": "localhost:{port}", "Origin": "http://localhost:{port}"}


@contextmanager
def served(access: Access) -> Iterator[int]:
    server = start_server(access, 0)
    try:
        yield int(server.get_port())
    finally:
        stop_server(server)


@pytest.fixture(scope="module")
def port() -> Iterator[int]:
    with served(Access.at("127.0.0.1")) as found:
        yield found


@pytest.fixture(scope="module")
def open_server() -> Iterator[tuple[Access, int]]:
    access = Access.at("0.0.0.0")
    with served(access) as found:
        yield access, found


def status_of(port: int, path: str = "/", **headers: str) -> int:
    return response_to(port, path, **headers).status


def response_to(port: int, path: str = "/", **headers: str) -> http.client.HTTPResponse:
    with closing(http.client.HTTPConnection("127.0.0.1", port, timeout=20)) as connection:
        connection.putrequest("GET", path, skip_host=True, skip_accept_encoding=True)
        for name, value in headers.items():
            connection.putheader(name, value.format(port=port))
        connection.endheaders()
        response = connection.getresponse()
        response.read()
        return response


def handshake(port: int, path: str = "/", **headers: str) -> int:
    """The status that answers a websocket's opening; 101 is in."""
    import viser

    lines = [f"GET {path} HTTP/1.1", *(f"{name}: {value.format(port=port)}" for name, value in headers.items())]
    lines += ["Upgrade: websocket", "Connection: Upgrade", "Sec-WebSocket-Version: 13"]
    lines += ["Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==", f"Sec-WebSocket-Protocol: viser-v{viser.__version__}"]
    with socket.create_connection(("127.0.0.1", port), timeout=20) as opened:
        opened.sendall("\r\n".join([*lines, "", ""]).encode())
        return int(opened.recv(200).split()[1])


def test_the_own_page_gets_in(port: int) -> None:
    assert status_of(port, **OWN) == 200
    assert handshake(port, **OWN) == 101
    assert handshake(port, Host="127.0.0.1:9000", Origin="http://127.0.0.1:9000") == 101  # through `ssh -L 9000:…`


FOREIGN: list[dict[str, Any]] = [
    {"Host": "localhost:{port}", "Origin": "http://evil.example"},
    {"Host": "localhost:{port}", "Origin": "http://localhost:1"},  # another program's page on this machine
    {"Host": "localhost:{port}", "Origin": "null"},
    {"Host": "evil.example:{port}", "Origin": "http://evil.example:{port}"},  # a name that was made to point here
    {"Host": "127.0.0.1.evil.example:{port}"},
    {"Host": "localhost:{port}@evil.example"},
]


@pytest.mark.parametrize("headers", FOREIGN)
def test_other_sites_pages_do_not(port: int, headers: dict[str, str]) -> None:
    assert handshake(port, **headers) == 403
    assert status_of(port, **headers) == 403


def test_the_network_needs_the_token(open_server: tuple[Access, int]) -> None:
    access, port = open_server
    token = access.url(port).partition("token=")[2]
    assert len(token) >= 32
    assert token not in repr(access)
    headers = {"Host": "box.local:{port}", "Origin": "http://box.local:{port}"}
    assert handshake(port, **headers) == status_of(port, **headers) == 403
    assert handshake(port, f"/?token={token[:-1]}x", **headers) == 403
    response = response_to(port, f"/?token={token}", **headers)
    assert response.status == 200
    assert response.headers["Referrer-Policy"] == "no-referrer"
    cookie = response.headers["Set-Cookie"].partition(";")[0]
    assert {"HttpOnly", "SameSite=Strict"} <= {part.strip() for part in response.headers["Set-Cookie"].split(";")}
    assert handshake(port, Cookie=cookie, **headers) == 101
    assert handshake(port, Cookie=cookie, Host="box.local:{port}", Origin="http://evil.example") == 403
    assert handshake(port, Cookie="openloger-1=\u00e9; =", **headers) == 403


def test_which_addresses_are_loopback() -> None:
    assert all(is_loopback(host) for host in ("127.0.0.1", "127.9.9.9", "::1", "[::1]", "localhost"))
    assert not any(
        is_loopback(host) for host in ("0.0.0.0", "::", "192.168.1.2", "box.local", "localhost.evil.example")
    )
    assert Access.at("::1").url(80) == "http://[::1]:80"


def test_a_server_that_cannot_be_guarded_is_refused() -> None:
    with pytest.raises(RuntimeError, match="cannot protect"), guarding(Access.at("127.0.0.1")):
        pass
