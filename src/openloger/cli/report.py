"""`openloger report`: one page about a recording, to be sent to somebody."""

from __future__ import annotations

import webbrowser
from pathlib import Path
from typing import Annotated

import tyro

from openloger.cli.arguments import true_cameras
from openloger.cli.terminal import print_status, printable
from openloger.errors import counted
from openloger.outputs import check_place, write_output
from openloger.recording import open_recording
from openloger.viewing import POINT_BUDGET, Settings, load_snapshot, overlay, report_page, share_page


def report(
    recording: tyro.conf.Positional[Path],
    /,
    *,
    out: Annotated[Path | None, tyro.conf.arg(aliases=["-o"])] = None,
    scene: bool = False,
    truth: Path | None = None,
    overwrite: bool = False,
    open: bool = False,
) -> None:
    """Write one HTML page about a recording: its path, a turning preview, depth, drift, speed and settings.

    Args:
        recording: The recording's folder; of one that is not finished, what is there.
        out: Where to; by default beside the recording, as RECORDING_report.html.
        scene: Write a second page to walk through the scene, RECORDING_scene.html, and link it; needs openloger[view].
        truth: True cameras, laid under the path: 16 numbers a frame of the video (or the first 12), TUM's 8 by time,
            or a folder that holds world_from_cam.txt.
        overwrite: Replace pages that this command wrote.
        open: Open the report in this machine's browser.
    """
    folder = recording.resolve()
    page = out or folder.with_name(f"{folder.name}_report.html")
    scene_page = page.with_name(page.stem.removesuffix("_report") + "_scene.html") if scene else None
    for place in filter(None, (page, scene_page)):
        check_place(place, made_by="report", overwrite=overwrite)
    opened = open_recording(recording)
    if not opened.complete:
        frames = counted(len(opened), "frame")
        print_status(f"openloger: {recording} is not complete; what it has is reported ({frames})")
    laid_over = None if truth is None else overlay(opened.world_from_cam, true_cameras(truth)(opened))
    if scene_page is not None:
        known = load_snapshot(opened, budget=POINT_BUDGET, overlay=laid_over)
        settings = Settings(frame=known.last, edge_max=known.place.scale.edge_max, overhead=not known.place.roofed)
        write_output(scene_page, share_page(known, settings), made_by="report", overwrite=overwrite)
    text = report_page(opened, overlay=laid_over, scene_page=None if scene_page is None else scene_page.name)
    write_output(page, text, made_by="report", overwrite=overwrite)
    for written in filter(None, (page, scene_page)):
        print(printable(written))
    if open:
        webbrowser.open(page.resolve().as_uri())
