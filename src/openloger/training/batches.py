"""A step's batches, made and copied to the device while the step before is computed."""

from __future__ import annotations

from collections.abc import Generator, Iterator, Sequence
from contextlib import ExitStack, closing, contextmanager, nullcontext
from dataclasses import dataclass
from functools import cached_property

import torch

from openloger.errors import counted
from openloger.runtime.prefetch import prefetch
from openloger.training.clips import ClipBatch
from openloger.training.config import TrainConfig
from openloger.training.curriculum import ClipPlan
from openloger.training.data import ClipStream
from openloger.training.distribute import Ranks, from_maker
from openloger.training.render import QueuePlan, RenderAhead, RenderClips


@dataclass(frozen=True)
class ReadyBatch:
    """A batch of the lane in this place among a process' own; None: another one that shares its windows makes it."""

    place: int
    batch: ClipBatch | None
    event: torch.cuda.Event | None = None  # after which it is on the card


class LaneFeed:
    """The batches of a process' lanes in a stage.

    Where other processes render, a step's batches are made and copied to the device during the step before; clips that
    wait take a bounded part of the memory. Of processes that share windows each makes the batches of some of their
    lanes, which `arrived` hands to the others.
    """

    def __init__(self, config: TrainConfig, plan: ClipPlan, among: Ranks, render: RenderClips) -> None:
        """Raises InputError where the lanes cannot be shared out."""
        self.lanes = among.lanes(plan.lanes)
        self._config, self._plan, self._among, self._render = config, plan, among, render

    @contextmanager
    def batches(self, step: int) -> Iterator[Iterator[ReadyBatch]]:
        """Lane after lane, from this step on, without end."""
        workers, seed = self._config.render_workers, self._config.seed
        with ExitStack() as stack:
            streams: list[ClipStream | None] = [None] * len(self.lanes)
            for place in self._made:
                lane = self.lanes[place]
                ahead = RenderAhead(
                    self._plan, seed=seed, lane=lane, workers=workers, render=self._render, queue_plan=self.queues
                )
                streams[place] = ClipStream(self._plan, stack.enter_context(ahead), seed=seed, lane=lane, step=step)
            made = copied(streams, self._among.device)
            yield stack.enter_context(closing(prefetch(made, depth=len(streams)) if workers else made))

    @property
    def _made(self) -> list[int]:
        """The places of the lanes whose batches are made here."""
        return [place for place in range(len(self.lanes)) if self._among.makes(place)]

    @cached_property
    def queues(self) -> QueuePlan:
        """The clips that wait for each lane."""
        limit = int(self._config.queue_gb * 1e9 / max(1, len(self._made)))
        return QueuePlan.within(limit, self._plan, workers=self._config.render_workers)

    @property
    def waiting_bytes(self) -> int:
        """Memory of the clips that wait to be used, at the most."""
        return len(self._made) * self.queues.bytes(self._plan, workers=self._config.render_workers)

    @property
    def pool_bytes(self) -> int:
        """Memory of the clips that are drawn from, at the most."""
        return len(self._made) * self._plan.pool * self._plan.clip_bytes

    def describe(self) -> str:
        """The memory of the clips, for people."""
        renderers = counted(len(self._made) * self._config.render_workers, "renderer")
        return (
            f"clips take at most {self.waiting_bytes / 1e9:.2f} GB of each process while they wait ({renderers}, "
            f"{self.queues.ahead} groups of {self.queues.together} each), and {self.pool_bytes / 1e9:.2f} GB in the "
            f"pools of {counted(len(self._made), 'lane')}"
        )


def copied(streams: Sequence[ClipStream | None], device: torch.device) -> Generator[ReadyBatch, None, None]:
    """The lanes' batches on a device, lane after lane and step after step without end, for `runtime.prefetch`.

    On a card they go through pinned memory and a CUDA stream of their own, beside what is computed; each comes with
    the event that `arrived` waits for. Of lanes without a stream another process makes the batches.
    """
    on_card = device.type == "cuda"
    own = torch.cuda.Stream(device) if on_card else None
    while True:
        for place, stream in enumerate(streams):
            if stream is None:
                yield ReadyBatch(place, None)
                continue
            batch = next(stream)
            with torch.cuda.stream(own) if own is not None else nullcontext():
                batch = (batch.pinned() if on_card else batch).to(device)
            event = torch.cuda.Event() if on_card else None
            if event is not None:
                event.record(own)
            yield ReadyBatch(place, batch, event)


def arrived(ready: ReadyBatch, among: Ranks) -> ClipBatch:
    """A batch that the device's current CUDA stream may use from here on; all processes that share it have to call."""
    batch = ready.batch
    if batch is not None and ready.event is not None:
        current = torch.cuda.current_stream(batch.images.device)
        current.wait_event(ready.event)
        batch.record_stream(current)
    if among.window is None:
        assert batch is not None, "another process makes this batch, and none shares its windows"
        return batch
    tensors, names = (None, ()) if batch is None else (batch.tensors(), batch.names)
    found, names = from_maker(tensors, names, ready.place, among)
    return ClipBatch(*found, names=names)
