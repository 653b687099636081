"""Clips from worlds and datasets: made here, ahead of time by processes in the background, or once and kept on disk.

A kept clip is a function of its spec and of `worlds.VERSION`, which is part of the folder's layout: worlds that change
leave the clips of the older ones alone.
"""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import queue
import signal
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, fields
from functools import partial
from itertools import islice
from multiprocessing.process import BaseProcess
from multiprocessing.queues import Queue
from pathlib import Path
from types import TracebackType
from zipfile import BadZipFile

import numpy as np
import torch

from openloger import worlds
from openloger.errors import InputError
from openloger.network.load import resolve_device
from openloger.runtime.compiler import check_compiler
from openloger.runtime.platform import replace_file
from openloger.training.clips import Clip
from openloger.training.config import TrainConfig
from openloger.training.curriculum import ClipPlan
from openloger.training.data import AnyClipSpec, ClipSpec, specs
from openloger.training.distribute import device_of_process
from openloger.training.footage import read_clip

RenderClips = Callable[[Sequence[ClipSpec]], list[Clip]]
TOGETHER = 8  # clips rendered at once
AHEAD = 8  # such groups that wait in each background process' queue


def renderer(config: TrainConfig) -> RenderClips:
    """Worlds as a run wants them rendered; for processes that it starts, too.

    Raises InputError where there is no such device, or where torch.compile does not work on it.
    """
    try:
        device = resolve_device(device_of_process(config.render_device))
    except InputError as error:
        raise InputError(f'{error}; set render_device = "cpu"') from error
    if config.render_compiled:
        check_compiler(device, instead="set render_compiled = false")
    return partial(render_clips, kind=config.render_device, compiled=config.render_compiled)


def render_clips(specs: Sequence[ClipSpec], *, kind: str = "cpu", compiled: bool = False) -> list[Clip]:
    """Render clips of one size and length, all frames at once; clips of one world share what is built of it.

    On a processor or the process' card (`kind`), by kernels that are `compiled` or not.
    """
    opened = {
        (spec.family, spec.seed, spec.fps): worlds.World(
            spec.family, seed=spec.seed, size=spec.size, fps=spec.fps, textures=spec.textures
        )
        for spec in specs
    }
    clips = worlds.render_clips(
        [(opened[spec.family, spec.seed, spec.fps], range(spec.first, spec.first + spec.frames)) for spec in specs],
        device=device_of_process(kind),
        compiled=compiled,
    )
    rgb, depth, valid, moving = (of.cpu().numpy() for of in (clips.rgb, clips.depth, clips.valid, clips.moving))
    return [
        Clip(
            str(spec),
            rgb=rgb[i],
            depth=depth[i],
            valid=valid[i],
            moving=moving[i],
            intrinsics=clips.intrinsics[i].numpy(),
            world_from_cam=clips.world_from_cam[i].numpy(),
            sky=_sky(valid[i]),
        )
        for i, spec in enumerate(specs)
    ]


def _sky(valid: np.ndarray) -> np.ndarray:
    """Of worlds, where nothing else is without depth."""
    return ~valid


def make_clips(specs: Sequence[AnyClipSpec], render: RenderClips) -> list[Clip]:
    """Clips of worlds by `render`, those of a size together, clips of datasets from their folders, in order."""
    ours: dict[tuple[int, int], list[ClipSpec]] = defaultdict(list)
    for spec in specs:
        if isinstance(spec, ClipSpec):
            ours[spec.size].append(spec)
    rendered = {size: iter(render(group)) for size, group in ours.items()}
    return [next(rendered[spec.size]) if isinstance(spec, ClipSpec) else read_clip(spec) for spec in specs]


@dataclass(frozen=True)
class QueuePlan:
    """How many clips wait ahead of a lane."""

    together: int = TOGETHER  # rendered at once
    ahead: int = AHEAD  # such groups that wait in each background process' queue; one more is being made

    def bytes(self, plan: ClipPlan, *, workers: int) -> int:
        """The memory that a lane's waiting clips take at the most."""
        return workers * (self.ahead + 1) * self.together * plan.clip_bytes

    @staticmethod
    def within(limit_bytes: int, plan: ClipPlan, *, workers: int) -> QueuePlan:
        """The longest queues that take no more than this for a lane.

        Fewer groups wait, then fewer clips are in a group; at the least one clip waits in each process while the next
        one is made, whatever that takes.
        """
        together, ahead = TOGETHER, AHEAD
        while (found := QueuePlan(together, ahead)).bytes(plan, workers=workers) > limit_bytes:
            if together == ahead == 1:
                break
            together, ahead = (together, ahead - 1) if ahead > 1 else (together - 1, ahead)
        return found


