"""The state of a run between two windows, as a value and as bytes: a killed run resumes from it to the same result."""

from __future__ import annotations

import json
import zlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from itertools import islice
from typing import Any, TypeVar

import torch
from safetensors import SafetensorError
from safetensors.torch import load, save

from openloger.errors import InputError, in_a_line
from openloger.geometry import Sim3
from openloger.network import VideoMemory
from openloger.shapes import Tensor
from openloger.streaming.keyframes import KeyedFrame
from openloger.streaming.placement import Anchor
from openloger.streaming.windows import SizedFrame
from openloger.values import Frame

_NUMBERS, _CHECKSUM = "numbers", "crc32"  # the names of the JSON, and of the checksum of all else, among the tensors
# What a file that is damaged, or something else, raises on the way to a state
_UNREADABLE = (SafetensorError, ValueError, LookupError, TypeError, AttributeError, RuntimeError, OverflowError)
_PLACED_PARTS = ("scale", "rotation", "translation")
S = TypeVar("S")


@dataclass(frozen=True)
class StreamState:
    """Everything that the next window needs; its size does not grow with the video."""

    number: int = 0  # windows done
    final_frames: int = 0  # frames handed out for good
    memory: VideoMemory = field(default_factory=VideoMemory)
    anchor: Anchor | None = None
    pending: tuple[KeyedFrame, ...] = ()  # the overlap, and the keyframe read ahead
    finished: bool = False
    reset_every: int | None = None  # windows, as resolved when the run began; 0 for never
    memory_lost: bool = False  # rebuilt from a recording: the next window is placed like the first of a block

    @property
    def next_index(self) -> int:
        """The `index` of the first frame that has not been read."""
        return self.pending[-1].key.frame.index + 1 if self.pending else 0

    @property
    def pending_frames(self) -> list[Frame]:
        """The keyframes that were read and are not final."""
        return [keyed.key.frame for keyed in self.pending]

    @property
    def memory_bytes(self) -> int:
        """Of the network's memory, on its device."""
        return self.memory.nbytes

    def to_bytes(self, *, made_for: str = "") -> bytes:
        """Exactly, in the safetensors format, with a checksum; `from_bytes` is the inverse.

        `made_for` identifies the run, so that no other one takes the state for its own.
        """
        tensors = {f"memory.{name}": tensor.cpu() for name, tensor in self.memory.to_tensors().items()}
        tensors |= anchor_tensors(self.anchor)
        pending = [picture for keyed in self.pending for picture in keyed.frames]
        for place, picture in enumerate(pending):
            tensors[f"pending.{place}.image"] = picture.image
            tensors[f"pending.{place}.rgb"] = torch.from_numpy(picture.frame.rgb.copy())  # frames may share an array
            if picture.used is not None:
                tensors[f"pending.{place}.mask"] = picture.used.clone()
        numbers = {
            "number": self.number,
            "final_frames": self.final_frames,
            "finished": self.finished,
            "reset_every": self.reset_every,
            "made_for": made_for,
            "pending": [[p.frame.index, p.frame.timestamp_s, p.frame.name, p.frame.source_size] for p in pending],
            "keyed": [len(keyed.frames) for keyed in self.pending],
        }
        return write_state(tensors, numbers)

    @staticmethod
    def from_bytes(content: bytes, *, device: torch.device | str = "cpu", made_for: str = "") -> StreamState:
        """The state, its memory on `device`.

        Raises InputError where the bytes are damaged, no state, or that of another run than `made_for`.
        """
        return read_state(
            content, lambda tensors, numbers: StreamState._of(tensors, numbers, device), made_for=made_for
        )

    @staticmethod
    def _of(tensors: dict[str, Tensor], numbers: dict[str, Any], device: torch.device | str) -> StreamState:
        memory = {
            name.removeprefix("memory."): t.to(device) for name, t in tensors.items() if name.startswith("memory.")
        }
        return StreamState(
            number=numbers["number"],
            final_frames=numbers["final_frames"],
            memory=VideoMemory.from_tensors(memory),
            anchor=anchor_of(tensors),
            pending=_pending(tensors, numbers["pending"], numbers.get("keyed")),
            finished=numbers["finished"],
            reset_every=numbers["reset_every"],
        )


