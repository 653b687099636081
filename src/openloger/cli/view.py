"""`openloger view`: a recording in the browser, finished or being written."""

from __future__ import annotations

from pathlib import Path

import tyro

from openloger.cli.arguments import true_cameras
from openloger.cli.terminal import printable, serve_page
from openloger.outputs import check_place, write_output
from openloger.recording import open_recording
from openloger.viewing import POINT_BUDGET, Settings, Viewer, ViewOptions, load_snapshot, overlay, share_page
from openloger.viewing.scene.overview import usual_edge


def view(
    recording: tyro.conf.Positional[Path],
    /,
    *,
    truth: Path | None = None,
    port: int = 8080,
    host: str = "127.0.0.1",
    points: int = POINT_BUDGET,
    share: Path | None = None,
    overwrite: bool = False,
    open: bool = False,
) -> None:
    """Look at a recording in the browser; one that is being written is followed.

    Args:
        recording: The recording's folder.
        truth: True cameras, laid over the path: 16 numbers a frame of the video (or the first 12), TUM's 8 by time, or
            a folder that holds world_from_cam.txt.
        port: Where to serve; the next that is free where it is in use.
        host: The address to serve at; 0.0.0.0 lets those in the network look who have the printed address.
        points: How many points the browser gets of the whole scene.
        share: Write the scene as one HTML file that needs no server, and serve nothing.
        overwrite: Replace a page to share that this command wrote.
        open: Open the page in this machine's browser.
    """
    if share is not None:
        check_place(share, made_by="view", overwrite=overwrite)
    opened = open_recording(recording)
    true = None if truth is None else true_cameras(truth)
    laid_over = None
    if true is not None and (opened.complete or share is not None):
        laid_over = overlay(opened.world_from_cam, true(opened))  # faults in it are reported at the start
    if share is not None:
        known = load_snapshot(opened, budget=points, overlay=laid_over)
        settings = Settings(frame=known.last, edge_max=usual_edge(opened.meta.height), overhead=not known.place.roofed)
        write_output(share, share_page(known, settings), made_by="view", overwrite=overwrite)
        print(printable(share))
        return
    viewer = Viewer(opened, options=ViewOptions(host=host, port=port, budget=points, truth=true))
    serve_page(viewer, f"shows {recording}", open_browser=open)
