"""Clips out of datasets on disk: labelled video of any size, cut and scaled to what the trainer wants.

With `by_length` every clip of a dataset's sequences is as likely as the next: a sequence counts by the clips that begin
in it. What a clip's depth is good for is its reader's `DepthKind`, or what the plan has instead.

A picture is scaled so that it covers the wanted size and cut around its middle; the lens follows by the same factors.
"""

from __future__ import annotations

from dataclasses import replace
from functools import lru_cache
from itertools import islice

import numpy as np

from openloger.datasets import DATASETS, DatasetFolder, Sequence, open_dataset
from openloger.errors import InputError
from openloger.shapes import Float32, Float64, Int, UInt8
from openloger.training.clips import Clip, TruthKind
from openloger.training.curriculum import DatasetPlan
from openloger.training.data import FileClipSpec

_TRIES = 16  # places tried before a folder is reported to have no such clip
Box = tuple[float, float, float, float]  # left, top, right, bottom in pixels


def read_clip(spec: FileClipSpec) -> Clip:
    """The clip that a spec stands for: the same every time, as long as the folder stays as it is.

    Raises:
        InputError: no such folder, or no clip in it that has cameras, lenses and depth throughout.
    """
    source, draw = spec.source, np.random.default_rng(spec.number)
    span = (spec.frames - 1) * spec.stride + 1
    for _ in range(_TRIES):
        name = _drawn_name(source, span, draw)
        sequence = None if name is None else _sequence(source, name)
        if sequence is None or sequence.length is None or sequence.length < span:
            continue
        clip = _read(sequence, int(draw.integers(sequence.length - span + 1)), spec)
        if clip is not None:
            return clip
    raise InputError(
        f"{source.name} in {source.folder}: no clip of {spec.frames} frames, {spec.stride} apart, with cameras, "
        f"intrinsics and depth was found in {_TRIES} tries; give another folder, or fewer frames"
    )


@lru_cache(maxsize=64)
def opened(source: DatasetPlan) -> DatasetFolder:
    """The sequences of a folder that a plan takes.

    Raises InputError where the folder is missing or laid out otherwise, and where none is left.
    """
    whole = open_dataset(source.name, source.folder)
    names = tuple(name for name in whole.names if source.takes(name))
    if not names:
        some = ", ".join(whole.names[:5])
        raise InputError(
            f"{source.name} in {source.folder}: none of its {len(whole)} sequences ({some}, …) matches "
            f"include={list(source.include)} and not exclude={list(source.exclude)}"
        )
    return replace(whole, names=names)


@lru_cache(maxsize=64)
def _sequence(source: DatasetPlan, name: str) -> Sequence:
    return opened(source)[name]


@lru_cache(maxsize=64)
def _lengths(source: DatasetPlan) -> Int[np.ndarray, " sequence"]:
    return np.array([sequence.length or 0 for _, sequence in opened(source).items()])


def _drawn_name(source: DatasetPlan, span: int, draw: np.random.Generator) -> str | None:
    """A sequence for a clip that reaches over `span` frames; None where none is long enough."""
    names = opened(source).names
    if not source.by_length:
        return names[int(draw.integers(len(names)))]
    begins = np.maximum(_lengths(source) - span + 1, 0).cumsum()
    return names[int(np.searchsorted(begins, draw.integers(begins[-1]), side="right"))] if begins[-1] else None