def write_state(tensors: Mapping[str, Tensor], numbers: Mapping[str, Any]) -> bytes:
    """In the safetensors format, with a checksum."""
    content = dict(tensors) | {_NUMBERS: torch.frombuffer(bytearray(json.dumps(numbers).encode()), dtype=torch.uint8)}
    content = _each_its_own(content)
    content[_CHECKSUM] = torch.tensor([_checksum(content)])
    return save(content)


def read_state(content: bytes, build: Callable[[dict[str, Tensor], dict[str, Any]], S], *, made_for: str) -> S:
    """What `build` makes of the tensors and numbers that `write_state` was given.

    Raises InputError where the bytes are damaged, none of these, or their "made_for" is another than this, if any.
    """
    try:
        tensors = {name: t.clone() for name, t in load(content).items()}  # aligned, as the bits of a product need
        checksum = tensors.pop(_CHECKSUM, None)  # states once had none
        if checksum is not None and int(checksum) != _checksum(tensors):
            raise ValueError("its checksum does not match")
        numbers = json.loads(tensors.pop(_NUMBERS).numpy().tobytes())
        state = build(tensors, numbers)
    except _UNREADABLE as error:
        raise InputError(f"it is damaged, or no state of a run: {in_a_line(error)}") from error
    if made_for and numbers.get("made_for", made_for) != made_for:
        raise InputError("it belongs to another run")
    return state


def _pending(tensors: dict[str, Tensor], frames: list[Any], counts: list[int] | None) -> tuple[KeyedFrame, ...]:
    """`counts`: frames of each keyframe, itself included; None in states of versions that had keyframes alone."""
    sized = (_sized(tensors, place, frame) for place, frame in enumerate(frames))
    groups = (tuple(islice(sized, count)) for count in counts or [1] * len(frames))
    return tuple(KeyedFrame(group[-1], group[:-1]) for group in groups)


def _each_its_own(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    """Contiguous, and copied where two share memory (a frame that was repeated), which a file cannot hold."""
    own: dict[str, Tensor] = {}
    places: set[int] = set()
    for name, tensor in tensors.items():
        tensor = tensor.contiguous()
        place = tensor.untyped_storage().data_ptr()
        own[name] = tensor.clone() if place in places else tensor
        places.add(place)
    return own


def _checksum(tensors: dict[str, Tensor]) -> int:
    found = 0
    for name, tensor in sorted(tensors.items()):
        found = zlib.crc32(f"{name} {tensor.dtype} {tuple(tensor.shape)}".encode(), found)
        found = zlib.crc32(tensor.reshape(-1).view(torch.uint8).numpy().data, found)
    return found


def _sized(tensors: dict[str, Tensor], place: int, numbers: list[Any]) -> SizedFrame:
    index, timestamp_s, name, *rest = numbers
    source_size = tuple(rest[0]) if rest and rest[0] else None  # states once had none
    mask = tensors.get(f"pending.{place}.mask")
    rgb = tensors[f"pending.{place}.rgb"].numpy()
    frame = Frame(rgb, index, timestamp_s, name, source_size, None if mask is None else mask.numpy())
    return SizedFrame(frame, tensors[f"pending.{place}.image"])


def anchor_tensors(anchor: Anchor | None) -> dict[str, Tensor]:
    """By name, as `anchor_of` takes them; none of None."""
    if anchor is None:
        return {}
    placed = {f"anchor.{part}": getattr(anchor.world_from_window, part) for part in _PLACED_PARTS}
    return placed | {"anchor.world_from_cam": anchor.world_from_cam, "anchor.depth": anchor.depth}


def anchor_of(tensors: Mapping[str, Tensor]) -> Anchor | None:
    """The inverse of `anchor_tensors`."""
    if "anchor.depth" not in tensors:
        return None
    world_from_window = Sim3(*(tensors[f"anchor.{part}"] for part in _PLACED_PARTS))
    return Anchor(world_from_window, tensors["anchor.world_from_cam"], tensors["anchor.depth"])
