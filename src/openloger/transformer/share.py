"""A window whose frames several processes share (context parallelism): what passes between them, with its gradients.

Every process has some of the frames, in order, and computes what belongs to a frame alone: patches, queries, positions.
What reaches over the window is put together: keys and values are gathered, as is what leaves the network; the gradient
of the fast weights, a sum over tokens, is summed before it is orthogonalised (LaCT, arXiv 2505.23884).

With a loss L that every process computes of the whole window, each backward pass here is the transpose of its forward
pass over all processes: they differentiate the sum of their n equal losses, every one its part of it. So the *mean* of
the weights' gradients over the processes, which DDP and FSDP2 take anyway, is the gradient of L.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
import torch.distributed as dist

from openloger.shapes import Float, Tensor


@dataclass(frozen=True)
class WindowShare:
    """This process' frames of a window. All processes of the group have to call its methods alike.

    Without a group nothing is exchanged and the others' parts are like one's own: enough to plan memory with.
    """

    frames: int  # of the whole window
    rank: int  # of this process
    processes: int  # that share the window
    group: dist.ProcessGroup | None

    @staticmethod
    def among(group: dist.ProcessGroup, frames: int) -> WindowShare:
        """Of a window that the processes of a group share."""
        return WindowShare(frames, group.rank(), group.size(), group)

    @property
    def counts(self) -> list[int]:
        """Every process' number of frames; they differ by one at most."""
        few, more = divmod(self.frames, self.processes)
        return [few + (rank < more) for rank in range(self.processes)]

    @property
    def own(self) -> slice:
        """The frames that this process computes: its own or, where there is none left, one that counts for nothing."""
        first = min(sum(self.counts[: self.rank]), self.frames - 1)
        return slice(first, first + self._computed)

    def gather(self, own: Float[Tensor, "..."], *, dim: int) -> Float[Tensor, "..."]:
        """Of all frames, on every process, what each has of its own; `dim` is of frames, or of the tokens of frames."""
        rows = own.movedim(dim, 0)
        lengths = [len(rows) // self._computed * count for count in self.counts]
        missing = lengths[0] - len(rows)
        rows = torch.cat([rows, rows.new_zeros(missing, *rows.shape[1:])]) if missing else rows
        parts: Tensor = torch.cat([rows] * self.processes) if self.group is None else _Gather.apply(rows, self.group)  # type: ignore[assignment]
        whole = [part[:length] for part, length in zip(parts.split(lengths[0]), lengths, strict=True)]
        return torch.cat(whole).movedim(0, dim)

    def sum(self, own: Float[Tensor, "*size"]) -> Float[Tensor, "*size"]:
        """The sum over all processes, on every one."""
        counted = own if self.counts[self.rank] else own * 0
        return counted if self.group is None else _Sum.apply(counted, self.group)  # type: ignore[return-value]

    @property
    def _computed(self) -> int:
        return max(self.counts[self.rank], 1)


class _Sum(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, own: Tensor, group: dist.ProcessGroup) -> Tensor:  # type: ignore[override]
        ctx.group = group
        total = own.clone(memory_format=torch.contiguous_format)
        dist.all_reduce(total, group=group)
        return total

    @staticmethod
    def backward(ctx: Any, of_total: Tensor) -> tuple[Tensor, None]:  # type: ignore[override]
        return _Sum.apply(of_total, ctx.group), None  # type: ignore[return-value]


class _Gather(torch.autograd.Function):
    """Equal parts one after another."""

    @staticmethod
    def forward(ctx: Any, own: Tensor, group: dist.ProcessGroup) -> Tensor:  # type: ignore[override]
        ctx.group = group
        parts = own.new_empty(group.size() * len(own), *own.shape[1:])
        _named("all_gather_single", "all_gather_into_tensor")(parts, own.contiguous(), group=group)
        return parts

    @staticmethod
    def backward(ctx: Any, of_parts: Tensor) -> tuple[Tensor, None]:  # type: ignore[override]
        own = of_parts.new_empty(len(of_parts) // ctx.group.size(), *of_parts.shape[1:])
        _named("reduce_scatter_single", "reduce_scatter_tensor")(own, of_parts.contiguous(), group=ctx.group)
        return own, None


def _named(new: str, old: str) -> Callable[..., Any]:
    """One of torch's collectives by its new name, or by that of torch 2.7; a build without any has neither."""
    return getattr(dist, new, None) or getattr(dist, old)
