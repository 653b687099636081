"""The state of a run between two windows, as a value and as bytes: a killed run resumes from it to the same result."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from itertools import islice
from typing import Any

import torch
from safetensors.torch import load, save

from openloger.geometry import Sim3
from openloger.network import HybridMemory
from openloger.shapes import Tensor
from openloger.streaming.keyframes import KeyedFrame
from openloger.streaming.placement import Anchor
from openloger.streaming.windows import SizedFrame
from openloger.values import Frame

_NUMBERS = "numbers"  # the name of the JSON among the tensors
_PLACED_PARTS = ("scale", "rotation", "translation")


@dataclass(frozen=True)
class StreamState:
    """Everything that the next window needs; its size does not grow with the video."""

    number: int = 0  # windows done
    final_frames: int = 0  # frames handed out for good
    memory: HybridMemory = field(default_factory=HybridMemory)
    anchor: Anchor | None = None
    pending: tuple[KeyedFrame, ...] = ()  # the overlap, and the keyframe read ahead
    finished: bool = False
    reset_every: int | None = None  # windows, as resolved when the run began; 0 for never

    @property
    def next_index(self) -> int:
        """The `index` of the first frame that has not been read."""
        return self.pending[-1].key.frame.index + 1 if self.pending else 0

    def to_bytes(self) -> bytes:
        """Exactly, in the safetensors format; `from_bytes` is the inverse."""
        tensors = {f"memory.{name}": tensor.cpu() for name, tensor in self.memory.to_tensors().items()}
        if self.anchor is not None:
            for part in _PLACED_PARTS:
                tensors[f"anchor.{part}"] = getattr(self.anchor.world_from_window, part)
            tensors["anchor.world_from_cam"] = self.anchor.world_from_cam
            tensors["anchor.depth"] = self.anchor.depth
        pending = [picture for keyed in self.pending for picture in keyed.frames]
        for place, picture in enumerate(pending):
            tensors[f"pending.{place}.image"] = picture.image
            tensors[f"pending.{place}.rgb"] = torch.from_numpy(picture.frame.rgb.copy())  # frames may share an array
        numbers = {
            "number": self.number,
            "final_frames": self.final_frames,
            "finished": self.finished,
            "reset_every": self.reset_every,
            "pending": [[p.frame.index, p.frame.timestamp_s, p.frame.name, p.frame.source_size] for p in pending],
            "keyed": [len(keyed.frames) for keyed in self.pending],
        }
        tensors[_NUMBERS] = torch.frombuffer(bytearray(json.dumps(numbers).encode()), dtype=torch.uint8)
        return save({name: tensor.contiguous() for name, tensor in tensors.items()})

    @staticmethod
    def from_bytes(content: bytes, *, device: torch.device | str = "cpu") -> StreamState:
        """The state, its memory on `device`."""
        tensors = {name: t.clone() for name, t in load(content).items()}  # aligned: the last bits of a product need it
        numbers = json.loads(tensors.pop(_NUMBERS).numpy().tobytes())
        memory = {
            name.removeprefix("memory."): t.to(device) for name, t in tensors.items() if name.startswith("memory.")
        }
        return StreamState(
            number=numbers["number"],
            final_frames=numbers["final_frames"],
            memory=HybridMemory.from_tensors(memory),
            anchor=_anchor(tensors),
            pending=_pending(tensors, numbers["pending"], numbers.get("keyed")),
            finished=numbers["finished"],
            reset_every=numbers["reset_every"],
        )


def _pending(tensors: dict[str, Tensor], frames: list[Any], counts: list[int] | None) -> tuple[KeyedFrame, ...]:
    """`counts`: frames of each keyframe, itself included; None in states of versions that had keyframes alone."""
    sized = iter(
        SizedFrame(_frame(tensors[f"pending.{place}.rgb"], frame), tensors[f"pending.{place}.image"])
        for place, frame in enumerate(frames)
    )
    groups = (tuple(islice(sized, count)) for count in counts or [1] * len(frames))
    return tuple(KeyedFrame(group[-1], group[:-1]) for group in groups)


def _frame(rgb: Tensor, numbers: list[Any]) -> Frame:
    index, timestamp_s, name, *rest = numbers
    source_size = tuple(rest[0]) if rest and rest[0] else None  # states once had none
    return Frame(rgb.numpy(), index, timestamp_s, name, source_size)


def _anchor(tensors: dict[str, Tensor]) -> Anchor | None:
    if "anchor.depth" not in tensors:
        return None
    world_from_window = Sim3(*(tensors[f"anchor.{part}"] for part in _PLACED_PARTS))
    return Anchor(world_from_window, tensors["anchor.world_from_cam"], tensors["anchor.depth"])
