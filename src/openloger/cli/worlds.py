"""`openloger worlds`: look at procedural worlds, or write them out."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any, Literal

import tyro

from openloger.cli.terminal import progress_bar
from openloger.datasets import write_folder
from openloger.datasets.writing import VideoWriter
from openloger.errors import counted
from openloger.outputs import check_place, staged_file, staged_folder
from openloger.runtime.progress import Stopwatch
from openloger.worlds import World, contact_sheet

Out = Annotated[Path, tyro.conf.arg(aliases=["-o"])]


def commands() -> dict[str, Callable[..., Any]]:
    """The `worlds` commands."""
    return {"preview": preview, "render": render}


def preview(
    family: tyro.conf.Positional[str],
    /,
    *,
    out: Out = Path("worlds-preview"),
    seed: int = 0,
    frames: int = 60,
    rows: int = 6,
    size: tuple[int, int] = (160, 224),
    fps: float = 10.0,
    overwrite: bool = False,
) -> None:
    """Write a contact sheet (rgb, depth, normals, moving things, the path from above) and an mp4 of a world.

    Args:
        family: rooms, halls, street, terrain or clutter.
        out: The folder for FAMILY-SEED.png and FAMILY-SEED.mp4.
        seed: Which world of the family.
        frames: How long the mp4 is.
        rows: Frames on the sheet, evenly from the mp4's.
        size: Height and width in pixels.
        fps: Frames a second.
        overwrite: Replace files that this command wrote.
    """
    from PIL import Image

    shown = World(family, seed=seed, size=size, fps=fps, frames=frames)
    path = out / f"{family}-{seed}"
    place = {"made_by": "worlds preview", "overwrite": overwrite}
    for file in (path.with_suffix(".png"), path.with_suffix(".mp4")):
        check_place(file, **place)
    indices = [round(row * (frames - 1) / max(rows - 1, 1)) for row in range(rows)]
    with staged_file(path.with_suffix(".png"), **place) as sheet:
        Image.fromarray(contact_sheet(shown, indices)).save(sheet)
    with staged_file(path.with_suffix(".mp4"), **place) as draft, VideoWriter(draft, fps=fps) as video:
        for sample in shown:
            video.write(sample.rgb)
    print(f"{path}.png and {path}.mp4", file=sys.stderr)


def render(
    family: tyro.conf.Positional[str],
    /,
    *,
    out: Out,
    seed: int = 0,
    frames: int = 300,
    size: tuple[int, int] = (160, 224),
    fps: float = 10.0,
    pictures: Literal["mp4", "png"] = "mp4",
    depth: bool = True,
    overwrite: bool = False,
) -> None:
    """Write a world as a dataset folder: pictures, cameras, intrinsics, timestamps, depth.

    Args:
        family: rooms, halls, street, terrain or clutter.
        out: The folder.
        seed: Which world of the family.
        frames: How many.
        size: Height and width in pixels.
        fps: Frames a second.
        pictures: One video, or a lossless picture a frame.
        depth: Write depth/000000.npy, float16 metres.
        overwrite: Replace a folder that this command wrote, as long as nothing in it has changed.
    """
    shown = World(family, seed=seed, size=size, fps=fps, frames=frames)
    watch = Stopwatch(total=frames)
    with staged_folder(out, made_by="worlds render", overwrite=overwrite) as draft, progress_bar(shown.name) as show:
        write_folder(
            shown, draft, fps=fps, pictures=pictures, depth=depth, on_frame=lambda count: show(watch.advance(1))
        )
    print(f"{counted(frames, 'frame')} in {out}", file=sys.stderr)
