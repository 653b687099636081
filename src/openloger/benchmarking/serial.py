"""The main job one step after the other in one thread: the naive twin, and what can be timed stage by stage.

`StageClock` measures time by stage: every moment belongs to exactly one stage, the innermost that is running.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from torch import nn

from openloger.errors import InputError
from openloger.frames import resized
from openloger.network import Network
from openloger.recording import RecordingMeta, RecordingWriter, create_recording
from openloger.streaming import Stream, network_size
from openloger.values import Frame, FrameSource

STAGES = (
    "decode",
    "resize",
    "encoder",
    "decoder",
    "ttt_apply",
    "ttt_update",
    "swa",
    "heads",
    "placement",
    "write",
    "rest",
)


class StageClock:
    """Seconds by stage. Stages nest: time in an inner stage counts there alone."""

    def __init__(
        self, *, synchronize: Callable[[], None] = lambda: None, now: Callable[[], float] = time.perf_counter
    ) -> None:
        self.seconds: dict[str, float] = dict.fromkeys(STAGES, 0.0)
        self._synchronize, self._now = synchronize, now
        self._running: list[str] = []
        self._since_s = 0.0

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        """Time that belongs to `name`."""
        self.enter(name)
        try:
            yield
        finally:
            self.leave()

    def enter(self, name: str) -> None:
        self._account()
        self._running.append(name)

    def leave(self) -> None:
        self._account()
        self._running.pop()

    @contextmanager
    def watching(self, network: Network) -> Iterator[None]:
        """Count the parts of a network by torch's hooks. What a TTT layer does beside its update counts as apply."""
        with ExitStack() as undo:
            memory = network.decoder.memory
            parts: list[tuple[str, nn.Module]] = [
                ("rest", network),
                ("encoder", network.encoder),
                ("decoder", network.decoder),
                ("heads", network.heads),
                *(("ttt_apply", layer) for layer in (memory.ttt if memory else ())),
                *(("ttt_update", layer.get_submodule("update")) for layer in (memory.ttt if memory else ())),
                *(("swa", layer) for layer in (memory.swa if memory else ())),
            ]
            for name, module in parts:
                before = module.register_forward_pre_hook(lambda *_, name=name: self.enter(name))
                undo.callback(before.remove)
                undo.callback(module.register_forward_hook(lambda *_: self.leave()).remove)
            yield

    def _account(self) -> None:
        self._synchronize()
        now_s = self._now()
        if self._running:
            self.seconds[self._running[-1]] += now_s - self._since_s
        self._since_s = now_s


class TimedFrames:
    """A FrameSource whose frames' coming counts as a stage."""

    def __init__(self, source: FrameSource, clock: StageClock, stage: str) -> None:
        self.name, self.length = source.name, source.length
        self._source, self._clock, self._stage = source, clock, stage

    def frames(self, first: int = 0) -> Iterator[Frame]:
        with self._clock.stage(self._stage):
            frames = iter(self._source.frames(first))
        while True:
            with self._clock.stage(self._stage):
                frame = next(frames, None)
            if frame is None:
                return
            yield frame

    def __iter__(self) -> Iterator[Frame]:
        return self.frames()


def reconstruct_serially(source: FrameSource, out: Path, network: Network, *, clock: StageClock) -> float:
    """A source into a recording, its stages counted by `clock`; returns the seconds from the first frame on."""
    began_s = time.perf_counter()
    decoded = TimedFrames(source, clock, "decode")
    sized = resized(decoded, lambda height, width: network_size(height, width, network.config))
    stream = Stream(network)
    writer: RecordingWriter | None = None
    with clock.stage("rest"):
        timed = TimedFrames(sized, clock, "resize")
        for placed in stream.run(timed, observer=lambda: clock.stage("placement"), ahead=0):
            with clock.stage("write"):
                writer = writer or create_recording(out, _meta(source, network, placed.frames[0].rgb.shape[:2]))
                writer.append(placed)
        with clock.stage("write"):
            if writer is None:
                raise InputError(f"{source.name} gave no frame to measure with")
            writer.finish()
    return time.perf_counter() - began_s


def _meta(source: FrameSource, network: Network, size: tuple[int, ...]) -> RecordingMeta:
    return RecordingMeta(
        height=size[0],
        width=size[1],
        source=source.name,
        network=network.config.name,
        weights_hash=None,
        settings={},
        depth_dtype="float32",
    )
