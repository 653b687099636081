"""`openloger web-demo`: a page that reconstructs in the browser."""

from __future__ import annotations

import tempfile
from pathlib import Path

import tyro

from openloger.cli.terminal import print_status, printable, serve_page
from openloger.errors import InputError
from openloger.frames import open_frames
from openloger.network import export_network, load_network
from openloger.network.exported import check_export, is_exported
from openloger.outputs import check_place
from openloger.webdemo import DemoServer, check_clip, check_demo, find_runtime, write_web_demo
from openloger.webdemo.build import MADE_BY, folder_bytes


def web_demo(
    out: tyro.conf.Positional[Path],
    /,
    *,
    network: str = "pocket",
    int8: bool = False,
    clip: Path | None = None,
    runtime: Path | None = None,
    overwrite: bool = False,
    serve: bool = False,
    host: str = "127.0.0.1",
    port: int = 8080,
    open: bool = False,
) -> None:
    """Write a page that reconstructs a video or the camera in the browser, and asks nobody for anything.

    Args:
        out: The folder to write, for any static web server; with --serve one that is there already is served as it is.
        network: pocket, or a folder that `openloger export-network NETWORK --to onnx` wrote.
        int8: Store the network's matrices in a quarter of the size; such a page runs on the CPU alone.
        clip: A video (MP4 or WebM) that the page offers to try; it becomes a part of the folder.
        runtime: An npm package onnxruntime-web that is there already. By default `npm pack` fetches it (33 MB).
        overwrite: Replace a page that this command wrote.
        serve: Serve the folder, with the headers that more than one thread needs; Ctrl-C ends.
        host: The address to serve at; on others than this machine's own, browsers give the camera to https alone.
        port: Where to serve; the next that is free where it is in use.
        open: Open the page in this machine's browser (with --serve).
    """
    if serve and not overwrite and out.is_dir() and any(out.iterdir()):
        check_demo(out)
    else:
        _write(out, network, int8=int8, clip=clip, runtime=runtime, overwrite=overwrite)
    if serve:
        serve_page(DemoServer(out, host=host, port=port), f"serves {out}", open_browser=open)


def _write(out: Path, network: str, *, int8: bool, clip: Path | None, runtime: Path | None, overwrite: bool) -> None:
    check_place(out, made_by=MADE_BY, overwrite=overwrite, folder=True)
    if clip is not None:
        check_clip(clip)
        _check_pictures(clip)
    if is_exported(network):
        files = find_runtime(runtime)
        write_web_demo(Path(network).expanduser(), out, runtime=files, clip=clip, overwrite=overwrite)
    else:
        loaded = load_network(network, device="cpu", dtype="float32")
        check_export(loaded, int8=int8)
        files = find_runtime(runtime)  # 33 MB: after what is quickly refused
        with tempfile.TemporaryDirectory() as desk:
            exported = Path(desk) / "network"
            print_status(f"openloger: exporting {network}, which takes a minute")
            export_network(loaded, exported, int8=int8)
            write_web_demo(exported, out, runtime=files, clip=clip, overwrite=overwrite)
    print(printable(out / "index.html"))
    print_status(f"openloger: {out} has {folder_bytes(out) / 1e6:.0f} MB; `openloger web-demo {out} --serve` serves it")


def _check_pictures(clip: Path) -> None:
    try:
        first = next(iter(open_frames(clip)), None)
    except InputError as error:
        raise InputError(f"--clip {clip} cannot be played ({error}): give a video that browsers play") from error
    if first is None:
        raise InputError(f"--clip {clip} cannot be played (it has no picture): give a video that browsers play")
