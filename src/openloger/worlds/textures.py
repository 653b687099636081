"""The texture atlas: procedural patterns, baked once per process with all their smaller copies (mip levels).

A layer is SIZE × SIZE texels that repeat without a seam, four bytes each: three pattern channels and a gloss. Most
layers hold masks that a surface colours with its own palette (red: first to second colour, green: joints and dark
features, blue: brightness); the layers of prints.py hold colours. Everything is a hash of
(layer, texel), so the atlas is the same everywhere. Sampling picks the mip level from the size of a pixel on the
surface, so that textures seen from afar are averaged and do not shimmer.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np
import torch

from openloger.shapes import Float, Int, Tensor
from openloger.worlds import photos
from openloger.worlds.patterns import PATTERNS, Canvas
from openloger.worlds.prints import PRINTS

SIZE = 256
_LAYERS = {**PATTERNS, **PRINTS}
LEVELS = 9  # 256, 128, …, 1
LEVEL_STARTS = [4 * (SIZE * SIZE - (SIZE >> level) ** 2) // 3 for level in range(LEVELS)]
LAYER_TEXELS = LEVEL_STARTS[-1] + 1


def layer_names() -> list[str]:
    """All layers in the order of the atlas: "brick.0", "brick.1", …"""
    return [f"{name}.{variant}" for name, (_, variants) in _LAYERS.items() for variant in range(variants)]


@lru_cache(maxsize=1)
def layer_numbers() -> dict[str, list[int]]:
    """Atlas rows of each pattern's variants."""
    numbers: dict[str, list[int]] = {}
    for row, name in enumerate(layer_names()):
        numbers.setdefault(name.split(".")[0], []).append(row)
    return numbers


def _mipmaps(layer: np.ndarray) -> np.ndarray:
    """uint8 (size, size, 4) and its halvings, packed into int32 texels one after the other."""
    levels, current = [], layer.astype(np.float32)
    for _ in range(LEVELS):
        texels = np.ascontiguousarray(np.clip(np.rint(current * 255.0), 0, 255).astype(np.uint8))
        levels.append(texels.reshape(-1, 4).view(np.int32)[:, 0])
        if len(current) > 1:
            current = current.reshape(len(current) // 2, 2, len(current) // 2, 2, 4).mean(axis=(1, 3))
    return np.concatenate(levels)


@lru_cache(maxsize=1)
def atlas() -> Int[Tensor, "texel"]:
    """All layers with their mip levels, packed; baked at first use (a few seconds), then shared."""
    layers = []
    for name, (bake, variants) in _LAYERS.items():
        for variant in range(variants):
            layers.append(_mipmaps(bake(Canvas(name, variant, SIZE))))
    return torch.from_numpy(np.concatenate(layers))


@lru_cache(maxsize=1)
def atlas_with_photos() -> Int[Tensor, "texel"]:
    """The same with the photographs (photos.py) behind it."""
    layers = [torch.from_numpy(_mipmaps(layer)) for layer in photos.photographs(SIZE)]
    return torch.cat([atlas(), *layers])


@lru_cache(maxsize=4)
def atlas_on(device: torch.device, *, with_photos: bool) -> Int[Tensor, "texel"]:
    """Either, copied to a device once."""
    return (atlas_with_photos() if with_photos else atlas()).to(device)


def _texel(texels: Tensor, start: Tensor, row: Tensor, column: Tensor, size: Tensor) -> Tensor:
    mask = size - 1
    place = start + (row & mask) * size + (column & mask)
    return texels.index_select(0, place.reshape(-1)).view(place.shape)


def _channels(packed: Tensor, count: int) -> list[Tensor]:
    return [((packed >> (8 * channel)) & 255).to(torch.float32) for channel in range(count)]


def _bilinear(texels: Tensor, layer: Tensor, u: Tensor, v: Tensor, level: Tensor, count: int) -> list[Tensor]:
    size = SIZE >> level
    side = size.to(torch.float32)
    x, y = u * side - 0.5, v * side - 0.5
    x0, y0 = torch.floor(x), torch.floor(y)
    wx, wy = x - x0, y - y0
    column, row = x0.to(torch.int32), y0.to(torch.int32)
    start = layer * LAYER_TEXELS + (4 * SIZE * SIZE - 4 * size * size) // 3
    corners = [_channels(_texel(texels, start, row + dy, column + dx, size), count) for dy in (0, 1) for dx in (0, 1)]
    result = []
    for a, b, c, d in zip(*corners, strict=True):
        upper, lower = a + (b - a) * wx, c + (d - c) * wx
        result.append(upper + (lower - upper) * wy)
    return result


def sample(
    texels: Int[Tensor, "texel"],
    layer: Int[Tensor, "..."],
    u: Float[Tensor, "..."],
    v: Float[Tensor, "..."],
    level: Float[Tensor, "..."],
    *,
    count: int = 3,
) -> list[Float[Tensor, "..."]]:
    """The first `count` channels (0..1) at (u, v) in periods; trilinear, with level 0 the finest."""
    level = torch.clamp(level, 0.0, float(LEVELS - 1))
    fine = torch.floor(level)
    weight = level - fine
    below = fine.to(torch.int32)
    above = torch.clamp(below + 1, max=LEVELS - 1)
    near = _bilinear(texels, layer, u, v, below, count)
    far = _bilinear(texels, layer, u, v, above, count)
    return [(a + (b - a) * weight) * (1.0 / 255.0) for a, b in zip(near, far, strict=True)]
