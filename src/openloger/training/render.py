"""Clips from worlds: rendered here, or ahead of time by processes in the background."""

from __future__ import annotations

import contextlib
import multiprocessing
import queue
from collections.abc import Callable, Iterator
from multiprocessing.process import BaseProcess
from multiprocessing.queues import Queue
from types import TracebackType

import numpy as np
import torch

from openloger import worlds
from openloger.errors import InputError
from openloger.training.curriculum import ClipPlan
from openloger.training.data import Clip, ClipSpec, specs

RenderClip = Callable[[ClipSpec], Clip]
_AHEAD = 64  # clips that wait in each background process' queue


def render_clip(spec: ClipSpec) -> Clip:
    """Render one clip of a world."""
    world = worlds.world(spec.family, seed=spec.seed, size=spec.size, fps=spec.fps)
    samples = [world[spec.first + number] for number in range(spec.frames)]
    return Clip(
        str(spec),
        rgb=np.stack([sample.rgb for sample in samples]),
        depth=np.stack([sample.depth for sample in samples]).astype(np.float32),
        valid=np.stack([sample.valid for sample in samples]),
        moving=np.stack([sample.moving for sample in samples]),
        intrinsics=np.stack([sample.intrinsics for sample in samples]).astype(np.float64),
        world_from_cam=np.stack([sample.world_from_cam for sample in samples]).astype(np.float64),
    )


class RenderAhead:
    """A lane's clips in order, rendered by `workers` processes (0: here, when they are asked for).

    Worker k renders the numbers first + k, first + k + workers, …, so their order never depends on who is faster.
    """

    def __init__(self, plan: ClipPlan, *, seed: int, lane: int, workers: int, render: RenderClip = render_clip) -> None:
        self._plan, self._seed, self._lane, self._render = plan, seed, lane, render
        self._workers = workers
        self._processes: list[BaseProcess] = []

    def __call__(self, first: int) -> Iterator[Clip]:
        """Clips from number `first` on."""
        if self._workers == 0:
            return map(self._render, specs(self._plan, seed=self._seed, lane=self._lane, first=first))
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
            out = context.Queue(_AHEAD)
            todo = (self._plan, self._seed, self._lane, first + worker, self._workers)
            process = context.Process(target=_render_all, args=(self._render, todo, out), daemon=True)
            process.start()
            queues.append(out)
            self._processes.append(process)
        return queues

    def _collect(self, queues: list[Queue]) -> Iterator[Clip]:
        while True:
            for worker, out in enumerate(queues):
                yield _take(out, self._processes[worker])


def _render_all(render: RenderClip, todo: tuple[ClipPlan, int, int, int, int], out: Queue) -> None:
    torch.set_num_threads(1)
    plan, seed, lane, first, stride = todo
    with contextlib.suppress(KeyboardInterrupt):
        try:
            for spec in specs(plan, seed=seed, lane=lane, first=first, stride=stride):
                out.put(render(spec))
        except InputError as error:
            out.put(error)


def _take(out: Queue, process: BaseProcess) -> Clip:
    while True:
        try:
            clip = out.get(timeout=5)
        except queue.Empty:
            if not process.is_alive():
                raise RuntimeError(f"a renderer ended with exit code {process.exitcode}; see above") from None
            continue
        if isinstance(clip, InputError):
            raise clip
        return clip
