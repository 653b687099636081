"""Photographs as textures: pictures of real surfaces out of an installed package, for worlds that are configured so.

`World(..., textures="miniworld")` takes some of its surfaces from the pictures of the PyPI package miniworld
(Apache-2.0, `pip install --no-deps miniworld`; its pictures alone are read, its code is never run). Without that
argument nothing here is touched and worlds are the same whatever is installed.
"""

from __future__ import annotations

import importlib.util
from functools import lru_cache
from pathlib import Path

import numpy as np

from openloger.errors import InputError
from openloger.shapes import Float32

PROCEDURAL = "procedural"
SOURCES = (PROCEDURAL, "miniworld")
_VERSION = "2.1.0"  # of the package, whose pictures the worlds were checked with

_PICTURES: dict[str, tuple[str, ...]] = {  # by the pattern whose place they take
    "plain": ("drywall_1", "concrete_4", "cardboard_3", "cardboard_4"),
    "plaster": ("stucco_1", "drywall_1", "concrete_1"),
    "concrete": ("concrete_1", "concrete_2", "concrete_3", "asphalt_1"),
    "brick": ("brick_wall_1", "cinder_blocks_1"),
    "tiles": ("concrete_tiles_1", "floor_tiles_bw_1", "floor_tiles_white"),
    "planks": ("wood_planks_1", "wood_1"),
    "wood": ("wood_1", "wood_2"),
    "marble": ("marble_1", "marble_2"),
    "panels": ("ceiling_tiles_1", "ceiling_tile_noborder_1"),
    "grass": ("grass_1", "grass_2"),
    "stones": ("rock_1", "cinder_blocks_1"),
    "speckle": ("asphalt_1", "ceiling_tile_noborder_1"),
    "carpet": ("stucco_1", "cardboard_4"),
    "slats": ("door_garage_white", "airduct_grate_1"),
}


def picture_names() -> list[str]:
    """Each picture once, in the order of their layers."""
    return sorted({name for names in _PICTURES.values() for name in names})


def pictures_of(pattern: str) -> list[int]:
    """Numbers, among the photographs, of those that can take a pattern's place."""
    order = picture_names()
    return [order.index(name) for name in _PICTURES.get(pattern, ())]


@lru_cache(maxsize=1)
def _folder() -> Path:
    found = importlib.util.find_spec("miniworld")
    places = list(found.submodule_search_locations or ()) if found else []
    folder = Path(places[0]) / "textures" if places else None
    if folder is None or not folder.is_dir():
        raise InputError(
            "textures 'miniworld' are pictures of the package miniworld, which is not installed: "
            f"pip install --no-deps miniworld=={_VERSION}, or leave textures at {PROCEDURAL!r}"
        )
    return folder


def photographs(size: int) -> list[Float32[np.ndarray, "size size 4"]]:
    """The pictures as layers of the atlas: colours as in prints.py, and a little gloss.

    Raises:
        InputError: where the package or one of its pictures is missing.
    """
    return [_load(_folder() / f"{name}.png", size) for name in picture_names()]


def _load(path: Path, size: int) -> Float32[np.ndarray, "size size 4"]:
    from PIL import Image

    if not path.is_file():
        raise InputError(f"there is no {path.name} among miniworld's pictures; they are those of miniworld {_VERSION}")
    with Image.open(path, formats=("PNG",)) as picture:
        small = picture.convert("RGB").resize((size, size), Image.Resampling.BOX)
    colours = np.asarray(small, dtype=np.float32) / 255.0
    return np.concatenate([colours, np.full((size, size, 1), 0.2, dtype=np.float32)], axis=2)


@lru_cache(maxsize=1)
def mean_colours() -> Float32[np.ndarray, "picture 3"]:
    """Of each picture, so that it can be painted in another colour."""
    return np.stack([layer[..., :3].mean(axis=(0, 1)) for layer in photographs(16)])
