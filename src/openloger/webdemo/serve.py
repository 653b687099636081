"""A local server of the page: with the headers that let a browser share memory between threads, and right types.

Who may ask is decided by `Access`, as in the viewer: this machine's own pages, and elsewhere who has the token.
"""

from __future__ import annotations

import http
import os
import posixpath
import socket
import sys
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

from openloger.viewing.browser.server import Access, free_port
from openloger.webdemo.build import CONTENT_SECURITY_POLICY

HEADERS = {
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Embedder-Policy": "require-corp",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Content-Security-Policy": f"{CONTENT_SECURITY_POLICY}; frame-ancestors 'none'",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
    "Cache-Control": "no-cache",
}
_TYPES = {  # whatever this machine's own table has
    ".html": "text/html; charset=utf-8",
    ".css": "text/css; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".mjs": "text/javascript; charset=utf-8",
    ".json": "application/json",
    ".txt": "text/plain; charset=utf-8",
    ".svg": "image/svg+xml",
    ".wasm": "application/wasm",
    ".mp4": "video/mp4",
    ".m4v": "video/mp4",
    ".mov": "video/quicktime",
    ".webm": "video/webm",
    "": "application/octet-stream",
}


class DemoServer:
    """Serves a folder until it is closed."""

    def __init__(self, folder: Path, *, host: str = "127.0.0.1", port: int = 8080) -> None:
        """Take the port, or the next that is free; raises InputError where there is none, or the host is not known."""
        self._access = Access.at(host)
        handler = partial(_Handler, access=self._access, directory=str(folder))
        self._server = _server(host, free_port(host, port), handler)
        self._is_running = False

    @property
    def url(self) -> str:
        """The address to open in a browser."""
        return self._access.url(self._server.server_address[1])

    def run(self) -> None:
        """Serve until `close` is called in another thread, or Ctrl-C."""
        self._is_running = True
        self._server.serve_forever(poll_interval=0.1)

    def close(self) -> None:
        """End `run`, and free the port."""
        if self._is_running:  # else it would wait for an end that does not come
            self._server.shutdown()
        self._server.server_close()


def _server(host: str, port: int, handler: Any) -> ThreadingHTTPServer:
    family = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0][0]
    kind = type("_Server", (_QuietServer,), {"address_family": family})
    return kind((host, port), handler)


class _QuietServer(ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A browser that goes away while it is answered, as at a reload, or takes nothing any more, is no error."""
        if not isinstance(sys.exception(), ConnectionError | TimeoutError):
            super().handle_error(request, client_address)


class _Handler(SimpleHTTPRequestHandler):
    extensions_map = _TYPES
    server_version = "openloger"
    sys_version = ""
    timeout = 60  # seconds that a browser may leave a request, or its answer, unfinished
    path = ""  # until a request line is read that has one

    def __init__(self, *given: Any, access: Access, **named: Any) -> None:
        self._access = access
        super().__init__(*given, **named)

    def send_head(self) -> Any:
        """Of GET and HEAD: what may not be asked for is refused before any file is looked for."""
        reason = self._refusal()
        if reason is not None:
            self.send_error(http.HTTPStatus.FORBIDDEN, f"openloger: {reason}")
            return None
        return super().send_head()

    def _refusal(self) -> str | None:
        hosts, origins = (self.headers.get_all(name, []) for name in ("Host", "Origin"))
        if len(hosts) > 1 or len(origins) > 1:
            return "a header comes twice"
        try:
            path = unquote(urlsplit(self.path).path)
        except ValueError:
            return "that is no address"
        if "\0" in path:
            return "a path holds no NUL"
        if any(name.startswith(".") for name in path.split("/")):
            return "hidden files are not served"
        root, file = (Path(os.path.realpath(one)) for one in (self.directory, self.translate_path(self.path)))
        if not file.is_relative_to(root):
            return "a link that leads out of the page's folder is not followed"
        return self._access.refusal(
            host=next(iter(hosts), None),
            origin=next(iter(origins), None),
            path=self.path,
            cookie="; ".join(self.headers.get_all("Cookie", [])),
            cookie_name=self._cookie_name,
        )

    @property
    def _cookie_name(self) -> str:
        return f"openloger-{self.connection.getsockname()[1]}"

    def end_headers(self) -> None:
        for name, value in HEADERS.items():
            self.send_header(name, value)
        if self._access.brings_token(self.path):
            cookie = f"{self._cookie_name}={self._access.token}; HttpOnly; SameSite=Strict; Path=/"
            self.send_header("Set-Cookie", cookie)
        super().end_headers()

    def list_directory(self, path: Any) -> None:
        self.send_error(http.HTTPStatus.NOT_FOUND, "no such file")

    def guess_type(self, path: Any) -> str:
        return _TYPES.get(posixpath.splitext(str(path))[1].lower(), _TYPES[""])

    def log_message(self, format: str, *args: Any) -> None:
        """Nothing: the terminal shows the address alone."""
