"""What the trainer learns from: clips of labelled video, stacked into a batch of tensors."""

from __future__ import annotations

from dataclasses import dataclass, fields, replace

import torch

from openloger.shapes import Bool, Float, Int, Tensor


@dataclass(frozen=True)
class ClipBatch:
    """Equal-sized clips with their ground truth; world units are each clip's own."""

    images: Float[Tensor, "batch frame 3 height width"]  # sRGB in 0..1
    depth: Float[Tensor, "batch frame height width"]  # along z, world units; 0 where there is none
    valid: Bool[Tensor, "batch frame height width"]  # depth is known here
    moving: Bool[Tensor, "batch frame height width"]  # what moves by itself
    intrinsics: Float[Tensor, "batch frame 3 3"]  # pixels
    world_from_cam: Float[Tensor, "batch frame 4 4"]  # the clip's first frame is near the origin
    names: tuple[str, ...]  # what each clip is, so that one batch can be made again

    def to(self, device: torch.device) -> ClipBatch:
        """The same clips on another device."""
        return self._map(lambda tensor: tensor.to(device, non_blocking=True))

    def pin(self) -> ClipBatch:
        """The same clips in page-locked memory, from where they reach a GPU without waiting."""
        return self._map(lambda tensor: tensor.pin_memory())

    def take_frames(self, index: Int[Tensor, " chosen"]) -> ClipBatch:
        """The clips with only these frames, in this order; a frame may come twice."""
        return self._map(lambda tensor: tensor.index_select(1, index.to(tensor.device)))

    def take_clip(self, number: int) -> ClipBatch:
        """One of them, as a batch of one."""
        return replace(self._map(lambda tensor: tensor[number : number + 1]), names=(self.names[number],))

    def _map(self, change) -> ClipBatch:
        tensors = [change(getattr(self, field.name)) for field in fields(self) if field.name != "names"]
        return ClipBatch(*tensors, names=self.names)


def join_clips(batches: list[ClipBatch]) -> ClipBatch:
    """One batch of all the clips, in order."""
    tensors = [
        torch.cat([getattr(batch, field.name) for batch in batches])
        for field in fields(ClipBatch)
        if field.name != "names"
    ]
    return ClipBatch(*tensors, names=tuple(name for batch in batches for name in batch.names))
