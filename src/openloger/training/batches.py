"""A step's batches, made and copied to the device while the step before is computed."""

from __future__ import annotations

from collections.abc import Generator, Iterator, Sequence
from contextlib import ExitStack, closing, contextmanager, nullcontext
from functools import cached_property

import torch

from openloger.errors import counted
from openloger.runtime.prefetch import prefetch
from openloger.training.clips import ClipBatch
from openloger.training.config import TrainConfig
from openloger.training.curriculum import ClipPlan
from openloger.training.data import ClipStream
from openloger.training.distribute import Ranks
from openloger.training.render import QueuePlan, RenderAhead, RenderClips

ReadyBatch = tuple[ClipBatch, torch.cuda.Event | None]


class LaneFeed:
    """The batches of a process' lanes in a stage.

    Where other processes render, a step's batches are made and copied to the device during the step before; clips that
    wait take a bounded part of the memory.
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
            streams = []
            for lane in self.lanes:
                ahead = RenderAhead(
                    self._plan, seed=seed, lane=lane, workers=workers, render=self._render, queue_plan=self.queues
                )
                streams.append(ClipStream(self._plan, stack.enter_context(ahead), seed=seed, lane=lane, step=step))
            made = copied(streams, self._among.device)
            yield stack.enter_context(closing(prefetch(made, depth=len(streams)) if workers else made))

    @cached_property
    def queues(self) -> QueuePlan:
        """The clips that wait for each lane."""
        limit = int(self._config.queue_gb * 1e9 / len(self.lanes))
        return QueuePlan.within(limit, self._plan, workers=self._config.render_workers)

    @property
    def waiting_bytes(self) -> int:
        """Memory of the clips that wait to be used, at the most."""
        return len(self.lanes) * self.queues.bytes(self._plan, workers=self._config.render_workers)

    @property
    def pool_bytes(self) -> int:
        """Memory of the clips that are drawn from, at the most."""
        return len(self.lanes) * self._plan.pool * self._plan.clip_bytes

    def describe(self) -> str:
        """The memory of the clips, for people."""
        renderers = counted(len(self.lanes) * self._config.render_workers, "renderer")
        return (
            f"clips take at most {self.waiting_bytes / 1e9:.2f} GB of each process while they wait ({renderers}, "
            f"{self.queues.ahead} groups of {self.queues.together} each), and {self.pool_bytes / 1e9:.2f} GB in the "
            f"pools of {counted(len(self.lanes), 'lane')}"
        )


def copied(streams: Sequence[ClipStream], device: torch.device) -> Generator[ReadyBatch, None, None]:
    """The lanes' batches on a device, lane after lane and step after step without end, for `runtime.prefetch`.

    On a card they go through pinned memory and a CUDA stream of their own, beside what is computed; each comes with
    the event that `arrived` waits for.
    """
    on_card = device.type == "cuda"
    own = torch.cuda.Stream(device) if on_card else None
    while True:
        for stream in streams:
            batch = next(stream)
            with torch.cuda.stream(own) if own is not None else nullcontext():
                batch = (batch.pinned() if on_card else batch).to(device)
            event = torch.cuda.Event() if on_card else None
            if event is not None:
                event.record(own)
            yield batch, event


def arrived(ready: ReadyBatch) -> ClipBatch:
    """A batch that the device's current CUDA stream may use from here on."""
    batch, event = ready
    if event is not None:
        current = torch.cuda.current_stream(batch.images.device)
        current.wait_event(event)
        batch.record_stream(current)
    return batch
