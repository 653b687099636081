"""Procedural worlds: endless labelled video with exact depth, cameras and normals, a function of (family, seed, frame).

`world("street", seed=7)[i]` is frame i of a world; `render_clips` renders many worlds' frames at once for training.
The way of the data: a family (families/) makes solids cell by cell (scene.py) and says how a camera is carried along
its ways (routes.py, paths.py); world.py gathers what a frame can see; raycast.py, and its fast twin raycast_fast.py,
find what each pixel meets; shading.py colours it with surfaces (surfaces.py) from the atlas of textures
(textures.py; patterns.py, prints.py, photos.py). World axes are OpenCV's: x right, y down, z forward; metres.
"""

from __future__ import annotations

from openloger.worlds.clips import Clips, render_clip, render_clips
from openloger.worlds.photos import PROCEDURAL
from openloger.worlds.photos import SOURCES as TEXTURES
from openloger.worlds.preview import contact_sheet
from openloger.worlds.world import FAMILIES, Sample, World

VERSION: int = 4
"""Raised whenever a seed's pictures change, so that what is kept of rendered clips can say which worlds it shows."""

__all__ = [
    "FAMILIES",
    "TEXTURES",
    "VERSION",
    "Clips",
    "Sample",
    "World",
    "contact_sheet",
    "render_clip",
    "render_clips",
    "world",
]


def world(
    family: str,
    *,
    seed: int,
    size: tuple[int, int] = (160, 224),
    fps: float | int = 10,
    frames: int | None = None,
    textures: str = PROCEDURAL,
) -> World:
    """The world `seed` of a family, as a sequence: `world[i]` for any i ≥ 0.

    Args:
        family: one of FAMILIES.
        seed: any whole number; equal seeds give equal worlds.
        size: (height, width) in pixels.
        fps: frames per second of the video.
        frames: its length; endless where None.
        textures: one of TEXTURES: "procedural", or "miniworld" for photographs on about half of the surfaces that
            have a pattern, from the pictures of that package (Apache-2.0; `pip install --no-deps miniworld`).

    Raises:
        InputError: for an unknown family, a size under 8 pixels, a frame rate that is not positive, unknown textures
            or textures whose package is not installed.
    """
    return World(family, seed=seed, size=size, fps=fps, frames=frames, textures=textures)
