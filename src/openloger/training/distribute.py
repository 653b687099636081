"""Many processes, one run: started by torchrun, gradients averaged by DDP or weights sharded by FSDP2.

The lanes of a step are shared out among the processes (process r of n takes lanes r, r + n, …), so the batch, and with
it the run, does not depend on how many there are. With context parallelism the frames of a lane's windows are shared
out, too: consecutive processes, as those of a node, have the same lanes, and every one computes its part of the frames
and the whole loss. The mean of the gradients over all processes is that of the lanes then as well
(`transformer.share`), so that DDP, FSDP2 and HSDP are what they are without it.
"""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from typing import Any, TypeVar, cast

import torch
import torch.distributed as dist
from torch import nn
from torch.nn.parallel import DistributedDataParallel

from openloger.errors import InputError
from openloger.network.load import resolve_device
from openloger.shapes import Tensor
from openloger.training.blocks import blocks
from openloger.transformer.attention import Block
from openloger.transformer.layers import Linear

KINDS = ("ddp", "fsdp")
ValueT = TypeVar("ValueT")
# DTensor's caches keep the process group, and with it gloo's threads, to Python's end; one that lets go of its last
# tensor while Python ends aborts the process. So they get a moment for it.
_LET_GO_S = 0.5


@dataclass(frozen=True)
class Ranks:
    """This process among all."""

    rank: int
    count: int
    device: torch.device
    context: int = 1  # processes that share every window
    window: dist.ProcessGroup | None = None  # those that share this one's; None: it has its windows alone

    @property
    def teams(self) -> int:
        """Groups of processes that share windows: as many lanes are computed at once."""
        return self.count // self.context

    @property
    def first(self) -> bool:
        """The one that writes."""
        return self.rank == 0

    @property
    def many(self) -> bool:
        return self.count > 1

    def lanes(self, lanes: int) -> range:
        """The lanes of a step that are this process' own, or that it shares.

        Raises InputError where they, or the processes, cannot be shared out.
        """
        if self.count % self.context:
            raise InputError(
                f"context_parallel = {self.context}: {self.count} processes are no whole number of groups of "
                f"{self.context}"
            )
        if lanes % self.teams:
            of = "" if self.context == 1 else f" of which {self.context} share each"
            raise InputError(
                f"{lanes} lanes cannot be shared out among {self.count} processes{of}; make `lanes` a multiple"
                + (f" of {self.teams}" if of else "")
            )
        return range(self.rank // self.context, lanes, self.teams)

    def makes(self, place: int) -> bool:
        """Whether this process makes the batches of the lane in this place among its own; of those that share windows
        one does, in turn."""
        return place % self.context == self.rank % self.context


def device_of_process(kind: str) -> torch.device:
    """The processor, or the card that is this process' own among those that torchrun started on the machine."""
    return torch.device(kind, int(os.environ.get("LOCAL_RANK", "0"))) if kind == "cuda" else torch.device(kind)


@contextmanager
def ranks(device: str, *, context: int = 1) -> Iterator[Ranks]:
    """Join the processes that torchrun started, `context` of which share windows; alone where there are none."""
    if "WORLD_SIZE" not in os.environ:
        yield Ranks(0, 1, resolve_device(device))
        return
    kind = resolve_device(device).type
    if kind not in ("cuda", "cpu"):
        raise InputError(f"several processes cannot train on {kind}: give --device cpu, or start one process")
    own = device_of_process(kind)
    if kind == "cuda":
        torch.cuda.set_device(own)
    dist.init_process_group("nccl" if kind == "cuda" else "gloo")
    context = context if dist.get_world_size() > 1 else 1
    try:
        yield Ranks(dist.get_rank(), dist.get_world_size(), own, context, _window_group(context))
    finally:
        dist.destroy_process_group()
        if kind == "cpu":
            time.sleep(_LET_GO_S)


def from_maker(
    tensors: Sequence[Tensor] | None, names: tuple[str, ...], place: int, among: Ranks
) -> tuple[list[Tensor], tuple[str, ...]]:
    """On all processes that share windows: tensors, on each one's device, and names of that which makes the batches in
    this place (`Ranks.makes`); the others give None. They may be of other shapes every time."""
    maker = among.rank - among.rank % among.context + place % among.context
    told: list[Any] = [names, *((tensor.shape, tensor.dtype) for tensor in tensors or ())]
    header = [told]
    dist.broadcast_object_list(header, src=maker, group=among.window, device=among.device)
    names, *shapes = header[0]
    found = [
        torch.empty(shape, dtype=dtype, device=among.device) if tensors is None else tensors[number]
        for number, (shape, dtype) in enumerate(shapes)
    ]
    for tensor in found:
        dist.broadcast(tensor.view(torch.uint8) if tensor.dtype == torch.bool else tensor, maker, group=among.window)
    return found, names


def _window_group(context: int) -> dist.ProcessGroup | None:
    """The processes that share this one's windows; all have to call it."""
    count, rank = dist.get_world_size(), dist.get_rank()
    if context == 1 or count % context:  # refused with the lanes
        return None
    teams = [dist.new_group(list(range(first, first + context))) for first in range(0, count, context)]
    return cast("dist.ProcessGroup", teams[rank // context])


def wrap(objective: nn.Module, among: Ranks, kind: str) -> nn.Module:
    """The same module, averaging its gradients over the processes; FSDP2 must come before the optimiser is made."""
    if not among.many:
        return objective
    if kind == "ddp":
        ids = [among.device.index] if among.device.type == "cuda" else None
        return DistributedDataParallel(objective, device_ids=ids, find_unused_parameters=True)
    return objective  # its parameters are sharded already


def shard(network: nn.Module, among: Ranks, *, over: int = 0, precision: torch.dtype = torch.float32) -> None:
    """Spread the weights over the processes, block by block (FSDP2); they are gathered when a block runs.

    `over` processes share one copy, of which there are as many as there are groups of them (HSDP: within a node weights
    travel, between nodes gradients alone); 0: all share one. In another `precision` the matrices of transformer blocks
    travel and multiply in that, and their gradients are summed in float32; norms, gains, fast weights, the other layers
    and all that is kept stay float32.

    Raises:
        InputError: the processes cannot be divided into groups of `over`.
    """
    from torch.distributed.device_mesh import init_device_mesh
    from torch.distributed.fsdp import MixedPrecisionPolicy, fully_shard

    over = over or among.count
    if among.count % over:
        raise InputError(f"shard_over = {over}: {among.count} processes are no whole number of groups of {over}")
    groups = among.count // over
    shape, names = ((over,), ("shard",)) if groups == 1 else ((groups, over), ("replicate", "shard"))
    mesh = init_device_mesh(among.device.type, shape, mesh_dim_names=names)
    lower = MixedPrecisionPolicy(param_dtype=precision, reduce_dtype=torch.float32, cast_forward_inputs=False)
    for block in blocks(network):
        matrices: list[nn.Module] = [part for part in block.modules() if isinstance(part, Linear)]
        if isinstance(block, Block) and precision != torch.float32:
            fully_shard(matrices, mesh=mesh, mp_policy=lower)  # in one message
        fully_shard(block, mesh=mesh)
    fully_shard(network, mesh=mesh)


def accumulate(module: nn.Module, *, last: bool) -> AbstractContextManager[None]:
    """Around a lane's forward and backward pass: gradients travel only with the last one."""
    if isinstance(module, DistributedDataParallel):
        return contextlib.nullcontext() if last else module.no_sync()
    from torch.distributed.fsdp import FSDPModule

    for part in module.modules():
        if isinstance(part, FSDPModule):
            part.set_requires_gradient_sync(last)  # of it and all below it
            break
    return contextlib.nullcontext()


def average(values: dict[str, float], among: Ranks) -> dict[str, float]:
    """The mean of every number over the processes."""
    if not among.many:
        return values
    vector = torch.tensor(list(values.values()), dtype=torch.float64, device=among.device)
    dist.all_reduce(vector)
    return dict(zip(values, (vector / among.count).tolist(), strict=True))


def gather(value: ValueT, among: Ranks) -> list[ValueT]:
    """Every process' value, in their order, on each of them; plain Python values of a few kB."""
    if not among.many:
        return [value]
    found: list[Any] = [None] * among.count
    dist.all_gather_object(found, value)
    return found


def sum_over(tensor: Tensor, among: Ranks) -> Tensor:
    """The sum of every process' tensor, on each of them, where the given one is."""
    if not among.many:
        return tensor
    total = tensor.to(among.device, copy=True)
    dist.all_reduce(total)
    return total.to(tensor.device)


def full_tensor(tensor: Tensor) -> Tensor:
    """A sharded tensor put together, on every process; any other as it is."""
    from torch.distributed.tensor import DTensor

    return tensor.full_tensor() if isinstance(tensor, DTensor) else tensor


def put_together(tensors: Mapping[str, Tensor], *, keep: bool = True) -> dict[str, Tensor]:
    """Sharded tensors put together on the CPU, one after the other; all processes have to call it, and those that do
    not `keep` them get none."""
    found: dict[str, Tensor] = {}
    for name, tensor in tensors.items():
        whole = full_tensor(tensor.detach())
        if keep:
            found[name] = whole.cpu()
    return found


def like(tensor: Tensor, pattern: Tensor) -> Tensor:
    """A full tensor where and as the pattern is: on its device, sharded as it is."""
    from torch.distributed.tensor import DTensor, distribute_tensor

    if isinstance(pattern, DTensor):
        return distribute_tensor(tensor.to(pattern.device), pattern.device_mesh, pattern.placements)
    return tensor.to(pattern.device)


def any_rank(flag: bool, among: Ranks) -> bool:
    """True everywhere where it is true anywhere."""
    if not among.many:
        return flag
    number = torch.tensor(float(flag), device=among.device)
    dist.all_reduce(number, dist.ReduceOp.MAX)
    return bool(number > 0)
