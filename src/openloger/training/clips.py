"""Training data: clips of labelled video as they are kept, and stacked into a batch of tensors."""

from __future__ import annotations

from dataclasses import dataclass, fields, replace

import numpy as np
import torch

from openloger.shapes import Bool, Float, Float32, Float64, Int, Tensor, UInt8

FramePairs = Float[np.ndarray, "frame frame"]  # a number between each two frames of a clip; symmetric


@dataclass(frozen=True)
class TruthKind:
    """What the ground truth of a clip is good for. Worlds have all of it."""

    normals: bool = True  # depth is dense and clean, so that its surfaces have normals
    moving: bool = True  # what moves by itself is known
    metric: bool = True  # the world's unit is the metre


@dataclass(frozen=True)
class Clip:
    """A rendered clip, as small as it can be kept."""

    name: str
    rgb: UInt8[np.ndarray, "frame height width 3"]
    depth: Float32[np.ndarray, "frame height width"]
    valid: Bool[np.ndarray, "frame height width"]
    moving: Bool[np.ndarray, "frame height width"]
    intrinsics: Float64[np.ndarray, "frame 3 3"]
    world_from_cam: Float64[np.ndarray, "frame 4 4"]
    sky: Bool[np.ndarray, "frame height width"]  # what is neither sky nor valid is not known
    kind: TruthKind = TruthKind()

    def __len__(self) -> int:
        return len(self.rgb)


@dataclass(frozen=True)
class ClipBatch:
    """Equal-sized clips with their ground truth; world units are each clip's own."""

    images: Float[Tensor, "batch frame 3 height width"]  # sRGB in 0..1
    depth: Float[Tensor, "batch frame height width"]  # along z, world units; 0 where there is none
    valid: Bool[Tensor, "batch frame height width"]  # depth is known here
    moving: Bool[Tensor, "batch frame height width"]  # what moves by itself
    intrinsics: Float[Tensor, "batch frame 3 3"]  # pixels
    world_from_cam: Float[Tensor, "batch frame 4 4"]  # the clip's first frame is near the origin
    sky: Bool[Tensor, "batch frame height width"]  # what is neither sky nor valid is not known
    has_normals: Bool[Tensor, " batch"]  # of `TruthKind`, as the next two
    has_moving: Bool[Tensor, " batch"]
    is_metric: Bool[Tensor, " batch"]
    names: tuple[str, ...]  # what each clip is, so that one batch can be made again

    def to(self, device: torch.device) -> ClipBatch:
        """The same clips on another device."""
        return self._map(lambda tensor: tensor.to(device, non_blocking=True))

    def pinned(self) -> ClipBatch:
        """The same clips in memory from which a card copies while it computes."""
        return self._map(lambda tensor: tensor.pin_memory())

    def record_stream(self, stream: torch.Stream) -> None:
        """Keep the tensors' memory until what a CUDA stream has been given by now is done."""
        self._map(lambda tensor: tensor.record_stream(stream) or tensor)

    def take_frames(self, index: Int[Tensor, " chosen"]) -> ClipBatch:
        """The clips with only these frames, in this order; a frame may come twice."""
        return self._map(lambda one: one if one.ndim == 1 else one.index_select(1, index.to(one.device)))

    def take_clip(self, number: int) -> ClipBatch:
        """One of them, as a batch of one."""
        return replace(self._map(lambda tensor: tensor[number : number + 1]), names=(self.names[number],))

    def tensors(self) -> list[Tensor]:
        """All of them, in the order in which a batch is made of them."""
        return [getattr(self, field.name) for field in fields(self) if field.name != "names"]

    def _map(self, change) -> ClipBatch:
        return ClipBatch(*map(change, self.tensors()), names=self.names)


def choose_frames(clip: Clip, count: int, draw: np.random.Generator, *, suited: FramePairs, shuffle_time: bool) -> Clip:
    """`count` evenly spaced frames of a clip in order of time, or with `shuffle_time` half of the times against it.

    Neighbours are `suited` (1) to each other; where the clip has no such frames, those that are most.
    """
    runs = even_runs(len(clip), count)
    worst = np.array([suited[run[:-1], run[1:]].min(initial=1.0) for run in runs])
    index = runs[draw.choice(np.flatnonzero(worst >= worst.max()))]
    return take_frames(clip, index[::-1] if shuffle_time and draw.random() < 0.5 else index)


def even_runs(length: int, count: int) -> list[Int[np.ndarray, " count"]]:
    """Every choice of `count` evenly spaced numbers below `length`, which is no less."""
    strides = range(1, max(1, (length - 1) // max(1, count - 1)) + 1)
    return [first + stride * np.arange(count) for stride in strides for first in range(length - stride * (count - 1))]


def take_frames(clip: Clip, index: np.ndarray) -> Clip:
    """The frames of these numbers; they are kept in the name."""
    taken = {
        field.name: np.ascontiguousarray(getattr(clip, field.name)[index])
        for field in fields(Clip)
        if field.name not in ("name", "kind")
    }
    return replace(clip, name=f"{clip.name}[{','.join(str(i) for i in index)}]", **taken)


def stack(clips: list[Clip]) -> ClipBatch:
    """Equal-sized clips as one batch, each in its own first frame's coordinates (taken in float64)."""
    world_from_cam = np.stack([np.linalg.inv(clip.world_from_cam[:1]) @ clip.world_from_cam for clip in clips])
    images = torch.from_numpy(np.stack([clip.rgb for clip in clips])).permute(0, 1, 4, 2, 3).float() / 255
    return ClipBatch(
        images=images.contiguous(),
        depth=torch.from_numpy(np.stack([clip.depth for clip in clips])),
        valid=torch.from_numpy(np.stack([clip.valid for clip in clips])),
        moving=torch.from_numpy(np.stack([clip.moving for clip in clips])),
        intrinsics=torch.from_numpy(np.stack([clip.intrinsics for clip in clips])).float(),
        world_from_cam=torch.from_numpy(world_from_cam).float(),
        sky=torch.from_numpy(np.stack([clip.sky for clip in clips])),
        has_normals=torch.tensor([clip.kind.normals for clip in clips]),
        has_moving=torch.tensor([clip.kind.moving for clip in clips]),
        is_metric=torch.tensor([clip.kind.metric for clip in clips]),
        names=tuple(clip.name for clip in clips),
    )
