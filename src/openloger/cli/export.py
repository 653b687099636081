"""`openloger export`: a recording in another program's format."""

from __future__ import annotations

import json as json_module
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Literal

import tyro

from openloger.cli.terminal import print_status, printable, progress_bar
from openloger.errors import InputError, counted
from openloger.export import PointSelection, SourceFrames, export_recording
from openloger.export.formats import find_format
from openloger.export.reconstruction import Progress as OnProgress
from openloger.recording import open_recording
from openloger.runtime.progress import Progress

_ALL_DEFAULTS = PointSelection()


def export(
    recording: tyro.conf.Positional[Path],
    /,
    to: Literal["ply", "splat", "las", "laz", "mesh", "glb", "colmap", "nerfstudio", "tum", "kitti", "usd", "rerun"],
    *,
    out: Annotated[Path | None, tyro.conf.arg(aliases=["-o"])] = None,
    selection: tyro.conf.OmitArgPrefixes[PointSelection] = _ALL_DEFAULTS,
    pictures: Literal["network", "full"] = "network",
    source: str | None = None,
    images: Path | None = None,
    overwrite: bool = False,
    json: bool = False,
) -> int:
    """Write a recording in another program's format; of one that is not finished, what is there.

    Args:
        recording: The recording's folder.
        to: The format; colmap and nerfstudio are folders with pictures, splat is a PLY of Gaussians, mesh a PLY, OBJ or
            GLB by the ending of --out; las and laz, mesh, usd and rerun need the extras openloger[las], [mesh], [usd]
            and [rerun].
        out: Where to; by default beside the recording, as RECORDING.ply or RECORDING_colmap.
        pictures: Those of colmap and nerfstudio: as the network saw them, or the source's frames at full size,
            undistorted if the run was.
        source: Where the source of full pictures is now, if it has moved; it must be the recorded one.
        images: A folder that has the source's frames as files: cameras have their size, and no pictures are written.
        overwrite: Replace an earlier export; a file that openloger did not write, or that has changed, is kept.
        json: Print a summary for programs on standard output.
    """
    if source is not None and pictures != "full":
        raise InputError("--source goes with --pictures full")
    if images is not None and pictures == "full":
        raise InputError("--images and --pictures full cannot both be given: files that are there, or written anew")
    opened = open_recording(recording)
    chosen = find_format(to)
    folder = recording.resolve()
    path = out or folder.with_name(folder.name + chosen.ending)
    if not opened.complete:
        frames = counted(len(opened), "frame")
        print_status(f"openloger: {recording} is not complete; what it has is exported ({frames})")
    with _progress(f"{to} {path.name}") as show:
        written = export_recording(
            opened,
            to,
            path,
            selection=selection,
            images=SourceFrames(source) if pictures == "full" else images,
            overwrite=overwrite,
            progress=show,
        )
    if json:
        summary = {"recording": str(recording), "format": to, "frames": len(opened), "complete": opened.complete}
        print(json_module.dumps({**summary, "written": [str(entry) for entry in written]}))
        return 0
    for entry in written:
        print(printable(entry))
    return 0


@contextmanager
def _progress(name: str) -> Iterator[OnProgress]:
    """The usual bar; a format that reads the frames twice counts them twice."""
    began_s = time.perf_counter()
    with progress_bar(name) as show:
        yield lambda done, total: show(Progress(done, total, done, time.perf_counter() - began_s, 0.0))
