"""Rendered clips kept on disk, so that runs which draw the same clips render them once.

A clip is a function of its spec and of `worlds.VERSION`, which is part of the folder's layout: worlds that change leave
the clips of the older ones alone.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from zipfile import BadZipFile

import numpy as np

from openloger import worlds
from openloger.training.clips import Clip
from openloger.training.data import ClipSpec
from openloger.training.render import RenderClips, render_clips

_ARRAYS = tuple(field.name for field in fields(Clip) if field.name != "name")


@dataclass(frozen=True)
class CachedRender:
    """A `RenderClips` that reads clips from `folder` and renders, then writes, those that are missing there.

    Several processes may share a folder: a file appears under its name only once it is complete.
    """

    folder: Path
    render: RenderClips = render_clips

    def __call__(self, specs: Sequence[ClipSpec]) -> list[Clip]:
        """The clips of `specs`, in order; all of one size and length, as for `render_clips`."""
        found = [self._read(spec) for spec in specs]
        missing = [spec for spec, clip in zip(specs, found, strict=True) if clip is None]
        rendered = iter(self.render(missing) if missing else [])
        clips = []
        for spec, clip in zip(specs, found, strict=True):
            if clip is None:
                clip = next(rendered)
                self._write(spec, clip)
            clips.append(clip)
        return clips

    def path(self, spec: ClipSpec) -> Path:
        """Where a spec's clip is kept."""
        height, width = spec.size
        name = f"{spec.seed}-{spec.first}+{spec.frames}-{spec.fps:g}fps-{height}x{width}.npz"
        return self.folder / f"worlds-{worlds.VERSION}-{spec.textures}" / spec.family / name

    def _read(self, spec: ClipSpec) -> Clip | None:
        try:
            with self.path(spec).open("rb") as file, np.load(file) as arrays:
                return Clip(str(spec), **{name: arrays[name] for name in _ARRAYS})
        except (FileNotFoundError, BadZipFile, EOFError, KeyError):
            return None  # absent, or cut short by a full disk or a power failure: rendered again

    def _write(self, spec: ClipSpec, clip: Clip) -> None:
        path = self.path(spec)
        path.parent.mkdir(parents=True, exist_ok=True)
        partial = path.with_suffix(f".{os.getpid()}.partial")
        with partial.open("wb") as file:
            np.savez(file, **{name: getattr(clip, name) for name in _ARRAYS})
        partial.replace(path)
