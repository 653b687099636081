"""`openloger evaluate`: numbers against ground truth."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal

import tyro

from openloger.cli.ablations import evaluate_ablations
from openloger.cli.results import MADE_BY, show, write_page
from openloger.cli.suites import suite_commands
from openloger.evaluation import GatherSettings, MeasureSettings
from openloger.evaluation import evaluate_recording as measure_recording
from openloger.evaluation.page import Section
from openloger.evaluation.recording import made_with, summary
from openloger.evaluation.report import measured_table
from openloger.outputs import check_place
from openloger.recording import open_recording


def commands() -> dict[str, Callable[..., Any]]:
    """The `evaluate` commands: a recording, a suite by its name, or ablations of a network."""
    return {"recording": evaluate_recording, **suite_commands(), "ablations": evaluate_ablations}


def evaluate_recording(
    recording: tyro.conf.Positional[Path],
    /,
    *,
    truth: Path,
    depth: Path | None = None,
    alignment: Literal["none", "se3", "sim3"] = "sim3",
    depth_alignment: Literal["none", "sequence", "frame"] = "sequence",
    cloud_points: int = 0,
    html: Path | None = None,
    json: bool = False,
    overwrite: bool = False,
) -> None:
    """Measure one recording against the truth of its video.

    Args:
        recording: The recording's folder.
        truth: Cameras: 16 numbers a frame of the video (or the first 12), or TUM's 8 by time; or a folder that holds
            world_from_cam.txt.
        depth: True depth: a folder of 000000.npy or .png, or an .npz like depth_mm.npz.
        alignment: What is aligned of the path before it is measured: nothing, the frame, or the frame and the scale.
        depth_alignment: How the depth's scale is found: not at all, once for the video, or for each frame.
        cloud_points: Points of each frame in the clouds that are compared; 0 for no clouds.
        html: Write a page with plots here.
        json: Print the numbers, and how they were made, for programs.
        overwrite: Replace a page that this command wrote.
    """
    if html is not None:
        check_place(html, made_by=MADE_BY, overwrite=overwrite)
    opened = open_recording(recording)
    settings = MeasureSettings(alignment, depth_alignment, GatherSettings(cloud_points=cloud_points))
    measured = measure_recording(opened, truth, depth=depth, settings=settings)
    if html is not None:
        made = made_with(opened, measured, truth=truth, depth=depth)
        write_page(html, str(recording), [Section(opened.meta.source, measured)], [], made)
    output = summary(opened, measured, truth=truth, depth=depth) if json else measured_table(measured)
    show(output, str(recording))
