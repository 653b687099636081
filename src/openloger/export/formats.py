"""The table of formats, and the one way to write each."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from types import MappingProxyType
from typing import Any

from openloger.errors import InputError
from openloger.export import colmap, glb, las, mesh, nerfstudio, ply, rerun, splat, trajectories, usd
from openloger.export.reconstruction import Progress, Reconstruction, no_progress
from openloger.export.selection import PointSelection
from openloger.export.source_frames import SourceFrames
from openloger.outputs import staged_file, staged_folder


@dataclass(frozen=True)
class Format:
    """A file format, and the function that writes it."""

    write: Callable[..., int | None]  # (recording, path, *, selection, progress[, images]); how many points, if any
    ending: str  # what a path of this format ends in, where none is given
    max_points: int | None = None  # where the selection has none; None: the format has no points
    contents: tuple[str, ...] = ()  # the entries of a folder; none: the export is one file
    takes_images: bool = False
    is_points: bool = False  # and nothing else: no use without
    is_utf8: bool = False  # its library takes no path that is not UTF-8


FORMATS: Mapping[str, Format] = MappingProxyType(
    {
        "ply": Format(ply.write_ply, ".ply", ply.MAX_POINTS, is_points=True),
        "splat": Format(splat.write_splat, ".splat.ply", splat.MAX_POINTS, is_points=True),
        "mesh": Format(mesh.write_mesh, ".mesh.ply", is_points=True),
        "las": Format(las.write_las, ".las", las.MAX_POINTS, is_points=True),
        "laz": Format(partial(las.write_las, compressed=True), ".laz", las.MAX_POINTS, is_points=True),
        "glb": Format(glb.write_glb, ".glb", glb.MAX_POINTS),
        "colmap": Format(colmap.write_colmap, "_colmap", colmap.MAX_POINTS, colmap.CONTENTS, takes_images=True),
        "nerfstudio": Format(
            nerfstudio.write_nerfstudio,
            "_nerfstudio",
            nerfstudio.MAX_POINTS,
            nerfstudio.CONTENTS,
            takes_images=True,
        ),
        "tum": Format(trajectories.write_tum, ".tum.txt"),
        "kitti": Format(trajectories.write_kitti, ".kitti.txt"),
        "usd": Format(usd.write_usd, ".usdc", usd.MAX_POINTS, is_utf8=True),
        "rerun": Format(rerun.write_rerun, ".rrd", rerun.MAX_POINTS, is_utf8=True),
    }
)


def export_recording(
    recording: Reconstruction,
    to: str,
    path: Path | str,
    *,
    selection: PointSelection | None = None,
    images: Path | str | SourceFrames | None = None,
    overwrite: bool = False,
    progress: Progress = no_progress,
) -> list[Path]:
    """Writes a recording in another program's format and gives the paths written: one file, or a folder's entries.

    `to` is a name of `FORMATS`. Where `selection.max_points` is None, the format's own limit holds. `images` (colmap,
    nerfstudio) is the folder of the source's frames: cameras then have their size, and no pictures are written. With
    `SourceFrames()` the source's frames are written at full size, undistorted if the run was.
    The files are written beside `path` and moved there when they are whole; `overwrite` replaces an earlier export of
    this format, as long as nothing of it has changed. Frames that are committed later than the
    call are not exported.

    Where no pixel passes the selection, cameras go without points, and a warning says so.

    Raises InputError for an unknown format, a path that exists (with `overwrite`: that holds a file which no
    export of this format wrote) or cannot be written, a recording without frames, and a PLY without points.
    """
    chosen = find_format(to)
    path = Path(path)
    if chosen.is_utf8 and any("\udc80" <= letter <= "\udcff" for letter in str(path)):
        raise InputError(f"{path} is not UTF-8, which {to} needs: choose another path (--out)")
    options: dict[str, Any] = {}
    if images is not None:
        if not chosen.takes_images:
            takers = ", ".join(name for name, known in FORMATS.items() if known.takes_images)
            raise InputError(f"{to} has no pictures: images go with {takers}")
        options["images"] = images if isinstance(images, SourceFrames) else Path(images)
    selection = selection or PointSelection()
    if selection.max_points is None:
        selection = replace(selection, max_points=chosen.max_points)
    staged = staged_folder if chosen.contents else staged_file
    with staged(path, made_by=f"export {to}", overwrite=overwrite) as draft:
        point_count = chosen.write(recording, draft, selection=selection, progress=progress, **options)
        if point_count == 0:
            _report_no_points(selection, is_error=chosen.is_points)
    return [path / entry for entry in chosen.contents if (path / entry).exists()] or [path]


def _report_no_points(selection: PointSelection, *, is_error: bool) -> None:
    edges = "" if selection.depth_edge is None else f", or pass depth_edge None (now {selection.depth_edge})"
    message = f"no pixel passes the selection: lower confidence_min (now {selection.confidence_min}){edges}"
    if is_error:
        raise InputError(message)
    logging.getLogger("openloger").warning("%s; the export has no points", message)


def find_format(name: str) -> Format:
    """Raises InputError, listing the known names, where there is none of this name."""
    if name not in FORMATS:
        raise InputError(f"there is no format {name!r}: choose one of {', '.join(FORMATS)}")
    return FORMATS[name]
