"""Procedural worlds: endless labelled video with exact depth, cameras and normals, a function of (family, seed, frame).

`World("street", seed=7)[i]` is frame i of a world; `render_clips` renders many worlds' frames at once for training.
The way of the data: a family (families/) makes solids cell by cell (scene.py) and defines how a camera is carried along
its ways (routes.py, paths.py); world.py gathers what a frame can show; raycast.py, and its fast twin raycast_fast.py,
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
"""Raised whenever a seed's pictures change; rendered clips that are kept carry it."""

__all__ = [
    "FAMILIES",
    "PROCEDURAL",
    "TEXTURES",
    "VERSION",
    "Clips",
    "Sample",
    "World",
    "contact_sheet",
    "render_clip",
    "render_clips",
]