def _read(sequence: Sequence, first: int, spec: FileClipSpec) -> Clip | None:
    """None where something is not known of a frame."""
    span = (spec.frames - 1) * spec.stride + 1
    pictures, depths, lenses, cameras = [], [], [], []
    for frame in islice(sequence.frames(first), 0, span, spec.stride):
        known = sequence[frame.index]
        depth = known.depth
        if known.world_from_cam is None or known.intrinsics is None or depth is None or not (depth > 0).any():
            return None
        box = covering_box(frame.rgb.shape[:2], spec.size)
        pictures.append(cut_rgb(frame.rgb, box, spec.size))
        depths.append(cut_depth(depth, box, frame.rgb.shape[:2], spec.size))
        lenses.append(cut_intrinsics(known.intrinsics, box, spec.size))
        cameras.append(known.world_from_cam)
    depth = np.stack(depths)
    source, kind = spec.source, DATASETS[spec.source.name].depth
    sky = depth <= 0 if _first(source.sky, kind.holes_are_sky) else np.zeros(depth.shape, dtype=bool)
    return Clip(
        name=f"{source.name}:{sequence.name}@{first}+{spec.frames}/{spec.stride}",
        rgb=np.stack(pictures),
        depth=depth,
        valid=depth > 0,
        moving=np.zeros(depth.shape, dtype=bool),
        intrinsics=np.stack(lenses),
        world_from_cam=np.stack(cameras),
        sky=sky,
        kind=TruthKind(
            normals=_first(source.normals, kind.clean), moving=False, metric=_first(source.metric, kind.metric)
        ),
    )


def _first(of_plan: bool | None, of_reader: bool) -> bool:
    return of_reader if of_plan is None else of_plan


def covering_box(source: tuple[int, ...], size: tuple[int, int]) -> Box:
    """The largest part around a picture's middle that has the wanted shape; sizes are (height, width)."""
    scale = max(size[0] / source[0], size[1] / source[1])
    height, width = size[0] / scale, size[1] / scale
    top, left = (source[0] - height) / 2, (source[1] - width) / 2
    return left, top, left + width, top + height


def cut_rgb(
    rgb: UInt8[np.ndarray, "rows columns 3"], box: Box, size: tuple[int, int]
) -> UInt8[np.ndarray, "height width 3"]:
    """A part of a picture at another size, by Lanczos."""
    from PIL import Image

    within = (max(box[0], 0), max(box[1], 0), min(box[2], rgb.shape[1]), min(box[3], rgb.shape[0]))
    return np.asarray(Image.fromarray(rgb).resize((size[1], size[0]), Image.Resampling.LANCZOS, box=within))


def cut_intrinsics(
    intrinsics: Float64[np.ndarray, "3 3"], box: Box, size: tuple[int, int]
) -> Float64[np.ndarray, "3 3"]:
    """The lens of that part: shifted by its corner, then scaled."""
    factor = np.array([size[1] / (box[2] - box[0]), size[0] / (box[3] - box[1])])
    cut = intrinsics.copy()
    cut[:2, 2] -= box[:2]
    cut[:2] *= factor[:, None]
    return cut


def cut_depth(
    depth: Float32[np.ndarray, "rows columns"], box: Box, picture: tuple[int, ...], size: tuple[int, int]
) -> Float32[np.ndarray, "height width"]:
    """The depth of that part: every pixel takes the known depth nearest its middle within it; 0 where there is none.

    `depth` may be coarser or sparser than the `picture` (height, width) in whose pixels `box` is. Where it is coarser
    than what is wanted, a pixel takes the depth that its middle falls on.
    """
    rows, columns = depth.shape
    to_depth = np.array([columns / picture[1], rows / picture[0]])
    corner = np.array(box[:2]) * to_depth
    step = (np.array(box[2:]) * to_depth - corner) / (size[1], size[0])  # depth pixels a wanted pixel
    if min(step) < 1:
        x, y = (np.arange(size[1 - axis]) + 0.5 for axis in (0, 1))
        column = np.clip(corner[0] + x * step[0], 0, columns - 1).astype(int)
        row = np.clip(corner[1] + y * step[1], 0, rows - 1).astype(int)
        found = depth[row[:, None], column]
        return np.where(np.isfinite(found) & (found > 0), found, np.float32(0))
    row, column = np.nonzero(np.isfinite(depth) & (depth > 0))
    place = (np.stack([column, row], axis=1) + 0.5 - corner) / step
    cell = np.floor(place).astype(int)
    off = np.abs(place - cell - 0.5).max(axis=1)
    inside = (cell >= 0).all(axis=1) & (cell < (size[1], size[0])).all(axis=1)
    order = np.argsort(-off[inside], kind="stable")  # the nearest comes last, and stays
    cut = np.zeros(size, dtype=np.float32)
    cut[cell[inside][order, 1], cell[inside][order, 0]] = depth[row[inside][order], column[inside][order]]
    return cut
