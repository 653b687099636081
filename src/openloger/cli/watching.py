"""Showing a recording in the browser while another command writes it."""

from __future__ import annotations

import importlib.util
import threading
import webbrowser
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from openloger.cli.terminal import print_status
from openloger.errors import InputError, OpenlogerError
from openloger.recording import open_recording
from openloger.version import install_command
from openloger.viewing import Viewer, ViewOptions
from openloger.viewing.browser.server import free_port

_PATIENCE_S = 5.0


@dataclass(frozen=True)
class ShowArguments:
    """Settings of the viewer during the run."""

    view: bool = True
    """Show the recording in the browser as it grows."""
    port: int = 8080
    """Where to serve; the next that is free where it is in use."""
    host: str = "127.0.0.1"
    """The address to serve at; 0.0.0.0 lets those in the network look who have the printed address."""
    open: bool = False
    """Open the page in this machine's browser."""
    json: bool = False
    """Print a summary for programs on standard output."""


@contextmanager
def shown(recording: Path, arguments: ShowArguments) -> Iterator[Callable[[], None]]:
    """Serves the recording from a thread; what is yielded is called when there is something to be seen.

    Raises InputError where it could not be served; later faults are reported, and do not stop the recording.
    """
    if not arguments.view:
        yield lambda: None
        return
    if importlib.util.find_spec("viser") is None:
        raise InputError(f"the viewer needs the package viser: {install_command('view')}, or give --no-view")
    options = ViewOptions(host=arguments.host, port=free_port(arguments.host, arguments.port))
    begun, ended = threading.Event(), threading.Event()

    def serve() -> None:
        begun.wait()
        if not ended.is_set():
            _serve(recording, options, ended, open_page=arguments.open)

    worker = threading.Thread(target=serve, name="openloger-viewer", daemon=True)
    worker.start()
    try:
        yield begun.set
    finally:
        ended.set()
        begun.set()
        worker.join(_PATIENCE_S)


def _serve(recording: Path, options: ViewOptions, ended: threading.Event, *, open_page: bool) -> None:
    try:
        viewer = Viewer(open_recording(recording), options=options)
        try:
            print_status(f"openloger: {viewer.url} shows {recording} as it grows")
            if open_page:
                webbrowser.open(viewer.url)
            viewer.run(should_stop=ended.is_set)
        finally:
            viewer.close()
    except OpenlogerError as error:
        print_status(f"openloger: nothing is shown: {error}")
