"""The folder of a page and its server: what is written, what is refused, and who is served."""

from __future__ import annotations

import http.client
import json
import os
import re
import shutil
import socket
import struct
import threading
from collections.abc import Iterator
from contextlib import closing, contextmanager
from email.message import Message
from pathlib import Path

import av
import numpy as np
import pytest
from network.exported_networks import export_small

from openloger.cli import main
from openloger.cli import web_demo as cli_web_demo
from openloger.errors import InputError
from openloger.outputs import MANIFEST
from openloger.webdemo import DemoServer, Runtime, check_demo, find_runtime, serve, write_web_demo
from openloger.webdemo import runtime as runtime_module
from openloger.webdemo.build import CONTENT_SECURITY_POLICY
from openloger.webdemo.runtime import FILES, VERSION

for package in ("onnx", "onnxruntime", "onnxscript"):
    pytest.importorskip(package, reason="needs openloger[onnx]")
pytestmark = pytest.mark.timeout(1500)  # `network` takes a minute of processor time, which a busy machine gives in many
RUNTIME = Runtime({name: name.encode() for name in FILES})


@pytest.fixture(scope="module")
def network(shared_by_workers: Path) -> Path:
    _, folder = export_small(shared_by_workers, "loger")
    return folder


@pytest.fixture(scope="module")
def page(network: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """To be read alone."""
    folder = tmp_path_factory.mktemp("page") / "out"
    write_web_demo(network, folder, runtime=RUNTIME)
    return folder


@pytest.fixture
def own_page(page: Path, tmp_path: Path) -> Path:
    return shutil.copytree(page, tmp_path / "own")


def test_the_folder_has_all_that_the_page_names(page: Path) -> None:
    text = "".join(file.read_text() for file in [page / "index.html", *page.glob("*.js")])
    named = set(re.findall(r"""(?:from|src=|href=|Worker\(|fetch\()\s*["'](?:\./)?([\w./-]+\.\w+)["']""", text))
    assert {"page.js", "cloud.js", "page.css", "worker.js", "settings.json", "NOTICE.txt"} <= named
    assert [name for name in named if not (page / name).is_file()] == []
    assert {file.name for file in (page / "runtime").iterdir()} == set(FILES)
    assert "MIT License" in (page / "LICENSE-onnxruntime.txt").read_text()


def test_the_settings_are_those_of_the_network(network: Path, page: Path) -> None:
    settings = json.loads((page / "settings.json").read_text())
    description = json.loads((network / "network.json").read_text())
    assert (settings["window"], settings["patch"]) == (description["window"], description["patch"])
    assert settings["cpu_nodes"], "antialiased resizing, which WebGPU does not have"
    assert settings["clip"] is None


def test_no_page_may_ask_anybody_else(page: Path) -> None:
    index = (page / "index.html").read_text()
    policy = re.search(r'http-equiv="Content-Security-Policy" content="([^"]+)"', index)
    assert policy is not None
    directives = dict(one.strip().split(" ", 1) for one in policy[1].split(";"))
    assert directives["default-src"] == "'self'"
    assert directives["script-src"] == "'self' 'wasm-unsafe-eval'"
    others = {word for value in directives.values() for word in value.split()}
    assert others <= {"'self'", "'none'", "'wasm-unsafe-eval'", "data:", "blob:"}
    own = [page / "index.html", *page.glob("*.js"), *page.glob("*.css"), page / "icon.svg"]
    for file in own:
        addresses = re.findall(
            r"(?:https?:)?//[a-z0-9.-]+\.[a-z]{2,}\S*", re.sub(r'xmlns="[^"]*"', "", file.read_text())
        )
        assert addresses == [], file.name
    assert " style=" not in index
    assert "<script>" not in index


def test_a_page_is_replaced_where_it_is_ours_alone(network: Path, own_page: Path) -> None:
    with pytest.raises(InputError, match="exists"):
        write_web_demo(network, own_page, runtime=RUNTIME)
    write_web_demo(network, own_page, runtime=RUNTIME, overwrite=True)
    (own_page / "mine.txt").write_text("mine")
    with pytest.raises(InputError, match=r"mine\.txt is not what `web-demo` wrote"):
        write_web_demo(network, own_page, runtime=RUNTIME, overwrite=True)
    assert (own_page / "mine.txt").read_text() == "mine"


def test_a_clip_is_offered_and_another_file_refused(network: Path, tmp_path: Path) -> None:
    (tmp_path / "walk.MP4").write_bytes(b"video")
    settings = write_web_demo(network, tmp_path / "out", runtime=RUNTIME, clip=tmp_path / "walk.MP4")
    assert settings.clip == "clip.mp4"
    assert (tmp_path / "out" / "clip.mp4").read_bytes() == b"video"
    for wrong in ("walk.txt", "none.mp4"):
        with pytest.raises(InputError, match="give a video that browsers play"):
            write_web_demo(network, tmp_path / "other", runtime=RUNTIME, clip=tmp_path / wrong)
    assert not (tmp_path / "other").exists()


def test_a_page_is_served_where_it_is_whole(own_page: Path, tmp_path: Path) -> None:
    check_demo(own_page)
    (own_page / "cloud.js").write_text("changed")
    with pytest.raises(InputError, match=r"cloud.js is missing, or has changed"):
        check_demo(own_page)
    with pytest.raises(InputError, match="holds no page"):
        check_demo(tmp_path)


def test_a_runtime_of_another_version_or_with_other_files_is_refused(tmp_path: Path) -> None:
    (tmp_path / "dist").mkdir()
    (tmp_path / "package.json").write_text('{"version": "1.0.0"}')
    with pytest.raises(
        InputError, match=rf"is onnxruntime-web 1\.0\.0, and the page is made for {VERSION}.*npm install"
    ):
        find_runtime(tmp_path)
    (tmp_path / "package.json").write_text(json.dumps({"version": VERSION}))
    with pytest.raises(InputError, match=r"ort\.wasm\.min\.mjs cannot be read.*npm install"):
        find_runtime(tmp_path)
    for name in FILES:
        (tmp_path / "dist" / name).write_bytes(b"something else")
    with pytest.raises(InputError, match="is not that of onnxruntime-web@"):
        find_runtime(tmp_path)
    (tmp_path / "package.json").write_text("[]")
    with pytest.raises(InputError, match=r"is no package\.json"):
        find_runtime(tmp_path)


def test_without_npm_the_way_out_is_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(InputError, match=r"no npm here.*--runtime node_modules/onnxruntime-web"):
        find_runtime()


@pytest.mark.parametrize(
    ("script", "said"),
    [
        ("echo 'npm error network' >&2; exit 1", r"npm could not fetch .* \(npm error network\)"),
        ("echo other > onnxruntime-web.tgz", "npm gave another onnxruntime-web"),
    ],
)
def test_what_npm_cannot_fetch_or_gives_wrongly_is_refused(
    script: str, said: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    npm = tmp_path / "npm"
    npm.write_text(f"#!/bin/sh\n{script}\n")
    npm.chmod(0o755)
    monkeypatch.setattr(runtime_module.shutil, "which", lambda name: str(npm))
    with pytest.raises(InputError, match=said):
        find_runtime()


def test_the_command_writes_nothing_where_it_may_not(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "mine.txt").write_text("mine")
    for options in ([], ["--overwrite"], ["--serve"]):
        with pytest.raises(SystemExit) as ended:
            main(["web-demo", str(tmp_path), *options])
        assert ended.value.code == 2
        assert str(tmp_path) in capsys.readouterr().err
    assert [entry.name for entry in tmp_path.iterdir()] == ["mine.txt"]


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--clip", "text.mp4"], "cannot be played"),
        (["--clip", "empty.webm"], "cannot be played"),
        (["--clip", "sound.mp4"], "cannot be played"),
        (["--network", "nothing"], "nothing"),
        (["--network", "compact"], "compact cannot be exported"),
    ],
)
def test_what_cannot_be_is_refused_before_anything_is_fetched(
    options: list[str],
    said: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PATH", str(tmp_path))  # without npm, which would be named
    Path("text.mp4").write_text("no video")
    Path("empty.webm").touch()
    with av.open("sound.mp4", "w") as container:
        stream = container.add_stream("aac", rate=8000)
        frame = av.AudioFrame.from_ndarray(np.zeros((1, 1024), dtype=np.float32), format="fltp", layout="mono")
        frame.sample_rate = 8000
        container.mux([*stream.encode(frame), *stream.encode(None)])
    with pytest.raises(SystemExit) as ended:
        main(["web-demo", "out", *options])
    assert ended.value.code == 2
    error = capsys.readouterr().err
    assert said in error
    assert "npm" not in error
    assert not Path("out").exists()


@contextmanager
def served(folder: Path, host: str = "127.0.0.1") -> Iterator[DemoServer]:
    with socket.create_server((host, 0)) as free:  # one that no test beside this one takes
        port = free.getsockname()[1]
    server = DemoServer(folder, host=host, port=port)
    thread = threading.Thread(target=server.run)
    thread.start()
    try:
        yield server
    finally:
        server.close()
        thread.join()


def answer(server: DemoServer, path: str, **headers: str) -> tuple[int, Message]:
    port = int(server.url.rsplit(":", 1)[1].partition("/")[0])
    with closing(http.client.HTTPConnection("127.0.0.1", port, timeout=20)) as connection:
        connection.putrequest("GET", path, skip_host="Host" in headers)
        for name, value in headers.items():
            connection.putheader(name, value.format(port=port))
        connection.endheaders()
        response = connection.getresponse()
        response.read()
        return response.status, response.headers


def test_files_are_served_with_the_headers_that_threads_need(page: Path) -> None:
    types = {
        "/": "text/html; charset=utf-8",
        "/page.js": "text/javascript; charset=utf-8",
        f"/runtime/{next(iter(FILES))}": "text/javascript; charset=utf-8",
        "/runtime/ort-wasm-simd-threaded.wasm": "application/wasm",
        "/network/first.onnx": "application/octet-stream",
        "/settings.json": "application/json",
    }
    with served(page) as server:
        for path, kind in types.items():
            status, headers = answer(server, path)
            assert (status, headers["Content-Type"]) == (200, kind), path
            assert headers["Cross-Origin-Opener-Policy"] == "same-origin"
            assert headers["Cross-Origin-Embedder-Policy"] == "require-corp"
            assert headers["Content-Security-Policy"].startswith(CONTENT_SECURITY_POLICY)


def test_others_and_other_files_are_refused(page: Path) -> None:
    outside = page.parent / "secret.txt"
    outside.write_text("secret")
    with served(page) as server:
        assert answer(server, "/", Host="evil.example")[0] == 403
        assert answer(server, "/", Origin="http://evil.example")[0] == 403
        assert answer(server, "/", Host="localhost:{port}", Origin="http://localhost:{port}")[0] == 200
        assert answer(server, f"/{MANIFEST}")[0] == 403
        assert answer(server, f"/%2e{MANIFEST[1:]}")[0] == 403
        assert answer(server, "/../secret.txt")[0] == 403
        assert answer(server, "/%2e%2e/secret.txt")[0] == 403
        assert answer(server, "/network/")[0] == 404


def test_over_the_network_the_token_is_needed_and_kept(page: Path) -> None:
    with served(page, host="0.0.0.0") as server:
        assert answer(server, "/")[0] == 403
        status, headers = answer(server, "/?" + server.url.partition("?")[2])
        assert status == 200
        assert answer(server, "/page.js", Cookie=headers["Set-Cookie"].partition(";")[0])[0] == 200
        assert answer(server, "/page.js", Cookie="openloger=wrong")[0] == 403


def test_a_server_that_never_ran_closes(page: Path) -> None:
    DemoServer(page, port=8890).close()


def test_links_out_of_the_folder_are_not_followed(tmp_path: Path) -> None:
    page = tmp_path / "page"
    page.mkdir()
    (page / "own.txt").write_text("own")
    (tmp_path / "secret.txt").write_text("secret")
    (page / "within").symlink_to("own.txt")
    (page / "out").symlink_to("../secret.txt")
    (page / "above").symlink_to("..")
    (page / "loop").symlink_to("loop")
    with served(page) as server:
        found = {name: answer(server, f"/{name}")[0] for name in ("within", "out", "above/secret.txt", "loop")}
    assert found == {"within": 200, "out": 403, "above/secret.txt": 403, "loop": 404}


def test_a_request_that_does_not_end_is_given_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(serve._Handler, "timeout", 0.2)
    with served(tmp_path) as server:
        port = int(server.url.rsplit(":", 1)[1].partition("/")[0])
        with socket.create_connection(("127.0.0.1", port), timeout=20) as connection:
            connection.sendall(b"GET / HTTP/1.1\r\nHost: local")
            assert connection.recv(100) == b""


@pytest.mark.parametrize("host", ["127.0.0.1", "0.0.0.0"])
@pytest.mark.parametrize(
    ("request_line", "header", "status"),
    [
        ("GET /%00 HTTP/1.1", "", 403),
        ("GET http://[ HTTP/1.1", "", 403),
        ("GET / HTTP/1.1", "Origin: http://[\r\n", 403),
        ("GET / HTTP/9.9", "", 505),
        ("GET / / / HTTP", "", 400),
        ("PUT / HTTP/1.1", "", 501),
        (f"GET /{'a' * 5000} HTTP/1.1", "", 404),
        (f"GET /{'a' * 70000} HTTP/1.1", "", 414),
    ],
)
def test_what_no_browser_sends_is_answered_and_nothing_is_printed(
    host: str, request_line: str, header: str, status: int, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    with served(tmp_path, host) as server:
        port = int(server.url.rsplit(":", 1)[1].partition("/")[0])
        with socket.create_connection(("127.0.0.1", port), timeout=20) as connection:
            connection.sendall(f"{request_line}\r\nHost: localhost:{port}\r\n{header}\r\n".encode())
            with connection.makefile("rb") as file:
                answered = file.read()
    wanted = 403 if status == 404 and host == "0.0.0.0" else status
    assert f"Error code: {wanted}<".encode() in answered
    assert capfd.readouterr().err == ""


def test_a_browser_that_goes_away_is_no_error(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "large.bin").write_bytes(bytes(50_000_000))
    with served(tmp_path) as server:
        port = int(server.url.rsplit(":", 1)[1].partition("/")[0])
        with socket.create_connection(("127.0.0.1", port), timeout=20) as connection:
            connection.sendall(f"GET /large.bin HTTP/1.1\r\nHost: localhost:{port}\r\n\r\n".encode())
            assert connection.recv(100)
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        assert answer(server, "/large.bin", Host="localhost:{port}")[0] == 200
    assert capfd.readouterr().err == ""


def test_a_place_that_cannot_be_written_to_is_refused_before_the_export(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The export takes over a minute. The system is asked, as root may write to most folders."""
    access = os.access
    monkeypatch.setattr(os, "access", lambda path, mode: Path(path) != tmp_path and access(path, mode))
    monkeypatch.setattr(cli_web_demo, "load_network", lambda *_, **__: pytest.fail("the network is loaded"))
    with pytest.raises(SystemExit):
        main(["web-demo", str(tmp_path / "page")])
    assert f"cannot write {tmp_path / 'page'}: {tmp_path} is read-only" in capsys.readouterr().err
