"""`openloger align`: metres, gravity and place of a recording, in a correction beside it."""

from __future__ import annotations

import json as json_module
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Literal

import tyro

from openloger.cli.terminal import print_status, printable
from openloger.corrections import (
    Alignment,
    KnownDistance,
    PicturePoint,
    align_by_camera_height,
    align_by_depth,
    align_by_distances,
    align_by_gps,
    align_by_poses,
    align_up,
    apply,
)
from openloger.corrections import undo as undo_last
from openloger.errors import InputError
from openloger.recording import Recording, open_recording

Distances = tyro.conf.UseAppendAction[list[tuple[str, str, float]]]


def align(
    recording: tyro.conf.Positional[Path],
    /,
    *,
    distance: Annotated[Distances, tyro.conf.arg(metavar="FRAME:x,y FRAME:x,y METRES")] = [],  # noqa: B006
    camera_height: float | None = None,
    gps: Path | None = None,
    poses: Path | None = None,
    depth: Path | None = None,
    start: str | None = None,
    unit: str | None = None,
    up: Literal["auto"] | None = None,
    drift: bool = False,
    undo: bool = False,
    dry_run: bool = False,
    json: bool = False,
) -> None:
    """Give a recording metres, gravity, or its place on the earth.

    By one of --distance, --camera-height, --gps, --poses and --depth, and --up auto. What was recorded stays as it is:
    the correction lies beside it, and --undo takes it away.

    Args:
        recording: The recording's folder.
        distance: Two points and the metres between them; x,y in pixels of the source. May be given several times.
        camera_height: Metres of the cameras above the ground, in the median.
        gps: A GPX or CSV track, or a folder of pictures with GPS in their EXIF.
        poses: Poses of another system: TUM's or KITTI's text, or JSON as programs on ARKit write it.
        depth: A folder of depth maps (.npy in metres, .png in millimetres) named as the frames, or an .npz.
        start: The time of --gps or --poses at the first frame: a date (2026-05-01T10:00:00Z) or seconds.
        unit: That of --poses or --depth: m, cm, mm, ft, … or metres as a number.
        up: auto: find gravity from cameras and surfaces, and stand the world upright.
        drift: Follow the measurements along the path, smoothly, in place of one similarity.
        undo: Take the last correction away.
        dry_run: Print the result and write nothing.
        json: Print the result for programs.
    """
    opened = open_recording(recording)
    _check_options(distance, gps, poses, depth, start, unit, up, drift, undo, camera_height)
    if undo:
        report_undone(opened, json=json)
        return
    pairs = [KnownDistance(PicturePoint.parse(a), PicturePoint.parse(b), metres) for a, b, metres in distance]
    ways: dict[str, Callable[[], Alignment]] = {}
    if pairs:
        ways["distance"] = lambda: align_by_distances(opened, pairs)
    if camera_height is not None:
        ways["camera-height"] = lambda: align_by_camera_height(opened, camera_height, drift=drift)
    if gps is not None:
        ways["gps"] = lambda: align_by_gps(opened, gps, start=start, drift=drift)
    if poses is not None:
        ways["poses"] = lambda: align_by_poses(opened, poses, unit=unit, start=start, drift=drift)
    if depth is not None:
        ways["depth"] = lambda: align_by_depth(opened, depth, unit=unit, drift=drift)
    if up is not None:
        ways["up"] = lambda: align_up(opened)
    for found in ways.values():
        report_alignment(found(), opened, dry_run=dry_run, json=json)
    if not (dry_run or json):
        print_status(f"openloger: openloger align {recording} --undo takes the last correction away")


def _check_options(
    distance: list[tuple[str, str, float]],
    gps: Path | None,
    poses: Path | None,
    depth: Path | None,
    start: str | None,
    unit: str | None,
    up: str | None,
    drift: bool,
    undo: bool,
    camera_height: float | None,
) -> None:
    ways = {"--distance": distance or None, "--camera-height": camera_height, "--gps": gps, "--poses": poses}
    given = [name for name, value in (ways | {"--depth": depth}).items() if value is not None]
    if undo and (given or up):
        raise InputError("--undo goes alone: it takes the last correction away")
    if not undo and not given and up is None:
        raise InputError("give one of --distance, --camera-height, --gps, --poses, --depth, and --up auto, or --undo")
    if len(given) > 1:
        raise InputError(f"{' and '.join(given)} cannot both decide the scale; give one, then the other if need be")
    if start is not None and gps is None and poses is None:
        raise InputError("--start goes with --gps or --poses")
    if unit is not None and poses is None and depth is None:
        raise InputError("--unit goes with --poses or --depth")
    if drift and (not given or given == ["--distance"]):
        raise InputError("--drift goes with --camera-height, --gps, --poses or --depth: it follows many measurements")


def report_undone(opened: Recording, *, json: bool) -> None:
    """Take the last correction away, and print which it was."""
    step = undo_last(opened).method
    print(printable(json_module.dumps({"undone": step}) if json else f"{opened.path}: {step} is taken away"))


def report_alignment(found: Alignment, opened: Recording, *, dry_run: bool, json: bool) -> None:
    """Print a correction, and write it unless it is a dry run."""
    if not dry_run:
        apply(opened, found)
    if json:
        numbers = {"scale": found.scale, "used": found.used, "given": found.given, "residual": found.residual}
        step = {"method": found.step.method, "unit": found.unit, "notes": found.notes, "written": not dry_run}
        print(json_module.dumps(step | numbers))
        return
    print(printable(found.text))
    for note in found.notes:
        print(printable(f"  {note}"))
