"""Clips out of datasets on disk: labelled video of any size, cut and scaled to what the trainer wants.

With `by_length` every clip of a dataset's sequences is as likely as the next: a sequence counts by the clips that begin
in it. What a clip's depth is good for is its reader's `DepthKind`, or what the plan has instead.

A picture is scaled so that it covers the wanted size and cut around its middle; the lens follows by the same factors.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np

from openloger.datasets import DatasetFolder, Sequence, frames_at, open_dataset
from openloger.datasets.cut import covering_box, cut_depth, cut_intrinsics, cut_rgb
from openloger.errors import InputError
from openloger.shapes import Int
from openloger.training.clips import Clip, TruthKind
from openloger.training.curriculum import DatasetPlan
from openloger.training.data import FileClipSpec

_TRIES = 16  # places tried before a folder is reported to have no such clip


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
    return open_dataset(source.name, source.folder).chosen(source.include, source.exclude)


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
    for frame in frames_at(sequence, range(first, first + span, spec.stride)):
        depth = frame.depth
        if frame.world_from_cam is None or frame.intrinsics is None or depth is None or not (depth > 0).any():
            return None
        box = covering_box(frame.rgb.shape[:2], spec.size)
        pictures.append(cut_rgb(frame.rgb, box, spec.size))
        depths.append(cut_depth(depth, box, frame.rgb.shape[:2], spec.size))
        lenses.append(cut_intrinsics(frame.intrinsics, box, spec.size))
        cameras.append(frame.world_from_cam)
    depth = np.stack(depths)
    source, kind = spec.source, opened(spec.source).depth
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