class RenderAhead:
    """A lane's clips in order, rendered by `workers` processes (0: in this process, on demand).

    Worker k renders every k-th group of clips, so their order never depends on who is faster.
    """

    def __init__(
        self,
        plan: ClipPlan,
        *,
        seed: int,
        lane: int,
        workers: int,
        render: RenderClips = render_clips,
        queue_plan: QueuePlan | None = None,
    ) -> None:
        self._queue_plan = queue_plan or QueuePlan()
        self._plan, self._seed, self._lane, self._render = plan, seed, lane, render
        self._workers = workers
        self._processes: list[BaseProcess] = []

    def __call__(self, first: int) -> Iterator[Clip]:
        """Clips from number `first` on."""
        if self._workers == 0:
            groups = _groups(self._plan, self._seed, self._lane, first, self._queue_plan.together)
            return (clip for group in groups for clip in make_clips(group, self._render))
        return self._collect(self._start(first))

    def close(self) -> None:
        """End the processes."""
        for process in self._processes:
            process.terminate()
        for process in self._processes:
            process.join()
        self._processes.clear()

    def __enter__(self) -> RenderAhead:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _start(self, first: int) -> list[Queue]:
        context = multiprocessing.get_context("spawn")
        queues = []
        for worker in range(self._workers):
            out = context.Queue(self._queue_plan.ahead)
            groups = (self._plan, self._seed, self._lane, first, self._queue_plan.together)
            process = context.Process(
                target=_render_all, args=(self._render, groups, (worker, self._workers), out), daemon=True
            )
            process.start()
            queues.append(out)
            self._processes.append(process)
        return queues

    def _collect(self, queues: list[Queue]) -> Iterator[Clip]:
        while True:
            for worker, out in enumerate(queues):
                yield from _take(out, self._processes[worker])


def _groups(plan: ClipPlan, seed: int, lane: int, first: int, together: int) -> Iterator[list[AnyClipSpec]]:
    todo = specs(plan, seed=seed, lane=lane, first=first)
    while True:
        yield list(islice(todo, together))


def _render_all(
    render: RenderClips, groups: tuple[ClipPlan, int, int, int, int], share: tuple[int, int], out: Queue
) -> None:
    torch.set_num_threads(1)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the trainer decides when it is over
    worker, workers = share
    try:
        for group in islice(_groups(*groups), worker, None, workers):
            if not _hand_over(out, make_clips(group, render)):
                break
    except InputError as error:
        _hand_over(out, error)


def _hand_over(out: Queue, clips: list[Clip] | InputError) -> bool:
    """Wait until there is room; False where the trainer is gone, even if it was killed."""
    parent = multiprocessing.parent_process()
    while parent is None or parent.is_alive():
        with contextlib.suppress(queue.Full):
            out.put(clips, timeout=2)
            return True
    out.cancel_join_thread()
    return False


def _take(out: Queue, process: BaseProcess) -> list[Clip]:
    while True:
        try:
            clips = out.get(timeout=5)
        except queue.Empty:
            if not process.is_alive():
                raise RuntimeError(f"a renderer ended with exit code {process.exitcode}; see above") from None
            continue
        if isinstance(clips, InputError):
            raise clips
        return clips


# What NumPy raises for a file that is absent, cut short by a full disk, or of zeros or damaged after a power failure
_UNREADABLE = (OSError, BadZipFile, EOFError, KeyError, ValueError, NotImplementedError)
_ARRAYS = tuple(field.name for field in fields(Clip) if field.name not in ("name", "sky", "kind"))


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
                kept = {name: arrays[name] for name in _ARRAYS}
                return Clip(str(spec), **kept, sky=_sky(kept["valid"]))
        except _UNREADABLE:
            return None  # rendered again

    def _write(self, spec: ClipSpec, clip: Clip) -> None:
        path = self.path(spec)
        path.parent.mkdir(parents=True, exist_ok=True)
        partial = path.with_suffix(f".{os.getpid()}.partial")
        with partial.open("wb") as file:
            np.savez(file, **{name: getattr(clip, name) for name in _ARRAYS})
        replace_file(partial, path)
